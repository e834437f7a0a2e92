//! A target's provider that answers requests for key material with what it should not (draft-ietf-mimi-protocol, 5.2): the
//! hub says whose mistake it was, and nothing of it can be used.

use mimi_hub_ops::client::{ROLE_MEMBER, RoomChange, UpdateAnswer};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::UserUri;
use mimi_hub_proto::{ClientKeyMaterial, ClientKeyMaterialOutcome, KeyMaterialResponse, KeyMaterialUserCode};
use mimi_hub_tests::{Forger, client, user};

use crate::scene::Scene;

const DAY_S: u64 = 24 * 3600;

fn dora() -> UserUri {
    user("d.example", "dora")
}

/// An answer that gives a KeyPackage struct as that of a client.
fn giving(target: UserUri, as_client: &str, key_package: &[u8]) -> Vec<u8> {
    let entry = ClientKeyMaterial {
        client_uri: client("d.example", as_client),
        outcome: ClientKeyMaterialOutcome::Success(decode_exact(key_package).unwrap()),
    };
    encode(&KeyMaterialResponse::from_clients(target, vec![entry]).unwrap())
}

#[tokio::test]
async fn wrong_answers_are_the_providers_mistake() {
    let mut scene = Scene::new().await;
    let provider = scene.world.follower("d.example").await;
    let before = scene.view().await;
    let honest = Forger::new(dora(), client("d.example", "D1"));
    let other_user = Forger::new(user("d.example", "eve"), client("d.example", "D1"));
    let good = giving(dora(), "D1", &honest.key_package(DAY_S));
    for (what, status, body, expected, slug) in [
        ("nothing", 200, Vec::new(), 502, "bad-gateway"),
        ("garbage", 200, vec![0x5a; 300], 502, "bad-gateway"),
        (
            "half an answer",
            200,
            good[..good.len() / 2].to_vec(),
            502,
            "bad-gateway",
        ),
        (
            "something behind it",
            200,
            [&good[..], &[0]].concat(),
            502,
            "bad-gateway",
        ),
        (
            "another user",
            200,
            giving(user("d.example", "eve"), "D1", &other_user.key_package(DAY_S)),
            502,
            "bad-gateway",
        ),
        (
            "another user's KeyPackage",
            200,
            giving(dora(), "D1", &other_user.key_package(DAY_S)),
            502,
            "bad-gateway",
        ),
        (
            "another client's KeyPackage",
            200,
            giving(dora(), "D2", &honest.key_package(DAY_S)),
            502,
            "bad-gateway",
        ),
        (
            "an expired KeyPackage",
            200,
            giving(dora(), "D1", &honest.key_package(0)),
            502,
            "bad-gateway",
        ),
        ("a refusal", 403, good.clone(), 502, "peer-refused"),
        ("another success", 201, good.clone(), 502, "peer-refused"),
        ("a failure", 500, good.clone(), 504, "peer-unavailable"),
    ] {
        provider.answer_key_material_with(status, body);
        let request = scene.bob.state.key_material_request(&scene.room, &dora()).unwrap();
        let answer = scene.bob.peer.post("keyMaterial", dora().as_str(), &request).await;
        assert_eq!(
            answer.status,
            expected,
            "{what}: {}",
            String::from_utf8_lossy(&answer.body)
        );
        answer.expect_problem(expected, slug);
    }
    // Nobody to add: no mistake, and passed on as it is.
    let unknown = encode(&KeyMaterialResponse::refused(dora(), KeyMaterialUserCode::UserUnknown).unwrap());
    provider.answer_key_material_with(200, unknown.clone());
    let request = scene.bob.state.key_material_request(&scene.room, &dora()).unwrap();
    let answer = scene.bob.peer.post("keyMaterial", dora().as_str(), &request).await;
    assert_eq!((answer.status, answer.body), (200, unknown));
    scene.unharmed_since(&before).await;

    provider.answer_key_material_with(200, good);
    let request = scene.bob.state.key_material_request(&scene.room, &dora()).unwrap();
    let answer = scene.bob.peer.post("keyMaterial", dora().as_str(), &request).await;
    let change = RoomChange::AddUser {
        user: dora(),
        role_index: ROLE_MEMBER,
        key_material: answer.body,
    };
    let body = scene.bob.state.commit(&scene.room, &change).unwrap();
    assert_eq!(scene.bob.update(&scene.room, &body).await, UpdateAnswer::Accepted);
    // The Welcome goes where the KeyPackage came from.
    provider.wait_for_messages(1).await;
    assert!(matches!(
        provider.accepted()[0].event,
        mimi_hub_proto::FanoutEvent::Welcome { .. }
    ));
}

/// RFC 9420, 10: a KeyPackage is used once. A provider that gives one out again does not make it fresh.
#[tokio::test]
async fn a_used_key_package_that_is_given_out_again_cannot_be_added() {
    // With a checkpoint at every Commit, so that it is one that the room is rebuilt from.
    let mut scene = Scene::with("room.checkpoint_handshake_bytes = 4096", |_| {}).await;
    let provider = scene.world.follower("d.example").await;
    let dishonest = Forger::new(dora(), client("d.example", "D1"));
    provider.answer_key_material_with(200, giving(dora(), "D1", &dishonest.key_package(DAY_S)));
    let add = |key_material: Vec<u8>| RoomChange::AddUser {
        user: dora(),
        role_index: ROLE_MEMBER,
        key_material,
    };
    let request = scene.bob.state.key_material_request(&scene.room, &dora()).unwrap();
    let answer = scene.bob.peer.post("keyMaterial", dora().as_str(), &request).await;
    for change in [add(answer.body.clone()), RoomChange::RemoveUser(dora())] {
        let body = scene.bob.state.commit(&scene.room, &change).unwrap();
        assert_eq!(scene.bob.update(&scene.room, &body).await, UpdateAnswer::Accepted);
    }
    let again = scene.bob.peer.post("keyMaterial", dora().as_str(), &request).await;
    scene.hub.kill().await;
    scene.hub.start().await;
    let body = scene.bob.state.commit(&scene.room, &add(again.body)).unwrap();
    let refused = scene.bob.update(&scene.room, &body).await;
    assert!(
        matches!(&refused, UpdateAnswer::Refused { code, .. } if code == "InvalidProposal"),
        "{refused:?}"
    );
}
