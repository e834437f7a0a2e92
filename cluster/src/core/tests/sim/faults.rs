//! What goes wrong at random, with proposals and reads in between.

use rand::RngExt;

use super::Sim;
use crate::config::NodeId;
use crate::members::MemberStep;
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

/// Replicas that move while everything else goes wrong, too.
pub(crate) fn moving_chaos(sim: &mut Sim, rounds: u32) {
    for _ in 0..rounds {
        let shard = ShardId(sim.rng.random_range(0..sim.world.shards));
        if let Some(steps) = next_move(sim, shard) {
            let leader = sim.leader(shard).unwrap_or(NodeId(1));
            sim.change_members(leader, shard, steps);
        }
        heavy_chaos(sim, 1);
    }
}

/// The next step of moving a replica: another node learns, or a learner takes the place of a voter.
fn next_move(sim: &mut Sim, shard: ShardId) -> Option<Vec<MemberStep>> {
    let (leader, members) = (sim.leader(shard)?, sim.members(shard)?);
    if let Some(learner) = members.learners.first() {
        let others: Vec<_> = members.voters.iter().filter(|voter| **voter != leader).collect();
        let out = *others[sim.rng.random_range(0..others.len())];
        return Some(vec![MemberStep::Promote(*learner), MemberStep::Remove(out)]);
    }
    let strangers: Vec<_> = sim.ids().into_iter().filter(|node| !members.contains(*node)).collect();
    let new = strangers[sim.rng.random_range(0..strangers.len())];
    Some(vec![MemberStep::Learn(new)])
}

fn any_node(sim: &mut Sim) -> NodeId {
    NodeId(sim.rng.random_range(1..=sim.world.nodes + sim.world.joining))
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
