//! draft-ietf-mimi-protocol, section 5.6: fetching the GroupInfo to join by an external Commit.

use mimi_hub_ops::client::RoomChange;
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::{GroupInfoCode, GroupInfoRequest, GroupInfoResponse};
use mimi_hub_tests::{Forger, client, room, user};

use crate::scene::Scene;

async fn status(scene: &Scene, about: &str, body: &[u8]) -> GroupInfoCode {
    scene
        .bob
        .peer
        .post("groupInfo", about, body)
        .await
        .mimi::<GroupInfoResponse>()
        .status()
}

/// The reference client checks signature, signer and encryption of the answer before it joins.
#[tokio::test]
async fn a_participants_new_client_joins_by_it() {
    let mut scene = Scene::new().await;
    let before = scene.view().await;
    let mut second = scene.second_client_of_bob().await;
    let after = scene.view().await;
    assert_eq!(
        (after.epoch, after.clients.len()),
        (before.epoch + 1, before.clients.len() + 1)
    );
    scene.follow().await;
    second.send(&scene.room, "from my other device").await;
    scene.works().await;
    let texts: Vec<_> = scene
        .alice
        .state()
        .transcript(&scene.room)
        .iter()
        .map(|entry| &entry.text)
        .collect();
    assert!(texts.contains(&&"from my other device".to_owned()), "{texts:?}");
}

/// It is for the requester alone: nothing of the group is readable in it.
#[tokio::test]
async fn it_is_encrypted() {
    let scene = Scene::new().await;
    let (_, request) = scene.bob.state.group_info_request(&scene.room, None).unwrap();
    let answer = scene.bob.peer.post("groupInfo", scene.room.as_str(), &request).await;
    assert_eq!(answer.mimi::<GroupInfoResponse>().status(), GroupInfoCode::Success);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    for secret in ["alice", "carol", "ClientC1", "Clubhouse"] {
        assert!(!text.contains(secret), "{secret} can be read");
    }
}

#[tokio::test]
async fn strangers_and_wrong_signatures_are_not_authorized() {
    let mut scene = Scene::new().await;
    let before = scene.view().await;
    let stranger = Forger::new(user("b.example", "mallory"), client("b.example", "M1"));
    let body = encode(&stranger.group_info_request(&[7; 32]));
    assert_eq!(
        status(&scene, scene.room.as_str(), &body).await,
        GroupInfoCode::NotAuthorized
    );

    let (_, body) = scene.bob.state.group_info_request(&scene.room, None).unwrap();
    let mut request: GroupInfoRequest = decode_exact(&body).unwrap();
    request.signature[3] ^= 1;
    assert_eq!(
        status(&scene, scene.room.as_str(), &encode(&request)).await,
        GroupInfoCode::NotAuthorized
    );

    // A participant's request that another provider sends.
    let answer = scene.carol.peer.post("groupInfo", scene.room.as_str(), &body).await;
    assert_eq!(
        answer.mimi::<GroupInfoResponse>().status(),
        GroupInfoCode::NotAuthorized
    );
    scene.unharmed_since(&before).await;
}

#[tokio::test]
async fn who_has_been_removed_is_not_authorized() {
    let mut scene = Scene::new().await;
    let change = RoomChange::RemoveUser(user("b.example", "bob"));
    scene.alice.change(&scene.room, &change).await.unwrap();
    let (_, body) = scene.bob.state.group_info_request(&scene.room, None).unwrap();
    assert_eq!(
        status(&scene, scene.room.as_str(), &body).await,
        GroupInfoCode::NotAuthorized
    );
}

#[tokio::test]
async fn a_room_that_does_not_exist_is_no_such_room() {
    let scene = Scene::new().await;
    let nowhere = room("a.example", "nowhere");
    let (_, body) = scene.bob.state.group_info_request(&nowhere, None).unwrap();
    assert_eq!(status(&scene, nowhere.as_str(), &body).await, GroupInfoCode::NoSuchRoom);
}

#[tokio::test]
async fn a_key_that_nothing_can_be_encrypted_to_is_a_mistake_of_the_requester() {
    let mut scene = Scene::new().await;
    let before = scene.view().await;
    let bob = Forger::new(user("b.example", "bob"), client("b.example", "ClientB9"));
    for key in [Vec::new(), vec![1; 31], vec![1; 33], vec![0; 32], vec![0xff; 500]] {
        let body = encode(&bob.group_info_request(&key));
        let answer = scene.bob.peer.post("groupInfo", scene.room.as_str(), &body).await;
        assert_eq!(answer.status, 400, "{} octets: {answer:?}", key.len());
    }
    scene.unharmed_since(&before).await;
}
