//! A gateway's requests about a room that another provider hosts: relayed to the room's hub, and its answers back.

use std::time::Duration;

use mimi_hub_ops::OpsError;
use mimi_hub_ops::client::{Client, ROLE_ADMIN, RetryPolicy, TreeOption};
use mimi_hub_proto::uri::RoomUri;
use mimi_hub_proto::{Directory, WELL_KNOWN_DIRECTORY};
use mimi_hub_tests::{Hub, World, client, room, user};
use reqwest::Method;

/// Alice at a.example, which hosts the room; Bob at b.example, a participant.
async fn two_providers() -> (World, Hub, Hub, RoomUri, Client, Client) {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let follower = world.hub("b.example").await;
    let here = room("a.example", "clubhouse");
    let mut alice = hub.client("alice", "A1", 0).await;
    let mut bob = follower.client("bob", "B1", 1).await;
    alice.create_room(&here, "Clubhouse").await.unwrap();
    alice
        .add_user(&here, &user("b.example", "bob"), ROLE_ADMIN)
        .await
        .unwrap();
    sees(&mut bob, &here, "the Welcome", |_| true).await;
    (world, hub, follower, here, alice, bob)
}

async fn sees(who: &mut Client, room: &RoomUri, what: &str, done: impl Fn(&[String]) -> bool) {
    who.sync_until(what, Duration::from_secs(20), |state| {
        let texts: Vec<String> = state.transcript(room).iter().map(|entry| entry.text.clone()).collect();
        state.is_member(room) && done(&texts)
    })
    .await
    .unwrap();
}

fn has(text: &'static str) -> impl Fn(&[String]) -> bool {
    move |texts| texts.iter().any(|known| known == text)
}

#[tokio::test]
async fn all_four_endpoints_work_through_the_own_provider() {
    let (_world, hub, follower, here, mut alice, mut bob) = two_providers().await;
    // keyMaterial and update: Bob adds somebody of the hub's and somebody of his own provider.
    let mut dave = hub.client("dave", "D1", 1).await;
    let mut erin = follower.client("erin", "E1", 1).await;
    bob.add_user(&here, &user("a.example", "dave"), ROLE_ADMIN)
        .await
        .unwrap();
    bob.add_user(&here, &user("b.example", "erin"), ROLE_ADMIN)
        .await
        .unwrap();
    sees(&mut dave, &here, "the Welcome", |_| true).await;
    sees(&mut erin, &here, "the Welcome", |_| true).await;
    // groupInfo: a second client of Bob's joins by itself.
    let mut second = follower.client("bob", "B2", 0).await;
    second.join(&here).await.unwrap();
    // submitMessage: everybody reads it.
    second.send_text(&here, "hello from afar").await.unwrap();
    for who in [&mut alice, &mut bob, &mut dave, &mut erin] {
        sees(who, &here, "the message", has("hello from afar")).await;
        assert!(who.state().failures(&here).is_empty());
    }
    assert_eq!(hub.view(&here).await.clients.len(), 5);
}

#[tokio::test]
async fn a_hub_that_is_away_is_said_to_be_and_the_request_is_carried_out_once_it_is_back() {
    let (_world, mut hub, follower, here, mut alice, mut bob) = two_providers().await;
    bob.send_text(&here, "before").await.unwrap();
    hub.kill().await;
    let impatient = follower.gateway().with_retry(RetryPolicy::never());
    let stranger = Client::new(
        impatient.clone(),
        client("b.example", "B9"),
        user("b.example", "bob"),
        TreeOption::DistributionService,
    );
    let (_, request) = stranger.unwrap().state().group_info_request(&here, None).unwrap();
    let answer = impatient.group_info(&user("b.example", "bob"), &here, request).await;
    assert!(
        matches!(&answer, Err(OpsError::Refused { status: 504, problem, .. }) if problem.r#type.ends_with("peer-unavailable")),
        "{answer:?}"
    );
    // Bob's client keeps trying; the hub comes back meanwhile.
    let (sent, ()) = tokio::join!(bob.send_text(&here, "during"), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        hub.start().await;
    });
    sent.unwrap();
    sees(&mut alice, &here, "both", |texts| texts == ["before", "during"]).await;
}

#[tokio::test]
async fn what_the_hub_refuses_is_told_as_such() {
    let (_world, _hub, follower, _, _, bob) = two_providers().await;
    let nowhere = room("a.example", "nowhere");
    let bob_uri = user("b.example", "bob");
    let body = mimi_hub_tests::Forger::new(bob_uri.clone(), client("b.example", "B1")).key_material_request(
        Some(&nowhere),
        &user("a.example", "alice"),
        |_| {},
    );
    let body = mimi_hub_proto::tls::encode(&body);
    let answer = follower
        .gateway()
        .key_material(&bob_uri, &user("a.example", "alice"), body)
        .await;
    assert!(
        matches!(&answer, Err(OpsError::Refused { status: 502, problem, .. }) if problem.detail.contains("404")),
        "{answer:?}"
    );
    // The room of a provider that does not exist.
    let (_, request) = bob.state().group_info_request(&room("q.example", "x"), None).unwrap();
    let impatient = follower.gateway().with_retry(RetryPolicy::never());
    let answer = impatient.group_info(&bob_uri, &room("q.example", "x"), request).await;
    assert!(
        matches!(&answer, Err(OpsError::Refused { status: 504, .. })),
        "{answer:?}"
    );
}

/// draft-ietf-mimi-protocol, section 5.1.
#[tokio::test]
async fn the_directory_names_every_endpoint_below_the_public_url() {
    let world = crate::world();
    let hub = world
        .hub_with("a.example", "federation.public_url = 'https://hub.a.example/mimi/'")
        .await;
    let peer = world.peer("b.example", "a.example");
    let document = hub.call(peer.request(Method::GET, WELL_KNOWN_DIRECTORY)).await;
    assert_eq!(document.headers["content-type"], "application/json");
    let directory: Directory = serde_json::from_slice(&document.body).unwrap();
    for (template, endpoint) in [
        (directory.key_material, "keyMaterial"),
        (directory.update, "update"),
        (directory.notify, "notify"),
        (directory.submit_message, "submitMessage"),
        (directory.group_info, "groupInfo"),
    ] {
        let url = template.expand("mimi://a.example/r/x");
        assert!(
            url.starts_with(&format!("https://hub.a.example/mimi/v1/{endpoint}/")),
            "{url}"
        );
    }
    let post = hub.call(peer.request(Method::POST, WELL_KNOWN_DIRECTORY)).await;
    post.expect_problem(405, "wrong-method");
}
