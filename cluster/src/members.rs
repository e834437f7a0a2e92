//! Who has a replica of a shard, and how that changes.
//!
//! A change is an entry of the shard's log. One that names several nodes goes through joint consensus: both the old and the
//! new majority have to agree until it is complete, which raft-rs sees to by itself.

use std::collections::BTreeSet;

use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, ConfState};

use crate::config::NodeId;

/// The replicas of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Members {
    /// Have a vote.
    pub voters: BTreeSet<NodeId>,
    /// Had a vote before the change that is under way; empty when there is none.
    pub outgoing: BTreeSet<NodeId>,
    /// Receive everything and have no vote.
    pub learners: BTreeSet<NodeId>,
}

impl Members {
    pub(crate) fn new(state: &ConfState) -> Self {
        let nodes = |ids: &[u64]| ids.iter().copied().map(NodeId).collect();
        let mut learners: BTreeSet<NodeId> = nodes(&state.learners);
        learners.extend(state.learners_next.iter().copied().map(NodeId));
        Self {
            voters: nodes(&state.voters),
            outgoing: nodes(&state.voters_outgoing),
            learners,
        }
    }

    /// Whether `node` has a replica.
    pub fn contains(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node) || self.learners.contains(&node)
    }
}

/// One part of a change of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberStep {
    /// A node without a replica gets one, without a vote.
    Learn(NodeId),
    /// A learner gets a vote. It must lack next to nothing by then.
    Promote(NodeId),
    /// A node loses its replica. Not the leader's.
    Remove(NodeId),
}

impl MemberStep {
    fn node(self) -> NodeId {
        match self {
            Self::Learn(node) | Self::Promote(node) | Self::Remove(node) => node,
        }
    }
}

/// The change that `steps` ask for; `None` when it is not possible with these members.
pub(crate) fn change(members: &Members, leader: NodeId, steps: &[MemberStep]) -> Option<ConfChangeV2> {
    let named: BTreeSet<NodeId> = steps.iter().map(|step| step.node()).collect();
    if steps.is_empty() || named.len() < steps.len() || named.contains(&NodeId(0)) || !members.outgoing.is_empty() {
        return None;
    }
    let mut voters = members.voters.clone();
    let mut changes = Vec::new();
    for step in steps {
        let (kind, possible) = match step {
            MemberStep::Learn(node) => (ConfChangeType::AddLearnerNode, !members.contains(*node)),
            MemberStep::Promote(node) => {
                voters.insert(*node);
                (ConfChangeType::AddNode, members.learners.contains(node))
            }
            MemberStep::Remove(node) => {
                voters.remove(node);
                (ConfChangeType::RemoveNode, members.contains(*node) && *node != leader)
            }
        };
        if !possible {
            return None;
        }
        let mut single = ConfChangeSingle {
            node_id: step.node().0,
            ..ConfChangeSingle::default()
        };
        single.set_change_type(kind);
        changes.push(single);
    }
    let mut change = ConfChangeV2::default();
    change.set_changes(changes.into());
    (!voters.is_empty()).then_some(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn only_what_makes_sense_is_possible() {
        use MemberStep::{Learn, Promote, Remove};
        let members = Members {
            voters: nodes(&[1, 2]),
            outgoing: nodes(&[]),
            learners: nodes(&[4]),
        };
        let possible = |members: &Members, steps: &[MemberStep]| change(members, NodeId(1), steps).is_some();
        assert!(possible(&members, &[Learn(NodeId(5))]));
        assert!(possible(&members, &[Promote(NodeId(4)), Remove(NodeId(2))]));
        assert!(possible(&members, &[Remove(NodeId(4))]));
        for impossible in [
            &[][..],
            &[Learn(NodeId(0))],
            &[Learn(NodeId(2))],
            &[Promote(NodeId(5))],
            &[Promote(NodeId(2))],
            &[Remove(NodeId(1))],
            &[Remove(NodeId(9))],
            &[Learn(NodeId(5)), Remove(NodeId(5))],
        ] {
            assert!(!possible(&members, impossible), "{impossible:?}");
        }
        let joint = Members {
            outgoing: nodes(&[1]),
            ..members
        };
        assert!(!possible(&joint, &[Learn(NodeId(5))]));
    }
}
