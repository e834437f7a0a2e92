//! How a cluster is set up, and its limits.

use std::fmt;
use std::time::Duration;

use mimi_hub_storage::ClusterId;
use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::fatal::FatalHook;
use crate::meta::MetaConfig;

/// The number of a node, from 1. Also its replica's Raft id in every group it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The set-up of a cluster. [`ClusterConfig::single_node`] has sound defaults for everything.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// The nodes that hold a replica of every shard when the cluster is created, this one among them.
    pub nodes: Vec<NodeId>,
    /// Whether this node joins a cluster that exists: it begins without a replica, and `nodes` need not name it. Only of
    /// account when its stores are empty.
    pub joining: bool,
    /// How nodes come and go, and where replicas are; without it, every node holds every shard for good.
    pub meta: Option<MetaConfig>,
    /// Number of shards, fixed when the cluster is created.
    pub shards: u32,
    /// Raft's unit of time.
    pub tick: Duration,
    /// Ticks between heartbeats of a leader.
    pub heartbeat_ticks: usize,
    /// Ticks without a leader after which a replica campaigns: drawn anew for every term between `election_ticks` and
    /// twice as many.
    pub election_ticks: usize,
    /// Seeds those draws, together with the node, the shard and the term.
    pub seed: u64,
    /// Proposals and reads that may wait for the worker.
    pub max_queued: usize,
    /// Bytes of proposals that may wait for the worker.
    pub max_queued_bytes: usize,
    /// Bytes of one command.
    pub max_command_bytes: usize,
    /// Bytes of proposed entries per shard that are not committed yet.
    pub max_uncommitted_bytes: u64,
    /// Bytes of committed entries of all shards that wait for the state store.
    pub max_unapplied_bytes: u64,
    /// Bytes of applied entries per shard that stay in memory, for replicas that lag a little.
    pub entry_cache_bytes: u64,
    /// How often the state store is flushed, after which the logs may be compacted.
    pub flush_interval: Duration,
    /// Applied entries per shard that stay in the log beyond what the state store needs.
    pub keep_entries: u64,
    /// Entries per shard that stay in the log for a replica that lags or is away. One that lacks more gets a snapshot.
    pub max_lag_entries: u64,
    /// Bytes of a shard's keys and values that a snapshot may hold. It is held in memory, here and where it goes.
    pub max_snapshot_bytes: u64,
    /// How long a stop waits for proposals under way.
    pub stop_grace: Duration,
    /// What happens when a group or a store is broken.
    pub fatal: FatalHook,
}

impl ClusterConfig {
    /// A cluster of this one node, with one replica of each shard.
    pub fn single_node(cluster: ClusterId, node: NodeId, shards: u32) -> Self {
        Self {
            cluster,
            node,
            nodes: vec![node],
            joining: false,
            meta: None,
            shards,
            tick: Duration::from_millis(50),
            heartbeat_ticks: 2,
            election_ticks: 6,
            seed: u64::from_be_bytes([0x6d, 0x69, 0x6d, 0x69, 0x2d, 0x68, 0x75, 0x62]),
            max_queued: 16 << 10,
            max_queued_bytes: 64 << 20,
            max_command_bytes: 16 << 20,
            max_uncommitted_bytes: 64 << 20,
            max_unapplied_bytes: 128 << 20,
            entry_cache_bytes: 256 << 10,
            flush_interval: Duration::from_secs(1),
            keep_entries: 1 << 10,
            max_lag_entries: 8 << 10,
            max_snapshot_bytes: 2 << 30,
            stop_grace: Duration::from_secs(5),
            fatal: FatalHook::default(),
        }
    }

    /// Number of Raft groups: one a shard, and the meta group after them.
    pub(crate) fn groups(&self) -> u32 {
        self.shards + u32::from(self.meta.is_some())
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.node.0 == 0 || self.nodes.contains(&NodeId(0)) {
            return Err(ConfigError::NodeZero);
        }
        if self.shards == 0 {
            return Err(ConfigError::NoShards);
        }
        if !self.joining && !self.nodes.contains(&self.node) {
            return Err(ConfigError::NotAMember(self.node));
        }
        if self.tick.is_zero() {
            return Err(ConfigError::ZeroTick);
        }
        if self.heartbeat_ticks == 0 || self.election_ticks <= self.heartbeat_ticks {
            return Err(ConfigError::ElectionTicks {
                election: self.election_ticks,
                heartbeat: self.heartbeat_ticks,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_contradicts_itself_is_refused() {
        let good = ClusterConfig::single_node(ClusterId([1; 16]), NodeId(1), 4);
        assert_eq!(good.validate(), Ok(()));
        let refused = |change: fn(&mut ClusterConfig)| {
            let mut config = good.clone();
            change(&mut config);
            config.validate().unwrap_err()
        };
        assert_eq!(refused(|c| c.shards = 0), ConfigError::NoShards);
        assert_eq!(refused(|c| c.nodes = vec![NodeId(0), NodeId(1)]), ConfigError::NodeZero);
        assert_eq!(
            refused(|c| c.nodes = vec![NodeId(2)]),
            ConfigError::NotAMember(NodeId(1))
        );
        assert_eq!(refused(|c| c.tick = Duration::ZERO), ConfigError::ZeroTick);
        assert_eq!(
            refused(|c| c.heartbeat_ticks = 10),
            ConfigError::ElectionTicks {
                election: 6,
                heartbeat: 10
            }
        );
    }
}
