//! The in-memory state store.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, FaultPlan};
use crate::error::{Engine, StorageError};
use crate::state::{Batch, Direction, KeyRange, KeyValue, Op, StateStore};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// A [`StateStore`] in memory, with injected faults.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// What reads see.
    live: Map,
    /// What a crash leaves: `live` as of the last sync.
    durable: Map,
    /// Bytes of keys and values in `live`.
    content: u64,
    disk: Disk,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(plan: FaultPlan) -> Self {
        Self::with(Map::new(), Disk::new(plan))
    }

    /// Changes the faults from now on.
    pub fn set_plan(&self, plan: FaultPlan) {
        self.lock().disk.set_plan(plan);
    }

    /// Cuts the power. This handle answers [`StorageError::Crashed`] from now on; the one returned holds what survived.
    pub fn crash(&self) -> Self {
        let mut inner = self.lock();
        let (disk, survivors) = inner.disk.crash();
        let mut map = std::mem::take(&mut inner.durable);
        for frame in survivors {
            apply(&mut map, decode(&frame));
        }
        Self::with(map, disk)
    }

    fn with(map: Map, disk: Disk) -> Self {
        let content = map.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        Self {
            inner: Mutex::new(Inner {
                live: map.clone(),
                durable: map,
                content,
                disk,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No invariant spans a panic: a test that panicked while holding the lock has failed already.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(FaultPlan::default())
    }
}

impl StateStore for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let inner = self.lock();
        inner.disk.check()?;
        Ok(inner.live.get(key).cloned())
    }

    fn scan(&self, range: &KeyRange, limit: usize, direction: Direction) -> Result<Vec<KeyValue>, StorageError> {
        let inner = self.lock();
        inner.disk.check()?;
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let pairs = inner
            .live
            .range(range.bounds())
            .map(|(key, value)| (key.clone(), value.clone()));
        Ok(match direction {
            Direction::Forward => pairs.take(limit).collect(),
            Direction::Reverse => pairs.rev().take(limit).collect(),
        })
    }

    fn write(&self, batch: Batch) -> Result<(), StorageError> {
        let frame = encode(&batch)?;
        let mut inner = self.lock();
        let content = inner.content;
        inner.disk.write(&frame, content)?;
        let delta = apply(&mut inner.live, batch);
        inner.content = content.saturating_add_signed(delta);
        Ok(())
    }

    fn flush(&self) -> Result<(), StorageError> {
        let mut inner = self.lock();
        for frame in inner.disk.sync()? {
            apply(&mut inner.durable, decode(&frame));
        }
        Ok(())
    }

    fn size_on_disk(&self) -> Result<u64, StorageError> {
        Ok(self.lock().content)
    }
}

fn encode(batch: &Batch) -> Result<Vec<u8>, StorageError> {
    bincode::serde::encode_to_vec(batch, bincode::config::standard()).map_err(|error| StorageError::Corrupt {
        engine: Engine::Memory,
        path: std::path::PathBuf::new(),
        detail: error.to_string(),
    })
}

#[expect(
    clippy::expect_used,
    reason = "memory only: what is read was written by this process"
)]
fn decode(frame: &[u8]) -> Batch {
    bincode::serde::decode_from_slice(frame, bincode::config::standard())
        .map(|(batch, _)| batch)
        .expect("a frame whose checksum holds was written by `encode`")
}

/// Applies the batch and returns by how many bytes the content grew.
fn apply(map: &mut Map, batch: Batch) -> i64 {
    let mut delta = 0;
    for op in batch.into_ops() {
        match op {
            Op::Delete(key) => {
                if let Some(old) = map.remove(&key) {
                    delta -= (key.len() + old.len()) as i64;
                }
            }
            Op::Put(key, value) => {
                delta += (key.len() + value.len()) as i64;
                let key_length = key.len();
                if let Some(old) = map.insert(key, value) {
                    delta -= (key_length + old.len()) as i64;
                }
            }
        }
    }
    delta
}
