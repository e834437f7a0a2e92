//! A hub that is killed a hundred times under load (`kill -9`), and what must hold after each time:
//!
//! - everything acknowledged is in the event streams, in the order of acknowledgement, exactly once, at the time that was
//!   acknowledged;
//! - what a reader has seen once stays where it was;
//! - no KeyPackage was given out twice;
//! - a request that was answered before the kill gets the same answer, byte for byte, when it is sent again.
//!
//! The follower provider is killed now and then, too. In the end it has received the same events in the same
//! order, each once, and all clients agree.
//!
//! `MIMI_HUB_SEED` repeats the schedule of an earlier run, `MIMI_HUB_KILLS` sets the number of kills.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests: a failure of theirs is the failure of the test"
)]

mod audit;
mod ledger;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mimi_hub_ops::client::{RetryPolicy, RoomChange};
use mimi_hub_proto::uri::RoomUri;
use mimi_hub_tests::{World, room};

use crate::audit::Audit;
use crate::ledger::Ledger;
use crate::worker::Worker;
use mimi_hub_ops::Rng;

const ROOMS: usize = 3;
const KILLS: u64 = 100;
/// Often enough that kills meet checkpoints, and rooms are rebuilt from them.
const SETTINGS: &str = "
room.checkpoint_handshake_bytes = 30000
limits.request_timeout_ms = 5000
log.filter = 'warn'
";

fn number(name: &str, default: impl FnOnce() -> u64) -> u64 {
    std::env::var(name).map_or_else(|_| default(), |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_killed_a_hundred_times_under_load_loses_and_repeats_nothing() {
    let seed = number("MIMI_HUB_SEED", || {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
    });
    let kills = number("MIMI_HUB_KILLS", || KILLS);
    println!("MIMI_HUB_SEED={seed} MIMI_HUB_KILLS={kills}");
    let mut rng = Rng::new(seed);

    let world = World::new(env!("CARGO_BIN_EXE_hub-under-test"));
    let mut hub = world.hub_with("a.example", SETTINGS).await;
    let mut follower = world.hub_with("b.example", "log.filter = 'warn'").await;
    let gateway = hub.gateway().with_retry(RetryPolicy {
        give_up_after: Duration::from_secs(60),
        pause_min: Duration::from_millis(5),
        pause_max: Duration::from_millis(50),
    });
    let ledger = Arc::new(Ledger::default());
    let rooms: Vec<RoomUri> = (0..ROOMS)
        .map(|number| room("a.example", &format!("r{number}")))
        .collect();
    let mut bob = follower.client("bob", "B1", 150).await;

    let mut workers = Vec::new();
    for (number, room) in rooms.iter().enumerate() {
        let names = [format!("owner{number}"), format!("talker{number}")];
        let mut owner = Worker::new(&names[0], room, &gateway, &ledger, rng.fork()).await;
        let mut talker = Worker::new(&names[1], room, &gateway, &ledger, rng.fork()).await;
        owner.create_room(&[talker.user()]).await;
        talker.join().await;
        owner.follow().await;
        owner.add(bob.state().identity().user()).await;
        talker.follow().await;
        let here = room.clone();
        bob.sync_until("the Welcome", Duration::from_secs(30), move |state| {
            state.is_member(&here)
        })
        .await
        .unwrap();
        workers.extend([owner, talker]);
    }
    let readers: Vec<_> = workers
        .iter()
        .step_by(2)
        .map(|owner| (owner.room(), owner.user()))
        .collect();
    let mut audit = Audit::new(gateway.clone(), Arc::clone(&ledger), readers);

    let stop = Arc::new(AtomicBool::new(false));
    let running: Vec<_> = workers
        .into_iter()
        .map(|mut worker| {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    worker.step().await;
                }
                worker
            })
        })
        .collect();

    for kill in 1..=kills {
        // One in five never gets to its first answer; one in five is killed just after it.
        let (answered, ms) = match rng.below(5) {
            0 => (false, rng.below(150)),
            1 => (true, rng.below(20)),
            _ => (true, 50 + rng.below(350)),
        };
        if answered {
            hub.ready().await;
        }
        tokio::time::sleep(Duration::from_millis(ms)).await;
        assert!(
            !running.iter().any(tokio::task::JoinHandle::is_finished),
            "a worker has failed before kill {kill}"
        );
        hub.kill().await;
        hub.launch();
        if rng.below(6) == 0 {
            follower.kill().await;
            follower.launch();
        }
        if answered {
            audit.check(&mut rng, kill).await;
        }
    }
    hub.ready().await;
    follower.ready().await;
    stop.store(true, Ordering::Relaxed);
    let mut workers = Vec::new();
    for worker in running {
        workers.push(worker.await.unwrap());
    }

    // One more Commit in each room carries everybody to the same epoch.
    for owner in workers.iter_mut().step_by(2) {
        owner.change_until_accepted(&RoomChange::Pending).await;
    }
    audit.check(&mut rng, kills + 1).await;
    audit
        .follower_has_everything(follower.gateway(), &mut bob, &rooms)
        .await;
    for worker in &mut workers {
        worker.follow().await;
        worker.agrees_with(bob.state());
    }
    let (acknowledged, key_packages) = ledger.counts();
    println!("{kills} kills, {acknowledged} acknowledged requests, {key_packages} KeyPackages given out");
    assert!(
        acknowledged as u64 >= kills * 5,
        "the hub was hardly under load: {acknowledged} requests"
    );
    assert!(
        key_packages as u64 >= kills / 2,
        "hardly any KeyPackages were claimed: {key_packages}"
    );
    assert_eq!(hub.stop().await.code, Some(0));
}
