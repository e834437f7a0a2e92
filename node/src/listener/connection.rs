//! The life of one connection, from the first byte of the handshake to the close.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, response::Response};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower::ServiceExt;
use tracing::{debug, info};

use super::{ConnectionLimits, PeerAddress};
use crate::tls::{PeerCertificate, Tls};

/// Requests open at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;

/// All header fields of one request.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// Number of header fields of one HTTP/1.1 request.
const HEADERS_MAX: usize = 64;

/// HTTP/1.1 read buffer, the bound of a request's header there.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// A connection that says nothing for so long is asked for a sign of life (HTTP/2 PING)…
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// …and closed when it gives none within this.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a refused client to read why, and to close.
const ALERT_LINGER: Duration = Duration::from_secs(1);

/// Everything one connection needs.
pub(super) struct Connection {
    pub(super) listener: &'static str,
    pub(super) peer: PeerAddress,
    pub(super) tls: Arc<Tls>,
    pub(super) router: Router,
    pub(super) limits: ConnectionLimits,
    /// Turns true when the listener stops.
    pub(super) closing: watch::Receiver<bool>,
}

impl Connection {
    pub(super) async fn run(self, stream: TcpStream) {
        let (listener, peer) = (self.listener, self.peer.0);
        // Subscribed before the handshake: an exchange of the material during it closes this connection too.
        let mut material = self.tls.subscribe();
        let acceptor = TlsAcceptor::from(Arc::clone(&material.borrow_and_update().server));
        let handshake = acceptor.accept(stream).into_fallible();
        let stream = match timeout(self.limits.handshake_timeout, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err((reason, stream))) => {
                info!(listener, %peer, %reason, "TLS handshake failed");
                let_alert_arrive(stream).await;
                return;
            }
            Err(_) => {
                info!(listener, %peer, reason = "not finished in time", "TLS handshake failed");
                return;
            }
        };
        let end_entity = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let Some(end_entity) = end_entity else {
            info!(listener, %peer, reason = "no client certificate", "TLS handshake failed");
            return;
        };
        let certificate = PeerCertificate::new(end_entity.clone().into_owned());
        self.serve(stream, certificate, material).await;
    }

    async fn serve<M>(
        self,
        stream: TlsStream<TcpStream>,
        certificate: PeerCertificate,
        mut material: watch::Receiver<M>,
    ) {
        let Self {
            listener,
            peer,
            router,
            limits,
            mut closing,
            ..
        } = self;
        let builder = http_builder(stream.get_ref().1.alpn_protocol() == Some(b"h2"), &limits);
        let has_begun = Arc::new(AtomicBool::new(false));
        let service = {
            let has_begun = Arc::clone(&has_begun);
            service_fn(move |mut request: Request<Incoming>| {
                has_begun.store(true, Ordering::Relaxed);
                request.extensions_mut().insert(peer);
                request.extensions_mut().insert(certificate.clone());
                let router = router.clone();
                async move {
                    Ok::<Response, Infallible>(router.oneshot(request).await.unwrap_or_else(|never| match never {}))
                }
            })
        };
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut first_request = pin!(sleep(limits.header_timeout));
        let (mut is_waiting, mut is_draining) = (true, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        debug!(listener, peer = %peer.0, %error, "connection ended by an error");
                    }
                    return;
                }
                // Also taken when the sender is gone: then the listener is, too.
                _ = closing.wait_for(|is_closing| *is_closing), if !is_draining => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = material.changed(), if !is_draining => {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = first_request.as_mut(), if is_waiting => {
                    is_waiting = false;
                    if !has_begun.load(Ordering::Relaxed) {
                        debug!(listener, peer = %peer.0, "connection closed: no request in time");
                        return;
                    }
                }
            }
        }
    }
}

/// A client of TLS 1.3 sends its first request with the end of its handshake. To close with that unread would reset the
/// connection, and the reset can overtake the alert which tells the client what is wrong with its certificate.
async fn let_alert_arrive(mut stream: TcpStream) {
    let until_closed = async {
        let mut unread = [0; 1024];
        if stream.shutdown().await.is_ok() {
            while stream.read(&mut unread).await.is_ok_and(|count| count > 0) {}
        }
    };
    if timeout(ALERT_LINGER, until_closed).await.is_err() {
        debug!("a client that was refused did not close its side");
    }
}

/// The protocol is the one that ALPN settled; without ALPN it is HTTP/1.1. Guessing it from the first bytes would be a
/// wait without a bound.
fn http_builder(is_http2: bool, limits: &ConnectionLimits) -> auto::Builder<TokioExecutor> {
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if is_http2 {
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(HEADERS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}
