//! A node from start to stop, in order: stores, cluster, actors, listeners; then whatever ends it; then the same backwards.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix::{Arbiter, ArbiterHandle, System};
use mimi_hub_cluster::{
    Cluster, ClusterConfig, ClusterNetwork, ClusterTls, MetaConfig, NetworkConfig, NetworkLimits, NodeId, Transport,
};
use mimi_hub_proto::uri::ProviderDomain;
use mimi_hub_storage::{ClusterId, DataDir, Identity, RaftEngineConfig, RaftEngineLog};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{error, info};

use crate::assets::Assets;
use crate::config::{Config, NodeConfig};
use crate::error::NodeError;
use crate::forward::Answering;
use crate::front::{admin, federation, local};
use crate::hub::Hub;
use crate::listener::{self, Listener};
use crate::machine::{Machine, Notice};
use crate::members;
use crate::mls::hub_keys::HubKeys;
use crate::mls::seal::SealKey;
use crate::peer::PeerClient;
use crate::repair;
use crate::tls::{self, Tls};

/// The sockets that a node serves on, bound before it starts.
pub struct Sockets {
    /// For other providers.
    pub federation: TcpListener,
    /// For the provider's own gateways.
    pub local: TcpListener,
    /// For the other nodes, if there are any.
    pub cluster: Option<TcpListener>,
    /// For operators, if they are let in.
    pub admin: Option<TcpListener>,
}

impl Sockets {
    /// Binds the configured addresses.
    ///
    /// # Errors
    /// An address is taken, or not of this machine.
    pub async fn bind(config: &Config) -> Result<Self, NodeError> {
        Ok(Sockets {
            federation: listener::bind("federation", config.federation.listen).await?,
            local: listener::bind("local", config.local.listen).await?,
            cluster: match &config.cluster {
                Some(cluster) => Some(listener::bind("cluster", cluster.listen).await?),
                None => None,
            },
            admin: match &config.admin {
                Some(admin) => Some(listener::bind("admin", admin.listen).await?),
                None => None,
            },
        })
    }
}

/// Runs a node until `shutdown` completes. It has then answered what it had taken in, flushed and closed its stores.
///
/// # Errors
/// What keeps it from starting.
pub async fn run(config: Config, sockets: Sockets, shutdown: impl Future<Output = ()> + Send) -> Result<(), NodeError> {
    let federation_tls = Tls::load("federation", (&config.federation).into())?;
    let local_tls = Tls::load("local", (&config.local).into())?;
    let node = NodeId(config.cluster.as_ref().map_or(1, |cluster| cluster.node));
    let admin_tls = match &config.admin {
        Some(admin) => Some(Tls::load("admin", admin.into())?),
        None => None,
    };
    let seal = match &config.cluster {
        Some(cluster) => Some(SealKey::read(&cluster.seal_key)?),
        None => None,
    };
    let cluster_id = cluster_id(config.primary_domain(), seal.as_ref());
    let data = DataDir::open(
        &config.hub.data_dir,
        Identity {
            cluster: cluster_id,
            node: node.0,
        },
    )?;
    // A lone node keeps the keys with its data.
    let own_keys = match &seal {
        Some(_) => None,
        None => Some(HubKeys::open_in(&data, config.primary_domain())?),
    };
    let log = Arc::new(RaftEngineLog::open(&data.log_path(), &RaftEngineConfig::default())?);
    let state = Arc::new(repair::open_state(&data.state_path(), seal.is_some())?);

    let (machine, notices) = Machine::new();
    let machine = Arc::new(machine);
    let mut cluster_config = ClusterConfig::single_node(cluster_id, node, config.hub.shards.into());
    cluster_config.meta = Some(MetaConfig::default());
    let answering = Arc::new(Answering::default());
    let network = match (&config.cluster, sockets.cluster) {
        (Some(several), Some(socket)) => {
            let nodes = numbered(several.numbered())?;
            cluster_config.nodes = nodes.keys().copied().collect();
            cluster_config.joining = several.join;
            cluster_config.meta = Some(MetaConfig {
                replicas: several.replicas.into(),
                addresses: nodes.clone(),
                zone: several.zone.clone(),
                replace_after: Duration::from_millis(several.replace_after_ms),
                ..MetaConfig::default()
            });
            let network = network(several, cluster_id, config.hub.shards.into(), socket, nodes)?;
            Some(Arc::new(ClusterNetwork::start(network, Arc::clone(&answering) as _)?))
        }
        _ => None,
    };
    let cluster = match &network {
        Some(network) => {
            let transport = Arc::clone(network) as Arc<dyn Transport>;
            Cluster::start_with_transport(cluster_config, log, state, machine, transport).await?
        }
        None => Cluster::start(cluster_config, log, state, machine).await?,
    };
    let mut shutdown = std::pin::pin!(shutdown);
    let keys = match (own_keys, &seal) {
        (Some(keys), _) => Some(keys),
        (None, Some(seal)) => tokio::select! {
            keys = members::shared_keys(&cluster, seal, config.primary_domain()) => Some(keys?),
            () = &mut shutdown => None,
        },
        (None, None) => None,
    };
    let Some(keys) = keys else {
        // Told to stop before there was anything to serve with.
        cluster.stop().await;
        if let Some(network) = network {
            network.stop().await;
        }
        return Ok(());
    };
    let actors = Actors::start().await?;
    let peers = PeerClient::new(&config, Arc::clone(&federation_tls))?;
    let assets = Assets::new(&config)?;
    let hub = Hub::new(
        config,
        keys,
        cluster.clone(),
        network.clone(),
        peers,
        assets,
        &actors.arbiters,
    );
    answering.with(&hub);
    let listening = tokio::spawn(listen_to_machine(Arc::clone(&hub), notices));
    let mut watching = JoinSet::new();
    if let Some(config) = hub.config().cluster.clone() {
        if config.check_interval_ms > 0 {
            let interval = Duration::from_millis(config.check_interval_ms);
            watching.spawn(repair::watch(Arc::clone(&hub), interval));
        }
        watching.spawn(members::announce(Arc::clone(&hub), config));
        if let Some(seal) = seal {
            watching.spawn(members::follow_keys(Arc::clone(&hub), seal));
        }
    }
    let listeners = [Some(&federation_tls), Some(&local_tls), admin_tls.as_ref()];
    let listeners = listeners.into_iter().flatten().cloned().collect();
    let renewing = tokio::spawn(tls::keep_fresh(listeners, tls::POLL));

    let limits = (&hub.config().limits).into();
    let federation = Listener {
        name: "federation",
        socket: sockets.federation,
        tls: federation_tls,
        router: federation::router(&hub)?,
        limits,
    };
    let local = Listener {
        name: "local",
        socket: sockets.local,
        tls: local_tls,
        router: local::router(&hub),
        limits,
    };
    let admin = sockets.admin.zip(admin_tls).map(|(socket, tls)| Listener {
        name: "admin",
        socket,
        tls,
        router: admin::router(&hub),
        limits,
    });
    info!(domains = ?hub.config().hub.domains, shards = cluster.shards(), "serving");
    let (stop, stopping) = watch::channel(());
    let serving = async {
        tokio::join!(
            federation.serve(closed(stopping.clone())),
            local.serve(closed(stopping.clone())),
            async {
                if let Some(admin) = admin {
                    admin.serve(closed(stopping)).await;
                }
            }
        );
    };
    let leaving = cluster.clone();
    let shutdown = async {
        shutdown.await;
        info!("stopping");
        // First of all: while others take over, everything here still answers.
        leaving.hand_over().await;
        drop(stop);
    };
    tokio::join!(serving, shutdown);

    renewing.abort();
    watching.shutdown().await;
    let [rooms, followed, users] = hub.active_actors();
    info!(rooms, followed, users, "requests are answered; closing the stores");
    actors.stop().await;
    cluster.stop().await;
    if let Some(network) = network {
        network.stop().await;
    }
    listening.abort();
    Ok(())
}

fn numbered(nodes: Option<BTreeMap<u64, &str>>) -> Result<BTreeMap<NodeId, String>, NodeError> {
    Ok(nodes
        .ok_or(NodeError::Nodes)?
        .into_iter()
        .map(|(number, address)| (NodeId(number), address.to_owned()))
        .collect())
}

fn network(
    config: &NodeConfig,
    cluster: ClusterId,
    shards: u32,
    listener: TcpListener,
    peers: BTreeMap<NodeId, String>,
) -> Result<NetworkConfig, NodeError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| NodeError::TlsRead {
            path: path.to_owned(),
            source,
        })
    };
    Ok(NetworkConfig {
        cluster,
        node: NodeId(config.node),
        shards,
        listener,
        peers,
        detours: numbered(config.numbered_detours())?,
        tls: ClusterTls {
            ca: read(&config.ca)?,
            certificate: read(&config.certificate)?,
            key: read(&config.private_key)?,
        },
        limits: NetworkLimits::default(),
    })
}

/// A provider's data folder is not another provider's, and nodes with different seal keys are not one hub, they refuse each
/// other: the first 16 bytes of SHA-256 of the primary domain and of what tells seal keys apart.
fn cluster_id(domain: &ProviderDomain, seal: Option<&SealKey>) -> ClusterId {
    let mut digest = Sha256::new_with_prefix(domain.as_str().as_bytes());
    if let Some(seal) = seal {
        digest.update([0]);
        digest.update(seal.fingerprint());
    }
    let mut id = [0; 16];
    id.copy_from_slice(&digest.finalize()[..16]);
    ClusterId(id)
}

async fn closed(mut stopping: watch::Receiver<()>) {
    // An error is what is waited for: the sender is gone.
    while stopping.changed().await.is_ok() {}
}

/// Passes on what the state machine says: to delivery, to those who wait for events, to a lost shard's actors.
async fn listen_to_machine(hub: Arc<Hub>, mut notices: mpsc::UnboundedReceiver<Notice>) {
    // In the order of the notices, not by who leads at the moment: events that were applied before the shard was taken over
    // (a restart replays them) stand behind older undelivered ones, which only the outbox knows.
    let mut delivers = HashSet::new();
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Applied(shard, events) => {
                for event in events {
                    if delivers.contains(&shard) {
                        hub.delivery().applied(&hub, &event);
                    }
                    hub.wakers().wake(&event.entity);
                }
            }
            Notice::Leads(shard, true) => {
                delivers.insert(shard);
                if let Err(error) = hub.delivery().take_over(&hub, shard) {
                    error!(%shard, %error, "a shard's deliveries cannot be taken up");
                }
            }
            Notice::Leads(shard, false) => {
                delivers.remove(&shard);
                hub.resign(shard);
            }
        }
    }
}

/// The actor system: one arbiter, which is one thread, a core.
struct Actors {
    arbiters: Vec<ArbiterHandle>,
    system: System,
    thread: std::thread::JoinHandle<()>,
}

impl Actors {
    async fn start() -> Result<Self, NodeError> {
        let (started, starting) = oneshot::channel();
        let thread = std::thread::Builder::new().name("actors".to_owned()).spawn(move || {
            let runner = System::new();
            // The receiver waits below; without it there is nobody to run for.
            if started.send(System::current()).is_ok()
                && let Err(error) = runner.run()
            {
                error!(%error, "the actor system has failed");
            }
        });
        let thread = thread.map_err(NodeError::Actors)?;
        let system = starting
            .await
            .map_err(|_| NodeError::Actors(std::io::Error::other("it ended at once")))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (made, making) = oneshot::channel();
        // Arbiters belong to the system of the thread that makes them.
        let spawned = system.arbiter().spawn_fn(move || {
            drop(made.send((0..cores).map(|_| Arbiter::new().handle()).collect::<Vec<_>>()));
        });
        let arbiters = making.await.ok().filter(|_| spawned);
        let arbiters = arbiters.ok_or_else(|| NodeError::Actors(std::io::Error::other("no arbiter started")))?;
        Ok(Actors {
            arbiters,
            system,
            thread,
        })
    }

    async fn stop(self) {
        self.system.stop();
        let ended = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(ended, Ok(Ok(()))) {
            error!("the actor system did not stop in order");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_with_different_seal_keys_are_not_of_one_cluster() {
        let domain: ProviderDomain = "a.example".parse().unwrap();
        let other: ProviderDomain = "b.example".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let key = |text: &str| {
            let path = folder.path().join("seal.key");
            // 32 bytes in base64 are 43 characters and a padding.
            fs::write(&path, text.repeat(43) + "=").unwrap();
            SealKey::read(&path).unwrap()
        };
        let (keys, others) = (key("A"), key("I"));
        assert_eq!(cluster_id(&domain, Some(&keys)), cluster_id(&domain, Some(&keys)));
        assert_ne!(cluster_id(&domain, Some(&keys)), cluster_id(&domain, Some(&others)));
        assert_ne!(cluster_id(&domain, Some(&keys)), cluster_id(&domain, None));
        assert_ne!(cluster_id(&domain, None), cluster_id(&other, None));
    }
}
