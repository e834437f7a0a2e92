//! A follower provider that answers what a test wants, and records what it receives.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use mimi_hub_proto::uri::RoomUri;
use mimi_hub_proto::{Directory, FanoutMessage, WELL_KNOWN_DIRECTORY, decode_all};
use reqwest::StatusCode;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::http::{TlsIdentity, roots};

/// How long a test waits for deliveries.
const PATIENCE: Duration = Duration::from_secs(30);

/// One `/notify` request.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When it came.
    pub at: Instant,
    /// The room.
    pub room: RoomUri,
    /// What it holds.
    pub messages: Vec<FanoutMessage>,
    /// What was answered.
    pub status: u16,
}

/// The answer to a `/notify` request.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// In seconds.
    pub retry_after: Option<u64>,
    /// How long the answer takes.
    pub delay: Duration,
}

impl Reply {
    /// At once, with this status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status,
            retry_after: None,
            delay: Duration::ZERO,
        }
    }
}

/// Gives the answer to request number n, counted from 0.
type Script = Box<dyn FnMut(usize) -> Reply + Send>;

struct Shared {
    directory: Directory,
    script: Mutex<Script>,
    deliveries: Mutex<Vec<Delivery>>,
    /// The answer to every request for key material: status and body.
    key_material: Mutex<(u16, Vec<u8>)>,
    /// Requests seen, answered or not.
    seen: Mutex<usize>,
    arrived: Notify,
}

/// A running follower. Dropping it closes its listener.
pub struct Follower {
    address: SocketAddr,
    tls: TlsAcceptor,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
}

impl Follower {
    pub(crate) async fn start(domain: &str, address: SocketAddr, ca: &str, identity: &TlsIdentity) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)), Arc::clone(&provider));
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![identity.certificate()], identity.key())
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let template = |endpoint: &str, variable: &str| {
            format!("https://{domain}/v1/{endpoint}/{{{variable}}}")
                .parse()
                .unwrap()
        };
        let directory = Directory {
            key_material: template("keyMaterial", "targetUser"),
            update: template("update", "roomId"),
            notify: template("notify", "roomId"),
            submit_message: template("submitMessage", "roomId"),
            group_info: template("groupInfo", "roomId"),
            request_consent: None,
            update_consent: None,
            identifier_query: None,
            report_abuse: None,
            proxy_download: None,
        };
        let mut follower = Self {
            address,
            tls: TlsAcceptor::from(Arc::new(tls)),
            shared: Arc::new(Shared {
                directory,
                script: Mutex::new(Box::new(|_| Reply::status(201))),
                deliveries: Mutex::default(),
                key_material: Mutex::new((404, Vec::new())),
                seen: Mutex::default(),
                arrived: Notify::new(),
            }),
            serving: None,
        };
        follower.up().await;
        follower
    }

    /// From now on, request number n (counted anew from 0) is answered with `script(n)`.
    ///
    /// # Panics
    /// An earlier script has panicked.
    pub fn answer_with(&self, script: impl FnMut(usize) -> Reply + Send + 'static) {
        *self.shared.seen.lock().unwrap() = 0;
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// From now on, every request for key material is answered with this.
    ///
    /// # Panics
    /// A test has panicked while it changed the answer.
    pub fn answer_key_material_with(&self, status: u16, body: Vec<u8>) {
        *self.shared.key_material.lock().unwrap() = (status, body);
    }

    /// Opens the listener.
    ///
    /// # Panics
    /// Its port is taken.
    pub async fn up(&mut self) {
        let router = Router::new()
            .route(WELL_KNOWN_DIRECTORY, get(directory))
            .route("/v1/notify/{*room}", post(notify))
            .route("/v1/keyMaterial/{*user}", post(key_material))
            .with_state(Arc::clone(&self.shared));
        let socket = TcpListener::bind(self.address).await.unwrap();
        self.serving = Some(tokio::spawn(serve(socket, self.tls.clone(), router)));
    }

    /// Closes the listener and all connections.
    pub async fn down(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // It ends with the word that it was aborted.
            drop(serving.await);
        }
    }

    /// All requests, in the order of their answers.
    ///
    /// # Panics
    /// A test has panicked while it held them.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.deliveries.lock().unwrap().clone()
    }

    /// The messages of the requests answered with 201, in order.
    #[must_use]
    pub fn accepted(&self) -> Vec<FanoutMessage> {
        let taken = self.deliveries().into_iter().filter(|delivery| delivery.status == 201);
        taken.flat_map(|delivery| delivery.messages).collect()
    }

    /// Waits until `done` holds of the requests so far.
    ///
    /// # Panics
    /// It does not within the time that a test has.
    pub async fn wait_for(&self, what: &str, done: impl Fn(&[Delivery]) -> bool) {
        let waiting = async {
            loop {
                let arrived = self.shared.arrived.notified();
                if done(&self.deliveries()) {
                    return;
                }
                // A notification that comes between the look and the wait is not missed for long.
                drop(tokio::time::timeout(Duration::from_millis(50), arrived).await);
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!(
                "{what}: not within {PATIENCE:?}; {} requests came",
                self.deliveries().len()
            );
        }
    }

    /// Waits until `count` messages have been accepted.
    pub async fn wait_for_messages(&self, count: usize) {
        self.wait_for(&format!("{count} messages"), |deliveries| {
            let taken = deliveries.iter().filter(|delivery| delivery.status == 201);
            taken.map(|delivery| delivery.messages.len()).sum::<usize>() >= count
        })
        .await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

pub(crate) async fn serve(socket: TcpListener, tls: TlsAcceptor, router: Router) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = socket.accept().await {
        let (tls, service) = (tls.clone(), TowerToHyperService::new(router.clone()));
        connections.spawn(async move {
            // A caller that breaks off is its own business.
            if let Ok(stream) = tls.accept(stream).await {
                let served = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                drop(served);
            }
        });
    }
}

async fn directory(State(shared): State<Arc<Shared>>) -> axum::Json<Directory> {
    axum::Json(shared.directory.clone())
}

async fn key_material(State(shared): State<Arc<Shared>>) -> Response {
    let (status, body) = shared.key_material.lock().unwrap().clone();
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/mimi")], body).into_response()
}

async fn notify(State(shared): State<Arc<Shared>>, Path(room): Path<String>, body: Bytes) -> Response {
    let at = Instant::now();
    let number = {
        let mut seen = shared.seen.lock().unwrap();
        *seen += 1;
        *seen - 1
    };
    let reply = (shared.script.lock().unwrap())(number);
    tokio::time::sleep(reply.delay).await;
    let messages = decode_all(&body).unwrap();
    shared.deliveries.lock().unwrap().push(Delivery {
        at,
        room: RoomUri::from_path(&room).unwrap(),
        messages,
        status: reply.status,
    });
    shared.arrived.notify_waiters();
    let status = StatusCode::from_u16(reply.status).unwrap();
    match reply.retry_after {
        Some(seconds) => (status, [("retry-after", seconds.to_string())]).into_response(),
        None => status.into_response(),
    }
}
