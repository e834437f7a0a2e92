//! What goes wrong on purpose, and how often it has.

use std::collections::BTreeMap;
use std::time::Duration;

use mimi_hub_storage::FaultPlan;
use rand::RngExt;

use super::Simulation;
use crate::config::NodeId;
use crate::core::Input;
use crate::members::MemberStep;
use crate::shard::ShardId;

/// What goes wrong all the time: each once in so many, 0: never. The default is a calm world.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// A frame is lost.
    pub drop_one_in: u32,
    /// A frame arrives twice.
    pub duplicate_one_in: u32,
    /// A frame takes long.
    pub late_one_in: u32,
    /// A write to the log takes long.
    pub slow_write_one_in: u32,
    /// The state store takes long.
    pub slow_apply_one_in: u32,
    /// A node loses its power when it has said whom it votes for, and is back at once.
    pub blink_after_vote_one_in: u32,
}

/// How likely each fault is in [`Simulation::fault`], relative to the others. The default: none of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mix {
    /// A node loses its power.
    pub crash: u32,
    /// One does, and is back at once.
    pub blink: u32,
    /// All do, and are back at once.
    pub blackout: u32,
    /// A node that is down comes back.
    pub restart: u32,
    /// A node is cut off.
    pub isolate: u32,
    /// A leader is, and nobody else. Now and then it stands still meanwhile, so that it does not miss the others.
    pub isolate_leader: u32,
    /// A node stands still for a while; a leader, if there is one.
    pub stall: u32,
    /// A node's links are mended.
    pub mend: u32,
    /// A link carries nothing in one direction.
    pub one_way: u32,
    /// All links are mended.
    pub mend_all: u32,
    /// A node's disk is full.
    pub disk_full: u32,
    /// A node's disk fails at the next sync.
    pub disk_error: u32,
    /// A leader is asked to give its leadership to another node.
    pub transfer: u32,
    /// A replica moves to another node, or makes the next step on its way.
    pub move_replica: u32,
    /// Nothing.
    pub nothing: u32,
}

#[derive(Clone, Copy)]
enum Fault {
    Crash,
    Blink,
    Blackout,
    Restart,
    Isolate,
    IsolateLeader,
    Stall,
    Mend,
    OneWay,
    MendAll,
    DiskFull,
    DiskError,
    Transfer,
    MoveReplica,
    Nothing,
}

impl Mix {
    fn weights(&self) -> [(Fault, u32); 15] {
        [
            (Fault::Crash, self.crash),
            (Fault::Blink, self.blink),
            (Fault::Blackout, self.blackout),
            (Fault::Restart, self.restart),
            (Fault::Isolate, self.isolate),
            (Fault::IsolateLeader, self.isolate_leader),
            (Fault::Stall, self.stall),
            (Fault::Mend, self.mend),
            (Fault::OneWay, self.one_way),
            (Fault::MendAll, self.mend_all),
            (Fault::DiskFull, self.disk_full),
            (Fault::DiskError, self.disk_error),
            (Fault::Transfer, self.transfer),
            (Fault::MoveReplica, self.move_replica),
            (Fault::Nothing, self.nothing),
        ]
    }
}

impl<E> Simulation<E> {
    /// Any node.
    pub fn any_node(&mut self) -> NodeId {
        NodeId(self.rng.random_range(1..=self.setup.nodes + self.setup.joining))
    }

    /// Any shard.
    pub fn any_shard(&mut self) -> ShardId {
        ShardId(self.rng.random_range(0..self.setup.shards))
    }

    /// Changes what goes wrong all the time.
    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// Something goes wrong, or comes right. It may come to nothing: a node that is down cannot crash.
    pub fn fault(&mut self, mix: &Mix) {
        let weights = mix.weights();
        let total = weights.iter().map(|(_, weight)| weight).sum::<u32>().max(1);
        let mut draw = self.rng.random_range(0..total);
        let drawn = weights.iter().find(|(_, weight)| {
            let hit = draw < *weight;
            draw = draw.saturating_sub(*weight);
            hit
        });
        let Some((fault, _)) = drawn else { return };
        let (node, other) = (self.any_node(), self.any_node());
        match fault {
            Fault::Crash => self.crash(node),
            Fault::Blink => self.blink(node),
            Fault::Blackout => {
                self.count("blackout");
                self.ids().into_iter().for_each(|node| self.crash(node));
                self.ids().into_iter().for_each(|node| self.start(node));
            }
            Fault::Restart => {
                self.count("restart");
                let down = self.ids().into_iter().find(|node| !self.is_up(*node));
                down.into_iter().for_each(|node| self.start(node));
            }
            Fault::Isolate => {
                self.count("partition");
                self.isolate(node, true);
            }
            Fault::IsolateLeader => {
                let shard = self.any_shard();
                if let Some(leader) = self.leader(shard) {
                    self.count("partition");
                    self.mend_links();
                    self.isolate(leader, true);
                    if self.one_in(2) {
                        let time = self.millis(300..1500);
                        self.stall(leader, time);
                    }
                }
            }
            Fault::Stall => {
                let shard = self.any_shard();
                let node = self.leader(shard).unwrap_or(node);
                let time = self.millis(20..1500);
                self.stall(node, time);
            }
            Fault::Mend => self.isolate(node, false),
            Fault::OneWay => {
                self.count("one-way partition");
                self.cut_one_way(node, other, true);
            }
            Fault::MendAll => self.mend_links(),
            Fault::DiskFull => self.break_disk(node, "disk full", |plan| plan.capacity = Some(0)),
            Fault::DiskError => self.break_disk(node, "disk error", |plan| plan.sync_error_one_in = Some(1)),
            Fault::Transfer => {
                let shard = self.any_shard();
                if let Some(leader) = self.leader(shard) {
                    self.transfer(leader, shard, node);
                }
            }
            Fault::MoveReplica => {
                let shard = self.any_shard();
                if let Some((leader, steps)) = self.next_move(shard) {
                    self.count("replica move");
                    self.change_members(leader, shard, steps);
                }
            }
            Fault::Nothing => {}
        }
    }

    /// A node stands still: whatever would happen there happens afterwards, in the same order.
    pub fn stall(&mut self, node: NodeId, time: Duration) {
        self.count("stall");
        let until = self.now + time;
        let stalled = self.stalls.entry(node).or_default();
        *stalled = until.max(*stalled);
    }

    /// Until when the node stands still; in the past when it does not.
    pub fn stalled_until(&self, node: NodeId) -> Duration {
        self.stalls.get(&node).copied().unwrap_or_default()
    }

    /// A node loses its power, and is back at once.
    pub fn blink(&mut self, node: NodeId) {
        self.crash(node);
        self.start(node);
    }

    /// Asks the leader to give its leadership to another node.
    pub fn transfer(&mut self, leader: NodeId, shard: ShardId, to: NodeId) {
        self.count("leader transfer");
        self.input(leader, Input::Transfer { shard, to });
    }

    fn break_disk(&mut self, node: NodeId, fault: &'static str, change: impl FnOnce(&mut FaultPlan)) {
        if !self.is_up(node) {
            return;
        }
        let mut plan = self.fault_plan();
        change(&mut plan);
        if let Some((log, state)) = self.disks(node) {
            log.set_plan(plan.clone());
            state.set_plan(plan);
            self.count(fault);
        }
    }

    /// The next step of moving a replica: another node learns, or a learner takes the place of a voter.
    fn next_move(&mut self, shard: ShardId) -> Option<(NodeId, Vec<MemberStep>)> {
        let (leader, members) = (self.leader(shard)?, self.members(shard)?);
        if let Some(learner) = members.learners.first() {
            let others: Vec<_> = members.voters.iter().filter(|voter| **voter != leader).collect();
            let out = **others.get(self.rng.random_range(0..others.len().max(1)))?;
            return Some((leader, vec![MemberStep::Promote(*learner), MemberStep::Remove(out)]));
        }
        let strangers: Vec<_> = self.ids().into_iter().filter(|node| !members.contains(*node)).collect();
        let new = *strangers.get(self.rng.random_range(0..strangers.len().max(1)))?;
        Some((leader, vec![MemberStep::Learn(new)]))
    }

    /// Mends everything: the weather is calm, every link carries, every node is up and its disk as good as new.
    pub fn mend(&mut self) {
        self.weather = Weather::default();
        self.mend_links();
        for node in self.ids() {
            let plan = self.fault_plan();
            if let Some((log, state)) = self.disks(node) {
                log.set_plan(plan.clone());
                state.set_plan(plan);
            }
            self.start(node);
        }
    }

    /// Counts something that went wrong.
    pub fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// How often each has happened.
    pub fn faults(&self) -> &BTreeMap<&'static str, u64> {
        &self.faults
    }

    /// Lets a random short time pass between two faults: often so short that a write or an election is under way.
    pub fn pause(&mut self) -> Duration {
        if self.one_in(2) {
            self.millis(1..12)
        } else {
            self.millis(1..300)
        }
    }
}
