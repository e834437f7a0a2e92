//! What operators ask of the cluster: how it stands, and changes of it. Any node answers for all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use mimi_hub_cluster::{Leadership, MetaCommand, MetaState, NodeId, ShardId, ShardStatus, Standing};
use serde::{Deserialize, Serialize};

use crate::actor::AskError;
use crate::forward::Asked;
use crate::hub::Hub;

/// How long another node may take to say how it stands.
const REPORT_MAX: Duration = Duration::from_secs(1);

/// How one node says it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    node: NodeId,
    /// For how long it has not heard of each other node, in milliseconds.
    silence_ms: BTreeMap<NodeId, u64>,
    /// Its replicas.
    replicas: Vec<Replica>,
    meta: Option<Replica>,
}

/// A replica, as its node sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Replica {
    shard: u32,
    leads: bool,
    term: u64,
    committed: u64,
    applied: u64,
    stateless: bool,
    voters: Vec<NodeId>,
    outgoing: Vec<NodeId>,
    learners: Vec<NodeId>,
}

impl From<ShardStatus> for Replica {
    fn from(status: ShardStatus) -> Self {
        let members = &status.members;
        Replica {
            shard: status.shard.0,
            leads: matches!(status.leadership, Leadership::Leader { .. }),
            term: status.term,
            committed: status.committed,
            applied: status.applied,
            stateless: status.stateless,
            voters: members.voters.iter().copied().collect(),
            outgoing: members.outgoing.iter().copied().collect(),
            learners: members.learners.iter().copied().collect(),
        }
    }
}

/// A node, as the cluster sees it.
#[derive(Debug, Serialize)]
pub(crate) struct NodeView {
    node: NodeId,
    address: String,
    zone: String,
    standing: &'static str,
    /// Whether it answers.
    reachable: bool,
    /// The newest format that it understands.
    format: u16,
    /// Shards of which it has a replica with a vote.
    replicas: usize,
    /// Shards that it leads.
    leaders: usize,
    /// Shards of which it should have a replica.
    wanted: usize,
    /// Shards whose state it waits for.
    rebuilding: usize,
    /// Its part in the meta group: `leader`, `voter`, `learner` or none.
    meta: Option<&'static str>,
}

/// A shard, as its leader sees it.
#[derive(Debug, Serialize)]
pub(crate) struct ShardView {
    shard: u32,
    leader: Option<NodeId>,
    term: u64,
    committed: u64,
    voters: Vec<NodeId>,
    learners: Vec<NodeId>,
    /// Where it should be, the node that should lead it first.
    wanted: Vec<NodeId>,
    /// Whether it is not where it should be.
    moving: bool,
}

/// The cluster in short.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    domain: String,
    /// The node that answers.
    node: NodeId,
    meta_leader: Option<NodeId>,
    /// The format that every node understands.
    format: u16,
    replicas: u32,
    nodes: usize,
    reachable: usize,
    shards: u32,
    led: usize,
    moving: usize,
    /// Whether every shard is led, has all its replicas where they should be, and every node answers.
    healthy: bool,
}

/// What all nodes say, as far as they answer.
struct Survey {
    state: Arc<MetaState>,
    reports: BTreeMap<NodeId, Report>,
}

/// How this node stands.
pub(crate) fn report(hub: &Hub) -> Report {
    let cluster = hub.cluster();
    let state = cluster.meta().unwrap_or_default();
    let others = state.present().map(|(id, _)| id).filter(|id| *id != cluster.node());
    Report {
        node: cluster.node(),
        silence_ms: others.map(|id| (id, millis(cluster.silence(id)))).collect(),
        replicas: cluster.status().shards.into_iter().map(Replica::from).collect(),
        meta: cluster.meta_status().map(Replica::from),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn survey(hub: &Arc<Hub>) -> Survey {
    let state = hub.cluster().meta().unwrap_or_default();
    let me = hub.cluster().node();
    let others = state.present().map(|(id, _)| id).filter(|id| *id != me);
    let asks = others.map(|id| async move {
        let answer = hub.ask_node::<Report>(id, &Asked::Report, REPORT_MAX).await;
        Some((id, answer.ok()?))
    });
    let mut reports: BTreeMap<NodeId, Report> = join_all(asks).await.into_iter().flatten().collect();
    reports.insert(me, report(hub));
    Survey { state, reports }
}

impl Survey {
    /// A shard's leader: of two that think so, the one of the later term.
    fn leader(&self, shard: u32) -> Option<(NodeId, &Replica)> {
        let leaders = self.reports.iter().filter_map(|(id, report)| {
            let replica = report.replicas.iter().find(|replica| replica.shard == shard)?;
            replica.leads.then_some((*id, replica))
        });
        leaders.max_by_key(|(_, replica)| replica.term)
    }

    fn meta_leader(&self) -> Option<(NodeId, &Replica)> {
        let replicas = self
            .reports
            .iter()
            .filter_map(|(id, report)| Some((*id, report.meta.as_ref()?)));
        replicas
            .filter(|(_, replica)| replica.leads)
            .max_by_key(|(_, replica)| replica.term)
    }

    fn shards(&self) -> Vec<ShardView> {
        let all = 0..self.state.places.len();
        let view = |shard: usize| {
            let wanted = self.state.places.get(shard).cloned().unwrap_or_default();
            // There are as many shards as a configuration can say, which is few.
            let shard = u32::try_from(shard).unwrap_or(u32::MAX);
            let Some((leader, replica)) = self.leader(shard) else {
                return ShardView {
                    shard,
                    leader: None,
                    term: 0,
                    committed: 0,
                    voters: Vec::new(),
                    learners: Vec::new(),
                    wanted,
                    moving: true,
                };
            };
            let mut sorted = wanted.clone();
            sorted.sort_unstable();
            ShardView {
                shard,
                leader: Some(leader),
                term: replica.term,
                committed: replica.committed,
                moving: replica.voters != sorted || !replica.outgoing.is_empty() || !replica.learners.is_empty(),
                voters: replica.voters.clone(),
                learners: replica.learners.clone(),
                wanted,
            }
        };
        all.map(view).collect()
    }

    fn nodes(&self, shards: &[ShardView]) -> Vec<NodeView> {
        let meta = self.meta_leader();
        let view = |(id, record): (&NodeId, &mimi_hub_cluster::NodeRecord)| NodeView {
            node: *id,
            address: record.address.clone(),
            zone: record.zone.clone(),
            standing: match record.standing {
                Standing::Active => "active",
                Standing::Draining => "draining",
                Standing::Away => "away",
                Standing::Removed => "removed",
            },
            reachable: self.reports.contains_key(id),
            format: record.format,
            replicas: shards.iter().filter(|shard| shard.voters.contains(id)).count(),
            leaders: shards.iter().filter(|shard| shard.leader == Some(*id)).count(),
            wanted: shards.iter().filter(|shard| shard.wanted.contains(id)).count(),
            rebuilding: self.reports.get(id).map_or(0, |report| {
                let waiting = report.replicas.iter();
                waiting
                    .filter(|replica| replica.stateless && replica.voters.contains(id))
                    .count()
            }),
            meta: meta.and_then(|(leader, replica)| {
                if leader == *id {
                    Some("leader")
                } else if replica.voters.contains(id) {
                    Some("voter")
                } else {
                    replica.learners.contains(id).then_some("learner")
                }
            }),
        };
        self.state.nodes.iter().map(view).collect()
    }
}

/// The cluster in short.
pub(crate) async fn overview(hub: &Arc<Hub>) -> Overview {
    let survey = survey(hub).await;
    let shards = survey.shards();
    let nodes = survey.state.present().count();
    let led = shards.iter().filter(|shard| shard.leader.is_some()).count();
    let moving = shards.iter().filter(|shard| shard.moving).count();
    let all_led = led == shards.len() && !shards.is_empty();
    Overview {
        domain: hub.config().primary_domain().to_string(),
        node: hub.cluster().node(),
        meta_leader: survey.meta_leader().map(|(id, _)| id),
        format: survey.state.format,
        replicas: survey.state.replicas,
        nodes,
        reachable: survey.reports.len(),
        shards: hub.cluster().shards(),
        led,
        moving,
        healthy: all_led && moving == 0 && survey.reports.len() == nodes,
    }
}

/// Every node.
pub(crate) async fn nodes(hub: &Arc<Hub>) -> Vec<NodeView> {
    let survey = survey(hub).await;
    survey.nodes(&survey.shards())
}

/// Every shard.
pub(crate) async fn shards(hub: &Arc<Hub>) -> Vec<ShardView> {
    survey(hub).await.shards()
}

/// Why an operator's wish is not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// The meta group says no.
    #[error(transparent)]
    Refused(#[from] mimi_hub_cluster::MetaError),
    /// A node that is to be removed has replicas that were not moved yet.
    #[error("node {node} still has {shards} shards: wait until `mimi-hub cluster nodes` says that it has none")]
    Holding { node: NodeId, shards: usize },
    /// No such shard.
    #[error("there is no shard {0}")]
    NoShard(u32),
    /// The node could not lead the shard.
    #[error("node {0} has no replica of the shard")]
    NoReplica(NodeId),
    /// Nobody leads what has to be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// Lets a new node in.
pub(crate) async fn join(hub: &Arc<Hub>, node: NodeId, address: String, zone: String) -> Result<(), AdminError> {
    Ok(hub.change_cluster(MetaCommand::Join { node, address, zone }).await??)
}

/// Takes a node's replicas away, or lets it keep them after all.
pub(crate) async fn drain(hub: &Arc<Hub>, node: NodeId, force: bool, cancel: bool) -> Result<(), AdminError> {
    let command = if cancel {
        MetaCommand::Undrain { node }
    } else {
        MetaCommand::Drain { node, force }
    };
    Ok(hub.change_cluster(command).await??)
}

/// Removes a node that has no replicas any more, for good.
pub(crate) async fn remove(hub: &Arc<Hub>, node: NodeId) -> Result<(), AdminError> {
    let shards = survey(hub).await.shards();
    let holding = shards
        .iter()
        .filter(|shard| shard.leader.is_none() || shard.voters.contains(&node))
        .count();
    if holding > 0 {
        return Err(AdminError::Holding { node, shards: holding });
    }
    Ok(hub.change_cluster(MetaCommand::Remove { node }).await??)
}

/// Gives a shard's leadership to a node. The cluster gives it back after a while, to whom it is spread.
pub(crate) async fn transfer(hub: &Arc<Hub>, shard: u32, to: NodeId) -> Result<(), AdminError> {
    if shard >= hub.cluster().shards() {
        return Err(AdminError::NoShard(shard));
    }
    let led = survey(hub).await;
    if !led
        .leader(shard)
        .is_some_and(|(_, replica)| replica.voters.contains(&to))
    {
        return Err(AdminError::NoReplica(to));
    }
    Ok(hub.at_leader(ShardId(shard), &Asked::Transfer { shard, to }).await?)
}
