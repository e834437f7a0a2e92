//! The cluster's own records in the log store, beside the logs.

use mimi_hub_storage::{GroupId, LogStart};
use protobuf::Message as _;
use raft::eraftpb::ConfState;

/// The cluster's own group: it holds records, not a log.
pub(crate) const CLUSTER_GROUP: GroupId = 0;
/// Of the cluster's group: its number of shards, 4 bytes, big endian.
pub(crate) const SHARD_COUNT: &[u8] = b"shards";
/// Of a shard's group: its members where its log begins, Raft's `ConfState` in protobuf.
pub(crate) const MEMBERS: &[u8] = b"members";
/// Of a shard's group: its members when its log was last cut off. Tells whether there are others, nothing more.
pub(crate) const LATEST_MEMBERS: &[u8] = b"latest members";
/// Of a shard's group, while its replica, which was removed, is being cleared away.
pub(crate) const CLEAR: &[u8] = b"clear";
/// Of a shard's group, while a snapshot is being installed: which one, and its members.
pub(crate) const RESTORE: &[u8] = b"restore";

#[expect(clippy::expect_used, reason = "what is written is ours")]
pub(crate) fn encode_members(members: &ConfState) -> Vec<u8> {
    members
        .write_to_bytes()
        .expect("protobuf lays out every message without required fields")
}

pub(crate) fn decode_members(bytes: &[u8]) -> Option<ConfState> {
    ConfState::parse_from_bytes(bytes).ok()
}

/// Format version 1: the version, index and term in big endian, the members.
pub(crate) fn encode_restore(start: LogStart, members: &ConfState) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend_from_slice(&start.index.to_be_bytes());
    bytes.extend_from_slice(&start.term.to_be_bytes());
    bytes.extend_from_slice(&encode_members(members));
    bytes
}

pub(crate) fn decode_restore(bytes: &[u8]) -> Option<(LogStart, ConfState)> {
    let (index, rest) = bytes.strip_prefix(&[1])?.split_first_chunk()?;
    let (term, members) = rest.split_first_chunk()?;
    let start = LogStart {
        index: u64::from_be_bytes(*index),
        term: u64::from_be_bytes(*term),
    };
    Some((start, decode_members(members)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restore_record_reads_as_written() {
        let start = LogStart { index: 7, term: 3 };
        let members = ConfState {
            voters: vec![1, 2, 3],
            learners: vec![9],
            ..ConfState::default()
        };
        let bytes = encode_restore(start, &members);
        assert_eq!(decode_restore(&bytes), Some((start, members)));
        for wrong in [&bytes[..16], &bytes[1..], b""] {
            assert_eq!(decode_restore(wrong), None);
        }
    }
}
