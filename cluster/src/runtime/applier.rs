//! The thread that applies committed entries.
//!
//! Invariant: the applied index of a shard and the writes of its entries are in one batch of the state store; a proposer
//! is answered, and the worker told, only after that batch is written.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use mimi_hub_storage::{StateStore, StorageError};

use super::cluster::Outcome;
use super::inbox::{Inbox, ProposalReply};
use crate::entry::Payload;
use crate::fatal::{Fatal, panic_text};
use crate::machine::{EntryMeta, StateMachine, StateWriter};
use crate::shard::ShardId;

/// Bytes written after which a batch is closed although more work waits.
const BATCH_BYTES: usize = 4 << 20;
/// Likewise by entries.
const BATCH_ENTRIES: usize = 4 << 10;

/// A committed entry, and who waits for it.
pub(super) struct Committed {
    pub(super) meta: EntryMeta,
    pub(super) payload: Payload,
    pub(super) reply: Option<ProposalReply>,
}

pub(super) struct Applier {
    state: Arc<dyn StateStore>,
    machine: Arc<dyn StateMachine>,
    inbox: Arc<Inbox>,
    /// Not bounded here: the core counts what it has handed over, and takes nothing in beyond its limit.
    work: Receiver<Vec<Committed>>,
}

impl Applier {
    pub(super) fn new(
        state: Arc<dyn StateStore>,
        machine: Arc<dyn StateMachine>,
        inbox: Arc<Inbox>,
        work: Receiver<Vec<Committed>>,
    ) -> Self {
        Self {
            state,
            machine,
            inbox,
            work,
        }
    }

    /// Applies what comes until nothing can come any more, or something breaks.
    pub(super) fn run(self) {
        while let Ok(mut batch) = self.work.recv() {
            while batch.len() < BATCH_ENTRIES {
                match self.work.try_recv() {
                    Ok(more) => batch.extend(more),
                    Err(_) => break,
                }
            }
            if let Err(fatal) = self.apply(batch) {
                self.inbox.fatal(fatal);
                return;
            }
        }
    }

    fn apply(&self, entries: Vec<Committed>) -> Result<(), Fatal> {
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let mut writer = StateWriter::new(self.state.as_ref());
            let mut reached = BTreeMap::new();
            let mut answers = Vec::new();
            while writer.bytes() < BATCH_BYTES {
                let Some(Committed { meta, payload, reply }) = entries.next() else {
                    break;
                };
                reached.insert(meta.shard, meta.index);
                if let Payload::Command(command) = payload {
                    let bytes = self.apply_command(&mut writer, meta, &command)?;
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
            for (shard, index) in &reached {
                writer.set_applied(*shard, *index);
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

    fn report(&self, reached: BTreeMap<ShardId, u64>, answers: Vec<(ProposalReply, Outcome)>) -> Result<(), Fatal> {
        for (shard, index) in &reached {
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
        for (shard, index) in reached {
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
