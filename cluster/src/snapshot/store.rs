//! From the state store to chunks, and back.

use mimi_hub_storage::{Batch, Direction, KeyRange, StateStore, StorageError};
use raft::eraftpb::{ConfState, Message};
use sha2::{Digest, Sha256};

use super::chunk::{Chunk, Chunks};
use super::{SnapshotError, SnapshotId};
use crate::keys;
use crate::machine::{decode_applied, encode_applied};
use crate::records;
use crate::shard::ShardId;

/// Pairs read at a time.
const PAGE: usize = 256;

/// A shard's state.
pub(crate) struct Collected {
    pub(crate) id: SnapshotId,
    /// Who has a replica, when that has ever changed.
    pub(crate) members: Option<ConfState>,
    pub(crate) chunks: Vec<Chunk>,
}

impl Collected {
    /// Corrects Raft's message about a snapshot to what has been collected, which may be further than what it says.
    pub(crate) fn correct(&self, message: &mut Message) {
        let metadata = message.mut_snapshot().mut_metadata();
        metadata.index = self.id.index;
        metadata.term = self.id.term;
        if let Some(members) = &self.members {
            metadata.set_conf_state(members.clone());
        }
    }
}

/// Reads everything of `shard`, into chunks of `full` bytes. Nothing of it may be written meanwhile.
pub(crate) fn collect(
    store: &dyn StateStore,
    shard: ShardId,
    limit: u64,
    full: usize,
) -> Result<Collected, SnapshotError> {
    let applied = store.get(&keys::applied(shard))?;
    let (index, term) = applied
        .and_then(|bytes| decode_applied(&bytes))
        .ok_or(SnapshotError::Nothing { shard })?;
    let members = store.get(&keys::members(shard))?;
    let members = members.map(|bytes| records::decode_members(&bytes).ok_or(SnapshotError::Malformed { shard }));
    let mut chunks = Chunks::new(full);
    each(store, &keys::shard_range(shard), |key, value| {
        chunks.push(key, value);
        if chunks.bytes() > limit {
            return Err(SnapshotError::TooLarge { shard, limit });
        }
        Ok(())
    })?;
    Ok(Collected {
        id: SnapshotId { shard, index, term },
        members: members.transpose()?,
        chunks: chunks.finish(),
    })
}

/// Replaces everything of the snapshot's shard by what is in `chunks`, in one batch, and makes it durable.
pub(crate) fn install(store: &dyn StateStore, id: SnapshotId, chunks: &[Chunk]) -> Result<(), SnapshotError> {
    store.write(replacement(store, id, chunks)?)?;
    Ok(store.flush()?)
}

/// The batch that makes the snapshot's shard what is in `chunks`.
pub(crate) fn replacement(store: &dyn StateStore, id: SnapshotId, chunks: &[Chunk]) -> Result<Batch, SnapshotError> {
    let SnapshotId { shard, index, term } = id;
    let mut batch = Batch::default();
    each(store, &keys::shard_range(shard), |key, _| {
        batch.delete(keys::whole(shard, key));
        Ok::<_, SnapshotError>(())
    })?;
    for chunk in chunks {
        for (key, value) in chunk.pairs().ok_or(SnapshotError::Malformed { shard })? {
            batch.put(keys::whole(shard, &key), value);
        }
    }
    batch.put(keys::applied(shard), encode_applied(index, term));
    Ok(batch)
}

/// SHA-256 over what the owner of the cluster has stored of `shard`: every key and value with its length.
pub(crate) fn checksum(store: &dyn StateStore, shard: ShardId) -> Result<[u8; 32], StorageError> {
    let mut hash = Sha256::new();
    each(store, &keys::machine_range(shard, &KeyRange::all()), |key, value| {
        for bytes in [key, value] {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
        Ok::<_, StorageError>(())
    })?;
    Ok(hash.finalize().into())
}

/// Calls `take` with every key of a range of a shard, relative to it but with its namespace, and its value.
fn each<E: From<StorageError>>(
    store: &dyn StateStore,
    all: &KeyRange,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut next = all.start().to_vec();
    loop {
        let range = match all.end() {
            Some(end) => KeyRange::new(next, end),
            None => KeyRange::from(next),
        };
        let page = store.scan(&range, PAGE, Direction::Forward)?;
        for (key, value) in &page {
            take(keys::relative(key), value)?;
        }
        match page.into_iter().last() {
            // The smallest key above it.
            Some((mut last, _)) => {
                last.push(0);
                next = last;
            }
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod checksum_tests {
    use mimi_hub_storage::MemoryStore;

    use super::*;
    use crate::machine::StateWriter;

    fn store(pairs: &[(&str, &str)]) -> MemoryStore {
        let store = MemoryStore::default();
        let mut writer = StateWriter::new(&store);
        for (key, value) in pairs {
            writer.txn(ShardId(1)).put(key.as_bytes(), *value);
        }
        writer.txn(ShardId(2)).put(b"another shard's", "value");
        writer.set_applied(ShardId(1), pairs.len() as u64, 1);
        writer.commit().unwrap();
        store
    }

    #[test]
    fn a_checksum_is_of_the_shards_pairs_and_their_lengths() {
        let of = |pairs: &[(&str, &str)]| checksum(&store(pairs), ShardId(1)).unwrap();
        assert_eq!(of(&[("a", "1"), ("b", "2")]), of(&[("b", "2"), ("a", "1")]));
        let different = [
            of(&[]),
            of(&[("a", "1")]),
            of(&[("a", "2")]),
            of(&[("a1", "")]),
            of(&[("", "a1")]),
            of(&[("a", "1"), ("b", "2")]),
            of(&[("a", "1b2")]),
        ];
        let distinct: std::collections::BTreeSet<_> = different.iter().collect();
        assert_eq!(distinct.len(), different.len());
        let many: Vec<String> = (0..3 * PAGE).map(|number| format!("key {number:04}")).collect();
        let pairs: Vec<(&str, &str)> = many.iter().map(|key| (key.as_str(), "value")).collect();
        assert_ne!(of(&pairs), of(&pairs[..pairs.len() - 1]), "across pages");
    }
}

#[cfg(test)]
mod tests {
    use mimi_hub_storage::{FaultPlan, MemoryStore};

    use super::super::chunk::FULL;
    use super::*;
    use crate::machine::StateWriter;
    use crate::reader::ShardReader;

    fn filled(shard: u32, items: u32, index: u64) -> MemoryStore {
        let store = MemoryStore::new(FaultPlan::default());
        let mut writer = StateWriter::new(&store);
        for shard in shard..shard + 2 {
            for item in 0..items {
                writer
                    .txn(ShardId(shard))
                    .put(&item.to_be_bytes(), vec![shard as u8; 3000]);
            }
            writer.set_applied(ShardId(shard), index, 3);
        }
        writer.commit().unwrap();
        store
    }

    fn keys_of(store: &MemoryStore, shard: ShardId) -> usize {
        let reader = ShardReader::new(std::sync::Arc::new(store.crash()), shard);
        let all = reader.scan(&KeyRange::all(), usize::MAX, Direction::Forward).unwrap();
        assert!(all.iter().all(|(_, value)| value[0] == shard.0 as u8));
        all.len()
    }

    #[test]
    fn a_snapshot_replaces_its_shard_and_no_other() {
        let (from, to) = (filled(1, 1000, 77), filled(1, 1500, 5));
        let shard = ShardId(1);
        let Collected { id, chunks, .. } = collect(&from, shard, u64::MAX, FULL).unwrap();
        assert_eq!(
            id,
            SnapshotId {
                shard,
                index: 77,
                term: 3
            }
        );
        assert!(chunks.len() >= 3, "{}", chunks.len());
        install(&to, id, &chunks).unwrap();
        let again = collect(&to, shard, u64::MAX, FULL).unwrap();
        assert_eq!((again.id, again.chunks), (id, chunks));
        assert_eq!(collect(&to, ShardId(2), u64::MAX, FULL).unwrap().id.index, 5);
        // Durable, too.
        assert_eq!(keys_of(&to, shard), 1000);
    }

    #[test]
    fn what_cannot_be_taken_is_said() {
        let store = filled(1, 10, 9);
        let large = collect(&store, ShardId(1), 10_000, FULL).err().unwrap();
        assert!(large.to_string().contains("max_snapshot_bytes"), "{large}");
        let nothing = collect(&store, ShardId(9), 10_000, FULL).err().unwrap();
        assert!(matches!(nothing, SnapshotError::Nothing { .. }));
    }
}
