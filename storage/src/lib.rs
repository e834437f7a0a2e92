//! Durable things: the state store and the Raft log.
//!
//! Two small traits, each with an engine and an in-memory twin:
//!
//! | trait | holds | engine | twin |
//! |---|---|---|---|
//! | [`StateStore`] | what the state machines have built, in one ordered key space | [`SledStore`] | [`MemoryStore`] |
//! | [`LogStore`] | the Raft logs and hard states of many groups | [`RaftEngineLog`] | [`MemoryLog`] |
//!
//! The log is what a success rests on: it is synced before anyone is told. The state store is not on that path: it is
//! written unsynced, flushed in the background, and repaired from the log after a crash. The twins lose, tear and
//! refuse writes by a seed ([`FaultPlan`]), and the same conformance suite (`conformance`) runs against all four.
//!
//! A data folder belongs to one node of one cluster for life: [`DataDir`] refuses any other.
//!
//! This crate knows bytes and Raft's own records, nothing of rooms, shards or the network.

#[cfg(test)]
mod conformance;
mod data_dir;
mod error;
mod log;
mod memory;
mod raft_engine_log;
mod sled_store;
mod state;

pub use data_dir::{ClusterId, DataDir, FORMAT_VERSION, Identity, InvalidClusterId};
pub use error::{Engine, StorageError};
pub use log::{Durability, GroupId, GroupState, GroupWrite, LogBatch, LogStart, LogStore};
pub use memory::{FaultPlan, MemoryLog, MemoryStore};
pub use raft::eraftpb::{Entry, EntryType, HardState};
pub use raft_engine_log::{RaftEngineConfig, RaftEngineLog};
pub use sled_store::{SledConfig, SledStore};
pub use state::{Batch, Direction, KeyRange, KeyValue, Op, StateStore};
