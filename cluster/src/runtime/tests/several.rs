//! Three nodes with their threads in one process, over a network that is a map.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use mimi_hub_storage::{MemoryLog, MemoryStore};

use super::support::{Machine, config, eventually};
use super::{Cluster, SHARD};
use crate::config::NodeId;
use crate::error::ProposeError;
use crate::machine::Leadership;
use crate::transport::Transport;

/// Delivers at once, except to and from nodes that are cut off.
#[derive(Default)]
struct Net {
    nodes: Mutex<BTreeMap<NodeId, Cluster>>,
    cut: Mutex<BTreeSet<NodeId>>,
}

struct Link {
    from: NodeId,
    net: Weak<Net>,
}

impl Transport for Link {
    fn send(&self, to: NodeId, frame: Vec<u8>) {
        let Some(net) = self.net.upgrade() else { return };
        let cut = net.cut.lock().unwrap();
        if cut.contains(&self.from) || cut.contains(&to) {
            return;
        }
        if let Some(cluster) = net.nodes.lock().unwrap().get(&to) {
            cluster.deliver(self.from, &frame).unwrap();
        }
    }
}

struct Nodes {
    net: Arc<Net>,
    stores: BTreeMap<NodeId, (Arc<MemoryLog>, Arc<MemoryStore>)>,
}

impl Nodes {
    async fn start() -> Self {
        let ids = [1, 2, 3].map(NodeId);
        let nodes = Self {
            net: Arc::default(),
            stores: ids.map(|id| (id, Default::default())).into(),
        };
        for id in ids {
            nodes.start_node(id).await;
        }
        nodes
    }

    async fn start_node(&self, id: NodeId) {
        let mut config = config(1);
        config.node = id;
        config.nodes = self.stores.keys().copied().collect();
        config.tick = Duration::from_millis(10);
        let (log, state) = self.stores[&id].clone();
        let link = Link {
            from: id,
            net: Arc::downgrade(&self.net),
        };
        let machine = Arc::new(Machine::default());
        let cluster = Cluster::start_with_transport(config, log, state, machine, Arc::new(link))
            .await
            .unwrap();
        self.net.nodes.lock().unwrap().insert(id, cluster);
    }

    fn node(&self, id: NodeId) -> Cluster {
        self.net.nodes.lock().unwrap()[&id].clone()
    }

    async fn stop_node(&self, id: NodeId) {
        let cluster = self.net.nodes.lock().unwrap().remove(&id).unwrap();
        cluster.stop().await;
    }

    fn leaders(&self) -> Vec<NodeId> {
        let nodes = self.net.nodes.lock().unwrap();
        let leads = |cluster: &Cluster| matches!(cluster.leadership(SHARD), Leadership::Leader { .. });
        nodes
            .iter()
            .filter(|(_, cluster)| leads(cluster))
            .map(|(id, _)| *id)
            .collect()
    }

    async fn leader(&self, not: Option<NodeId>) -> NodeId {
        let mut found = None;
        eventually("leader", || {
            found = self.leaders().into_iter().find(|id| Some(*id) != not);
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    async fn all_hold(&self, count: u64) {
        eventually("agreement", || {
            let nodes = self.net.nodes.lock().unwrap();
            let held = nodes
                .values()
                .map(|cluster| cluster.reader(SHARD).get(b"count").unwrap());
            held.into_iter().all(|held| held == Some(count.to_be_bytes().to_vec()))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_reaches_every_replica_and_a_follower_names_the_leader() {
    let nodes = Nodes::start().await;
    let leader = nodes.leader(None).await;
    for _ in 0..50 {
        nodes.node(leader).propose(SHARD, "append").await.unwrap();
    }
    nodes.node(leader).read_barrier(SHARD).await.unwrap();
    nodes.all_hold(50).await;
    let follower = nodes.stores.keys().find(|id| **id != leader).unwrap();
    let refusal = ProposeError::NotLeader { leader: Some(leader) };
    assert_eq!(
        nodes.node(*follower).propose(SHARD, "append").await,
        Err(refusal.clone())
    );
    assert_eq!(nodes.node(*follower).read_barrier(SHARD).await, Err(refusal));
    assert_eq!(
        nodes.node(*follower).leadership(SHARD),
        Leadership::Follower { leader: Some(leader) }
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shard_outlives_its_leader_which_catches_up_when_it_returns() {
    let nodes = Nodes::start().await;
    let first = nodes.leader(None).await;
    for _ in 0..20 {
        nodes.node(first).propose(SHARD, "append").await.unwrap();
    }
    nodes.stop_node(first).await;
    let second = nodes.leader(Some(first)).await;
    for n in 20..40_u64 {
        let outcome = nodes.node(second).propose(SHARD, "append").await.unwrap();
        assert_eq!(outcome.bytes, (n + 1).to_be_bytes());
    }
    nodes.start_node(first).await;
    nodes.all_hold(40).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_hands_over_first_and_names_the_new_leader_until_it_stops() {
    let nodes = Nodes::start().await;
    let first = nodes.leader(None).await;
    nodes.node(first).propose(SHARD, "append").await.unwrap();
    nodes.node(first).hand_over().await;
    let second = nodes.leader(Some(first)).await;
    assert_eq!(nodes.leaders(), [second]);
    let named = Leadership::Follower { leader: Some(second) };
    eventually("the new leader's name", || nodes.node(first).leadership(SHARD) == named).await;
    assert_eq!(
        nodes.node(first).propose(SHARD, "append").await,
        Err(ProposeError::NotLeader { leader: Some(second) })
    );
    nodes.node(second).propose(SHARD, "append").await.unwrap();
    // It follows as before.
    nodes.all_hold(2).await;
    nodes.stop_node(first).await;
    nodes.node(second).propose(SHARD, "append").await.unwrap();
    nodes.all_hold(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_answers_that_it_does_not_know() {
    let nodes = Nodes::start().await;
    let old = nodes.leader(None).await;
    nodes.node(old).propose(SHARD, "append").await.unwrap();
    nodes.net.cut.lock().unwrap().insert(old);
    let (proposal, read) = tokio::join!(nodes.node(old).propose(SHARD, "append"), async {
        nodes.node(old).read_barrier(SHARD).await
    });
    assert_eq!(proposal, Err(ProposeError::Unknown));
    assert!(matches!(read, Err(ProposeError::NotLeader { .. })), "{read:?}");
    let new = nodes.leader(Some(old)).await;
    nodes.node(new).propose(SHARD, "append").await.unwrap();
    nodes.net.cut.lock().unwrap().clear();
    // The one that nobody knew of was never seen by the others, and is gone.
    nodes.all_hold(2).await;
}
