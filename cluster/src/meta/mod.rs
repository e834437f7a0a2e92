//! The meta group: one more Raft group, which holds what the nodes have to agree on about themselves.
//!
//! Which nodes there are, in which zones, and how each stands; which nodes are to hold which shard; the hub's keys, sealed;
//! the format that every node understands. Every node has a replica of it, a few with a vote, so that every node knows the
//! others' addresses and where each shard is without asking.
//!
//! What is decided here is where replicas *should* be. Who has one is decided by each shard's own group: its leader moves it
//! towards its place, one replica at a time ([`moves`]).
//!
//! | file | owns |
//! |---|---|
//! | `state` | the state, and what each command does to it; pure |
//! | `placement` | where replicas and leaders should be; pure |
//! | `moves` | the next step of one shard towards its place; pure |
//! | `machine` | the meta group's state machine beside the owner's |
//! | `driver` | what the leaders of the meta group and of the shards do about it, again and again |
//!
//! Invariants: a state changes by commands of the meta group's log alone; a placement names nodes that are known and not
//! removed, none twice; a refused command changes nothing.

mod driver;
mod machine;
mod moves;
mod placement;
mod state;

pub(crate) use self::driver::Driver;
pub(crate) use self::machine::{MetaView, WithMeta};
pub(crate) use self::placement::{Candidate, place};
pub(crate) use self::state::{META_VOTERS_MAX, decode, encode};
pub use self::state::{MetaCommand, MetaError, MetaState, NodeRecord, Standing};

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::NodeId;
use crate::shard::ShardId;

/// The newest format of log entries, frames, stored values and snapshots that this release understands. What is newer than
/// [`MetaState::format`] is not written yet: another node might not understand it.
///
/// | format | brings |
/// |---|---|
/// | 1 | everything but what follows |
/// | 2 | entries that make the replicas of a shard compute a checksum |
/// | 3 | commands of the owner's that a node of format 2 cannot decode |
pub const FORMAT: u16 = 3;

/// How the nodes and the placement of replicas are managed.
#[derive(Clone, Debug)]
pub struct MetaConfig {
    /// Replicas of each shard, where there are as many nodes. Recorded when the cluster is created.
    pub replicas: usize,
    /// Where the nodes that create the cluster are, `host:port`.
    pub addresses: BTreeMap<NodeId, String>,
    /// The zone of this node, announced when it starts: what fails together.
    pub zone: String,
    /// After how long without a sign of life a node's replicas are placed on others.
    pub replace_after: Duration,
    /// The newest format that this node understands: [`FORMAT`], unless an older release is to be imitated.
    pub format: u16,
}

impl Default for MetaConfig {
    fn default() -> Self {
        Self {
            replicas: 3,
            addresses: BTreeMap::new(),
            zone: String::new(),
            replace_after: Duration::from_secs(300),
            format: FORMAT,
        }
    }
}

/// The number of the meta group among the groups of a cluster with `shards` shards: the one after the last shard.
pub(crate) fn meta_shard(shards: u32) -> ShardId {
    ShardId(shards)
}

/// The first placement, which every node that creates the cluster computes alike.
pub(crate) fn first_placement(nodes: &[NodeId], shards: u32, replicas: usize) -> Vec<Vec<NodeId>> {
    let candidates: BTreeMap<NodeId, Candidate> = nodes
        .iter()
        .map(|node| (*node, Candidate { zone: String::new() }))
        .collect();
    place(&candidates, replicas, &vec![Vec::new(); shards as usize])
}
