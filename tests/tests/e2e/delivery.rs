//! Delivery to follower providers: in order, nothing skipped, whatever a follower does; and nobody waits for another.

use std::time::{Duration, Instant};

use mimi_hub_ops::client::{ROLE_MEMBER, RoomChange};
use mimi_hub_proto::mls::MlsMessage;
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::{FanoutEvent, FanoutMessage, SubmitMessageRequest};
use mimi_hub_tests::{Reply, stream, user};

use crate::scene::Scene;

/// Sends messages of Bob's and gives them as they were sent.
async fn sends(scene: &mut Scene, count: usize) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    for number in 0..count {
        let body = scene.bob.text(&scene.room, &format!("message {number}"));
        let answer = scene.bob.peer.post("submitMessage", scene.room.as_str(), &body).await;
        assert_eq!(answer.status, 200);
        scene.bob.state.message_answered(&scene.room, &answer.body).unwrap();
        let request: SubmitMessageRequest = decode_exact(&body).unwrap();
        sent.push(encode(&MlsMessage::from(request.app_message)));
    }
    sent
}

/// What the hub's own users read, as the follower should have it from the joining of its first client on.
async fn expected(scene: &Scene, first_commit: usize) -> Vec<FanoutMessage> {
    let all = stream::room(scene.hub.gateway(), &scene.alice_uri(), &scene.room).await;
    all[first_commit..].to_vec()
}

/// Bob joined with the first event of the stream, Carol with the second: what each provider receives begins there.
const OF_B: usize = 0;
const OF_C: usize = 1;

#[tokio::test]
async fn many_messages_arrive_in_their_order_in_batches() {
    let mut scene = Scene::with("delivery.batch_messages_max = 7", |_| {}).await;
    let follower = scene.world.follower("c.example").await;
    let sent = sends(&mut scene, 100).await;
    follower.wait_for_messages(101).await;
    let accepted = follower.accepted();
    assert_eq!(accepted, expected(&scene, OF_C).await);
    assert_eq!(stream::application(&accepted), sent);
    let sizes: Vec<usize> = follower
        .deliveries()
        .iter()
        .map(|delivery| delivery.messages.len())
        .collect();
    assert!(sizes.iter().all(|size| *size <= 7), "{sizes:?}");
    assert!(
        sizes.iter().any(|size| *size > 1),
        "a backlog travels together: {sizes:?}"
    );
}

#[tokio::test]
async fn a_follower_that_was_away_gets_everything_in_order_once_it_is_back() {
    let mut scene = Scene::new().await;
    let mut follower = scene.world.follower("c.example").await;
    sends(&mut scene, 5).await;
    follower.wait_for_messages(6).await;
    follower.down().await;
    sends(&mut scene, 20).await;
    // The hub's power cut does not make it forget either.
    scene.hub.kill().await;
    scene.hub.start().await;
    sends(&mut scene, 5).await;
    follower.up().await;
    follower.wait_for_messages(31).await;
    let expected = expected(&scene, OF_C).await;
    // What was confirmed shortly before the power cut may be sent again, from some place on; nothing is skipped.
    let mut distinct: Vec<FanoutMessage> = Vec::new();
    for message in follower.accepted() {
        if !distinct.contains(&message) {
            distinct.push(message);
        }
    }
    assert_eq!(distinct, expected);
}

#[tokio::test]
async fn after_failures_the_same_comes_again_until_it_is_taken() {
    let mut scene = Scene::new().await;
    let follower = scene.world.follower("c.example").await;
    follower.wait_for_messages(1).await;
    follower.answer_with(|number| Reply::status([500, 502, 404, 400][..].get(number).copied().unwrap_or(201)));
    sends(&mut scene, 3).await;
    follower.wait_for_messages(4).await;
    assert_eq!(follower.accepted(), expected(&scene, OF_C).await);
    let refused = follower
        .deliveries()
        .iter()
        .filter(|delivery| delivery.status != 201)
        .count();
    assert_eq!(refused, 4);
}

/// A status of success other than 201 is none: the draft says 201.
#[tokio::test]
async fn only_created_is_taken_for_a_confirmation() {
    let mut scene = Scene::new().await;
    let follower = scene.world.follower("c.example").await;
    follower.wait_for_messages(1).await;
    follower.answer_with(|number| Reply::status(if number < 2 { 200 } else { 201 }));
    sends(&mut scene, 1).await;
    follower.wait_for_messages(2).await;
    assert_eq!(
        follower
            .deliveries()
            .iter()
            .filter(|delivery| delivery.status == 200)
            .count(),
        2
    );
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let mut scene = Scene::new().await;
    let follower = scene.world.follower("c.example").await;
    follower.wait_for_messages(1).await;
    follower.answer_with(|number| Reply {
        retry_after: Some(2),
        ..Reply::status(if number == 0 { 503 } else { 201 })
    });
    let before = follower.deliveries().len();
    sends(&mut scene, 3).await;
    follower.wait_for_messages(4).await;
    let deliveries = follower.deliveries().split_off(before);
    assert_eq!(deliveries[0].status, 503);
    let waited = deliveries[1].at - deliveries[0].at;
    assert!(waited >= Duration::from_millis(1_950), "asked again after {waited:?}");
    assert!(waited < Duration::from_secs(6), "asked again after {waited:?}");
}

#[tokio::test]
async fn a_dead_follower_holds_nobody_up() {
    // c.example takes no connections; b.example is quick.
    let mut scene = Scene::new().await;
    let quick = scene.world.follower("b.example").await;
    let started = Instant::now();
    sends(&mut scene, 30).await;
    quick.wait_for_messages(32).await;
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(quick.accepted(), expected(&scene, OF_B).await);
    scene.works().await;
}

#[tokio::test]
async fn a_slow_follower_holds_nobody_up_and_misses_nothing() {
    let mut scene = Scene::new().await;
    let quick = scene.world.follower("b.example").await;
    let slow = scene.world.follower("c.example").await;
    slow.answer_with(|_| Reply {
        delay: Duration::from_millis(700),
        ..Reply::status(201)
    });
    let started = Instant::now();
    sends(&mut scene, 20).await;
    quick.wait_for_messages(22).await;
    assert!(
        started.elapsed() < Duration::from_millis(3_000),
        "{:?}",
        started.elapsed()
    );
    slow.wait_for_messages(21).await;
    assert_eq!(slow.accepted(), expected(&scene, OF_C).await);
    // One request at a time for a room: the next one starts when the one before was answered.
    let deliveries = slow.deliveries();
    for pair in deliveries.windows(2) {
        assert!(pair[1].at - pair[0].at >= Duration::from_millis(690));
    }
}

#[tokio::test]
async fn a_room_that_a_follower_refuses_does_not_hold_up_its_other_rooms() {
    let mut scene = Scene::new().await;
    let annex = mimi_hub_tests::room("a.example", "annex");
    let initial = {
        let mut initial = mimi_hub_ops::client::InitialState::new(&annex, scene.alice_uri(), "Annex").unwrap();
        initial
            .participants
            .participants
            .push(mimi_hub_proto::components::UserRolePair {
                user: user("c.example", "carol"),
                role_index: ROLE_MEMBER,
            });
        initial
    };
    scene.alice.create_room_with(&annex, &initial).await.unwrap();
    let follower = scene.world.follower("c.example").await;
    follower.wait_for_messages(1).await;
    follower.answer_with(|number| Reply {
        retry_after: Some(60),
        ..Reply::status(if number == 0 { 503 } else { 201 })
    });
    sends(&mut scene, 1).await;
    follower
        .wait_for("the refusal", |deliveries| {
            deliveries.iter().any(|delivery| delivery.status == 503)
        })
        .await;
    scene.carol.join(&annex).await;
    scene.carol.send(&annex, "over here").await;
    follower
        .wait_for("the other room", |deliveries| {
            deliveries
                .iter()
                .any(|delivery| delivery.room == annex && delivery.status == 201)
        })
        .await;
}

/// draft-ietf-mimi-protocol, 5.3: proposals are fanned out, then the Commit; a provider whose last participant has gone
/// receives that Commit, and nothing after it.
#[tokio::test]
async fn a_provider_receives_the_commit_that_removes_its_last_user_and_nothing_more() {
    let mut scene = Scene::new().await;
    let follower = scene.world.follower("c.example").await;
    let carol = user("c.example", "carol");
    scene
        .alice
        .change(&scene.room, &RoomChange::RemoveUser(carol))
        .await
        .unwrap();
    follower.wait_for_messages(2).await;
    scene.follow().await;
    sends(&mut scene, 3).await;
    // Bob's provider is told of all, so that what Carol's would be told had its time.
    let other = scene.world.follower("b.example").await;
    other.wait_for_messages(6).await;
    let accepted = follower.accepted();
    assert_eq!(accepted.len(), 2);
    assert!(matches!(accepted[1].event, FanoutEvent::Commit { .. }));
}

/// The log is kept for a follower that is away up to the retention limit. What falls off the end is reported, and what is
/// left is delivered in order.
#[tokio::test]
async fn who_stays_away_beyond_the_retention_limit_gets_what_is_left_and_it_is_reported() {
    let mut scene = Scene::with("retention.events_max_per_room = 50", |_| {}).await;
    let mut follower = scene.world.follower("c.example").await;
    follower.wait_for_messages(1).await;
    follower.down().await;
    // Trimming goes in steps of 256 events.
    let sent = sends(&mut scene, 400).await;
    follower.up().await;
    let last = sent.last().unwrap().clone();
    follower
        .wait_for("the last message", |deliveries| {
            let messages: Vec<FanoutMessage> = deliveries
                .iter()
                .flat_map(|delivery| delivery.messages.clone())
                .collect();
            stream::application(&messages).contains(&last)
        })
        .await;
    let received = stream::application(&follower.accepted());
    assert!((50..400).contains(&received.len()), "{}", received.len());
    assert_eq!(received, sent[400 - received.len()..]);
    assert!(scene.hub.log().contains("fallen behind the retention limit"));
    scene.works().await;
}

/// Three real servers: a user of another provider is added, removed, and added again by the same client.
#[tokio::test]
async fn a_user_of_another_provider_can_come_back() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let follower = world.hub("b.example").await;
    let here = mimi_hub_tests::room("a.example", "clubhouse");
    let mut alice = hub.client("alice", "A1", 0).await;
    let mut bob = follower.client("bob", "B1", 3).await;
    alice.create_room(&here, "Clubhouse").await.unwrap();
    let target = user("b.example", "bob");
    for _ in 0..3 {
        alice.add_user(&here, &target, ROLE_MEMBER).await.unwrap();
        let (room, epoch) = (here.clone(), hub.view(&here).await.epoch);
        bob.sync_until("the Welcome", Duration::from_secs(20), move |state| {
            state.room(&room).is_ok_and(|known| known.epoch == epoch)
        })
        .await
        .unwrap();
        bob.send_text(&here, "I am in").await.unwrap();
        alice
            .change(&here, &RoomChange::RemoveUser(target.clone()))
            .await
            .unwrap();
        let room = here.clone();
        bob.sync_until("the removal", Duration::from_secs(20), move |state| {
            state.is_removed(&room)
        })
        .await
        .unwrap();
    }
    alice.sync(Duration::ZERO).await.unwrap();
    assert_eq!(alice.state().transcript(&here).len(), 3);
    assert!(bob.state().failures(&here).is_empty());
}
