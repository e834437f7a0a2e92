//! A simulated cluster: real cores, the real recovery and snapshots, in-memory stores that lose and tear what was not
//! synced and are slow now and then, and a network that delays, reorders, duplicates, drops and partitions. Everything
//! follows from the seed.
//!
//! Invariants, checked after every step:
//! - `one_leader_per_term`: a shard has at most one leader in a term;
//! - `same_log`: no two nodes apply different commands at the same index of a shard;
//! - `linearizable_read`: a node that permits a read has applied everything acknowledged before the read was asked.
//!
//! And at the end, by [`Sim::assert_nothing_lost`]: `no_lost_ack`, every node has every acknowledged command, and the same
//! commands as every other.

mod faults;
mod snapshots;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use mimi_hub_storage::{
    ClusterId, Direction, Durability, FaultPlan, KeyRange, LogStore, MemoryLog, MemoryStore, StateStore,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::config::{ClusterConfig, NodeId};
use crate::core::{ApplyWork, Core, CoreConfig, Frame, Input, LogWrite, Outputs, RequestId, group_id};
use crate::entry::{self, Payload};
use crate::error::ProposeError;
use crate::keys;
use crate::machine::{Leadership, StateWriter};
use crate::members::{MemberStep, Members};
use crate::recovery;
use crate::shard::ShardId;
use crate::snapshot::{Chunk, SnapshotId};
use crate::transport;

pub(super) use self::faults::{chaos, heavy_chaos, moving_chaos};

/// How the simulated world behaves.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) nodes: u64,
    /// Nodes that join: without a replica when it all begins.
    pub(super) joining: u64,
    pub(super) shards: u32,
    /// A frame is lost once in so many; 0: never.
    pub(super) drop_one_in: u32,
    /// A frame arrives twice once in so many; 0: never.
    pub(super) duplicate_one_in: u32,
    /// A log write takes long once in so many; 0: never.
    pub(super) slow_write_one_in: u32,
    /// So few entries stay in the logs that replicas which were away need snapshots.
    pub(super) short_logs: bool,
}

/// What will happen, by time.
#[derive(Debug)]
enum Event {
    Wake,
    Arrive {
        from: NodeId,
        bytes: Vec<u8>,
    },
    Written(LogWrite),
    Apply(Vec<ApplyWork>),
    Flush,
    /// What is stored of a removed replica goes.
    Clear(ShardId),
    Snapshot(snapshots::Happening),
}

struct Node {
    core: Core,
    log: MemoryLog,
    state: MemoryStore,
    /// A snapshot that has arrived.
    staged: Option<(SnapshotId, Vec<Chunk>)>,
    /// Counts restarts: events of an earlier life do not happen.
    life: u64,
}

pub(super) struct Sim {
    world: World,
    rng: SmallRng,
    pub(super) now: Duration,
    nodes: BTreeMap<NodeId, Option<Node>>,
    stores: BTreeMap<NodeId, (MemoryLog, MemoryStore, u64)>,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    events: BTreeMap<u64, (NodeId, u64, Event)>,
    /// Links that carry nothing.
    cut: BTreeSet<(NodeId, NodeId)>,
    numbers: u64,
    /// Commands under way and reads under way, by request; a read with what had been acknowledged when it was asked.
    proposed: BTreeMap<RequestId, (ShardId, Vec<u8>)>,
    asked: BTreeMap<RequestId, (ShardId, usize)>,
    /// Acknowledged commands, by shard, in the order of their acknowledgement.
    acknowledged: BTreeMap<ShardId, Vec<Vec<u8>>>,
    pub(super) answers: BTreeMap<RequestId, Result<(), ProposeError>>,
    leaders: BTreeMap<(ShardId, u64), NodeId>,
    history: BTreeMap<(ShardId, u64), Vec<u8>>,
    trace: DefaultHasher,
    /// Snapshots that were installed.
    pub(super) installed: usize,
    /// Removed replicas that were cleared away.
    pub(super) cleared: usize,
}

impl Drop for Sim {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation that failed: {:?}, at {:?}", self.world, self.now);
        }
    }
}

impl Sim {
    pub(super) fn new(world: World) -> Self {
        let rng = SmallRng::seed_from_u64(world.seed);
        let mut sim = Self {
            rng,
            now: Duration::ZERO,
            nodes: BTreeMap::new(),
            stores: BTreeMap::new(),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            cut: BTreeSet::new(),
            numbers: 0,
            proposed: BTreeMap::new(),
            asked: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            answers: BTreeMap::new(),
            leaders: BTreeMap::new(),
            history: BTreeMap::new(),
            trace: DefaultHasher::new(),
            installed: 0,
            cleared: 0,
            world,
        };
        for node in sim.ids() {
            let plan = FaultPlan {
                seed: sim.rng.random(),
                torn_tail: true,
                ..FaultPlan::default()
            };
            sim.stores
                .insert(node, (MemoryLog::new(plan.clone()), MemoryStore::new(plan), 0));
            sim.start(node);
        }
        sim
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        (1..=self.world.nodes + self.world.joining).map(NodeId).collect()
    }

    pub(super) fn shards(&self) -> Vec<ShardId> {
        (0..self.world.shards).map(ShardId).collect()
    }

    fn config(&self, node: NodeId) -> ClusterConfig {
        let mut config = ClusterConfig::single_node(ClusterId([1; 16]), node, self.world.shards);
        config.nodes = (1..=self.world.nodes).map(NodeId).collect();
        config.joining = node.0 > self.world.nodes;
        config.seed = self.world.seed;
        // So little that a replica that was away is served from the log store.
        config.entry_cache_bytes = 100;
        if self.world.short_logs {
            (config.keep_entries, config.max_lag_entries) = (3, 8);
        }
        config
    }

    /// Starts a node, unless it is up, from what its stores hold.
    pub(super) fn start(&mut self, node: NodeId) {
        let Some((log, state, life)) = self.stores.remove(&node) else {
            return;
        };
        let config = self.config(node);
        let groups = recovery::recover(&config, &log, &state).unwrap();
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let core = Core::new(CoreConfig::new(&config, logger), self.now, groups).unwrap();
        self.nodes.insert(
            node,
            Some(Node {
                core,
                log,
                state,
                staged: None,
                life: life + 1,
            }),
        );
        self.schedule(Duration::ZERO, node, Event::Wake);
        self.schedule(Duration::from_millis(300), node, Event::Flush);
    }

    /// Cuts a node's power. What it had not synced may be gone; requests under way at it stay without an answer.
    pub(super) fn crash(&mut self, node: NodeId) {
        let Some(Node { log, state, life, .. }) = self.nodes.insert(node, None).flatten() else {
            return;
        };
        self.stores.insert(node, (log.crash(), state.crash(), life));
    }

    /// Cuts a node's power, and takes its state store away for good.
    pub(super) fn lose_state(&mut self, node: NodeId) {
        self.crash(node);
        if let Some((_, state, _)) = self.stores.get_mut(&node) {
            *state = MemoryStore::default();
        }
    }

    /// Whether every node is up and has the state of all its shards.
    pub(super) fn all_whole(&self) -> bool {
        self.nodes.values().all(|node| {
            let whole = |up: &Node| {
                self.shards()
                    .iter()
                    .all(|shard| !up.core.status(*shard).unwrap().stateless)
            };
            node.as_ref().is_some_and(whole)
        })
    }

    pub(super) fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(Option::is_some)
    }

    /// Cuts or mends the links between `node` and all others.
    pub(super) fn isolate(&mut self, node: NodeId, cut: bool) {
        for other in self.ids() {
            for link in [(node, other), (other, node)] {
                if cut {
                    self.cut.insert(link);
                } else {
                    self.cut.remove(&link);
                }
            }
        }
    }

    /// Cuts or mends one direction of a link.
    pub(super) fn cut_one_way(&mut self, from: NodeId, to: NodeId, cut: bool) {
        if cut {
            self.cut.insert((from, to));
        } else {
            self.cut.remove(&(from, to));
        }
    }

    /// The node that last became leader of the shard and is up.
    pub(super) fn leader(&self, shard: ShardId) -> Option<NodeId> {
        let mut terms = self.leaders.range((shard, 0)..=(shard, u64::MAX)).rev();
        let (_, node) = terms.next()?;
        self.leads(*node, shard).then_some(*node)
    }

    /// Whether the node takes itself for the shard's leader.
    pub(super) fn leads(&self, node: NodeId, shard: ShardId) -> bool {
        let status = self.nodes[&node].as_ref().and_then(|up| up.core.status(shard));
        status.is_some_and(|status| matches!(status.leadership, Leadership::Leader { .. }))
    }

    /// Whether the shard sleeps on every node that is up.
    pub(super) fn is_asleep(&self, shard: ShardId) -> bool {
        let mut up = self.nodes.values().flatten();
        up.all(|node| node.core.status(shard).is_some_and(|status| status.asleep))
    }

    /// Who has a replica, as the leader knows it.
    pub(super) fn members(&self, shard: ShardId) -> Option<Arc<Members>> {
        let leader = self.nodes[&self.leader(shard)?].as_ref()?;
        leader.core.status(shard).map(|status| status.members)
    }

    pub(super) fn change_members(&mut self, node: NodeId, shard: ShardId, steps: Vec<MemberStep>) -> RequestId {
        let id = self.number();
        self.input(node, Input::ChangeMembers { shard, id, steps });
        id
    }

    pub(super) fn propose(&mut self, node: NodeId, shard: ShardId) -> RequestId {
        let id = self.number();
        let command = format!("command {id}").into_bytes();
        self.proposed.insert(id, (shard, command.clone()));
        self.input(
            node,
            Input::Propose {
                shard,
                id,
                data: entry::encode(&command),
            },
        );
        id
    }

    pub(super) fn read(&mut self, node: NodeId, shard: ShardId) -> RequestId {
        let id = self.number();
        let acknowledged = self.acknowledged.get(&shard).map_or(0, Vec::len);
        self.asked.insert(id, (shard, acknowledged));
        self.input(node, Input::Read { shard, id });
        id
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(Reverse((at, number))) = self.queue.peek().copied().filter(|Reverse((at, _))| *at <= until) {
            self.queue.pop();
            self.now = at;
            let (node, life, event) = self.events.remove(&number).unwrap();
            let alive = self.nodes[&node].as_ref().is_some_and(|node| node.life == life);
            // A frame may outlive the life of the node it was sent to.
            if alive || matches!(event, Event::Arrive { .. }) && self.is_up(node) {
                self.happen(node, event);
            }
        }
        self.now = until;
    }

    /// Runs until `done`, or panics when it takes too long.
    pub(super) fn run_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..2000 {
            if done(self) {
                return;
            }
            self.run(Duration::from_millis(20));
        }
        panic!("seed {}: no {what} after 40 seconds", self.world.seed);
    }

    /// A number that follows from everything that has happened.
    pub(super) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.values().map(Vec::len).sum()
    }

    /// Mends everything, and waits until every node has applied the same; then checks `no_lost_ack`.
    pub(super) fn assert_nothing_lost(&mut self) {
        self.cut.clear();
        self.world.drop_one_in = 0;
        self.world.slow_write_one_in = 0;
        for node in self.ids() {
            if !self.is_up(node) {
                self.start(node);
            }
        }
        self.run_until("agreement", |sim| {
            sim.shards().into_iter().all(|shard| {
                let Some(members) = sim.members(shard).filter(|members| members.outgoing.is_empty()) else {
                    return false;
                };
                let nodes = sim.nodes.iter().filter(|(id, _)| members.contains(**id));
                let statuses = nodes.map(|(_, node)| node.as_ref().unwrap().core.status(shard).unwrap());
                let ends: BTreeSet<_> = statuses
                    .map(|status| (status.term, status.last_index, status.applied, status.members))
                    .collect();
                ends.len() == 1
                    && ends.iter().all(|(_, last, applied, _)| last == applied)
                    && sim.leader(shard).is_some()
            })
        });
        for shard in self.shards() {
            let members = self.members(shard).unwrap();
            let replicas = || self.nodes.iter().filter(|(id, _)| members.contains(**id));
            let same: BTreeSet<_> = replicas()
                .filter_map(|(_, node)| Some(self.commands(node.as_ref()?, shard)))
                .collect();
            assert_eq!(
                same.len(),
                1,
                "seed {}: the replicas of {shard} differ",
                self.world.seed
            );
            for node in replicas().filter_map(|(_, node)| node.as_ref()) {
                let commands: BTreeSet<Vec<u8>> = self.commands(node, shard).into_values().collect();
                for command in self.acknowledged.get(&shard).into_iter().flatten() {
                    let text = String::from_utf8_lossy(command);
                    assert!(
                        commands.contains(command),
                        "seed {}: {shard} lost {text}",
                        self.world.seed
                    );
                }
            }
        }
    }

    fn commands(&self, node: &Node, shard: ShardId) -> BTreeMap<u64, Vec<u8>> {
        let range = keys::machine_range(shard, &KeyRange::all());
        let pairs = node.state.scan(&range, usize::MAX, Direction::Forward).unwrap();
        let index = |key: &[u8]| u64::from_be_bytes(key[keys::PREFIX..].try_into().unwrap());
        pairs.into_iter().map(|(key, value)| (index(&key), value)).collect()
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn schedule(&mut self, after: Duration, node: NodeId, event: Event) {
        let number = self.number();
        let life = self.nodes[&node].as_ref().map_or(0, |node| node.life);
        self.queue.push(Reverse((self.now + after, number)));
        self.events.insert(number, (node, life, event));
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_micros(self.rng.random_range(range.start * 1000..range.end * 1000))
    }

    fn one_in(&mut self, number: u32) -> bool {
        number > 0 && self.rng.random_ratio(1, number)
    }

    fn flush(&mut self, node: NodeId) {
        let up = self.nodes[&node].as_ref().unwrap();
        up.state.flush().unwrap();
        let statuses = self
            .shards()
            .into_iter()
            .filter_map(|shard| Some((shard, up.core.status(shard)?.applied)));
        for (shard, index) in statuses.collect::<Vec<_>>() {
            self.input(node, Input::Flushed { shard, index });
        }
    }

    fn input(&mut self, node: NodeId, input: Input) {
        let now = self.now;
        if let Some(Some(up)) = self.nodes.get_mut(&node) {
            let out = up.core.step(now, [input]);
            self.perform(node, out);
        }
    }

    fn happen(&mut self, node: NodeId, event: Event) {
        match event {
            Event::Wake => {
                let now = self.now;
                let up = self.nodes.get_mut(&node).unwrap().as_mut().unwrap();
                let out = up.core.step(now, []);
                let next = up.core.deadline().saturating_sub(now);
                self.perform(node, out);
                self.schedule(next, node, Event::Wake);
            }
            Event::Arrive { from, bytes } => {
                let frame = transport::decode(from, node, &bytes).unwrap();
                self.input(node, Input::Frame(frame));
            }
            Event::Written(write) => {
                let up = self.nodes[&node].as_ref().unwrap();
                up.log.append(write.batch, Durability::Synced).unwrap();
                self.input(node, Input::Persisted { write: write.number });
            }
            Event::Apply(work) => self.apply(node, work),
            Event::Flush => {
                self.flush(node);
                self.schedule(Duration::from_millis(300), node, Event::Flush);
            }
            Event::Clear(shard) => self.clear(node, shard),
            Event::Snapshot(happening) => self.snapshot_happens(node, happening),
        }
    }

    fn perform(&mut self, node: NodeId, out: Outputs) {
        assert_eq!(out.fatal, None, "seed {}", self.world.seed);
        format!("{:?} {node} {out:?}", self.now).hash(&mut self.trace);
        for (shard, leadership) in out.leadership {
            if let Leadership::Leader { term, .. } = leadership {
                let other = self.leaders.insert((shard, term), node);
                assert_eq!(
                    other, None,
                    "seed {}: one_leader_per_term, {shard}, term {term}, {node}",
                    self.world.seed
                );
            }
        }
        for frame in &out.frames {
            self.send(frame);
        }
        for (id, answer) in out.answers {
            self.answer(node, id, answer);
        }
        if !out.apply.is_empty() {
            // In order: each after the ones before, which the queue keeps at the same delay.
            self.schedule(Duration::from_millis(2), node, Event::Apply(out.apply));
        }
        if let Some(write) = out.write {
            let slow = self.one_in(self.world.slow_write_one_in);
            let delay = self.millis(if slow { 50..900 } else { 0..8 });
            self.schedule(delay, node, Event::Written(write));
        }
        for shard in out.removed {
            // After everything handed over to be applied, which takes 2 ms.
            let delay = self.millis(3..30);
            self.schedule(delay, node, Event::Clear(shard));
        }
        self.perform_snapshots(node, out.snapshots, &out.installs, &out.discards);
        for fetch in out.fetches {
            let log = &self.nodes[&node].as_ref().unwrap().log;
            let entries = log
                .entries(group_id(fetch.shard), fetch.low, fetch.high, fetch.max_bytes)
                .unwrap();
            self.input(
                node,
                Input::Fetched {
                    shard: fetch.shard,
                    low: fetch.low,
                    entries,
                },
            );
        }
    }

    fn clear(&mut self, node: NodeId, shard: ShardId) {
        let up = self.nodes[&node].as_ref().unwrap();
        recovery::clear(shard, &up.log, &up.state).unwrap();
        let start = recovery::recover_group(shard, node, &up.log, &up.state).unwrap();
        self.cleared += 1;
        self.input(node, Input::Cleared(Box::new(start)));
    }

    fn send(&mut self, frame: &Frame) {
        for bytes in transport::encode(frame).unwrap() {
            let dropped = self.one_in(self.world.drop_one_in) || self.cut.contains(&(frame.from, frame.to));
            let copies = 1 + usize::from(self.one_in(self.world.duplicate_one_in));
            for _ in 0..if dropped { 0 } else { copies } {
                let late = self.one_in(self.world.duplicate_one_in);
                let delay = self.millis(if late { 1..400 } else { 1..15 });
                let (from, bytes) = (frame.from, bytes.clone());
                self.schedule(delay, frame.to, Event::Arrive { from, bytes });
            }
        }
    }

    fn apply(&mut self, node: NodeId, work: Vec<ApplyWork>) {
        for ApplyWork { shard, entries } in work {
            let up = self.nodes[&node].as_ref().unwrap();
            let mut writer = StateWriter::new(&up.state);
            let mut acknowledged = Vec::new();
            let (last, term) = entries.last().map(|entry| (entry.index, entry.term)).unwrap();
            for entry in entries {
                if let Payload::Members(members) = &entry.payload {
                    writer.set_members(shard, members);
                }
                if let Payload::Command(command) = entry.payload {
                    writer.txn(shard).put(&entry.index.to_be_bytes(), command.clone());
                    let known = self
                        .history
                        .entry((shard, entry.index))
                        .or_insert_with(|| command.clone());
                    assert_eq!(
                        *known, command,
                        "seed {}: same_log, {shard}, index {}",
                        self.world.seed, entry.index
                    );
                }
                acknowledged.extend(entry.request);
            }
            writer.set_applied(shard, last, term);
            writer.commit().unwrap();
            for id in acknowledged {
                self.answers.insert(id, Ok(()));
                // A change of members is no command.
                let Some((of, command)) = self.proposed.get(&id).cloned() else {
                    continue;
                };
                assert_eq!(of, shard);
                self.acknowledged.entry(shard).or_default().push(command);
            }
            self.input(node, Input::Applied { shard, index: last });
        }
    }

    fn answer(&mut self, node: NodeId, id: RequestId, answer: Result<(), ProposeError>) {
        if let (Some((shard, before)), Ok(())) = (self.asked.get(&id), &answer) {
            let commands: BTreeSet<_> = self
                .commands(self.nodes[&node].as_ref().unwrap(), *shard)
                .into_values()
                .collect();
            for command in self.acknowledged.get(shard).into_iter().flatten().take(*before) {
                assert!(
                    commands.contains(command),
                    "seed {}: linearizable_read, {shard}, {node}",
                    self.world.seed
                );
            }
        }
        self.answers.insert(id, answer);
    }
}
