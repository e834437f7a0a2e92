//! The thread that sends snapshots, one at a time.
//!
//! The shard's apply is paused while its state is read into memory; it goes on while that is sent. When the connection
//! breaks on the way, the receiver says which chunk it wants next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mimi_hub_storage::StateStore;
use protobuf::Message as _;
use raft::eraftpb::Message;
use tokio::sync::oneshot;

use super::applier::Work;
use super::inbox::{Inbox, SnapshotNews};
use crate::config::NodeId;
use crate::shard::ShardId;
use crate::snapshot::{Answer, Chunk, Collected, FULL, Piece, SnapshotError, collect, digest_of};
use crate::transport::Transport;

/// How long a transfer may make no progress.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct SnapshotSender {
    pub(super) state: Arc<dyn StateStore>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) apply: Sender<Work>,
    pub(super) max_bytes: u64,
    pub(super) stopping: Arc<AtomicBool>,
    /// Raft's messages about the snapshots to be sent. Not bounded here: raft-rs asks for one per replica at a time.
    pub(super) work: Receiver<(ShardId, Message)>,
}

/// Why a snapshot did not get through.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the node is stopping")]
    Stopping,
    #[error("there was no progress for {PATIENCE:?}")]
    Stuck,
    #[error("the other node refuses: {0}")]
    Refused(String),
    #[error("a chunk cannot be laid out")]
    Layout,
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

impl SnapshotSender {
    /// Sends what comes until nothing can come any more.
    pub(super) fn run(self) {
        // Numbers of this process begin where no other's were: with the time.
        let epoch = std::time::SystemTime::UNIX_EPOCH.elapsed();
        let mut number = epoch.map_or(0, |epoch| epoch.as_nanos() as u64);
        while let Ok((shard, message)) = self.work.recv() {
            number += 1;
            let to = NodeId(message.to);
            let begun = Instant::now();
            let sent = self.send(number, shard, message);
            match &sent {
                Ok(bytes) => {
                    let millis = begun.elapsed().as_millis() as u64;
                    tracing::info!(%shard, %to, bytes, millis, "a snapshot was sent");
                }
                Err(SendError::Stopping) => {}
                Err(error) => tracing::warn!(%shard, %to, %error, "a snapshot was not sent, another attempt follows"),
            }
            self.inbox.snapshot(SnapshotNews::Sent {
                shard,
                to,
                delivered: sent.is_ok(),
            });
        }
    }

    fn send(&self, number: u64, shard: ShardId, mut message: Message) -> Result<u64, SendError> {
        let collected = self.collect(shard)?;
        collected.correct(&mut message);
        let chunks = collected.chunks;
        let to = NodeId(message.to);
        let begin = Piece::Begin {
            number,
            shard: shard.0,
            message: message.write_to_bytes().map_err(|_| SendError::Layout)?,
            chunks: chunks.len() as u32,
            digest: digest_of(&chunks),
        };
        let begin = begin.encode().ok_or(SendError::Layout)?;
        let mut moved = Instant::now();
        // The chunk that is wanted; `None` while that has to be asked.
        let mut next = None;
        let mut furthest = None;
        loop {
            if self.stopping.load(Ordering::Relaxed) {
                return Err(SendError::Stopping);
            }
            if moved.elapsed() > PATIENCE {
                return Err(SendError::Stuck);
            }
            let piece = match next.map(|at: u32| chunks.get(at as usize).map(|chunk| (at, chunk))) {
                Some(Some((at, chunk))) => chunk_piece(number, at, chunk)?,
                Some(None) | None => begin.clone(),
            };
            match self.ask(to, piece) {
                Some(Answer::Complete) => {
                    return Ok(chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum());
                }
                Some(Answer::Next(at)) => {
                    next = Some(at);
                    if Some(at) > furthest {
                        furthest = Some(at);
                        moved = Instant::now();
                    }
                }
                Some(Answer::Refused(text)) => return Err(SendError::Refused(text)),
                // The connection broke, or there is something else on its way there.
                Some(Answer::Busy) | None => {
                    next = None;
                    sleep(PAUSE);
                }
            }
        }
    }

    /// Reads the shard's state while its apply is paused.
    fn collect(&self, shard: ShardId) -> Result<Collected, SendError> {
        let _paused = pause(&self.apply, shard).ok_or(SendError::Stopping)?;
        Ok(collect(self.state.as_ref(), shard, self.max_bytes, FULL)?)
    }

    fn ask(&self, to: NodeId, piece: Vec<u8>) -> Option<Answer> {
        let (reply, answer) = oneshot::channel();
        self.transport.send_bulk(to, piece.into(), reply);
        Answer::decode(&answer.blocking_recv().ok()?.ok()?)
    }
}

fn chunk_piece(number: u64, at: u32, chunk: &Chunk) -> Result<Vec<u8>, SendError> {
    let piece = Piece::Chunk {
        number,
        at,
        sum: chunk.sum,
        bytes: chunk.bytes.to_vec(),
    };
    piece.encode().ok_or(SendError::Layout)
}

/// Nothing of the shard is applied while this lives.
pub(super) struct Paused<'a> {
    apply: &'a Sender<Work>,
    shard: ShardId,
}

/// Waits until everything handed over before is applied, and pauses the shard's apply; `None` when the applier is gone.
pub(super) fn pause(apply: &Sender<Work>, shard: ShardId) -> Option<Paused<'_>> {
    let (paused, wait) = channel();
    apply.send(Work::Pause { shard, paused }).ok()?;
    wait.recv().ok()?;
    Some(Paused { apply, shard })
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        // Without an applier there is nothing to go on.
        let _ = self.apply.send(Work::Resume { shard: self.shard });
    }
}
