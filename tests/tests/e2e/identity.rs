//! draft-ietf-mimi-protocol, section 4.1, and the edge of HTTP: who is talking, to whom, how much and for how long.

use std::sync::Arc;
use std::time::Duration;

use mimi_hub_ops::certs::{Authority, Validity};
use mimi_hub_tests::{Hub, Peer, World, tls_client};
use reqwest::Method;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const DIRECTORY: &str = "/.well-known/mimi-protocol-directory";

async fn get(peer: &Peer) -> Result<u16, reqwest::Error> {
    Ok(peer.request(Method::GET, DIRECTORY).send().await?.status().as_u16())
}

async fn serves(world: &World) {
    assert_eq!(get(&world.peer("b.example", "a.example")).await.unwrap(), 200);
}

#[tokio::test]
async fn certificates_of_strangers_and_of_the_past_do_not_get_past_the_handshake() {
    let world = crate::world();
    let _hub = world.hub("a.example").await;
    let foreign = Authority::new("somebody else", Validity::days(1)).unwrap();
    let foreign = foreign.issue(&["b.example"], &[], Validity::days(1)).unwrap().into();
    let expired = world.expired_identity(&["b.example"]);
    for shown in [Some(&foreign), Some(&expired), None] {
        get(&world.peer_showing("b.example", "a.example", shown))
            .await
            .unwrap_err();
    }
    serves(&world).await;
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let identity = world.identity(&["b.example"]);
    for (version, is_served) in [(&rustls::version::TLS12, false), (&rustls::version::TLS13, true)] {
        let tls = tls_client(&world.federation_ca(), Some(&identity), version);
        let stream = TcpStream::connect(hub.federation()).await.unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        let connected = TlsConnector::from(Arc::new(tls)).connect(name, stream).await;
        assert_eq!(connected.is_ok(), is_served);
    }
}

#[tokio::test]
async fn from_must_name_the_provider_of_the_certificate() {
    let world = crate::world();
    let _hub = world.hub("a.example").await;
    let peer = world.peer("b.example", "a.example");
    let send = |from: Option<&str>| {
        let request = peer.anonymous(Method::GET, DIRECTORY);
        match from {
            Some(from) => request.header("From", from),
            None => request,
        }
    };
    for (from, status, slug) in [
        (None, 400, "from-missing"),
        (Some(""), 400, "from-invalid"),
        (Some("b.example"), 400, "from-invalid"),
        (Some("mimi@"), 400, "from-invalid"),
        (Some("hub@b.example"), 400, "from-invalid"),
        (Some("mimi@b.example, mimi@c.example"), 400, "from-invalid"),
        (Some("Hub <mimi@b.example>"), 400, "from-invalid"),
        (Some("mimi@c.example"), 403, "source-not-authenticated"),
        (Some("mimi@a.example"), 403, "source-not-authenticated"),
        (Some("mimi@sub.b.example"), 403, "source-not-authenticated"),
    ] {
        let response = send(from).send().await.unwrap();
        let (answered, body) = (response.status().as_u16(), response.text().await.unwrap());
        assert_eq!(answered, status, "{from:?} {body}");
        assert!(
            body.contains(&format!("urn:mimi-hub:problem:{slug}")),
            "{from:?} {body}"
        );
    }
    let twice = send(Some("mimi@b.example")).header("From", "mimi@c.example");
    assert_eq!(twice.send().await.unwrap().status(), 400);
    serves(&world).await;
}

fn head(method: &str, path: &str, host: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nFrom: mimi@b.example\r\nConnection: close\r\n{more}\r\n")
}

#[tokio::test]
async fn host_must_be_a_domain_of_this_provider() {
    let world = crate::world();
    let _hub = world.hub("a.example").await;
    let peer = world.peer("b.example", "a.example");
    for (host, status) in [
        ("a.example", 200),
        ("A.EXAMPLE", 200),
        ("a.example:8443", 200),
        ("b.example", 421),
        ("localhost", 421),
        ("127.0.0.1", 421),
        ("mimi@a.example", 400),
        ("", 400),
    ] {
        let answer = peer.exchange(&head("GET", DIRECTORY, host, "")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{host}: {answer}");
    }
}

const ENDPOINTS: [&str; 5] = ["keyMaterial", "update", "submitMessage", "groupInfo", "notify"];

/// The room's URI in a path, as the directory's templates say.
const ROOM: &str = "mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse";
const USER: &str = "mimi%3A%2F%2Fa.example%2Fu%2Falice";

fn path(endpoint: &str) -> String {
    let about = if endpoint == "keyMaterial" { USER } else { ROOM };
    format!("/v1/{endpoint}/{about}")
}

#[tokio::test]
async fn another_content_type_is_unsupported_at_every_endpoint() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let peer = world.peer("b.example", "a.example");
    for endpoint in ENDPOINTS {
        for content_type in [
            None,
            Some("application/json"),
            Some("application/mimi-x"),
            Some("text/plain"),
        ] {
            let request = peer.request(Method::POST, &path(endpoint)).body(vec![1, 2, 3]);
            let request = match content_type {
                Some(content_type) => request.header("Content-Type", content_type),
                None => request,
            };
            hub.call(request).await.expect_problem(415, "content-type");
        }
    }
}

#[tokio::test]
async fn wrong_methods_and_paths_are_problems_too() {
    let world = crate::world();
    let hub = world.hub("a.example").await;
    let peer = world.peer("b.example", "a.example");
    for endpoint in ENDPOINTS {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let answer = hub.call(peer.request(method, &path(endpoint))).await;
            answer.expect_problem(405, "wrong-method");
        }
    }
    for path in [
        "/",
        "/v1",
        "/v2/update/x",
        "/v1/unknown/x",
        "/local/v1/hub",
        "/.well-known/other",
    ] {
        let answer = hub.call(peer.request(Method::GET, path)).await;
        answer.expect_problem(404, "no-such-endpoint");
    }
}

async fn small() -> (World, Hub) {
    let world = crate::world();
    let hub = world
        .hub_with(
            "a.example",
            "limits.body_bytes_max = 2000\nlimits.body_timeout_ms = 300",
        )
        .await;
    (world, hub)
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_too_large() {
    let (world, hub) = small().await;
    let peer = world.peer("b.example", "a.example");
    for endpoint in ENDPOINTS {
        let about = if endpoint == "keyMaterial" {
            "mimi://a.example/u/alice"
        } else {
            "mimi://a.example/r/r"
        };
        let answer = peer.post(endpoint, about, &[0; 2001]).await;
        answer.expect_problem(413, "body-too-large");
        let within = peer.post(endpoint, about, &[0; 2000]).await;
        assert_ne!(within.status, 413, "{endpoint}");
    }
    // At once, when the size is announced: the body is not waited for.
    let more = "Content-Type: application/mimi\r\nContent-Length: 99999999999\r\n";
    let answer = peer.exchange(&head("POST", &path("update"), "a.example", more)).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    drop(hub);
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up() {
    let (world, hub) = small().await;
    let peer = world.peer("b.example", "a.example");
    let more = "Content-Type: application/mimi\r\nContent-Length: 100\r\n";
    let started = std::time::Instant::now();
    let answer = peer
        .exchange(&format!("{}abc", head("POST", &path("update"), "a.example", more)))
        .await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("urn:mimi-hub:problem:body-timeout"), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(5));
    serves(&world).await;
    drop(hub);
}

#[tokio::test]
async fn a_head_that_never_ends_closes_the_connection() {
    let world = crate::world();
    let _hub = world.hub_with("a.example", "limits.header_timeout_ms = 300").await;
    let mut stream = world.peer("b.example", "a.example").connect().await;
    stream
        .write_all(b"POST /v1/update/x HTTP/1.1\r\nHost: a.exa")
        .await
        .unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    // Closed or reset, with or without a word of it: but not kept.
    drop(closed.expect("the connection is closed"));
    serves(&world).await;
}

#[tokio::test]
async fn a_provider_that_asks_too_often_is_told_when_to_come_back() {
    let world = crate::world();
    let settings = "limits.requests_per_second_per_provider = 1\nlimits.requests_burst_per_provider = 5";
    let hub = world.hub_with("a.example", settings).await;
    let peer = world.peer("b.example", "a.example");
    let mut refused = 0;
    for _ in 0..20 {
        let answer = hub.call(peer.request(Method::GET, DIRECTORY)).await;
        if answer.status != 200 {
            answer.expect_problem(429, "rate-exceeded");
            assert!(answer.headers.contains_key("retry-after"));
            refused += 1;
        }
    }
    assert!((10..=15).contains(&refused), "{refused}");
    // Another provider is not slowed down by it.
    assert_eq!(get(&world.peer("c.example", "a.example")).await.unwrap(), 200);
}
