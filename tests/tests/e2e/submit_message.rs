//! draft-ietf-mimi-protocol, section 5.4: submitting application messages.

use mimi_hub_ops::client::{RoomChange, UpdateAnswer};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::{SubmitMessageRequest, SubmitMessageResponse};
use mimi_hub_tests::{tamper, tamper::CommitParts, user};

use crate::scene::Scene;

async fn submit(scene: &Scene, body: &[u8]) -> SubmitMessageResponse {
    scene
        .bob
        .peer
        .post("submitMessage", scene.room.as_str(), body)
        .await
        .mimi()
}

/// The message was refused: Bob's client may send another one.
fn give_up(scene: &mut Scene) {
    let refused = encode(&SubmitMessageResponse::NotAllowed);
    scene.bob.state.message_answered(&scene.room, &refused).unwrap();
}

#[tokio::test]
async fn the_same_message_twice_is_one_event_and_has_one_acceptance_time() {
    let mut scene = Scene::new().await;
    let body = scene.bob.text(&scene.room, "once");
    let first = scene.bob.peer.post("submitMessage", scene.room.as_str(), &body).await;
    let again = scene.bob.peer.post("submitMessage", scene.room.as_str(), &body).await;
    assert!(matches!(first.mimi(), SubmitMessageResponse::Accepted { .. }));
    assert_eq!(first.body, again.body);
    scene.hub.kill().await;
    scene.hub.start().await;
    let after_a_kill = scene.bob.peer.post("submitMessage", scene.room.as_str(), &body).await;
    assert_eq!(first.body, after_a_kill.body);
    assert_eq!(scene.messages().await.len(), 1);
    scene.bob.state.message_answered(&scene.room, &first.body).unwrap();
    scene.works().await;
}

#[tokio::test]
async fn the_same_message_many_times_at_once_is_one_event() {
    let mut scene = Scene::new().await;
    let body = scene.bob.text(&scene.room, "once");
    let sendings = (0..20).map(|_| scene.bob.peer.post("submitMessage", scene.room.as_str(), &body));
    let answers = futures::future::join_all(sendings).await;
    for answer in &answers {
        assert_eq!(answer.body, answers[0].body);
    }
    assert!(matches!(answers[0].mimi(), SubmitMessageResponse::Accepted { .. }));
    assert_eq!(scene.messages().await.len(), 1);
}

/// A retry is one of the same provider: the same octets from somebody else are somebody else's.
#[tokio::test]
async fn what_one_provider_sent_is_no_retry_of_anothers() {
    let mut scene = Scene::new().await;
    let body = scene.bob.text(&scene.room, "mine");
    let answer = scene.bob.peer.post("submitMessage", scene.room.as_str(), &body).await;
    assert!(matches!(answer.mimi(), SubmitMessageResponse::Accepted { .. }));
    let stolen = scene.carol.peer.post("submitMessage", scene.room.as_str(), &body).await;
    assert_eq!(
        stolen.mimi::<SubmitMessageResponse>(),
        SubmitMessageResponse::NotAllowed
    );
}

#[tokio::test]
async fn a_user_who_is_no_participant_may_not_send() {
    let mut scene = Scene::new().await;
    let before = scene.view().await;
    let body = scene.bob.text(&scene.room, "not mine");
    let mut request: SubmitMessageRequest = decode_exact(&body).unwrap();
    request.sending_uri = user("b.example", "mallory");
    assert_eq!(
        submit(&scene, &encode(&request)).await,
        SubmitMessageResponse::NotAllowed
    );
    give_up(&mut scene);
    scene.unharmed_since(&before).await;
}

#[tokio::test]
async fn who_has_been_removed_may_not_send() {
    let mut scene = Scene::new().await;
    let bob = user("b.example", "bob");
    scene
        .alice
        .change(&scene.room, &RoomChange::RemoveUser(bob))
        .await
        .unwrap();
    let before = scene.view().await;
    let body = scene.bob.text(&scene.room, "one last word");
    assert_eq!(submit(&scene, &body).await, SubmitMessageResponse::NotAllowed);
    assert_eq!(format!("{before:?}"), format!("{:?}", scene.view().await));
    scene.follow().await;
    scene.carol.send(&scene.room, "he is gone").await;
}

#[tokio::test]
async fn who_is_leaving_may_not_send() {
    let mut scene = Scene::new().await;
    let mut second = scene.second_client_of_bob().await;
    scene.follow().await;
    let leave = scene.bob.state.leave(&scene.room).unwrap();
    assert_eq!(scene.bob.update(&scene.room, &leave).await, UpdateAnswer::Accepted);
    let before = scene.view().await;
    let body = second.text(&scene.room, "one last word");
    assert_eq!(submit(&scene, &body).await, SubmitMessageResponse::NotAllowed);
    assert_eq!(format!("{before:?}"), format!("{:?}", scene.view().await));
    scene.carol.send(&scene.room, "he goes").await;
}

/// "nonsensical inputs such as an MLS epoch more recent than the hub's"
#[tokio::test]
async fn a_message_of_an_epoch_to_come_is_not_allowed() {
    let mut scene = Scene::new().await;
    let before = scene.view().await;
    let body = scene.bob.text(&scene.room, "from the future");
    for epoch in [before.epoch + 1, u64::MAX] {
        let response = submit(&scene, &tamper::epoch_of_message(&body, epoch)).await;
        assert_eq!(response, SubmitMessageResponse::NotAllowed);
    }
    give_up(&mut scene);
    scene.unharmed_since(&before).await;
}

#[tokio::test]
async fn a_message_of_an_epoch_too_old_is_told_the_current_one_and_of_a_recent_one_is_accepted() {
    let mut scene = Scene::with("room.past_epochs_max = 2", |_| {}).await;
    let recent = scene.carol.text(&scene.room, "a little late");
    scene.alice.commit_pending(&scene.room).await.unwrap();
    scene.alice.commit_pending(&scene.room).await.unwrap();
    let answer = scene
        .carol
        .peer
        .post("submitMessage", scene.room.as_str(), &recent)
        .await;
    assert!(matches!(answer.mimi(), SubmitMessageResponse::Accepted { .. }));
    scene.carol.state.message_answered(&scene.room, &answer.body).unwrap();

    let old = scene.bob.text(&scene.room, "much too late");
    scene.alice.commit_pending(&scene.room).await.unwrap();
    let before = scene.view().await;
    let current_epoch = before.epoch;
    assert_eq!(
        submit(&scene, &old).await,
        SubmitMessageResponse::EpochTooOld { current_epoch }
    );
    give_up(&mut scene);
    scene.unharmed_since(&before).await;
}

/// draft-ietf-mimi-protocol, 4.1: a provider speaks for its own users.
#[tokio::test]
async fn a_message_in_the_name_of_another_providers_user_is_not_allowed() {
    let mut scene = Scene::new().await;
    let before = scene.view().await;
    let body = scene.bob.text(&scene.room, "stolen");
    let answer = scene.carol.peer.post("submitMessage", scene.room.as_str(), &body).await;
    assert_eq!(
        answer.mimi::<SubmitMessageResponse>(),
        SubmitMessageResponse::NotAllowed
    );
    give_up(&mut scene);
    scene.unharmed_since(&before).await;
}

#[tokio::test]
async fn a_handshake_in_place_of_an_application_message_is_malformed() {
    let mut scene = Scene::new().await;
    let before = scene.view().await;
    let update = scene.bob.state.commit(&scene.room, &RoomChange::Pending).unwrap();
    let mut body = vec![1];
    body.extend(encode(&CommitParts::of(&update).commit));
    body.extend(encode(&user("b.example", "bob")));
    let answer = scene.bob.peer.post("submitMessage", scene.room.as_str(), &body).await;
    answer.expect_problem(400, "malformed-body");
    scene.unharmed_since(&before).await;
}
