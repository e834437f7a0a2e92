//! One Raft group: raft-rs, the requests that wait on it, and its part in the log write.
//!
//! Invariants:
//! - `proposals` are of the current term, ascending by index; they are failed as soon as this node no longer leads it;
//! - while a write is under way (`writing`), no ready work is taken;
//! - `Leader` is announced only when an entry of the leader's own term has been applied.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use mimi_hub_storage::{Entry, HardState, LogBatch};

use raft::eraftpb::{Message, MessageType};
use raft::{Config, GetEntriesContext, RawNode, ReadOnlyOption, StateRole};

use super::election::ElectionTimeout;
use super::log_view::LogView;
use super::reads::Reads;
use super::{ApplyEntry, ApplyWork, CoreConfig, Fetch, GroupStart, GroupStatus, Load, Outputs, RequestId, group_id};
use crate::config::NodeId;
use crate::entry;
use crate::error::ProposeError;
use crate::fatal::Fatal;
use crate::machine::Leadership;
use crate::shard::ShardId;

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

pub(super) struct Group {
    shard: ShardId,
    raw: RawNode<LogView>,
    timeout: ElectionTimeout,
    applied: u64,
    announced: Leadership,
    /// Not appended yet.
    queued: Vec<(RequestId, Bytes)>,
    proposals: VecDeque<Proposal>,
    reads: Reads,
    /// Entries handed over and not reported applied: the last index of each hand-over, and its bytes.
    unapplied: VecDeque<(u64, u64)>,
    writing: Option<Writing>,
    /// Not written yet, because only the commit index in it is new: goes with the next write.
    hard_state: Option<HardState>,
    /// Taken in, and not written yet: goes with the next write.
    compact_to: Option<u64>,
    /// Reads of the log store under way, by their low index.
    fetching: BTreeMap<u64, GetEntriesContext>,
}

impl Group {
    pub(super) fn new(config: &CoreConfig, start: GroupStart) -> raft::Result<Self> {
        let GroupStart {
            shard,
            mut hard_state,
            conf_state,
            start,
            terms,
            applied,
            tail,
        } = start;
        // Applied implies committed, and the commit index on the disk may be behind.
        hard_state.commit = hard_state.commit.max(applied);
        let alone = conf_state.voters == [config.node.0] && conf_state.voters_outgoing.is_empty();
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
        if alone {
            // Nobody else can lead, so there is nobody to wait for.
            raw.campaign()?;
        }
        Ok(Self {
            shard,
            raw,
            timeout: ElectionTimeout::new(config.seed, config.node, shard, config.election_ticks),
            applied,
            announced: Leadership::Follower { leader: None },
            queued: Vec::new(),
            proposals: VecDeque::new(),
            reads: Reads::default(),
            unapplied: VecDeque::new(),
            writing: None,
            hard_state: None,
            compact_to: None,
            fetching: BTreeMap::new(),
        })
    }

    pub(super) fn tick(&mut self) {
        self.timeout.pin(&mut self.raw.raft);
        self.raw.tick();
    }

    /// Takes a proposal in. Those of one step go to raft-rs together: one message to each replica carries them.
    pub(super) fn propose(&mut self, id: RequestId, data: Vec<u8>) -> Result<(), ProposeError> {
        if !self.leads() {
            return Err(self.not_leader());
        }
        self.queued.push((id, data.into()));
        Ok(())
    }

    pub(super) fn read(&mut self, id: RequestId) -> Result<(), ProposeError> {
        if !self.leads() {
            return Err(self.not_leader());
        }
        self.reads.add(id);
        Ok(())
    }

    /// Takes a message in. What raft-rs refuses (a stale sender, a message of a kind that is never sent) is dropped, as
    /// the network might have dropped it.
    pub(super) fn receive(&mut self, message: Message) {
        if message.get_msg_type() != MessageType::MsgSnapshot {
            let _ = self.raw.step(message);
        }
    }

    /// The write under way is durable. Returns what may be said now.
    pub(super) fn persisted(&mut self) -> Vec<Message> {
        let Some(writing) = self.writing.take() else {
            return Vec::new();
        };
        self.raw.on_persist_ready(writing.number);
        writing.messages
    }

    /// The state store has applied up to `index`.
    pub(super) fn applied(&mut self, index: u64, load: &mut Load) {
        while let Some((_, bytes)) = pop_front_if(&mut self.unapplied, |(last, _)| *last <= index) {
            load.unapplied_bytes -= bytes;
        }
        self.applied = self.applied.max(index);
        self.raw.advance_apply_to(self.applied);
        self.raw.mut_store().evict(self.applied);
    }

    /// The state store is durable up to `index`. The log is compacted once it is worth it.
    pub(super) fn flushed(&mut self, index: u64, keep: u64) {
        // A replica that lags may need any entry.
        if self.raw.raft.prs().iter().count() > 1 {
            return;
        }
        let to = index.min(self.applied).saturating_sub(keep);
        if to >= self.raw.store().start().index + keep.max(1) {
            self.raw.mut_store().compact(to);
            self.compact_to = Some(to);
        }
    }

    pub(super) fn fetched(&mut self, low: u64, entries: Vec<Entry>) {
        if let Some(context) = self.fetching.remove(&low) {
            self.raw.mut_store().set_fetched(entries);
            self.raw.on_entries_fetched(context);
            self.raw.mut_store().set_fetched(Vec::new());
        }
    }

    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Takes the ready work, up to what has to be durable first. Returns what may be said at once.
    pub(super) fn gather(&mut self, batch: &mut LogBatch, load: &mut Load, out: &mut Outputs) -> Vec<Message> {
        let mut messages = Vec::new();
        self.append_queued(out);
        self.ask_reads();
        while self.writing.is_none() && self.raw.has_ready() {
            let mut ready = self.raw.ready();
            messages.extend(ready.take_messages());
            for state in ready.take_read_states() {
                self.reads.confirm(&state);
            }
            self.hand_over(&ready.take_committed_entries(), load, out);
            if let Some(hard_state) = ready.hs() {
                self.hard_state = Some(hard_state.clone());
            }
            let synced = ready.must_sync();
            let number = ready.number();
            let entries = ready.take_entries();
            let after = ready.take_persisted_messages();
            self.raw.mut_store().append(&entries);
            self.raw.advance_append_async(ready);
            if synced {
                let write = batch.group(group_id(self.shard));
                write.entries = entries;
                write.hard_state = self.hard_state.take();
                write.compact_to = self.compact_to.take();
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
        messages
    }

    pub(super) fn parting_write(&mut self, batch: &mut LogBatch) {
        if self.hard_state.is_some() || self.compact_to.is_some() {
            let write = batch.group(group_id(self.shard));
            write.hard_state = self.hard_state.take();
            write.compact_to = self.compact_to.take();
        }
    }

    pub(super) fn status(&self) -> GroupStatus {
        let log = &self.raw.raft.raft_log;
        GroupStatus {
            leadership: self.announced,
            term: self.raw.raft.term,
            committed: log.committed,
            applied: self.applied,
            first_index: log.first_index(),
            last_index: log.last_index(),
        }
    }

    fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    fn known_leader(&self) -> Option<NodeId> {
        let raft = &self.raw.raft;
        let known = raft.leader_id != raft::INVALID_ID && raft.leader_id != raft.id;
        known.then_some(NodeId(raft.leader_id))
    }

    fn not_leader(&self) -> ProposeError {
        ProposeError::NotLeader {
            leader: self.known_leader(),
        }
    }

    /// Appends what has been proposed since the last time, in order.
    fn append_queued(&mut self, out: &mut Outputs) {
        let queued = std::mem::take(&mut self.queued);
        let mut rest = queued.as_slice();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_length(rest));
            rest = after;
            // Raft-rs drops a batch whole when not all of it fits the budget of uncommitted entries.
            if batch.len() == 1 || self.append(batch).is_err() {
                for proposal in batch {
                    if let Err(error) = self.append(std::slice::from_ref(proposal)) {
                        out.answers.push((proposal.0, Err(error)));
                    }
                }
            }
        }
    }

    fn append(&mut self, proposals: &[(RequestId, Bytes)]) -> Result<(), ProposeError> {
        if !self.leads() {
            return Err(self.not_leader());
        }
        let entries: Vec<Entry> = proposals
            .iter()
            .map(|(_, data)| Entry {
                data: data.clone(),
                ..Entry::default()
            })
            .collect();
        let mut message = Message {
            from: self.raw.raft.id,
            ..Message::default()
        };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(entries.into());
        let first = self.raw.raft.raft_log.last_index() + 1;
        match self.raw.step(message) {
            Ok(()) => {
                let term = self.raw.raft.term;
                let placed = proposals
                    .iter()
                    .zip(first..)
                    .map(|((id, _), index)| Proposal { index, term, id: *id });
                self.proposals.extend(placed);
                Ok(())
            }
            Err(_) if self.raw.raft.lead_transferee.is_some() => Err(ProposeError::NotLeader { leader: None }),
            // What is left is a full budget of uncommitted entries.
            Err(_) => Err(ProposeError::Overloaded),
        }
    }

    fn ask_reads(&mut self) {
        let raft = &self.raw.raft;
        // Before a leader has committed in its own term, raft-rs drops the request.
        if !self.leads() || !raft.commit_to_current_term() {
            return;
        }
        if let Some(context) = self.reads.ask(raft.term) {
            self.raw.read_index(context);
        }
    }

    /// Hands committed entries over to be applied, each with the proposal that it is.
    fn hand_over(&mut self, committed: &[Entry], load: &mut Load, out: &mut Outputs) {
        let Some(last) = committed.last() else { return };
        let mut bytes = 0;
        let mut entries = Vec::with_capacity(committed.len());
        for entry in committed {
            let payload = match entry::decode(entry) {
                Ok(payload) => payload,
                Err(error) => {
                    out.fatal = Some(Fatal {
                        shard: Some(self.shard),
                        cause: error.to_string(),
                    });
                    return;
                }
            };
            bytes += entry.data.len() as u64;
            let request = match pop_front_if(&mut self.proposals, |proposal| proposal.index == entry.index) {
                Some(proposal) if proposal.term == entry.term => Some(proposal.id),
                Some(overwritten) => {
                    out.answers.push((overwritten.id, Err(self.not_leader())));
                    None
                }
                None => None,
            };
            entries.push(ApplyEntry {
                index: entry.index,
                term: entry.term,
                payload,
                request,
            });
        }
        load.unapplied_bytes += bytes;
        self.unapplied.push_back((last.index, bytes));
        out.apply.push(ApplyWork {
            shard: self.shard,
            entries,
        });
    }

    /// After every change: fails what waits on a leadership that is over, answers confirmed reads, announces the role.
    fn settle(&mut self, load: &mut Load, out: &mut Outputs) {
        let term = self.raw.raft.term;
        let leads = self.leads();
        while let Some(proposal) = pop_front_if(&mut self.proposals, |proposal| !leads || proposal.term != term) {
            out.answers.push((proposal.id, Err(ProposeError::Unknown)));
        }
        let orphaned = self.reads.take_orphaned(leads.then_some(term));
        answer_reads(&orphaned, &Err(self.not_leader()), load, out);
        let applied = self.applied;
        answer_reads(&self.reads.take_permitted(applied), &Ok(()), load, out);
        let since = self
            .raw
            .store()
            .first_of_term(term)
            .filter(|first| leads && *first <= applied);
        let leadership = match since {
            Some(since) => Leadership::Leader { term, since },
            None => Leadership::Follower {
                leader: self.known_leader(),
            },
        };
        if leadership != self.announced {
            self.announced = leadership;
            out.leadership.push((self.shard, leadership));
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

/// How many of `proposals`, from the front, go into one message: at least one.
fn batch_length(proposals: &[(RequestId, Bytes)]) -> usize {
    let mut bytes = 0;
    let fit = proposals.iter().take_while(|(_, data)| {
        bytes += data.len() as u64;
        bytes <= MAX_MESSAGE_BYTES
    });
    fit.count().max(1)
}

fn answer_reads(ids: &[RequestId], answer: &Result<(), ProposeError>, load: &mut Load, out: &mut Outputs) {
    load.reads -= ids.len();
    out.answers.extend(ids.iter().map(|id| (*id, answer.clone())));
}
