//! What is done about the meta state, again and again: a task of every node.
//!
//! The leader of the meta group says which nodes are away, where shards should be and which format is understood; the leader
//! of a shard moves it there; every node dials the nodes that there are. Each turn looks at what is and does the next thing
//! about it, so that it does not matter what an earlier turn, or an earlier leader, left undone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::moves::{self, Move};
use super::state::{MetaCommand, MetaState, Standing};
use super::{Candidate, MetaConfig, first_placement, place};
use crate::config::NodeId;
use crate::machine::Leadership;
use crate::runtime::{Cluster, ShardStatus, WeakCluster};
use crate::shard::ShardId;
use crate::transport::Transport;

/// Between two turns.
const TURN: Duration = Duration::from_millis(200);
/// Shards that one node moves at a time.
const MOVING_MAX: usize = 4;
/// How long an outcome is waited for.
const OUTCOME: Duration = Duration::from_secs(2);

pub(crate) struct Driver {
    pub(crate) cluster: WeakCluster,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) config: MetaConfig,
    /// Of the nodes that create the cluster.
    pub(crate) founders: Vec<NodeId>,
}

impl Driver {
    /// Runs until the cluster's last handle is gone.
    pub(crate) async fn run(self) {
        let mut seen = 0;
        // The last state that everything is placed well by.
        let mut placed = None;
        loop {
            tokio::time::sleep(TURN).await;
            let Some(cluster) = self.cluster.upgrade() else { return };
            let Some(state) = cluster.meta() else { return };
            if state.version != seen && self.look_around(&cluster, &state) {
                seen = state.version;
            }
            if cluster.leads_meta()
                && let Some(command) = self.decide(&cluster, &state, &mut placed)
            {
                tracing::info!(?command, "the meta group");
                match tokio::time::timeout(OUTCOME, cluster.change_meta(&command)).await {
                    Ok(Ok(Ok(()))) => {}
                    Ok(Ok(Err(error))) => tracing::debug!(%error, "the meta group refuses"),
                    Ok(Err(error)) => tracing::debug!(%error, "the meta group is not led from here any more"),
                    Err(_) => tracing::debug!("the meta group takes its time"),
                }
            }
            self.move_replicas(&cluster, &state).await;
        }
    }

    /// Every node dials those that there are, and knows who should lead what. Returns whether that is done.
    fn look_around(&self, cluster: &Cluster, state: &MetaState) -> bool {
        if !state.nodes.contains_key(&cluster.node()) {
            return true;
        }
        let others = state.present().filter(|(id, _)| *id != cluster.node());
        let others: BTreeMap<NodeId, String> = others.map(|(id, node)| (id, node.address.clone())).collect();
        self.transport.set_peers(&others);
        let leaders = (0..).map(ShardId).zip(&state.places);
        cluster.prefer(
            leaders
                .filter_map(|(shard, place)| Some((shard, *place.first()?)))
                .collect(),
        )
    }

    /// The next thing that the leader of the meta group says.
    fn decide(&self, cluster: &Cluster, state: &MetaState, placed: &mut Option<u64>) -> Option<MetaCommand> {
        let me = cluster.node();
        if !state.is_founded() {
            return Some(self.found(cluster));
        }
        let away = |id: &NodeId| cluster.silence(*id) >= self.config.replace_after;
        for (node, record) in state.present().filter(|(id, _)| *id != me) {
            match record.standing {
                Standing::Active if away(&node) => return Some(MetaCommand::Away { node }),
                Standing::Away if cluster.silence(node) < self.config.replace_after / 2 => {
                    return Some(MetaCommand::Back { node });
                }
                _ => {}
            }
        }
        if *placed != Some(state.version) {
            if let Some(places) = better_places(state, me) {
                return Some(MetaCommand::Place {
                    against: state.version,
                    places,
                });
            }
            *placed = Some(state.version);
        }
        let understood = state.present().map(|(_, node)| node.format).min().unwrap_or_default();
        (understood > state.format).then_some(MetaCommand::Raise { format: understood })
    }

    fn found(&self, cluster: &Cluster) -> MetaCommand {
        let address = |id: &NodeId| self.config.addresses.get(id).cloned().unwrap_or_default();
        MetaCommand::Found {
            nodes: self.founders.iter().map(|id| (*id, address(id))).collect(),
            replicas: self.config.replicas as u32,
            places: first_placement(&self.founders, cluster.shards(), self.config.replicas),
        }
    }

    /// Moves what is led here towards its place, the meta group included.
    async fn move_replicas(&self, cluster: &Cluster, state: &MetaState) {
        if !state.is_founded() {
            return;
        }
        let me = cluster.node();
        let led: Vec<ShardStatus> = cluster
            .groups()
            .into_iter()
            .filter(|status| matches!(status.leadership, Leadership::Leader { .. }))
            .collect();
        let under_way =
            |status: &ShardStatus| !status.members.outgoing.is_empty() || !status.members.learners.is_empty();
        let mut moving = led
            .iter()
            .filter(|status| status.shard.0 < cluster.shards() && under_way(status))
            .count();
        for status in led {
            let meta = status.shard.0 >= cluster.shards();
            let target = if meta {
                state.meta_target(&status.members)
            } else {
                state.target(status.shard)
            };
            let Some(step) = moves::next(&status.members, me, &target) else {
                continue;
            };
            if !meta && !under_way(&status) {
                if moving >= MOVING_MAX {
                    continue;
                }
                moving += 1;
            }
            match step {
                Move::Transfer(to) => cluster.transfer(status.shard, to),
                Move::Change(steps) => {
                    let change = cluster.change_members(status.shard, steps.clone());
                    match tokio::time::timeout(OUTCOME, change).await {
                        Ok(Ok(_)) => tracing::info!(shard = %status.shard, ?steps, "the replicas change"),
                        // A learner that lacks something yet, or a change under way: the next turn looks again.
                        Ok(Err(error)) => tracing::debug!(shard = %status.shard, ?steps, %error, "not yet"),
                        Err(_) => tracing::warn!(shard = %status.shard, ?steps, "a change of replicas takes its time"),
                    }
                }
            }
        }
    }
}

/// The places that should be others, for the leader `me` of the meta group. They follow from the state alone.
fn better_places(state: &MetaState, me: NodeId) -> Option<BTreeMap<u32, Vec<NodeId>>> {
    // A node that has just joined has to be there before anything is moved to it.
    let mut candidates = state.candidates();
    candidates.retain(|id, _| *id == me || state.nodes[id].format > 0 || holds(state, *id));
    if candidates.len() < state.replicas as usize {
        // With nowhere else to put them, the replicas of a node that is away stay its own.
        let away = state
            .present()
            .filter(|(id, node)| node.standing == Standing::Away && holds(state, *id));
        candidates.extend(away.map(|(id, node)| {
            let zone = node.zone.clone();
            (id, Candidate { zone })
        }));
    }
    if candidates.is_empty() {
        return None;
    }
    let places = place(&candidates, state.replicas as usize, &state.places);
    let changed = (0_u32..)
        .zip(places)
        .filter(|(shard, place)| state.place(ShardId(*shard)) != place.as_slice());
    let places: BTreeMap<_, _> = changed.collect();
    (!places.is_empty()).then_some(places)
}

fn holds(state: &MetaState, node: NodeId) -> bool {
    state.places.iter().any(|place| place.contains(&node))
}
