//! A replica that was removed, and one that lacks its state.
//!
//! **Removed.** A replica that has applied a membership without itself does nothing any more, and its state goes. The entry
//! that completes its removal may never reach it, though: nobody sends it anything any more, and it would ask for votes for
//! ever. Whoever leads answers such a message with a notice, in a heartbeat with a context of its own, and does not wake for
//! it. The notice counts only for a replica that knows itself to be leaving, and has no entry that it has not applied: what it
//! has ever acknowledged is then held by a majority of others.
//!
//! **Without state.** What goes is the state alone. The log's position, the term and the vote stay: whatever the replica has
//! said stays true, and it never votes twice, even when it comes back. Such a replica, and one whose state store was lost,
//! votes, but takes no entries and does not campaign, and asks for a snapshot instead, one that covers all it has
//! acknowledged.

use raft::eraftpb::{Message, MessageType};

use super::Group;
use crate::config::NodeId;
use crate::core::Outputs;

/// Ticks of silence after which a replica without a vote makes itself heard, again and again.
const LEARNER_TICKS: usize = 40;
/// Ticks after which a replica without state asks for it again.
const ASK_TICKS: usize = 20;
/// What the notice's context begins with. The leader's last applied index follows.
const CONTEXT: &[u8] = b"removed";

/// Whether the others have removed a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removed {
    No,
    /// It does nothing any more.
    Known,
    /// Its state is being cleared away, after which it begins anew.
    Clearing,
}

impl Group {
    /// Says that the state may go, when it has to be said; returns whether the replica was removed. No write is under way when
    /// this is asked.
    pub(super) fn clear_when_removed(&mut self, out: &mut Outputs) -> bool {
        if self.removed == Removed::Known {
            self.removed = Removed::Clearing;
            out.removed.push(self.shard);
        }
        self.removed != Removed::No
    }

    /// Whether the replica has applied that it is none, or is about to be none, and everything else that it has.
    fn is_leaving_for_all_it_knows(&self) -> bool {
        let me = NodeId(self.raw.raft.id);
        let leaving = !self.members.voters.contains(&me);
        leaving && self.applied == self.raw.raft.raft_log.last_index() && self.restoring.is_none()
    }

    /// Looks whether the replica was removed, with everything applied that it has.
    pub(super) fn look_for_removal(&mut self) {
        let me = NodeId(self.raw.raft.id);
        let stored = !self.stateless && self.raw.raft.raft_log.last_index() > 0;
        if stored && !self.members.contains(me) && self.is_leaving_for_all_it_knows() && self.removed == Removed::No {
            self.removed = Removed::Known;
        }
    }

    /// A replica without a vote does not ask for any, and would never be told. When it hears from nobody, it makes itself
    /// heard now and then: to a leader whose replica it is, that says nothing.
    pub(super) fn make_itself_heard(&mut self) {
        let raft = &self.raw.raft;
        let silent = raft.election_elapsed > 0 && raft.election_elapsed.is_multiple_of(LEARNER_TICKS);
        if !silent || raft.promotable() || !self.members.learners.contains(&NodeId(raft.id)) {
            return;
        }
        for voter in &self.members.voters {
            let mut message = Message {
                from: raft.id,
                to: voter.0,
                term: raft.term,
                ..Message::default()
            };
            message.set_msg_type(MessageType::MsgHeartbeatResponse);
            self.sleep.outgoing.push(message);
        }
    }

    /// Takes in a message from or about a removed replica; gives any other back.
    pub(super) fn receive_about_removal(&mut self, message: Message) -> Option<Message> {
        if self.removed != Removed::No {
            return None;
        }
        let notice = message.context.strip_prefix(CONTEXT);
        if let Some(index) = notice.filter(|_| message.get_msg_type() == MessageType::MsgHeartbeat) {
            let applied = index.try_into().map_or(0, u64::from_be_bytes);
            let raft = &self.raw.raft;
            let fits = message.term >= raft.term && applied > raft.raft_log.last_index();
            if fits && !self.stateless && self.is_leaving_for_all_it_knows() {
                self.removed = Removed::Known;
            }
            return None;
        }
        if self.leads() && !self.members.contains(NodeId(message.from)) {
            let raft = &self.raw.raft;
            let mut answer = Message {
                from: raft.id,
                to: message.from,
                term: raft.term,
                context: [CONTEXT, &self.applied.to_be_bytes()].concat().into(),
                ..Message::default()
            };
            answer.set_msg_type(MessageType::MsgHeartbeat);
            self.sleep.outgoing.push(answer);
            return None;
        }
        Some(message)
    }

    /// A replica without state does not take entries: it follows whoever leads, and asks now and then for a snapshot that covers all
    /// that it has acknowledged.
    pub(super) fn ask_for_state(&mut self, mut message: Message) {
        let (from, term) = (message.from, message.term);
        if message.get_msg_type() == MessageType::MsgAppend {
            message.set_msg_type(MessageType::MsgHeartbeat);
            message.entries.clear();
            message.commit = 0;
        }
        let _ = self.raw.step(message);
        let raft = &self.raw.raft;
        if raft.term != term || raft.leader_id != from || self.restoring.is_some() || self.asked < ASK_TICKS {
            return;
        }
        self.asked = 0;
        let last = raft.raft_log.last_index();
        let mut refusal = Message {
            from: raft.id,
            to: from,
            term,
            index: last,
            reject: true,
            reject_hint: last,
            log_term: raft.raft_log.term(last).unwrap_or_default(),
            request_snapshot: last.max(1),
            ..Message::default()
        };
        refusal.set_msg_type(MessageType::MsgAppendResponse);
        self.sleep.outgoing.push(refusal);
    }
}
