//! A simulated cluster: real cores, the real recovery and snapshots, in-memory stores that lose and tear what was not
//! synced, are slow, full or broken now and then, and a network that delays, reorders, duplicates, drops and partitions.
//! Time is virtual, and everything follows from the seed: the same calls give the same [`trace`](Simulation::trace).
//!
//! The owner asks ([`propose`](Simulation::propose), [`read`](Simulation::read), …) and takes what happens, one
//! [`Happening`] after the other, with [`next`](Simulation::next); events of its own, of type `E`, wait in the same queue.
//!
//! Invariants, checked all the time; what breaks one is a [`Violation`]:
//! - `one leader per term`: no two nodes act as a shard's leader in one term;
//! - `committed entries never change`: what any node applies at an index of a shard is the same, then and later, and so is
//!   what its state machine answers;
//! - `no gap`: a node applies a shard's entries one after the other, or goes on behind a snapshot;
//! - a node only breaks when its disk does, and starts again from what that kept.
//!
//! | file | owns |
//! |---|---|
//! | `node` | a node's life: starting, stepping, writing, applying, losing power |
//! | `network` | frames on their way, and the links that are cut |
//! | `snapshots` | snapshots on their way |
//! | `faults` | what goes wrong on purpose, and how often it has |

mod faults;
mod network;
mod node;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mimi_hub_storage::{FaultPlan, MemoryLog, MemoryStore, StateStore};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};

pub use self::faults::{Mix, Weather};
use self::node::{Node, NodeEvent};
use crate::config::NodeId;
use crate::core::Input;
use crate::entry;
use crate::error::ProposeError;
use crate::machine::{Leadership, StateMachine};
use crate::members::{MemberStep, Members};
use crate::reader::ShardReader;
use crate::runtime::Outcome;
use crate::shard::ShardId;
use crate::snapshot::checksum;

/// Names a request: never used twice in a simulation.
pub type RequestId = u64;

/// What a simulation begins with.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Seeds everything.
    pub seed: u64,
    /// Nodes with a replica of every shard.
    pub nodes: u64,
    /// Nodes that join: without a replica when it all begins.
    pub joining: u64,
    /// Shards.
    pub shards: u32,
    /// So few entries stay in the logs that replicas which were away need snapshots.
    pub short_logs: bool,
    /// Bytes of a snapshot's chunk; 0: as in a real cluster.
    pub chunk_bytes: usize,
}

/// Something that the owner has to hear of.
#[derive(Debug)]
pub enum Happening<E> {
    /// One of its own events is due.
    Due(E),
    /// A node is up.
    Started(NodeId),
    /// A node is down. What was under way there is never answered.
    Stopped(NodeId),
    /// A node's part in a shard has changed.
    Leadership {
        /// The node.
        node: NodeId,
        /// The shard.
        shard: ShardId,
        /// What it is now.
        state: Leadership,
    },
    /// A request has ended.
    Answered {
        /// Where it was asked.
        node: NodeId,
        /// Which.
        id: RequestId,
        /// How: with the outcome of a command; with nothing, for a read or a change of members.
        answer: Result<Option<Outcome>, ProposeError>,
    },
    /// A command was applied for the first time on any node.
    Applied {
        /// The shard.
        shard: ShardId,
        /// Its index.
        index: u64,
        /// The command.
        command: Vec<u8>,
        /// What the state machine answered.
        outcome: Vec<u8>,
    },
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in virtual time.
    pub at: Duration,
    /// Which, and what was seen.
    pub what: String,
}

/// The hash of an entry, and that of what came of it if it was a command.
type AppliedHash = ([u8; 32], Option<[u8; 32]>);

enum Event<E> {
    Node {
        node: NodeId,
        /// Events of an earlier life do not happen.
        life: u64,
        event: NodeEvent,
    },
    Frame {
        from: NodeId,
        to: NodeId,
        bytes: Vec<u8>,
    },
    Owner(E),
}

/// A simulated cluster.
pub struct Simulation<E> {
    setup: Setup,
    weather: Weather,
    rng: SmallRng,
    now: Duration,
    machine: Arc<dyn StateMachine>,
    nodes: BTreeMap<NodeId, Node>,
    queue: BTreeMap<(Duration, u64), Event<E>>,
    happenings: VecDeque<Happening<E>>,
    /// Links that carry nothing.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// When the last frame of a link arrives.
    arrivals: BTreeMap<(NodeId, NodeId), Duration>,
    /// Until when nodes stand still.
    stalls: BTreeMap<NodeId, Duration>,
    numbers: u64,
    leaders: BTreeMap<(ShardId, u64), NodeId>,
    /// What was applied at each index.
    history: BTreeMap<(ShardId, u64), AppliedHash>,
    faults: BTreeMap<&'static str, u64>,
    violations: Vec<Violation>,
    trace: Sha256,
    installed: usize,
    cleared: usize,
}

impl<E> Simulation<E> {
    /// A cluster whose nodes are all up; nothing has happened yet. `machine` is every node's state machine.
    pub fn new(setup: Setup, weather: Weather, machine: Arc<dyn StateMachine>) -> Self {
        let mut sim = Self {
            rng: SmallRng::seed_from_u64(setup.seed),
            now: Duration::ZERO,
            machine,
            nodes: BTreeMap::new(),
            queue: BTreeMap::new(),
            happenings: VecDeque::new(),
            cut: BTreeSet::new(),
            arrivals: BTreeMap::new(),
            stalls: BTreeMap::new(),
            numbers: 0,
            leaders: BTreeMap::new(),
            history: BTreeMap::new(),
            faults: BTreeMap::new(),
            violations: Vec::new(),
            trace: Sha256::new(),
            installed: 0,
            cleared: 0,
            setup,
            weather,
        };
        for node in sim.ids() {
            let plan = sim.fault_plan();
            let (log, state) = (MemoryLog::new(plan.clone()), Arc::new(MemoryStore::new(plan)));
            sim.nodes.insert(node, Node::new(log, state));
            sim.start(node);
        }
        sim
    }

    /// The virtual time since the beginning.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// All nodes, up or down.
    pub fn ids(&self) -> Vec<NodeId> {
        (1..=self.setup.nodes + self.setup.joining).map(NodeId).collect()
    }

    /// All shards.
    pub fn shards(&self) -> Vec<ShardId> {
        (0..self.setup.shards).map(ShardId).collect()
    }

    /// The source of every random choice.
    pub fn rng(&mut self) -> &mut SmallRng {
        &mut self.rng
    }

    /// Happens once in so many; 0: never.
    pub fn one_in(&mut self, number: u32) -> bool {
        number > 0 && self.rng.random_ratio(1, number)
    }

    /// A random time, in milliseconds.
    pub fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_micros(self.rng.random_range(range.start * 1000..range.end * 1000))
    }

    /// Has `event` happen after some time.
    pub fn schedule(&mut self, after: Duration, event: E) {
        self.push(after, Event::Owner(event));
    }

    /// What happens next, up to the virtual time `until`; `None` once that is reached.
    pub fn next(&mut self, until: Duration) -> Option<Happening<E>> {
        loop {
            if let Some(happening) = self.happenings.pop_front() {
                return Some(happening);
            }
            let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= until) else {
                self.now = until;
                return None;
            };
            self.now = entry.key().0;
            let event = entry.remove();
            let node = match &event {
                Event::Owner(_) => None,
                Event::Frame { to, .. } => Some(*to),
                Event::Node { node, .. } => Some(*node),
            };
            let stalled = node
                .map(|node| self.stalled_until(node))
                .filter(|until| *until > self.now);
            if let Some(until) = stalled {
                self.push(until - self.now, event);
                continue;
            }
            match event {
                Event::Owner(event) => return Some(Happening::Due(event)),
                Event::Frame { from, to, bytes } => self.arrive(from, to, &bytes),
                Event::Node { node, life, event } => {
                    if self.nodes.get(&node).is_some_and(|node| node.life() == Some(life)) {
                        self.happen(node, event);
                    }
                }
            }
        }
    }

    /// Proposes a command at a node.
    pub fn propose(&mut self, node: NodeId, shard: ShardId, command: &[u8]) -> RequestId {
        let id = self.number();
        let data = entry::encode(command);
        self.request(node, id, Input::Propose { shard, id, data })
    }

    /// Asks a node for a linearizable read.
    pub fn read(&mut self, node: NodeId, shard: ShardId) -> RequestId {
        let id = self.number();
        self.request(node, id, Input::Read { shard, id })
    }

    /// Asks a node for a change of members.
    pub fn change_members(&mut self, node: NodeId, shard: ShardId, steps: Vec<MemberStep>) -> RequestId {
        let id = self.number();
        self.request(node, id, Input::ChangeMembers { shard, id, steps })
    }

    /// A node that is down answers nothing.
    fn request(&mut self, node: NodeId, id: RequestId, input: Input) -> RequestId {
        self.input(node, input);
        id
    }

    /// The node that last became leader of the shard and still takes itself for it.
    pub fn leader(&self, shard: ShardId) -> Option<NodeId> {
        let leads = |node: &&NodeId| self.leads(**node, shard).is_some();
        let leading = self.nodes.keys().filter(leads);
        leading.copied().max_by_key(|node| self.leads(*node, shard))
    }

    /// The term in which the node takes itself for the shard's leader.
    pub fn leads(&self, node: NodeId, shard: ShardId) -> Option<u64> {
        match self.nodes.get(&node)?.core()?.status(shard)?.leadership {
            Leadership::Leader { term, .. } => Some(term),
            Leadership::Follower { .. } => None,
        }
    }

    /// Whom the node takes for the shard's leader.
    pub fn known_leader(&self, node: NodeId, shard: ShardId) -> Option<NodeId> {
        match self.nodes.get(&node)?.core()?.status(shard)?.leadership {
            Leadership::Leader { .. } => Some(node),
            Leadership::Follower { leader } => leader,
        }
    }

    /// Whether the node is up.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.life().is_some())
    }

    /// Whether the shard sleeps on every node that is up.
    pub fn is_asleep(&self, shard: ShardId) -> bool {
        let mut up = self.nodes.values().filter_map(Node::core);
        up.all(|core| core.status(shard).is_some_and(|status| status.asleep))
    }

    /// Who has a replica, as the leader knows it.
    pub fn members(&self, shard: ShardId) -> Option<Arc<Members>> {
        let leader = self.leader(shard)?;
        let status = self.nodes.get(&leader)?.core()?.status(shard)?;
        Some(status.members)
    }

    /// Reads what a node has applied of a shard.
    pub fn reader(&self, node: NodeId, shard: ShardId) -> Option<ShardReader> {
        let state: Arc<dyn StateStore> = self.nodes.get(&node)?.state.clone();
        Some(ShardReader::new(state, shard))
    }

    /// Whether every replica is up, has applied all there is, and agrees on who leads and who the members are.
    pub fn is_settled(&self) -> bool {
        self.shards().into_iter().all(|shard| {
            let Some(members) = self.members(shard).filter(|members| members.outgoing.is_empty()) else {
                return false;
            };
            let replicas = self.nodes.iter().filter(|(id, _)| members.contains(**id));
            let ends: Option<BTreeSet<_>> = replicas
                .map(|(_, node)| {
                    let status = node.core()?.status(shard)?;
                    let applied_all = status.last_index == status.applied;
                    applied_all.then_some((status.term, status.last_index, status.members))
                })
                .collect();
            ends.is_some_and(|ends| ends.len() == 1)
        })
    }

    /// Checks that the replicas of every shard hold the same. To be called when all is settled.
    pub fn compare_replicas(&mut self) {
        for shard in self.shards() {
            let Some(members) = self.members(shard) else { continue };
            let replicas = self.nodes.iter().filter(|(id, _)| members.contains(**id));
            let digests: BTreeSet<_> = replicas
                .map(|(_, node)| checksum(node.state.as_ref(), shard).ok())
                .collect();
            if digests.len() != 1 {
                self.violate(format!("same sequence: the replicas of {shard} hold different states"));
            }
        }
    }

    /// Records that an invariant of the owner's does not hold.
    pub fn violate(&mut self, what: impl Into<String>) {
        self.violations.push(Violation {
            at: self.now,
            what: what.into(),
        });
    }

    /// What has gone wrong that must not.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// How many snapshots were installed.
    pub fn installed(&self) -> usize {
        self.installed
    }

    /// How many removed replicas were cleared away.
    pub fn cleared(&self) -> usize {
        self.cleared
    }

    /// Whether every node is up and has the state of all its replicas.
    pub fn is_whole(&self) -> bool {
        self.nodes.iter().all(|(id, node)| {
            let whole = |shard: ShardId| {
                let status = node.core()?.status(shard)?;
                Some(!status.stateless || !status.members.contains(*id))
            };
            self.shards().into_iter().all(|shard| whole(shard) == Some(true))
        })
    }

    /// Mixes something of the owner's into the trace.
    pub fn note(&mut self, bytes: &[u8]) {
        self.trace.update((bytes.len() as u64).to_be_bytes());
        self.trace.update(bytes);
    }

    /// A hash of everything that has happened: frames, writes, applied commands, answers, times.
    pub fn trace(&self) -> [u8; 32] {
        self.trace.clone().finalize().into()
    }

    fn fault_plan(&mut self) -> FaultPlan {
        FaultPlan {
            seed: self.rng.random(),
            torn_tail: true,
            ..FaultPlan::default()
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn push(&mut self, after: Duration, event: Event<E>) {
        let number = self.number();
        self.queue.insert((self.now + after, number), event);
    }

    fn later(&mut self, after: Duration, node: NodeId, event: NodeEvent) {
        if let Some(life) = self.nodes.get(&node).and_then(Node::life) {
            self.push(after, Event::Node { node, life, event });
        }
    }

    fn leads_in(&mut self, shard: ShardId, term: u64, node: NodeId) {
        let known = *self.leaders.entry((shard, term)).or_insert(node);
        if known != node {
            self.violate(format!(
                "one leader per term: nodes {known} and {node} lead {shard} in term {term}"
            ));
            // Said once.
            self.leaders.insert((shard, term), node);
        }
    }
}
