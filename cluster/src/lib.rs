//! Shards, their replication, and the thread that drives it.
//!
//! A cluster is a fixed number of shards. Each is one Raft group with its own log and its own range of keys, and a
//! [`StateMachine`] of the owner's that turns committed commands into writes. This crate knows bytes, not rooms.
//!
//! | module | owns |
//! |---|---|
//! | `core` | sans-IO: every group of this node, `step(now, inputs) -> outputs`; no clock, disk, socket, thread or randomness |
//! | `runtime` | the threads around it: the worker (log), the applier (state store), the flusher (durability of the state store, compaction), and the [`Cluster`] handle |
//! | `snapshot` | a shard's state as something that can be sent |
//! | `recovery` | from what the stores hold to what the core starts with |
//! | `transport` | what passes between nodes, and who carries it: [`ClusterNetwork`], mutually authenticated TLS |
//! | `machine` | what the owner implements, and the transaction it writes through |
//! | `members` | who has a replica of a shard, and how that changes |
//! | `meta` | which nodes there are, and which of them should hold which shard |
//! | `simulation` | a simulated cluster of cores, with everything that goes wrong (feature `simulation`) |
//! | `planted` | defects to try the simulation on (feature `planted-bugs`) |
//! | `keys` | where a shard's keys lie in the one key space |
//!
//! What a success means: a quorum of the shard's replicas has synced the entry to its log, and this node has applied it.
//! What lies in the state store is repaired from the log after a crash: it is written in one batch with the applied index.
//!
//! **One broken group stops the process.** raft-rs panics on a broken invariant, and a state machine that cannot apply an
//! entry must not go on without it. Either is caught, named with its shard and handed to the [`FatalHook`], which aborts
//! the process unless a test says otherwise: the other replicas go on, and a half-dead node would only mislead them.

mod config;
mod core;
mod entry;
mod error;
mod fatal;
mod keys;
mod machine;
mod members;
mod meta;
pub mod planted;
mod reader;
mod records;
mod recovery;
mod runtime;
mod shard;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod snapshot;
mod transport;

pub use config::{ClusterConfig, NodeId};
pub use error::{ApplyError, ClusterError, ConfigError, NetworkError, ProposeError};
pub use fatal::{Fatal, FatalHook};
pub use machine::{EntryMeta, Leadership, ShardTxn, StateMachine, StateWriter};
pub use members::{MemberStep, Members};
pub use meta::{FORMAT, MetaCommand, MetaConfig, MetaError, MetaState, NodeRecord, Standing};
pub use reader::ShardReader;
pub use runtime::{Checksum, Cluster, ClusterStatus, Delivery, Outcome, Proposal, ShardStatus};
pub use shard::{ShardId, shard_of};
pub use transport::{
    BulkReply, ClusterNetwork, ClusterTls, DeliverError, ForwardError, HandlerFuture, NetworkConfig, NetworkLimits,
    PeerStatus, RequestHandler, Transport, node_name,
};
