//! The conformance suite of [`LogStore`]: the same for every implementation.

use std::collections::BTreeMap;

use crate::{
    Durability, Entry, FaultPlan, GroupState, GroupWrite, HardState, LogBatch, LogStart, LogStore, MemoryLog,
    RaftEngineConfig, RaftEngineLog, StorageError,
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::damage;

/// A store under test, and how its power is cut.
trait Subject {
    fn log(&self) -> &dyn LogStore;
    fn crash(self) -> Self;
}

struct Memory(MemoryLog);

impl Subject for Memory {
    fn log(&self) -> &dyn LogStore {
        &self.0
    }

    fn crash(self) -> Self {
        Self(self.0.crash())
    }
}

struct RaftEngine {
    log: RaftEngineLog,
    dir: TempDir,
}

/// Small files, so that the tests see them rotated and purged.
const CONFIG: RaftEngineConfig = RaftEngineConfig {
    file_bytes: 16 << 10,
    purge_bytes: 64 << 10,
};

impl RaftEngine {
    fn open(dir: TempDir) -> Self {
        Self {
            log: RaftEngineLog::open(dir.path(), &CONFIG).unwrap(),
            dir,
        }
    }

    fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }
}

impl Subject for RaftEngine {
    fn log(&self) -> &dyn LogStore {
        &self.log
    }

    fn crash(self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        damage::copy(self.dir.path(), copy.path());
        Self::open(copy)
    }
}

fn memory(seed: u64, torn_tail: bool) -> Memory {
    Memory(MemoryLog::new(FaultPlan {
        seed,
        torn_tail,
        ..FaultPlan::default()
    }))
}

fn entry(index: u64, term: u64) -> Entry {
    Entry {
        index,
        term,
        data: vec![index as u8; 100].into(),
        ..Entry::default()
    }
}

fn entries(range: std::ops::RangeInclusive<u64>, term: u64) -> Vec<Entry> {
    range.map(|index| entry(index, term)).collect()
}

fn write(log: &dyn LogStore, group: u64, change: impl FnOnce(&mut GroupWrite)) -> Result<(), StorageError> {
    let mut batch = LogBatch::default();
    change(batch.group(group));
    log.append(batch, Durability::Synced)
}

fn all(log: &dyn LogStore, group: u64) -> Vec<(u64, u64)> {
    let state = log.group(group).unwrap().unwrap();
    let entries = log
        .entries(group, state.first_index(), state.last_index + 1, u64::MAX)
        .unwrap();
    entries.iter().map(|entry| (entry.index, entry.term)).collect()
}

fn appends_and_overwrites(log: &dyn LogStore) {
    assert_eq!(log.group(1).unwrap(), None);
    write(log, 1, |group| group.entries = entries(1..=5, 1)).unwrap();
    write(log, 1, |group| {
        group.entries = entries(4..=6, 2);
        group.hard_state = Some(HardState {
            term: 2,
            vote: 3,
            commit: 4,
            ..HardState::default()
        });
    })
    .unwrap();
    assert_eq!(all(log, 1), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]);
    write(log, 1, |group| group.entries = entries(5..=5, 3)).unwrap();
    assert_eq!(all(log, 1), [(1, 1), (2, 1), (3, 1), (4, 2), (5, 3)]);
    let state = log.group(1).unwrap().unwrap();
    assert_eq!(
        (state.hard_state.term, state.hard_state.vote, state.hard_state.commit),
        (2, 3, 4)
    );
    assert_eq!(log.term(1, 5).unwrap(), 3);
    assert_eq!(log.term(1, 0).unwrap(), 0);
    assert!(matches!(
        log.term(1, 6),
        Err(StorageError::Unavailable { group: 1, index: 6 })
    ));
    assert!(matches!(log.entries(1, 4, 7, 9), Err(StorageError::Unavailable { .. })));
    assert!(matches!(
        log.entries(2, 1, 2, 9),
        Err(StorageError::Unavailable { group: 2, .. })
    ));
    assert_eq!(log.entries(1, 2, 2, 9).unwrap(), []);
    // One entry is more than 100 bytes: always at least one, then up to the limit.
    assert_eq!(log.entries(1, 2, 6, 1).unwrap().len(), 1);
    assert_eq!(log.entries(1, 2, 6, 250).unwrap(), [entry(2, 1), entry(3, 1)]);
}

fn refuses_gaps(log: &dyn LogStore) {
    write(log, 1, |group| group.entries = entries(1..=3, 1)).unwrap();
    let gap = |change: fn(&mut GroupWrite)| {
        // The good half of the batch must not be written either.
        let mut batch = LogBatch::default();
        batch.group(0).entries = entries(1..=1, 1);
        change(batch.group(1));
        assert!(matches!(
            log.append(batch, Durability::Synced),
            Err(StorageError::Gap { group: 1, .. })
        ));
        assert_eq!(log.group(0).unwrap(), None);
        assert_eq!(all(log, 1).len(), 3);
    };
    gap(|group| group.entries = entries(5..=6, 1));
    gap(|group| group.entries = vec![entry(4, 1), entry(6, 1)]);
    gap(|group| group.compact_to = Some(4));
    gap(|group| group.reset = Some(LogStart { index: 7, term: 1 }).inspect(|_| group.entries = entries(4..=4, 1)));
    write(log, 1, |group| group.compact_to = Some(2)).unwrap();
    let below = write(log, 1, |group| group.entries = entries(2..=3, 1));
    assert!(matches!(below, Err(StorageError::Gap { .. })), "{below:?}");
}

fn compacts_and_resets(log: &dyn LogStore) {
    write(log, 1, |group| group.entries = entries(1..=9, 1)).unwrap();
    write(log, 1, |group| group.entries = entries(6..=9, 2)).unwrap();
    write(log, 1, |group| group.compact_to = Some(6)).unwrap();
    assert_eq!(all(log, 1), [(7, 2), (8, 2), (9, 2)]);
    assert_eq!(log.group(1).unwrap().unwrap().start, LogStart { index: 6, term: 2 });
    assert_eq!(log.term(1, 6).unwrap(), 2);
    assert!(matches!(
        log.term(1, 5),
        Err(StorageError::Compacted {
            group: 1,
            index: 5,
            first: 7
        })
    ));
    assert!(matches!(log.entries(1, 6, 8, 9), Err(StorageError::Compacted { .. })));
    write(log, 1, |group| group.compact_to = Some(3)).unwrap();
    assert_eq!(all(log, 1).len(), 3);
    // Everything, along with what is appended in the same write.
    write(log, 1, |group| {
        group.entries = entries(10..=11, 4);
        group.compact_to = Some(11);
    })
    .unwrap();
    assert_eq!(all(log, 1), []);
    let state = log.group(1).unwrap().unwrap();
    assert_eq!((state.start, state.last_index), (LogStart { index: 11, term: 4 }, 11));
    write(log, 1, |group| group.entries = entries(12..=13, 4)).unwrap();
    assert_eq!(all(log, 1), [(12, 4), (13, 4)]);

    write(log, 1, |group| group.reset = Some(LogStart { index: 20, term: 5 })).unwrap();
    assert_eq!(all(log, 1), []);
    assert_eq!(log.term(1, 20).unwrap(), 5);
    write(log, 1, |group| group.entries = entries(21..=22, 6)).unwrap();
    write(log, 1, |group| {
        group.reset = Some(LogStart { index: 30, term: 6 });
        group.entries = entries(31..=32, 6);
    })
    .unwrap();
    assert_eq!(all(log, 1), [(31, 6), (32, 6)]);
}

fn keeps_records(log: &dyn LogStore) {
    write(log, 1, |group| {
        group.records = vec![
            (b"a".to_vec(), Some(b"1".to_vec())),
            (b"b".to_vec(), Some(b"2".to_vec())),
        ];
    })
    .unwrap();
    write(log, 1, |group| {
        group.reset = Some(LogStart { index: 3, term: 1 });
        group.records = vec![(b"b".to_vec(), None)];
    })
    .unwrap();
    assert_eq!(log.record(1, b"a").unwrap(), Some(b"1".to_vec()));
    assert_eq!(log.record(1, b"b").unwrap(), None);
    assert_eq!(log.record(2, b"a").unwrap(), None);
    assert_eq!(log.groups().unwrap(), [1]);
}

fn conforms(new: impl Fn() -> Box<dyn LogStore>) {
    for test in [appends_and_overwrites, refuses_gaps, compacts_and_resets, keeps_records] {
        test(new().as_ref());
    }
}

#[test]
fn memory_conforms() {
    conforms(|| Box::new(MemoryLog::default()));
}

#[test]
fn raft_engine_conforms() {
    let dirs = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    conforms(|| {
        number.set(number.get() + 1);
        Box::new(RaftEngineLog::open(&dirs.path().join(number.get().to_string()), &CONFIG).unwrap())
    });
}

#[derive(Clone, Debug)]
enum Change {
    Append {
        group: u64,
        back: u64,
        count: u64,
        term: u64,
    },
    Commit {
        group: u64,
        commit: u64,
    },
    Compact {
        group: u64,
        keep: u64,
    },
    Reset {
        group: u64,
        ahead: u64,
    },
    Record {
        group: u64,
        value: Option<u8>,
    },
}

fn change() -> impl Strategy<Value = Change> {
    let group = 1_u64..4;
    prop_oneof![
        6 => (group.clone(), 0_u64..4, 1_u64..6, 1_u64..9)
            .prop_map(|(group, back, count, term)| Change::Append { group, back, count, term }),
        2 => (group.clone(), any::<u32>()).prop_map(|(group, commit)| Change::Commit { group, commit: commit.into() }),
        2 => (group.clone(), 0_u64..4).prop_map(|(group, keep)| Change::Compact { group, keep }),
        1 => (group.clone(), 1_u64..9).prop_map(|(group, ahead)| Change::Reset { group, ahead }),
        1 => (group, any::<Option<u8>>()).prop_map(|(group, value)| Change::Record { group, value }),
    ]
}

type Step = (Vec<Change>, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        (prop::collection::vec(change(), 1..4), prop::bool::weighted(0.4)),
        1..25,
    )
}

/// Everything a store holds, by group.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model(BTreeMap<u64, Content>);

/// A group's state, entries and one record.
type Content = (GroupState, Vec<Entry>, Option<Vec<u8>>);

fn content(log: &dyn LogStore) -> Model {
    let groups = log.groups().unwrap().into_iter().map(|group| {
        let state = log.group(group).unwrap().unwrap();
        let entries = log
            .entries(group, state.first_index(), state.last_index + 1, u64::MAX)
            .unwrap();
        assert_eq!(entries.len() as u64, state.last_index - state.start.index);
        for entry in &entries {
            assert_eq!(log.term(group, entry.index).unwrap(), entry.term);
        }
        assert_eq!(log.term(group, state.start.index).unwrap(), state.start.term);
        (group, (state, entries, log.record(group, b"record").unwrap()))
    });
    Model(groups.collect())
}

/// Makes the step a batch that fits the model, and the model what the batch makes of it. One change per group.
fn batch(model: &mut Model, changes: &[Change]) -> LogBatch {
    let mut batch = LogBatch::default();
    let mut seen = Vec::new();
    for change in changes {
        let (Change::Append { group, .. }
        | Change::Commit { group, .. }
        | Change::Compact { group, .. }
        | Change::Reset { group, .. }
        | Change::Record { group, .. }) = change;
        if seen.contains(group) {
            continue;
        }
        seen.push(*group);
        let write = batch.group(*group);
        let (state, entries, record) = model.0.entry(*group).or_default();
        match change {
            Change::Append { back, count, term, .. } => {
                let first = (state.last_index + 1).saturating_sub(*back).max(state.first_index());
                write.entries = (first..first + count).map(|index| entry(index, *term)).collect();
                entries.retain(|entry| entry.index < first);
                entries.extend(write.entries.clone());
                state.last_index = first + count - 1;
            }
            Change::Commit { commit, .. } => {
                state.hard_state.commit = *commit;
                write.hard_state = Some(state.hard_state.clone());
            }
            Change::Compact { keep, .. } => {
                let to = state.last_index.saturating_sub(*keep);
                write.compact_to = Some(to);
                if let Some(last) = entries.iter().find(|entry| entry.index == to) {
                    state.start = LogStart {
                        index: to,
                        term: last.term,
                    };
                    entries.retain(|entry| entry.index > to);
                }
            }
            Change::Reset { ahead, .. } => {
                state.start = LogStart {
                    index: state.last_index + ahead,
                    term: 9,
                };
                state.last_index = state.start.index;
                write.reset = Some(state.start);
                entries.clear();
            }
            Change::Record { value, .. } => {
                *record = value.map(|value| vec![value]);
                write.records.push((b"record".to_vec(), record.clone()));
            }
        }
    }
    batch
}

fn write_steps(log: &dyn LogStore, steps: &[Step]) -> (Vec<Model>, usize) {
    let mut models = vec![Model::default()];
    let mut synced = 0;
    for (changes, sync) in steps {
        let mut model = models.last().unwrap().clone();
        let batch = batch(&mut model, changes);
        log.append(
            batch,
            if *sync {
                Durability::Synced
            } else {
                Durability::Buffered
            },
        )
        .unwrap();
        assert_eq!(content(log), model);
        models.push(model);
        if *sync {
            synced = models.len() - 1;
        }
        log.reclaim().unwrap();
    }
    (models, synced)
}

/// What a crash leaves is what some number of batches made, and none that was synced is missing.
fn survives_a_crash(subject: impl Subject, steps: &[Step], more: &[Step]) {
    let (models, synced) = write_steps(subject.log(), steps);
    let after = subject.crash();
    let left = content(after.log());
    let survived = models[synced..].contains(&left);
    assert!(
        survived,
        "{left:#?} is not what any batch after {synced} made of {:#?}",
        models[synced]
    );
    // And it goes on from there.
    let mut model = left;
    for (changes, _) in more {
        let batch = batch(&mut model, changes);
        after.log().append(batch, Durability::Synced).unwrap();
        assert_eq!(content(after.log()), model);
    }
    assert_eq!(content(after.crash().log()), model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn memory_survives_a_crash(seed: u64, torn: bool, steps in steps(), more in steps()) {
        survives_a_crash(memory(seed, torn), &steps, &more);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn raft_engine_survives_a_crash(steps in steps(), more in steps()) {
        survives_a_crash(RaftEngine::new(), &steps, &more);
    }

    /// A torn tail loses batches from the end, whole: it never makes content that was not written.
    #[test]
    fn raft_engine_survives_a_torn_tail(steps in steps(), torn in 1_usize..2000) {
        let subject = RaftEngine::new();
        let (models, _) = write_steps(subject.log(), &steps);
        let copy = tempfile::tempdir().unwrap();
        damage::copy(subject.dir.path(), copy.path());
        damage::tear(&damage::last_file(copy.path(), ".raftlog"), torn);
        match RaftEngineLog::open(copy.path(), &CONFIG) {
            Ok(log) => {
                let left = content(&log);
                prop_assert!(models.contains(&left), "{left:?} was never written");
            }
            Err(error) => prop_assert!(matches!(error, StorageError::Corrupt { .. }), "{error:?}"),
        }
    }
}

#[test]
fn compacted_files_are_given_back() {
    let subject = RaftEngine::new();
    let mut last = 0;
    for _ in 0..200 {
        write(subject.log(), 1, |group| {
            group.entries = entries(last + 1..=last + 20, 1);
            group.compact_to = Some(last + 15);
        })
        .unwrap();
        last += 20;
        subject.log().reclaim().unwrap();
    }
    let size = subject.log().size_on_disk().unwrap();
    assert!(
        size < 4 * CONFIG.purge_bytes,
        "{size} bytes for 5 entries, after 400 KiB were written"
    );
    let last = subject.log().group(1).unwrap().unwrap().last_index;
    assert_eq!(content(subject.crash().log()).0[&1].0.last_index, last);
}

/// raft-engine's cache of the last block read is per thread, not per engine.
#[test]
fn two_logs_read_on_one_thread_do_not_mix() {
    let (one, other) = (RaftEngine::new(), RaftEngine::new());
    write(one.log(), 1, |group| group.entries = entries(1..=3, 1)).unwrap();
    write(other.log(), 1, |group| group.entries = entries(1..=3, 2)).unwrap();
    for _ in 0..2 {
        assert_eq!(all(one.log(), 1), [(1, 1), (2, 1), (3, 1)]);
        assert_eq!(all(other.log(), 1), [(1, 2), (2, 2), (3, 2)]);
        assert_eq!((one.log().term(1, 2).unwrap(), other.log().term(1, 2).unwrap()), (1, 2));
    }
}

#[test]
fn a_second_opener_is_told_that_the_log_is_locked() {
    let subject = RaftEngine::new();
    let second = RaftEngineLog::open(subject.dir.path(), &CONFIG);
    assert!(matches!(second, Err(StorageError::Locked { .. })));
}

#[test]
fn a_full_disk_refuses_the_batch_and_a_failed_sync_is_final() {
    let log = MemoryLog::new(FaultPlan {
        capacity: Some(1000),
        ..FaultPlan::default()
    });
    write(&log, 1, |group| group.entries = entries(1..=3, 1)).unwrap();
    let full = write(&log, 1, |group| group.entries = entries(4..=20, 1));
    assert!(matches!(full, Err(StorageError::DiskFull { .. })), "{full:?}");
    assert_eq!(all(&log, 1).len(), 3);
    log.set_plan(FaultPlan {
        sync_error_one_in: Some(1),
        ..FaultPlan::default()
    });
    let failed = write(&log, 1, |group| group.entries = entries(4..=5, 1));
    assert!(matches!(failed, Err(StorageError::SyncFailed { .. })), "{failed:?}");
    assert!(matches!(log.group(1), Err(StorageError::SyncFailed { .. })));
    let after = log.crash();
    assert_eq!(all(&after, 1).len(), 3);
    assert!(matches!(log.group(1), Err(StorageError::Crashed)));
}
