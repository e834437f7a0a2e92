//! Measures a cluster of three nodes in this process, with real stores, over TLS on loopback.
//!
//! ```text
//! cargo run --release -p mimi-hub-cluster --example measure -- idle 1000 20
//! cargo run --release -p mimi-hub-cluster --example measure -- failover 64 50
//! ```
//!
//! `idle SHARDS SECONDS`: the share of a core that the three nodes take together while nothing happens.
//! `failover SHARDS KILLS`: under load, how long a shard is away when its leader is killed.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mimi_hub_cluster::{
    ApplyError, Cluster, ClusterConfig, ClusterNetwork, ClusterTls, EntryMeta, HandlerFuture, Leadership,
    NetworkConfig, NetworkLimits, NodeId, RequestHandler, ShardId, ShardTxn, StateMachine, node_name,
};
use mimi_hub_storage::{ClusterId, RaftEngineConfig, RaftEngineLog, SledConfig, SledStore};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio::sync::RwLock;

type Failure = Box<dyn Error + Send + Sync>;

const CLUSTER: ClusterId = ClusterId([7; 16]);
const CLIENTS: u32 = 32;

struct Last;

impl StateMachine for Last {
    fn apply(&self, txn: &mut ShardTxn<'_>, _entry: EntryMeta, command: &[u8]) -> Result<Vec<u8>, ApplyError> {
        txn.put(b"last", command);
        Ok(Vec::new())
    }
}

struct Nothing;

impl RequestHandler for Nothing {
    fn handle(&self, _from: NodeId, request: Bytes) -> HandlerFuture {
        Box::pin(async move { request })
    }
}

struct Node {
    cluster: Cluster,
    network: ClusterNetwork,
}

struct Nodes {
    dir: tempfile::TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
    addresses: BTreeMap<NodeId, String>,
    up: RwLock<BTreeMap<NodeId, Node>>,
    shards: u32,
}

impl Nodes {
    async fn start(shards: u32) -> Result<Self, Failure> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        let mut listeners = BTreeMap::new();
        let mut addresses = BTreeMap::new();
        for id in [1, 2, 3].map(NodeId) {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.insert(id, listener.local_addr()?.to_string());
            listeners.insert(id, listener);
        }
        let nodes = Self {
            dir: tempfile::tempdir()?,
            ca: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
            addresses,
            up: RwLock::default(),
            shards,
        };
        for (id, listener) in listeners {
            nodes.start_node(id, listener).await?;
        }
        Ok(nodes)
    }

    async fn start_node(&self, id: NodeId, listener: TcpListener) -> Result<(), Failure> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([node_name(id)])?.signed_by(&key, &self.ca)?;
        let network = NetworkConfig {
            cluster: CLUSTER,
            node: id,
            shards: self.shards,
            listener,
            peers: self.addresses.clone(),
            detours: BTreeMap::new(),
            tls: ClusterTls {
                ca: self.ca.pem().into_bytes(),
                certificate: certificate.pem().into_bytes(),
                key: key.serialize_pem().into_bytes(),
            },
            limits: NetworkLimits::default(),
        };
        let network = ClusterNetwork::start(network, Arc::new(Nothing))?;
        let mut config = ClusterConfig::single_node(CLUSTER, id, self.shards);
        config.nodes = self.addresses.keys().copied().collect();
        let (log, state) = open(&self.dir.path().join(id.to_string())).await?;
        let transport = Arc::new(network.clone());
        let cluster = Cluster::start_with_transport(config, log, state, Arc::new(Last), transport).await?;
        self.up.write().await.insert(id, Node { cluster, network });
        Ok(())
    }

    async fn leader(&self, shard: ShardId) -> Option<(NodeId, Cluster)> {
        let up = self.up.read().await;
        let leads = |node: &Node| matches!(node.cluster.leadership(shard), Leadership::Leader { .. });
        up.iter()
            .find(|(_, node)| leads(node))
            .map(|(id, node)| (*id, node.cluster.clone()))
    }

    async fn all_led(&self) {
        for shard in (0..self.shards).map(ShardId) {
            while self.leader(shard).await.is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    async fn asleep(&self) -> usize {
        let up = self.up.read().await;
        let all = up.values().flat_map(|node| node.cluster.status().shards);
        all.filter(|status| status.asleep).count()
    }

    /// Proposes until it is acknowledged.
    async fn append(&self, shard: ShardId) {
        loop {
            if let Some((_, cluster)) = self.leader(shard).await
                && cluster.propose(shard, [7; 1024]).await.is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Opens the stores, once the killed node has let go of them.
async fn open(dir: &Path) -> Result<(Arc<RaftEngineLog>, Arc<SledStore>), Failure> {
    let mut attempts = 0;
    loop {
        let log = RaftEngineLog::open(&dir.join("log"), &RaftEngineConfig::default());
        let state = SledStore::open(&dir.join("state"), &SledConfig::default());
        match (log, state) {
            (Ok(log), Ok(state)) => return Ok((Arc::new(log), Arc::new(state))),
            (log, state) if attempts > 1000 => {
                log?;
                state?;
            }
            _ => {}
        }
        attempts += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Processor time of this process so far.
fn processor_time() -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // After the name, which is in parentheses: user and system time are the 12th and 13th, in hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

async fn idle(shards: u32, seconds: u64) -> Result<String, Failure> {
    let nodes = Nodes::start(shards).await?;
    nodes.all_led().await;
    let begun = Instant::now();
    while nodes.asleep().await < 3 * shards as usize && begun.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let asleep = nodes.asleep().await;
    let before = processor_time()?;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let took = processor_time()? - before;
    let percent = 100.0 * took.as_secs_f64() / seconds as f64;
    Ok(format!(
        "{shards} shards on 3 nodes, {asleep} of {} replicas asleep: {percent:.2} % of a core for all three, {:.2} % each",
        3 * shards,
        percent / 3.0
    ))
}

async fn failover(shards: u32, kills: u32) -> Result<String, Failure> {
    let nodes = Arc::new(Nodes::start(shards).await?);
    nodes.all_led().await;
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (nodes, stop, acknowledged) = (nodes.clone(), stop.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut shard = client;
                while !stop.load(Ordering::Relaxed) {
                    shard = (shard + 7) % nodes.shards;
                    nodes.append(ShardId(shard)).await;
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let mut away = Vec::new();
    let begun = Instant::now();
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let shard = ShardId(kill % shards);
        let Some((leader, cluster)) = nodes.leader(shard).await else {
            continue;
        };
        drop(cluster);
        let killed = nodes.up.write().await.remove(&leader);
        let at = Instant::now();
        if let Some(killed) = killed {
            killed.network.stop().await;
        }
        nodes.append(shard).await;
        away.push(at.elapsed());
        let listener = loop {
            match TcpListener::bind(&nodes.addresses[&leader]).await {
                Ok(listener) => break listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        nodes.start_node(leader, listener).await?;
    }
    let per_second = acknowledged.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await?;
    }
    away.sort_unstable();
    let at = |part: f64| {
        away.get(((away.len() as f64 - 1.0) * part).round() as usize)
            .copied()
            .unwrap_or_default()
    };
    Ok(format!(
        "{} kills at {per_second:.0} acknowledged/s: away p50 {:?}, p99 {:?}, longest {:?}",
        away.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    ))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u32| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let result = match arguments.first().map(String::as_str) {
        Some("idle") => idle(number(1, 1000)?, u64::from(number(2, 20)?)).await?,
        Some("failover") => failover(number(1, 64)?, number(2, 50)?).await?,
        _ => return Err("say `idle SHARDS SECONDS` or `failover SHARDS KILLS`".into()),
    };
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{result}")?;
    Ok(())
}
