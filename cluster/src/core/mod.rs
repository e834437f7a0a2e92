//! The sans-IO core: every Raft group of this node.
//!
//! [`Core::step`] takes what happened and returns everything that has to be done about it. The core has no clock, disk,
//! socket, thread or randomness: time comes in with the step, election timeouts are drawn from a seed, log entries that it
//! no longer holds are asked for with a [`Fetch`]. The same inputs give the same outputs, so that a cluster of cores can be
//! simulated.
//!
//! ```text
//!   requests, frames, time ──▶ step ──▶ frames        send at once
//!   Persisted ◀── log store ◀─────────── write         one for all groups, one at a time
//!   Applied ◀──── state store ◀───────── apply         in order
//!   Fetched ◀──── log store ◀─────────── fetches
//!                                        answers, leadership, fatal
//! ```
//!
//! What has to be durable before what is sent is decided here and nowhere else: a leader's appends leave in the step that
//! made them, beside the write (Raft thesis, 10.2.1); everything a follower or candidate says leaves in the step that is
//! told of the write's end. Only what is committed *and* durable here is handed over to be applied.
//!
//! | file | owns |
//! |---|---|
//! | `group` | one group: raft-rs, its proposals, its part in the write |
//! | `log_view` | what raft-rs reads of the log: recent entries, terms, the start |
//! | `reads` | linearizable reads, from the asking to the permission |
//! | `election` | election timeouts from the seed |

mod election;
mod group;
mod log_view;
mod reads;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use mimi_hub_storage::{Entry, GroupId, HardState, LogBatch, LogStart};
use raft::eraftpb::{ConfState, Message, MessageType};

use self::group::Group;
use crate::config::{ClusterConfig, NodeId};
use crate::entry::Payload;
use crate::error::ProposeError;
use crate::fatal::{Fatal, panic_text};
use crate::machine::Leadership;
use crate::shard::ShardId;

/// Names a proposal or a read of this node until it is answered. Chosen by the caller, never twice.
pub(crate) type RequestId = u64;

/// What the core has to know from the start.
#[derive(Clone, Debug)]
pub(crate) struct CoreConfig {
    pub(crate) node: NodeId,
    pub(crate) tick: Duration,
    pub(crate) heartbeat_ticks: usize,
    pub(crate) election_ticks: usize,
    pub(crate) seed: u64,
    pub(crate) max_uncommitted_bytes: u64,
    pub(crate) max_unapplied_bytes: u64,
    pub(crate) max_reads: usize,
    pub(crate) entry_cache_bytes: u64,
    pub(crate) keep_entries: u64,
    pub(crate) logger: slog::Logger,
}

impl CoreConfig {
    pub(crate) fn new(config: &ClusterConfig, logger: slog::Logger) -> Self {
        Self {
            node: config.node,
            tick: config.tick,
            heartbeat_ticks: config.heartbeat_ticks,
            election_ticks: config.election_ticks,
            seed: config.seed,
            max_uncommitted_bytes: config.max_uncommitted_bytes,
            max_unapplied_bytes: config.max_unapplied_bytes,
            max_reads: config.max_queued,
            entry_cache_bytes: config.entry_cache_bytes,
            keep_entries: config.keep_entries,
            logger,
        }
    }
}

/// What the stores hold of a group at the start.
#[derive(Clone, Debug)]
pub(crate) struct GroupStart {
    pub(crate) shard: ShardId,
    pub(crate) hard_state: HardState,
    pub(crate) conf_state: ConfState,
    pub(crate) start: LogStart,
    /// The first index of each term in the log, ascending.
    pub(crate) terms: Vec<LogStart>,
    /// Applied index of the state store; not below `start`.
    pub(crate) applied: u64,
    /// Every entry above `applied`.
    pub(crate) tail: Vec<Entry>,
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// A command to replicate, encoded as an entry's data. Those of one shard enter its log in the order given.
    Propose {
        shard: ShardId,
        id: RequestId,
        data: Vec<u8>,
    },
    /// A read that must see everything acknowledged before now.
    Read { shard: ShardId, id: RequestId },
    /// Messages arrived.
    Frame(Frame),
    /// The write of this number is durable.
    Persisted { write: u64 },
    /// The state store has applied the shard's entries up to `index`.
    Applied { shard: ShardId, index: u64 },
    /// The state store is durable up to the shard's entry `index`, so that the log may be compacted behind it.
    Flushed { shard: ShardId, index: u64 },
    /// The answer to a [`Fetch`].
    Fetched {
        shard: ShardId,
        low: u64,
        entries: Vec<Entry>,
    },
}

/// Messages of many groups between two nodes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) messages: Vec<(ShardId, Message)>,
}

/// Everything that a step asks for.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// To be sent. A loss is survived.
    pub(crate) frames: Vec<Frame>,
    /// To be made durable; then the core is told [`Input::Persisted`]. There is never more than one under way.
    pub(crate) write: Option<LogWrite>,
    /// To be applied, in this order.
    pub(crate) apply: Vec<ApplyWork>,
    /// Requests that end here. Proposals that are handed over to be applied end with that instead.
    pub(crate) answers: Vec<(RequestId, Result<(), ProposeError>)>,
    /// Entries to be read from the log store; the core is told [`Input::Fetched`].
    pub(crate) fetches: Vec<Fetch>,
    /// Changes of this node's part in shards.
    pub(crate) leadership: Vec<(ShardId, Leadership)>,
    /// Shards whose status may have changed.
    pub(crate) touched: BTreeSet<ShardId>,
    /// A group is broken. The core does nothing from here on.
    pub(crate) fatal: Option<Fatal>,
}

/// One write to the log, for every group that has something to make durable.
#[derive(Debug)]
pub(crate) struct LogWrite {
    pub(crate) number: u64,
    pub(crate) batch: LogBatch,
}

/// Committed entries of a shard.
#[derive(Debug)]
pub(crate) struct ApplyWork {
    pub(crate) shard: ShardId,
    pub(crate) entries: Vec<ApplyEntry>,
}

/// A committed entry.
#[derive(Debug)]
pub(crate) struct ApplyEntry {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) payload: Payload,
    /// The proposal of this node that it is.
    pub(crate) request: Option<RequestId>,
}

/// Entries `low .. high` of a shard are wanted, `max_bytes` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) shard: ShardId,
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) max_bytes: u64,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupStatus {
    pub(crate) leadership: Leadership,
    pub(crate) term: u64,
    pub(crate) committed: u64,
    pub(crate) applied: u64,
    pub(crate) first_index: u64,
    pub(crate) last_index: u64,
}

/// The Raft group of a shard in the log store. 0 is the cluster's own.
pub(crate) fn group_id(shard: ShardId) -> GroupId {
    u64::from(shard.0) + 1
}

/// Counters that all groups share.
#[derive(Debug, Default)]
struct Load {
    /// Bytes of entries handed over and not reported applied yet.
    unapplied_bytes: u64,
    /// Reads without an answer.
    reads: usize,
}

/// Every Raft group of this node.
pub(crate) struct Core {
    config: CoreConfig,
    groups: BTreeMap<ShardId, Group>,
    load: Load,
    /// Groups that may have ready work.
    dirty: BTreeSet<ShardId>,
    next_tick: Duration,
    writes: u64,
    /// Groups in the write under way. While there is one, steps take inputs in, but no ready work out.
    writing: Option<Vec<ShardId>>,
    broken: bool,
}

impl Core {
    /// A core at time `now`, on any scale that does not go back. A group whose only voter is this node campaigns at once.
    ///
    /// # Errors
    /// What raft-rs does not accept, by shard.
    pub(crate) fn new(
        config: CoreConfig,
        now: Duration,
        starts: Vec<GroupStart>,
    ) -> Result<Self, (ShardId, raft::Error)> {
        let mut groups = BTreeMap::new();
        for start in starts {
            let shard = start.shard;
            groups.insert(shard, Group::new(&config, start).map_err(|error| (shard, error))?);
        }
        let next_tick = now + config.tick;
        let dirty = groups.keys().copied().collect();
        let load = Load::default();
        Ok(Self {
            config,
            groups,
            load,
            dirty,
            next_tick,
            writes: 0,
            writing: None,
            broken: false,
        })
    }

    /// Takes what happened up to `now` and returns what has to be done.
    pub(crate) fn step(&mut self, now: Duration, inputs: impl IntoIterator<Item = Input>) -> Outputs {
        let mut out = Outputs::default();
        let mut frames = BTreeMap::new();
        for input in inputs {
            self.take(input, &mut frames, &mut out);
        }
        if now >= self.next_tick {
            // Ticks that were missed are dropped: after a stall of this process, messages of a live leader may be waiting,
            // and time that nobody watched must not make it look dead.
            self.next_tick = now + self.config.tick;
            for shard in self.shards() {
                self.with(shard, &mut out, |group, _, _| group.tick());
            }
        }
        self.gather(&mut frames, &mut out);
        let from = self.config.node;
        out.frames = frames
            .into_iter()
            .map(|(to, messages)| Frame { from, to, messages })
            .collect();
        out
    }

    /// When [`step`](Self::step) wants to be called at the latest.
    pub(crate) fn deadline(&self) -> Duration {
        self.next_tick
    }

    /// Where a group stands.
    pub(crate) fn status(&self, shard: ShardId) -> Option<GroupStatus> {
        self.groups.get(&shard).map(Group::status)
    }

    /// Bytes of entries handed over and not reported applied yet.
    pub(crate) fn unapplied_bytes(&self) -> u64 {
        self.load.unapplied_bytes
    }

    /// What would only be written along with the next write: to be written, buffered or not, before the log is closed.
    pub(crate) fn parting_write(&mut self) -> LogBatch {
        let mut batch = LogBatch::default();
        for group in self.groups.values_mut() {
            group.parting_write(&mut batch);
        }
        batch
    }

    fn shards(&self) -> Vec<ShardId> {
        self.groups.keys().copied().collect()
    }

    fn take(&mut self, input: Input, frames: &mut Messages, out: &mut Outputs) {
        match input {
            Input::Propose { shard, id, data } => {
                let max = self.config.max_unapplied_bytes;
                self.request(shard, id, out, |group, load, out| {
                    let full = load.unapplied_bytes > max;
                    let answer = if full {
                        Err(ProposeError::Overloaded)
                    } else {
                        group.propose(id, data)
                    };
                    if let Err(error) = answer {
                        out.answers.push((id, Err(error)));
                    }
                });
            }
            Input::Read { shard, id } => {
                let max = self.config.max_reads;
                self.request(shard, id, out, |group, load, out| {
                    let full = load.reads >= max;
                    let answer = if full {
                        Err(ProposeError::Overloaded)
                    } else {
                        group.read(id)
                    };
                    match answer {
                        Ok(()) => load.reads += 1,
                        Err(error) => out.answers.push((id, Err(error))),
                    }
                });
            }
            Input::Frame(frame) => self.take_frame(frame, out),
            Input::Persisted { write } => {
                if self.writes == write {
                    for shard in self.writing.take().unwrap_or_default() {
                        self.with(shard, out, |group, _, _| add_messages(frames, shard, group.persisted()));
                    }
                }
            }
            Input::Applied { shard, index } => {
                self.with(shard, out, |group, load, _| group.applied(index, load));
            }
            Input::Flushed { shard, index } => {
                let keep = self.config.keep_entries;
                self.with(shard, out, |group, _, _| group.flushed(index, keep));
            }
            Input::Fetched { shard, low, entries } => {
                self.with(shard, out, |group, _, _| group.fetched(low, entries));
            }
        }
    }

    fn take_frame(&mut self, frame: Frame, out: &mut Outputs) {
        for (shard, message) in frame.messages {
            if message.from != frame.from.0 || message.to != self.config.node.0 {
                continue;
            }
            // Entries that the state store cannot keep up with are not taken; the leader sends them again.
            let full = self.load.unapplied_bytes > self.config.max_unapplied_bytes;
            if full && message.get_msg_type() == MessageType::MsgAppend && !message.entries.is_empty() {
                continue;
            }
            self.with(shard, out, |group, _, _| group.receive(message));
        }
    }

    /// Takes the ready work of all groups: at most one write comes out of it.
    fn gather(&mut self, frames: &mut Messages, out: &mut Outputs) {
        if self.writing.is_some() {
            return;
        }
        let mut batch = LogBatch::default();
        let mut writing = Vec::new();
        for shard in std::mem::take(&mut self.dirty) {
            self.with(shard, out, |group, load, out| {
                add_messages(frames, shard, group.gather(&mut batch, load, out));
                if group.is_writing() {
                    writing.push(shard);
                }
            });
        }
        // What has been gathered is done with; new work comes with new inputs.
        self.dirty.clear();
        if !writing.is_empty() && !self.broken {
            self.writes += 1;
            self.writing = Some(writing);
            out.write = Some(LogWrite {
                number: self.writes,
                batch,
            });
        }
    }

    fn request(
        &mut self,
        shard: ShardId,
        id: RequestId,
        out: &mut Outputs,
        act: impl FnOnce(&mut Group, &mut Load, &mut Outputs),
    ) {
        if self.groups.contains_key(&shard) {
            self.with(shard, out, act);
        } else {
            out.answers.push((id, Err(ProposeError::NoSuchShard(shard))));
        }
    }

    /// Lets one group act. Its panic, or an entry it cannot carry out, breaks the core.
    fn with(&mut self, shard: ShardId, out: &mut Outputs, act: impl FnOnce(&mut Group, &mut Load, &mut Outputs)) {
        let Some(group) = self.groups.get_mut(&shard).filter(|_| !self.broken) else {
            return;
        };
        self.dirty.insert(shard);
        out.touched.insert(shard);
        let load = &mut self.load;
        // Whatever the panic left half done is not looked at again: the core is broken.
        let acted = catch_unwind(AssertUnwindSafe(|| act(group, load, out)));
        if let Err(panic) = acted {
            out.fatal = Some(Fatal {
                shard: Some(shard),
                cause: panic_text(panic.as_ref()),
            });
        }
        self.broken = out.fatal.is_some();
    }
}

/// Messages by the node they go to.
type Messages = BTreeMap<NodeId, Vec<(ShardId, Message)>>;

fn add_messages(to: &mut Messages, shard: ShardId, messages: Vec<Message>) {
    for message in messages {
        to.entry(NodeId(message.to)).or_default().push((shard, message));
    }
}
