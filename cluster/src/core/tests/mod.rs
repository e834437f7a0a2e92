//! The core as a whole: one node, and simulated clusters.

mod sim;

use std::time::Duration;

use mimi_hub_storage::{ClusterId, MemoryLog, MemoryStore};
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use self::sim::{Sim, World, chaos, heavy_chaos};
use super::*;
use crate::config::ClusterConfig;
use crate::machine::Leadership;
use crate::recovery;

fn world(seed: u64, nodes: u64, shards: u32) -> World {
    World {
        seed,
        nodes,
        shards,
        ..World::default()
    }
}

fn elected(seed: u64) -> Sim {
    let mut sim = Sim::new(world(seed, 3, 2));
    sim.run_until("leaders", |sim| {
        sim.shards().into_iter().all(|shard| sim.leader(shard).is_some())
    });
    sim
}

/// A core of one node with `shards` shards that nothing has been done with.
fn alone(shards: u32, change: impl FnOnce(&mut ClusterConfig)) -> Core {
    let mut config = ClusterConfig::single_node(ClusterId([1; 16]), NodeId(1), shards);
    change(&mut config);
    let groups = recovery::recover(&config, &MemoryLog::default(), &MemoryStore::default()).unwrap();
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    Core::new(CoreConfig::new(&config, logger), Duration::ZERO, groups).unwrap()
}

/// Steps until the core asks for nothing more; everything is applied at once. Returns what was applied, by shard and index.
fn settle(core: &mut Core, inputs: Vec<Input>) -> (Vec<(u32, u64)>, Vec<Outputs>) {
    let (mut applied, mut outputs) = (Vec::new(), Vec::new());
    let mut inputs = inputs;
    loop {
        let out = core.step(Duration::ZERO, std::mem::take(&mut inputs));
        inputs.extend(out.write.iter().map(|write| Input::Persisted { write: write.number }));
        for work in &out.apply {
            applied.extend(work.entries.iter().map(|entry| (work.shard.0, entry.index)));
            let index = work.entries.last().unwrap().index;
            inputs.push(Input::Applied {
                shard: work.shard,
                index,
            });
        }
        outputs.push(out);
        if inputs.is_empty() {
            return (applied, outputs);
        }
    }
}

fn propose(shard: u32, id: RequestId, command: &[u8]) -> Input {
    Input::Propose {
        shard: ShardId(shard),
        id,
        data: crate::entry::encode(command),
    }
}

#[test]
fn a_lone_node_leads_all_shards_after_one_write() {
    let mut core = alone(64, |_| {});
    let out = core.step(Duration::ZERO, []);
    let write = out.write.unwrap();
    assert_eq!(write.batch.groups().count(), 64);
    assert!(out.leadership.is_empty(), "nothing is durable yet");
    let (applied, outputs) = settle(&mut core, vec![Input::Persisted { write: write.number }]);
    assert_eq!(applied.len(), 64);
    assert!(outputs.iter().all(|out| out.write.is_none()));
    let led: Vec<_> = outputs.into_iter().flat_map(|out| out.leadership).collect();
    assert_eq!(led.len(), 64);
    assert!(
        led.iter()
            .all(|(_, state)| *state == Leadership::Leader { term: 2, since: 2 }),
        "{led:?}"
    );
}

#[test]
fn nothing_is_applied_before_it_is_durable() {
    let mut core = alone(1, |_| {});
    settle(&mut core, Vec::new());
    let out = core.step(Duration::ZERO, [propose(0, 1, b"one"), propose(0, 2, b"two")]);
    assert!(out.apply.is_empty() && out.answers.is_empty());
    let write = out.write.unwrap();
    // While the write is under way, requests are taken in, but nothing comes out.
    let busy = core.step(Duration::ZERO, [propose(0, 3, b"three")]);
    assert!(busy.apply.is_empty() && busy.write.is_none());
    let out = core.step(Duration::ZERO, [Input::Persisted { write: write.number }]);
    let requests: Vec<_> = out
        .apply
        .iter()
        .flat_map(|work| &work.entries)
        .map(|entry| entry.request)
        .collect();
    assert_eq!(requests, [Some(1), Some(2)]);
    assert!(out.write.is_some(), "the third goes with the next write");
}

#[test]
fn one_write_serves_all_shards_and_keeps_the_order_of_each() {
    let mut core = alone(3, |_| {});
    settle(&mut core, Vec::new());
    let inputs = (0..30).map(|id| propose((id % 3) as u32, id, b"command")).collect();
    let (applied, outputs) = settle(&mut core, inputs);
    assert_eq!(outputs.iter().filter(|out| out.write.is_some()).count(), 1);
    for shard in 0..3 {
        let indices: Vec<u64> = applied
            .iter()
            .filter(|(of, _)| *of == shard)
            .map(|(_, index)| *index)
            .collect();
        assert_eq!(indices, (3..13).collect::<Vec<_>>());
        let entries = outputs
            .iter()
            .flat_map(|out| &out.apply)
            .filter(|work| work.shard.0 == shard);
        let requests: Vec<_> = entries
            .flat_map(|work| &work.entries)
            .filter_map(|entry| entry.request)
            .collect();
        assert!(requests.is_sorted() && requests.len() == 10, "{requests:?}");
    }
}

#[test]
fn a_read_waits_for_a_commit_of_the_term_and_for_what_is_acknowledged() {
    let mut core = alone(1, |_| {});
    let shard = ShardId(0);
    // Asked before the leader has committed anything.
    let out = core.step(Duration::ZERO, [Input::Read { shard, id: 7 }]);
    assert!(out.answers.is_empty());
    let out = core.step(
        Duration::ZERO,
        [Input::Persisted {
            write: out.write.unwrap().number,
        }],
    );
    assert!(out.answers.is_empty() && out.apply.len() == 1);
    let out = core.step(Duration::ZERO, [Input::Applied { shard, index: 2 }]);
    assert_eq!(out.answers, [(7, Ok(()))]);
    // Committed, but not applied.
    let out = core.step(Duration::ZERO, [propose(0, 8, b"command")]);
    core.step(
        Duration::ZERO,
        [Input::Persisted {
            write: out.write.unwrap().number,
        }],
    );
    assert!(
        core.step(Duration::ZERO, [Input::Read { shard, id: 9 }])
            .answers
            .is_empty()
    );
    assert_eq!(
        core.step(Duration::ZERO, [Input::Applied { shard, index: 3 }]).answers,
        [(9, Ok(()))]
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut core = alone(1, |config| {
        config.max_unapplied_bytes = 1000;
        config.max_queued = 1;
    });
    settle(&mut core, Vec::new());
    let out = core.step(Duration::ZERO, [propose(0, 1, &[0; 2000])]);
    let out = core.step(
        Duration::ZERO,
        [Input::Persisted {
            write: out.write.unwrap().number,
        }],
    );
    assert_eq!((out.apply.len(), core.unapplied_bytes()), (1, 2001));
    let shard = ShardId(0);
    let reads = [Input::Read { shard, id: 3 }, Input::Read { shard, id: 4 }];
    let out = core.step(
        Duration::ZERO,
        [propose(0, 2, b"x"), propose(9, 5, b"x")].into_iter().chain(reads),
    );
    let refused = [
        (2, Err(ProposeError::Overloaded)),
        (5, Err(ProposeError::NoSuchShard(ShardId(9)))),
        (4, Err(ProposeError::Overloaded)),
    ];
    assert_eq!(out.answers, refused);
    let out = core.step(Duration::ZERO, [Input::Applied { shard, index: 3 }]);
    assert_eq!((core.unapplied_bytes(), out.answers), (0, vec![(3, Ok(()))]));
    assert!(core.step(Duration::ZERO, [propose(0, 6, b"x")]).write.is_some());
}

#[test]
fn uncommitted_entries_are_bounded() {
    let mut core = alone(1, |config| config.max_uncommitted_bytes = 1 << 20);
    settle(&mut core, Vec::new());
    let out = core.step(Duration::ZERO, (1..=20).map(|id| propose(0, id, &[0; 100 << 10])));
    let overloaded = out
        .answers
        .iter()
        .filter(|(_, answer)| *answer == Err(ProposeError::Overloaded))
        .count();
    assert!((8..=12).contains(&overloaded), "{overloaded} of 20 refused");
}

#[test]
fn the_log_is_compacted_behind_the_flushed_state_with_a_margin() {
    let mut core = alone(1, |config| config.keep_entries = 10);
    let shard = ShardId(0);
    settle(&mut core, (1..=100).map(|id| propose(0, id, b"command")).collect());
    let last = core.status(shard).unwrap().last_index;
    settle(&mut core, vec![Input::Flushed { shard, index: 15 }]);
    assert_eq!(core.status(shard).unwrap().first_index, 2, "too little to be worth it");
    // Beyond what is applied counts no more than that.
    let (_, outputs) = settle(
        &mut core,
        vec![Input::Flushed {
            shard,
            index: last + 50,
        }],
    );
    assert!(
        outputs.iter().all(|out| out.write.is_none()),
        "goes with the next write"
    );
    assert_eq!(core.status(shard).unwrap().first_index, last - 9);
    let (_, outputs) = settle(&mut core, vec![propose(0, 200, b"command")]);
    let write = outputs.iter().find_map(|out| out.write.as_ref()).unwrap();
    let compacted: Vec<_> = write.batch.groups().map(|(_, group)| group.compact_to).collect();
    assert_eq!(compacted, [Some(last - 10)]);
}

#[test]
fn a_broken_group_breaks_the_core_and_is_named() {
    let mut core = alone(2, |_| {});
    settle(&mut core, Vec::new());
    // An applied index beyond what is committed breaks an invariant of raft-rs, which panics.
    let out = core.step(
        Duration::ZERO,
        [Input::Applied {
            shard: ShardId(1),
            index: 99,
        }],
    );
    let fatal = out.fatal.unwrap();
    assert_eq!(fatal.shard, Some(ShardId(1)));
    assert!(fatal.cause.contains("applied(99)"), "{}", fatal.cause);
    let out = core.step(Duration::from_secs(9), [propose(0, 1, b"command")]);
    assert!(out.write.is_none() && out.frames.is_empty() && out.apply.is_empty());
}

#[test]
fn an_entry_that_is_not_understood_stops_the_node() {
    let mut config = ClusterConfig::single_node(ClusterId([1; 16]), NodeId(1), 1);
    config.nodes = vec![NodeId(1), NodeId(2)];
    let groups = recovery::recover(&config, &MemoryLog::default(), &MemoryStore::default()).unwrap();
    let logger = slog::Logger::root(slog::Discard, slog::o!());
    let mut core = Core::new(CoreConfig::new(&config, logger), Duration::ZERO, groups).unwrap();
    let mut entry = Entry {
        index: 2,
        term: 5,
        ..Entry::default()
    };
    entry.set_entry_type(EntryType::EntryConfChangeV2);
    let mut message = Message {
        from: 2,
        to: 1,
        term: 5,
        log_term: 1,
        index: 1,
        commit: 2,
        ..Message::default()
    };
    message.set_msg_type(MessageType::MsgAppend);
    message.set_entries(vec![entry].into());
    let frame = Frame {
        from: NodeId(2),
        to: NodeId(1),
        messages: vec![(ShardId(0), message)],
    };
    let out = core.step(Duration::ZERO, [Input::Frame(frame)]);
    let out = core.step(
        Duration::ZERO,
        [Input::Persisted {
            write: out.write.unwrap().number,
        }],
    );
    assert!(out.fatal.unwrap().cause.contains("membership"));
}

#[test]
fn a_message_that_is_not_from_its_sender_is_dropped() {
    let mut core = alone(1, |_| {});
    settle(&mut core, Vec::new());
    let mut message = Message {
        from: 3,
        to: 1,
        term: 99,
        ..Message::default()
    };
    message.set_msg_type(MessageType::MsgHeartbeat);
    let term = core.status(ShardId(0)).unwrap().term;
    let frame = |message| {
        Input::Frame(Frame {
            from: NodeId(2),
            to: NodeId(1),
            messages: vec![(ShardId(0), message)],
        })
    };
    settle(
        &mut core,
        vec![
            frame(message.clone()),
            frame(Message {
                from: 2,
                to: 4,
                ..message
            }),
        ],
    );
    assert_eq!(core.status(ShardId(0)).unwrap().term, term);
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
        if sim.leads(old, shard) && sim.answers.contains_key(&proposal) {
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
        let mut sim = Sim::new(world(seed, 1, 3));
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
        let mut sim = Sim::new(World {
            drop_one_in: 20,
            ..world(seed, 3, 2)
        });
        chaos(&mut sim, 60);
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
    for seed in 5000..5300 {
        let mut sim = Sim::new(heavy(seed));
        heavy_chaos(&mut sim, 30);
        sim.assert_nothing_lost();
        acknowledged += sim.acknowledged();
        installed += sim.installed;
    }
    assert!(
        acknowledged > 5000,
        "only {acknowledged} commands: the test tests little"
    );
    assert!(installed > 150, "only {installed} snapshots: the test tests little");
}

fn heavy(seed: u64) -> World {
    World {
        drop_one_in: 20,
        duplicate_one_in: 20,
        slow_write_one_in: 40,
        short_logs: true,
        ..world(seed, 3, 2)
    }
}

#[test]
fn a_replica_that_lacks_too_much_gets_a_snapshot() {
    let mut sim = Sim::new(World {
        short_logs: true,
        ..world(4, 3, 2)
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
    assert_eq!(sim.installed, 0);
    sim.start(away);
    sim.assert_nothing_lost();
    assert!(sim.installed >= 1 && sim.acknowledged() == 100);
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
        let begun = sim.now;
        sim.run_until("new leader", |sim| sim.leader(shard).is_some());
        slowest = slowest.max(sim.now - begun);
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
        let begun = sim.now;
        sim.run_until("new leader", |sim| sim.leader(shard).is_some());
        let away = sim.now - begun;
        assert!(away < Duration::from_secs(3), "seed {seed}: away for {away:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut sim = Sim::new(heavy(seed));
        heavy_chaos(&mut sim, 20);
        sim.trace()
    };
    assert_eq!(trace(5), trace(5));
    assert_ne!(trace(5), trace(6));
}

#[test]
fn what_waits_for_the_next_write_is_in_the_parting_write_once() {
    let mut core = alone(1, |_| {});
    settle(&mut core, vec![propose(0, 1, b"command")]);
    let parting = core.parting_write();
    let commits: Vec<_> = parting
        .groups()
        .map(|(_, group)| group.hard_state.as_ref().map(|state| state.commit))
        .collect();
    assert_eq!(commits, [Some(3)]);
    assert!(core.parting_write().is_empty());
}
