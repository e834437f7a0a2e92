//! draft-ietf-mimi-protocol, sections 3.5 and 5.3: leaving by proposals.

use mimi_hub_ops::client::{RoomChange, UpdateAnswer};
use mimi_hub_proto::mls::ProposalMessage;
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::{HandshakeBundle, UpdateRequest, UpdateResponseCode, UpdateRoomResponse};

use crate::scene::Scene;

fn proposals(update: &[u8]) -> Vec<ProposalMessage> {
    match decode_exact::<UpdateRequest>(update).unwrap().bundle {
        HandshakeBundle::Proposals {
            proposal,
            more_proposals,
        } => [vec![proposal], more_proposals].concat(),
        HandshakeBundle::Commit { .. } => panic!("these are no proposals"),
    }
}

fn request(mut proposals: Vec<ProposalMessage>) -> Vec<u8> {
    let proposal = proposals.remove(0);
    encode(&UpdateRequest {
        bundle: HandshakeBundle::Proposals {
            proposal,
            more_proposals: proposals,
        },
    })
}

/// All clients go and the entry in the list goes, or nothing does: else the room could be left in a state that no Commit
/// may make.
#[tokio::test]
async fn half_a_leaving_is_refused_and_nothing_of_it_is_kept() {
    let mut scene = Scene::new().await;
    let second = scene.second_client_of_bob().await;
    scene.follow().await;
    let before = scene.view().await;
    let leave = scene.bob.state.leave(&scene.room).unwrap();
    let all = proposals(&leave);
    assert_eq!(all.len(), 3, "two clients and the list");
    // The list is changed, and a client or both would stay.
    for kept in [vec![all[2].clone()], vec![all[0].clone(), all[2].clone()]] {
        let response = scene.update(&request(kept)).await;
        Scene::refused(
            &response,
            UpdateResponseCode::InvalidProposal,
            "would stay in the group",
        );
    }
    // The same proposal twice.
    let response = scene.update(&request([all.clone(), all.clone()].concat())).await;
    assert_eq!(
        response.response_code(),
        UpdateResponseCode::InvalidProposal,
        "{response:?}"
    );
    // From another provider.
    let answer = scene.carol.peer.post("update", scene.room.as_str(), &leave).await;
    Scene::refused(
        &answer.mimi(),
        UpdateResponseCode::NotAllowed,
        "not a client of c.example",
    );
    assert_eq!(format!("{before:?}"), format!("{:?}", scene.view().await));

    assert_eq!(scene.bob.update(&scene.room, &leave).await, UpdateAnswer::Accepted);
    assert_eq!(scene.view().await.pending_proposals, 3);
    drop(second);
}

#[tokio::test]
async fn proposals_for_an_epoch_that_is_over_are_told_the_current_one() {
    let mut scene = Scene::new().await;
    let late = scene.bob.state.leave(&scene.room).unwrap();
    scene.alice.commit_pending(&scene.room).await.unwrap();
    let before = scene.view().await;
    let answer = scene.bob.update(&scene.room, &late).await;
    assert_eq!(answer, UpdateAnswer::WrongEpoch(before.epoch));
    scene.unharmed_since(&before).await;
}

#[tokio::test]
async fn the_same_leaving_twice_is_one_and_has_one_acceptance_time() {
    let mut scene = Scene::new().await;
    let leave = scene.bob.state.leave(&scene.room).unwrap();
    let first = scene.bob.peer.post("update", scene.room.as_str(), &leave).await;
    let again = scene.bob.peer.post("update", scene.room.as_str(), &leave).await;
    assert_eq!(
        first.mimi::<UpdateRoomResponse>().response_code(),
        UpdateResponseCode::Success
    );
    assert_eq!(first.body, again.body);
    assert_eq!(scene.view().await.pending_proposals, 2);
}

#[tokio::test]
async fn proposals_are_not_taken_without_end() {
    let mut scene = Scene::with("room.pending_proposals_max = 3", |_| {}).await;
    let of_bob = scene.bob.state.leave(&scene.room).unwrap();
    assert_eq!(scene.bob.update(&scene.room, &of_bob).await, UpdateAnswer::Accepted);
    let of_carol = scene.carol.state.leave(&scene.room).unwrap();
    let answer = scene.carol.update(&scene.room, &of_carol).await;
    assert!(
        matches!(&answer, UpdateAnswer::Refused { description, .. } if description.contains("too many")),
        "{answer:?}"
    );
    // A Commit makes room.
    scene.alice.sync(std::time::Duration::ZERO).await.unwrap();
    scene.alice.commit_pending(&scene.room).await.unwrap();
    scene.follow().await;
    let of_carol = scene.carol.state.leave(&scene.room).unwrap();
    assert_eq!(scene.carol.update(&scene.room, &of_carol).await, UpdateAnswer::Accepted);
}

/// An external Commit cannot carry a member's proposals, so it would drop them with the epoch.
#[tokio::test]
async fn nobody_joins_by_an_external_commit_past_waiting_proposals() {
    let mut scene = Scene::new().await;
    let leave = scene.bob.state.leave(&scene.room).unwrap();
    assert_eq!(scene.bob.update(&scene.room, &leave).await, UpdateAnswer::Accepted);
    let client = "mimi://c.example/d/ClientC2";
    let mut second = scene.world.remote("mimi://c.example/u/carol", client, "a.example");
    let (query, request) = second.state.group_info_request(&scene.room, None).unwrap();
    let info = second.peer.post("groupInfo", scene.room.as_str(), &request).await;
    let body = second
        .state
        .external_commit(&scene.room, &query, &info.body, None)
        .unwrap();
    let answer = second.update(&scene.room, &body).await;
    assert!(
        matches!(&answer, UpdateAnswer::Refused { code, .. } if code == "NotAllowed"),
        "{answer:?}"
    );

    scene.follow().await;
    let commit = scene.carol.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    assert_eq!(scene.carol.update(&scene.room, &commit).await, UpdateAnswer::Accepted);
    second.join(&scene.room).await;
    assert_eq!(scene.view().await.clients.len(), 3);
}

/// RFC 9420, 12.4: with proposals pending, nothing but handshakes may be sent.
#[tokio::test]
async fn a_message_past_a_waiting_leave_commits_it_first() {
    let mut scene = Scene::new().await;
    let leave = scene.bob.state.leave(&scene.room).unwrap();
    assert_eq!(scene.bob.update(&scene.room, &leave).await, UpdateAnswer::Accepted);
    scene.alice.sync(std::time::Duration::ZERO).await.unwrap();
    assert!(scene.alice.state().has_pending_proposals(&scene.room));
    let before = scene.view().await.epoch;
    scene.alice.send_text(&scene.room, "without Bob").await.unwrap();
    let after = scene.view().await;
    assert_eq!((after.epoch, after.pending_proposals), (before + 1, 0));
    scene.follow().await;
    assert!(scene.bob.state.is_removed(&scene.room));
    assert!(scene.bob.state.transcript(&scene.room).is_empty());
    assert_eq!(scene.carol.state.transcript(&scene.room)[0].text, "without Bob");
}
