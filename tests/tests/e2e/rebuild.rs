//! A room that leaves memory, or whose server is killed, is the same room when it comes back: with its waiting proposals,
//! its claimed KeyPackages, and everything before and after a checkpoint.

use std::time::Duration;

use mimi_hub_ops::client::{ROLE_MEMBER, RoomChange, UpdateAnswer};
use mimi_hub_tests::user;

use crate::scene::Scene;

/// How a room is made to be rebuilt.
#[derive(Clone, Copy)]
enum Rebuild {
    Idle,
    Kill,
    Stop,
}

async fn rebuilt(scene: &mut Scene, how: Rebuild) {
    let before = scene.view().await;
    match how {
        // Longer than the room may be idle, and than the actor takes to notice.
        Rebuild::Idle => tokio::time::sleep(Duration::from_millis(1_700)).await,
        Rebuild::Kill => {
            scene.hub.kill().await;
            scene.hub.start().await;
        }
        Rebuild::Stop => {
            scene.hub.stop().await;
            scene.hub.start().await;
        }
    }
    assert_eq!(format!("{before:?}"), format!("{:?}", scene.view().await));
}

async fn a_room_is_rebuilt(how: Rebuild, checkpoint_bytes: u64) {
    let settings = format!("room.idle_ms = 1000\nroom.checkpoint_handshake_bytes = {checkpoint_bytes}");
    let mut scene = Scene::with(&settings, |_| {}).await;
    scene.hub.client("dave", "D1", 1).await;
    let target = user("a.example", "dave");
    let request = scene.bob.state.key_material_request(&scene.room, &target).unwrap();
    let claimed = scene.bob.peer.post("keyMaterial", target.as_str(), &request).await;
    for _ in 0..3 {
        scene.alice.commit_pending(&scene.room).await.unwrap();
    }
    scene.follow().await;
    let leave = scene.carol.state.leave(&scene.room).unwrap();
    assert_eq!(scene.carol.update(&scene.room, &leave).await, UpdateAnswer::Accepted);

    rebuilt(&mut scene, how).await;

    // The waiting proposals are still asked for, and who is leaving is still silent.
    let unknowing = scene.bob.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    let answer = scene.bob.update(&scene.room, &unknowing).await;
    assert!(
        matches!(&answer, UpdateAnswer::Refused { description, .. } if description.contains("leaves out")),
        "{answer:?}"
    );
    scene.follow().await;
    // The claimed KeyPackage can be added, in the Commit that carries them out.
    let change = RoomChange::AddUser {
        user: target,
        role_index: ROLE_MEMBER,
        key_material: claimed.body,
    };
    let body = scene.bob.state.commit(&scene.room, &change).unwrap();
    assert_eq!(scene.bob.update(&scene.room, &body).await, UpdateAnswer::Accepted);
    let after = scene.view().await;
    assert_eq!(
        (after.pending_proposals, after.participants.len(), after.clients.len()),
        (0, 3, 3)
    );

    rebuilt(&mut scene, how).await;
    scene.bob.send(&scene.room, "here we are").await;
    scene.alice.sync(Duration::ZERO).await.unwrap();
    scene.alice.send_text(&scene.room, "all of us").await.unwrap();
    assert!(scene.alice.state().failures(&scene.room).is_empty());
    // A joiner gets the GroupInfo of the epoch that was rebuilt.
    scene.second_client_of_bob().await;
}

#[tokio::test]
async fn a_room_that_has_left_memory_is_the_same() {
    a_room_is_rebuilt(Rebuild::Idle, 1_000_000).await;
}

#[tokio::test]
async fn a_room_that_has_left_memory_after_checkpoints_is_the_same() {
    a_room_is_rebuilt(Rebuild::Idle, 4_096).await;
}

#[tokio::test]
async fn a_room_whose_server_was_killed_is_the_same() {
    a_room_is_rebuilt(Rebuild::Kill, 1_000_000).await;
}

#[tokio::test]
async fn a_room_whose_server_was_killed_after_checkpoints_is_the_same() {
    a_room_is_rebuilt(Rebuild::Kill, 4_096).await;
}

#[tokio::test]
async fn a_room_whose_server_was_stopped_is_the_same() {
    a_room_is_rebuilt(Rebuild::Stop, 4_096).await;
}

#[tokio::test]
async fn a_room_takes_no_more_clients_than_it_may() {
    let mut scene = Scene::with("room.members_max = 3", |_| {}).await;
    let before = scene.view().await;
    assert_eq!(before.clients.len(), 3);
    let client = "mimi://b.example/d/ClientB2";
    let mut fourth = scene.world.remote("mimi://b.example/u/bob", client, "a.example");
    let (query, request) = fourth.state.group_info_request(&scene.room, None).unwrap();
    let info = fourth.peer.post("groupInfo", scene.room.as_str(), &request).await;
    let body = fourth
        .state
        .external_commit(&scene.room, &query, &info.body, None)
        .unwrap();
    let answer = fourth.update(&scene.room, &body).await;
    assert!(
        matches!(&answer, UpdateAnswer::Refused { description, .. } if description.contains("at most 3")),
        "{answer:?}"
    );
    scene.unharmed_since(&before).await;
}
