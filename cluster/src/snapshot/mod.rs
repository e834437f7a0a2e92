//! A shard's state as something that can be sent: read from one node's state store, carried in checksummed chunks, and
//! put into another's in one atomic batch.
//!
//! | file | owns |
//! |---|---|
//! | `chunk` | layout of a chunk, and the digest over all of them |
//! | `piece` | what sender and receiver say to each other |
//! | `staging` | what has arrived and is not installed yet |
//! | `store` | from the state store to chunks, and back |
//!
//! The sender's and the installer's threads are in `runtime`; who needs a snapshot, and what a crash on the way means, is
//! decided in `core` and `recovery`.
//!
//! A snapshot is held in memory on both sides, which bounds the size of a shard; one is sent at a time by a node, and one
//! is received at a time.

mod chunk;
mod piece;
mod staging;
mod store;

pub(crate) use chunk::{Chunk, FULL, digest_of};
pub(crate) use piece::{Answer, Piece};
pub(crate) use staging::Staging;
#[cfg(any(test, feature = "simulation"))]
pub(crate) use store::replacement;
pub(crate) use store::{Collected, checksum, collect, install};

use crate::shard::ShardId;

/// Names a snapshot: the state of a shard right after an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SnapshotId {
    pub(crate) shard: ShardId,
    /// The last entry in it.
    pub(crate) index: u64,
    /// Its term.
    pub(crate) term: u64,
}

/// Why a snapshot is not taken, sent or installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error(
        "chunk {number} of the snapshot of {shard} does not match its checksum: it is not installed, and sent again"
    )]
    Checksum { shard: ShardId, number: u32 },
    #[error("the snapshot of {shard} does not match its digest: it is not installed, and sent again")]
    Digest { shard: ShardId },
    #[error("a chunk of the snapshot of {shard} does not read")]
    Malformed { shard: ShardId },
    #[error("{shard} has nothing applied yet")]
    Nothing { shard: ShardId },
    #[error("{shard} holds more than {limit} bytes: raise `max_snapshot_bytes` on every node")]
    TooLarge { shard: ShardId, limit: u64 },
    #[error(transparent)]
    Storage(#[from] mimi_hub_storage::StorageError),
}
