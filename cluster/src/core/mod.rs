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
//!   SnapshotSent ◀─ state store, peers ◀ snapshots     beside everything else
//!   Installed ◀── state store ◀───────── installs
//!                                        answers, leadership, discards, fatal
//! ```
//!
//! What has to be durable before what is sent is decided here and nowhere else: a leader's appends leave in the step that
//! made them, beside the write (Raft thesis, 10.2.1); everything a follower or candidate says leaves in the step that is
//! told of the write's end. Only what is committed *and* durable here is handed over to be applied.
//!
//! | file | owns |
//! |---|---|
//! | `io` | what goes in and what comes out |
//! | `group` | one group: raft-rs, its proposals, its part in the write |
//! | `log_view` | what raft-rs reads of the log: recent entries, terms, the start |
//! | `reads` | linearizable reads, from the asking to the permission |
//! | `election` | election timeouts from the seed |
//! | `restore` | a snapshot on its way into a group |
//! | `compact` | how far a log may be cut off |
//! | `group::sleep` | idle groups cost no ticks |
//! | `leaders` | which node should lead which shard, which nodes live |

mod compact;
mod election;
mod group;
mod io;
mod leaders;
mod log_view;
mod reads;
mod restore;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use mimi_hub_storage::{GroupId, LogBatch};
use raft::eraftpb::{Message, MessageType};

use self::group::Group;
pub(crate) use self::io::{
    ApplyEntry, ApplyWork, CoreConfig, Fetch, Frame, GroupStart, GroupStatus, Input, LogWrite, Outputs, RequestId,
};
use self::leaders::{MAX_MOVES, Peers};
use crate::config::NodeId;
use crate::error::ProposeError;
use crate::fatal::{Fatal, panic_text};
use crate::machine::Leadership;
use crate::shard::ShardId;
use crate::snapshot::SnapshotId;

/// The Raft group of a shard in the log store. 0 is the cluster's own.
pub(crate) fn group_id(shard: ShardId) -> GroupId {
    u64::from(shard.0) + 1
}

fn shard_of_group(group: GroupId) -> ShardId {
    // The inverse of the above, for groups of shards alone.
    ShardId((group - 1) as u32)
}

/// What all groups share.
#[derive(Debug)]
struct Load {
    /// The other nodes.
    peers: Peers,
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
    /// Who should lead which shard; where nothing is said, it follows from the order of the nodes.
    preferred: BTreeMap<ShardId, NodeId>,
    /// The nodes that share a group with this one.
    others: BTreeSet<NodeId>,
    ticks: usize,
    /// This node is about to stop.
    leaving: bool,
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
        let load = Load {
            peers: Peers::new(config.election_ticks),
            unapplied_bytes: 0,
            reads: 0,
        };
        Ok(Self {
            others: others(config.node, groups.values()),
            preferred: BTreeMap::new(),
            config,
            ticks: 0,
            leaving: false,
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
            self.tick(&mut frames, &mut out);
        }
        self.gather(&mut frames, &mut out);
        let from = self.config.node;
        out.frames = frames
            .into_iter()
            .map(|(to, messages)| Frame { from, to, messages })
            .collect();
        out
    }

    fn tick(&mut self, frames: &mut Messages, out: &mut Outputs) {
        let balance = self.load.peers.tick();
        for shard in self.shards() {
            let asleep = self.groups.get_mut(&shard).is_some_and(|group| {
                if group.is_asleep() {
                    group.wake_by_silence(&self.load);
                }
                group.is_asleep()
            });
            if !asleep {
                self.with(shard, out, |group, load, _| group.tick(load));
            }
        }
        if balance {
            self.others = others(self.config.node, self.groups.values());
            let silence = |node: &NodeId| (*node, self.config.tick * self.load.peers.silence(*node) as u32);
            out.silence = Some(self.others.iter().map(silence).collect());
        }
        if self.leaving {
            self.hand_over(out);
        } else if balance {
            self.balance(out);
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(self.config.heartbeat_ticks) && !self.broken {
            // An empty frame says that this node lives, on behalf of all the groups that sleep.
            for node in &self.others {
                frames.entry(*node).or_default();
            }
        }
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

    /// Whether this node leads a shard that another node could lead.
    pub(crate) fn may_hand_over(&self) -> bool {
        self.groups
            .values()
            .any(|group| group.successor(&self.load.peers).is_some())
    }

    /// Gives away what is led here.
    fn hand_over(&mut self, out: &mut Outputs) {
        for shard in self.shards() {
            let successor = self
                .groups
                .get(&shard)
                .and_then(|group| group.successor(&self.load.peers));
            if let Some(to) = successor {
                self.with(shard, out, |group, _, _| group.transfer(to));
            }
        }
    }

    /// Gives some of what other nodes should lead back to them.
    fn balance(&mut self, out: &mut Outputs) {
        let peers = &self.load.peers;
        let wanted = self.groups.iter().filter_map(|(shard, group)| {
            let to = match self.preferred.get(shard) {
                Some(node) => *node,
                None => leaders::preferred(*shard, &group.members().voters)?,
            };
            (peers.steady(to) && group.could_be_led_by(to)).then_some((*shard, to))
        });
        let moves: Vec<_> = wanted.take(MAX_MOVES).collect();
        for (shard, to) in moves {
            self.with(shard, out, |group, _, _| group.transfer(to));
        }
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
            Input::ChangeMembers { shard, id, steps } => {
                self.request(shard, id, out, |group, _, out| {
                    if let Err(error) = group.change_members(id, &steps, out) {
                        out.answers.push((id, Err(error)));
                    }
                });
            }
            Input::Transfer { shard, to } => {
                self.with(shard, out, |group, _, _| {
                    if group.could_be_led_by(to) {
                        group.transfer(to);
                    }
                });
            }
            Input::Frame(frame) => self.take_frame(frame, out),
            Input::Persisted { write } => {
                if self.writes == write {
                    for shard in self.writing.take().unwrap_or_default() {
                        self.with(shard, out, |group, _, out| {
                            let messages = group.persisted(out);
                            add_messages(frames, out, shard, messages);
                        });
                    }
                }
            }
            Input::Applied { shard, index } => {
                self.with(shard, out, |group, load, _| group.applied(index, load));
            }
            Input::Flushed { shard, index } => {
                let (keep, max_lag) = (self.config.keep_entries, self.config.max_lag_entries);
                self.with(shard, out, |group, _, _| group.flushed(index, keep, max_lag));
            }
            Input::Snapshot { shard, message } => {
                self.load.peers.hear(NodeId(message.from));
                let metadata = message.get_snapshot().get_metadata();
                let (index, term) = (metadata.index, metadata.term);
                let mut wanted = false;
                self.with(shard, out, |group, _, _| wanted = group.receive_snapshot(message));
                if !wanted {
                    out.discards.push(SnapshotId { shard, index, term });
                }
            }
            Input::SnapshotSent { shard, to, delivered } => {
                self.with(shard, out, |group, _, _| group.snapshot_sent(to, delivered));
            }
            Input::Installed(id) => {
                self.with(id.shard, out, |group, _, _| group.installed());
            }
            Input::Prefer(leaders) => self.preferred = leaders,
            Input::Cleared(start) => self.begin_anew(*start, out),
            Input::HandOver => {
                self.leaving = true;
                for group in self.groups.values_mut() {
                    group.leave();
                }
                self.hand_over(out);
            }
            Input::Fetched { shard, low, entries } => {
                self.with(shard, out, |group, _, _| group.fetched(low, entries));
            }
        }
    }

    /// A replica that was removed begins anew, without anything but its vote.
    fn begin_anew(&mut self, start: GroupStart, out: &mut Outputs) {
        let shard = start.shard;
        match Group::new(&self.config, start) {
            Ok(group) => {
                if let Some(before) = self.groups.insert(shard, group) {
                    before.give_up(&mut self.load, out);
                }
                self.dirty.insert(shard);
                out.touched.insert(shard);
                out.leadership.push((shard, Leadership::Follower { leader: None }));
            }
            Err(error) => {
                out.fatal = Some(Fatal {
                    shard: Some(shard),
                    cause: error.to_string(),
                });
                self.broken = true;
            }
        }
    }

    fn take_frame(&mut self, frame: Frame, out: &mut Outputs) {
        self.load.peers.hear(frame.from);
        for (shard, message) in frame.messages {
            if message.from != frame.from.0 || message.to != self.config.node.0 {
                continue;
            }
            // Entries that the state store cannot keep up with are not taken; the leader sends them again.
            let full = self.load.unapplied_bytes > self.config.max_unapplied_bytes;
            if full && message.get_msg_type() == MessageType::MsgAppend && !message.entries.is_empty() {
                continue;
            }
            self.with(shard, out, |group, load, _| group.receive(message, load));
        }
    }

    /// Takes the ready work of all groups: at most one write comes out of it.
    fn gather(&mut self, frames: &mut Messages, out: &mut Outputs) {
        if self.writing.is_some() {
            return;
        }
        let mut batch = LogBatch::default();
        for shard in std::mem::take(&mut self.dirty) {
            self.with(shard, out, |group, load, out| {
                let messages = group.gather(&mut batch, load, out);
                add_messages(frames, out, shard, messages);
            });
        }
        let writing: Vec<ShardId> = batch.groups().map(|(group, _)| shard_of_group(group)).collect();
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

fn others<'a>(node: NodeId, groups: impl Iterator<Item = &'a Group>) -> BTreeSet<NodeId> {
    let members = groups.map(Group::members);
    let nodes = members.flat_map(|it| it.voters.iter().chain(&it.outgoing).chain(&it.learners));
    nodes.copied().filter(|other| *other != node).collect()
}

/// Messages by the node they go to.
type Messages = BTreeMap<NodeId, Vec<(ShardId, Message)>>;

fn add_messages(to: &mut Messages, out: &mut Outputs, shard: ShardId, messages: Vec<Message>) {
    for message in messages {
        if message.get_msg_type() == MessageType::MsgSnapshot {
            out.snapshots.push((shard, message));
            continue;
        }
        to.entry(NodeId(message.to)).or_default().push((shard, message));
    }
}
