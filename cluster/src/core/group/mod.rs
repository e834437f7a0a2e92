//! One Raft group: raft-rs, the requests that wait on it, and its part in the log write.
//!
//! Invariants:
//! - `proposals` are of the current term, ascending by index; they are failed as soon as this node no longer leads it;
//! - while a write is under way (`writing`), or a snapshot is being installed (`restoring`), no ready work is taken;
//! - `Leader` is announced only when an entry of the leader's own term has been applied.

mod leadership;
mod membership;
mod requests;
mod sleep;
mod snapshots;
mod stray;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use mimi_hub_storage::{Entry, HardState, LogBatch, LogStart};
use raft::eraftpb::{Message, MessageType};
use raft::{Config, GetEntriesContext, RawNode, ReadOnlyOption, SnapshotStatus};

use self::sleep::Sleep;
use self::stray::Removed;
use super::election::ElectionTimeout;
use super::leaders::preferred;
use super::log_view::LogView;
use super::reads::Reads;
use super::restore::{Next, Restore};
use super::{CoreConfig, Fetch, GroupStart, GroupStatus, Load, Outputs, RequestId, group_id};
use crate::machine::Leadership;
use crate::members::Members;
use crate::shard::ShardId;
use crate::snapshot::SnapshotId;

/// Bytes of entries in one message.
const MAX_MESSAGE_BYTES: u64 = 1 << 20;
/// Messages with entries that may be under way to one replica.
const MAX_INFLIGHT_MESSAGES: usize = 256;

struct Proposal {
    index: u64,
    term: u64,
    id: RequestId,
}

/// The end of a write that the group waits for.
struct Writing {
    /// Of the raft-rs `Ready` in it.
    number: u64,
    /// What may be said once it is durable.
    messages: Vec<Message>,
}

pub(in crate::core) struct Group {
    shard: ShardId,
    raw: RawNode<LogView>,
    timeout: ElectionTimeout,
    sleep: Sleep,
    /// This node is about to stop.
    leaving: bool,
    removed: Removed,
    /// There is no state, which has to come as a snapshot.
    stateless: bool,
    /// Ticks since that was last asked for.
    asked: usize,
    applied: u64,
    members: Arc<Members>,
    announced: Leadership,
    /// Not appended yet.
    queued: Vec<(RequestId, Bytes)>,
    proposals: VecDeque<Proposal>,
    reads: Reads,
    /// Entries handed over and not reported applied: the last index of each hand-over, and its bytes.
    unapplied: VecDeque<(u64, u64)>,
    writing: Option<Writing>,
    /// A snapshot on its way in.
    restoring: Option<Restore>,
    /// Snapshots that did not get through, and the ticks until raft-rs is told and may begin anew.
    failed: Vec<(u64, usize)>,
    retry_ticks: usize,
    /// The newest format that this binary understands.
    format: u16,
    /// Not written yet, because only the commit index in it is new: goes with the next write.
    hard_state: Option<HardState>,
    /// Taken in, and not written yet: goes with the next write.
    compact_to: Option<u64>,
    /// Reads of the log store under way, by their low index.
    fetching: BTreeMap<u64, GetEntriesContext>,
}

impl Group {
    pub(in crate::core) fn new(config: &CoreConfig, start: GroupStart) -> raft::Result<Self> {
        let GroupStart {
            shard,
            mut hard_state,
            conf_state,
            start,
            terms,
            applied,
            stateless,
            tail,
        } = start;
        // Applied implies committed, and the commit index on the disk may be behind.
        hard_state.commit = hard_state.commit.max(applied);
        let alone = conf_state.voters == [config.node.0] && conf_state.voters_outgoing.is_empty();
        let members = Arc::new(Members::new(&conf_state));
        let view = LogView::new(
            hard_state,
            conf_state,
            start,
            terms,
            &tail,
            applied,
            config.entry_cache_bytes,
        );
        let raft_config = Config {
            id: config.node.0,
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            applied,
            max_size_per_msg: MAX_MESSAGE_BYTES,
            max_inflight_msgs: MAX_INFLIGHT_MESSAGES,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            // Not safe in raft-rs 0.7.0: it joins entries to a waiting empty append without looking whether they follow it,
            // and the other replica then acknowledges an index that it does not have.
            batch_append: false,
            max_uncommitted_size: config.max_uncommitted_bytes.max(MAX_MESSAGE_BYTES),
            max_committed_size_per_ready: MAX_MESSAGE_BYTES,
            ..Config::default()
        };
        let mut raw = RawNode::new(&raft_config, view, &config.logger)?;
        // Before anyone has led.
        let first = (preferred(shard, &members.voters) == Some(config.node)).then_some(raw.raft.term);
        if alone {
            // Nobody else can lead, so there is nobody to wait for.
            raw.campaign()?;
        }
        Ok(Self {
            shard,
            raw,
            timeout: ElectionTimeout::new(config.seed, config.node, shard, config.election_ticks, first),
            sleep: Sleep::default(),
            leaving: false,
            removed: Removed::No,
            stateless,
            asked: usize::MAX,
            applied,
            members,
            announced: Leadership::Follower { leader: None },
            queued: Vec::new(),
            proposals: VecDeque::new(),
            reads: Reads::default(),
            unapplied: VecDeque::new(),
            writing: None,
            restoring: None,
            failed: Vec::new(),
            retry_ticks: config.election_ticks,
            format: config.format,
            hard_state: None,
            compact_to: None,
            fetching: BTreeMap::new(),
        })
    }

    pub(in crate::core) fn tick(&mut self, load: &Load) {
        if self.removed != Removed::No {
            return;
        }
        self.asked = self.asked.saturating_add(1);
        for (_, ticks) in &mut self.failed {
            *ticks = ticks.saturating_sub(1);
        }
        let raw = &mut self.raw;
        for (to, _) in self.failed.extract_if(.., |(_, ticks)| *ticks == 0) {
            raw.report_snapshot(to, SnapshotStatus::Failure);
        }
        // Without time there are no elections.
        if self.leads() || self.may_campaign() {
            self.timeout.pin(&mut self.raw.raft);
            self.raw.tick();
        }
        self.make_itself_heard();
        self.consider_sleep(load);
    }

    /// Takes a message in. What raft-rs refuses (a stale sender, a message of a kind that is never sent) is dropped, as
    /// the network might have dropped it.
    pub(in crate::core) fn receive(&mut self, message: Message, load: &Load) {
        let message = self.receive_about_removal(message);
        let Some(message) = message.and_then(|message| self.receive_about_sleep(message, load)) else {
            return;
        };
        if self.is_asleep() {
            self.wake();
        }
        let dropped = match message.get_msg_type() {
            MessageType::MsgSnapshot => true,
            MessageType::MsgAppend | MessageType::MsgHeartbeat if self.stateless => {
                self.ask_for_state(message);
                return;
            }
            MessageType::MsgTimeoutNow => !self.may_campaign(),
            _ => false,
        };
        if !dropped {
            let _ = self.raw.step(message);
        }
    }

    /// The write under way is durable. Returns what may be said now.
    pub(in crate::core) fn persisted(&mut self, out: &mut Outputs) -> Vec<Message> {
        if let Some(writing) = self.writing.take() {
            self.raw.on_persist_ready(writing.number);
            return writing.messages;
        }
        let Some(restoring) = &mut self.restoring else {
            return Vec::new();
        };
        let LogStart { index, term } = restoring.start;
        match restoring.persisted() {
            Some(Next::Install) => out.installs.push(SnapshotId {
                shard: self.shard,
                index,
                term,
            }),
            Some(Next::Done) => {
                self.raw.on_persist_ready(restoring.number);
                self.applied = index;
                self.stateless = false;
                self.raw.advance_apply_to(index);
                self.raw.mut_store().applied(index);
                return self
                    .restoring
                    .take()
                    .map_or_else(Vec::new, |restored| restored.messages);
            }
            None => {}
        }
        Vec::new()
    }

    /// The state store has applied up to `index`.
    pub(in crate::core) fn applied(&mut self, index: u64, load: &mut Load) {
        while let Some((_, bytes)) = pop_front_if(&mut self.unapplied, |(last, _)| *last <= index) {
            load.unapplied_bytes -= bytes;
        }
        self.applied = self.applied.max(index);
        self.raw.advance_apply_to(self.applied);
        self.raw.mut_store().applied(self.applied);
    }

    pub(in crate::core) fn fetched(&mut self, low: u64, entries: Vec<Entry>) {
        if let Some(context) = self.fetching.remove(&low) {
            self.raw.mut_store().set_fetched(entries);
            self.raw.on_entries_fetched(context);
            self.raw.mut_store().set_fetched(Vec::new());
        }
    }

    /// Takes the ready work, up to what has to be durable first. Returns what may be said at once.
    pub(in crate::core) fn gather(&mut self, batch: &mut LogBatch, load: &mut Load, out: &mut Outputs) -> Vec<Message> {
        let mut messages = Vec::new();
        self.look_for_removal();
        if self.clear_when_removed(out) {
            self.settle(load, out);
            return messages;
        }
        self.append_queued(out);
        self.reach_further();
        self.ask_reads();
        while self.writing.is_none() && self.restoring.is_none() && self.raw.has_ready() {
            let mut ready = self.raw.ready();
            messages.extend(ready.take_messages());
            for state in ready.take_read_states() {
                self.reads.confirm(&state);
            }
            let committed = ready.take_committed_entries();
            if let Some(hard_state) = ready.hs() {
                self.hard_state = Some(hard_state.clone());
            }
            let synced = ready.must_sync();
            let number = ready.number();
            let entries = ready.take_entries();
            let after = ready.take_persisted_messages();
            let metadata = ready.snapshot().get_metadata();
            if metadata.index > 0 {
                let start = LogStart {
                    index: metadata.index,
                    term: metadata.term,
                };
                let members = metadata.get_conf_state().clone();
                self.raw.mut_store().restore(start, members.clone());
                self.raw.mut_store().append(&entries);
                self.raw.advance_append_async(ready);
                self.members = Arc::new(Members::new(&members));
                self.compact_to = None;
                self.restoring = Some(Restore::new(number, start, members, entries, after));
                break;
            }
            self.raw.mut_store().append(&entries);
            self.raw.advance_append_async(ready);
            if !self.stateless {
                self.hand_over(&committed, load, out);
            }
            if synced {
                let write = batch.group(group_id(self.shard));
                write.entries = entries;
                write.hard_state = self.hard_state.take();
                self.add_compaction(write);
                self.writing = Some(Writing {
                    number,
                    messages: after,
                });
            } else {
                // Nothing in it has to be durable: not even the commit index, which is found again after a crash.
                messages.extend(after);
                self.raw.on_persist_ready(number);
            }
        }
        if let Some(restoring) = self.restoring.as_mut().filter(|restoring| restoring.wants_write()) {
            restoring.add_to(batch.group(group_id(self.shard)), &mut self.hard_state);
        }
        for missing in self.raw.mut_store().take_missing() {
            let (low, high) = (missing.low, missing.high);
            // The one under way is asked for already; raft-rs gets it by the newer context.
            if self.fetching.insert(low, missing.context).is_none() {
                out.fetches.push(Fetch {
                    shard: self.shard,
                    low,
                    high,
                    max_bytes: missing.max_bytes,
                });
            }
        }
        self.settle(load, out);
        // After the heartbeats of the same tick, which would wake whom this asks to sleep.
        messages.append(&mut self.sleep.outgoing);
        messages
    }

    pub(in crate::core) fn parting_write(&mut self, batch: &mut LogBatch) {
        // The commit index of a snapshot means nothing to a log that is not sealed.
        let restoring = self.restoring.is_some();
        if !restoring && (self.hard_state.is_some() || self.compact_to.is_some()) {
            let write = batch.group(group_id(self.shard));
            write.hard_state = self.hard_state.take();
            self.add_compaction(write);
        }
    }

    pub(in crate::core) fn status(&self) -> GroupStatus {
        let log = &self.raw.raft.raft_log;
        GroupStatus {
            leadership: self.announced,
            term: self.raw.raft.term,
            committed: log.committed,
            applied: self.applied,
            first_index: log.first_index(),
            last_index: log.last_index(),
            asleep: self.is_asleep(),
            stateless: self.stateless,
            members: self.members.clone(),
        }
    }
}

fn pop_front_if<T>(queue: &mut VecDeque<T>, wanted: impl FnOnce(&T) -> bool) -> Option<T> {
    if queue.front().is_some_and(wanted) {
        queue.pop_front()
    } else {
        None
    }
}
