//! Snapshots of a group, and the compaction that makes them necessary.

use mimi_hub_storage::GroupWrite;
use raft::eraftpb::{Entry, Message, MessageType};
use raft::{ProgressState, SnapshotStatus};

use super::Group;
use crate::config::NodeId;
use crate::core::compact::{self, Reach};
use crate::records;

impl Group {
    /// Adds the compaction that waits for a write.
    pub(super) fn add_compaction(&mut self, write: &mut GroupWrite) {
        write.compact_to = self.compact_to.take();
        if write.compact_to.is_some() {
            let members = records::encode_members(self.raw.store().members());
            write.records.push((records::LATEST_MEMBERS.to_vec(), Some(members)));
        }
    }

    /// A replica without state may have an end of its log that nobody else has, and waits for a snapshot beyond it. When
    /// nothing is proposed, nothing would ever get there: then it is an entry without data that does.
    pub(super) fn reach_further(&mut self) {
        let raft = &self.raw.raft;
        let idle = self.queued.is_empty() && raft.raft_log.committed == raft.raft_log.last_index();
        if self.raw.store().take_short() && self.leads() && idle {
            let mut message = Message {
                from: raft.id,
                ..Message::default()
            };
            message.set_msg_type(MessageType::MsgPropose);
            message.set_entries(vec![Entry::default()].into());
            // Refused while the leadership is given away: it is asked for again.
            let _ = self.raw.step(message);
        }
    }

    /// Takes in that a snapshot has arrived. Returns whether it is wanted: then it is to be installed later on.
    pub(in crate::core) fn receive_snapshot(&mut self, message: Message) -> bool {
        let metadata = message.get_snapshot().get_metadata();
        let (index, term) = (metadata.index, metadata.term);
        // One that covers less than a replica without state has acknowledged would make it lose that.
        let short = self.stateless && index < self.raw.raft.raft_log.last_index();
        if short || self.restoring.is_some() || self.raw.raft.snap().is_some() {
            return false;
        }
        self.wake();
        if self.stateless {
            // Otherwise raft-rs takes one that ends where the log does for nothing new.
            self.raw.raft.pending_request_snapshot = index;
        }
        let _ = self.raw.step(message);
        self.raw.raft.pending_request_snapshot = raft::INVALID_INDEX;
        let pending = self.raw.raft.snap().map(|snapshot| snapshot.get_metadata());
        pending.is_some_and(|pending| (pending.index, pending.term) == (index, term))
    }

    /// A snapshot has reached `to`, or has not.
    pub(in crate::core) fn snapshot_sent(&mut self, to: NodeId, delivered: bool) {
        if delivered {
            self.raw.report_snapshot(to.0, SnapshotStatus::Finish);
        } else {
            self.failed.push((to.0, self.retry_ticks));
        }
    }

    /// The state store has taken the snapshot.
    pub(in crate::core) fn installed(&mut self) {
        if let Some(restoring) = &mut self.restoring {
            restoring.installed();
        }
    }

    /// The state store is durable up to `index`. The log is compacted once it is worth it.
    pub(in crate::core) fn flushed(&mut self, index: u64, keep: u64, max_lag: u64) {
        let raft = &self.raw.raft;
        let others = || raft.prs().iter().filter(|(id, _)| **id != raft.id);
        let sending = others().filter(|(_, progress)| self.leads() && progress.state == ProgressState::Snapshot);
        // A follower replica does not know what the others have.
        let has = |matched: u64| if self.leads() { matched } else { 0 };
        let to = compact::up_to(Reach {
            flushed: index,
            applied: self.applied,
            slowest: others().map(|(_, progress)| has(progress.matched)).min(),
            sending: sending.map(|(_, progress)| progress.pending_snapshot).min(),
            keep,
            max_lag,
        });
        if self.restoring.is_none() && !self.stateless && to >= self.raw.store().start().index + keep.max(1) {
            self.raw.mut_store().compact(to);
            self.compact_to = Some(to);
        }
    }
}
