//! Reading a shard's state.

use std::fmt;
use std::sync::Arc;

use mimi_hub_storage::{Direction, KeyRange, KeyValue, StateStore, StorageError};

use crate::keys;
use crate::shard::ShardId;

/// Reads what this node has applied of one shard. Keys are relative to the shard.
///
/// What it sees may be old: for a linearizable read, wait for [`Cluster::read_barrier`](crate::Cluster::read_barrier)
/// first. Two reads may see different states; each [`get`](Self::get) is of one.
#[derive(Clone)]
pub struct ShardReader {
    store: Arc<dyn StateStore>,
    shard: ShardId,
}

impl ShardReader {
    /// A reader of `shard` in `store`, for tests of a state machine; in a cluster, [`Cluster::reader`] gives them out.
    ///
    /// [`Cluster::reader`]: crate::Cluster::reader
    pub fn new(store: Arc<dyn StateStore>, shard: ShardId) -> Self {
        Self { store, shard }
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.store.get(&keys::machine(self.shard, key))
    }

    /// Up to `limit` pairs of `range`, in the order of `direction`. Batches applied meanwhile may be seen in part.
    pub fn scan(&self, range: &KeyRange, limit: usize, direction: Direction) -> Result<Vec<KeyValue>, StorageError> {
        let mut pairs = self
            .store
            .scan(&keys::machine_range(self.shard, range), limit, direction)?;
        for (key, _) in &mut pairs {
            key.drain(..keys::PREFIX);
        }
        Ok(pairs)
    }

    /// The shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }
}

impl fmt::Debug for ShardReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardReader")
            .field("shard", &self.shard)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mimi_hub_storage::MemoryStore;

    use super::*;
    use crate::machine::StateWriter;

    #[test]
    fn a_scan_is_relative_to_its_shard() {
        let store = Arc::new(MemoryStore::default());
        let mut writer = StateWriter::new(store.as_ref());
        for shard in [0, 1, 2] {
            writer.set_applied(ShardId(shard), 9, 1);
            for key in ["a1", "a2", "b1"] {
                writer.txn(ShardId(shard)).put(key.as_bytes(), vec![shard as u8]);
            }
        }
        writer.commit().unwrap();
        let reader = ShardReader::new(store, ShardId(1));
        let pair = |key: &str| (key.as_bytes().to_vec(), vec![1]);
        let scan = |range, limit, direction| reader.scan(&range, limit, direction).unwrap();
        assert_eq!(
            scan(KeyRange::all(), 9, Direction::Forward),
            [pair("a1"), pair("a2"), pair("b1")]
        );
        assert_eq!(
            scan(KeyRange::prefix("a"), 9, Direction::Reverse),
            [pair("a2"), pair("a1")]
        );
        assert_eq!(scan(KeyRange::from("a2"), 1, Direction::Forward), [pair("a2")]);
    }
}
