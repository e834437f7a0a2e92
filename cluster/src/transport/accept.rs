//! Connections from peers: who is let in, and what arrives.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWriteExt, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::dial::write_queue;
use super::frame::DeliverError;
use super::hello::{Class, ConnectError, Expected, Hello, Refusal};
use super::network::Shared;
use super::tls;
use super::wire::{self, Kind, WireError};
use crate::config::NodeId;

/// Connections that may be in their handshake at a time.
const MAX_HANDSHAKES: usize = 64;
/// Responses of a connection that may wait to be written.
const MAX_RESPONSES: usize = 256;
const BUFFER: usize = 64 << 10;

/// The process of each peer that has connections here.
///
/// Invariant: the connections of a node are all of one process, so that two with the same id do not both get a word in.
#[derive(Default)]
pub(super) struct Instances(Mutex<HashMap<NodeId, (u64, usize)>>);

impl Instances {
    /// Counts a connection in.
    fn enter(&self, hello: &Hello) -> Result<(), Refusal> {
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (instance, connections) = live.entry(hello.from).or_insert((hello.instance, 0));
        if *instance != hello.instance {
            return Err(Refusal::Duplicate(hello.from));
        }
        *connections += 1;
        Ok(())
    }

    fn leave(&self, node: NodeId) {
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, connections)) = live.get_mut(&node) {
            *connections -= 1;
            if *connections == 0 {
                live.remove(&node);
            }
        }
    }
}

/// A peer that has been let in; it is counted out when this is dropped.
struct Guest {
    shared: Arc<Shared>,
    hello: Hello,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.shared.instances.leave(self.hello.from);
    }
}

/// Lets peers in until it is dropped.
pub(super) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match (accepted, handshakes.clone().try_acquire_owned()) {
                (Ok((stream, _)), Ok(permit)) => {
                    connections.spawn(Box::pin(serve(shared.clone(), stream, permit)));
                }
                // Too many at once: it dials again.
                (Ok(_), Err(_)) => {}
                (Err(error), _) => {
                    tracing::warn!(%error, "cannot accept a connection of another node");
                    sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_ended) = connections.join_next() => {}
        }
    }
}

async fn serve(shared: Arc<Shared>, stream: TcpStream, permit: OwnedSemaphorePermit) {
    let from = stream
        .peer_addr()
        .map_or_else(|_| "?".to_owned(), |address| address.to_string());
    let greeted = timeout(shared.limits.handshake, greet(&shared, stream)).await;
    drop(permit);
    let error = match greeted {
        Ok(Ok((guest, stream))) => {
            let peer = guest.hello.from;
            let error = carry(&guest, stream).await;
            tracing::debug!(%peer, class = ?guest.hello.class, "a connection ended: {error}");
            return;
        }
        Ok(Err(error)) => error,
        Err(_) => ConnectError::Timeout,
    };
    tracing::warn!(address = %from, "a connection was not let in: {error}");
}

async fn greet(shared: &Arc<Shared>, stream: TcpStream) -> Result<(Guest, TlsStream<TcpStream>), ConnectError> {
    stream.set_nodelay(true).map_err(WireError::from)?;
    let acceptor = TlsAcceptor::from(shared.sides.server.clone());
    let mut stream = acceptor
        .accept(stream)
        .await
        .map_err(|error| match tls::explain(&error) {
            Some(text) => ConnectError::Tls(text),
            None => WireError::Io(error).into(),
        })?;
    let admitted = match wire::read(&mut stream, wire::MAX_HELLO).await {
        Ok((Kind::Hello, body)) => admit(shared, body, &stream).map_err(|refusal| refusal.to_string()),
        Ok(_) => Err(Refusal::Malformed.to_string()),
        // A frame that this release does not know: also told to the other side.
        Err(error @ (WireError::Version { .. } | WireError::TooLarge { .. } | WireError::Malformed)) => {
            Err(error.to_string())
        }
        Err(error) => return Err(error.into()),
    };
    let answer = match &admitted {
        Ok(_) => wire::frame(Kind::Welcome, &[]),
        Err(text) => wire::frame(Kind::Refusal, &[text.as_bytes()]),
    };
    wire::write(&mut stream, &answer).await?;
    stream.flush().await.map_err(WireError::from)?;
    match admitted {
        Ok(guest) => Ok((guest, stream)),
        Err(text) => {
            // Without it the answer might be lost in a reset, with bytes of the other side unread.
            let _ = stream.shutdown().await;
            Err(ConnectError::Refused(text))
        }
    }
}

fn admit(shared: &Arc<Shared>, hello: Bytes, stream: &TlsStream<TcpStream>) -> Result<Guest, Refusal> {
    let hello = Hello::decode(hello)?;
    tls::check_node(stream.get_ref().1.peer_certificates(), hello.from)?;
    hello.check(&Expected {
        cluster: shared.cluster,
        node: shared.node,
        instance: shared.instance,
        shards: shared.shards,
        now_ms: shared.now_ms(),
        max_skew_ms: shared.limits.max_clock_skew.as_millis() as u64,
    })?;
    let known = shared
        .known
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .contains(&hello.from);
    if !known {
        return Err(Refusal::Stranger {
            from: hello.from,
            node: shared.node,
        });
    }
    shared.instances.enter(&hello)?;
    Ok(Guest {
        shared: shared.clone(),
        hello,
    })
}

async fn carry(guest: &Guest, stream: TlsStream<TcpStream>) -> WireError {
    let (reader, writer) = tokio::io::split(stream);
    let mut reader = BufReader::with_capacity(BUFFER, reader);
    let mut writer = BufWriter::with_capacity(BUFFER, writer);
    let (answers, mut queue) = mpsc::channel(MAX_RESPONSES);
    let silence = guest.shared.limits.silence;
    let reading = async {
        let mut running = JoinSet::new();
        let busy = Arc::new(Semaphore::new(guest.shared.limits.max_requests));
        loop {
            let (kind, body) = match timeout(silence, wire::read(&mut reader, wire::MAX_BODY)).await {
                Ok(Ok(frame)) => frame,
                Ok(Err(error)) => return error,
                Err(_) => return WireError::Silent,
            };
            let taken = match (kind, guest.hello.class) {
                (Kind::Ping, _) => answers
                    .send(wire::frame(Kind::Pong, &[]))
                    .await
                    .map_err(|_| WireError::Closed),
                (Kind::Raft, Class::Raft) => deliver(guest, &body),
                (Kind::Request, Class::Request | Class::Snapshot) => {
                    begin(guest, body, &busy, &answers, &mut running).await
                }
                _ => Err(WireError::Malformed),
            };
            if let Err(error) = taken {
                return error;
            }
            while running.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        error = reading => error,
        error = write_queue(&mut queue, |_| {}, &mut writer, None, silence) => error,
    }
}

fn deliver(guest: &Guest, frame: &[u8]) -> Result<(), WireError> {
    let Some(delivery) = guest.shared.delivery.get() else {
        // The replicas are not up yet: lost, as the network might lose it.
        return Ok(());
    };
    match delivery.frame(guest.hello.from, frame) {
        Ok(()) | Err(DeliverError::Overloaded) => Ok(()),
        Err(error @ (DeliverError::Malformed | DeliverError::Version(_))) => {
            tracing::error!(peer = %guest.hello.from, %error, "the peer runs another release, or is broken: both need the same");
            Err(WireError::Malformed)
        }
    }
}

/// Begins to carry out a request.
async fn begin(
    guest: &Guest,
    mut body: Bytes,
    busy: &Arc<Semaphore>,
    answers: &mpsc::Sender<Bytes>,
    running: &mut JoinSet<()>,
) -> Result<(), WireError> {
    let id = wire::split_id(&mut body)?;
    let budget = Duration::from_millis(u64::from(wire::split_millis(&mut body)?));
    let Ok(permit) = busy.clone().try_acquire_owned() else {
        let busy = wire::frame(Kind::Busy, &[&id.to_be_bytes()]);
        return answers.send(busy).await.map_err(|_| WireError::Closed);
    };
    let (shared, from, class, answers) = (
        guest.shared.clone(),
        guest.hello.from,
        guest.hello.class,
        answers.clone(),
    );
    running.spawn(async move {
        let carried = match class {
            Class::Snapshot => Ok(shared
                .delivery
                .get()
                .map_or_else(Bytes::new, |delivery| delivery.bulk(from, &body).into())),
            Class::Raft | Class::Request => timeout(budget, shared.handler.handle(from, body)).await,
        };
        // Nobody waits for a response that comes too late.
        if let Ok(response) = carried {
            let response = wire::frame(Kind::Response, &[&id.to_be_bytes(), &response]);
            let _ = answers.send(response).await;
        }
        drop(permit);
    });
    Ok(())
}
