//! Room policy over real processes: join codes, bans and what the hub proposes, through the local API and across a crash
//! (draft-ietf-mimi-room-policy, 8.1.1 and 8.1.3; draft-ietf-mimi-protocol, 5.5 and 5.6).

use std::time::Duration;

use mimi_hub_ops::client::{ROLE_MEMBER, ROLE_MODERATOR};
use mimi_hub_proto::uri::path_segment;
use mimi_hub_proto::{GroupInfoCode, GroupInfoResponse, SubmitMessageResponse, UpdateResponseCode};
use mimi_hub_tests::{Answer, RemoteClient, user};
use reqwest::Method;
use serde_json::{Value, json};

use crate::scene::Scene;

impl Scene {
    async fn call(&self, method: Method, path: &str, by: Option<&str>, body: Option<Value>) -> Answer {
        let path = format!("/rooms/{}{path}", path_segment(self.room.as_str()));
        let mut request = self.hub.local(method, &path);
        if let Some(by) = by {
            request = request.header("Mimi-User", by);
        }
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        self.hub.call(request).await
    }

    async fn make_code(&self, id: &str, uses_max: u32) -> Answer {
        let terms = json!({"role": ROLE_MEMBER, "expiresInS": 600, "usesMax": uses_max});
        let path = format!("/joinCodes/{id}");
        self.call(Method::PUT, &path, Some("mimi://a.example/u/alice"), Some(terms))
            .await
    }

    /// A client of Dave's, whom nobody has added.
    fn dave(&self, number: u32) -> RemoteClient {
        let client = format!("mimi://b.example/d/ClientD{number}");
        self.world.remote("mimi://b.example/u/dave", &client, "a.example")
    }
}

async fn show(dave: &RemoteClient, scene: &Scene, code: Option<&str>) -> GroupInfoCode {
    let (_, request) = dave.state.group_info_request(&scene.room, code).unwrap();
    let answer = dave.peer.post("groupInfo", scene.room.as_str(), &request).await;
    answer.mimi::<GroupInfoResponse>().status()
}

async fn join(dave: &mut RemoteClient, scene: &Scene, code: &str) -> UpdateResponseCode {
    let (query, request) = dave.state.group_info_request(&scene.room, Some(code)).unwrap();
    let info = dave.peer.post("groupInfo", scene.room.as_str(), &request).await;
    let body = dave
        .state
        .external_commit(&scene.room, &query, &info.body, Some(ROLE_MEMBER))
        .unwrap();
    let answer = dave.peer.post("update", scene.room.as_str(), &body).await;
    let _ = dave.state.update_answered(&scene.room, &answer.body).unwrap();
    answer.mimi::<mimi_hub_proto::UpdateRoomResponse>().response_code()
}

#[tokio::test]
async fn a_stranger_joins_by_code_also_after_a_crash() {
    let mut scene = Scene::new().await;
    let made = scene.make_code("friends", 1).await;
    assert_eq!(made.status, 201);
    let made: Value = serde_json::from_slice(&made.body).unwrap();
    let code = made["code"].as_str().unwrap().to_owned();
    assert_eq!(made["link"], format!("{}#{code}", scene.room));
    // The same wish again makes no second code.
    let again: Value = serde_json::from_slice(&scene.make_code("friends", 1).await.body).unwrap();
    assert_eq!(again["code"], made["code"]);
    scene
        .make_code("friends", 2)
        .await
        .expect_problem(409, "join-code-exists");

    let mut dave = scene.dave(1);
    assert_eq!(show(&dave, &scene, None).await, GroupInfoCode::NotAuthorized);
    assert_eq!(show(&dave, &scene, Some("guess")).await, GroupInfoCode::NotAuthorized);
    assert_eq!(show(&dave, &scene, Some(&code)).await, GroupInfoCode::Success);
    scene.hub.kill().await;
    scene.hub.start().await;
    assert_eq!(join(&mut dave, &scene, &code).await, UpdateResponseCode::Success);
    dave.send(&scene.room, "hello from outside").await;
    scene.follow().await;
    // It was for one.
    let eve = scene
        .world
        .remote("mimi://c.example/u/eve", "mimi://c.example/d/E1", "a.example");
    assert_eq!(show(&eve, &scene, Some(&code)).await, GroupInfoCode::NotAuthorized);
    scene.works().await;
}

#[tokio::test]
async fn codes_are_listed_and_revoked_by_who_may() {
    let scene = Scene::new().await;
    let alice = Some("mimi://a.example/u/alice");
    let stranger = Some("mimi://a.example/u/stranger");
    assert_eq!(scene.make_code("one", 5).await.status, 201);
    let list = scene.call(Method::GET, "/joinCodes", alice, None).await;
    let list: Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!((&list[0]["id"], &list[0]["usesMax"]), (&json!("one"), &json!(5)));
    for (method, path, by, status, problem) in [
        (Method::GET, "/joinCodes", stranger, 403, "room-policy"),
        (Method::GET, "/joinCodes", None, 400, "mimi-user"),
        (Method::DELETE, "/joinCodes/one", stranger, 403, "room-policy"),
        (Method::DELETE, "/joinCodes/two", alice, 404, "no-such-join-code"),
    ] {
        scene.call(method, path, by, None).await.expect_problem(status, problem);
    }
    for (terms, status, problem) in [
        (
            json!({"role": ROLE_MODERATOR, "expiresInS": 9, "usesMax": 1}),
            403,
            "room-policy",
        ),
        (
            json!({"role": ROLE_MEMBER, "expiresInS": 0, "usesMax": 1}),
            422,
            "bad-join-code",
        ),
        (
            json!({"role": ROLE_MEMBER, "expiresInS": 9, "usesMax": 0}),
            422,
            "bad-join-code",
        ),
        (
            json!({"role": -1, "expiresInS": 9, "usesMax": 1}),
            400,
            "malformed-body",
        ),
    ] {
        scene
            .call(Method::PUT, "/joinCodes/two", alice, Some(terms))
            .await
            .expect_problem(status, problem);
    }
    let code = list[0]["code"].as_str().unwrap();
    assert_eq!(
        scene.call(Method::DELETE, "/joinCodes/one", alice, None).await.status,
        204
    );
    assert_eq!(
        show(&scene.dave(1), &scene, Some(code)).await,
        GroupInfoCode::NotAuthorized
    );
}

#[tokio::test]
async fn the_hub_bans_and_a_member_commits() {
    let mut scene = Scene::new().await;
    let ban = format!("/bans/{}", path_segment("mimi://b.example/u/bob"));
    let message = scene.bob.text(&scene.room, "before the ban");
    assert_eq!(scene.call(Method::PUT, &ban, None, None).await.status, 201);
    assert_eq!(scene.call(Method::PUT, &ban, None, None).await.status, 200);
    let answer = scene
        .bob
        .peer
        .post("submitMessage", scene.room.as_str(), &message)
        .await;
    assert_eq!(
        answer.mimi::<SubmitMessageResponse>(),
        SubmitMessageResponse::NotAllowed
    );
    assert_eq!(scene.view().await.pending_proposals, 1);
    scene.hub.kill().await;
    scene.hub.start().await;
    assert_eq!(scene.view().await.pending_proposals, 1);
    scene.alice.commit_pending(&scene.room).await.unwrap();
    let view = scene.view().await;
    assert!(
        view.clients
            .iter()
            .all(|member| member.user != user("b.example", "bob"))
    );
    let second = scene
        .world
        .remote("mimi://b.example/u/bob", "mimi://b.example/d/ClientB2", "a.example");
    assert_eq!(show(&second, &scene, None).await, GroupInfoCode::NotAuthorized);
    assert_eq!(scene.call(Method::DELETE, &ban, None, None).await.status, 204);
    assert_eq!(show(&second, &scene, None).await, GroupInfoCode::Success);
}

#[tokio::test]
async fn a_deleted_user_leaves_the_rooms_with_the_next_commit() {
    let mut scene = Scene::new().await;
    let mut adam = scene.hub.client("adam", "ClientX1", 2).await;
    scene
        .alice
        .add_user(&scene.room, &user("a.example", "adam"), ROLE_MEMBER)
        .await
        .unwrap();
    let room = scene.room.clone();
    adam.sync_until("the Welcome", Duration::from_secs(20), |state| state.is_member(&room))
        .await
        .unwrap();
    scene
        .hub
        .gateway()
        .delete_user(&user("a.example", "adam"))
        .await
        .unwrap();
    assert_eq!(scene.view().await.pending_proposals, 1);
    scene.alice.commit_pending(&scene.room).await.unwrap();
    let view = scene.view().await;
    assert!(
        view.clients
            .iter()
            .all(|member| member.user != user("a.example", "adam"))
    );
}

#[tokio::test]
async fn a_room_is_destroyed_for_good() {
    let scene = Scene::new().await;
    let stranger = Some("mimi://a.example/u/stranger");
    scene
        .call(Method::DELETE, "", stranger, None)
        .await
        .expect_problem(403, "room-policy");
    let alice = Some("mimi://a.example/u/alice");
    assert_eq!(scene.call(Method::DELETE, "", alice, None).await.status, 204);
    scene
        .call(Method::GET, "", None, None)
        .await
        .expect_problem(404, "no-such-room");
    assert_eq!(show(&scene.dave(1), &scene, None).await, GroupInfoCode::NoSuchRoom);
}
