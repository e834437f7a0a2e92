//! Who leads a group, and to whom it is given.

use raft::StateRole;

use super::Group;
use crate::config::NodeId;
use crate::core::leaders::Peers;
use crate::error::ProposeError;
use crate::members::Members;

impl Group {
    pub(in crate::core) fn members(&self) -> &Members {
        &self.members
    }

    /// Campaigns no more.
    pub(in crate::core) fn leave(&mut self) {
        self.wake();
        self.leaving = true;
    }

    /// The replica that is to lead when this one, which leads, stops: the one that lacks least.
    pub(in crate::core) fn successor(&self, peers: &Peers) -> Option<NodeId> {
        let raft = &self.raw.raft;
        let voters = raft.prs().conf().voters();
        let others = raft
            .prs()
            .iter()
            .filter(|(id, _)| self.leads() && **id != raft.id && voters.contains(**id) && peers.live(NodeId(**id)));
        others
            .max_by_key(|(id, progress)| (progress.matched, **id))
            .map(|(id, _)| NodeId(*id))
    }

    /// Whether `node` is another voter than this leader, and lacks nothing.
    pub(in crate::core) fn could_be_led_by(&self, node: NodeId) -> bool {
        let raft = &self.raw.raft;
        let progress = raft
            .prs()
            .get(node.0)
            .filter(|_| raft.prs().conf().voters().contains(node.0));
        // While proposals keep coming, something is always under way.
        let enough = raft.raft_log.committed;
        self.leads() && node.0 != raft.id && progress.is_some_and(|progress| progress.matched >= enough)
    }

    /// Gives the leadership to `node`. Proposals are refused until it has it, or has not taken it for too long.
    pub(in crate::core) fn transfer(&mut self, node: NodeId) {
        if self.raw.raft.lead_transferee.is_none() {
            self.wake();
            self.raw.transfer_leader(node.0);
        }
    }

    /// Raft-rs looks through the unapplied entries before it campaigns, which are gone once a snapshot has come.
    pub(super) fn may_campaign(&self) -> bool {
        !self.leaving && !self.stateless && self.restoring.is_none()
    }

    pub(super) fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    pub(super) fn known_leader(&self) -> Option<NodeId> {
        let raft = &self.raw.raft;
        let known = raft.leader_id != raft::INVALID_ID && raft.leader_id != raft.id;
        known.then_some(NodeId(raft.leader_id))
    }

    pub(super) fn not_leader(&self) -> ProposeError {
        ProposeError::NotLeader {
            leader: self.known_leader(),
        }
    }
}
