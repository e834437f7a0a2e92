//! Where a shard's keys lie in the one key space of the state store.
//!
//! `shard (4 bytes, big endian) | namespace (1 byte) | key`. A shard is one range, which can be scanned, snapshotted and
//! dropped; the cluster's own records of a shard lie in it beside the state machine's keys.

use mimi_hub_storage::KeyRange;

use crate::shard::ShardId;

/// The cluster's own records.
const NAMESPACE_CLUSTER: u8 = 0;
/// The state machine's keys.
const NAMESPACE_MACHINE: u8 = 1;

/// Length of the shard in a key.
const SHARD: usize = 4;
/// Length of what stands before a state machine's key.
pub(crate) const PREFIX: usize = 5;

/// The full key of a state machine's `key`.
pub(crate) fn machine(shard: ShardId, key: &[u8]) -> Vec<u8> {
    with_prefix(shard, NAMESPACE_MACHINE, key)
}

/// The full range of a state machine's `range`.
pub(crate) fn machine_range(shard: ShardId, range: &KeyRange) -> KeyRange {
    let start = machine(shard, range.start());
    let end = match range.end() {
        Some(end) => machine(shard, end),
        None => with_prefix(shard, NAMESPACE_MACHINE + 1, &[]),
    };
    KeyRange::new(start, end)
}

/// The key of the applied index.
pub(crate) fn applied(shard: ShardId) -> Vec<u8> {
    with_prefix(shard, NAMESPACE_CLUSTER, b"applied")
}

/// The key of the members, as of the applied index. Without it, they are those that the log store has.
pub(crate) fn members(shard: ShardId) -> Vec<u8> {
    with_prefix(shard, NAMESPACE_CLUSTER, b"members")
}

/// The range of everything in a shard.
pub(crate) fn shard_range(shard: ShardId) -> KeyRange {
    KeyRange::prefix(shard.0.to_be_bytes())
}

/// What follows the shard in a full key.
pub(crate) fn relative(key: &[u8]) -> &[u8] {
    key.get(SHARD..).unwrap_or_default()
}

/// The full key of a [`relative`] one.
pub(crate) fn whole(shard: ShardId, relative: &[u8]) -> Vec<u8> {
    [&shard.0.to_be_bytes(), relative].concat()
}

fn with_prefix(shard: ShardId, namespace: u8, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(PREFIX + key.len());
    full.extend_from_slice(&shard.0.to_be_bytes());
    full.push(namespace);
    full.extend_from_slice(key);
    full
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_stays_inside_its_shard() {
        let all = machine_range(ShardId(1), &KeyRange::all());
        assert!(all.contains(&machine(ShardId(1), b"")) && all.contains(&machine(ShardId(1), &[0xff; 9])));
        assert!(!all.contains(&applied(ShardId(1))));
        let shard = shard_range(ShardId(1));
        assert!(shard.contains(&applied(ShardId(1))) && shard.contains(&machine(ShardId(1), &[0xff; 9])));
        assert!(!shard.contains(&applied(ShardId(2))) && !shard.contains(&machine(ShardId(0), &[0xff; 9])));
        let key = machine(ShardId(1), b"key");
        assert_eq!(whole(ShardId(1), relative(&key)), key);
        assert!(!all.contains(&machine(ShardId(0), &[0xff; 9])) && !all.contains(&machine(ShardId(2), b"")));
        let last = machine_range(ShardId(u32::MAX), &KeyRange::prefix([0xff]));
        assert!(last.contains(&machine(ShardId(u32::MAX), &[0xff, 0xff])));
        assert!(!last.contains(&machine(ShardId(u32::MAX), &[0xfe])));
    }
}
