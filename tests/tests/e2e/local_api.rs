//! The local API, as `node/LOCAL_API.md` documents it: each call's success, and its refusals.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mimi_hub_ops::client::InitialState;
use mimi_hub_proto::uri::path_segment;
use mimi_hub_tests::{Answer, Forger, Hub, client, room, stream, user};
use reqwest::Method;
use serde_json::{Value, json};

use crate::scene::Scene;

const ALICE: &str = "mimi://a.example/u/alice";

async fn bare(hub: &Hub, method: Method, path: &str) -> Answer {
    hub.call(hub.local(method, path)).await
}

async fn with_json(hub: &Hub, method: Method, path: &str, body: impl Into<String>) -> Answer {
    let request = hub
        .local(method, path)
        .header("Content-Type", "application/json")
        .body(body.into());
    hub.call(request).await
}

fn users(uri: &str) -> String {
    format!("/users/{}", path_segment(uri))
}

fn clients(user: &str, client: &str) -> String {
    format!("{}/clients/{}", users(user), path_segment(client))
}

#[tokio::test]
async fn users_and_clients_are_made_once_and_go_when_told() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let (alice, a1) = (users(ALICE), clients(ALICE, "mimi://a.example/d/A1"));
    bare(&hub, Method::PUT, &a1).await.expect_problem(404, "no-such-user");
    bare(&hub, Method::DELETE, &alice)
        .await
        .expect_problem(404, "no-such-user");
    for (path, status) in [(&alice, 201), (&alice, 200), (&a1, 201), (&a1, 200)] {
        assert_eq!(bare(&hub, Method::PUT, path).await.status, status);
    }
    assert_eq!(bare(&hub, Method::DELETE, &a1).await.status, 204);
    bare(&hub, Method::DELETE, &a1)
        .await
        .expect_problem(404, "no-such-client");
    assert_eq!(bare(&hub, Method::DELETE, &alice).await.status, 204);
    bare(&hub, Method::DELETE, &alice)
        .await
        .expect_problem(404, "no-such-user");
    bare(&hub, Method::PUT, &a1).await.expect_problem(404, "no-such-user");
}

#[tokio::test]
async fn uris_must_be_of_their_kind_and_of_this_provider() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let foreign = users("mimi://b.example/u/bob");
    bare(&hub, Method::PUT, &foreign)
        .await
        .expect_problem(404, "not-served");
    for wrong in [
        "alice",
        "mimi://a.example/r/alice",
        "mimi://a.example/u/",
        "https://a.example/u/alice",
        "%00",
    ] {
        let answer = bare(&hub, Method::PUT, &users(wrong)).await;
        answer.expect_problem(400, "malformed-path");
    }
    bare(&hub, Method::PUT, &users(ALICE)).await;
    let foreign = clients(ALICE, "mimi://b.example/d/A1");
    bare(&hub, Method::PUT, &foreign)
        .await
        .expect_problem(400, "malformed-path");
}

#[tokio::test]
async fn about_the_hub() {
    let world = crate::world();
    let mut hub = world.hub("a.example").await;
    let about = bare(&hub, Method::GET, "/hub").await.json();
    assert_eq!(about["domains"], json!(["a.example"]));
    assert_eq!(about["ciphersuites"], json!([1, 2, 3]));
    for sender in ["externalSender", "externalSenderP256"] {
        assert!(BASE64_STANDARD.decode(about[sender].as_str().unwrap()).unwrap().len() > 32);
    }
    // The hub's keys outlive it: rooms refer to them.
    hub.kill().await;
    hub.start().await;
    assert_eq!(bare(&hub, Method::GET, "/hub").await.json(), about);
    bare(&hub, Method::POST, "/hub")
        .await
        .expect_problem(405, "wrong-method");
    bare(&hub, Method::GET, "/nothing")
        .await
        .expect_problem(404, "no-such-endpoint");
}

#[tokio::test]
async fn json_that_is_none_or_another_is_malformed() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    hub.client("alice", "A1", 0).await;
    let consent = format!("{}/consent", users(ALICE));
    let events = format!("{}/events", users(ALICE));
    let packages = format!("{}/keyPackages", clients(ALICE, "mimi://a.example/d/A1"));
    for (method, path, bodies) in [
        (
            Method::PUT,
            &consent,
            vec![
                "",
                "{",
                "[]",
                "{}",
                r#"{"allow":1}"#,
                r#"{"allow":true,"more":1}"#,
                r#"{"allow":true,"requester":"bob"}"#,
                r#"{"allow":true,"room":"mimi://a.example/u/x"}"#,
            ],
        ),
        (
            Method::POST,
            &events,
            vec![
                "",
                "null",
                r#"{"limit":0}"#,
                r#"{"limit":1001}"#,
                r#"{"limit":-1}"#,
                r#"{"waitMs":30001}"#,
                r#"{"cursor":7}"#,
                r#"{"cursor":"!"}"#,
                r#"{"cursor":"AAAA"}"#,
                r#"{"x":1}"#,
            ],
        ),
        (
            Method::POST,
            &packages,
            vec![
                "",
                "{}",
                r#"{"keyPackages":"x"}"#,
                r#"{"keyPackages":["*"]}"#,
                r#"{"keyPackages":["AAA"]}"#,
            ],
        ),
    ] {
        for body in bodies {
            let answer = with_json(&hub, method.clone(), path, body).await;
            assert_eq!(
                answer.status,
                400,
                "{path} {body:?}: {}",
                String::from_utf8_lossy(&answer.body)
            );
            answer.expect_problem(400, "malformed-body");
        }
        let request = hub.local(method, path).header("Content-Type", "text/plain").body("{}");
        hub.call(request).await.expect_problem(415, "content-type");
    }
}

#[tokio::test]
async fn lists_of_key_packages_have_limits() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    hub.client("alice", "A1", 3).await;
    let path = format!("{}/keyPackages", clients(ALICE, "mimi://a.example/d/A1"));
    let list = json!({ "keyPackages": vec!["AAAA"; 201] });
    with_json(&hub, Method::POST, &path, list.to_string())
        .await
        .expect_problem(422, "limit-reached");
    let forger = Forger::new(user("a.example", "alice"), client("a.example", "A1"));
    let list = json!({ "keyPackages": [BASE64_STANDARD.encode(forger.key_package(86_400))] });
    let stock = with_json(&hub, Method::POST, &path, list.to_string()).await.json();
    assert_eq!(stock, json!({ "stored": 1, "available": 4 }));
    // The same list once more is a retry.
    let again = with_json(&hub, Method::POST, &path, list.to_string()).await.json();
    assert_eq!(again, stock);
    let elsewhere = format!("{}/keyPackages", clients(ALICE, "mimi://a.example/d/A2"));
    with_json(&hub, Method::POST, &elsewhere, list.to_string())
        .await
        .expect_problem(404, "no-such-client");
}

#[tokio::test]
async fn a_gateway_speaks_for_a_user_of_this_provider_whom_the_body_names() {
    let mut scene = Scene::new().await;
    let text = {
        // A message in Alice's name, sent by the gateway of her provider.
        let mut alice = scene.world.remote(ALICE, "mimi://a.example/d/A2", "a.example");
        let (query, request) = alice.state.group_info_request(&scene.room, None).unwrap();
        let gateway = scene.hub.gateway();
        let answer = gateway
            .group_info(&scene.alice_uri(), &scene.room, request)
            .await
            .unwrap();
        let body = alice.state.external_commit(&scene.room, &query, &answer, None).unwrap();
        let answer = gateway.update(&scene.alice_uri(), &scene.room, body).await.unwrap();
        alice.state.update_answered(&scene.room, &answer).unwrap();
        alice.text(&scene.room, "hello")
    };
    let path = format!("/submitMessage/{}", path_segment(scene.room.as_str()));
    let send = |user: Option<&str>| {
        let request = scene
            .hub
            .local(Method::POST, &path)
            .header("Content-Type", "application/mimi")
            .body(text.clone());
        let request = match user {
            Some(user) => request.header("Mimi-User", user),
            None => request,
        };
        scene.hub.call(request)
    };
    send(None).await.expect_problem(400, "mimi-user");
    for wrong in ["alice", "", "mimi://b.example/u/bob", "mimi://a.example/r/x"] {
        send(Some(wrong)).await.expect_problem(400, "mimi-user");
    }
    send(Some("mimi://a.example/u/mallory"))
        .await
        .expect_problem(403, "wrong-user");
    assert_eq!(send(Some(ALICE)).await.status, 200);

    let (_, request) = scene.bob.state.group_info_request(&scene.room, None).unwrap();
    let relayed = scene
        .hub
        .local(
            Method::POST,
            &format!("/groupInfo/{}", path_segment(scene.room.as_str())),
        )
        .header("Content-Type", "application/mimi")
        .header("Mimi-User", ALICE)
        .body(request);
    scene.hub.call(relayed).await.expect_problem(403, "wrong-user");
    scene.works().await;
}

/// Nobody gets at the local listener with a certificate of the federation.
#[tokio::test]
async fn a_certificate_of_the_federation_is_no_gateways() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let identity = world.identity(&["b.example"]);
    let ca = std::fs::read_to_string(hub.home().join("local-ca.pem")).unwrap();
    let address = hub.local(Method::GET, "/hub").build().unwrap().url().to_string();
    for shown in [Some(&identity), None] {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(mimi_hub_tests::tls_client(&ca, shown, &rustls::version::TLS13))
            .no_proxy()
            .build()
            .unwrap();
        client.get(&address).send().await.unwrap_err();
    }
}

#[tokio::test]
async fn a_stream_goes_on_from_any_cursor_in_pages() {
    let mut scene = Scene::new().await;
    for number in 0..7 {
        scene.bob.send(&scene.room, &format!("{number}")).await;
    }
    let (gateway, alice) = (scene.hub.gateway(), scene.alice_uri());
    let whole: Vec<_> = stream::all(gateway, &alice)
        .await
        .into_iter()
        .map(|event| event.fanout_message)
        .collect();
    assert_eq!(whole.len(), 2 + 7);
    for limit in [1, 2, 3, 9, 100] {
        let (mut cursor, mut cursors, mut read): (Option<String>, Vec<_>, Vec<Vec<u8>>) =
            (None, Vec::new(), Vec::new());
        loop {
            let page = gateway
                .events(&alice, cursor.as_deref(), Duration::ZERO, limit)
                .await
                .unwrap();
            assert!(
                page.events.len() <= usize::from(limit) + 1,
                "{} of {limit}",
                page.events.len()
            );
            read.extend(page.events.into_iter().map(|event| event.fanout_message));
            cursors.push((page.cursor.clone(), read.len()));
            cursor = Some(page.cursor);
            if !page.more {
                break;
            }
        }
        assert_eq!(read, whole, "limit {limit}");
        // Any of the cursors again: the same comes after it.
        for (cursor, from) in cursors {
            let page = gateway
                .events(&alice, Some(&cursor), Duration::ZERO, 1000)
                .await
                .unwrap();
            let rest: Vec<_> = page.events.into_iter().map(|event| event.fanout_message).collect();
            assert_eq!(rest, whole[from..]);
        }
    }
}

#[tokio::test]
async fn a_stream_waits_as_long_as_it_is_asked_to() {
    let mut scene = Scene::new().await;
    let alice = scene.alice_uri();
    let end = scene
        .hub
        .gateway()
        .events(&alice, None, Duration::ZERO, 1000)
        .await
        .unwrap()
        .cursor;
    let started = Instant::now();
    let page = scene
        .hub
        .gateway()
        .events(&alice, Some(&end), Duration::from_millis(400), 10)
        .await
        .unwrap();
    assert!(page.events.is_empty() && !page.more);
    assert!(started.elapsed() >= Duration::from_millis(390));

    let gateway = scene.hub.gateway().clone();
    let waiting = tokio::spawn(async move { gateway.events(&alice, Some(&end), Duration::from_secs(20), 10).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    scene.bob.send(&scene.room, "at last").await;
    let page = waiting.await.unwrap().unwrap();
    assert_eq!(page.events.len(), 1);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_room_that_was_left_can_be_taken_out_of_the_stream() {
    let mut scene = Scene::new().await;
    let nobody = format!("{}/events", users("mimi://a.example/u/nobody"));
    with_json(&scene.hub, Method::POST, &nobody, "{}")
        .await
        .expect_problem(404, "no-such-user");
    let events = scene
        .hub
        .gateway()
        .events(&scene.alice_uri(), None, Duration::ZERO, 10)
        .await
        .unwrap();
    assert!(!events.events.is_empty());
    scene.alice.leave(&scene.room).await.unwrap();
    scene.follow().await;
    let body = scene
        .bob
        .state
        .commit(&scene.room, &mimi_hub_ops::client::RoomChange::Pending)
        .unwrap();
    scene.bob.update(&scene.room, &body).await;
    let room = scene.room.clone();
    scene
        .alice
        .sync_until("the removal", Duration::from_secs(20), move |state| {
            state.is_removed(&room)
        })
        .await
        .unwrap();
    // What comes after it is not for Alice.
    scene.bob.send(&scene.room, "she is gone").await;
    let texts = scene.messages().await;
    assert!(texts.is_empty(), "{} messages", texts.len());
    scene
        .hub
        .gateway()
        .forget_room(&scene.alice_uri(), &scene.room)
        .await
        .unwrap();
    let events = scene
        .hub
        .gateway()
        .events(&scene.alice_uri(), None, Duration::ZERO, 10)
        .await
        .unwrap();
    assert!(events.events.is_empty());
}

#[tokio::test]
async fn a_room_is_looked_at_where_it_is_hosted() {
    let scene = Scene::new().await;
    let view = |uri: &str| format!("/rooms/{}", path_segment(uri));
    let nowhere = bare(&scene.hub, Method::GET, &view("mimi://a.example/r/nowhere")).await;
    nowhere.expect_problem(404, "no-such-room");
    let elsewhere = bare(&scene.hub, Method::GET, &view("mimi://b.example/r/x")).await;
    elsewhere.expect_problem(404, "not-hosted-here");
    let wrong = bare(&scene.hub, Method::GET, &view(ALICE)).await;
    wrong.expect_problem(400, "malformed-path");
    let seen = bare(&scene.hub, Method::GET, &view(scene.room.as_str())).await.json();
    assert_eq!(seen["epoch"], 2);
    assert_eq!(seen["pendingProposals"], 0);
    let names: Vec<&Value> = seen["participants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["user"])
        .collect();
    assert_eq!(names, [ALICE, "mimi://b.example/u/bob", "mimi://c.example/u/carol"]);
    assert_eq!(seen["clients"].as_array().unwrap().len(), 3);
}

/// draft-ietf-mimi-protocol, 3.1 and 7: what the group of a new room must be.
#[tokio::test]
async fn groups_that_are_no_rooms_are_refused() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let here = room("a.example", "new");
    let (alice, mallory) = (user("a.example", "alice"), user("a.example", "mallory"));
    hub.client("alice", "A1", 0).await;
    let sender = hub.gateway().hub().await.unwrap().external_sender;
    let initial = InitialState::new(&here, alice.clone(), "New").unwrap();
    let strangers = InitialState::new(&here, mallory.clone(), "New").unwrap();
    let group_uri = here.group_uri();
    let group = |id: &str, sender: Option<&[u8]>, initial: &InitialState| {
        Forger::new(alice.clone(), client("a.example", "A1")).group(id, sender, initial)
    };
    let create = |as_user: &str, about: &str, (group_info, tree): (Vec<u8>, Vec<u8>)| {
        let body = json!({
            "room": about,
            "groupInfo": BASE64_STANDARD.encode(group_info),
            "ratchetTree": BASE64_STANDARD.encode(tree),
        });
        let request = hub
            .local(Method::POST, "/rooms")
            .header("Content-Type", "application/json")
            .header("Mimi-User", as_user)
            .body(body.to_string());
        hub.call(request)
    };
    let good = group(group_uri.as_str(), Some(&sender), &initial);
    let mut other_tree = group(group_uri.as_str(), Some(&sender), &initial);
    other_tree.0.clone_from(&good.0);
    let mut forged = good.clone();
    let last = forged.0.len() - 1;
    forged.0[last] ^= 1;
    for (what, as_user, bad) in [
        (
            "another room's id",
            &alice,
            group("mimi://a.example/g/other", Some(&sender), &initial),
        ),
        (
            "the hub not among the external senders",
            &alice,
            group(group_uri.as_str(), None, &initial),
        ),
        (
            "the creator not on the list",
            &alice,
            group(group_uri.as_str(), Some(&sender), &strangers),
        ),
        ("the creator not in the group", &mallory, good.clone()),
        ("another group's tree", &alice, other_tree),
        ("a signature that does not verify", &alice, forged),
    ] {
        let answer = create(as_user.as_str(), here.as_str(), bad).await;
        assert_eq!(answer.status, 422, "{what}: {}", String::from_utf8_lossy(&answer.body));
        answer.expect_problem(422, "bad-room");
    }
    let garbage = create(ALICE, here.as_str(), (vec![1, 2, 3], vec![4])).await;
    garbage.expect_problem(400, "malformed-body");
    let elsewhere = create(ALICE, "mimi://b.example/r/new", good.clone()).await;
    elsewhere.expect_problem(404, "not-hosted-here");
    assert!(hub.gateway().room(&here).await.unwrap().is_none());

    let first = create(ALICE, here.as_str(), good.clone()).await;
    assert_eq!(first.status, 201);
    assert!(
        first.json()["acceptedTimestamp"]
            .as_u64()
            .is_some_and(|time| time > 1_600_000_000_000)
    );
    // The same once more is a retry; another group for the same room is a conflict.
    assert_eq!(create(ALICE, here.as_str(), good).await.body, first.body);
    let another = group(group_uri.as_str(), Some(&sender), &initial);
    create(ALICE, here.as_str(), another)
        .await
        .expect_problem(409, "room-exists");
}
