//! How the members of a group change.

use std::sync::Arc;

use protobuf::Message as _;
use raft::ProgressState;
use raft::eraftpb::{ConfChangeV2, Entry, EntryType, Message, MessageType};

use super::{Group, Proposal};
use crate::config::NodeId;
use crate::core::{Outputs, RequestId};
use crate::entry::{CHANGE_CONTEXT, Payload};
use crate::error::ProposeError;
use crate::members::{self, MemberStep, Members};

impl Group {
    /// Proposes a change of members.
    pub(in crate::core) fn change_members(
        &mut self,
        id: RequestId,
        steps: &[MemberStep],
        out: &mut Outputs,
    ) -> Result<(), ProposeError> {
        if !self.leads() {
            return Err(self.not_leader());
        }
        self.wake();
        // What was proposed before stands before it in the log.
        self.append_queued(out);
        let raft = &self.raw.raft;
        // After a snapshot, raft-rs only probes until there is a new entry.
        let caught_up = |node: &NodeId| {
            let progress = raft.prs().get(node.0);
            progress.is_some_and(|progress| {
                progress.state == ProgressState::Replicate || progress.matched >= raft.raft_log.committed
            })
        };
        let ready = steps.iter().all(|step| match step {
            MemberStep::Promote(node) => caught_up(node),
            MemberStep::Learn(_) | MemberStep::Remove(_) => true,
        });
        let change = members::change(&self.members, NodeId(raft.id), steps);
        let change = change.filter(|_| ready && !raft.has_pending_conf());
        let data = change.and_then(|change| change.write_to_bytes().ok());
        let mut entry = Entry {
            data: data.ok_or(ProposeError::ChangeRefused)?.into(),
            context: CHANGE_CONTEXT.to_vec().into(),
            ..Entry::default()
        };
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        let mut message = Message {
            from: raft.id,
            ..Message::default()
        };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(vec![entry].into());
        let (index, term) = (raft.raft_log.last_index() + 1, raft.term);
        self.raw.step(message).map_err(|_| ProposeError::Overloaded)?;
        self.proposals.push_back(Proposal { index, term, id });
        Ok(())
    }

    /// Carries out a committed change, and gives what is to be recorded of it; nothing when it turned out impossible, which
    /// every replica finds alike.
    pub(super) fn carry_out(&mut self, change: &ConfChangeV2) -> Payload {
        let Ok(mut state) = self.raw.apply_conf_change(change) else {
            return Payload::Empty;
        };
        // Raft-rs gives them in the order of a hash table, which depends on what this replica has lived through. What is
        // stored has to be the same on every replica.
        state.voters.sort_unstable();
        state.voters_outgoing.sort_unstable();
        state.learners.sort_unstable();
        state.learners_next.sort_unstable();
        self.members = Arc::new(Members::new(&state));
        self.raw.mut_store().set_members(state.clone());
        let raft = &mut self.raw.raft;
        if !self.members.voters.contains(&NodeId(raft.id)) && !self.members.outgoing.contains(&NodeId(raft.id)) {
            // Raft-rs would go on leading, and trip over its own absence.
            raft.become_follower(raft.term, raft::INVALID_ID);
        }
        Payload::Members(state)
    }
}
