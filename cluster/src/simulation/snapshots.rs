//! Snapshots on their way, piece by piece, as `runtime` sends and installs them: one is sent and one received by a node at
//! a time, each piece is answered, and what breaks on the way goes on with the piece that is wanted next.

use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::Message;
use rand::RngExt;

use mimi_hub_storage::StateStore;

use super::Simulation;
use super::node::NodeEvent;
use crate::config::NodeId;
use crate::core::Input;
use crate::shard::ShardId;
use crate::snapshot::{Answer, Chunk, FULL, Piece, SnapshotError, SnapshotId, collect, digest_of, replacement};

/// How long a transfer may make no progress.
const PATIENCE: Duration = Duration::from_secs(3);
/// After what time a piece that was not taken is sent again.
const PAUSE: Duration = Duration::from_millis(50);
/// After what time one without an answer is.
const TIMEOUT: Duration = Duration::from_millis(900);

/// A piece of a snapshot, or its answer.
#[derive(Debug)]
pub(super) enum Transport {
    Piece {
        from: NodeId,
        attempt: Attempt,
        bytes: Vec<u8>,
    },
    /// Without an answer, the connection broke.
    Answer { attempt: Attempt, answer: Option<Vec<u8>> },
}

/// The number of a transfer, and how many pieces were sent before.
type Attempt = (u64, u64);

/// A snapshot that is being sent.
pub(super) struct Transfer {
    number: u64,
    attempts: u64,
    shard: ShardId,
    to: NodeId,
    begin: Piece,
    chunks: Vec<Chunk>,
    /// The chunk that is wanted.
    next: Option<u32>,
    furthest: Option<u32>,
    moved: Duration,
}

impl Transfer {
    fn piece(&self) -> Option<Vec<u8>> {
        let chunk = self.next.and_then(|at| Some((at, self.chunks.get(at as usize)?)));
        match chunk {
            None => self.begin.encode(),
            Some((at, chunk)) => Piece::Chunk {
                number: self.number,
                at,
                sum: chunk.sum,
                bytes: chunk.bytes.to_vec(),
            }
            .encode(),
        }
    }
}

impl<E> Simulation<E> {
    pub(super) fn perform_snapshots(
        &mut self,
        node: NodeId,
        snapshots: Vec<(ShardId, Message)>,
        installs: &[SnapshotId],
        discards: &[SnapshotId],
    ) {
        let Some(up) = self.running(node) else { return };
        let idle = up.to_send.is_empty() && up.sending.is_none();
        up.to_send.extend(snapshots);
        for id in discards {
            up.staging.take_whole(*id);
        }
        if idle && !up.to_send.is_empty() {
            self.collect_later(node);
        }
        for id in installs {
            let delay = self.millis(1..30);
            self.later(delay, node, NodeEvent::Install(*id));
        }
    }

    fn collect_later(&mut self, node: NodeId) {
        let delay = self.millis(1..50);
        self.later(delay, node, NodeEvent::Collect);
    }

    /// Reads a shard's state, and begins to send it.
    pub(super) fn collect(&mut self, node: NodeId) {
        let number = self.rng.random();
        let (now, chunk_bytes) = (self.now, self.setup.chunk_bytes);
        let Some(up) = self.running(node) else { return };
        let Some((shard, mut message)) = up.to_send.pop_front() else {
            return;
        };
        let to = NodeId(message.to);
        let full = if chunk_bytes == 0 { FULL } else { chunk_bytes };
        let Some((_, state)) = self.disks(node) else { return };
        let collected = match collect(state, shard, u64::MAX, full) {
            Ok(collected) => collected,
            Err(SnapshotError::Storage(error)) => return self.fail(node, &error),
            Err(error) => return self.violate(format!("node {node} has no snapshot of {shard}: {error}")),
        };
        if collected.id.index < message.get_snapshot().get_metadata().index {
            self.violate(format!("node {node} sends an older state of {shard} than promised"));
        }
        collected.correct(&mut message);
        let begin = Piece::Begin {
            number,
            shard: shard.0,
            message: message.write_to_bytes().unwrap_or_default(),
            chunks: collected.chunks.len() as u32,
            digest: digest_of(&collected.chunks),
        };
        if let Some(up) = self.running(node) {
            up.sending = Some(Transfer {
                number,
                attempts: 0,
                shard,
                to,
                begin,
                chunks: collected.chunks,
                next: None,
                furthest: None,
                moved: now,
            });
        }
        self.send_piece(node);
    }

    fn send_piece(&mut self, node: NodeId) {
        let Some(transfer) = self.running(node).and_then(|up| up.sending.as_mut()) else {
            return;
        };
        transfer.attempts += 1;
        let (attempt, to) = ((transfer.number, transfer.attempts), transfer.to);
        let Some(bytes) = transfer.piece() else { return };
        self.note(&bytes);
        let from = node;
        match self.transit(from, to).filter(|_| self.is_up(to)) {
            Some(delay) => self.later(
                delay,
                to,
                NodeEvent::Transport(Transport::Piece { from, attempt, bytes }),
            ),
            None => self.later(PAUSE, node, broken(attempt)),
        }
        self.later(TIMEOUT, node, broken(attempt));
    }

    pub(super) fn transport(&mut self, node: NodeId, transport: Transport) {
        match transport {
            Transport::Piece { from, attempt, bytes } => self.take_piece(node, from, attempt, &bytes),
            Transport::Answer { attempt, answer } => self.take_answer(node, attempt, answer.as_deref()),
        }
    }

    fn take_piece(&mut self, node: NodeId, from: NodeId, attempt: Attempt, bytes: &[u8]) {
        let now = self.now;
        let Some(piece) = Piece::decode(bytes) else {
            return self.violate("a piece of a snapshot does not read");
        };
        let Some(up) = self.running(node) else { return };
        let (answer, whole) = up.staging.take(now, from, piece);
        if let Some((shard, message)) = whole {
            self.input(node, Input::Snapshot { shard, message });
        }
        let answer = Some(answer.encode());
        match self.transit(node, from) {
            Some(delay) => self.later(delay, from, NodeEvent::Transport(Transport::Answer { attempt, answer })),
            None => self.later(PAUSE, from, broken(attempt)),
        }
    }

    fn take_answer(&mut self, node: NodeId, attempt: Attempt, answer: Option<&[u8]>) {
        let now = self.now;
        let Some(up) = self.running(node) else { return };
        let current = |transfer: &&mut Transfer| (transfer.number, transfer.attempts) == attempt;
        let Some(transfer) = up.sending.as_mut().filter(current) else {
            return;
        };
        let stuck = now.saturating_sub(transfer.moved) >= PATIENCE;
        match answer.and_then(Answer::decode) {
            Some(Answer::Complete) => return self.sent(node, true),
            Some(Answer::Refused(_)) => return self.sent(node, false),
            Some(Answer::Next(at)) => {
                transfer.next = Some(at);
                if Some(at) > transfer.furthest {
                    transfer.furthest = Some(at);
                    transfer.moved = now;
                }
            }
            Some(Answer::Busy) | None if stuck => return self.sent(node, false),
            Some(Answer::Busy) => {
                transfer.next = None;
                return self.later(PAUSE, node, broken(attempt));
            }
            // Once it is known what is wanted next, it goes on there.
            None => transfer.next = None,
        }
        self.send_piece(node);
    }

    fn sent(&mut self, node: NodeId, delivered: bool) {
        let Some(up) = self.running(node) else { return };
        let Some(Transfer { shard, to, .. }) = up.sending.take() else {
            return;
        };
        if !up.to_send.is_empty() {
            self.collect_later(node);
        }
        self.input(node, Input::SnapshotSent { shard, to, delivered });
    }

    /// After everything that was handed over before.
    pub(super) fn install(&mut self, node: NodeId, id: SnapshotId) {
        let Some(up) = self.running(node) else { return };
        if up.applies() {
            return self.later(Duration::from_millis(1), node, NodeEvent::Install(id));
        }
        let Some(staged) = up.staging.take_whole(id) else {
            return self.violate(format!("node {node} is to install a snapshot that is not there"));
        };
        up.set_applied(id);
        let Some((_, state)) = self.disks(node) else { return };
        let written = match replacement(state, id, &staged.chunks) {
            Ok(batch) => state.write(batch),
            Err(SnapshotError::Storage(error)) => Err(error),
            Err(error) => return self.violate(format!("node {node} cannot install a snapshot: {error}")),
        };
        if let Err(error) = written {
            return self.fail(node, &error);
        }
        let delay = self.millis(1..300);
        self.later(delay, node, NodeEvent::Installed(id));
    }

    pub(super) fn finish_install(&mut self, node: NodeId, id: SnapshotId) {
        let Some((_, state)) = self.disks(node) else { return };
        if let Err(error) = state.flush() {
            return self.fail(node, &error);
        }
        self.installed += 1;
        self.input(node, Input::Installed(id));
    }
}

fn broken(attempt: Attempt) -> NodeEvent {
    NodeEvent::Transport(Transport::Answer { attempt, answer: None })
}
