//! The in-memory log store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use protobuf::Message;
use raft::eraftpb::{Entry, HardState};
use serde::{Deserialize, Serialize};

use super::disk::{Disk, FaultPlan};
use crate::error::{Engine, StorageError};
use crate::log::{Durability, GroupId, GroupState, GroupWrite, LogBatch, LogStart, LogStore, Span};

/// A [`LogStore`] in memory, with injected faults.
#[derive(Debug)]
pub struct MemoryLog {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// What reads see.
    live: Logs,
    /// What a crash leaves: `live` as of the last sync.
    durable: Logs,
    disk: Disk,
}

type Logs = BTreeMap<GroupId, Group>;

#[derive(Clone, Debug, Default)]
struct Group {
    span: Span,
    /// Exactly `span.start.index + 1 ..= span.last`.
    entries: Vec<Entry>,
    hard_state: HardState,
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryLog {
    /// An empty store.
    pub fn new(plan: FaultPlan) -> Self {
        Self::with(Logs::new(), Disk::new(plan))
    }

    /// Changes the faults from now on.
    pub fn set_plan(&self, plan: FaultPlan) {
        self.lock().disk.set_plan(plan);
    }

    /// Cuts the power. This handle answers [`StorageError::Crashed`] from now on; the one returned holds what survived.
    pub fn crash(&self) -> Self {
        let mut inner = self.lock();
        let (disk, survivors) = inner.disk.crash();
        let mut logs = std::mem::take(&mut inner.durable);
        for frame in survivors {
            apply(&mut logs, &decode(&frame));
        }
        Self::with(logs, disk)
    }

    fn with(logs: Logs, disk: Disk) -> Self {
        Self {
            inner: Mutex::new(Inner {
                live: logs.clone(),
                durable: logs,
                disk,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No invariant spans a panic: a test that panicked while holding the lock has failed already.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new(FaultPlan::default())
    }
}

impl LogStore for MemoryLog {
    fn groups(&self) -> Result<Vec<GroupId>, StorageError> {
        let inner = self.lock();
        inner.disk.check()?;
        Ok(inner.live.keys().copied().collect())
    }

    fn group(&self, group: GroupId) -> Result<Option<GroupState>, StorageError> {
        let inner = self.lock();
        inner.disk.check()?;
        Ok(inner.live.get(&group).map(|found| GroupState {
            hard_state: found.hard_state.clone(),
            start: found.span.start,
            last_index: found.span.last,
        }))
    }

    fn entries(&self, group: GroupId, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StorageError> {
        let inner = self.lock();
        inner.disk.check()?;
        if low >= high {
            return Ok(Vec::new());
        }
        let found = inner
            .live
            .get(&group)
            .ok_or(StorageError::Unavailable { group, index: low })?;
        found.span.check(group, low, high)?;
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in &found.entries[found.offset(low)..found.offset(high)] {
            bytes += u64::from(entry.compute_size());
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn term(&self, group: GroupId, index: u64) -> Result<u64, StorageError> {
        let inner = self.lock();
        inner.disk.check()?;
        inner
            .live
            .get(&group)
            .ok_or(StorageError::Unavailable { group, index })?
            .term(group, index)
    }

    fn record(&self, group: GroupId, name: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let inner = self.lock();
        inner.disk.check()?;
        Ok(inner
            .live
            .get(&group)
            .and_then(|found| found.records.get(name).cloned()))
    }

    fn append(&self, batch: LogBatch, durability: Durability) -> Result<(), StorageError> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.disk.check()?;
        let empty = Group::default();
        for (group, write) in batch.groups() {
            let found = inner.live.get(&group).unwrap_or(&empty);
            found.span.after(group, write, |index| found.term(group, index))?;
        }
        inner.disk.write(&encode(&batch)?, content(&inner.live))?;
        apply(&mut inner.live, &batch);
        if durability == Durability::Synced {
            for frame in inner.disk.sync()? {
                apply(&mut inner.durable, &decode(&frame));
            }
        }
        Ok(())
    }

    fn reclaim(&self) -> Result<(), StorageError> {
        self.lock().disk.check()
    }

    fn size_on_disk(&self) -> Result<u64, StorageError> {
        Ok(content(&self.lock().live))
    }
}

impl Group {
    /// Where the entry of `index` is, or would be, in `entries`.
    fn offset(&self, index: u64) -> usize {
        (index - self.span.start.index - 1) as usize
    }

    fn term(&self, group: GroupId, index: u64) -> Result<u64, StorageError> {
        if index == self.span.start.index {
            return Ok(self.span.start.term);
        }
        self.span.check(group, index, index + 1)?;
        Ok(self.entries[self.offset(index)].term)
    }

    #[expect(clippy::expect_used, reason = "no input: checked by `append`")]
    fn apply(&mut self, group: GroupId, write: &GroupWrite) {
        let after = self
            .span
            .after(group, write, |index| self.term(group, index))
            .expect("`append` has checked the write against the same log");
        if let Some(start) = write.reset {
            self.entries.clear();
            self.span.start = start;
        }
        if let Some(first) = write.entries.first() {
            self.entries.truncate(self.offset(first.index));
            self.entries.extend_from_slice(&write.entries);
        }
        self.entries.drain(..self.offset(after.start.index + 1));
        self.span = after;
        if let Some(hard_state) = &write.hard_state {
            self.hard_state = hard_state.clone();
        }
        for (name, value) in &write.records {
            match value {
                Some(value) => self.records.insert(name.clone(), value.clone()),
                None => self.records.remove(name),
            };
        }
    }
}

fn apply(logs: &mut Logs, batch: &LogBatch) {
    for (group, write) in batch.groups() {
        logs.entry(group).or_default().apply(group, write);
    }
}

fn content(logs: &Logs) -> u64 {
    let entries = logs
        .values()
        .flat_map(|group| &group.entries)
        .map(|entry| u64::from(entry.compute_size()));
    let records = logs
        .values()
        .flat_map(|group| &group.records)
        .map(|(name, value)| (name.len() + value.len()) as u64);
    entries.chain(records).sum()
}

/// A [`GroupWrite`] with Raft's own structs in their protobuf form.
#[derive(Serialize, Deserialize)]
struct Frame {
    group: GroupId,
    reset: Option<LogStart>,
    entries: Vec<Vec<u8>>,
    compact_to: Option<u64>,
    hard_state: Option<Vec<u8>>,
    records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn encode(batch: &LogBatch) -> Result<Vec<u8>, StorageError> {
    let corrupt = |detail: String| StorageError::Corrupt {
        engine: Engine::Memory,
        path: PathBuf::new(),
        detail,
    };
    let mut frames = Vec::new();
    for (group, write) in batch.groups() {
        let entries = write
            .entries
            .iter()
            .map(Message::write_to_bytes)
            .collect::<Result<_, _>>();
        let hard_state = write.hard_state.as_ref().map(Message::write_to_bytes).transpose();
        frames.push(Frame {
            group,
            reset: write.reset,
            entries: entries.map_err(|error| corrupt(error.to_string()))?,
            compact_to: write.compact_to,
            hard_state: hard_state.map_err(|error| corrupt(error.to_string()))?,
            records: write.records.clone(),
        });
    }
    bincode::serde::encode_to_vec(&frames, bincode::config::standard()).map_err(|error| corrupt(error.to_string()))
}

#[expect(
    clippy::expect_used,
    reason = "memory only: what is read was written by this process"
)]
fn decode(frame: &[u8]) -> LogBatch {
    const OURS: &str = "a frame whose checksum holds was written by `encode`";
    let (frames, _): (Vec<Frame>, usize) =
        bincode::serde::decode_from_slice(frame, bincode::config::standard()).expect(OURS);
    let mut batch = LogBatch::default();
    for frame in frames {
        let write = batch.group(frame.group);
        write.reset = frame.reset;
        write.entries = frame
            .entries
            .iter()
            .map(|bytes| Entry::parse_from_bytes(bytes).expect(OURS))
            .collect();
        write.compact_to = frame.compact_to;
        write.hard_state = frame
            .hard_state
            .map(|bytes| HardState::parse_from_bytes(&bytes).expect(OURS));
        write.records = frame.records;
    }
    batch
}
