//! What goes wrong at random, with proposals and reads in between.

use rand::RngExt;

use super::Sim;
use crate::config::NodeId;
use crate::shard::ShardId;

/// Restarts and full partitions, `rounds` of them. Some of the requests go to whoever led before, and some of the crashes
/// come while a write is under way.
pub(crate) fn chaos(sim: &mut Sim, rounds: u32) {
    for _ in 0..rounds {
        let node = any_node(sim);
        match sim.rng.random_range(0..6) {
            0 => sim.crash(node),
            1 => sim.isolate(node, true),
            2 | 3 => sim.isolate(node, false),
            _ if !sim.is_up(node) => sim.start(node),
            _ => {}
        }
        requests(sim, node);
    }
}

/// Besides those: partitions in one direction, power losses of all nodes at once, and nodes that stay away for long.
pub(crate) fn heavy_chaos(sim: &mut Sim, rounds: u32) {
    for _ in 0..rounds {
        let (node, other) = (any_node(sim), any_node(sim));
        match sim.rng.random_range(0..12) {
            0 | 1 => sim.crash(node),
            2 => sim.isolate(node, true),
            3 => sim.isolate(node, false),
            4 => sim.cut_one_way(node, other, true),
            5 => sim.cut_one_way(node, other, false),
            6 => {
                for node in sim.ids() {
                    sim.isolate(node, false);
                }
            }
            7 if sim.rng.random_ratio(1, 4) => {
                for node in sim.ids() {
                    sim.crash(node);
                    sim.start(node);
                }
            }
            8 if !sim.is_up(node) => {
                for _ in 0..sim.rng.random_range(1..4) {
                    requests(sim, other);
                }
                sim.start(node);
            }
            _ if !sim.is_up(node) => sim.start(node),
            _ => {}
        }
        requests(sim, node);
    }
}

fn any_node(sim: &mut Sim) -> NodeId {
    NodeId(sim.rng.random_range(1..=sim.world.nodes))
}

/// A few proposals and reads, `node` crashing now and then in between.
fn requests(sim: &mut Sim, node: NodeId) {
    let mut led: Vec<NodeId> = Vec::new();
    for _ in 0..sim.rng.random_range(1..12) {
        let shard = ShardId(sim.rng.random_range(0..sim.world.shards));
        led.extend(sim.leader(shard));
        let stale = sim.rng.random_range(0..led.len().max(1));
        let chosen = if sim.rng.random_ratio(1, 3) {
            led.get(stale).copied()
        } else {
            sim.leader(shard)
        };
        let chosen = chosen.unwrap_or(node);
        if sim.rng.random_ratio(1, 3) {
            sim.read(chosen, shard);
        } else {
            sim.propose(chosen, shard);
        }
        let pause = if sim.rng.random_ratio(1, 2) {
            sim.millis(1..12)
        } else {
            sim.millis(1..300)
        };
        sim.run(pause);
        if sim.rng.random_ratio(1, 12) {
            sim.crash(node);
            sim.start(node);
        }
    }
}
