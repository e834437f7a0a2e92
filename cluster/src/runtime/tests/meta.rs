//! Nodes that come and go, over TLS and real stores.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::support::eventually;
use super::tls::{Nodes, SHARDS};
use crate::config::NodeId;
use crate::error::ProposeError;
use crate::machine::Leadership;
use crate::meta::{MetaCommand, MetaConfig, MetaError, MetaState, Standing};
use crate::runtime::Cluster;
use crate::transport::testing::bind;

impl Nodes {
    fn meta_leader(&self) -> Option<&Cluster> {
        self.nodes
            .values()
            .map(|node| &node.cluster)
            .find(|cluster| cluster.leads_meta())
    }

    /// Changes the meta state, with whoever leads it.
    async fn change_meta(&self, command: MetaCommand) -> Result<(), MetaError> {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(20) {
            if let Some(leader) = self.meta_leader()
                && let Ok(outcome) = leader.change_meta(&command).await
            {
                return outcome;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the meta group is away");
    }

    fn state(&self, id: u64) -> std::sync::Arc<MetaState> {
        self.nodes[&NodeId(id)].cluster.meta().unwrap()
    }

    /// Every node says what it understands, as the owner of a cluster has it do.
    async fn announce(&self, id: u64, format: u16) -> Result<(), MetaError> {
        let address = self.addresses[&NodeId(id)].clone();
        eventually("a founded cluster", || self.state(id).is_founded()).await;
        self.change_meta(MetaCommand::Announce {
            node: NodeId(id),
            address,
            zone: String::new(),
            format,
        })
        .await
    }

    async fn join(&mut self, id: u64) {
        let (listener, address) = bind().await;
        self.addresses.insert(NodeId(id), address.clone());
        let join = MetaCommand::Join {
            node: NodeId(id),
            address,
            zone: String::new(),
        };
        self.change_meta(join).await.unwrap();
        self.start_on(NodeId(id), listener).await;
        self.announce(id, 2).await.unwrap();
    }

    /// By node: replicas with a vote and leaderships, of the shards.
    fn spread(&self) -> BTreeMap<NodeId, (usize, usize)> {
        let mut spread: BTreeMap<NodeId, (usize, usize)> = self.nodes.keys().map(|id| (*id, (0, 0))).collect();
        for node in self.nodes.values() {
            let cluster = &node.cluster;
            for status in cluster.status().shards {
                if matches!(status.leadership, Leadership::Leader { .. }) && status.members.outgoing.is_empty() {
                    spread.entry(cluster.node()).or_default().1 += 1;
                    for voter in &status.members.voters {
                        spread.entry(*voter).or_default().0 += 1;
                    }
                }
            }
        }
        spread
    }

    async fn is_even(&self, nodes: &[u64]) {
        let nodes: BTreeSet<NodeId> = nodes.iter().copied().map(NodeId).collect();
        eventually("even spread", || {
            let spread = self.spread();
            let of = |count: fn(&(usize, usize)) -> usize| {
                let counts: Vec<usize> = nodes.iter().map(|node| count(&spread[node])).collect();
                (
                    counts.iter().sum::<usize>(),
                    counts.iter().max().unwrap() - counts.iter().min().unwrap(),
                )
            };
            let ((replicas, uneven), (leaders, uneven_leaders)) = (of(|count| count.0), of(|count| count.1));
            let others = spread.iter().filter(|(id, _)| !nodes.contains(id));
            let (wanted, led) = (3 * SHARDS as usize, SHARDS as usize);
            (replicas, leaders) == (wanted, led)
                && uneven <= 1
                && uneven_leaders <= 1
                && others.into_iter().all(|(_, count)| *count == (0, 0))
        })
        .await;
    }
}

fn with_meta(config: &mut crate::config::ClusterConfig) {
    config.meta = Some(MetaConfig {
        replace_after: Duration::from_secs(3),
        ..MetaConfig::default()
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_become_five_and_three_again_and_lose_nothing() {
    let mut nodes = Nodes::start(with_meta).await;
    nodes.all_led().await;
    let mut acknowledged: BTreeMap<_, Vec<String>> = BTreeMap::new();
    let mut number = 0;
    let mut write = async |nodes: &Nodes, rounds: usize| {
        for shard in Nodes::shards().cycle().take(rounds * SHARDS as usize) {
            number += 1;
            let text = format!("entry {number}");
            nodes.append(shard, &text).await;
            acknowledged.entry(shard).or_default().push(text);
        }
        acknowledged.clone()
    };
    write(&nodes, 3).await;
    for id in 1..=3 {
        nodes.announce(id, 2).await.unwrap();
    }
    nodes.is_even(&[1, 2, 3]).await;
    nodes.join(4).await;
    nodes.join(5).await;
    write(&nodes, 3).await;
    nodes.is_even(&[1, 2, 3, 4, 5]).await;
    eventually("raised format", || nodes.state(5).format == 2).await;
    write(&nodes, 3).await;
    for id in [1, 4] {
        nodes
            .change_meta(MetaCommand::Drain {
                node: NodeId(id),
                force: false,
            })
            .await
            .unwrap();
    }
    write(&nodes, 3).await;
    nodes.is_even(&[2, 3, 5]).await;
    for id in [1, 4] {
        // What a node had goes with its replicas.
        let cluster = &nodes.nodes[&NodeId(id)].cluster;
        eventually("cleared replicas", || {
            let statuses = cluster.status().shards;
            statuses.iter().all(|status| !status.members.contains(NodeId(id)))
                && Nodes::shards().all(|shard| nodes.items(NodeId(id), shard).is_empty())
        })
        .await;
        nodes
            .change_meta(MetaCommand::Remove { node: NodeId(id) })
            .await
            .unwrap();
    }
    let acknowledged = write(&nodes, 3).await;
    for shard in Nodes::shards() {
        for id in [2, 3, 5].map(NodeId) {
            eventually("every entry", || {
                let items: BTreeSet<_> = nodes.items(id, shard).into_iter().collect();
                acknowledged[&shard].iter().all(|item| items.contains(item.as_bytes()))
            })
            .await;
            let items = nodes.items(id, shard);
            let distinct: BTreeSet<_> = items.iter().collect();
            assert!(distinct.len() <= items.len());
        }
    }
    let state = nodes.state(2);
    assert_eq!(state.nodes[&NodeId(1)].standing, Standing::Removed);
    eventually("removed nodes are not dialed any more", || {
        let peers = nodes.nodes[&NodeId(2)].network.peers();
        peers.iter().map(|peer| peer.node).eq([3, 5].map(NodeId))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stays_away_is_replaced_and_taken_back() {
    let mut nodes = Nodes::start(with_meta).await;
    nodes.all_led().await;
    for id in 1..=3 {
        nodes.announce(id, 2).await.unwrap();
    }
    nodes.join(4).await;
    nodes.is_even(&[1, 2, 3, 4]).await;
    nodes.kill(NodeId(2)).await;
    eventually("the node counts as away", || {
        nodes.state(1).nodes[&NodeId(2)].standing == Standing::Away
    })
    .await;
    nodes.is_even(&[1, 3, 4]).await;
    for shard in Nodes::shards() {
        nodes.append(shard, "without it").await;
    }
    nodes.start_node(NodeId(2)).await;
    nodes.is_even(&[1, 2, 3, 4]).await;
    assert_eq!(nodes.state(1).nodes[&NodeId(2)].standing, Standing::Active);
}

/// The newest format that node 3 of the mixed cluster understands.
static NODE_3_FORMAT: AtomicU16 = AtomicU16::new(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_format_is_held_back_until_every_node_understands_it() {
    let mut nodes = Nodes::start(|config| {
        with_meta(config);
        if let Some(meta) = &mut config.meta
            && config.node == NodeId(3)
        {
            meta.format = NODE_3_FORMAT.load(Ordering::SeqCst);
        }
    })
    .await;
    nodes.all_led().await;
    for (id, format) in [(1, 2), (2, 2), (3, 1)] {
        nodes.announce(id, format).await.unwrap();
    }
    let shard = Nodes::shards().next().unwrap();
    for number in 0..5 {
        nodes.append(shard, &format!("in a mixed cluster {number}")).await;
    }
    let check = async |nodes: &Nodes| {
        let leader = nodes.leader(shard).unwrap();
        nodes.nodes[&leader].cluster.check(shard).await
    };
    assert_eq!(check(&nodes).await, Err(ProposeError::HeldBack { format: 2 }));
    let raise = nodes.change_meta(MetaCommand::Raise { format: 2 }).await;
    let not_yet = MetaError::NotYet {
        node: NodeId(3),
        format: 2,
    };
    assert_eq!(raise, Err(not_yet));
    nodes.kill(NodeId(3)).await;
    NODE_3_FORMAT.store(2, Ordering::SeqCst);
    nodes.start_node(NodeId(3)).await;
    nodes.announce(3, 2).await.unwrap();
    eventually("a raised format", || (1..=3).all(|id| nodes.state(id).format == 2)).await;
    eventually("a leader", || nodes.leader(shard).is_some()).await;
    let (index, checksum) = check(&nodes).await.unwrap();
    eventually("every replica's checksum", || {
        let found = |id| nodes.nodes[&NodeId(id)].cluster.checksum(shard);
        (1..=3).all(|id| found(id) == Some((index, checksum)))
    })
    .await;
    // There is no way back.
    assert!(matches!(nodes.announce(3, 1).await, Err(MetaError::TooOld { .. })));
}
