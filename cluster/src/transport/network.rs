//! The transport between servers; see the module above.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use mimi_hub_storage::ClusterId;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::accept::{self, Instances};
use super::dial::Dialer;
use super::hello::Class;
use super::requests::{ForwardError, Link};
use super::tls::{ClusterTls, Sides};
use super::wire::{self, Kind};
use super::{BulkReply, Transport};
use crate::config::NodeId;
use crate::error::NetworkError;
use crate::runtime::Delivery;

/// A response under way.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Bytes> + Send>>;

/// Carries out what other nodes ask of this one.
pub trait RequestHandler: Send + Sync + 'static {
    /// Carries out a request of node `from`, which has proved to be that node. The future is dropped when the time that the
    /// other side gives it is up.
    fn handle(&self, from: NodeId, request: Bytes) -> HandlerFuture;
}

/// What this node's part of the network is made of.
#[derive(Debug)]
pub struct NetworkConfig {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Its number of shards.
    pub shards: u32,
    /// Where other nodes dial in.
    pub listener: TcpListener,
    /// Where the other nodes are, `host:port`. Names are looked up at every attempt to connect.
    pub peers: BTreeMap<NodeId, String>,
    /// Where this node dials others in place of where they say they are: through a tunnel, for example.
    pub detours: BTreeMap<NodeId, String>,
    /// How nodes prove themselves.
    pub tls: ClusterTls,
    /// Times and sizes.
    pub limits: NetworkLimits,
}

/// Times and sizes of the network. The default is sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkLimits {
    /// How far the clock of a peer may be off.
    pub max_clock_skew: Duration,
    /// How long it may take to connect, the hello included.
    pub handshake: Duration,
    /// How often a dialer says that it lives.
    pub ping: Duration,
    /// After how long without a sign of life a connection is given up.
    pub silence: Duration,
    /// Frames that may wait for one connection.
    pub max_frames: usize,
    /// Bytes that may wait for one connection.
    pub max_bytes: usize,
    /// Requests of one peer that are carried out at a time.
    pub max_requests: usize,
}

impl Default for NetworkLimits {
    fn default() -> Self {
        Self {
            max_clock_skew: Duration::from_secs(10),
            handshake: Duration::from_secs(5),
            ping: Duration::from_millis(500),
            silence: Duration::from_secs(4),
            max_frames: 4 << 10,
            max_bytes: 64 << 20,
            max_requests: 1 << 10,
        }
    }
}

/// The connection to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The node.
    pub node: NodeId,
    /// Where it is dialed.
    pub address: String,
    /// Why it cannot be reached, in words for the operator; `None` when it can.
    pub trouble: Option<String>,
}

/// What all tasks of the network share.
pub(super) struct Shared {
    pub(super) cluster: ClusterId,
    pub(super) node: NodeId,
    /// Tells this process from any other with the same node id.
    pub(super) instance: u64,
    pub(super) shards: u32,
    pub(super) limits: NetworkLimits,
    pub(super) sides: Sides,
    /// Who may connect.
    pub(super) known: RwLock<BTreeSet<NodeId>>,
    pub(super) instances: Instances,
    pub(super) handler: Arc<dyn RequestHandler>,
    pub(super) delivery: OnceLock<Delivery>,
}

impl Shared {
    /// The clock, milliseconds since the Unix epoch.
    pub(super) fn now_ms(&self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |now| now.as_millis() as u64)
    }
}

/// Another node, and the connections to it.
struct Peer {
    address: String,
    links: BTreeMap<Class, Arc<Link>>,
    dialers: Vec<AbortHandle>,
}

/// This node's connections with the others. Clones are handles to the same ones, which close with the last of them, the one
/// given to the cluster included.
#[derive(Clone)]
pub struct ClusterNetwork {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    peers: RwLock<BTreeMap<NodeId, Peer>>,
    detours: BTreeMap<NodeId, String>,
    runtime: Handle,
    /// Aborted when dropped.
    tasks: Mutex<JoinSet<()>>,
}

impl ClusterNetwork {
    /// Begins to listen and to dial. To be called in a tokio runtime, and to be given to
    /// [`Cluster::start_with_transport`](crate::Cluster::start_with_transport) as its transport.
    ///
    /// # Errors
    /// The certificates do not read, or are not of this node.
    pub fn start(config: NetworkConfig, handler: Arc<dyn RequestHandler>) -> Result<Self, NetworkError> {
        let NetworkConfig {
            cluster,
            node,
            shards,
            listener,
            peers,
            detours,
            tls,
            limits,
        } = config;
        let mut instance = [0; 8];
        rustls::crypto::ring::default_provider()
            .secure_random
            .fill(&mut instance)
            .map_err(|_| NetworkError::Random)?;
        let shared = Arc::new(Shared {
            cluster,
            node,
            instance: u64::from_be_bytes(instance),
            shards,
            sides: tls.sides(node)?,
            // Before anybody connects, or its first attempt would be refused.
            known: RwLock::new(peers.keys().copied().collect()),
            instances: Instances::default(),
            handler,
            delivery: OnceLock::new(),
            limits,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(Box::pin(accept::run(shared.clone(), listener)));
        let network = Self {
            inner: Arc::new(Inner {
                shared,
                peers: RwLock::default(),
                detours,
                runtime: Handle::current(),
                tasks: Mutex::new(tasks),
            }),
        };
        for (node, address) in peers {
            network.add_peer(node, address);
        }
        Ok(network)
    }

    /// Dials another node from now on, by its detour if it has one, and lets it in; one that is known already is dialed at this address instead.
    pub fn add_peer(&self, node: NodeId, address: String) {
        let address = self.inner.detours.get(&node).cloned().unwrap_or(address);
        let shared = &self.inner.shared;
        if node == shared.node {
            return;
        }
        let mut peers = self.inner.peers.write().unwrap_or_else(PoisonError::into_inner);
        if peers.get(&node).is_some_and(|peer| peer.address == address) {
            return;
        }
        let mut tasks = self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut peer = Peer {
            address,
            links: BTreeMap::new(),
            dialers: Vec::new(),
        };
        for class in Class::ALL {
            let (link, queue) = Link::new(node, shared.limits.max_frames, shared.limits.max_bytes);
            let link = Arc::new(link);
            peer.links.insert(class, link.clone());
            let dialer = Dialer {
                shared: shared.clone(),
                peer: node,
                class,
                address: peer.address.clone(),
                link,
                queue,
            };
            peer.dialers
                .push(tasks.spawn_on(Box::pin(dialer.run()), &self.inner.runtime));
        }
        shared
            .known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(node);
        if let Some(before) = peers.insert(node, peer) {
            before.close("it is dialed at another address now");
        }
    }

    /// Forgets another node: it is not dialed any more, and not let in again. What it has connected already stays until it
    /// breaks.
    pub fn remove_peer(&self, node: NodeId) {
        let shared = &self.inner.shared;
        shared
            .known
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&node);
        let mut peers = self.inner.peers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = peers.remove(&node) {
            peer.close("it was removed");
        }
    }

    /// Asks node `to`, whose [`RequestHandler`] answers. Waits for no longer than `deadline`.
    ///
    /// # Errors
    /// After [`ForwardError::Deadline`] and [`ForwardError::Lost`] it may have been carried out; after any other, it was not.
    pub async fn forward(&self, to: NodeId, request: Bytes, deadline: Duration) -> Result<Bytes, ForwardError> {
        let link = self.inner.link(to, Class::Request)?;
        link.request(&request, Instant::now() + deadline).await
    }

    /// How the other nodes can be reached, ascending.
    pub fn peers(&self) -> Vec<PeerStatus> {
        let status = |(node, peer): (&NodeId, &Peer)| PeerStatus {
            node: *node,
            address: peer.address.clone(),
            trouble: peer.links.values().find_map(|link| link.trouble()),
        };
        let peers = self.inner.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.iter().map(status).collect()
    }

    /// Closes every connection and stops listening. Nothing is sent or delivered after it.
    pub async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        let peers = self.inner.peers.read().unwrap_or_else(PoisonError::into_inner);
        for peer in peers.values() {
            peer.close("this node's network has stopped");
        }
    }
}

impl Inner {
    fn link(&self, to: NodeId, class: Class) -> Result<Arc<Link>, ForwardError> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        let link = peers.get(&to).and_then(|peer| peer.links.get(&class));
        link.cloned().ok_or(ForwardError::UnknownPeer(to))
    }
}

impl Peer {
    fn close(&self, why: &str) {
        for dialer in &self.dialers {
            dialer.abort();
        }
        for link in self.links.values() {
            link.down(why.to_owned());
        }
    }
}

impl Transport for ClusterNetwork {
    fn connect(&self, delivery: Delivery) {
        // A network carries one cluster's frames; a second one's would be mixed up with them.
        if self.inner.shared.delivery.set(delivery).is_err() {
            tracing::error!("this network already belongs to another cluster handle");
        }
    }

    fn set_peers(&self, peers: &BTreeMap<NodeId, String>) {
        let gone = self.peers().into_iter().map(|peer| peer.node);
        for node in gone.filter(|node| !peers.contains_key(node)) {
            self.remove_peer(node);
        }
        for (node, address) in peers.iter().filter(|(_, address)| !address.is_empty()) {
            self.add_peer(*node, address.clone());
        }
    }

    fn send(&self, to: NodeId, frame: Vec<u8>) {
        if let Ok(link) = self.inner.link(to, Class::Raft) {
            // What does not fit, or has no connection, is lost: Raft sends again what matters.
            let _ = link.send(wire::frame(Kind::Raft, &[&frame]));
        }
    }

    fn send_bulk(&self, to: NodeId, request: Bytes, reply: BulkReply) {
        let link = match self.inner.link(to, Class::Snapshot) {
            Ok(link) => link,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let deadline = Instant::now() + self.inner.shared.limits.silence * 4;
        self.inner.runtime.spawn(async move {
            let _ = reply.send(link.request(&request, deadline).await);
        });
    }
}

impl fmt::Debug for ClusterNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterNetwork")
            .field("node", &self.inner.shared.node)
            .finish_non_exhaustive()
    }
}
