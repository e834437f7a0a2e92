//! A snapshot on its way into a group.
//!
//! The state store and the log are two stores, and a crash may come between their writes. So it goes in four steps, each
//! durable before the next: the log notes which snapshot is coming (*mark*); the state store takes the state in one batch
//! (*install*, which the caller does); the log begins anew behind it and forgets the note (*seal*); only then is anything
//! said about it. What `recovery` finds after a crash is either the old state, when the note is dropped, or the new one,
//! when the log is sealed.

use mimi_hub_storage::{Entry, GroupWrite, HardState, LogStart};
use raft::eraftpb::{ConfState, Message};

use crate::records;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Mark,
    Marking,
    Installing,
    Seal,
    Sealing,
}

/// What comes after a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The state store has to take the snapshot.
    Install,
    /// Everything is durable.
    Done,
}

#[derive(Debug)]
pub(super) struct Restore {
    /// Of the raft-rs `Ready` that it came with.
    pub(super) number: u64,
    /// The snapshot's position: the log begins after it.
    pub(super) start: LogStart,
    pub(super) members: ConfState,
    /// What may be said once it is sealed.
    pub(super) messages: Vec<Message>,
    /// Entries behind it that came with it.
    pub(super) entries: Vec<Entry>,
    step: Step,
}

impl Restore {
    pub(super) fn new(
        number: u64,
        start: LogStart,
        members: ConfState,
        entries: Vec<Entry>,
        messages: Vec<Message>,
    ) -> Self {
        Self {
            number,
            start,
            members,
            messages,
            entries,
            step: Step::Mark,
        }
    }

    /// Whether the log has to be written now; then [`add_to`](Self::add_to) is next.
    pub(super) fn wants_write(&self) -> bool {
        matches!(self.step, Step::Mark | Step::Seal)
    }

    /// Adds its part to the write of its group.
    pub(super) fn add_to(&mut self, write: &mut GroupWrite, hard_state: &mut Option<HardState>) {
        match self.step {
            Step::Mark => {
                let note = records::encode_restore(self.start, &self.members);
                write.records.push((records::RESTORE.to_vec(), Some(note)));
                self.step = Step::Marking;
            }
            Step::Seal => {
                write.reset = Some(self.start);
                write.entries = std::mem::take(&mut self.entries);
                write.hard_state = hard_state.take();
                let members = records::encode_members(&self.members);
                write.records.push((records::MEMBERS.to_vec(), Some(members)));
                write.records.push((records::LATEST_MEMBERS.to_vec(), None));
                write.records.push((records::RESTORE.to_vec(), None));
                self.step = Step::Sealing;
            }
            Step::Marking | Step::Installing | Step::Sealing => {}
        }
    }

    /// The write that it was part of is durable.
    pub(super) fn persisted(&mut self) -> Option<Next> {
        match self.step {
            Step::Marking => {
                self.step = Step::Installing;
                Some(Next::Install)
            }
            Step::Sealing => Some(Next::Done),
            Step::Mark | Step::Installing | Step::Seal => None,
        }
    }

    /// The state store has taken the snapshot, durably.
    pub(super) fn installed(&mut self) {
        if self.step == Step::Installing {
            self.step = Step::Seal;
        }
    }
}
