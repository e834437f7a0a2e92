//! Simulated clusters with a state machine that keeps every command under its index.
//!
//! Checked beside what [`Simulation`] checks: a node that permits a read has applied everything acknowledged before the
//! read was asked (`linearizable read`); and at the end, by [`Sim::assert_nothing_lost`], every replica has every
//! acknowledged command.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use mimi_hub_storage::{Direction, KeyRange};
use rand::RngExt;

use crate::config::NodeId;
use crate::error::{ApplyError, ProposeError};
use crate::machine::{EntryMeta, ShardTxn, StateMachine};
use crate::shard::ShardId;
use crate::simulation::{Happening, Mix, RequestId, Setup, Simulation, Weather};

struct Keeper;

impl StateMachine for Keeper {
    fn apply(&self, txn: &mut ShardTxn<'_>, entry: EntryMeta, command: &[u8]) -> Result<Vec<u8>, ApplyError> {
        txn.put(&entry.index.to_be_bytes(), command);
        Ok(Vec::new())
    }
}

pub(super) struct Sim {
    cluster: Simulation<()>,
    seed: u64,
    /// Commands under way and reads under way, by request; a read with what had been acknowledged when it was asked.
    proposed: BTreeMap<RequestId, (ShardId, Vec<u8>)>,
    asked: BTreeMap<RequestId, (ShardId, usize)>,
    /// Acknowledged commands, by shard, in the order of their acknowledgement.
    acknowledged: BTreeMap<ShardId, Vec<Vec<u8>>>,
    pub(super) answers: BTreeMap<RequestId, Result<(), ProposeError>>,
}

impl Deref for Sim {
    type Target = Simulation<()>;

    fn deref(&self) -> &Self::Target {
        &self.cluster
    }
}

impl DerefMut for Sim {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.cluster
    }
}

impl Sim {
    pub(super) fn new(setup: Setup, weather: Weather) -> Self {
        Self {
            seed: setup.seed,
            cluster: Simulation::new(setup, weather, Arc::new(Keeper)),
            proposed: BTreeMap::new(),
            asked: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    pub(super) fn propose(&mut self, node: NodeId, shard: ShardId) -> RequestId {
        let command = format!("command {}", self.proposed.len()).into_bytes();
        let id = self.cluster.propose(node, shard, &command);
        self.proposed.insert(id, (shard, command));
        self.run(Duration::ZERO);
        id
    }

    pub(super) fn read(&mut self, node: NodeId, shard: ShardId) -> RequestId {
        let acknowledged = self.acknowledged.get(&shard).map_or(0, Vec::len);
        let id = self.cluster.read(node, shard);
        self.asked.insert(id, (shard, acknowledged));
        self.run(Duration::ZERO);
        id
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now() + time;
        while let Some(happening) = self.cluster.next(until) {
            if let Happening::Answered { node, id, answer } = happening {
                self.answered(node, id, answer.map(drop));
            }
        }
        assert_eq!(self.violations(), [], "seed {}", self.seed);
    }

    fn answered(&mut self, node: NodeId, id: RequestId, answer: Result<(), ProposeError>) {
        if answer.is_ok() {
            if let Some((shard, command)) = self.proposed.get(&id).cloned() {
                self.acknowledged.entry(shard).or_default().push(command);
            }
            if let Some((shard, before)) = self.asked.get(&id).copied() {
                let commands = self.commands(node, shard);
                for command in self.acknowledged.get(&shard).into_iter().flatten().take(before) {
                    assert!(
                        commands.contains(command),
                        "seed {}: linearizable read, {shard}, node {node}",
                        self.seed
                    );
                }
            }
        }
        self.answers.insert(id, answer);
    }

    /// Runs until `done`, or panics when it takes too long.
    pub(super) fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..2000 {
            if done(self) {
                return;
            }
            self.run(Duration::from_millis(20));
        }
        panic!("seed {}: no {what} after 40 seconds", self.seed);
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.values().map(Vec::len).sum()
    }

    /// Mends everything, and waits until every node has applied the same; then checks that nothing acknowledged is lost.
    pub(super) fn assert_nothing_lost(&mut self) {
        self.mend();
        self.run_until("agreement", |sim| sim.is_settled());
        self.compare_replicas();
        assert_eq!(self.violations(), [], "seed {}", self.seed);
        for shard in self.shards() {
            let members = self.members(shard).unwrap();
            for node in self.ids().into_iter().filter(|node| members.contains(*node)) {
                let commands = self.commands(node, shard);
                for command in self.acknowledged.get(&shard).into_iter().flatten() {
                    let text = String::from_utf8_lossy(command);
                    assert!(commands.contains(command), "seed {}: {shard} lost {text}", self.seed);
                }
            }
        }
    }

    fn commands(&self, node: NodeId, shard: ShardId) -> BTreeSet<Vec<u8>> {
        let reader = self.reader(node, shard).unwrap();
        let pairs = reader.scan(&KeyRange::all(), usize::MAX, Direction::Forward).unwrap();
        pairs.into_iter().map(|(_, command)| command).collect()
    }

    /// Faults of the mix, with requests in between. Some of them go to whoever led before, and some of the crashes come
    /// while a write is under way.
    pub(super) fn chaos(&mut self, mix: &Mix, rounds: u32) {
        for _ in 0..rounds {
            self.fault(mix);
            self.requests();
        }
    }

    fn requests(&mut self) {
        let node = self.any_node();
        let mut led: Vec<NodeId> = Vec::new();
        for _ in 0..self.rng().random_range(1..12) {
            let shard = self.any_shard();
            led.extend(self.leader(shard));
            let stale = self.rng().random_range(0..led.len().max(1));
            let chosen = if self.one_in(3) {
                led.get(stale).copied()
            } else {
                self.leader(shard)
            };
            let chosen = chosen.unwrap_or(node);
            if self.one_in(3) {
                self.read(chosen, shard);
            } else {
                self.propose(chosen, shard);
            }
            let pause = self.pause();
            self.run(pause);
            if self.one_in(12) {
                self.blink(node);
            }
        }
    }
}
