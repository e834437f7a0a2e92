//! The thread that applies committed entries.
//!
//! Invariant: the applied index of a shard and the writes of its entries are in one batch of the state store; a proposer
//! is answered, and the worker told, only after that batch is written.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use mimi_hub_storage::{StateStore, StorageError};

use super::board::Board;
use super::cluster::Outcome;
use super::inbox::{Inbox, ProposalReply};
use crate::entry::Payload;
use crate::fatal::{Fatal, panic_text};
use crate::machine::{EntryMeta, StateMachine, StateWriter};
use crate::shard::ShardId;
use crate::snapshot::checksum;

/// Bytes written after which a batch is closed although more work waits.
const BATCH_BYTES: usize = 4 << 20;
/// Likewise by entries.
const BATCH_ENTRIES: usize = 4 << 10;
/// How long entries wait for more to be applied with, when nobody on this node waits for their outcome. A batch costs the
/// state store about as much as ten entries do, and a node applies the entries of all the shards that others lead. The
/// empty entry by which a term begins does not wait: its leader leads once it is applied.
const LINGER: Duration = Duration::from_millis(10);

/// A committed entry, and who waits for it.
pub(super) struct Committed {
    pub(super) meta: EntryMeta,
    pub(super) payload: Payload,
    pub(super) reply: Option<ProposalReply>,
}

/// What the applier is told.
pub(super) enum Work {
    /// To be applied, in this order.
    Apply(Vec<Committed>),
    /// Nothing more of the shard is to be applied, until it is resumed. Said to `paused` once everything before is.
    Pause { shard: ShardId, paused: Sender<()> },
    /// The shard goes on.
    Resume { shard: ShardId },
}

pub(super) struct Applier {
    state: Arc<dyn StateStore>,
    machine: Arc<dyn StateMachine>,
    inbox: Arc<Inbox>,
    board: Arc<Board>,
    /// Not bounded here: the core counts what it has handed over, and takes nothing in beyond its limit.
    work: Receiver<Work>,
    /// Entries of paused shards, and how often each is paused.
    waiting: BTreeMap<ShardId, (usize, Vec<Committed>)>,
}

impl Applier {
    pub(super) fn new(
        state: Arc<dyn StateStore>,
        machine: Arc<dyn StateMachine>,
        inbox: Arc<Inbox>,
        board: Arc<Board>,
        work: Receiver<Work>,
    ) -> Self {
        Self {
            state,
            machine,
            inbox,
            board,
            work,
            waiting: BTreeMap::new(),
        }
    }

    /// Applies what comes until nothing can come any more, or something breaks.
    pub(super) fn run(mut self) {
        let mut next = None;
        while let Some(work) = next.take().or_else(|| self.work.recv().ok()) {
            let done = match work {
                Work::Apply(entries) => {
                    let (batch, after) = self.gather(entries);
                    next = after;
                    self.apply(batch)
                }
                Work::Pause { shard, paused } => {
                    self.waiting.entry(shard).or_default().0 += 1;
                    // Whoever asked may be gone; then it resumes, too.
                    let _ = paused.send(());
                    Ok(())
                }
                Work::Resume { shard } => {
                    let waiting = self.resume(shard);
                    self.apply(waiting)
                }
            };
            if let Err(fatal) = done {
                self.inbox.fatal(fatal);
                return;
            }
        }
    }

    /// What is to be applied together, and the work of another kind that follows.
    fn gather(&mut self, entries: Vec<Committed>) -> (Vec<Committed>, Option<Work>) {
        let until = Instant::now() + LINGER;
        let awaited = |entries: &[Committed]| {
            let awaited = |entry: &Committed| entry.reply.is_some() || entry.payload == Payload::Empty;
            entries.iter().any(awaited)
        };
        let mut urgent = awaited(&entries);
        let mut batch = self.runnable(entries);
        while batch.len() < BATCH_ENTRIES {
            let patience = if urgent {
                Duration::ZERO
            } else {
                until.saturating_duration_since(Instant::now())
            };
            match self.work.recv_timeout(patience) {
                Ok(Work::Apply(more)) => {
                    urgent |= awaited(&more);
                    batch.extend(self.runnable(more));
                }
                Ok(other) => return (batch, Some(other)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        (batch, None)
    }

    /// Sets aside what belongs to paused shards.
    fn runnable(&mut self, entries: Vec<Committed>) -> Vec<Committed> {
        if self.waiting.is_empty() {
            return entries;
        }
        let mut runnable = Vec::new();
        for entry in entries {
            match self.waiting.get_mut(&entry.meta.shard) {
                Some((_, waiting)) => waiting.push(entry),
                None => runnable.push(entry),
            }
        }
        runnable
    }

    fn resume(&mut self, shard: ShardId) -> Vec<Committed> {
        if let Some((pauses, _)) = self.waiting.get_mut(&shard) {
            *pauses -= 1;
            if *pauses > 0 {
                return Vec::new();
            }
        }
        self.waiting
            .remove(&shard)
            .map_or_else(Vec::new, |(_, waiting)| waiting)
    }

    fn apply(&self, entries: Vec<Committed>) -> Result<(), Fatal> {
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let mut writer = StateWriter::new(self.state.as_ref());
            let mut reached = BTreeMap::new();
            let mut answers = Vec::new();
            while writer.bytes() < BATCH_BYTES {
                // A checksum is of what is written before it, and of nothing else.
                let check = |next: &Committed| next.payload == Payload::Check;
                if !reached.is_empty() && entries.peek().is_some_and(check) {
                    break;
                }
                let Some(Committed { meta, payload, reply }) = entries.next() else {
                    break;
                };
                reached.insert(meta.shard, (meta.index, meta.term));
                let bytes = match payload {
                    Payload::Command(command) => Some(self.apply_command(&mut writer, meta, &command)?),
                    Payload::Members(members) => {
                        writer.set_members(meta.shard, &members);
                        Some(Vec::new())
                    }
                    Payload::Check => {
                        let checksum =
                            checksum(self.state.as_ref(), meta.shard).map_err(|error| store_failed(&error))?;
                        self.board.set_checksum(meta.shard, meta.index, checksum);
                        Some(checksum.to_vec())
                    }
                    // The core carries changes out before it hands them over.
                    Payload::Change(_) | Payload::Empty => None,
                };
                if let Some(bytes) = bytes {
                    answers.extend(reply.map(|reply| {
                        (
                            reply,
                            Outcome {
                                index: meta.index,
                                bytes,
                            },
                        )
                    }));
                }
            }
            for (shard, (index, term)) in &reached {
                writer.set_applied(*shard, *index, *term);
            }
            writer.commit().map_err(|error| store_failed(&error))?;
            self.report(reached, answers)?;
        }
        Ok(())
    }

    fn apply_command(&self, writer: &mut StateWriter<'_>, meta: EntryMeta, command: &[u8]) -> Result<Vec<u8>, Fatal> {
        let mut txn = writer.txn(meta.shard);
        // The writer is dropped, not written, after a panic.
        let applied = catch_unwind(AssertUnwindSafe(|| self.machine.apply(&mut txn, meta, command)));
        let cause = match applied {
            Ok(Ok(bytes)) => return Ok(bytes),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic_text(panic.as_ref()),
        };
        Err(Fatal {
            shard: Some(meta.shard),
            cause: format!("cannot apply the entry at index {}: {cause}", meta.index),
        })
    }

    fn report(
        &self,
        reached: BTreeMap<ShardId, (u64, u64)>,
        answers: Vec<(ProposalReply, Outcome)>,
    ) -> Result<(), Fatal> {
        for (shard, (index, _)) in &reached {
            let told = catch_unwind(AssertUnwindSafe(|| self.machine.applied(*shard, *index)));
            told.map_err(|panic| Fatal {
                shard: Some(*shard),
                cause: panic_text(panic.as_ref()),
            })?;
        }
        for (reply, outcome) in answers {
            // The proposer may have lost interest.
            let _ = reply.send(Ok(outcome));
        }
        for (shard, (index, _)) in reached {
            self.inbox.applied(shard, index);
        }
        Ok(())
    }
}

fn store_failed(error: &StorageError) -> Fatal {
    Fatal {
        shard: None,
        cause: error.to_string(),
    }
}
