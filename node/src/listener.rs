//! Accepting connections: TCP, TLS, HTTP/2 or HTTP/1.1, and their end.
//!
//! This module owns what a connection may cost before and between requests. Invariants:
//! - Every request that reaches the router carries a [`PeerCertificate`] and a [`PeerAddress`] among its extensions,
//!   put there from the connection, never from the request.
//! - Each wait for the other side is bounded: for the handshake, for the first request, for a header, for a sign of
//!   life. A connection is either in one of these waits or serves a request.
//! - At most `connections_max` connections are held; more are closed at once, so that the callers go elsewhere.
//! - When the TLS material is exchanged, or the listener stops, open requests are answered and the connection closed:
//!   nobody stays connected under a certificate that a new connection would be refused for.

mod connection;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tracing::{debug, error, info, warn};

use crate::{config::LimitsConfig, error::NodeError, tls::Tls};

/// Pause after a failed `accept`: the usual reason, no file descriptor left, does not go away by trying again at once.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Time between two log lines that tell of refused connections.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The address at the other end of the connection that a request came through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerAddress(pub(crate) SocketAddr);

/// One listener, ready to [`serve`](Listener::serve).
#[derive(Debug)]
pub(crate) struct Listener {
    /// For log lines: `federation` or `local`.
    pub(crate) name: &'static str,
    /// Bound already, so that whoever starts us knows the port and that it is ours.
    pub(crate) socket: TcpListener,
    /// Our certificate and whom we let in.
    pub(crate) tls: Arc<Tls>,
    /// Answers the requests.
    pub(crate) router: Router,
    /// Bounds.
    pub(crate) limits: ConnectionLimits,
}

/// Bounds on connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    /// Connections held at once.
    pub(crate) connections_max: usize,
    /// Time for the TLS handshake.
    pub(crate) handshake_timeout: Duration,
    /// Time from the handshake to the first request, and for an HTTP/1.1 header.
    pub(crate) header_timeout: Duration,
    /// Time that open requests get once the listener stops.
    pub(crate) drain: Duration,
}

impl From<&LimitsConfig> for ConnectionLimits {
    fn from(limits: &LimitsConfig) -> Self {
        Self {
            connections_max: limits.connections_max,
            handshake_timeout: limits.header_timeout(),
            header_timeout: limits.header_timeout(),
            drain: limits.drain(),
        }
    }
}

/// Takes the address for a listener.
///
/// # Errors
/// It is in use, or not an address of this machine.
pub(crate) async fn bind(purpose: &'static str, listen: SocketAddr) -> Result<TcpListener, NodeError> {
    TcpListener::bind(listen).await.map_err(|source| NodeError::Bind {
        listen,
        purpose,
        source,
    })
}

impl Listener {
    /// Serves until `shutdown` completes, then stops accepting, lets open requests end within the drain time, and
    /// returns once no connection is left.
    pub(crate) async fn serve(self, shutdown: impl Future<Output = ()> + Send) {
        let Self {
            name,
            socket,
            tls,
            router,
            limits,
        } = self;
        let permits = Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS)));
        let (closing, _) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut refusals = Refusals::default();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => {
                    log_panic(name, ended);
                    continue;
                }
                accepted = socket.accept() => accepted,
            };
            let Some((stream, address)) = take_accepted(name, accepted).await else {
                continue;
            };
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                refusals.count(name, limits.connections_max);
                continue;
            };
            let connection = connection::Connection {
                listener: name,
                peer: PeerAddress(address),
                tls: Arc::clone(&tls),
                router: router.clone(),
                limits,
                closing: closing.subscribe(),
            };
            connections.spawn(async move {
                connection.run(stream).await;
                drop(permit);
            });
        }
        drop(socket);
        closing.send_replace(true);
        drain(name, connections, limits.drain).await;
    }
}

async fn take_accepted(
    name: &'static str,
    accepted: io::Result<(TcpStream, SocketAddr)>,
) -> Option<(TcpStream, SocketAddr)> {
    match accepted {
        Ok((stream, address)) => {
            // Answers are written whole: holding back the last segment would only add a round trip.
            if let Err(error) = stream.set_nodelay(true) {
                debug!(listener = name, peer = %address, %error, "connection lost before it began");
                return None;
            }
            Some((stream, address))
        }
        Err(error) => {
            warn!(listener = name, %error, "cannot accept a connection");
            sleep(ACCEPT_RETRY).await;
            None
        }
    }
}

async fn drain(name: &'static str, mut connections: JoinSet<()>, time: Duration) {
    let open = connections.len();
    info!(
        listener = name,
        connections = open,
        "stopped accepting, waiting for open requests"
    );
    let all_ended = async {
        while let Some(ended) = connections.join_next().await {
            log_panic(name, ended);
        }
    };
    if timeout(time, all_ended).await.is_err() {
        warn!(
            listener = name,
            connections = connections.len(),
            "cutting off requests that did not end in time"
        );
        connections.shutdown().await;
    }
}

fn log_panic(name: &'static str, ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(listener = name, %error, "a connection's task panicked");
    }
}

/// Refused connections, told now and then and not one by one.
#[derive(Default)]
struct Refusals {
    untold: u64,
    last_told: Option<Instant>,
}

impl Refusals {
    fn count(&mut self, name: &'static str, connections_max: usize) {
        self.untold += 1;
        let now = Instant::now();
        if self
            .last_told
            .is_none_or(|told| now.duration_since(told) >= REFUSAL_LOG_INTERVAL)
        {
            warn!(
                listener = name,
                refused = self.untold,
                connections_max,
                "connections refused: limit reached"
            );
            self.untold = 0;
            self.last_told = Some(now);
        }
    }
}
