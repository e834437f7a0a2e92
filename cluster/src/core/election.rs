//! Election timeouts that can be repeated.
//!
//! raft-rs draws them from the thread's own randomness whenever a replica changes its role. The draw is overruled before
//! every tick, which is the only place that looks at it, with one that follows from the seed, the node, the shard and the
//! term: it differs between replicas, changes with every election, and needs no state.

use raft::{Raft, Storage};
use sha2::{Digest, Sha256};

use crate::config::NodeId;
use crate::shard::ShardId;

#[derive(Debug)]
pub(super) struct ElectionTimeout {
    seed: u64,
    node: NodeId,
    shard: ShardId,
    ticks: usize,
    /// The term in which this replica does not wait for long, so that it is first.
    first: Option<u64>,
    /// The last draw, by its term.
    drawn: Option<(u64, usize)>,
}

impl ElectionTimeout {
    /// Timeouts from `ticks` up to twice as many, both excluded. `ticks` is not 0. In term `first` there is no more to wait
    /// for than `ticks`.
    pub(super) fn new(seed: u64, node: NodeId, shard: ShardId, ticks: usize, first: Option<u64>) -> Self {
        Self {
            seed,
            node,
            shard,
            ticks,
            first,
            drawn: None,
        }
    }

    /// Pins the timeout of `raft` for its current term.
    pub(super) fn pin<T: Storage>(&mut self, raft: &mut Raft<T>) {
        let ticks = match self.drawn {
            Some((term, ticks)) if term == raft.term => ticks,
            _ => self.draw(raft.term),
        };
        self.drawn = Some((raft.term, ticks));
        raft.set_randomized_election_timeout(ticks);
    }

    fn draw(&self, term: u64) -> usize {
        if self.first == Some(term) {
            return self.ticks;
        }
        let mut hash = Sha256::new();
        for number in [self.seed, self.node.0, u64::from(self.shard.0), term] {
            hash.update(number.to_be_bytes());
        }
        let digest = hash.finalize();
        let draw = u64::from_be_bytes([
            0, digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6],
        ]);
        // Not `ticks` itself: the others would take it for too early to miss their leader, and refuse.
        let choices = (self.ticks as u64 - 1).max(1);
        (self.ticks + 1 + (draw % choices) as usize).min(2 * self.ticks - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn timeouts_differ_by_node_and_term_and_stay_in_range() {
        let new = |node| ElectionTimeout::new(7, NodeId(node), ShardId(0), 10, Some(99));
        let draws = |node| (1..40).map(move |term| new(node).draw(term));
        assert_eq!(new(1).draw(99), 10);
        assert!(draws(1).all(|ticks| (11..20).contains(&ticks)));
        assert!(draws(1).collect::<BTreeSet<_>>().len() > 5);
        assert!(draws(1).zip(draws(2)).any(|(one, other)| one != other));
        assert!(draws(1).eq(draws(1)));
    }
}
