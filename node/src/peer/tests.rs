use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::UNIX_EPOCH,
};

use axum::{
    Router,
    body::Body,
    extract::{Extension, Request},
    response::{IntoResponse, Redirect, Response as Answer},
    routing::{get, post},
};
use futures::{StreamExt, future::join_all, stream};
use http::Version;
use http_body_util::BodyExt;
use tokio::time::sleep;

use super::*;
use crate::{
    config::PeerConfig,
    listener::testing::{PATIENCE, Server, roomy},
    tls::{
        PeerCertificate,
        testing::{Ca, Issued, TlsFolder, tls},
    },
};

const ROOM: &str = "mimi://b.example/r/clubhouse";
const SHORT: Duration = Duration::from_millis(300);

fn domain(name: &str) -> ProviderDomain {
    name.parse().unwrap()
}

/// Directory of `b.example` whose URLs begin with `base`.
fn directory(base: &str) -> serde_json::Value {
    serde_json::json!({
        "keyMaterial": format!("{base}/keyMaterial/{{targetUser}}"),
        "update": format!("{base}/update/{{roomId}}"),
        "notify": format!("{base}/notify/{{roomId}}"),
        "submitMessage": format!("{base}/submitMessage/{{roomId}}"),
        "groupInfo": format!("{base}/groupInfo/{{roomId}}"),
    })
}

/// What `b.example` gives for its directory, and how often it was asked.
#[derive(Default)]
struct Published {
    document: Mutex<Option<serde_json::Value>>,
    asked: AtomicUsize,
}

impl Published {
    fn new(base: &str) -> Arc<Self> {
        let published = Arc::<Self>::default();
        published.set(Some(directory(base)));
        published
    }

    /// `None`: an error is answered.
    fn set(&self, document: Option<serde_json::Value>) {
        *self.document.lock().unwrap() = document;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn route(self: &Arc<Self>) -> Router {
        let published = Arc::clone(self);
        let answer = move || async move {
            published.asked.fetch_add(1, Ordering::SeqCst);
            // Long enough for concurrent callers to meet.
            sleep(Duration::from_millis(20)).await;
            let document = published.document.lock().unwrap().clone();
            document.map(axum::Json).ok_or(StatusCode::INTERNAL_SERVER_ERROR)
        };
        Router::new().route(WELL_KNOWN, get(answer))
    }
}

const WELL_KNOWN: &str = mimi_hub_proto::WELL_KNOWN_DIRECTORY;

/// `a.example` calls `b.example`, whose server this is.
struct World {
    ca: Ca,
    server: Server,
    config: Config,
}

impl World {
    async fn new(router: Router) -> Self {
        let ca = Ca::new("federation");
        let identity = ca.issue(&["b.example"]);
        Self::with(ca, identity, router).await
    }

    async fn with(ca: Ca, identity: Issued, router: Router) -> Self {
        let server = Server::start(tls(&identity, &ca), router, roomy()).await;
        let address = server.address.to_string();
        let mut config = config();
        config.peers.insert(domain("b.example"), PeerConfig { address });
        Self { ca, server, config }
    }

    fn client_with(&self, identity: &Issued) -> PeerClient {
        PeerClient::new(&self.config, tls(identity, &self.ca)).unwrap()
    }

    fn client(&self) -> PeerClient {
        self.client_with(&self.ca.issue(&["a.example"]))
    }

    /// A client that may refresh directories at once.
    fn eager_client(&self) -> PeerClient {
        let tls = tls(&self.ca.issue(&["a.example"]), &self.ca);
        PeerClient::with_refresh_interval(&self.config, tls, Duration::ZERO).unwrap()
    }
}

/// The files that it names do not exist, and are not needed here.
fn config() -> Config {
    let text = r#"
        hub = { domains = ["a.example"] }
        federation = { listen = "127.0.0.1:0", certificate = "", private_key = "", peer_ca = "" }
        local = { listen = "127.0.0.1:0", certificate = "", private_key = "", client_ca = "" }
    "#;
    toml::from_str(text).unwrap()
}

async fn notify(client: &PeerClient) -> Result<PeerAnswer, PeerError> {
    notify_within(client, PATIENCE).await
}

async fn notify_within(client: &PeerClient, time: Duration) -> Result<PeerAnswer, PeerError> {
    let body = Bytes::from_static(b"fanout");
    client
        .post(
            &domain("a.example"),
            &domain("b.example"),
            Endpoint::Notify,
            ROOM,
            body,
            time,
        )
        .await
}

/// Says what it was asked.
async fn describe(Extension(shown): Extension<PeerCertificate>, request: Request) -> String {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    };
    assert_eq!(parts.version, Version::HTTP_2);
    format!(
        "{} from={} type={} certificate={} body={}",
        parts.uri,
        header("from"),
        header("content-type"),
        shown.covers(&domain("a.example")),
        String::from_utf8_lossy(&body),
    )
}

/// draft-ietf-mimi-protocol, section 4.1: source in `From`, target in `Host`, both authenticated; section 5.1: the
/// directory says where.
#[tokio::test]
async fn a_request_finds_its_way_by_the_directory() {
    let published = Published::new("https://b.example/v1");
    let world = World::new(published.route().route("/v1/notify/{room}", post(describe))).await;
    let client = world.client();
    let answer = notify(&client).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.content_type.as_deref(), Some("text/plain; charset=utf-8"));
    assert_eq!(
        answer.body,
        "https://b.example/v1/notify/mimi%3A%2F%2Fb.example%2Fr%2Fclubhouse \
         from=mimi@a.example type=application/mimi certificate=true body=fanout"
    );
    notify(&client).await.unwrap();
    assert_eq!(published.asked(), 1, "the directory is remembered");
}

#[tokio::test]
async fn each_endpoint_has_its_own_url() {
    let published = Published::new("https://b.example");
    let mut document = directory("https://b.example");
    for (endpoint, variable) in [
        ("identifierQuery", "domain"),
        ("reportAbuse", "roomId"),
        ("requestConsent", "targetUser"),
        ("updateConsent", "requesterUser"),
    ] {
        document[endpoint] = format!("https://b.example/{endpoint}/{{{variable}}}").into();
    }
    published.set(Some(document));
    let world = World::new(published.route().fallback(describe)).await;
    let client = world.client();
    for (endpoint, path) in [
        (Endpoint::GroupInfo, "groupInfo"),
        (Endpoint::IdentifierQuery, "identifierQuery"),
        (Endpoint::KeyMaterial, "keyMaterial"),
        (Endpoint::Notify, "notify"),
        (Endpoint::ReportAbuse, "reportAbuse"),
        (Endpoint::RequestConsent, "requestConsent"),
        (Endpoint::SubmitMessage, "submitMessage"),
        (Endpoint::Update, "update"),
        (Endpoint::UpdateConsent, "updateConsent"),
    ] {
        let (a, b) = (domain("a.example"), domain("b.example"));
        let answer = client
            .post(&a, &b, endpoint, "mimi://b.example/u/bob", Bytes::new(), PATIENCE)
            .await
            .unwrap();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(
            text.starts_with(&format!("https://b.example/{path}/mimi%3A%2F%2Fb.example%2Fu%2Fbob ")),
            "{text}"
        );
    }
}

/// A directory may name another host; who answers there is the provider all the same, by `Host` and certificate.
#[tokio::test]
async fn an_endpoint_that_is_not_offered_is_told_apart() {
    let world = World::new(Published::new("https://b.example").route().fallback(describe)).await;
    let (a, b) = (domain("a.example"), domain("b.example"));
    let answer = world
        .client()
        .post(&a, &b, Endpoint::ReportAbuse, ROOM, Bytes::new(), PATIENCE)
        .await;
    assert!(matches!(answer, Err(PeerError::NotOffered)), "{answer:?}");
}

#[tokio::test]
async fn urls_on_another_host_are_dialled_there_and_authenticated_as_the_provider() {
    let endpoints = Router::new().fallback(describe);
    let ca = Ca::new("federation");
    let elsewhere = Server::start(tls(&ca.issue(&["b.example"]), &ca), endpoints.clone(), roomy()).await;
    let port = elsewhere.address.port();
    let published = Published::new(&format!("https://127.0.0.1:{port}/v1"));
    let identity = ca.issue(&["b.example"]);
    let world = World::with(ca, identity, published.route()).await;
    let client = world.client();
    for _ in 0..2 {
        let answer = notify(&client).await.unwrap();
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert!(
            text.starts_with(&format!("https://b.example:{port}/v1/notify/")),
            "{text}"
        );
    }

    // The certificate of the URL's own host is not enough.
    let other = Server::start(tls(&world.ca.issue(&["localhost"]), &world.ca), endpoints, roomy()).await;
    published.set(Some(directory(&format!(
        "https://localhost:{}/v1",
        other.address.port()
    ))));
    assert!(matches!(notify(&world.client()).await, Err(PeerError::Tls { .. })));
}

#[tokio::test]
async fn concurrent_callers_share_one_fetch_and_its_failure() {
    let published = Published::new("https://b.example");
    let world = World::new(published.route()).await;
    let look_up_ten = |client: PeerClient| async move {
        let (a, b) = (domain("a.example"), domain("b.example"));
        let look_up = || client.directory(&a, &b);
        join_all(std::iter::repeat_with(look_up).take(10)).await
    };
    let found = look_up_ten(world.client()).await;
    assert!(found.iter().all(Result::is_ok));
    assert_eq!(published.asked(), 1);

    published.set(None);
    let failed = look_up_ten(world.client()).await;
    assert!(
        failed
            .iter()
            .all(|outcome| matches!(outcome, Err(PeerError::DirectoryStatus { status }) if *status == 500))
    );
    assert_eq!(published.asked(), 2);
}

#[tokio::test]
async fn a_directory_is_fetched_anew_after_its_time_and_the_former_one_used_if_that_fails() {
    let published = Published::new("https://b.example/old");
    let mut world = World::new(published.route().fallback(describe)).await;
    world.config.delivery.directory_ttl_ms = 1;
    let client = world.eager_client();
    let path = async || {
        sleep(Duration::from_millis(2)).await;
        let answer = notify(&client).await.unwrap();
        String::from_utf8(answer.body.to_vec())
            .unwrap()
            .split('/')
            .nth(3)
            .unwrap()
            .to_owned()
    };
    assert_eq!(path().await, "old");
    published.set(Some(directory("https://b.example/new")));
    assert_eq!(path().await, "new");
    published.set(None);
    assert_eq!(path().await, "new");
    assert_eq!(published.asked(), 3);
}

#[tokio::test]
async fn a_404_makes_the_directory_be_read_again_once() {
    let published = Published::new("https://b.example/old");
    let world = World::new(
        published
            .route()
            .route("/new/notify/{room}", post(|| async { "moved" })),
    )
    .await;
    let client = world.eager_client();
    assert_eq!(notify(&client).await.unwrap().status, StatusCode::NOT_FOUND);
    assert_eq!(published.asked(), 2, "asked again, and the URL is the same");

    published.set(Some(directory("https://b.example/new")));
    assert_eq!(notify(&client).await.unwrap().body, "moved");
    assert_eq!(notify(&client).await.unwrap().body, "moved");
    assert_eq!(published.asked(), 3);

    published.set(None);
    let (a, b) = (domain("a.example"), domain("b.example"));
    let answer = client.post(&a, &b, Endpoint::Update, ROOM, Bytes::new(), PATIENCE);
    assert_eq!(
        answer.await.unwrap().status,
        StatusCode::NOT_FOUND,
        "a refresh that fails leaves the answer"
    );
}

#[tokio::test]
async fn many_404s_do_not_ask_for_the_directory_each_time() {
    let published = Published::new("https://b.example");
    let world = World::new(published.route()).await;
    let client = world.client();
    for _ in 0..3 {
        assert_eq!(notify(&client).await.unwrap().status, StatusCode::NOT_FOUND);
    }
    assert_eq!(published.asked(), 1);
}

/// One request of a world whose endpoint is this.
async fn outcome_of<F: Future<Output = Answer> + Send + 'static>(
    endpoint: impl Fn() -> F + Clone + Send + Sync + 'static,
) -> Result<PeerAnswer, PeerError> {
    let mut world = World::new(Published::new("https://b.example").route().fallback(endpoint)).await;
    world.config.limits.body_bytes_max = 1024;
    notify_within(&world.client(), 3 * SHORT).await
}

#[tokio::test]
async fn status_retry_after_and_body_of_any_answer_are_passed_on() {
    let busy = || async { (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "7")], "busy").into_response() };
    let answer = outcome_of(busy).await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(answer.body, "busy");
}

#[tokio::test]
async fn redirects_are_answers_and_not_followed() {
    let elsewhere = || async { Redirect::temporary("https://b.example/elsewhere").into_response() };
    assert_eq!(
        outcome_of(elsewhere).await.unwrap().status,
        StatusCode::TEMPORARY_REDIRECT
    );
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read_to_its_end() {
    let exact = || async { vec![0_u8; 1024].into_response() };
    assert_eq!(outcome_of(exact).await.unwrap().body.len(), 1024);
    let announced = || async { vec![0_u8; 1025].into_response() };
    assert!(matches!(
        outcome_of(announced).await,
        Err(PeerError::AnswerTooLarge { bytes_max: 1024 })
    ));
    let endless = || async {
        let chunks = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0_u8; 100]));
        Body::from_stream(chunks).into_response()
    };
    assert!(matches!(
        outcome_of(endless).await,
        Err(PeerError::AnswerTooLarge { bytes_max: 1024 })
    ));
}

#[tokio::test]
async fn no_answer_in_time_is_a_timeout() {
    let silent = || std::future::pending();
    assert!(matches!(outcome_of(silent).await, Err(PeerError::Timeout)));
    let stalled = || async {
        let chunks = stream::iter([Ok::<_, std::io::Error>("begun")]).chain(stream::pending());
        Body::from_stream(chunks).into_response()
    };
    assert!(matches!(outcome_of(stalled).await, Err(PeerError::Timeout)));
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_apart() {
    let broken = || async {
        let chunks = stream::iter([Ok("begun"), Err(std::io::Error::other("on purpose"))]);
        Body::from_stream(chunks).into_response()
    };
    assert!(matches!(outcome_of(broken).await, Err(PeerError::Interrupted { .. })));
}

#[tokio::test]
async fn nobody_there_is_told_apart() {
    let world = World::new(Router::new()).await;
    let client = world.client();
    world.server.stop().await.unwrap();
    assert!(matches!(notify(&client).await, Err(PeerError::Connect { .. })));
}

#[tokio::test]
async fn a_refused_certificate_is_told_apart_whoever_refuses() {
    let ca = Ca::new("federation");
    let foreign = Ca::new("foreign").issue(&["b.example"]);
    for (identity, reason) in [
        (foreign, "UnknownIssuer"),
        (ca.issue(&["c.example"]), "not valid for name"),
        (ca.issue_expired(&["b.example"]), "expired"),
    ] {
        let server = Server::start(tls(&identity, &ca), Router::new(), roomy()).await;
        let mut config = config();
        config.peers.insert(
            domain("b.example"),
            PeerConfig {
                address: server.address.to_string(),
            },
        );
        let client = PeerClient::new(&config, tls(&ca.issue(&["a.example"]), &ca)).unwrap();
        let error = notify(&client).await.unwrap_err();
        assert!(
            matches!(&error, PeerError::Tls { reason: said } if said.contains(reason)),
            "{error}"
        );
    }

    let world = World::new(Published::new("https://b.example").route()).await;
    let error = notify(&world.client_with(&world.ca.issue_expired(&["a.example"])))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, PeerError::Tls { reason } if reason.contains("CertificateExpired")),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_no_directory_is_told_apart() {
    let huge = serde_json::json!({ "update": "x".repeat(100_000) });
    let missing = serde_json::json!({ "update": "https://b.example/{roomId}" });
    let user = directory("https://user:password@b.example");
    for (document, is_expected) in [
        (
            directory("http://b.example"),
            (|e| matches!(e, PeerError::InvalidDirectory { .. })) as fn(&PeerError) -> bool,
        ),
        (user, |e| matches!(e, PeerError::InvalidDirectory { .. })),
        (missing, |e| matches!(e, PeerError::InvalidDirectory { .. })),
        (serde_json::json!("text"), |e| {
            matches!(e, PeerError::InvalidDirectory { .. })
        }),
        (huge, |e| matches!(e, PeerError::AnswerTooLarge { .. })),
    ] {
        let published = Published::new("");
        published.set(Some(document));
        let world = World::new(published.route()).await;
        let error = notify(&world.client()).await.unwrap_err();
        assert!(is_expected(&error), "{error}");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_from_then_on() {
    let who =
        |Extension(shown): Extension<PeerCertificate>| async move { shown.covers(&domain("new.example")).to_string() };
    let world = World::new(Published::new("https://b.example").route().fallback(who)).await;
    let folder = TlsFolder::new(&world.ca.issue(&["a.example"]), &world.ca);
    let tls = folder.load();
    let client = PeerClient::new(&world.config, tls.clone()).unwrap();
    assert_eq!(notify(&client).await.unwrap().body, "false");
    folder.write(&world.ca.issue(&["a.example", "new.example"]), &world.ca);
    assert_eq!(notify(&client).await.unwrap().body, "false");
    tls.reload().unwrap();
    assert_eq!(notify(&client).await.unwrap().body, "true");
}

/// RFC 9110, section 10.2.3.
#[test]
fn retry_after_is_seconds_or_a_date() {
    let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
    for (value, wait) in [
        ("120", Some(120)),
        (" 0 ", Some(0)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
        ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
        ("soon", None),
        ("-1", None),
        ("", None),
    ] {
        assert_eq!(retry_after(value, now), wait.map(Duration::from_secs), "{value:?}");
    }
}
