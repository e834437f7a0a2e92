//! Which faults come when: all of it follows from the seed.
//!
//! Nodes lead what elections give them, which no seed decides; so a victim that has to lead something is named by a room: "the
//! node that leads room 3". One fault at a time, and never more nodes at once than a shard survives.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::Rng;

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// `kill -9`, and a start some seconds later.
    Kill,
    /// SIGSTOP, and SIGCONT some seconds later.
    Pause,
    /// Nodes that do not hear each other: one or a minority cut off, in both directions or in one.
    Partition,
    /// No space left for a node's data, until it has stopped over it.
    DiskFull,
    /// SIGTERM and a new start, one node after the other.
    RollingRestart,
    /// A node gives all its replicas to the others, and gets its share again.
    Drain,
}

/// Replicas of a shard, where there are as many nodes: `cluster.replicas` of a hub's configuration, as it is by default.
const REPLICAS: usize = 3;

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Kill,
        Self::Pause,
        Self::Partition,
        Self::DiskFull,
        Self::RollingRestart,
        Self::Drain,
    ];
}

/// What happens, and to whom. Rooms and nodes are given by their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Kill {
        leader_of: usize,
        lasts: Duration,
    },
    Pause {
        leader_of: usize,
        lasts: Duration,
    },
    Partition {
        leader_of: usize,
        /// How many of the nodes that follow the leader, in their numbers' circle, are cut off with it.
        with_next: usize,
        /// Only what the others send to them arrives; what they send does not.
        one_way: bool,
        lasts: Duration,
    },
    DiskFull {
        lasts: Duration,
    },
    RollingRestart {
        first: usize,
    },
    Drain {
        node: usize,
    },
}

/// A fault, and how long all is well before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) quiet: Duration,
    pub(super) fault: Fault,
}

/// Faults without end; every kind once, in some order, before any comes again.
pub(super) struct Schedule {
    rng: Rng,
    kinds: Vec<FaultKind>,
    bag: Vec<FaultKind>,
    nodes: usize,
    rooms: usize,
}

impl Schedule {
    /// `kinds` must not be empty, and neither `nodes` nor `rooms` 0.
    pub(super) fn new(seed: u64, kinds: &[FaultKind], nodes: usize, rooms: usize) -> Self {
        let mut kinds = kinds.to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        Self {
            rng: Rng::new(seed),
            kinds,
            bag: Vec::new(),
            nodes,
            rooms,
        }
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.rng.below(to - from))
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.below(bound as u64)).unwrap_or_default()
    }
}

impl Iterator for Schedule {
    type Item = Planned;

    fn next(&mut self) -> Option<Planned> {
        if self.bag.is_empty() {
            self.bag.clone_from(&self.kinds);
        }
        let quiet = self.millis(2_000, 4_000);
        let place = self.index(self.bag.len());
        let leader_of = self.index(self.rooms);
        let fault = match self.bag.swap_remove(place) {
            FaultKind::Kill => Fault::Kill {
                leader_of,
                lasts: self.millis(2_000, 5_000),
            },
            FaultKind::Pause => Fault::Pause {
                leader_of,
                lasts: self.millis(2_000, 6_000),
            },
            FaultKind::Partition => Fault::Partition {
                leader_of,
                with_next: self.index((self.nodes.min(REPLICAS) - 1) / 2),
                one_way: self.rng.below(3) == 0,
                lasts: self.millis(3_000, 7_000),
            },
            FaultKind::DiskFull => Fault::DiskFull {
                lasts: self.millis(2_000, 4_000),
            },
            FaultKind::RollingRestart => Fault::RollingRestart {
                first: self.index(self.nodes),
            },
            FaultKind::Drain => Fault::Drain {
                node: self.index(self.nodes),
            },
        };
        Some(Planned { quiet, fault })
    }
}

impl Fault {
    pub(super) fn kind(&self) -> FaultKind {
        match self {
            Fault::Kill { .. } => FaultKind::Kill,
            Fault::Pause { .. } => FaultKind::Pause,
            Fault::Partition { .. } => FaultKind::Partition,
            Fault::DiskFull { .. } => FaultKind::DiskFull,
            Fault::RollingRestart { .. } => FaultKind::RollingRestart,
            Fault::Drain { .. } => FaultKind::Drain,
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FaultKind::Kill => "kill -9",
            FaultKind::Pause => "pause",
            FaultKind::Partition => "partition",
            FaultKind::DiskFull => "disk full",
            FaultKind::RollingRestart => "rolling restart",
            FaultKind::Drain => "drain",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [FaultKind; 6] = FaultKind::ALL;

    fn planned(seed: u64, nodes: usize, count: usize) -> Vec<Planned> {
        Schedule::new(seed, &ALL, nodes, 10).take(count).collect()
    }

    #[test]
    fn the_same_seed_is_the_same_schedule_and_another_is_another() {
        assert_eq!(planned(1, 5, 50), planned(1, 5, 50));
        assert_ne!(planned(1, 5, 50), planned(2, 5, 50));
        // The order in which the kinds are named is nothing to the schedule.
        let mut reversed = ALL;
        reversed.reverse();
        let other: Vec<Planned> = Schedule::new(1, &reversed, 5, 10).take(50).collect();
        assert_eq!(planned(1, 5, 50), other);
    }

    #[test]
    fn every_kind_comes_once_before_any_comes_again() {
        for round in planned(7, 5, 60).chunks(6) {
            let mut kinds: Vec<FaultKind> = round.iter().map(|planned| planned.fault.kind()).collect();
            kinds.sort_unstable();
            assert_eq!(kinds, ALL);
        }
    }

    #[test]
    fn no_shard_loses_its_majority_to_a_partition() {
        for nodes in [3, 5, 7] {
            let mut largest = 0;
            for planned in planned(3, nodes, 500) {
                if let Fault::Partition { with_next, .. } = planned.fault {
                    largest = largest.max(1 + with_next);
                }
            }
            assert_eq!(largest, (REPLICAS - 1) / 2, "{nodes} nodes");
        }
    }
}
