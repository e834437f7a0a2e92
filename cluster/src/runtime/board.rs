//! What is known of the shards, for whoever looks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::NodeId;
use crate::core::GroupStatus;
use crate::machine::Leadership;
use crate::members::Members;
use crate::shard::ShardId;

/// SHA-256 over a shard's keys and values.
pub type Checksum = [u8; 32];

/// Where a shard stands on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardStatus {
    /// The shard.
    pub shard: ShardId,
    /// This node's part in it.
    pub leadership: Leadership,
    /// The current term.
    pub term: u64,
    /// Index up to which the log is known to be committed.
    pub committed: u64,
    /// Index up to which it is applied.
    pub applied: u64,
    /// First index of the log.
    pub first_index: u64,
    /// Last index of the log.
    pub last_index: u64,
    /// Whether it is idle, and costs nothing for that.
    pub asleep: bool,
    /// Whether this replica lacks its state, and waits for it to come from another one.
    pub stateless: bool,
    /// Who has a replica.
    pub members: Arc<Members>,
}

/// Where this node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterStatus {
    /// This node.
    pub node: NodeId,
    /// Requests that wait for the worker.
    pub queued: usize,
    /// Bytes of committed entries that wait for the state store.
    pub unapplied_bytes: u64,
    /// The shards, ascending.
    pub shards: Vec<ShardStatus>,
}

/// Written by the worker after every step, read by anyone.
pub(super) struct Board {
    /// The meta group after the shards, if there is one.
    shards: Vec<Mutex<ShardStatus>>,
    /// For how long each other node has been silent.
    silence: Mutex<BTreeMap<NodeId, Duration>>,
    /// The last checksum of each shard, and the index that it is of.
    checksums: Mutex<BTreeMap<ShardId, (u64, Checksum)>>,
    unapplied_bytes: AtomicU64,
}

impl Board {
    pub(super) fn new(groups: u32) -> Self {
        let blank = |shard| ShardStatus {
            shard: ShardId(shard),
            leadership: Leadership::Follower { leader: None },
            term: 0,
            committed: 0,
            applied: 0,
            first_index: 0,
            last_index: 0,
            asleep: false,
            stateless: false,
            members: Arc::default(),
        };
        Self {
            silence: Mutex::default(),
            checksums: Mutex::default(),
            shards: (0..groups).map(|shard| Mutex::new(blank(shard))).collect(),
            unapplied_bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn set(&self, shard: ShardId, status: GroupStatus) {
        if let Some(cell) = self.shards.get(shard.0 as usize) {
            let GroupStatus {
                leadership,
                term,
                committed,
                applied,
                first_index,
                last_index,
                asleep,
                stateless,
                members,
            } = status;
            let status = ShardStatus {
                shard,
                leadership,
                term,
                committed,
                applied,
                first_index,
                last_index,
                asleep,
                stateless,
                members,
            };
            *cell.lock().unwrap_or_else(PoisonError::into_inner) = status;
        }
    }

    pub(super) fn set_unapplied_bytes(&self, bytes: u64) {
        self.unapplied_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn shard(&self, shard: ShardId) -> Option<ShardStatus> {
        let cell = self.shards.get(shard.0 as usize)?;
        Some(cell.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = ShardStatus> {
        self.shards
            .iter()
            .map(|cell| cell.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    pub(super) fn unapplied_bytes(&self) -> u64 {
        self.unapplied_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set_checksum(&self, shard: ShardId, index: u64, checksum: Checksum) {
        let mut checksums = self.checksums.lock().unwrap_or_else(PoisonError::into_inner);
        checksums.insert(shard, (index, checksum));
    }

    pub(super) fn checksum(&self, shard: ShardId) -> Option<(u64, Checksum)> {
        let checksums = self.checksums.lock().unwrap_or_else(PoisonError::into_inner);
        checksums.get(&shard).copied()
    }

    pub(super) fn set_silence(&self, silence: BTreeMap<NodeId, Duration>) {
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = silence;
    }

    /// For how long a node has been silent; `None` when it was never heard of.
    pub(super) fn silence(&self, node: NodeId) -> Option<Duration> {
        let silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        silence.get(&node).copied()
    }
}
