//! draft-ietf-mimi-protocol, section 5.4: submitting application messages.

use mimi_hub_proto::SubmitMessageResponse;

use crate::scene::Scene;

#[tokio::test]
async fn the_same_message_twice_is_one_event_and_has_one_acceptance_time() {
    let mut scene = Scene::new().await;
    let body = scene.bob.text(&scene.room, "once");
    let first = scene.bob.peer.post("submitMessage", scene.room.as_str(), &body).await;
    let again = scene.bob.peer.post("submitMessage", scene.room.as_str(), &body).await;
    assert!(matches!(first.mimi(), SubmitMessageResponse::Accepted { .. }));
    assert_eq!(first.body, again.body);
    assert_eq!(scene.messages().await.len(), 1);
}
