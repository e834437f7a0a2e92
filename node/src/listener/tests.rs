use std::{future::pending, io, time::Duration};

use axum::{
    extract::{Extension, Request, State},
    middleware,
    routing::{get, post},
};
use bytes::Bytes;
use http::{StatusCode, Version};
use mimi_hub_proto::uri::ProviderDomain;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{
    testing::{PATIENCE, Server, exchange, read_to_close, roomy},
    *,
};
use crate::{
    front::{
        body::{self, BodyLimits},
        identity::{self, Source, Target},
        problem::Problem,
    },
    tls::{
        PeerCertificate,
        testing::{Ca, Issued, TlsFolder, tls},
    },
};

/// Short enough to wait for, long enough for a handshake on a busy machine.
const SHORT: Duration = Duration::from_millis(400);

struct World {
    ca: Ca,
    server: Server,
}

impl World {
    async fn new(router: Router, limits: ConnectionLimits) -> Self {
        let ca = Ca::new("federation");
        let server = Server::start(tls(&ca.issue(&["a.example"]), &ca), router, limits).await;
        Self { ca, server }
    }

    /// An HTTP/2 client that shows this certificate, at `https://a.example`.
    fn client(&self, identity: &Issued) -> reqwest::Client {
        reqwest::Client::builder()
            .tls_backend_preconfigured((*tls(identity, &self.ca).current().client).clone())
            .no_proxy()
            .resolve("a.example", self.server.address)
            .timeout(PATIENCE)
            .build()
            .unwrap()
    }

    fn client_of_b(&self) -> reqwest::Client {
        self.client(&self.ca.issue(&["b.example"]))
    }

    async fn http1_of_b(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        self.server
            .connect_http1(&tls(&self.ca.issue(&["b.example"]), &self.ca), "a.example")
            .await
    }

    /// Connects without HTTP: only whether the connection gets through the handshake, and stays.
    async fn try_connect(&self) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let tls = tls(&self.ca.issue(&["b.example"]), &self.ca);
        self.server.connect(tls.current().client.clone(), "a.example").await
    }
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
const GET_AND_CLOSE: &str = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_request_carries_certificate_and_address_in_http_2_and_1_1() {
    let who = get(
        |version: Version, Extension(shown): Extension<PeerCertificate>, Extension(peer): Extension<PeerAddress>| async move {
            let covers = shown.covers(&"b.example".parse::<ProviderDomain>().unwrap());
            format!("{version:?} {} {covers}", peer.0.ip())
        },
    );
    let world = World::new(Router::new().route("/", who), roomy()).await;
    let answer = world.client_of_b().get("https://a.example").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "HTTP/2.0 127.0.0.1 true");
    let answer = exchange(&mut world.http1_of_b().await, GET_AND_CLOSE).await;
    assert!(answer.ends_with("HTTP/1.1 127.0.0.1 true"), "{answer}");
}

#[tokio::test]
async fn nothing_is_served_without_tls() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let router = Router::new().fallback(move || async move { seen.send(()).unwrap() });
    let world = World::new(router, roomy()).await;
    let mut anonymous = TcpStream::connect(world.server.address).await.unwrap();
    anonymous.write_all(GET.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, anonymous.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"));
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn certificates_of_another_ca_or_time_do_not_reach_the_router() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let router = Router::new().fallback(move || async move { seen.send(()).unwrap() });
    let world = World::new(router, roomy()).await;
    for identity in [
        Ca::new("foreign").issue(&["b.example"]),
        world.ca.issue_expired(&["b.example"]),
    ] {
        world
            .client(&identity)
            .get("https://a.example")
            .send()
            .await
            .unwrap_err();
    }
    assert!(requests.try_recv().is_err());
}

/// draft-ietf-mimi-protocol, section 4.1: the certificate authenticates the provider in `From`.
#[tokio::test]
async fn from_is_checked_against_the_certificate() {
    let served: Arc<[ProviderDomain]> = ["a.example".parse().unwrap()].into();
    let who = get(
        |Extension(Source(from)): Extension<Source>, Extension(Target(to)): Extension<Target>| async move {
            format!("{from} to {to}")
        },
    );
    let router = Router::new()
        .route("/", who)
        .layer(middleware::from_fn_with_state(served, identity::authenticate));
    let world = World::new(router, roomy()).await;
    let client = world.client(&world.ca.issue(&["b.example", "*.c.example"]));
    for (from, status, text) in [
        ("mimi@b.example", StatusCode::OK, "b.example to a.example"),
        ("mimi@chat.c.example", StatusCode::OK, "chat.c.example to a.example"),
        ("mimi@d.example", StatusCode::FORBIDDEN, "source-not-authenticated"),
        ("d.example", StatusCode::BAD_REQUEST, "from-invalid"),
    ] {
        let answer = client
            .get("https://a.example")
            .header("From", from)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{from}");
        let body = answer.text().await.unwrap();
        assert!(body.contains(text), "{from}: {body}");
    }
}

async fn take_body(State(limits): State<BodyLimits>, request: Request) -> Result<Bytes, Problem> {
    body::read(request, "application/mimi", &limits).await
}

fn echo(limits: BodyLimits) -> Router {
    Router::new().route("/", post(take_body)).with_state(limits)
}

#[tokio::test]
async fn a_body_that_never_ends_is_answered_408() {
    let world = World::new(
        echo(BodyLimits {
            bytes_max: 100,
            timeout: SHORT,
        }),
        roomy(),
    )
    .await;
    let head = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/mimi\r\nContent-Length: 10\r\n\r\n123";
    let answer = exchange(&mut world.http1_of_b().await, head).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("urn:mimi-hub:problem:body-timeout"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_answered_413() {
    let world = World::new(
        echo(BodyLimits {
            bytes_max: 100,
            timeout: PATIENCE,
        }),
        roomy(),
    )
    .await;
    let client = world.client_of_b();
    for (bytes, status) in [(100, StatusCode::OK), (101, StatusCode::PAYLOAD_TOO_LARGE)] {
        let request = client
            .post("https://a.example")
            .header("Content-Type", "application/mimi")
            .body(vec![0; bytes]);
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends_the_connection() {
    let world = World::new(
        hello(),
        ConnectionLimits {
            handshake_timeout: SHORT,
            ..roomy()
        },
    )
    .await;
    let mut silent = TcpStream::connect(world.server.address).await.unwrap();
    let read = timeout(PATIENCE, silent.read(&mut [0])).await.expect("closed in time");
    assert_eq!(read.unwrap(), 0);
}

#[tokio::test]
async fn a_header_that_does_not_end_ends_the_connection() {
    let world = World::new(
        hello(),
        ConnectionLimits {
            header_timeout: SHORT,
            ..roomy()
        },
    )
    .await;
    let mut http1 = world.http1_of_b().await;
    assert!(
        !exchange(&mut http1, "GET / HTTP/1.1\r\nHost: a.exa")
            .await
            .contains("200")
    );

    // The same on a connection that has served a request.
    let mut http1 = world.http1_of_b().await;
    let answer = exchange(&mut http1, &format!("{GET}GET / HTTP/1.1\r\nHo")).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
}

#[tokio::test]
async fn a_connection_without_a_request_ends() {
    let world = World::new(
        hello(),
        ConnectionLimits {
            header_timeout: SHORT,
            ..roomy()
        },
    )
    .await;
    assert_eq!(read_to_close(&mut world.http1_of_b().await).await, "");
    // ALPN has settled on HTTP/2 here, and neither the preface nor a stream comes.
    read_to_close(&mut world.try_connect().await.unwrap()).await;
}

#[tokio::test]
async fn a_slow_answer_is_not_taken_for_a_missing_request() {
    let slow = get(|| async {
        sleep(2 * SHORT).await;
        "late"
    });
    let world = World::new(
        Router::new().route("/", slow),
        ConnectionLimits {
            header_timeout: SHORT,
            ..roomy()
        },
    )
    .await;
    let answer = world.client_of_b().get("https://a.example").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "late");
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once() {
    let world = World::new(
        hello(),
        ConnectionLimits {
            connections_max: 2,
            ..roomy()
        },
    )
    .await;
    let first = world.try_connect().await.unwrap();
    let _second = world.try_connect().await.unwrap();
    assert!(world.try_connect().await.is_err());
    drop(first);
    let freed = async {
        while world.try_connect().await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, freed).await.expect("a closed connection makes room");
}

#[tokio::test]
async fn a_stopping_listener_answers_open_requests_and_takes_no_new_ones() {
    let (began, mut begun) = mpsc::unbounded_channel();
    let slow = get(move || async move {
        began.send(()).unwrap();
        sleep(SHORT).await;
        "answered"
    });
    let world = World::new(Router::new().route("/", slow), roomy()).await;
    let client = world.client_of_b();
    let open = tokio::spawn(client.get("https://a.example").send());
    begun.recv().await.unwrap();
    let address = world.server.address;
    let stopping = world.server.stop();
    assert_eq!(open.await.unwrap().unwrap().text().await.unwrap(), "answered");
    timeout(PATIENCE, stopping)
        .await
        .expect("the idle connection does not hold it up")
        .unwrap();
    TcpStream::connect(address).await.unwrap_err();
}

#[tokio::test]
async fn a_stopping_listener_does_not_wait_for_ever() {
    let (began, mut begun) = mpsc::unbounded_channel();
    let hanging = get(move || async move {
        began.send(()).unwrap();
        pending::<()>().await;
    });
    let world = World::new(
        Router::new().route("/", hanging),
        ConnectionLimits {
            drain: SHORT,
            ..roomy()
        },
    )
    .await;
    let open = tokio::spawn(world.client_of_b().get("https://a.example").send());
    begun.recv().await.unwrap();
    timeout(PATIENCE, world.server.stop())
        .await
        .expect("the drain time ends it")
        .unwrap();
    open.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn exchanged_certificates_close_connections_after_their_open_requests() {
    let ca = Ca::new("federation");
    let folder = TlsFolder::new(&ca.issue(&["a.example"]), &ca);
    let material = folder.load();
    let (began, mut begun) = mpsc::unbounded_channel();
    let slow = get(move || async move {
        began.send(()).unwrap();
        sleep(SHORT).await;
        "answered"
    });
    let server = Server::start(material.clone(), Router::new().route("/", slow), roomy()).await;
    let b = tls(&ca.issue(&["b.example"]), &ca);
    let mut open = server.connect_http1(&b, "a.example").await;
    open.write_all(GET.as_bytes()).await.unwrap();
    begun.recv().await.unwrap();

    folder.write(&ca.issue(&["a.example"]), &Ca::new("other roots"));
    material.reload().unwrap();
    let answer = read_to_close(&mut open).await;
    assert!(answer.ends_with("answered"), "{answer}");
    let mut config = (*b.current().client).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut refused = server.connect(Arc::new(config), "a.example").await.unwrap();
    let answer = exchange(&mut refused, GET).await;
    assert_eq!(answer, "", "nothing is served under the former roots");
}

async fn panic_on_purpose() -> StatusCode {
    panic!("on purpose")
}

#[tokio::test]
async fn a_panicking_handler_takes_no_other_connection_along() {
    let router = hello().route("/panic", get(panic_on_purpose));
    let world = World::new(router, roomy()).await;
    let mut http1 = world.http1_of_b().await;
    assert!(
        !exchange(&mut http1, "GET /panic HTTP/1.1\r\nHost: a.example\r\n\r\n")
            .await
            .contains("200")
    );
    let answer = world.client_of_b().get("https://a.example").send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "hello");
}
