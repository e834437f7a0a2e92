//! Simulated clusters of cores.

use std::time::Duration;

use super::sim::Sim;
use crate::config::NodeId;
use crate::error::ProposeError;
use crate::members::MemberStep;
use crate::shard::ShardId;
use crate::simulation::{Mix, Setup, Weather};

/// Restarts and full partitions.
const CHAOS: Mix = Mix {
    crash: 1,
    blink: 0,
    blackout: 0,
    restart: 1,
    isolate: 1,
    isolate_leader: 0,
    stall: 0,
    mend: 2,
    one_way: 0,
    mend_all: 0,
    disk_full: 0,
    disk_error: 0,
    transfer: 0,
    move_replica: 0,
    nothing: 1,
};

/// Everything but moves.
const HEAVY_CHAOS: Mix = Mix {
    crash: 4,
    blink: 2,
    blackout: 1,
    restart: 4,
    isolate: 2,
    isolate_leader: 1,
    stall: 1,
    mend: 2,
    one_way: 2,
    mend_all: 4,
    disk_full: 1,
    disk_error: 1,
    transfer: 2,
    move_replica: 0,
    nothing: 3,
};

const MOVING_CHAOS: Mix = Mix {
    move_replica: 26,
    ..HEAVY_CHAOS
};

fn setup(seed: u64, nodes: u64, shards: u32) -> Setup {
    Setup {
        seed,
        nodes,
        shards,
        ..Setup::default()
    }
}

fn calm(setup: Setup) -> Sim {
    Sim::new(setup, Weather::default())
}

fn elected(seed: u64) -> Sim {
    let mut sim = calm(setup(seed, 3, 2));
    sim.run_until("leaders", |sim| {
        sim.shards().into_iter().all(|shard| sim.leader(shard).is_some())
    });
    sim
}

#[test]
fn three_nodes_elect_one_leader_and_agree() {
    let mut sim = elected(1);
    let leader = sim.leader(ShardId(0)).unwrap();
    let ids: Vec<_> = (0..50).map(|_| sim.propose(leader, ShardId(0))).collect();
    let read = sim.read(leader, ShardId(0));
    sim.run(Duration::from_secs(1));
    assert!(ids.iter().all(|id| sim.answers.get(id) == Some(&Ok(()))));
    assert_eq!(sim.answers.get(&read), Some(&Ok(())));
    let follower = sim.ids().into_iter().find(|node| *node != leader).unwrap();
    let (proposal, read) = (sim.propose(follower, ShardId(0)), sim.read(follower, ShardId(0)));
    let refusal = Some(&Err(ProposeError::NotLeader { leader: Some(leader) }));
    assert_eq!((sim.answers.get(&proposal), sim.answers.get(&read)), (refusal, refusal));
    sim.assert_nothing_lost();
    assert_eq!(sim.acknowledged(), 50);
}

#[test]
fn an_isolated_leader_steps_down_and_its_requests_end() {
    let mut sim = elected(2);
    let shard = ShardId(0);
    let old = sim.leader(shard).unwrap();
    sim.isolate(old, true);
    let (proposal, read) = (sim.propose(old, shard), sim.read(old, shard));
    sim.run_until("new leader", |sim| sim.leader(shard).is_some_and(|new| new != old));
    sim.run_until("answers", |sim| {
        [proposal, read].iter().all(|id| sim.answers.contains_key(id))
    });
    assert_eq!(sim.answers[&proposal], Err(ProposeError::Unknown));
    assert!(matches!(sim.answers[&read], Err(ProposeError::NotLeader { .. })));
    let new = sim.leader(shard).unwrap();
    let proposal = sim.propose(new, shard);
    sim.run(Duration::from_secs(1));
    assert_eq!(sim.answers[&proposal], Ok(()));
    sim.assert_nothing_lost();
}

/// Two leaders overlap for a moment: the old one must not permit reads any more. The check is `linearizable_read`.
#[test]
fn a_leader_that_does_not_know_better_permits_no_stale_read() {
    let shard = ShardId(0);
    let mut overlaps = 0;
    for seed in 200..260 {
        let mut sim = elected(seed);
        let old = sim.leader(shard).unwrap();
        sim.isolate(old, true);
        sim.run_until("new leader", |sim| sim.leader(shard).is_some_and(|new| new != old));
        let new = sim.leader(shard).unwrap();
        let proposal = sim.propose(new, shard);
        sim.run(Duration::from_millis(40));
        if sim.leads(old, shard).is_some() && sim.answers.contains_key(&proposal) {
            overlaps += 1;
            sim.read(old, shard);
        }
        sim.run(Duration::from_millis(500));
        sim.isolate(old, false);
        sim.run(Duration::from_millis(500));
    }
    assert!(overlaps > 3, "{overlaps} overlaps: the test tests little");
}

#[test]
fn a_replica_that_was_away_is_served_from_the_log_store() {
    let mut sim = elected(3);
    let shard = ShardId(1);
    let leader = sim.leader(shard).unwrap();
    let away = sim.ids().into_iter().find(|node| *node != leader).unwrap();
    sim.crash(away);
    for _ in 0..300 {
        sim.propose(leader, shard);
        sim.run(Duration::from_millis(5));
    }
    sim.start(away);
    sim.assert_nothing_lost();
    assert_eq!(sim.acknowledged(), 300);
}

#[test]
fn a_power_loss_of_all_nodes_loses_nothing_acknowledged() {
    for seed in 10..20 {
        let mut sim = elected(seed);
        for _ in 0..40 {
            let leader = sim.leader(ShardId(0)).unwrap();
            sim.propose(leader, ShardId(0));
            sim.run(Duration::from_millis(3));
        }
        let acknowledged = sim.acknowledged();
        assert!(acknowledged > 10, "{acknowledged}");
        for node in sim.ids() {
            sim.crash(node);
        }
        sim.assert_nothing_lost();
    }
}

#[test]
fn a_lone_node_keeps_what_it_acknowledged_over_power_losses() {
    for seed in 100..130 {
        let mut sim = calm(setup(seed, 1, 3));
        for _ in 0..5 {
            for round in 0..20 {
                sim.propose(NodeId(1), ShardId(round % 3));
                sim.run(Duration::from_millis(4));
            }
            sim.crash(NodeId(1));
            sim.start(NodeId(1));
            sim.run(Duration::from_millis(50));
        }
        assert!(sim.acknowledged() > 50);
        sim.assert_nothing_lost();
    }
}

#[test]
fn chaos_breaks_no_invariant() {
    let mut acknowledged = 0;
    for seed in 1000..1040 {
        let weather = Weather {
            drop_one_in: 20,
            ..Weather::default()
        };
        let mut sim = Sim::new(setup(seed, 3, 2), weather);
        sim.chaos(&CHAOS, 60);
        sim.assert_nothing_lost();
        acknowledged += sim.acknowledged();
    }
    assert!(
        acknowledged > 1000,
        "only {acknowledged} commands got through: the test tests little"
    );
}

/// Every kind of fault, on logs so short that replicas need snapshots.
#[test]
fn heavy_chaos_breaks_no_invariant() {
    let (mut acknowledged, mut installed) = (0, 0);
    for seed in 5000..5120 {
        let mut sim = heavy(&setup(seed, 3, 2));
        sim.chaos(&HEAVY_CHAOS, 30);
        sim.assert_nothing_lost();
        acknowledged += sim.acknowledged();
        installed += sim.installed();
    }
    assert!(
        acknowledged > 2000,
        "only {acknowledged} commands: the test tests little"
    );
    assert!(installed > 50, "only {installed} snapshots: the test tests little");
}

fn heavy(setup: &Setup) -> Sim {
    let weather = Weather {
        drop_one_in: 20,
        duplicate_one_in: 20,
        late_one_in: 20,
        slow_write_one_in: 40,
        slow_apply_one_in: 40,
        blink_after_vote_one_in: 20,
    };
    let setup = Setup {
        short_logs: true,
        chunk_bytes: 100,
        ..setup.clone()
    };
    Sim::new(setup, weather)
}

/// A replica moves as learner, through joint consensus, to its removal; the shard never has fewer voters on the way.
#[test]
fn a_replica_moves_to_a_node_that_joins() {
    let mut sim = calm(Setup {
        joining: 1,
        ..setup(6, 3, 1)
    });
    let shard = ShardId(0);
    sim.run_until("leader", |sim| sim.leader(shard).is_some());
    let leader = sim.leader(shard).unwrap();
    let ids: Vec<_> = (0..30).map(|_| sim.propose(leader, shard)).collect();
    let (new, old) = (NodeId(4), sim.ids().into_iter().find(|node| *node != leader).unwrap());
    let early = sim.change_members(leader, shard, vec![MemberStep::Promote(new)]);
    let learn = sim.change_members(leader, shard, vec![MemberStep::Learn(new)]);
    let second = sim.change_members(leader, shard, vec![MemberStep::Remove(old)]);
    sim.run_until("learner", |sim| sim.answers.contains_key(&learn));
    let refused = Some(&Err(ProposeError::ChangeRefused));
    assert_eq!((sim.answers.get(&early), sim.answers.get(&second)), (refused, refused));
    sim.run_until("snapshot", |sim| sim.installed() == 1);
    sim.run(Duration::from_secs(1));
    let moved = sim.change_members(leader, shard, vec![MemberStep::Promote(new), MemberStep::Remove(old)]);
    sim.run_until("move", |sim| sim.answers.contains_key(&moved));
    assert_eq!(sim.answers[&moved], Ok(()));
    sim.run_until("end of the joint change", |sim| {
        sim.members(shard).is_some_and(|members| members.outgoing.is_empty())
    });
    let members = sim.members(shard).unwrap();
    assert!(members.voters.contains(&new) && !members.contains(old) && members.voters.len() == 3);
    // The old one is not needed any more, the new one is.
    sim.crash(old);
    assert!(ids.iter().all(|id| sim.answers[id] == Ok(())));
    sim.assert_nothing_lost();
}

#[test]
fn replicas_that_move_in_the_midst_of_chaos_break_no_invariant() {
    let (mut acknowledged, mut moved) = (0, 0);
    for seed in 7000..7080 {
        let mut sim = heavy(&Setup {
            joining: 2,
            ..setup(seed, 3, 2)
        });
        sim.chaos(&MOVING_CHAOS, 40);
        sim.assert_nothing_lost();
        acknowledged += sim.acknowledged();
        let voters = |shard| sim.members(shard).unwrap().voters.clone();
        assert!(
            sim.shards().into_iter().all(|shard| voters(shard).len() == 3),
            "seed {seed}"
        );
        moved += sim
            .shards()
            .into_iter()
            .filter(|shard| voters(*shard).last() > Some(&NodeId(3)))
            .count();
    }
    assert!(
        acknowledged > 2000,
        "only {acknowledged} commands: the test tests little"
    );
    assert!(moved > 20, "only {moved} shards moved: the test tests little");
}

#[test]
fn a_replica_whose_state_store_is_lost_gets_it_from_the_others_and_keeps_its_votes() {
    let (mut acknowledged, mut lost, mut installed) = (0, 0, 0);
    for seed in 8000..8065 {
        let mut sim = heavy(&setup(seed, 3, 2));
        for round in 0..40 {
            if sim.is_whole() && round > 5 {
                let victim = sim.ids()[(seed as usize + round) % 3];
                sim.lose_state(victim);
                sim.start(victim);
                lost += 1;
            }
            sim.chaos(&HEAVY_CHAOS, 1);
        }
        sim.assert_nothing_lost();
        sim.run_until("whole replicas", |sim| sim.is_whole());
        acknowledged += sim.acknowledged();
        installed += sim.installed();
    }
    assert!(
        acknowledged > 2000 && lost > 200 && installed > 200,
        "{acknowledged} {lost} {installed}: the test tests little"
    );
}

#[test]
fn a_lone_replica_whose_state_store_is_lost_is_refused() {
    let mut sim = Sim::new(
        Setup {
            short_logs: true,
            ..setup(5, 1, 1)
        },
        Weather::default(),
    );
    let shard = ShardId(0);
    sim.run_until("leader", |sim| sim.leader(shard).is_some());
    for _ in 0..60 {
        sim.propose(NodeId(1), shard);
        sim.run(Duration::from_millis(50));
    }
    sim.lose_state(NodeId(1));
    sim.start(NodeId(1));
    let violations = sim.violations();
    assert!(
        violations.len() == 1 && violations[0].what.contains("set the folder aside and rebuild"),
        "{violations:?}"
    );
}

#[test]
fn a_replica_that_lacks_too_much_gets_a_snapshot() {
    let mut sim = calm(Setup {
        short_logs: true,
        ..setup(4, 3, 2)
    });
    let shard = ShardId(1);
    sim.run_until("leader", |sim| sim.leader(shard).is_some());
    let leader = sim.leader(shard).unwrap();
    let away = sim.ids().into_iter().find(|node| *node != leader).unwrap();
    sim.crash(away);
    for _ in 0..100 {
        sim.propose(leader, shard);
        sim.run(Duration::from_millis(10));
    }
    assert_eq!(sim.installed(), 0);
    sim.start(away);
    sim.assert_nothing_lost();
    assert!(sim.installed() >= 1 && sim.acknowledged() == 100);
}

#[test]
fn idle_shards_sleep_and_wake_for_whatever_comes() {
    let mut slowest = Duration::ZERO;
    for seed in 300..340 {
        let mut sim = elected(seed);
        let shards = sim.shards();
        let all_asleep = |sim: &Sim| shards.iter().all(|shard| sim.is_asleep(*shard));
        sim.run_until("sleep", all_asleep);
        sim.run(Duration::from_secs(30));
        assert!(all_asleep(&sim), "seed {seed}: an idle shard woke up");
        let shard = shards[0];
        let leader = sim.leader(shard).unwrap();
        let (proposal, read) = (sim.propose(leader, shard), sim.read(leader, shard));
        sim.run(Duration::from_millis(200));
        assert_eq!((&sim.answers[&proposal], &sim.answers[&read]), (&Ok(()), &Ok(())));
        sim.run_until("sleep", all_asleep);
        // Those that sleep miss their leader all the same.
        sim.crash(leader);
        let begun = sim.now();
        sim.run_until("new leader", |sim| sim.leader(shard).is_some());
        slowest = slowest.max(sim.now() - begun);
        sim.start(leader);
        sim.assert_nothing_lost();
    }
    assert!(
        slowest < Duration::from_millis(1200),
        "a sleeping shard was away for {slowest:?}"
    );
}

/// A node that is gone for so short that nobody misses it comes back awake, among sleepers who take it for their leader.
#[test]
fn a_leader_that_forgot_that_it_leads_wakes_its_followers() {
    for seed in 400..420 {
        let mut sim = elected(seed);
        let shard = ShardId(0);
        sim.run_until("sleep", |sim| sim.is_asleep(shard));
        let leader = sim.leader(shard).unwrap();
        sim.crash(leader);
        sim.start(leader);
        let begun = sim.now();
        sim.run_until("new leader", |sim| sim.leader(shard).is_some());
        let away = sim.now() - begun;
        assert!(away < Duration::from_secs(3), "seed {seed}: away for {away:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut sim = heavy(&setup(seed, 3, 2));
        sim.chaos(&HEAVY_CHAOS, 20);
        sim.trace()
    };
    assert_eq!(trace(5), trace(5));
    assert_ne!(trace(5), trace(6));
}
