//! Bodies that are not what an endpoint expects: 400 and a problem document, whatever they are, and the room unharmed.

use mimi_hub_ops::client::RoomChange;
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::{
    FanoutEvent, FanoutMessage, HandshakeBundle, RatchetTreeOption, SubmitMessageRequest, UpdateRequest,
};
use mimi_hub_tests::{room, user};

use crate::scene::Scene;

/// SplitMix64: the same bytes in every run.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    (0..len)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed >> 56) as u8
        })
        .collect()
}

/// What is sent of a good body to be refused: cut off at many places, with something behind it.
fn spoilt(good: &[u8]) -> Vec<Vec<u8>> {
    let mut bodies = vec![Vec::new(), vec![0], vec![0xff; 64]];
    let step = (good.len() / 12).max(1);
    bodies.extend((1..good.len()).step_by(step).map(|len| good[..len].to_vec()));
    bodies.push(good[..good.len() - 1].to_vec());
    bodies.push([good, &[0]].concat());
    bodies.push([good, good].concat());
    bodies.extend((1..20).map(|seed| noise(seed, seed as usize * 37)));
    bodies
}

async fn all_refused(scene: &Scene, endpoint: &str, about: &str, bodies: &[Vec<u8>]) {
    for body in bodies {
        let answer = scene.bob.peer.post(endpoint, about, body).await;
        assert_eq!(
            answer.status,
            400,
            "{endpoint}: {} bytes {:02x?}",
            body.len(),
            &body[..body.len().min(40)]
        );
        answer.expect_problem(400, "malformed-body");
    }
}

/// A length prefix of four octets (RFC 9420, 2.1.2) that promises 1 GiB - 1, and one that promises more than is there.
fn long_vectors(before: &[u8]) -> Vec<Vec<u8>> {
    vec![
        [before, &[0xbf, 0xff, 0xff, 0xff], &[0; 100]].concat(),
        [before, &[0x7f, 0xff], &[0; 100]].concat(),
        [before, &[0x3f], &[0; 10]].concat(),
    ]
}

#[tokio::test]
async fn key_material_requests_that_do_not_decode() {
    let mut scene = Scene::new().await;
    scene.hub.client("dave", "D1", 1).await;
    let target = user("a.example", "dave");
    let good = scene.bob.state.key_material_request(&scene.room, &target).unwrap();
    let before = scene.view().await;
    let mut bodies = spoilt(&good);
    // Another protocol than MLS 1.0; user URIs of any length.
    bodies.push([&[2], &good[1..]].concat());
    bodies.extend(long_vectors(&[1]));
    all_refused(&scene, "keyMaterial", target.as_str(), &bodies).await;
    scene.unharmed_since(&before).await;
    assert_eq!(
        scene.bob.peer.post("keyMaterial", target.as_str(), &good).await.status,
        200
    );
}

#[tokio::test]
async fn update_requests_that_do_not_decode() {
    let mut scene = Scene::new().await;
    let good = scene.bob.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    let before = scene.view().await;
    let mut bodies = spoilt(&good);
    // MLS version, wire format and group id are where a Commit begins.
    bodies.push([&[0, 9], &good[2..]].concat());
    bodies.push([&good[..2], &[0, 99], &good[4..]].concat());
    // Where the hub is to make the tree, the body ends with a RatchetTreeRepresentation.
    let mut short: UpdateRequest = decode_exact(&good).unwrap();
    if let HandshakeBundle::Commit { ratchet_tree, .. } = &mut short.bundle {
        *ratchet_tree = RatchetTreeOption::DistributionService;
    }
    let mut unknown = encode(&short);
    assert_eq!(unknown.pop(), Some(4));
    unknown.push(0x77);
    bodies.push(unknown);
    bodies.extend(long_vectors(&good[..4]));
    all_refused(&scene, "update", scene.room.as_str(), &bodies).await;
    scene.unharmed_since(&before).await;
}

#[tokio::test]
async fn submit_message_requests_that_do_not_decode() {
    let mut scene = Scene::new().await;
    let good = scene.bob.text(&scene.room, "good");
    let before = scene.view().await;
    let mut bodies = spoilt(&good);
    bodies.push([&[2], &good[1..]].concat());
    bodies.push([&good[..3], &[0, 99], &good[5..]].concat());
    bodies.extend(long_vectors(&good[..5]));
    all_refused(&scene, "submitMessage", scene.room.as_str(), &bodies).await;
    assert_eq!(format!("{before:?}"), format!("{:?}", scene.view().await));
    let answer = scene.bob.peer.post("submitMessage", scene.room.as_str(), &good).await;
    scene.bob.state.message_answered(&scene.room, &answer.body).unwrap();
    scene.works().await;
}

#[tokio::test]
async fn group_info_requests_that_do_not_decode() {
    let mut scene = Scene::new().await;
    let (_, good) = scene.bob.state.group_info_request(&scene.room, None).unwrap();
    let before = scene.view().await;
    let mut bodies = spoilt(&good);
    bodies.extend(long_vectors(&good[..3]));
    all_refused(&scene, "groupInfo", scene.room.as_str(), &bodies).await;
    scene.unharmed_since(&before).await;
}

#[tokio::test]
async fn notifications_that_do_not_decode() {
    let mut scene = Scene::new().await;
    let body = scene.bob.text(&scene.room, "good");
    let request: SubmitMessageRequest = mimi_hub_proto::tls::decode_exact(&body).unwrap();
    scene.bob.peer.post("submitMessage", scene.room.as_str(), &body).await;
    let good = encode(&FanoutMessage {
        timestamp: 1,
        event: FanoutEvent::Application {
            message: request.app_message,
            frank: None,
        },
    });
    // A room of Bob's provider, which is its hub; several messages in one body are no mistake.
    let about = room("b.example", "elsewhere");
    let twice = [&good[..], &good[..]].concat();
    let mut bodies = spoilt(&good);
    bodies.retain(|body| *body != twice);
    bodies.push([&good[..8], &[0, 1, 0, 99], &good[12..]].concat());
    bodies.extend(long_vectors(&good[..12]));
    all_refused(&scene, "notify", about.as_str(), &bodies).await;
    scene
        .bob
        .peer
        .post("notify", about.as_str(), &twice)
        .await
        .expect_problem(404, "no-participants");
}

#[tokio::test]
async fn paths_that_name_nothing() {
    let scene = Scene::new().await;
    for endpoint in ["update", "submitMessage", "groupInfo", "notify", "keyMaterial"] {
        for about in [
            "mimi://",
            "x",
            "mimi://a.example/q/x",
            "https://a.example/r/x",
            "mimi://a b/r/x",
            "%00%ff",
        ] {
            let answer = scene.bob.peer.post(endpoint, about, &[1]).await;
            assert!(answer.status == 400, "{endpoint} {about}: {}", answer.status);
            answer.expect_problem(400, "malformed-path");
        }
    }
    // A room that another provider hosts, and one that nobody has made.
    let body = [1; 10];
    let elsewhere = scene.bob.peer.post("update", "mimi://c.example/r/x", &body).await;
    elsewhere.expect_problem(404, "not-hosted-here");
}
