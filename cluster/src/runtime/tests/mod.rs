//! Clusters with their threads: one node here, several in `several`.

mod meta;
mod several;
mod support;
mod tls;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mimi_hub_storage::{
    Direction, FaultPlan, KeyRange, LogStore, MemoryLog, MemoryStore, RaftEngineConfig, RaftEngineLog, SledConfig,
    SledStore, StateStore,
};

use self::support::{Machine, config, eventually, start};
use super::*;
use crate::error::{ClusterError, ConfigError, ProposeError};
use crate::machine::Leadership;
use crate::shard::ShardId;

const SHARD: ShardId = ShardId(0);

fn memory() -> (Arc<MemoryLog>, Arc<MemoryStore>) {
    (Arc::default(), Arc::default())
}

#[tokio::test]
async fn commands_are_applied_in_order_and_seen_once_answered() {
    let (log, state) = memory();
    let machine = Arc::new(Machine::default());
    let cluster = start(config(2), log, state, &machine).await;
    let proposals: Vec<_> = (0..100)
        .map(|n| cluster.propose(SHARD, format!("append {n}")))
        .collect();
    let mut last = 0;
    for (n, proposal) in proposals.into_iter().enumerate() {
        let outcome = proposal.await.unwrap();
        assert_eq!(outcome.bytes, (n as u64 + 1).to_be_bytes(), "the machine's own count");
        assert!(outcome.index > last);
        last = outcome.index;
        assert!(
            machine.applied_to(SHARD) >= last,
            "the machine is told before the proposer"
        );
    }
    let values = cluster
        .reader(SHARD)
        .scan(&KeyRange::prefix("item"), 1000, Direction::Forward)
        .unwrap();
    let values: Vec<_> = values
        .into_iter()
        .map(|(_, value)| String::from_utf8(value).unwrap())
        .collect();
    assert_eq!(values, (0..100).map(|n| format!("append {n}")).collect::<Vec<_>>());
    assert_eq!(
        cluster
            .reader(ShardId(1))
            .scan(&KeyRange::all(), 1, Direction::Forward)
            .unwrap(),
        []
    );
    cluster.read_barrier(SHARD).await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn one_sync_serves_what_arrives_together() {
    let (log, state) = memory();
    let counted = Arc::new(support::CountingLog::new(log));
    let cluster = start(config(64), counted.clone(), state, &Arc::default()).await;
    cluster.read_barrier(ShardId(63)).await.unwrap();
    // Creation, and the election of all 64.
    assert_eq!(counted.appends(), 2);
    let proposals: Vec<_> = (0..2000)
        .map(|n| cluster.propose(ShardId(n % 64), format!("append {n}")))
        .collect();
    for proposal in proposals {
        proposal.await.unwrap();
    }
    assert!(
        counted.appends() < 200,
        "{} appends for 2000 commands",
        counted.appends()
    );
    cluster.stop().await;
}

#[tokio::test]
async fn all_shards_are_led_right_after_the_start_on_real_stores() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let log = RaftEngineLog::open(&dir.path().join("log"), &RaftEngineConfig::default()).unwrap();
        let state = SledStore::open(&dir.path().join("state"), &SledConfig::default()).unwrap();
        (Arc::new(log), Arc::new(state))
    };
    for round in 0..2_u64 {
        let (log, state) = open();
        let machine = Arc::new(Machine::default());
        let begun = Instant::now();
        let cluster = start(config(64), log, state, &machine).await;
        let outcome = cluster.propose(SHARD, "append").await.unwrap();
        assert_eq!(outcome.bytes, (round + 1).to_be_bytes(), "the state is there again");
        eventually("all led", || machine.led().len() == 64).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        assert!(matches!(cluster.leadership(ShardId(63)), Leadership::Leader { .. }));
        cluster.stop().await;
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_the_loss_of_unsynced_state() {
    for seed in 0..20 {
        let plan = FaultPlan {
            seed,
            torn_tail: true,
            ..FaultPlan::default()
        };
        let (mut log, mut state) = (Arc::new(MemoryLog::new(plan.clone())), Arc::new(MemoryStore::new(plan)));
        for round in 0..3_u64 {
            let mut config = config(4);
            config.flush_interval = Duration::from_millis(if seed % 2 == 0 { 1 } else { 10_000 });
            config.fatal = support::ignore();
            let cluster = start(config, log.clone(), state.clone(), &Arc::default()).await;
            let proposals: Vec<_> = (0..60)
                .map(|n| cluster.propose(ShardId(n % 4), format!("append {n}")))
                .collect();
            for (n, proposal) in proposals.into_iter().enumerate() {
                let count = proposal.await.unwrap().bytes;
                // Applied once, whatever was replayed.
                assert_eq!(count, (round * 15 + n as u64 / 4 + 1).to_be_bytes(), "seed {seed}");
            }
            (log, state) = (Arc::new(log.crash()), Arc::new(state.crash()));
        }
    }
}

#[tokio::test]
async fn a_slow_state_store_is_an_answer_not_a_queue_without_end() {
    let (log, state) = memory();
    let mut config = config(1);
    config.max_queued = 50;
    config.max_unapplied_bytes = 2000;
    let machine = Arc::new(Machine::default());
    let cluster = start(config, log, state, &machine).await;
    let gate = machine.close_gate();
    let mut proposals = Vec::new();
    for n in 0..200 {
        proposals.push(cluster.propose(SHARD, format!("append {n:0100}")));
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    assert!(
        cluster.status().unapplied_bytes <= 2000 + 50 * 110,
        "{:?}",
        cluster.status()
    );
    drop(gate);
    let (mut done, mut refused) = (0, 0);
    for proposal in proposals {
        match proposal.await {
            Ok(_) => done += 1,
            Err(ProposeError::Overloaded) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(done > 10 && refused > 10, "{done} done, {refused} refused");
    cluster.propose(SHARD, "append").await.unwrap();
    cluster.stop().await;
}

#[tokio::test]
async fn a_full_inbox_is_an_answer() {
    let (log, state) = memory();
    let mut config = config(1);
    config.max_queued = 3;
    let counted = Arc::new(support::CountingLog::new(log));
    let cluster = start(config, counted.clone(), state, &Arc::default()).await;
    cluster.read_barrier(SHARD).await.unwrap();
    let blocked = counted.block();
    // The first one keeps the worker busy.
    let mut proposals = vec![cluster.propose(SHARD, "append")];
    eventually("a blocked worker", || counted.is_waiting()).await;
    proposals.extend((0..3).map(|_| cluster.propose(SHARD, "append")));
    assert_eq!(cluster.propose(SHARD, "append").await, Err(ProposeError::Overloaded));
    assert_eq!(cluster.read_barrier(SHARD).await, Err(ProposeError::Overloaded));
    drop(blocked);
    for proposal in proposals {
        proposal.await.unwrap();
    }
    cluster.stop().await;
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let (log, state) = memory();
    let mut config = config(1);
    config.max_command_bytes = 10;
    let cluster = start(config, log, state, &Arc::default()).await;
    assert_eq!(
        cluster.propose(SHARD, [0; 11]).await,
        Err(ProposeError::TooLarge { bytes: 11, limit: 10 })
    );
    let nowhere = ShardId(1);
    assert_eq!(
        cluster.propose(nowhere, "append").await,
        Err(ProposeError::NoSuchShard(nowhere))
    );
    assert_eq!(
        cluster.read_barrier(nowhere).await,
        Err(ProposeError::NoSuchShard(nowhere))
    );
    assert_eq!(cluster.leadership(nowhere), Leadership::Follower { leader: None });
    cluster.stop().await;
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_refuses_the_rest() {
    let (log, state) = memory();
    let machine = Arc::new(Machine::default());
    let cluster = start(config(1), log, state.clone(), &machine).await;
    let proposals: Vec<_> = (0..100)
        .map(|n| cluster.propose(SHARD, format!("append {n}")))
        .collect();
    let other = cluster.clone();
    tokio::join!(cluster.stop(), other.stop());
    for proposal in proposals {
        proposal.await.unwrap();
    }
    assert_eq!(cluster.propose(SHARD, "append").await, Err(ProposeError::ShuttingDown));
    assert_eq!(cluster.read_barrier(SHARD).await, Err(ProposeError::ShuttingDown));
    // Flushed: a power loss now takes nothing.
    let after = state.crash();
    let range = KeyRange::all();
    assert!(after.scan(&range, 1000, Direction::Forward).unwrap().len() > 100);
}

#[tokio::test]
async fn the_last_handle_takes_the_threads_with_it() {
    let (log, state) = memory();
    let (weak_log, weak_state) = (Arc::downgrade(&log), Arc::downgrade(&state));
    let cluster = start(config(1), log, state, &Arc::default()).await;
    let proposal = cluster.propose(SHARD, "append");
    drop(cluster);
    proposal.await.unwrap();
    eventually("closed stores", || {
        weak_log.strong_count() == 0 && weak_state.strong_count() == 0
    })
    .await;
}

#[tokio::test]
async fn a_machine_that_cannot_apply_stops_the_node_and_is_named() {
    for (command, text) in [("fail", "as it was told"), ("panic", "a panic of the machine")] {
        let (log, state) = memory();
        let mut config = config(2);
        let (hook, fatal) = support::recorded();
        config.fatal = hook;
        let cluster = start(config, log, state, &Arc::default()).await;
        let shard = ShardId(1);
        let index = cluster.propose(shard, "append").await.unwrap().index;
        assert_eq!(cluster.propose(shard, command).await, Err(ProposeError::Unknown));
        let fatal = fatal.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(fatal.shard, Some(shard));
        let named = format!("index {}", index + 1);
        assert!(fatal.cause.contains(text) && fatal.cause.contains(&named), "{fatal}");
        // Everything that follows ends, none of it well.
        cluster.stop().await;
        assert_eq!(cluster.propose(SHARD, "append").await, Err(ProposeError::ShuttingDown));
        assert_eq!(cluster.read_barrier(SHARD).await, Err(ProposeError::ShuttingDown));
    }
}

#[tokio::test]
async fn a_broken_disk_stops_the_node() {
    let full = FaultPlan {
        capacity: Some(0),
        ..FaultPlan::default()
    };
    let unsynced = FaultPlan {
        sync_error_one_in: Some(1),
        ..FaultPlan::default()
    };
    for (log_plan, state_plan, text) in [
        (full.clone(), FaultPlan::default(), "no space left"),
        (unsynced.clone(), FaultPlan::default(), "sync failed"),
        (FaultPlan::default(), full, "no space left"),
        (FaultPlan::default(), unsynced, "sync failed"),
    ] {
        let (log, state) = memory();
        let mut config = config(1);
        config.flush_interval = Duration::from_millis(20);
        let (hook, fatal) = support::recorded();
        config.fatal = hook;
        let cluster = start(config, log.clone(), state.clone(), &Arc::default()).await;
        cluster.propose(SHARD, "append").await.unwrap();
        log.set_plan(log_plan);
        state.set_plan(state_plan);
        let outcome = cluster.propose(SHARD, "append").await;
        let fatal = fatal.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(fatal.cause.contains(text), "{fatal} after {outcome:?}");
        cluster.stop().await;
    }
}

#[tokio::test]
async fn the_log_is_compacted_behind_the_flushed_state_and_recovers() {
    let (log, state) = memory();
    let mut config = config(1);
    config.flush_interval = Duration::from_millis(5);
    config.keep_entries = 20;
    let cluster = start(config.clone(), log.clone(), state.clone(), &Arc::default()).await;
    for n in 0..500_u64 {
        assert_eq!(
            cluster.propose(SHARD, "append").await.unwrap().bytes,
            (n + 1).to_be_bytes()
        );
        if n % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    eventually("compaction", || cluster.status().shards[0].first_index > 300).await;
    cluster.stop().await;
    let kept = log.group(1).unwrap().unwrap();
    assert!(
        kept.first_index() > 300 && kept.last_index - kept.first_index() >= 19,
        "{kept:?}"
    );
    let again = start(config, log, state, &Arc::default()).await;
    assert_eq!(
        again.propose(SHARD, "append").await.unwrap().bytes,
        501_u64.to_be_bytes()
    );
    again.stop().await;
}

#[tokio::test]
async fn a_start_that_cannot_be_says_why() {
    let (log, state) = memory();
    let start = |config| Cluster::start(config, log.clone(), state.clone(), Arc::new(Machine::default()));
    let mut several = config(1);
    several.nodes = vec![crate::NodeId(1), crate::NodeId(2)];
    let error = start(several).await.unwrap_err();
    assert!(
        matches!(error, ClusterError::Config(ConfigError::NoTransport(2))),
        "{error}"
    );
    start(config(3)).await.unwrap().stop().await;
    let error = start(config(4)).await.unwrap_err();
    assert!(
        matches!(
            error,
            ClusterError::ShardCount {
                stored: 3,
                configured: 4
            }
        ),
        "{error}"
    );
}
