//! Downloading assets by Oblivious HTTP (draft-ietf-mimi-protocol, section 5.10.3; RFC 9458): the hub as gateway, providers as
//! relays.

use mimi_hub_proto::{OHTTP_KEY_PROBLEM, OHTTP_KEYS, OHTTP_REQ, WELL_KNOWN_OHTTP_GATEWAY};
use mimi_hub_tests::assets::{AssetServer, CAT};
use mimi_hub_tests::ohttp::{TargetAnswer, binary, encapsulate, message, open};
use mimi_hub_tests::{Answer, Hub, Nodes, Peer};
use reqwest::Method;

const HOST: &str = "assets.c.example";

/// What a relay gets for this body.
async fn post(peer: &Peer, hub: &Hub, content_type: &str, body: Vec<u8>) -> Answer {
    let request = peer.request(Method::POST, WELL_KNOWN_OHTTP_GATEWAY);
    hub.call(request.header("content-type", content_type).body(body)).await
}

async fn keys(peer: &Peer, hub: &Hub) -> Vec<u8> {
    let answer = hub.call(peer.request(Method::GET, WELL_KNOWN_OHTTP_GATEWAY)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], OHTTP_KEYS);
    answer.body
}

/// What a client gets at the gateway of `hub` for these octets.
async fn ask(peer: &Peer, hub: &Hub, octets: &[u8]) -> TargetAnswer {
    let (encapsulated, response) = encapsulate(&keys(peer, hub).await, octets);
    open(&post(peer, hub, OHTTP_REQ, encapsulated).await, response)
}

async fn get(peer: &Peer, hub: &Hub, path: &str) -> TargetAnswer {
    ask(peer, hub, &binary(&message("GET", "https", HOST, path))).await
}

/// What a client of `own` gets by way of its provider.
async fn by_relay(own: &Hub, hub: &str, path: &str) -> TargetAnswer {
    let keys = own.call(own.local(Method::GET, &format!("/ohttpKeys/{hub}"))).await;
    assert_eq!(keys.status, 200);
    assert_eq!(keys.headers["content-type"], OHTTP_KEYS);
    let (encapsulated, response) = encapsulate(&keys.body, &binary(&message("GET", "https", HOST, path)));
    open(&relay(own, hub, encapsulated).await, response)
}

async fn relay(own: &Hub, hub: &str, encapsulated: Vec<u8>) -> Answer {
    let request = own.local(Method::POST, &format!("/ohttp/{hub}"));
    own.call(request.header("content-type", OHTTP_REQ).body(encapsulated))
        .await
}

fn is_cat(answer: &TargetAnswer) {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.content));
    assert_eq!(answer.field("content-type"), Some("image/x-cat"));
    assert!(answer.content == CAT);
}

/// RFC 9458, section 5.3: the type is registered.
fn is_key_problem(answer: &Answer) {
    assert_eq!(answer.status, 400);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.json_of_any()["type"], OHTTP_KEY_PROBLEM);
}

#[tokio::test]
async fn protocol_5_10_3_an_asset_comes_by_any_relay_and_its_server_is_told_of_nobody() {
    let world = crate::world();
    let assets = AssetServer::start(HOST, world.path()).await;
    let hub = world.hub_with("a.example", &assets.settings("c.example")).await;
    let follower = world.hub("b.example").await;
    let peer = world.peer("d.example", "a.example");
    is_cat(&get(&peer, &hub, "/cat").await);
    is_cat(&by_relay(&follower, "a.example", "/cat").await);
    is_cat(&by_relay(&hub, "a.example", "/cat").await);
    assert_eq!(assets.asked(), 1, "the hub has kept it");

    let head = ask(&peer, &hub, &binary(&message("HEAD", "https", HOST, "/cat"))).await;
    assert_eq!((head.status, head.content.len()), (200, 0));
    assert_eq!(head.field("content-length"), Some("300000"));

    // Header fields go no further: the asset server answers 400 if one comes through.
    let mut telling = message("GET", "https", HOST, "/tell-tale");
    telling.put_header("cookie", "who=alice");
    telling.put_header("user-agent", "alice's");
    telling.put_header("range", "bytes=0-1");
    telling.put_header("forwarded", "for=192.0.2.1");
    is_cat(&ask(&peer, &hub, &binary(&telling)).await);
}

/// RFC 9458, section 5.2: what is wrong before a request is open is told to everybody on the way.
#[tokio::test]
async fn rfc_9458_5_2_what_is_no_encapsulated_request_is_a_problem_in_the_open() {
    let world = crate::world();
    let assets = AssetServer::start(HOST, world.path()).await;
    let hub = world.hub_with("a.example", &assets.settings("c.example")).await;
    let follower = world.hub("b.example").await;
    let peer = world.peer("b.example", "a.example");
    let cat = binary(&message("GET", "https", HOST, "/cat"));
    let good = encapsulate(&keys(&peer, &hub).await, &cat).0;

    for wrong in ["application/octet-stream", "message/bhttp", "message/ohttp-res"] {
        post(&peer, &hub, wrong, good.clone())
            .await
            .expect_problem(415, "content-type");
    }
    post(&peer, &hub, OHTTP_REQ, vec![1; 16 * 1024 + 1])
        .await
        .expect_problem(413, "body-too-large");
    for short in [0, 1, 6, 7, 30] {
        post(&peer, &hub, OHTTP_REQ, good[..short].to_vec())
            .await
            .expect_problem(400, "malformed-body");
    }
    hub.call(peer.request(Method::PUT, WELL_KNOWN_OHTTP_GATEWAY))
        .await
        .expect_problem(405, "wrong-method");
    let anonymous = peer.anonymous(Method::GET, WELL_KNOWN_OHTTP_GATEWAY);
    hub.call(anonymous).await.expect_problem(400, "from-missing");

    // Another identifier, KEM, suite; and what does not decrypt: a key that was replaced looks like that.
    for (at, to) in [(0, 77), (2, 0x10), (4, 2), (6, 2), (good.len() - 1, 0xee)] {
        let mut other = good.clone();
        other[at] = if other[at] == to { to + 1 } else { to };
        is_key_problem(&post(&peer, &hub, OHTTP_REQ, other.clone()).await);
        is_key_problem(&relay(&follower, "a.example", other.clone()).await);
        is_key_problem(&relay(&hub, "a.example", other).await);
    }
    relay(&follower, "a.example", good[..6].to_vec())
        .await
        .expect_problem(502, "peer-refused");
    assert_eq!(assets.asked(), 0);

    // A provider without assets has no gateway, and says so to its own clients.
    for call in [
        follower.local(Method::GET, "/ohttpKeys/b.example"),
        hub.local(Method::GET, "/ohttpKeys/b.example"),
    ] {
        hub.call(call).await.expect_problem(502, "not-offered");
    }
    relay(&follower, "b.example", good.clone())
        .await
        .expect_problem(502, "not-offered");
    relay(&hub, "b.example", good).await.expect_problem(502, "bad-gateway");
}

/// RFC 9458, section 5.2: what is wrong with an open request is told to the client alone. draft-ietf-mimi-protocol, 5.10.3:
/// "The hub MUST only accept OHTTP requests to Targets which are configured".
#[tokio::test]
async fn protocol_5_10_3_only_assets_of_peers_are_fetched_and_only_fetched() {
    let world = crate::world();
    let assets = AssetServer::start(HOST, world.path()).await;
    let hub = world.hub_with("a.example", &assets.settings("c.example")).await;
    let peer = world.peer("b.example", "a.example");
    for (scheme, authority, path, status, slug) in [
        ("http", HOST, "/cat", 403, "asset-not-allowed"),
        ("https", "www.c.example", "/cat", 403, "asset-not-allowed"),
        ("https", "a.example", "/v1/keyMaterial/x", 403, "asset-not-allowed"),
        ("https", "localhost", "/cat", 403, "asset-not-allowed"),
        ("https", "assets.c.example:22", "/cat", 403, "asset-not-allowed"),
        ("https", "127.0.0.1", "/cat", 400, "asset-url"),
        ("https", "2130706433", "/cat", 400, "asset-url"),
        ("https", "[::1]", "/cat", 400, "asset-url"),
        ("https", "[::ffff:127.0.0.1]", "/cat", 400, "asset-url"),
        ("https", "169.254.169.254", "/latest", 400, "asset-url"),
        ("https", "a@assets.c.example", "/cat", 400, "asset-url"),
        ("https", "assets.c.example", "/a b", 400, "asset-url"),
        ("https", "assets.c.example", ".d.example/", 400, "malformed-body"),
        ("https", "assets.c.example", "@127.0.0.1/", 400, "malformed-body"),
        ("https", "127.0.0.1/?", "/assets.c.example", 400, "malformed-body"),
        ("https", "", "/cat", 400, "malformed-body"),
        ("https", HOST, "/moved", 502, "asset-unavailable"),
        ("https", HOST, "/dog", 404, "asset-not-found"),
    ] {
        let request = binary(&message("GET", scheme, authority, path));
        ask(&peer, &hub, &request).await.expect_problem(status, slug);
    }
    assert_eq!(assets.asked(), 2, "of moved and dog only");
    for method in ["POST", "PUT", "DELETE", "PATCH", "CONNECT", "OPTIONS", "TRACE"] {
        let answer = ask(&peer, &hub, &binary(&message(method, "https", HOST, "/cat"))).await;
        answer.expect_problem(405, "wrong-method");
        assert_eq!(answer.field("allow"), Some("GET, HEAD"));
    }
    let mut with_content = message("GET", "https", HOST, "/cat");
    with_content.write_content("content");
    for request in [
        &binary(&with_content)[..],
        b"",
        b"\x07",
        b"\x01\x40\xc8",
        b"\x00\x03GET\x3f",
    ] {
        ask(&peer, &hub, request).await.expect_problem(400, "malformed-body");
    }
    assert_eq!(assets.asked(), 2);
}

#[tokio::test]
async fn protocol_5_10_3_a_name_with_a_private_address_is_not_connected_to() {
    let world = crate::world();
    let assets = AssetServer::start(HOST, world.path()).await;
    let settings = assets
        .settings("c.example")
        .replace("allow_private = ['127.0.0.1/32']", "allow_private = ['127.0.0.2/32']");
    let hub = world.hub_with("a.example", &settings).await;
    let peer = world.peer("b.example", "a.example");
    get(&peer, &hub, "/cat").await.expect_problem(502, "asset-address");
    assert_eq!(assets.asked(), 0);
}

#[tokio::test]
async fn an_asset_that_is_too_large_too_slow_or_breaks_off_is_none() {
    let world = crate::world();
    let assets = AssetServer::start(HOST, world.path()).await;
    let settings = assets.settings("c.example").replace(
        "size_max_bytes = 1000000",
        "size_max_bytes = 1000000
            ohttp_size_max_bytes = 300000
            timeout_ms = 1500",
    );
    let hub = world.hub_with("a.example", &settings).await;
    let follower = world.hub("b.example").await;
    let peer = world.peer("b.example", "a.example");
    is_cat(&get(&peer, &hub, "/cat").await);
    for (path, status, slug) in [
        ("/cat-and-a-half", 502, "asset-too-large"),
        ("/endless", 502, "asset-too-large"),
        ("/slow", 504, "asset-timeout"),
        ("/cut", 502, "asset-incomplete"),
    ] {
        get(&peer, &hub, path).await.expect_problem(status, slug);
        by_relay(&follower, "a.example", path)
            .await
            .expect_problem(status, slug);
    }
    is_cat(&get(&peer, &hub, "/cat").await);
}

/// Octets without a meaning, in place of an encapsulated request and inside of one.
#[tokio::test]
async fn any_octets_are_answered_with_a_refusal_and_the_hub_serves_on() {
    let world = crate::world();
    let assets = AssetServer::start(HOST, world.path()).await;
    let hub = world.hub_with("a.example", &assets.settings("c.example")).await;
    let peer = world.peer("b.example", "a.example");
    let keys = keys(&peer, &hub).await;
    let cat = binary(&message("GET", "https", HOST, "/cat"));
    let good = encapsulate(&keys, &cat).0;
    let mut random: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % 0xffff_ffff).unwrap()
    };
    for round in 0..150 {
        let octets: Vec<u8> = (0..next() % 200).map(|_| next().to_le_bytes()[0]).collect();
        let kept = next() % good.len();
        let outer = match round % 2 {
            0 => octets.clone(),
            _ => [&good[..kept], &octets].concat(),
        };
        let answer = post(&peer, &hub, OHTTP_REQ, outer).await;
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(&answer.body));
        let kept = next() % cat.len();
        let inner = match round % 2 {
            0 => octets,
            _ => [&cat[..kept], &octets].concat(),
        };
        let (encapsulated, response) = encapsulate(&keys, &inner);
        let answer = open(&post(&peer, &hub, OHTTP_REQ, encapsulated).await, response);
        assert!((400..500).contains(&answer.status), "{}", answer.status);
    }
    is_cat(&get(&peer, &hub, "/cat").await);
}

/// One provider takes no more than its share, of either way.
#[tokio::test]
async fn a_peer_that_has_its_places_is_told_so_and_others_have_theirs() {
    let world = crate::world();
    let assets = AssetServer::start(HOST, world.path()).await;
    let settings = assets.settings("c.example").replace(
        "size_max_bytes = 1000000",
        "size_max_bytes = 1000000
            in_flight_max_per_peer = 1
            timeout_ms = 20000",
    );
    let hub = world.hub_with("a.example", &settings).await;
    let (b, d) = (
        world.peer("b.example", "a.example"),
        world.peer("d.example", "a.example"),
    );
    let slow = mimi_hub_proto::uri::path_segment(&format!("https://{HOST}/slow"));
    let under_way = b.request(Method::GET, &format!("/v1/proxyDownload/{slow}"));
    let under_way = under_way.send().await.unwrap();
    assert_eq!(under_way.status(), 200);
    let cat = mimi_hub_proto::uri::path_segment(&format!("https://{HOST}/cat"));
    let again = hub
        .call(b.request(Method::GET, &format!("/v1/proxyDownload/{cat}")))
        .await;
    again.expect_problem(429, "asset-peer-busy");
    assert!(again.headers.contains_key("retry-after"));
    get(&b, &hub, "/cat").await.expect_problem(429, "asset-peer-busy");
    is_cat(&get(&d, &hub, "/cat").await);
    drop(under_way);
}

#[tokio::test]
async fn every_node_opens_what_is_for_the_key_of_any_node_and_follows_a_rotation() {
    let world = crate::world();
    let assets = AssetServer::start(HOST, world.path()).await;
    let nodes = Nodes::start(&world, "a.example", 3, &assets.settings("c.example")).await;
    let key_at = async |node: usize| {
        let hub = &nodes.hubs[node - 1];
        hub.call(hub.local(Method::GET, "/ohttpKeys/a.example")).await.body
    };
    let first = key_at(1).await;
    let cat = binary(&message("GET", "https", HOST, "/cat"));
    for node in 1..=3 {
        assert_eq!(key_at(node).await, first, "node {node}");
        let (encapsulated, response) = encapsulate(&first, &cat);
        let answer = relay(&nodes.hubs[node - 1], "a.example", encapsulated).await;
        is_cat(&open(&answer, response));
    }
    let second = &nodes.hubs[1];
    let rotated = second.call(second.local(Method::POST, "/hub/ohttpKey")).await;
    assert_eq!(rotated.json(), serde_json::json!({ "newest": 2, "kept": 2 }));
    let new = key_at(2).await;
    assert_ne!(new, first);
    for node in 1..=3 {
        for _ in 0..200 {
            if key_at(node).await == new {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(key_at(node).await, new, "node {node}");
        for keys in [&first, &new] {
            let (encapsulated, response) = encapsulate(keys, &cat);
            let answer = relay(&nodes.hubs[node - 1], "a.example", encapsulated).await;
            is_cat(&open(&answer, response));
        }
    }
}
