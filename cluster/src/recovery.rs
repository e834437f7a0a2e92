//! From what the stores hold to what the core starts with.
//!
//! Invariant that it checks for every shard: `log start <= applied <= last index`. The log is synced before anything is
//! applied, and compacted only behind what the state store has flushed, so anything else means that one of the two stores
//! was lost or replaced.

use mimi_hub_storage::{Batch, Direction, Durability, GroupId, LogBatch, LogStart, LogStore, StateStore};
use raft::eraftpb::{ConfState, HardState};

use crate::config::{ClusterConfig, NodeId};
use crate::core::{GroupStart, group_id};
use crate::error::ClusterError;
use crate::keys;
use crate::machine::decode_applied;
use crate::meta;
use crate::planted::{self, Bug};
use crate::records::{self, CLEAR, CLUSTER_GROUP, LATEST_MEMBERS, MEMBERS, RESTORE, SHARD_COUNT};
use crate::shard::ShardId;

/// Every group's log begins after this position. Not at 0, so that a replica that joins empty-handed cannot mistake a log
/// for one it could take from its first entry on: it lacks the members.
pub(crate) const BEGINNING: LogStart = LogStart { index: 1, term: 1 };

/// What the stores hold of every group, which are created when there are none.
pub(crate) fn recover(
    config: &ClusterConfig,
    log: &dyn LogStore,
    state: &dyn StateStore,
) -> Result<Vec<GroupStart>, ClusterError> {
    match log.record(CLUSTER_GROUP, SHARD_COUNT)? {
        Some(bytes) => {
            let stored = bytes.as_slice().try_into().map(u32::from_be_bytes);
            let stored = stored.map_err(|_| ClusterError::Record {
                shard: ShardId(0),
                name: "shards",
            })?;
            if stored != config.shards {
                return Err(ClusterError::ShardCount {
                    stored,
                    configured: config.shards,
                });
            }
        }
        None => create(config, log)?,
    }
    (0..config.groups())
        .map(|shard| recover_group(ShardId(shard), config.node, log, state))
        .collect()
}

/// Writes the first records of every group: one batch, so that a cluster is created whole or not at all.
fn create(config: &ClusterConfig, log: &dyn LogStore) -> Result<(), ClusterError> {
    let mut batch = LogBatch::default();
    for (shard, members) in (0..).map(ShardId).zip(first_members(config)) {
        // A node without a replica has an empty log: what there is comes as a snapshot.
        let replica = members.voters.contains(&config.node.0) || members.learners.contains(&config.node.0);
        let (beginning, members) = if replica {
            (BEGINNING, members)
        } else {
            (LogStart::default(), ConfState::default())
        };
        let members = records::encode_members(&members);
        let write = batch.group(group_id(shard));
        write.reset = Some(beginning);
        write.hard_state = Some(HardState {
            term: beginning.term,
            commit: beginning.index,
            ..HardState::default()
        });
        write.records.push((MEMBERS.to_vec(), Some(members)));
    }
    let shards = config.shards.to_be_bytes().to_vec();
    batch
        .group(CLUSTER_GROUP)
        .records
        .push((SHARD_COUNT.to_vec(), Some(shards)));
    Ok(log.append(batch, Durability::Synced)?)
}

/// Who has a replica of each group when the cluster is created; every node that creates it computes the same.
fn first_members(config: &ClusterConfig) -> Vec<ConfState> {
    if config.joining {
        return vec![ConfState::default(); config.groups() as usize];
    }
    let mut nodes = config.nodes.clone();
    nodes.sort_unstable();
    nodes.dedup();
    let ids = |nodes: &[NodeId]| {
        let mut ids: Vec<u64> = nodes.iter().map(|node| node.0).collect();
        ids.sort_unstable();
        ids
    };
    let members = |voters: &[NodeId], learners: &[NodeId]| ConfState {
        voters: ids(voters),
        learners: ids(learners),
        ..ConfState::default()
    };
    let Some(meta) = &config.meta else {
        return vec![members(&nodes, &[]); config.shards as usize];
    };
    let places = meta::first_placement(&nodes, config.shards, meta.replicas);
    let mut groups: Vec<ConfState> = places.iter().map(|place| members(place, &[])).collect();
    let (voters, learners) = nodes.split_at(nodes.len().min(meta::META_VOTERS_MAX));
    groups.push(members(voters, learners));
    groups
}

pub(crate) fn recover_group(
    shard: ShardId,
    node: NodeId,
    log: &dyn LogStore,
    state: &dyn StateStore,
) -> Result<GroupStart, ClusterError> {
    let group = group_id(shard);
    if log.record(group, CLEAR)?.is_some() {
        clear(shard, log, state)?;
    }
    let unreadable = || ClusterError::Record { shard, name: "members" };
    let applied = match state.get(&keys::applied(shard))? {
        Some(bytes) => Some(decode_applied(&bytes).ok_or(ClusterError::Record { shard, name: "applied" })?),
        None => None,
    };
    finish_restore(shard, log, applied)?;
    let members = match state.get(&keys::members(shard))? {
        Some(members) => Some(members),
        None => log.record(group, MEMBERS)?,
    };
    let conf_state = members
        .and_then(|bytes| records::decode_members(&bytes))
        .ok_or_else(unreadable)?;
    let mut found = log.group(group)?.ok_or_else(unreadable)?;
    if planted::is(Bug::ForgetVoteOnRestart) {
        found.hard_state.vote = 0;
    }
    // A log that nothing was cut off from holds everything. Otherwise others have it, where there are any.
    let latest = log
        .record(group, LATEST_MEMBERS)?
        .and_then(|bytes| records::decode_members(&bytes));
    let alone = latest.as_ref().unwrap_or(&conf_state).voters == [node.0];
    let stateless = applied.is_none() && found.start.index > BEGINNING.index && !alone;
    let applied = match applied {
        Some((index, _)) => index,
        None if stateless || found.start == BEGINNING => found.start.index,
        None => 0,
    };
    if applied < found.start.index || applied > found.last_index {
        let (first, last) = (found.first_index(), found.last_index);
        return Err(ClusterError::StateDoesNotFitLog {
            shard,
            applied,
            first,
            last,
        });
    }
    let tail = log.entries(group, applied + 1, found.last_index + 1, u64::MAX)?;
    let terms = terms(log, group, found.start, applied)?;
    Ok(GroupStart {
        shard,
        hard_state: found.hard_state,
        conf_state,
        start: found.start,
        terms,
        applied,
        stateless,
        tail,
    })
}

/// Keys that are deleted at a time.
const CLEAR_KEYS: usize = 4 << 10;

/// Clears away what a removed replica stores: its state first, then its log, and the note that says so last, so that a crash
/// on the way leaves the note, and this is done again. Its position, its term and its vote stay (see `core::group::stray`).
pub(crate) fn clear(shard: ShardId, log: &dyn LogStore, state: &dyn StateStore) -> Result<(), ClusterError> {
    let group = group_id(shard);
    let mut note = LogBatch::default();
    note.group(group).records.push((CLEAR.to_vec(), Some(Vec::new())));
    log.append(note, Durability::Synced)?;
    loop {
        let page = state.scan(&keys::shard_range(shard), CLEAR_KEYS, Direction::Forward)?;
        if page.is_empty() {
            break;
        }
        let mut batch = Batch::default();
        for (key, _) in page {
            batch.delete(key);
        }
        state.write(batch)?;
    }
    state.flush()?;
    let found = log.group(group)?.unwrap_or_default();
    let voted = found.hard_state;
    let end = LogStart {
        index: found.last_index,
        term: log.term(group, found.last_index)?,
    };
    let mut batch = LogBatch::default();
    let write = batch.group(group);
    write.reset = Some(end);
    write.hard_state = Some(HardState {
        commit: end.index,
        ..voted
    });
    let nobody = records::encode_members(&ConfState::default());
    write.records.push((MEMBERS.to_vec(), Some(nobody)));
    write.records.push((LATEST_MEMBERS.to_vec(), None));
    write.records.push((RESTORE.to_vec(), None));
    write.records.push((CLEAR.to_vec(), None));
    Ok(log.append(batch, Durability::Synced)?)
}

/// Ends what a crash has interrupted while a snapshot was being installed (see `core::restore`): when the state store has
/// taken it, the log begins anew behind it; when not, it is as if it had never come.
fn finish_restore(shard: ShardId, log: &dyn LogStore, applied: Option<(u64, u64)>) -> Result<(), ClusterError> {
    let group = group_id(shard);
    let Some(bytes) = log.record(group, RESTORE)? else {
        return Ok(());
    };
    let (start, members) = records::decode_restore(&bytes).ok_or(ClusterError::Record { shard, name: "restore" })?;
    let mut batch = LogBatch::default();
    let write = batch.group(group);
    write.records.push((RESTORE.to_vec(), None));
    if applied == Some((start.index, start.term)) {
        let mut hard_state = log.group(group)?.unwrap_or_default().hard_state;
        if hard_state.term < start.term {
            // It has not said anything in that term yet.
            hard_state.term = start.term;
            hard_state.vote = 0;
        }
        hard_state.commit = start.index;
        write.reset = Some(start);
        write.hard_state = Some(hard_state);
        write
            .records
            .push((MEMBERS.to_vec(), Some(records::encode_members(&members))));
    }
    Ok(log.append(batch, Durability::Synced)?)
}

/// The first index of each term from `start` up to `last`. Terms never fall along a log, so each is found by bisection: a
/// few reads, however long the log is.
fn terms(log: &dyn LogStore, group: GroupId, start: LogStart, last: u64) -> Result<Vec<LogStart>, ClusterError> {
    let mut terms = Vec::new();
    let mut known = start;
    while known.index < last && log.term(group, last)? > known.term {
        let (mut below, mut above) = (known.index, last);
        // Invariant: the term at `below` is `known.term`, the one at `above` is higher.
        while above - below > 1 {
            let middle = below + (above - below) / 2;
            if log.term(group, middle)? > known.term {
                above = middle;
            } else {
                below = middle;
            }
        }
        known = LogStart {
            index: above,
            term: log.term(group, above)?,
        };
        terms.push(known);
    }
    Ok(terms)
}

#[cfg(test)]
mod tests {
    use mimi_hub_storage::{ClusterId, Entry, MemoryLog, MemoryStore};
    use proptest::prelude::*;

    use super::*;
    use crate::machine::StateWriter;

    fn config(shards: u32) -> ClusterConfig {
        ClusterConfig::single_node(ClusterId([1; 16]), NodeId(1), shards)
    }

    #[test]
    fn a_cluster_is_created_once_and_keeps_its_shards() {
        let (log, state) = (MemoryLog::default(), MemoryStore::default());
        let groups = recover(&config(3), &log, &state).unwrap();
        assert_eq!(groups.iter().map(|group| group.shard.0).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(
            groups
                .iter()
                .all(|group| group.applied == 1 && group.conf_state.voters == [1])
        );
        assert_eq!(recover(&config(3), &log.crash(), &state).unwrap().len(), 3);
    }

    #[test]
    fn the_number_of_shards_cannot_change() {
        let (log, state) = (MemoryLog::default(), MemoryStore::default());
        recover(&config(3), &log, &state).unwrap();
        let error = recover(&config(4), &log, &state).unwrap_err();
        assert!(
            matches!(
                error,
                ClusterError::ShardCount {
                    stored: 3,
                    configured: 4
                }
            ),
            "{error:?}"
        );
    }

    #[test]
    fn a_state_store_that_does_not_fit_the_log_is_refused() {
        let (log, state) = (MemoryLog::default(), MemoryStore::default());
        recover(&config(1), &log, &state).unwrap();
        let mut batch = LogBatch::default();
        let write = batch.group(group_id(ShardId(0)));
        write.entries = (2..=9)
            .map(|index| Entry {
                index,
                term: 2,
                ..Entry::default()
            })
            .collect();
        write.compact_to = Some(5);
        log.append(batch, Durability::Synced).unwrap();
        let applied = |index| {
            let mut writer = StateWriter::new(&state);
            writer.set_applied(ShardId(0), index, 2);
            writer.commit().unwrap();
            recover(&config(1), &log, &state)
        };
        let lost = recover(&config(1), &log, &MemoryStore::default()).unwrap_err();
        assert!(
            matches!(
                lost,
                ClusterError::StateDoesNotFitLog {
                    applied: 0,
                    first: 6,
                    last: 9,
                    ..
                }
            ),
            "{lost:?}"
        );
        for wrong in [4, 10] {
            let error = applied(wrong).unwrap_err();
            assert!(matches!(error, ClusterError::StateDoesNotFitLog { .. }), "{error:?}");
        }
        for (index, tail) in [(5, 4), (7, 2), (9, 0)] {
            assert_eq!(applied(index).unwrap()[0].tail.len(), tail);
        }
    }

    #[test]
    fn a_snapshot_whose_installation_a_crash_interrupted_is_there_whole_or_not_at_all() {
        let shard = ShardId(0);
        let start = LogStart { index: 40, term: 7 };
        let members = ConfState {
            voters: vec![1, 2],
            ..ConfState::default()
        };
        for taken in [false, true] {
            let (log, state) = (MemoryLog::default(), MemoryStore::default());
            recover(&config(1), &log, &state).unwrap();
            let mut batch = LogBatch::default();
            let write = batch.group(group_id(shard));
            write.entries = vec![Entry {
                index: 2,
                term: 2,
                ..Entry::default()
            }];
            let note = records::encode_restore(start, &members);
            write.records.push((RESTORE.to_vec(), Some(note)));
            log.append(batch, Durability::Synced).unwrap();
            if taken {
                let mut writer = StateWriter::new(&state);
                writer.set_applied(shard, start.index, start.term);
                writer.commit().unwrap();
            }
            let check = |log: &MemoryLog| {
                let group = recover(&config(1), log, &state).unwrap().remove(0);
                let expected = if taken { (start, 40, 0) } else { (BEGINNING, 1, 1) };
                assert_eq!((group.start, group.applied, group.tail.len()), expected);
                assert_eq!(group.conf_state.voters, if taken { vec![1, 2] } else { vec![1] });
                assert_eq!(group.hard_state.term, if taken { 7 } else { 1 });
                assert_eq!(log.record(group_id(shard), RESTORE).unwrap(), None);
            };
            check(&log);
            // What that repaired is durable.
            check(&log.crash());
        }
    }

    proptest! {
        #[test]
        fn bisection_finds_every_term(lengths in prop::collection::vec(1_u64..40, 0..8), gap in 1_u64..3) {
            let log = MemoryLog::default();
            let mut entries = Vec::new();
            let mut expected = Vec::new();
            let mut term = 0;
            for length in lengths {
                term += gap;
                expected.push(LogStart { index: entries.len() as u64 + 1, term });
                for _ in 0..length {
                    entries.push(Entry { index: entries.len() as u64 + 1, term, ..Entry::default() });
                }
            }
            let last = entries.len() as u64;
            let mut batch = LogBatch::default();
            batch.group(7).entries = entries;
            log.append(batch, Durability::Synced).unwrap();
            prop_assert_eq!(terms(&log, 7, LogStart::default(), last).unwrap(), expected);
        }
    }
}
