//! A state machine, a log that can be counted and held up, and small helpers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use mimi_hub_storage::{
    ClusterId, Durability, Entry, GroupId, GroupState, LogBatch, LogStore, MemoryLog, StateStore, StorageError,
};

use super::Cluster;
use crate::config::{ClusterConfig, NodeId};
use crate::error::ApplyError;
use crate::fatal::{Fatal, FatalHook};
use crate::machine::{EntryMeta, Leadership, ShardTxn, StateMachine};
use crate::shard::ShardId;

pub(super) fn config(shards: u32) -> ClusterConfig {
    ClusterConfig::single_node(ClusterId([7; 16]), NodeId(1), shards)
}

pub(super) async fn start(
    config: ClusterConfig,
    log: Arc<dyn LogStore>,
    state: Arc<dyn StateStore>,
    machine: &Arc<Machine>,
) -> Cluster {
    Cluster::start(config, log, state, machine.clone()).await.unwrap()
}

/// A hook for tests that break things on purpose.
pub(super) fn ignore() -> FatalHook {
    FatalHook::new(|_| {})
}

pub(super) fn recorded() -> (FatalHook, Receiver<Fatal>) {
    let (sender, receiver) = channel();
    (FatalHook::new(move |fatal| drop(sender.send(fatal.clone()))), receiver)
}

pub(super) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("no {what} after 10 seconds");
}

/// Holds up whoever passes while it is closed.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        drop(
            self.opened
                .wait_while(self.closed.lock().unwrap(), |closed| *closed)
                .unwrap(),
        );
    }

    fn close(&self) -> Closed<'_> {
        *self.closed.lock().unwrap() = true;
        Closed(self)
    }
}

/// Opens the gate when it is dropped.
pub(super) struct Closed<'a>(&'a Gate);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        *self.0.closed.lock().unwrap() = false;
        self.0.opened.notify_all();
    }
}

/// Keeps every command under a rising number, and returns that number. Fails and panics when told to.
#[derive(Default)]
pub(super) struct Machine {
    applied: Mutex<BTreeMap<ShardId, u64>>,
    led: Mutex<BTreeSet<ShardId>>,
    gate: Gate,
}

impl Machine {
    pub(super) fn applied_to(&self, shard: ShardId) -> u64 {
        self.applied.lock().unwrap().get(&shard).copied().unwrap_or(0)
    }

    /// The shards that this machine was told are led here.
    pub(super) fn led(&self) -> BTreeSet<ShardId> {
        self.led.lock().unwrap().clone()
    }

    /// Holds up every `apply` until the guard is dropped.
    pub(super) fn close_gate(&self) -> Closed<'_> {
        self.gate.close()
    }
}

impl StateMachine for Machine {
    fn apply(&self, txn: &mut ShardTxn<'_>, _entry: EntryMeta, command: &[u8]) -> Result<Vec<u8>, ApplyError> {
        self.gate.pass();
        match command {
            b"fail" => return Err(ApplyError::Broken("as it was told".to_owned())),
            b"panic" => panic!("a panic of the machine"),
            _ => {}
        }
        let count = txn
            .get(b"count")?
            .map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
            + 1;
        txn.put(b"count", count.to_be_bytes());
        txn.put(&[b"item", count.to_be_bytes().as_slice()].concat(), command);
        Ok(count.to_be_bytes().to_vec())
    }

    fn applied(&self, shard: ShardId, up_to: u64) {
        self.applied.lock().unwrap().insert(shard, up_to);
    }

    fn leadership(&self, shard: ShardId, state: Leadership) {
        let mut led = self.led.lock().unwrap();
        match state {
            Leadership::Leader { .. } => led.insert(shard),
            Leadership::Follower { .. } => led.remove(&shard),
        };
    }
}

/// A log whose appends are counted, and can be held up.
pub(super) struct CountingLog {
    log: Arc<MemoryLog>,
    appends: AtomicUsize,
    gate: Gate,
    waiting: AtomicBool,
}

impl CountingLog {
    pub(super) fn new(log: Arc<MemoryLog>) -> Self {
        Self {
            log,
            appends: AtomicUsize::new(0),
            gate: Gate::default(),
            waiting: AtomicBool::new(false),
        }
    }

    pub(super) fn appends(&self) -> usize {
        self.appends.load(Ordering::SeqCst)
    }

    /// Holds up every append until the guard is dropped.
    pub(super) fn block(&self) -> Closed<'_> {
        self.gate.close()
    }

    /// Whether an append is held up.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst)
    }
}

impl LogStore for CountingLog {
    fn groups(&self) -> Result<Vec<GroupId>, StorageError> {
        self.log.groups()
    }

    fn group(&self, group: GroupId) -> Result<Option<GroupState>, StorageError> {
        self.log.group(group)
    }

    fn entries(&self, group: GroupId, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StorageError> {
        self.log.entries(group, low, high, max_bytes)
    }

    fn term(&self, group: GroupId, index: u64) -> Result<u64, StorageError> {
        self.log.term(group, index)
    }

    fn record(&self, group: GroupId, name: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        self.log.record(group, name)
    }

    fn append(&self, batch: LogBatch, durability: Durability) -> Result<(), StorageError> {
        self.waiting.store(true, Ordering::SeqCst);
        self.gate.pass();
        self.waiting.store(false, Ordering::SeqCst);
        self.appends.fetch_add(1, Ordering::SeqCst);
        self.log.append(batch, durability)
    }

    fn reclaim(&self) -> Result<(), StorageError> {
        self.log.reclaim()
    }

    fn size_on_disk(&self) -> Result<u64, StorageError> {
        self.log.size_on_disk()
    }
}
