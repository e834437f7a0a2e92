//! What goes into the core and what comes out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mimi_hub_storage::{Durability, Entry, HardState, LogBatch, LogStart, LogStore, StorageError};
use raft::eraftpb::{ConfState, Message};

use crate::config::{ClusterConfig, NodeId};
use crate::entry::Payload;
use crate::error::ProposeError;
use crate::fatal::Fatal;
use crate::machine::Leadership;
use crate::members::{MemberStep, Members};
use crate::meta::FORMAT;
use crate::planted::{self, Bug};
use crate::shard::ShardId;
use crate::snapshot::SnapshotId;

/// Names a proposal or a read of this node until it is answered. Chosen by the caller, never twice.
pub(crate) type RequestId = u64;

/// What the core has to know from the start.
#[derive(Clone, Debug)]
pub(crate) struct CoreConfig {
    pub(crate) node: NodeId,
    pub(crate) tick: Duration,
    pub(crate) heartbeat_ticks: usize,
    pub(crate) election_ticks: usize,
    pub(crate) seed: u64,
    pub(crate) max_uncommitted_bytes: u64,
    pub(crate) max_unapplied_bytes: u64,
    pub(crate) max_reads: usize,
    pub(crate) entry_cache_bytes: u64,
    pub(crate) keep_entries: u64,
    pub(crate) max_lag_entries: u64,
    /// The newest format of entries that this binary understands.
    pub(crate) format: u16,
    pub(crate) logger: slog::Logger,
}

impl CoreConfig {
    pub(crate) fn new(config: &ClusterConfig, logger: slog::Logger) -> Self {
        Self {
            node: config.node,
            tick: config.tick,
            heartbeat_ticks: config.heartbeat_ticks,
            election_ticks: config.election_ticks,
            seed: config.seed,
            max_uncommitted_bytes: config.max_uncommitted_bytes,
            max_unapplied_bytes: config.max_unapplied_bytes,
            max_reads: config.max_queued,
            entry_cache_bytes: config.entry_cache_bytes,
            keep_entries: config.keep_entries,
            max_lag_entries: config.max_lag_entries,
            format: config.meta.as_ref().map_or(FORMAT, |meta| meta.format),
            logger,
        }
    }
}

/// What the stores hold of a group at the start.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GroupStart {
    pub(crate) shard: ShardId,
    pub(crate) hard_state: HardState,
    pub(crate) conf_state: ConfState,
    pub(crate) start: LogStart,
    /// The first index of each term in the log, ascending.
    pub(crate) terms: Vec<LogStart>,
    /// Applied index of the state store; not below `start`.
    pub(crate) applied: u64,
    /// The state store holds nothing of the group: `applied` is where the log starts, and the state has to come from another
    /// replica.
    pub(crate) stateless: bool,
    /// Every entry above `applied`.
    pub(crate) tail: Vec<Entry>,
}

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// A command to replicate, encoded as an entry's data. Those of one shard enter its log in the order given.
    Propose {
        shard: ShardId,
        id: RequestId,
        data: Vec<u8>,
    },
    /// A read that must see everything acknowledged before now.
    Read { shard: ShardId, id: RequestId },
    /// A change of members.
    ChangeMembers {
        shard: ShardId,
        id: RequestId,
        steps: Vec<MemberStep>,
    },
    /// The leadership is to go to another voter, if this node has it.
    Transfer { shard: ShardId, to: NodeId },
    /// Messages arrived.
    Frame(Frame),
    /// The write of this number is durable.
    Persisted { write: u64 },
    /// The state store has applied the shard's entries up to `index`.
    Applied { shard: ShardId, index: u64 },
    /// The state store is durable up to the shard's entry `index`, so that the log may be compacted behind it.
    Flushed { shard: ShardId, index: u64 },
    /// A snapshot has arrived whole: Raft's message about it. Answered with an install or a discard.
    Snapshot { shard: ShardId, message: Message },
    /// One that was to be sent has arrived at `to`, or has not.
    SnapshotSent {
        shard: ShardId,
        to: NodeId,
        delivered: bool,
    },
    /// The state store has taken a snapshot, durably.
    Installed(SnapshotId),
    /// The replica of a shard that was removed is gone, durably: what the stores hold of it now.
    Cleared(Box<GroupStart>),
    /// Who should lead which shard, where that is not left to the order of the nodes.
    Prefer(BTreeMap<ShardId, NodeId>),
    /// This node is about to stop: it gives its leaderships away, and campaigns no more.
    HandOver,
    /// The answer to a [`Fetch`].
    Fetched {
        shard: ShardId,
        low: u64,
        entries: Vec<Entry>,
    },
}

/// Messages of many groups between two nodes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) messages: Vec<(ShardId, Message)>,
}

/// Everything that a step asks for.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// To be sent. A loss is survived.
    pub(crate) frames: Vec<Frame>,
    /// To be made durable; then the core is told [`Input::Persisted`]. There is never more than one under way.
    pub(crate) write: Option<LogWrite>,
    /// To be applied, in this order.
    pub(crate) apply: Vec<ApplyWork>,
    /// Requests that end here. Proposals that are handed over to be applied end with that instead.
    pub(crate) answers: Vec<(RequestId, Result<(), ProposeError>)>,
    /// Entries to be read from the log store; the core is told [`Input::Fetched`].
    pub(crate) fetches: Vec<Fetch>,
    /// Snapshots to be sent: Raft's message about each, whose position the sender corrects to that of the state it sends.
    /// The core is told [`Input::SnapshotSent`].
    pub(crate) snapshots: Vec<(ShardId, Message)>,
    /// Snapshots that have arrived, to be put into the state store after everything handed over to be applied; the core is
    /// told [`Input::Installed`].
    pub(crate) installs: Vec<SnapshotId>,
    /// Snapshots that have arrived and are not wanted.
    pub(crate) discards: Vec<SnapshotId>,
    /// Shards whose replica here was removed: what is stored of it is to go, after everything handed over to be applied; the
    /// core is told [`Input::Cleared`].
    pub(crate) removed: Vec<ShardId>,
    /// Changes of this node's part in shards.
    pub(crate) leadership: Vec<(ShardId, Leadership)>,
    /// For how long each other node has been silent, when that was looked at anew.
    pub(crate) silence: Option<BTreeMap<NodeId, Duration>>,
    /// Shards whose status may have changed.
    pub(crate) touched: BTreeSet<ShardId>,
    /// A group is broken. The core does nothing from here on.
    pub(crate) fatal: Option<Fatal>,
}

/// One write to the log, for every group that has something to make durable.
#[derive(Debug)]
pub(crate) struct LogWrite {
    pub(crate) number: u64,
    pub(crate) batch: LogBatch,
}

impl LogWrite {
    /// Makes it durable in `log`. Gives what the core is to be told.
    pub(crate) fn carry_out(self, log: &dyn LogStore) -> Result<Input, StorageError> {
        let durability = if planted::is(Bug::SkipFsync) {
            Durability::Buffered
        } else {
            Durability::Synced
        };
        log.append(self.batch, durability)?;
        Ok(Input::Persisted { write: self.number })
    }
}

/// Committed entries of a shard.
#[derive(Debug)]
pub(crate) struct ApplyWork {
    pub(crate) shard: ShardId,
    pub(crate) entries: Vec<ApplyEntry>,
}

/// A committed entry.
#[derive(Debug)]
pub(crate) struct ApplyEntry {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) payload: Payload,
    /// The proposal of this node that it is.
    pub(crate) request: Option<RequestId>,
}

/// Entries `low .. high` of a shard are wanted, `max_bytes` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) shard: ShardId,
    pub(crate) low: u64,
    pub(crate) high: u64,
    pub(crate) max_bytes: u64,
}

/// Where a group stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupStatus {
    pub(crate) leadership: Leadership,
    pub(crate) term: u64,
    pub(crate) committed: u64,
    pub(crate) applied: u64,
    pub(crate) first_index: u64,
    pub(crate) last_index: u64,
    pub(crate) asleep: bool,
    pub(crate) stateless: bool,
    pub(crate) members: Arc<Members>,
}
