//! The conformance suite of [`StateStore`]: the same for every implementation.

use std::collections::BTreeMap;

use crate::{
    Batch, Direction, FaultPlan, KeyRange, KeyValue, MemoryStore, SledConfig, SledStore, StateStore, StorageError,
};
use proptest::prelude::*;
use tempfile::TempDir;

use super::damage;

/// A store under test, and how its power is cut.
trait Subject {
    fn store(&self) -> &dyn StateStore;
    fn crash(self) -> Self;
}

struct Memory(MemoryStore);

impl Subject for Memory {
    fn store(&self) -> &dyn StateStore {
        &self.0
    }

    fn crash(self) -> Self {
        Self(self.0.crash())
    }
}

struct Sled {
    store: SledStore,
    dir: TempDir,
}

impl Sled {
    fn open(dir: TempDir) -> Self {
        let config = SledConfig { cache_bytes: 16 << 20 };
        Self {
            store: SledStore::open(dir.path(), &config).unwrap(),
            dir,
        }
    }

    fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }
}

impl Subject for Sled {
    fn store(&self) -> &dyn StateStore {
        &self.store
    }

    fn crash(self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        damage::copy(self.dir.path(), copy.path());
        Self::open(copy)
    }
}

fn memory(seed: u64, torn_tail: bool) -> Memory {
    Memory(MemoryStore::new(FaultPlan {
        seed,
        torn_tail,
        ..FaultPlan::default()
    }))
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn content(store: &dyn StateStore) -> Model {
    store
        .scan(&KeyRange::all(), usize::MAX, Direction::Forward)
        .unwrap()
        .into_iter()
        .collect()
}

fn reads_and_scans(subject: &impl Subject) {
    let store = subject.store();
    let mut batch = Batch::default();
    for key in ["a", "b1", "b2", "b3", "c"] {
        batch.put(key, format!("value of {key}"));
    }
    batch.put("b2", "later wins");
    batch.put("c", "not for long");
    batch.delete("c");
    store.write(batch).unwrap();
    store.write(Batch::default()).unwrap();

    assert_eq!(store.get(b"b2").unwrap(), Some(b"later wins".to_vec()));
    assert_eq!(store.get(b"c").unwrap(), None);
    let keys = |range: KeyRange, limit, direction| -> Vec<String> {
        let pairs: Vec<KeyValue> = store.scan(&range, limit, direction).unwrap();
        pairs
            .into_iter()
            .map(|(key, _)| String::from_utf8(key).unwrap())
            .collect()
    };
    assert_eq!(keys(KeyRange::all(), 9, Direction::Forward), ["a", "b1", "b2", "b3"]);
    assert_eq!(keys(KeyRange::all(), 0, Direction::Forward), [""; 0]);
    assert_eq!(keys(KeyRange::prefix("b"), 2, Direction::Forward), ["b1", "b2"]);
    assert_eq!(keys(KeyRange::prefix("b"), 2, Direction::Reverse), ["b3", "b2"]);
    assert_eq!(keys(KeyRange::new("b1", "b3"), 9, Direction::Reverse), ["b2", "b1"]);
    assert_eq!(keys(KeyRange::from("b3"), 9, Direction::Forward), ["b3"]);
    assert_eq!(keys(KeyRange::new("c", "a"), 9, Direction::Forward), [""; 0]);

    let mut batch = Batch::default();
    batch.delete("a");
    batch.delete("never there");
    store.write(batch).unwrap();
    assert_eq!(keys(KeyRange::all(), 1, Direction::Forward), ["b1"]);
    store.flush().unwrap();
    store.size_on_disk().unwrap();
}

/// A write: its changes, and whether a flush follows.
type Step = (Vec<(u8, Option<u8>)>, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = (0_u8..12, prop::option::weighted(0.8, any::<u8>()));
    prop::collection::vec((prop::collection::vec(change, 1..6), prop::bool::weighted(0.2)), 1..20)
}

/// Writes the steps, and returns the content after each, and which of them was flushed last.
fn write_steps(store: &dyn StateStore, steps: &[Step]) -> (Vec<Model>, usize) {
    let mut models = vec![Model::new()];
    let mut flushed = 0;
    for (changes, flush) in steps {
        let mut batch = Batch::default();
        let mut model = models.last().unwrap().clone();
        for (key, value) in changes {
            match value {
                // Long enough for a batch to span several of the engine's writes.
                Some(value) => {
                    batch.put([*key], vec![*value; 300]);
                    model.insert(vec![*key], vec![*value; 300]);
                }
                None => {
                    batch.delete([*key]);
                    model.remove(&vec![*key]);
                }
            }
        }
        store.write(batch).unwrap();
        models.push(model);
        if *flush {
            store.flush().unwrap();
            flushed = models.len() - 1;
        }
    }
    (models, flushed)
}

/// What a crash leaves is what some number of writes made, and none that was flushed is missing.
fn survives_a_crash(subject: impl Subject, steps: &[Step]) {
    let (models, flushed) = write_steps(subject.store(), steps);
    assert_eq!(content(subject.store()), *models.last().unwrap());
    let after = subject.crash();
    let left = content(after.store());
    assert!(
        models[flushed..].contains(&left),
        "{left:?} is not what any write after {flushed} made"
    );
    // And it goes on.
    let mut batch = Batch::default();
    batch.put("alive", "yes");
    after.store().write(batch).unwrap();
    after.store().flush().unwrap();
    assert!(content(after.crash().store()).contains_key(b"alive".as_slice()));
}

#[test]
fn memory_reads_and_scans() {
    reads_and_scans(&memory(0, false));
}

#[test]
fn sled_reads_and_scans() {
    reads_and_scans(&Sled::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn memory_survives_a_crash(seed: u64, torn: bool, steps in steps()) {
        survives_a_crash(memory(seed, torn), &steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn sled_survives_a_crash(steps in steps()) {
        survives_a_crash(Sled::new(), &steps);
    }

    /// A torn tail loses writes from the end, or is an error: it never makes content that was not written.
    #[test]
    fn sled_survives_a_torn_tail_or_says_so(steps in steps(), torn in 1_usize..2000) {
        let sled = Sled::new();
        let (models, _) = write_steps(sled.store(), &steps);
        sled.store.flush().unwrap();
        let copy = tempfile::tempdir().unwrap();
        damage::copy(sled.dir.path(), copy.path());
        damage::tear(&copy.path().join("db"), torn);
        match SledStore::open(copy.path(), &SledConfig::default()) {
            Ok(store) => {
                let left = content(&store);
                prop_assert!(models.contains(&left), "{left:?} was never written");
            }
            Err(error) => prop_assert!(matches!(error, StorageError::Corrupt { .. }), "{error:?}"),
        }
    }
}

#[test]
fn a_full_disk_refuses_the_write_and_changes_nothing() {
    let store = MemoryStore::new(FaultPlan {
        capacity: Some(1000),
        ..FaultPlan::default()
    });
    let write = |bytes| {
        let mut batch = Batch::default();
        batch.put("large", vec![0; bytes]);
        store.write(batch)
    };
    write(400).unwrap();
    assert!(matches!(write(900), Err(StorageError::DiskFull { .. })));
    assert_eq!(store.get(b"large").unwrap(), Some(vec![0; 400]));
    store.set_plan(FaultPlan::default());
    write(900).unwrap();
}

#[test]
fn a_failed_flush_is_final_and_a_crashed_handle_dead() {
    let store = MemoryStore::new(FaultPlan {
        sync_error_one_in: Some(1),
        ..FaultPlan::default()
    });
    let mut batch = Batch::default();
    batch.put("key", "value");
    store.write(batch.clone()).unwrap();
    assert!(matches!(store.flush(), Err(StorageError::SyncFailed { .. })));
    assert!(matches!(store.write(batch), Err(StorageError::SyncFailed { .. })));
    let after = store.crash();
    assert_eq!(content(&after), Model::new());
    assert!(matches!(store.get(b"key"), Err(StorageError::Crashed)));
}
