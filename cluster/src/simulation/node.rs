//! A node's life: starting, stepping, writing, applying, losing power.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mimi_hub_storage::{ClusterId, Durability, LogStore, MemoryLog, MemoryStore, StateStore, StorageError};
use raft::eraftpb::Message;
use sha2::{Digest, Sha256};

use super::snapshots::{Transfer, Transport};
use super::{Happening, Simulation};
use crate::config::{ClusterConfig, NodeId};
use crate::core::{ApplyEntry, ApplyWork, Core, CoreConfig, Input, LogWrite, Outputs, group_id};
use crate::entry::Payload;
use crate::machine::{EntryMeta, Leadership, StateWriter};
use crate::recovery;
use crate::runtime::Outcome;
use crate::shard::ShardId;
use crate::snapshot::{SnapshotId, Staging};

/// How often the state store is flushed.
const FLUSH: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(super) enum NodeEvent {
    Wake,
    Written,
    Apply,
    Flush,
    /// The next snapshot is sent.
    Collect,
    Transport(Transport),
    /// The state store takes a snapshot.
    Install(SnapshotId),
    /// And makes it durable.
    Installed(SnapshotId),
}

pub(super) struct Node {
    log: MemoryLog,
    pub(super) state: Arc<MemoryStore>,
    lives: u64,
    pub(super) running: Option<Running>,
}

pub(super) struct Running {
    core: Core,
    pub(super) staging: Staging,
    /// Under way to the disk.
    writing: Option<LogWrite>,
    /// Handed over, and not applied yet.
    to_apply: VecDeque<ApplyWork>,
    /// The last entry applied, by shard.
    applied: BTreeMap<ShardId, u64>,
    /// Snapshots to be sent, one at a time.
    pub(super) to_send: VecDeque<(ShardId, Message)>,
    pub(super) sending: Option<Transfer>,
}

impl Running {
    pub(super) fn applies(&self) -> bool {
        !self.to_apply.is_empty()
    }

    pub(super) fn set_applied(&mut self, id: SnapshotId) {
        self.applied.insert(id.shard, id.index);
    }
}

impl Node {
    pub(super) fn new(log: MemoryLog, state: Arc<MemoryStore>) -> Self {
        Self {
            log,
            state,
            lives: 0,
            running: None,
        }
    }

    /// Which life it lives, if it does.
    pub(super) fn life(&self) -> Option<u64> {
        self.running.as_ref().map(|_| self.lives)
    }

    pub(super) fn core(&self) -> Option<&Core> {
        self.running.as_ref().map(|running| &running.core)
    }
}

/// Whether a write makes a vote for another node durable, and no entries.
fn is_vote(node: NodeId, write: &LogWrite) -> bool {
    let mut groups = write.batch.groups();
    groups.any(|(_, group)| {
        let vote = group.hard_state.as_ref().map_or(0, |state| state.vote);
        group.entries.is_empty() && vote != 0 && vote != node.0
    })
}

impl<E> Simulation<E> {
    fn config(&self, node: NodeId) -> ClusterConfig {
        let mut config = ClusterConfig::single_node(ClusterId([1; 16]), node, self.setup.shards);
        config.nodes = (1..=self.setup.nodes).map(NodeId).collect();
        config.joining = node.0 > self.setup.nodes;
        config.seed = self.setup.seed;
        // So little that a replica that was away is served from the log store.
        config.entry_cache_bytes = 100;
        if self.setup.short_logs {
            (config.keep_entries, config.max_lag_entries) = (3, 8);
        }
        config
    }

    /// Starts a node, unless it is up, from what its stores hold. Its disk is as good as new.
    pub fn start(&mut self, node: NodeId) {
        let plan = self.fault_plan();
        let config = self.config(node);
        let now = self.now;
        let Some(down) = self.nodes.get_mut(&node).filter(|node| node.running.is_none()) else {
            return;
        };
        down.log.set_plan(plan.clone());
        down.state.set_plan(plan);
        let groups = match recovery::recover(&config, &down.log, down.state.as_ref()) {
            Ok(groups) => groups,
            Err(error) => return self.violate(format!("node {node} does not start again: {error}")),
        };
        let applied = groups.iter().map(|group| (group.shard, group.applied)).collect();
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let core = match Core::new(CoreConfig::new(&config, logger), now, groups) {
            Ok(core) => core,
            Err((shard, error)) => return self.violate(format!("node {node} does not start again, {shard}: {error}")),
        };
        down.lives += 1;
        down.running = Some(Running {
            core,
            staging: Staging::new(node, config.max_snapshot_bytes),
            writing: None,
            to_apply: VecDeque::new(),
            applied,
            to_send: VecDeque::new(),
            sending: None,
        });
        self.happenings.push_back(Happening::Started(node));
        self.later(Duration::ZERO, node, NodeEvent::Wake);
        self.later(FLUSH, node, NodeEvent::Flush);
    }

    /// Cuts a node's power. What it had not synced may be gone, and its last write be torn.
    pub fn crash(&mut self, node: NodeId) {
        let half_written = self.one_in(2);
        let Some(up) = self.nodes.get_mut(&node) else { return };
        let Some(running) = up.running.take() else { return };
        self.stalls.remove(&node);
        let writing = running.writing.filter(|_| half_written);
        // The disk may refuse it; then there is nothing to tear.
        let torn = writing.is_some_and(|write| up.log.append(write.batch, Durability::Buffered).is_ok());
        up.log = up.log.crash();
        up.state = Arc::new(up.state.crash());
        self.happenings.push_back(Happening::Stopped(node));
        self.count("crash");
        if torn {
            self.count("torn write");
        }
    }

    /// A node whose disk fails stops; anything else that stops one must not happen.
    pub(super) fn fail(&mut self, node: NodeId, error: &StorageError) {
        match error {
            StorageError::DiskFull { .. } | StorageError::SyncFailed { .. } => self.count("stopped by its disk"),
            error => self.violate(format!("node {node} breaks: {error}")),
        }
        self.crash(node);
    }

    pub(super) fn disks(&self, node: NodeId) -> Option<(&MemoryLog, &MemoryStore)> {
        self.nodes.get(&node).map(|node| (&node.log, node.state.as_ref()))
    }

    pub(super) fn running(&mut self, node: NodeId) -> Option<&mut Running> {
        self.nodes.get_mut(&node)?.running.as_mut()
    }

    pub(super) fn input(&mut self, node: NodeId, input: Input) {
        self.step(node, Some(input));
    }

    fn step(&mut self, node: NodeId, input: Option<Input>) {
        let now = self.now;
        let Some(up) = self.running(node) else { return };
        let out = up.core.step(now, input);
        self.perform(node, out);
    }

    pub(super) fn happen(&mut self, node: NodeId, event: NodeEvent) {
        match event {
            NodeEvent::Wake => {
                self.step(node, None);
                let now = self.now;
                let next = self.running(node).map(|up| up.core.deadline().saturating_sub(now));
                if let Some(next) = next {
                    self.later(next, node, NodeEvent::Wake);
                }
            }
            NodeEvent::Written => {
                let Some(up) = self.nodes.get_mut(&node) else { return };
                let Some(write) = up.running.as_mut().and_then(|running| running.writing.take()) else {
                    return;
                };
                let voted = is_vote(node, &write);
                match write.carry_out(&up.log) {
                    Ok(persisted) => {
                        self.input(node, persisted);
                        if voted && self.one_in(self.weather.blink_after_vote_one_in) {
                            self.blink(node);
                        }
                    }
                    Err(error) => self.fail(node, &error),
                }
            }
            NodeEvent::Apply => self.apply(node),
            NodeEvent::Flush => self.flush(node),
            NodeEvent::Collect => self.collect(node),
            NodeEvent::Transport(transport) => self.transport(node, transport),
            NodeEvent::Install(id) => self.install(node, id),
            NodeEvent::Installed(id) => self.finish_install(node, id),
        }
    }

    fn flush(&mut self, node: NodeId) {
        let Some(up) = self.nodes.get(&node) else { return };
        if let Err(error) = up.state.flush() {
            return self.fail(node, &error);
        }
        let Some(running) = &up.running else { return };
        for (shard, index) in running.applied.clone() {
            self.input(node, Input::Flushed { shard, index });
        }
        self.later(FLUSH, node, NodeEvent::Flush);
    }

    fn perform(&mut self, node: NodeId, out: Outputs) {
        if let Some(fatal) = out.fatal {
            self.violate(format!("node {node} breaks: {fatal}"));
            return self.crash(node);
        }
        for (shard, state) in out.leadership {
            self.note(format!("{:?} {node} {shard} {state:?}", self.now).as_bytes());
            if let Leadership::Leader { term, .. } = state {
                self.leads_in(shard, term, node);
            }
            self.happenings.push_back(Happening::Leadership { node, shard, state });
        }
        for frame in &out.frames {
            self.send(frame);
        }
        for (id, answer) in out.answers {
            self.note(format!("{:?} {node} {id} {answer:?}", self.now).as_bytes());
            let answer = answer.map(|()| None);
            self.happenings.push_back(Happening::Answered { node, id, answer });
        }
        self.queue_apply(node, out.apply);
        if let Some(write) = out.write {
            let slow = self.one_in(self.weather.slow_write_one_in);
            if slow {
                self.count("slow write");
            }
            let delay = self.millis(if slow { 50..900 } else { 0..8 });
            if let Some(up) = self.running(node) {
                up.writing = Some(write);
            }
            self.later(delay, node, NodeEvent::Written);
        }
        self.perform_snapshots(node, out.snapshots, &out.installs, &out.discards);
        for fetch in out.fetches {
            let Some((log, _)) = self.disks(node) else { return };
            match log.entries(group_id(fetch.shard), fetch.low, fetch.high, fetch.max_bytes) {
                Ok(entries) => {
                    let (shard, low) = (fetch.shard, fetch.low);
                    self.input(node, Input::Fetched { shard, low, entries });
                }
                Err(error) => return self.fail(node, &error),
            }
        }
    }

    fn queue_apply(&mut self, node: NodeId, work: Vec<ApplyWork>) {
        let slow = !work.is_empty() && self.one_in(self.weather.slow_apply_one_in);
        let delay = self.millis(if slow { 20..400 } else { 1..4 });
        let Some(up) = self.running(node) else { return };
        let idle = !up.applies();
        up.to_apply.extend(work);
        if idle && up.applies() {
            self.later(delay, node, NodeEvent::Apply);
            if slow {
                self.count("slow apply");
            }
        }
    }

    /// Applies everything that is handed over, as one batch.
    fn apply(&mut self, node: NodeId) {
        let machine = self.machine.clone();
        let Some(up) = self.nodes.get_mut(&node) else { return };
        let Some(running) = &mut up.running else { return };
        let work = std::mem::take(&mut running.to_apply);
        let state = up.state.clone();
        let mut writer = StateWriter::new(state.as_ref());
        let mut done = Vec::new();
        let mut broken = None;
        for ApplyWork { shard, entries } in work {
            for entry in entries {
                let meta = EntryMeta {
                    shard,
                    index: entry.index,
                    term: entry.term,
                };
                let last = running.applied.insert(shard, entry.index);
                if last.is_none_or(|last| last + 1 != entry.index) {
                    broken = Some(format!("no gap: node {node}, {shard}: {} after {last:?}", entry.index));
                }
                let outcome = match &entry.payload {
                    Payload::Command(command) => match machine.apply(&mut writer.txn(shard), meta, command) {
                        Ok(outcome) => Some(outcome),
                        Err(error) => {
                            let index = entry.index;
                            self.violate(format!("node {node} cannot apply entry {index} of {shard}: {error}"));
                            return self.crash(node);
                        }
                    },
                    Payload::Members(members) => {
                        writer.set_members(shard, members);
                        None
                    }
                    Payload::Change(_) | Payload::Empty => None,
                };
                writer.set_applied(shard, entry.index, entry.term);
                done.push((shard, entry, outcome));
            }
        }
        if let Err(error) = writer.commit() {
            return self.fail(node, &error);
        }
        if let Some(broken) = broken {
            self.violate(broken);
        }
        let mut reached = BTreeMap::new();
        for (shard, entry, outcome) in done {
            reached.insert(shard, entry.index);
            self.report(node, shard, entry, outcome);
        }
        for (shard, index) in reached {
            self.input(node, Input::Applied { shard, index });
        }
    }

    /// Compares what was applied with what others have at the same index, and tells the owner.
    fn report(&mut self, node: NodeId, shard: ShardId, entry: ApplyEntry, outcome: Option<Vec<u8>>) {
        let ApplyEntry {
            index,
            term,
            payload,
            request,
        } = entry;
        let content = match &payload {
            Payload::Command(command) => Sha256::digest(command),
            other => Sha256::digest(format!("{other:?}")),
        };
        let entry = Sha256::digest([&term.to_be_bytes()[..], &content[..]].concat());
        let found = (
            entry.into(),
            outcome.as_ref().map(|outcome| Sha256::digest(outcome).into()),
        );
        self.note(format!("{:?} {node} {shard} {index} {found:?}", self.now).as_bytes());
        let known = self.history.get(&(shard, index)).copied();
        match known {
            None => {
                self.history.insert((shard, index), found);
                if let (Payload::Command(command), Some(outcome)) = (payload, &outcome) {
                    self.happenings.push_back(Happening::Applied {
                        shard,
                        index,
                        command,
                        outcome: outcome.clone(),
                    });
                }
            }
            Some(known) if known.0 != found.0 => self.violate(format!(
                "committed entries never change: node {node} applies another at {index} of {shard}"
            )),
            Some(known) if known.1 != found.1 => self.violate(format!(
                "same sequence: node {node} gets another outcome at {index} of {shard}"
            )),
            Some(_) => {}
        }
        if let Some(id) = request {
            let answer = Ok(outcome.map(|bytes| Outcome { index, bytes }));
            self.happenings.push_back(Happening::Answered { node, id, answer });
        }
    }
}
