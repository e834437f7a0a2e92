//! draft-ietf-mimi-protocol, section 5.3: updates that a hub must refuse, each with its code, the room unharmed.

use mimi_hub_ops::client::{InitialState, ROLE_ADMIN, ROLE_MEMBER, RoomChange, UpdateAnswer};
use mimi_hub_proto::components::{Capability, ParticipantListUpdate, UserRolePair};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::{UpdateOutcome, UpdateResponseCode, UpdateRoomResponse};
use mimi_hub_tests::tamper::{self, CommitParts};
use mimi_hub_tests::{Forger, Forgery, client, room, user};

use crate::scene::Scene;

use UpdateResponseCode::{InvalidProposal, NotAllowed};

#[tokio::test]
async fn a_commit_for_an_epoch_that_is_over_is_told_the_current_one() {
    let mut scene = Scene::new().await;
    let late = scene.bob.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    scene.alice.commit_pending(&scene.room).await.unwrap();
    let before = scene.view().await;
    let answer = scene.bob.update(&scene.room, &late).await;
    assert_eq!(answer, UpdateAnswer::WrongEpoch(before.epoch));
    scene.unharmed_since(&before).await;
}

#[tokio::test]
async fn a_commit_for_an_epoch_to_come_is_told_the_current_one() {
    let mut scene = Scene::new().await;
    let before = scene.view().await;
    let body = scene.bob.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    for epoch in [before.epoch + 1, u64::MAX] {
        let response = scene.update(&tamper::epoch_of_commit(&body, epoch)).await;
        let current_epoch = before.epoch;
        assert_eq!(response.outcome, UpdateOutcome::WrongEpoch { current_epoch });
    }
    let answer = scene.bob.update(&scene.room, &tamper::epoch_of_commit(&body, 0)).await;
    assert_eq!(answer, UpdateAnswer::WrongEpoch(before.epoch));
    scene.unharmed_since(&before).await;
}

#[tokio::test]
async fn a_commit_for_the_group_of_another_room_is_not_allowed() {
    let mut scene = Scene::new().await;
    let other = room("a.example", "annex");
    scene.alice.create_room(&other, "Annex").await.unwrap();
    let before = scene.view().await;
    let body = scene.bob.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    let response: UpdateRoomResponse = scene.bob.peer.post("update", other.as_str(), &body).await.mimi();
    Scene::refused(&response, NotAllowed, "another group");
    assert_eq!(scene.hub.view(&other).await.epoch, 0);
    scene
        .bob
        .state
        .update_answered(&scene.room, &encode(&response))
        .unwrap();
    scene.unharmed_since(&before).await;
}

#[tokio::test]
async fn a_commit_whose_signature_does_not_verify_is_not_allowed() {
    let mut scene = Scene::new().await;
    let before = scene.view().await;
    let body = scene.bob.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    let response = scene.update(&tamper::signature_of_commit(&body)).await;
    Scene::refused(&response, NotAllowed, "not valid");
    // The same Commit as it should be is not held against the room.
    assert_eq!(scene.bob.update(&scene.room, &body).await, UpdateAnswer::Accepted);
    assert_eq!(scene.view().await.epoch, before.epoch + 1);
    scene.works().await;
}

/// draft-ietf-mimi-room-policy, 4.1: an index names an entry of the list as it is before the update.
#[tokio::test]
async fn a_participant_index_beyond_the_list_is_refused() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let here = room("a.example", "forged");
    let mallory = user("a.example", "mallory");
    let mut forger = Forger::new(mallory.clone(), client("a.example", "M1"));
    let initial = InitialState::new(&here, mallory.clone(), "Forged").unwrap();
    forger.create_room(&hub, &here, &initial).await;
    let before = hub.view(&here).await;
    for index in [1, 99, u32::MAX] {
        let body = forger.commit(Forgery {
            participants: Some(ParticipantListUpdate {
                removed_indices: vec![index],
                ..ParticipantListUpdate::default()
            }),
            list_after: Some(initial.participants.clone()),
            ..Forgery::default()
        });
        let answer = hub.gateway().update(&mallory, &here, body).await.unwrap();
        let response: UpdateRoomResponse = decode_exact(&answer).unwrap();
        Scene::refused(&response, InvalidProposal, "index");
    }
    assert_eq!(format!("{before:?}"), format!("{:?}", hub.view(&here).await));
}

/// draft-ietf-mimi-protocol, 1: a client may be in the group only if its user is a participant.
#[tokio::test]
async fn clients_of_a_user_who_is_not_on_the_list_are_not_let_in() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let here = room("a.example", "forged");
    let (mallory, dave) = (user("a.example", "mallory"), user("a.example", "dave"));
    let mut forger = Forger::new(mallory.clone(), client("a.example", "M1"));
    let initial = InitialState::new(&here, mallory.clone(), "Forged").unwrap();
    forger.create_room(&hub, &here, &initial).await;
    hub.client("dave", "D1", 1).await;
    let add = crate::key_material::claimed(&hub, &forger, &mallory, &here, &dave).await;
    let before = hub.view(&here).await;
    let body = forger.commit(Forgery {
        add,
        ..Forgery::default()
    });
    let answer = hub.gateway().update(&mallory, &here, body).await.unwrap();
    let response: UpdateRoomResponse = decode_exact(&answer).unwrap();
    Scene::refused(&response, NotAllowed, "not a participant");
    assert_eq!(format!("{before:?}"), format!("{:?}", hub.view(&here).await));
}

/// draft-ietf-mimi-protocol, 5.3: "the first valid Commit" of an epoch is accepted, and no other.
#[tokio::test]
async fn of_two_commits_at_the_same_time_exactly_one_is_accepted() {
    let mut scene = Scene::new().await;
    for _ in 0..10 {
        let epoch = scene.view().await.epoch;
        let bodies = [&mut scene.bob, &mut scene.carol]
            .map(|other| other.state.commit(&scene.room, &RoomChange::Pending).unwrap());
        let (of_bob, of_carol) = tokio::join!(
            scene.bob.update(&scene.room, &bodies[0]),
            scene.carol.update(&scene.room, &bodies[1])
        );
        let refused = UpdateAnswer::WrongEpoch(epoch + 1);
        match (of_bob, of_carol) {
            (UpdateAnswer::Accepted, other) | (other, UpdateAnswer::Accepted) => assert_eq!(other, refused),
            both => panic!("{both:?}"),
        }
        assert_eq!(scene.view().await.epoch, epoch + 1);
        scene.follow().await;
    }
    scene.works().await;
}

/// draft-ietf-mimi-protocol, 5.3: "The next time a client attempts to commit, the hub requires the client to include the
/// cached proposals."
#[tokio::test]
async fn a_commit_that_leaves_out_waiting_proposals_is_not_allowed() {
    let mut scene = Scene::new().await;
    let leave = scene.bob.state.leave(&scene.room).unwrap();
    assert_eq!(scene.bob.update(&scene.room, &leave).await, UpdateAnswer::Accepted);
    let before = scene.view().await;
    assert_eq!(before.pending_proposals, 2);
    let unknowing = scene.carol.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    let answer = scene.carol.update(&scene.room, &unknowing).await;
    assert!(
        matches!(&answer, UpdateAnswer::Refused { code, .. } if code == "NotAllowed"),
        "{answer:?}"
    );
    assert_eq!(format!("{before:?}"), format!("{:?}", scene.view().await));

    scene.follow().await;
    let knowing = scene.carol.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    assert_eq!(scene.carol.update(&scene.room, &knowing).await, UpdateAnswer::Accepted);
    let after = scene.view().await;
    assert_eq!(
        (after.pending_proposals, after.participants.len(), after.clients.len()),
        (0, 2, 2)
    );
}

/// draft-ietf-mimi-protocol, 5.3: who leaves does not commit its own leaving.
#[tokio::test]
async fn a_commit_by_a_user_who_is_leaving_is_not_allowed() {
    let mut scene = Scene::new().await;
    let mut second = scene.second_client_of_bob().await;
    scene.follow().await;
    let leave = scene.bob.state.leave(&scene.room).unwrap();
    assert_eq!(scene.bob.update(&scene.room, &leave).await, UpdateAnswer::Accepted);
    let before = scene.view().await;
    let body = second.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    let answer = second.update(&scene.room, &body).await;
    assert!(
        matches!(&answer, UpdateAnswer::Refused { description, .. } if description.contains("leaving")),
        "{answer:?}"
    );
    assert_eq!(format!("{before:?}"), format!("{:?}", scene.view().await));
}

#[tokio::test]
async fn the_group_info_must_be_that_of_the_new_epoch() {
    let mut scene = Scene::new().await;
    let first = scene.bob.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    assert_eq!(scene.bob.update(&scene.room, &first).await, UpdateAnswer::Accepted);
    let before = scene.view().await;
    let second = scene.bob.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    let mut stale = CommitParts::of(&second);
    stale.group_info = CommitParts::of(&first).group_info;
    let response = scene.update(&stale.request()).await;
    Scene::refused(&response, NotAllowed, "not that of the new epoch");
    let response = scene.update(&tamper::signature_of_group_info(&second)).await;
    Scene::refused(&response, NotAllowed, "signature");
    assert_eq!(format!("{before:?}"), format!("{:?}", scene.view().await));
    assert_eq!(scene.bob.update(&scene.room, &second).await, UpdateAnswer::Accepted);
    scene.works().await;
}

#[tokio::test]
async fn the_welcome_must_be_there_for_those_who_are_added_and_for_nobody_else() {
    let mut scene = Scene::new().await;
    let mut dave = scene.hub.client("dave", "D1", 1).await;
    let target = user("a.example", "dave");
    let request = scene.bob.state.key_material_request(&scene.room, &target).unwrap();
    let answer = scene.bob.peer.post("keyMaterial", target.as_str(), &request).await;
    let change = RoomChange::AddUser {
        user: target,
        role_index: ROLE_MEMBER,
        key_material: answer.body,
    };
    let before = scene.view().await;
    let body = scene.bob.state.commit(&scene.room, &change).unwrap();
    let mut without = CommitParts::of(&body);
    let welcome = without.welcome.take();
    let response = scene.update(&without.request()).await;
    Scene::refused(&response, NotAllowed, "Welcome");

    let alone = scene.carol.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    let mut with = CommitParts::of(&alone);
    with.welcome = welcome;
    let answer = scene.carol.update(&scene.room, &with.request()).await;
    assert!(
        matches!(&answer, UpdateAnswer::Refused { description, .. } if description.contains("Welcome")),
        "{answer:?}"
    );
    assert_eq!(format!("{before:?}"), format!("{:?}", scene.view().await));

    assert_eq!(scene.bob.update(&scene.room, &body).await, UpdateAnswer::Accepted);
    let here = scene.room.clone();
    dave.sync_until("the Welcome", std::time::Duration::from_secs(20), move |state| {
        state.is_member(&here)
    })
    .await
    .unwrap();
    scene.works().await;
}

/// draft-ietf-mimi-protocol, 4.1: a provider speaks for its own users.
#[tokio::test]
async fn a_commit_that_comes_from_another_provider_than_its_committers_is_not_allowed() {
    let mut scene = Scene::new().await;
    let before = scene.view().await;
    let body = scene.bob.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    let stolen = scene.carol.peer.post("update", scene.room.as_str(), &body).await;
    Scene::refused(&stolen.mimi(), NotAllowed, "not a client of c.example");
    scene.bob.state.update_answered(&scene.room, &stolen.body).unwrap();
    scene.unharmed_since(&before).await;
}

/// draft-ietf-mimi-room-policy: what a role may not do is refused, whoever asks.
#[tokio::test]
async fn who_may_not_remove_participants_does_not() {
    let mut scene = Scene::with("", |initial| {
        initial.participants.participants[1].role_index = ROLE_MEMBER;
        let member = initial
            .roles
            .roles
            .iter_mut()
            .find(|role| role.role_index == ROLE_MEMBER);
        let member = member.unwrap();
        member
            .role_capabilities
            .retain(|capability| *capability != Capability::CAN_REMOVE_PARTICIPANT);
    })
    .await;
    let before = scene.view().await;
    let change = RoomChange::RemoveUser(user("c.example", "carol"));
    let body = scene.bob.state.commit(&scene.room, &change).unwrap();
    let answer = scene.bob.update(&scene.room, &body).await;
    assert!(
        matches!(&answer, UpdateAnswer::Refused { code, .. } if code == "NotAllowed"),
        "{answer:?}"
    );
    scene.unharmed_since(&before).await;

    // An admin may: the refusal was for the role.
    scene.alice.change(&scene.room, &change).await.unwrap();
    assert_eq!(scene.view().await.clients.len(), 2);
}

/// A member cannot make itself an admin.
#[tokio::test]
async fn who_may_not_change_roles_does_not() {
    let mut scene = Scene::with("", |initial| {
        initial.participants.participants[1].role_index = ROLE_MEMBER;
    })
    .await;
    let before = scene.view().await;
    let change = RoomChange::ChangeRole {
        user: user("b.example", "bob"),
        role_index: ROLE_ADMIN,
    };
    let body = scene.bob.state.commit(&scene.room, &change).unwrap();
    let answer = scene.bob.update(&scene.room, &body).await;
    assert!(
        matches!(&answer, UpdateAnswer::Refused { code, .. } if code == "NotAllowed"),
        "{answer:?}"
    );
    scene.unharmed_since(&before).await;
}

/// draft-ietf-mimi-protocol, 5.3 and 5.6: joining by an external Commit is for participants.
#[tokio::test]
async fn an_external_commit_of_a_stranger_is_not_allowed() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let here = room("a.example", "forged");
    let owner = user("a.example", "owner");
    let mut forger = Forger::new(owner.clone(), client("a.example", "O1"));
    let mut initial = InitialState::new(&here, owner, "Forged").unwrap();
    initial.participants.participants.push(UserRolePair {
        user: user("b.example", "bob"),
        role_index: ROLE_MEMBER,
    });
    let (group_info, tree) = forger.create_room(&hub, &here, &initial).await;
    let before = hub.view(&here).await;
    let peer = world.peer("b.example", "a.example");
    let stranger = Forger::new(user("b.example", "mallory"), client("b.example", "M1"));
    let refused = peer
        .post("update", here.as_str(), &stranger.external_commit(&group_info, &tree))
        .await;
    Scene::refused(&refused.mimi(), NotAllowed, "");
    assert_eq!(format!("{before:?}"), format!("{:?}", hub.view(&here).await));

    // A participant's is accepted: the refusal was for the stranger.
    let bob = Forger::new(user("b.example", "bob"), client("b.example", "B1"));
    let joined = peer
        .post("update", here.as_str(), &bob.external_commit(&group_info, &tree))
        .await;
    let response: UpdateRoomResponse = joined.mimi();
    assert_eq!(response.response_code(), UpdateResponseCode::Success, "{response:?}");
}

#[tokio::test]
async fn the_same_commit_twice_ends_one_epoch_and_has_one_acceptance_time() {
    let mut scene = Scene::new().await;
    let epoch = scene.view().await.epoch;
    let body = scene.bob.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    let first = scene.bob.peer.post("update", scene.room.as_str(), &body).await;
    scene.hub.kill().await;
    scene.hub.start().await;
    let again = scene.bob.peer.post("update", scene.room.as_str(), &body).await;
    assert_eq!(first.body, again.body);
    scene.bob.state.update_answered(&scene.room, &again.body).unwrap();
    assert_eq!(scene.view().await.epoch, epoch + 1);
    scene.works().await;
}
