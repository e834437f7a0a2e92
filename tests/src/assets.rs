//! A server of assets on the open web, as the hub sees it: TLS of another CA than the federation's, no client certificate.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use mimi_hub_ops::certs::{Authority, Validity};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::follower::serve;
use crate::http::TlsIdentity;

/// What `/cat` is.
pub const CAT: &[u8] = &[0xca; 300_000];

/// A running asset server. Dropping it closes its listener.
pub struct AssetServer {
    host: String,
    address: SocketAddr,
    ca: PathBuf,
    asked: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl AssetServer {
    /// A server for `host`, with its CA in `folder`. It has `/cat`, with its length and a query or not, `/cat-and-a-half`,
    /// `/tell-tale`, which is the cat for those who tell nothing of themselves, `/endless`, `/slow`, `/cut`, which breaks off,
    /// and `/moved`, a redirect to `/cat`.
    ///
    /// # Panics
    /// It cannot be started.
    pub async fn start(host: &str, folder: &Path) -> Self {
        let authority = Authority::new("web", Validity::days(2)).unwrap();
        let ca = folder.join("web-ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        let identity: TlsIdentity = authority.issue(&[host], &[], Validity::days(1)).unwrap().into();
        let mut tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![identity.certificate()], identity.key())
            .unwrap();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let asked = Arc::<AtomicUsize>::default();
        let router = Router::new()
            .route("/cat", get(|| async { ([("content-type", "image/x-cat")], CAT) }))
            .route("/cat-and-a-half", get(|| async { CAT.repeat(2) }))
            .route("/tell-tale", get(tell_tale))
            .route("/endless", get(endless))
            .route("/slow", get(slow))
            .route("/cut", get(cut))
            .route("/moved", get(|| async { axum::response::Redirect::temporary("/cat") }))
            .layer(middleware::from_fn_with_state(Arc::clone(&asked), count));
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        AssetServer {
            host: host.to_owned(),
            address: socket.local_addr().unwrap(),
            ca,
            asked,
            serving: tokio::spawn(serve(socket, TlsAcceptor::from(Arc::new(tls)), router)),
        }
    }

    /// The settings of a hub that fetches from here for users of `provider`.
    #[must_use]
    pub fn settings(&self, provider: &str) -> String {
        let Self { host, address, ca, .. } = self;
        format!(
            "
            [assets]
            domains = {{ '{provider}' = ['{host}'] }}
            ca = '{}'
            ports = [443, {}]
            allow_private = ['127.0.0.1/32']
            size_max_bytes = 1000000
            [peers.'{host}']
            address = '{address}'
            ",
            ca.display(),
            address.port(),
        )
    }

    /// Requests so far.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for AssetServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn count(State(asked): State<Arc<AtomicUsize>>, request: Request, next: Next) -> Response {
    asked.fetch_add(1, Ordering::SeqCst);
    next.run(request).await
}

/// What a hub sends to an asset server.
const FIELDS: [&str; 3] = ["accept", "accept-encoding", "host"];

async fn tell_tale(request: Request) -> Response {
    let mut told = request.headers().keys().filter(|name| !FIELDS.contains(&name.as_str()));
    match told.next() {
        None => ([("content-type", "image/x-cat")], CAT).into_response(),
        Some(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// One octet at a time.
async fn slow() -> Body {
    Body::from_stream(stream::unfold((), async |()| {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from_static(b".")), ()))
    }))
}

async fn cut() -> Body {
    let beginning = stream::iter([Ok(Bytes::from_static(&[0; 8192]))]);
    // Not before the beginning is on its way.
    let end = stream::once(async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Err(std::io::Error::other("cut"))
    });
    Body::from_stream(beginning.chain(end))
}

async fn endless() -> Body {
    Body::from_stream(stream::repeat_with(|| {
        Ok::<_, std::convert::Infallible>(Bytes::from_static(&[0; 8192]))
    }))
}
