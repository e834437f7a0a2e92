//! Which node should lead which shard, and which nodes live.
//!
//! Leaders are spread over the nodes: shard `s` of `n` nodes is preferably led by node number `s % n`. That node campaigns
//! first when a cluster is created, and is given the leadership back once it has been up for a while and lacks nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::NodeId;
use crate::shard::ShardId;

/// Ticks between two looks at who leads what.
const BALANCE_TICKS: u64 = 20;
/// Ticks for which a node has to have lived before it is given leaderships.
const STEADY_TICKS: u64 = 60;
/// Leaderships given away in one look, so that not everything moves at once.
pub(super) const MAX_MOVES: usize = 8;

/// The node that should lead `shard`, of the ones with a vote in it.
pub(crate) fn preferred(shard: ShardId, voters: &BTreeSet<NodeId>) -> Option<NodeId> {
    let number = (shard.0 as usize).checked_rem(voters.len())?;
    voters.iter().nth(number).copied()
}

/// When each other node was heard of. Time is counted in ticks of the core.
#[derive(Debug)]
pub(super) struct Peers {
    ticks: u64,
    /// Ticks of silence after which a node counts as away.
    patience: u64,
    heard: BTreeMap<NodeId, Heard>,
}

#[derive(Debug)]
struct Heard {
    last: u64,
    /// Since when there has been no long silence.
    since: u64,
}

impl Peers {
    pub(super) fn new(election_ticks: usize) -> Self {
        Self {
            ticks: 0,
            patience: 2 * election_ticks as u64,
            heard: BTreeMap::new(),
        }
    }

    /// Returns whether it is time to look at who leads what.
    pub(super) fn tick(&mut self) -> bool {
        self.ticks += 1;
        self.ticks.is_multiple_of(BALANCE_TICKS)
    }

    pub(super) fn hear(&mut self, node: NodeId) {
        let now = self.ticks;
        let heard = self.heard.entry(node).or_insert(Heard { last: now, since: now });
        if now - heard.last > self.patience {
            heard.since = now;
        }
        heard.last = now;
    }

    /// For how many ticks a node has not been heard of: since the start, when it never was.
    pub(super) fn silence(&self, node: NodeId) -> u64 {
        self.ticks - self.heard.get(&node).map_or(0, |heard| heard.last)
    }

    /// Whether a node has been heard of lately.
    pub(super) fn live(&self, node: NodeId) -> bool {
        let heard = self.heard.get(&node);
        heard.is_some_and(|heard| self.ticks - heard.last <= self.patience)
    }

    /// Whether a node has lived for a while.
    pub(super) fn steady(&self, node: NodeId) -> bool {
        let heard = self.heard.get(&node);
        self.live(node) && heard.is_some_and(|heard| self.ticks - heard.since >= STEADY_TICKS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaders_are_spread_within_one_of_even() {
        let nodes = BTreeSet::from([1, 2, 5].map(NodeId));
        let mut led = BTreeMap::new();
        for shard in 0..64 {
            *led.entry(preferred(ShardId(shard), &nodes).unwrap()).or_insert(0) += 1;
        }
        assert_eq!(led.into_values().collect::<Vec<_>>(), [22, 21, 21]);
        assert_eq!(preferred(ShardId(7), &BTreeSet::new()), None);
    }

    #[test]
    fn a_node_is_steady_only_after_a_while_without_silence() {
        let mut peers = Peers::new(6);
        let node = NodeId(2);
        let pass = |peers: &mut Peers, ticks, heard| {
            for _ in 0..ticks {
                peers.tick();
                if heard {
                    peers.hear(node);
                }
            }
        };
        assert!(!peers.live(node));
        pass(&mut peers, 3, false);
        assert_eq!(peers.silence(node), 3);
        pass(&mut peers, 30, true);
        assert!(peers.live(node) && !peers.steady(node));
        pass(&mut peers, STEADY_TICKS, true);
        assert!(peers.steady(node));
        pass(&mut peers, 12, false);
        assert!(peers.steady(node));
        pass(&mut peers, 1, false);
        assert!(!peers.live(node) && !peers.steady(node));
        pass(&mut peers, STEADY_TICKS, true);
        assert!(peers.live(node) && !peers.steady(node));
    }
}
