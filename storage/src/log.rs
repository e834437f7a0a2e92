//! The log store: the Raft logs, hard states and records of many groups.
//!
//! A group's log is a run of entries without gaps that follows its [`LogStart`]. All the groups' ready work goes down in
//! one [`LogBatch`], so that one sync serves them all.

use std::collections::BTreeMap;

use raft::eraftpb::{Entry, HardState};
use serde::{Deserialize, Serialize};

use crate::error::StorageError;

/// The number of a Raft group in the log store.
pub type GroupId = u64;

/// Whether a write must survive a power loss when `append` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Durable no later than the next synced append.
    Buffered,
    /// Durable on return.
    Synced,
}

/// The position just before a group's first entry: where the log was compacted to, or where it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStart {
    /// Index of the entry before the first one.
    pub index: u64,
    /// Its term.
    pub term: u64,
}

/// What the store knows of one group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupState {
    /// The last hard state written.
    pub hard_state: HardState,
    /// Where the log starts. The first index is the one after.
    pub start: LogStart,
    /// The last index; that of `start` when the log is empty.
    pub last_index: u64,
}

impl GroupState {
    /// The index of the first entry that is, or would be, in the log.
    pub fn first_index(&self) -> u64 {
        self.start.index + 1
    }
}

/// Changes of one group, carried out in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupWrite {
    /// Forget every entry and start anew after this position (a new group, or an installed snapshot).
    pub reset: Option<LogStart>,
    /// Entries without gaps. The first may overlap the log: it and everything after it are replaced.
    pub entries: Vec<Entry>,
    /// Forget the entries up to and including this index. At or below the start: nothing to do.
    pub compact_to: Option<u64>,
    /// The new hard state.
    pub hard_state: Option<HardState>,
    /// Named records to set, or to remove (`None`).
    pub records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Changes of many groups that go down together: all of them survive a crash, or none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogBatch {
    groups: BTreeMap<GroupId, GroupWrite>,
}

impl LogBatch {
    /// The changes of `group`, to be added to.
    pub fn group(&mut self, group: GroupId) -> &mut GroupWrite {
        self.groups.entry(group).or_default()
    }

    /// Whether the batch names no group.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The groups and their changes, by group.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &GroupWrite)> {
        self.groups.iter().map(|(group, write)| (*group, write))
    }
}

/// The Raft logs of many groups.
///
/// Invariants that every implementation keeps (the conformance suite checks them):
/// - a [`LogBatch`] is durable as a whole or not at all, and never without the batches before it;
/// - a batch appended with [`Durability::Synced`] survives a power loss;
/// - a log has no gaps: `first_index() ..= last_index`, following its [`LogStart`];
/// - a failed `append` that is not [`StorageError::SyncFailed`] changes nothing.
pub trait LogStore: Send + Sync + 'static {
    /// The groups that were ever written to, ascending.
    fn groups(&self) -> Result<Vec<GroupId>, StorageError>;

    /// What is known of `group`; `None` when it was never written to.
    fn group(&self, group: GroupId) -> Result<Option<GroupState>, StorageError>;

    /// Entries `low .. high` of `group`, cut where their encoded size would pass `max_bytes`, but at least one.
    ///
    /// # Errors
    /// [`StorageError::Compacted`] below the first index, [`StorageError::Unavailable`] beyond the last.
    fn entries(&self, group: GroupId, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StorageError>;

    /// The term of the entry at `index`, which may be the start's.
    ///
    /// # Errors
    /// As for [`entries`](Self::entries).
    fn term(&self, group: GroupId, index: u64) -> Result<u64, StorageError>;

    /// A named record of `group`.
    fn record(&self, group: GroupId, name: &[u8]) -> Result<Option<Vec<u8>>, StorageError>;

    /// Writes the batch.
    ///
    /// # Errors
    /// [`StorageError::Gap`] when entries do not follow the log or a compaction passes its end; nothing is written then.
    fn append(&self, batch: LogBatch, durability: Durability) -> Result<(), StorageError>;

    /// Gives back the space of compacted entries. Slow; to be called now and then, beside the appends.
    fn reclaim(&self) -> Result<(), StorageError>;

    /// Bytes that the store takes on its device.
    fn size_on_disk(&self) -> Result<u64, StorageError>;
}

/// Where a log starts and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: LogStart,
    pub(crate) last: u64,
}

impl Span {
    /// The span after `write`, or why it does not fit. `term_of` gives the term of an entry already in the log.
    pub(crate) fn after(
        self,
        group: GroupId,
        write: &GroupWrite,
        term_of: impl FnOnce(u64) -> Result<u64, StorageError>,
    ) -> Result<Self, StorageError> {
        let mut span = self;
        if let Some(start) = write.reset {
            span = Self {
                start,
                last: start.index,
            };
        }
        if let Some(first) = write.entries.first() {
            let fits = first.index > span.start.index && first.index <= span.last + 1;
            if !fits {
                return Err(StorageError::Gap {
                    group,
                    index: first.index,
                    last: span.last,
                });
            }
            for (entry, expected) in write.entries.iter().zip(first.index..) {
                if entry.index != expected {
                    return Err(StorageError::Gap {
                        group,
                        index: entry.index,
                        last: expected - 1,
                    });
                }
            }
            span.last = first.index + write.entries.len() as u64 - 1;
        }
        if let Some(to) = write.compact_to.filter(|to| *to > span.start.index) {
            if to > span.last {
                return Err(StorageError::Gap {
                    group,
                    index: to,
                    last: span.last,
                });
            }
            let term = match write.entries.iter().find(|entry| entry.index == to) {
                Some(entry) => entry.term,
                None => term_of(to)?,
            };
            span.start = LogStart { index: to, term };
        }
        Ok(span)
    }

    /// Checks that `low .. high` lies in the log.
    pub(crate) fn check(self, group: GroupId, low: u64, high: u64) -> Result<(), StorageError> {
        if low <= self.start.index {
            return Err(StorageError::Compacted {
                group,
                index: low,
                first: self.start.index + 1,
            });
        }
        if high > self.last + 1 {
            return Err(StorageError::Unavailable { group, index: high - 1 });
        }
        Ok(())
    }
}
