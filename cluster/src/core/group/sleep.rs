//! Idle groups sleep: they get no ticks, so that a thousand of them cost next to nothing.
//!
//! A leader whose replicas have had everything for a while asks them to sleep, in a heartbeat with a context of its own. A
//! replica that agrees with it on everything sleeps from then on, and says so; when all of them do, the leader sleeps, too.
//! Whatever happens to a group wakes it. That a leader is gone is seen by its node's silence instead of the group's: nodes
//! send each other an empty frame when they have nothing else to say.
//!
//! Only ticks are left out, on which no safety rests. A group in which some sleep and others do not mends itself: whoever is
//! awake misses heartbeats, and campaigns, or sends heartbeats, either of which wakes the others.

use std::collections::BTreeSet;

use raft::eraftpb::{Message, MessageType};
use raft::{ProgressState, StateRole};

use super::Group;
use crate::config::NodeId;
use crate::core::Load;
use crate::machine::Leadership;

/// Ticks without anything to do after which a leader asks its group to sleep, and asks again.
const IDLE_TICKS: u64 = 20;
/// What a heartbeat's context, or that of its answer, begins with when it is about sleep. The number of the question follows.
const CONTEXT: &[u8] = b"sleep";

#[derive(Debug, Default)]
pub(super) struct Sleep {
    asleep: bool,
    /// For how many ticks there has been nothing to do.
    idle: u64,
    /// Counts the questions.
    round: u64,
    /// Who sleeps, of those asked in this round.
    sleepers: BTreeSet<u64>,
    /// Questions and answers to be sent.
    pub(super) outgoing: Vec<Message>,
}

fn context(round: u64) -> Vec<u8> {
    [CONTEXT, &round.to_be_bytes()].concat()
}

fn round_of(message: &Message) -> Option<u64> {
    let round = message.context.strip_prefix(CONTEXT)?;
    round.try_into().ok().map(u64::from_be_bytes)
}

impl Group {
    pub(in crate::core) fn is_asleep(&self) -> bool {
        self.sleep.asleep
    }

    pub(super) fn wake(&mut self) {
        self.sleep.asleep = false;
        self.sleep.idle = 0;
    }

    /// Wakes the group when a node that it relies on has fallen silent.
    pub(in crate::core) fn wake_by_silence(&mut self, load: &Load) {
        let raft = &self.raw.raft;
        if !raft.promotable() {
            // Without a vote there is nothing to do about it.
            return;
        }
        if raft.state == StateRole::Leader {
            let patience = self.retry_ticks as u64;
            let away = |id: u64| id != raft.id && load.peers.silence(NodeId(id)) >= patience;
            let silent = raft.prs().iter().any(|(id, _)| away(*id));
            if silent {
                self.wake();
            }
        } else {
            let silence = load.peers.silence(NodeId(raft.leader_id));
            // A lost frame is none.
            if silence > 2 * raft.heartbeat_timeout() as u64 {
                // As if it had been awake.
                self.raw.raft.election_elapsed += silence as usize;
                self.wake();
            }
        }
    }

    /// Asks for sleep when there has been nothing to do for long enough. Called with every tick.
    pub(super) fn consider_sleep(&mut self, load: &Load) {
        if !self.has_nothing_to_do(load) {
            self.sleep.idle = 0;
            return;
        }
        self.sleep.idle += 1;
        if !self.sleep.idle.is_multiple_of(IDLE_TICKS) {
            return;
        }
        self.sleep.round += 1;
        self.sleep.sleepers.clear();
        // Without others there is nobody to be asked.
        self.sleep.asleep = true;
        let raft = &self.raw.raft;
        for (to, _) in raft.prs().iter().filter(|(id, _)| **id != raft.id) {
            self.sleep.asleep = false;
            let mut question = Message {
                from: raft.id,
                to: *to,
                term: raft.term,
                commit: raft.raft_log.committed,
                context: context(self.sleep.round).into(),
                ..Message::default()
            };
            question.set_msg_type(MessageType::MsgHeartbeat);
            self.sleep.outgoing.push(question);
        }
    }

    /// Takes in a message about sleep; gives any other back.
    pub(super) fn receive_about_sleep(&mut self, mut message: Message, load: &Load) -> Option<Message> {
        let kind = message.get_msg_type();
        let about = matches!(kind, MessageType::MsgHeartbeat | MessageType::MsgHeartbeatResponse);
        let Some(round) = round_of(&message).filter(|_| about) else {
            return Some(message);
        };
        // To raft-rs, it is a heartbeat as any other.
        message.context.clear();
        let (from, term, commit) = (message.from, message.term, message.commit);
        let known = self.raw.raft.term == term;
        if kind == MessageType::MsgHeartbeatResponse {
            let _ = self.raw.step(message);
            if known && round == self.sleep.round && self.has_nothing_to_do(load) {
                self.sleep.sleepers.insert(from);
                let raft = &self.raw.raft;
                let mut others = raft.prs().iter().filter(|(id, _)| **id != raft.id);
                self.sleep.asleep = others.all(|(id, _)| self.sleep.sleepers.contains(id));
            }
            return None;
        }
        let known = known && self.raw.raft.leader_id == from;
        let _ = self.raw.step(message);
        let raft = &self.raw.raft;
        let log = &raft.raft_log;
        let agrees = raft.state == StateRole::Follower
            && log.last_index() == commit
            && log.committed == commit
            && self.applied == commit;
        let settled = self.writing.is_none() && self.restoring.is_none() && !self.leaving;
        if known && agrees && settled {
            self.sleep.asleep = true;
            let mut answer = Message {
                from: raft.id,
                to: from,
                term,
                commit,
                context: context(round).into(),
                ..Message::default()
            };
            answer.set_msg_type(MessageType::MsgHeartbeatResponse);
            self.sleep.outgoing.push(answer);
        }
        None
    }

    /// Whether this replica leads, and nothing is under way or missing anywhere.
    fn has_nothing_to_do(&self, load: &Load) -> bool {
        let raft = &self.raw.raft;
        let last = raft.raft_log.last_index();
        let has_all = |id: u64| {
            raft.prs().get(id).is_some_and(|progress| {
                progress.state != ProgressState::Snapshot
                    && progress.matched == last
                    && progress.committed_index == last
                    && load.peers.silence(NodeId(id)) < self.retry_ticks as u64
            })
        };
        let mut others = raft.prs().iter().filter(|(id, _)| **id != raft.id);
        matches!(self.announced, Leadership::Leader { term, .. } if term == raft.term)
            && raft.state == StateRole::Leader
            && raft.lead_transferee.is_none()
            && !self.leaving
            && self.applied == last
            && self.queued.is_empty()
            && self.proposals.is_empty()
            && self.reads.is_empty()
            && self.failed.is_empty()
            && self.fetching.is_empty()
            && self.writing.is_none()
            && others.all(|(id, _)| has_all(*id))
    }
}
