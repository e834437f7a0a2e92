//! Three nodes in one process, with real stores, over real TLS on loopback.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mimi_hub_storage::{Direction, KeyRange, RaftEngineConfig, RaftEngineLog, SledConfig, SledStore};
use tokio::net::TcpListener;

use super::Cluster;
use super::support::{Machine, config, eventually};
use crate::config::{ClusterConfig, NodeId};
use crate::error::ProposeError;
use crate::machine::Leadership;
use crate::members::MemberStep;
use crate::shard::ShardId;
use crate::transport::ClusterNetwork;
use crate::transport::testing::{Ca, Echo, bind, network_config};

pub(super) const SHARDS: u32 = 12;

pub(super) struct Node {
    pub(super) cluster: Cluster,
    pub(super) network: ClusterNetwork,
}

pub(super) struct Nodes {
    dir: tempfile::TempDir,
    ca: Ca,
    pub(super) addresses: BTreeMap<NodeId, String>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    change: fn(&mut ClusterConfig),
}

impl Nodes {
    pub(super) async fn start(change: fn(&mut ClusterConfig)) -> Self {
        let mut listeners = BTreeMap::new();
        let mut addresses = BTreeMap::new();
        for id in [1, 2, 3].map(NodeId) {
            let (listener, address) = bind().await;
            addresses.insert(id, address);
            listeners.insert(id, listener);
        }
        let mut nodes = Self {
            dir: tempfile::tempdir().unwrap(),
            ca: Ca::new(),
            addresses,
            nodes: BTreeMap::new(),
            change,
        };
        for (id, listener) in listeners {
            nodes.start_on(id, listener).await;
        }
        nodes
    }

    pub(super) async fn start_node(&mut self, id: NodeId) {
        let mut listener = TcpListener::bind(&self.addresses[&id]).await;
        for _ in 0..100 {
            if listener.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
                listener = TcpListener::bind(&self.addresses[&id]).await;
            }
        }
        self.start_on(id, listener.unwrap()).await;
    }

    pub(super) async fn start_on(&mut self, id: NodeId, listener: TcpListener) {
        let mut network = network_config(id.0, listener, &self.addresses, self.ca.node(id));
        network.shards = SHARDS;
        let network = ClusterNetwork::start(network, Arc::new(Echo)).unwrap();
        let mut config = config(SHARDS);
        config.node = id;
        config.nodes = [1, 2, 3].map(NodeId).to_vec();
        config.joining = !config.nodes.contains(&id);
        (self.change)(&mut config);
        if let Some(meta) = &mut config.meta {
            meta.addresses = self.addresses.clone();
        }
        let (log, state) = open(&self.dir.path().join(id.to_string())).await;
        let machine = Arc::new(Machine::default());
        let cluster = Cluster::start_with_transport(config, log, state, machine, Arc::new(network.clone()))
            .await
            .unwrap();
        self.nodes.insert(id, Node { cluster, network });
    }

    /// Cuts a node off at once, and lets go of it.
    pub(super) async fn kill(&mut self, id: NodeId) {
        let node = self.nodes.remove(&id).unwrap();
        node.network.stop().await;
    }

    pub(super) fn leader(&self, shard: ShardId) -> Option<NodeId> {
        let leads = |node: &Node| matches!(node.cluster.leadership(shard), Leadership::Leader { .. });
        self.nodes.iter().find(|(_, node)| leads(node)).map(|(id, _)| *id)
    }

    pub(super) fn shards() -> impl Iterator<Item = ShardId> + Clone {
        (0..SHARDS).map(ShardId)
    }

    pub(super) async fn all_led(&self) {
        eventually("leaders", || Self::shards().all(|shard| self.leader(shard).is_some())).await;
    }

    fn led_by(&self, id: NodeId) -> usize {
        Self::shards().filter(|shard| self.leader(*shard) == Some(id)).count()
    }

    /// Proposes until it is acknowledged.
    pub(super) async fn append(&self, shard: ShardId, text: &str) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            let Some(leader) = self.leader(shard) else {
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            };
            match self.nodes[&leader].cluster.propose(shard, text).await {
                Ok(_) => return,
                Err(ProposeError::NotLeader { .. } | ProposeError::Unknown) => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("{shard} is away for too long");
    }

    /// Changes the members, with the leadership where it has to be, once what it needs has been reached.
    async fn change(&self, shard: ShardId, steps: Vec<MemberStep>) {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if let Some(leader) = self.leader(shard) {
                let cluster = &self.nodes[&leader].cluster;
                let steps = steps.clone();
                // The leader itself cannot be removed.
                if steps.contains(&MemberStep::Remove(leader)) {
                    cluster.transfer(shard, NodeId(3));
                } else if cluster.change_members(shard, steps).await.is_ok() {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the members of {shard} do not change");
    }

    pub(super) fn items(&self, id: NodeId, shard: ShardId) -> Vec<Vec<u8>> {
        let pairs =
            self.nodes[&id]
                .cluster
                .reader(shard)
                .scan(&KeyRange::prefix("item"), usize::MAX, Direction::Forward);
        pairs.unwrap().into_iter().map(|(_, value)| value).collect()
    }

    /// Waits until all replicas hold the same, and checks that it is every item of `acknowledged`.
    async fn all_hold(&self, acknowledged: &BTreeMap<ShardId, Vec<String>>) {
        for shard in Self::shards() {
            eventually("agreement", || {
                let first = self.items(NodeId(1), shard);
                let held = acknowledged.get(&shard).map_or(0, Vec::len);
                first.len() >= held && self.nodes.keys().all(|id| self.items(*id, shard) == first)
            })
            .await;
            let items = self.items(NodeId(1), shard);
            for item in acknowledged.get(&shard).into_iter().flatten() {
                assert!(items.contains(&item.clone().into_bytes()), "{shard} lost {item}");
            }
        }
    }
}

/// Opens the stores, once whoever had them open has let go.
async fn open(dir: &Path) -> (Arc<RaftEngineLog>, Arc<SledStore>) {
    let mut last = None;
    for _ in 0..500 {
        let log = RaftEngineLog::open(&dir.join("log"), &RaftEngineConfig::default());
        let state = SledStore::open(&dir.join("state"), &SledConfig::default());
        match (log, state) {
            (Ok(log), Ok(state)) => return (Arc::new(log), Arc::new(state)),
            (log, state) => last = log.err().or(state.err()),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the stores stay locked: {last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_nodes_are_killed_and_come_back() {
    let mut nodes = Nodes::start(|_| {}).await;
    nodes.all_led().await;
    let mut acknowledged: BTreeMap<ShardId, Vec<String>> = BTreeMap::new();
    let mut away = Vec::new();
    for round in 0..6 {
        for (n, shard) in Nodes::shards().cycle().take(60).enumerate() {
            let text = format!("before {round} {n}");
            nodes.append(shard, &text).await;
            acknowledged.entry(shard).or_default().push(text);
        }
        let killed = nodes.leader(ShardId(round)).unwrap();
        nodes.kill(killed).await;
        let begun = Instant::now();
        let text = format!("failover {round}");
        nodes.append(ShardId(round), &text).await;
        away.push(begun.elapsed());
        acknowledged.entry(ShardId(round)).or_default().push(text);
        nodes.start_node(killed).await;
        nodes.all_led().await;
    }
    nodes.all_hold(&acknowledged).await;
    away.sort_unstable();
    println!("away after a kill: {away:?}");
    assert!(away[away.len() / 2] < Duration::from_secs(1), "{away:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_are_spread_and_a_planned_stop_hands_them_over() {
    let mut nodes = Nodes::start(|_| {}).await;
    let even = |nodes: &Nodes| nodes.nodes.keys().all(|id| nodes.led_by(*id) == SHARDS as usize / 3);
    eventually("an even spread", || even(&nodes)).await;
    let stopping = nodes.nodes.remove(&NodeId(2)).unwrap();
    let begun = Instant::now();
    let handed_over = AtomicU64::new(0);
    let (took, ()) = tokio::join!(
        async {
            stopping.cluster.stop().await;
            handed_over.store(begun.elapsed().as_millis() as u64, Ordering::SeqCst);
            begun.elapsed()
        },
        async {
            for shard in Nodes::shards() {
                nodes.append(shard, "during").await;
            }
        }
    );
    println!(
        "a stop took {took:?}, every shard was written to after {:?}",
        begun.elapsed()
    );
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(Nodes::shards().all(|shard| nodes.leader(shard).is_some()));
    stopping.network.stop().await;
    drop(stopping);
    nodes.start_node(NodeId(2)).await;
    eventually("an even spread again", || even(&nodes)).await;
    let during = BTreeMap::from_iter(Nodes::shards().map(|shard| (shard, vec!["during".to_owned()])));
    nodes.all_hold(&during).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lacks_too_much_gets_snapshots_while_the_shards_go_on() {
    let mut nodes = Nodes::start(|config| {
        (config.keep_entries, config.max_lag_entries) = (5, 20);
        config.flush_interval = Duration::from_millis(30);
    })
    .await;
    nodes.all_led().await;
    nodes.kill(NodeId(3)).await;
    let mut acknowledged: BTreeMap<ShardId, Vec<String>> = BTreeMap::new();
    let mut append = async |nodes: &Nodes, round: u32| {
        for shard in Nodes::shards() {
            let text = format!("{round} {}", "x".repeat(1000));
            nodes.append(shard, &text).await;
            acknowledged.entry(shard).or_default().push(text);
        }
    };
    for round in 0..60 {
        append(&nodes, round).await;
    }
    let compacted = |nodes: &Nodes| {
        let shards = nodes.nodes.values().flat_map(|node| node.cluster.status().shards);
        shards.into_iter().all(|status| status.first_index > 20)
    };
    // What the third one lacks first is in no log any more.
    eventually("compaction", || compacted(&nodes)).await;
    nodes.start_node(NodeId(3)).await;
    for round in 60..100 {
        append(&nodes, round).await;
    }
    nodes.all_hold(&acknowledged).await;
    // What it has installed is what it starts from.
    nodes.kill(NodeId(3)).await;
    nodes.start_node(NodeId(3)).await;
    nodes.all_hold(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_and_takes_the_place_of_another() {
    let mut nodes = Nodes::start(|_| {}).await;
    nodes.all_led().await;
    let mut acknowledged: BTreeMap<ShardId, Vec<String>> = BTreeMap::new();
    for shard in Nodes::shards() {
        nodes.append(shard, "before").await;
        acknowledged.entry(shard).or_default().push("before".to_owned());
    }
    let (new, old) = (NodeId(4), NodeId(2));
    let (listener, address) = bind().await;
    for node in nodes.nodes.values() {
        node.network.add_peer(new, address.clone());
    }
    nodes.addresses.insert(new, address);
    nodes.start_on(new, listener).await;
    for shard in Nodes::shards() {
        nodes.change(shard, vec![MemberStep::Learn(new)]).await;
        nodes
            .change(shard, vec![MemberStep::Promote(new), MemberStep::Remove(old)])
            .await;
        nodes.append(shard, "after").await;
        acknowledged.entry(shard).or_default().push("after".to_owned());
    }
    nodes.kill(old).await;
    nodes.all_hold(&acknowledged).await;
    // What it joined as is forgotten: it is a member like any other, also after a restart.
    nodes.kill(new).await;
    nodes.start_node(new).await;
    nodes.kill(NodeId(1)).await;
    for shard in Nodes::shards() {
        nodes.append(shard, "at the end").await;
    }
}
