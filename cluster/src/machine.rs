//! What the owner of the cluster implements, and the transaction it writes through.

use std::collections::BTreeMap;

use mimi_hub_storage::{Batch, StateStore, StorageError};
use raft::eraftpb::ConfState;

use crate::config::NodeId;
use crate::error::ApplyError;
use crate::keys;
use crate::records;
use crate::shard::ShardId;

/// Turns committed commands into writes. Called for every shard that this node has a replica of.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies one command. Runs on every replica, in log order, and has to be deterministic: it reads and writes only
    /// through `txn`, and nothing but the arguments may influence it. What it returns is the outcome that the proposer
    /// gets; other replicas drop it.
    ///
    /// After a crash, commands are applied again from the state store's own applied index on: it is written in one batch
    /// with what `apply` wrote, so that no command has ever its effect twice.
    ///
    /// Runs on the applier's thread; all shards wait while it does.
    ///
    /// # Errors
    /// An error, or a panic, stops the process: a replica that skips a command is not a replica. A command that is to be
    /// refused is a normal outcome.
    fn apply(&self, txn: &mut ShardTxn<'_>, entry: EntryMeta, command: &[u8]) -> Result<Vec<u8>, ApplyError>;

    /// The commands of `shard` up to `up_to` are in the state store, where every [`ShardReader`](crate::ShardReader) sees
    /// them; the proposers are told after it returns. On the applier's thread; not deterministic, must not block.
    fn applied(&self, shard: ShardId, up_to: u64) {
        let _ = (shard, up_to);
    }

    /// This node's part in `shard` has changed. Each call is different from the one before; before the first one the node
    /// follows nobody. On the worker's thread: must not block.
    fn leadership(&self, shard: ShardId, state: Leadership) {
        let _ = (shard, state);
    }
}

/// Where a command stands in its shard's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryMeta {
    /// The shard.
    pub shard: ShardId,
    /// Its index in the log. Indices rise, with gaps where entries carry no command.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
}

/// A node's part in a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// A follower replica, or a candidate.
    Follower {
        /// The leader, if it is known.
        leader: Option<NodeId>,
    },
    /// The leader. Only said once an entry of its own term has been applied here: everything that any leader before it
    /// acknowledged is then in the state store.
    Leader {
        /// The term it leads.
        term: u64,
        /// Index of the first entry of that term.
        since: u64,
    },
}

/// Collects the writes of transactions, of one shard or of many, until they are written as one atomic batch.
pub struct StateWriter<'a> {
    store: &'a dyn StateStore,
    /// Full keys; `None` is a deletion.
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl<'a> StateWriter<'a> {
    /// A writer that has written nothing yet.
    pub fn new(store: &'a dyn StateStore) -> Self {
        Self {
            store,
            writes: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// A transaction of `shard`. It sees what earlier ones of this writer wrote.
    pub fn txn(&mut self, shard: ShardId) -> ShardTxn<'_> {
        ShardTxn {
            shard,
            store: self.store,
            writes: &mut self.writes,
            bytes: &mut self.bytes,
        }
    }

    /// Writes everything as one batch.
    pub fn commit(self) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        for (key, value) in self.writes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        if batch.is_empty() {
            Ok(())
        } else {
            self.store.write(batch)
        }
    }

    /// Bytes written so far, overwritten ones included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records who has a replica of `shard`.
    pub(crate) fn set_members(&mut self, shard: ShardId, members: &ConfState) {
        self.writes
            .insert(keys::members(shard), Some(records::encode_members(members)));
    }

    /// Records how far `shard` is applied, and the term there.
    pub(crate) fn set_applied(&mut self, shard: ShardId, index: u64, term: u64) {
        self.writes
            .insert(keys::applied(shard), Some(encode_applied(index, term)));
    }
}

/// The reads and writes of one command. Keys are relative to the shard.
pub struct ShardTxn<'a> {
    shard: ShardId,
    store: &'a dyn StateStore,
    writes: &'a mut BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: &'a mut usize,
}

impl ShardTxn<'_> {
    /// The value of `key`, own writes included.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let key = keys::machine(self.shard, key);
        match self.writes.get(&key) {
            Some(value) => Ok(value.clone()),
            None => self.store.get(&key),
        }
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, key: &[u8], value: impl Into<Vec<u8>>) {
        let value = value.into();
        *self.bytes += keys::PREFIX + key.len() + value.len();
        self.writes.insert(keys::machine(self.shard, key), Some(value));
    }

    /// Removes `key`, which need not be there.
    pub fn delete(&mut self, key: &[u8]) {
        *self.bytes += keys::PREFIX + key.len();
        self.writes.insert(keys::machine(self.shard, key), None);
    }

    /// The shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }
}

/// Format version 1: the version, index and term in big endian.
pub(crate) fn encode_applied(index: u64, term: u64) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend_from_slice(&index.to_be_bytes());
    bytes.extend_from_slice(&term.to_be_bytes());
    bytes
}

/// Reads what [`encode_applied`] laid out: index and term.
pub(crate) fn decode_applied(bytes: &[u8]) -> Option<(u64, u64)> {
    let (index, term) = bytes.strip_prefix(&[1])?.split_at_checked(8)?;
    let number = |bytes: &[u8]| bytes.try_into().ok().map(u64::from_be_bytes);
    Some((number(index)?, number(term)?))
}

#[cfg(test)]
mod tests {
    use mimi_hub_storage::MemoryStore;

    use super::*;
    use crate::reader::ShardReader;

    #[test]
    fn a_transaction_sees_its_own_writes_and_the_store_none_before_the_commit() {
        let store = MemoryStore::default();
        let mut writer = StateWriter::new(&store);
        let mut txn = writer.txn(ShardId(3));
        txn.put(b"a", b"1");
        txn.put(b"b", b"2");
        txn.delete(b"a");
        assert_eq!(txn.get(b"a").unwrap(), None);
        assert_eq!(writer.txn(ShardId(3)).get(b"b").unwrap(), Some(b"2".to_vec()));
        assert_eq!(writer.txn(ShardId(4)).get(b"b").unwrap(), None);
        assert_eq!(store.get(&keys::machine(ShardId(3), b"b")).unwrap(), None);
        writer.commit().unwrap();
        let reader = ShardReader::new(std::sync::Arc::new(store), ShardId(3));
        assert_eq!(reader.get(b"b").unwrap(), Some(b"2".to_vec()));
        assert_eq!(reader.get(b"a").unwrap(), None);
    }

    #[test]
    fn the_applied_index_reads_as_written() {
        assert_eq!(
            decode_applied(&encode_applied(u64::MAX - 1, 7)),
            Some((u64::MAX - 1, 7))
        );
        for wrong in [&b""[..], &[1], &[2; 17], &[1; 9], &[1; 16], &[1; 18]] {
            assert_eq!(decode_applied(wrong), None);
        }
    }
}
