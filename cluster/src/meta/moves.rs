//! The next step of one group towards where it should be. Pure; asked again and again of the group's leader.
//!
//! Invariants: one replica comes at a time, first without a vote; one that goes, goes in the step in which its successor gets
//! the vote, so that there are never fewer voters than before on the way to as many; the leader does not remove itself, it
//! gives the leadership away first.

use std::collections::BTreeSet;

use crate::config::NodeId;
use crate::members::{MemberStep, Members};

/// Where a group's replicas should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// With a vote; the one that should lead first.
    pub(crate) voters: Vec<NodeId>,
    /// Without.
    pub(crate) learners: BTreeSet<NodeId>,
}

/// What a leader does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Change(Vec<MemberStep>),
    /// Gives the leadership away.
    Transfer(NodeId),
}

/// The next step of a group that `leader` leads; `None` when it is where it should be, or a change is under way.
pub(crate) fn next(members: &Members, leader: NodeId, target: &Target) -> Option<Move> {
    if !members.outgoing.is_empty() || target.voters.is_empty() {
        return None;
    }
    let wanted: BTreeSet<NodeId> = target.voters.iter().copied().collect();
    let extra = members.voters.difference(&wanted).copied();
    let extra: Vec<NodeId> = extra.collect();
    let removable = extra.iter().copied().find(|node| *node != leader);
    let stray = |node: &&NodeId| !wanted.contains(node) && !target.learners.contains(node);
    if let Some(node) = members.learners.iter().find(stray) {
        return Some(Move::Change(vec![MemberStep::Remove(*node)]));
    }
    let missing = || target.voters.iter().filter(|node| !members.voters.contains(node));
    if let Some(node) = missing().find(|node| members.learners.contains(node)) {
        let mut steps = vec![MemberStep::Promote(*node)];
        steps.extend(removable.map(MemberStep::Remove));
        return Some(Move::Change(steps));
    }
    if let Some(node) = missing().next() {
        return Some(Move::Change(vec![MemberStep::Learn(*node)]));
    }
    if let Some(node) = removable {
        return Some(Move::Change(vec![MemberStep::Remove(node)]));
    }
    if !extra.is_empty() {
        return target.voters.first().map(|node| Move::Transfer(*node));
    }
    let learner = target.learners.iter().find(|node| !members.contains(**node))?;
    Some(Move::Change(vec![MemberStep::Learn(*learner)]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(ids: &BTreeSet<u64>) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    /// What the group would do with it.
    fn carry_out(members: &mut Members, leader: &mut NodeId, step: &Move) {
        let steps = match step {
            Move::Transfer(node) => {
                *leader = *node;
                return;
            }
            Move::Change(steps) => steps,
        };
        let change = crate::members::change(members, *leader, steps);
        assert!(change.is_some(), "{steps:?} of {members:?}");
        for step in steps {
            match step {
                MemberStep::Learn(node) => assert!(members.learners.insert(*node)),
                MemberStep::Promote(node) => {
                    assert!(members.learners.remove(node));
                    assert!(members.voters.insert(*node));
                }
                MemberStep::Remove(node) => {
                    assert!(members.voters.remove(node) || members.learners.remove(node));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_group_gets_where_it_should_be_without_fewer_voters_on_the_way(
            voters in prop::collection::btree_set(1_u64..9, 1..6),
            learners in prop::collection::btree_set(1_u64..9, 0..3),
            wanted in prop::collection::btree_set(1_u64..9, 1..6),
            other in prop::collection::btree_set(1_u64..9, 0..4),
        ) {
            let mut members = Members {
                learners: set(&learners.difference(&voters).copied().collect()),
                voters: set(&voters),
                outgoing: BTreeSet::new(),
            };
            let target = Target {
                learners: set(&other.difference(&wanted).copied().collect()),
                // Those who stay with a vote cannot become learners; placements do not ask for it.
                voters: set(&wanted).into_iter().collect(),
            };
            prop_assume!(target.learners.is_disjoint(&members.voters));
            let mut leader = *members.voters.first().unwrap();
            let least = members.voters.len().min(target.voters.len());
            let mut steps = 0;
            while let Some(step) = next(&members, leader, &target) {
                carry_out(&mut members, &mut leader, &step);
                prop_assert!(members.voters.len() >= least);
                steps += 1;
                prop_assert!(steps < 60);
            }
            prop_assert_eq!(members.voters, target.voters.iter().copied().collect());
            prop_assert_eq!(members.learners, target.learners);
        }
    }

    #[test]
    fn nothing_is_done_while_a_change_is_under_way_or_no_place_is_known() {
        let mut members = Members {
            voters: BTreeSet::from([NodeId(1), NodeId(2)]),
            outgoing: BTreeSet::from([NodeId(1)]),
            learners: BTreeSet::new(),
        };
        let target = Target {
            voters: vec![NodeId(1)],
            learners: BTreeSet::new(),
        };
        assert_eq!(next(&members, NodeId(1), &target), None);
        members.outgoing.clear();
        assert!(next(&members, NodeId(1), &target).is_some());
        assert_eq!(next(&members, NodeId(1), &Target::default()), None);
    }
}
