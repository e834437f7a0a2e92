//! What a seed's world is like: how many nodes, rooms and users, and what goes wrong in it.

use std::time::Duration;

use mimi_hub_cluster::simulation::{Mix, Setup, Simulation, Weather};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Bytes of a snapshot's chunk: so few that every snapshot has several.
const CHUNK_BYTES: usize = 2048;

pub(super) struct Scenario {
    pub(super) setup: Setup,
    pub(super) weather: Weather,
    pub(super) rooms: usize,
    pub(super) users: usize,
    /// How long faults go on.
    pub(super) faults_for: Duration,
    /// An actor hears late that its shard is lost once in so many.
    pub(super) slow_actor_one_in: u32,
    /// A wall clock jumps with one fault in so many.
    pub(super) clock_jump_one_in: u32,
    mix: Mix,
}

/// Some of everything.
const ALL: Mix = Mix {
    crash: 3,
    blink: 2,
    blackout: 1,
    restart: 4,
    isolate: 2,
    isolate_leader: 2,
    stall: 2,
    mend: 2,
    one_way: 2,
    mend_all: 4,
    disk_full: 1,
    disk_error: 1,
    transfer: 4,
    move_replica: 0,
    nothing: 8,
};

const NONE: Mix = Mix {
    crash: 0,
    blink: 0,
    blackout: 0,
    restart: 4,
    isolate: 0,
    isolate_leader: 0,
    stall: 0,
    mend: 0,
    one_way: 0,
    mend_all: 4,
    disk_full: 0,
    disk_error: 0,
    transfer: 0,
    move_replica: 0,
    nothing: 6,
};

impl Scenario {
    pub(super) fn of(seed: u64) -> Self {
        // Not the simulation's own choices: what is drawn here may change without them.
        let mut rng = SmallRng::seed_from_u64(seed ^ 0x6d69_6d69);
        let joining = rng.random_range(0..3);
        let kind = rng.random_range(0..9);
        let mut mix = match kind {
            // Partitions.
            0 => Mix {
                isolate: 4,
                one_way: 4,
                mend: 2,
                ..NONE
            },
            // Power.
            1 => Mix {
                crash: 4,
                blink: 4,
                blackout: 2,
                ..NONE
            },
            // Leaders come and go.
            2 => Mix { transfer: 16, ..NONE },
            // Elections in which voters lose their power.
            3 | 5 => Mix {
                isolate_leader: 2,
                blink: 1,
                restart: 1,
                mend_all: 1,
                nothing: 14,
                ..NONE
            },
            // Leaders that do not know better.
            6 => Mix {
                isolate_leader: 3,
                stall: 1,
                restart: 1,
                mend_all: 1,
                nothing: 20,
                ..NONE
            },
            // Nodes that are away for long.
            4 => Mix {
                crash: 6,
                isolate: 3,
                restart: 3,
                mend_all: 2,
                ..NONE
            },
            _ => ALL,
        };
        if joining > 0 {
            mix.move_replica = rng.random_range(1..12);
        }
        let setup = Setup {
            seed,
            nodes: if kind == 3 || rng.random_ratio(1, 5) { 5 } else { 3 },
            joining,
            shards: rng.random_range(1..4),
            short_logs: rng.random_ratio(3, 4),
            chunk_bytes: CHUNK_BYTES,
        };
        let weather = Weather {
            drop_one_in: rng.random_range(10..60),
            duplicate_one_in: rng.random_range(10..60),
            late_one_in: rng.random_range(5..60),
            slow_write_one_in: rng.random_range(20..100),
            slow_apply_one_in: rng.random_range(20..100),
            blink_after_vote_one_in: if matches!(kind, 3 | 5) { 2 } else { 20 },
        };
        Scenario {
            setup,
            weather,
            rooms: rng.random_range(1..3),
            users: 1,
            faults_for: Duration::from_secs(rng.random_range(4..12)),
            slow_actor_one_in: rng.random_range(2..10),
            clock_jump_one_in: 10,
            mix,
        }
    }

    pub(super) fn fault<E>(&self, sim: &mut Simulation<E>) {
        sim.fault(&self.mix);
    }
}
