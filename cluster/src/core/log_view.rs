//! What raft-rs reads of a group's log, without a disk.
//!
//! Invariants:
//! - entries above the applied index are always here, so that whatever raft-rs needs at once it gets; the ones before it
//!   stay as long as they fit the budget, and are asked for with a fetch after that;
//! - `start` is never behind the log store's: a compaction is taken in here first;
//! - `terms` covers `start ..= last`, one item per term, ascending.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::recovery::BEGINNING;
use mimi_hub_storage::{Entry, HardState, LogStart};
use protobuf::Message;
use raft::eraftpb::{ConfState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

/// A read that the view cannot answer.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) max_bytes: u64,
    /// Given back to raft-rs once the entries are there.
    pub(super) context: GetEntriesContext,
}

pub(super) struct LogView {
    hard_state: HardState,
    conf_state: ConfState,
    start: LogStart,
    last: u64,
    applied: u64,
    terms: VecDeque<LogStart>,
    /// Ends at `last`.
    entries: VecDeque<Entry>,
    bytes: u64,
    budget: u64,
    /// Entries from the disk, while raft-rs takes them.
    fetched: Vec<Entry>,
    missing: RefCell<Vec<Missing>>,
    /// A snapshot was asked for that covers more than is applied.
    short: Cell<bool>,
}

impl LogView {
    pub(super) fn new(
        hard_state: HardState,
        conf_state: ConfState,
        start: LogStart,
        terms: Vec<LogStart>,
        tail: &[Entry],
        applied: u64,
        budget: u64,
    ) -> Self {
        let mut view = Self {
            hard_state,
            conf_state,
            start,
            last: applied,
            applied,
            terms: VecDeque::from([start]),
            entries: VecDeque::new(),
            bytes: 0,
            budget,
            fetched: Vec::new(),
            missing: RefCell::default(),
            short: Cell::new(false),
        };
        view.terms.extend(
            terms
                .into_iter()
                .filter(|first| first.index > start.index && first.term > start.term),
        );
        view.append(tail);
        view
    }

    /// Takes in entries that raft-rs has made ready. They may replace the end of the log.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        while self.entries.back().is_some_and(|entry| entry.index >= first.index) {
            self.bytes -= self.entries.pop_back().as_ref().map_or(0, size);
        }
        while self.terms.back().is_some_and(|item| item.index >= first.index) {
            self.terms.pop_back();
        }
        for entry in entries {
            if self.terms.back().is_none_or(|item| item.term < entry.term) {
                self.terms.push_back(LogStart {
                    index: entry.index,
                    term: entry.term,
                });
            }
            self.bytes += size(entry);
            self.last = entry.index;
            self.entries.push_back(entry.clone());
        }
    }

    /// Everything up to `applied` is applied. Lets go of what of it is beyond the budget.
    pub(super) fn applied(&mut self, applied: u64) {
        self.applied = applied;
        while self.bytes > self.budget && self.entries.front().is_some_and(|entry| entry.index <= applied) {
            self.bytes -= self.entries.pop_front().as_ref().map_or(0, size);
        }
    }

    /// Forgets everything up to and including `to`, which lies in the log.
    pub(super) fn compact(&mut self, to: u64) {
        let term = self.term_of(to);
        self.start = LogStart { index: to, term };
        while self.entries.front().is_some_and(|entry| entry.index <= to) {
            self.bytes -= self.entries.pop_front().as_ref().map_or(0, size);
        }
        while self.terms.front().is_some_and(|item| item.index <= to) {
            self.terms.pop_front();
        }
        self.terms.push_front(self.start);
    }

    /// Whether a snapshot was asked for, since the last call, that covers more than is applied.
    pub(super) fn take_short(&self) -> bool {
        self.short.take()
    }

    pub(super) fn members(&self) -> &ConfState {
        &self.conf_state
    }

    pub(super) fn set_members(&mut self, members: ConfState) {
        self.conf_state = members;
    }

    /// Begins anew after a snapshot.
    pub(super) fn restore(&mut self, start: LogStart, members: ConfState) {
        self.conf_state = members;
        self.start = start;
        self.last = start.index;
        self.terms = VecDeque::from([start]);
        self.entries.clear();
        self.bytes = 0;
    }

    /// Holds entries from the disk until the next call.
    pub(super) fn set_fetched(&mut self, entries: Vec<Entry>) {
        self.fetched = entries;
    }

    /// The reads that could not be answered since the last call.
    pub(super) fn take_missing(&mut self) -> Vec<Missing> {
        self.missing.take()
    }

    pub(super) fn start(&self) -> LogStart {
        self.start
    }

    /// Index of the first entry of `term`, if the log has one.
    pub(super) fn first_of_term(&self, term: u64) -> Option<u64> {
        self.terms
            .iter()
            .rev()
            .find(|item| item.term == term)
            .map(|item| item.index)
    }

    /// The term at `index`, which is in `start ..= last`.
    fn term_of(&self, index: u64) -> u64 {
        self.terms
            .iter()
            .rev()
            .find(|item| item.index <= index)
            .map_or(self.start.term, |item| item.term)
    }
}

impl Storage for LogView {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        let max_bytes = max_size.into().unwrap_or(u64::MAX);
        if low <= self.start.index {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let here = self.entries.front().map_or(self.last + 1, |entry| entry.index);
        if low >= here {
            let from = (low - here) as usize;
            return Ok(limited(
                self.entries.range(from..).take((high - low) as usize),
                max_bytes,
            ));
        }
        if self.fetched.first().is_some_and(|entry| entry.index == low) {
            return Ok(limited(self.fetched.iter().take((high - low) as usize), max_bytes));
        }
        if !context.can_async() {
            // Raft-rs only asks at once for what is not applied yet, and that is always here.
            return Err(StorageError::Unavailable.into());
        }
        let mut missing = self.missing.borrow_mut();
        // Asked again and again while the answer is under way; once is enough. Whoever else wants the same entries asks
        // again at the next heartbeat.
        if missing.iter().all(|wanted| wanted.low != low) {
            missing.push(Missing {
                low,
                high: high.min(here),
                max_bytes,
                context,
            });
        }
        Err(StorageError::LogTemporarilyUnavailable.into())
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.start.index {
            return Err(StorageError::Compacted.into());
        }
        if index > self.last {
            return Err(StorageError::Unavailable.into());
        }
        Ok(self.term_of(index))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.start.index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last)
    }

    /// Only says which one: whoever sends it takes the state as it is by then, and corrects the position.
    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if self.applied < request_index {
            self.short.set(true);
        }
        // Where every log begins, there is no state yet. Where a snapshot was installed, there is, even with nothing after it.
        if self.applied <= BEGINNING.index || self.applied < request_index {
            // Raft-rs asks again later.
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        metadata.index = self.applied;
        metadata.term = self.term_of(self.applied);
        metadata.set_conf_state(self.conf_state.clone());
        Ok(snapshot)
    }
}

fn size(entry: &Entry) -> u64 {
    u64::from(entry.compute_size())
}

/// Entries up to `max_bytes`, but at least one.
fn limited<'a>(entries: impl Iterator<Item = &'a Entry>, max_bytes: u64) -> Vec<Entry> {
    let mut bytes = 0_u64;
    let mut taken = Vec::new();
    for entry in entries {
        bytes = bytes.saturating_add(size(entry));
        if bytes > max_bytes && !taken.is_empty() {
            break;
        }
        taken.push(entry.clone());
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry {
            index,
            term,
            data: vec![0; 100].into(),
            ..Entry::default()
        }
    }

    fn view(budget: u64) -> LogView {
        let start = LogStart { index: 4, term: 2 };
        let terms = vec![LogStart { index: 5, term: 2 }, LogStart { index: 7, term: 3 }];
        let tail = [entry(8, 3), entry(9, 5)];
        LogView::new(
            HardState::default(),
            ConfState::default(),
            start,
            terms,
            &tail,
            7,
            budget,
        )
    }

    fn indices(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.index).collect()
    }

    #[test]
    fn terms_are_known_from_the_start_to_the_end() {
        let view = view(0);
        let terms: Vec<u64> = (4..=9).map(|index| view.term(index).unwrap()).collect();
        assert_eq!(terms, [2, 2, 2, 3, 3, 5]);
        assert_eq!(view.term(3), Err(StorageError::Compacted.into()));
        assert_eq!(view.term(10), Err(StorageError::Unavailable.into()));
        assert_eq!((view.first_of_term(5), view.first_of_term(4)), (Some(9), None));
    }

    #[test]
    fn a_conflicting_suffix_is_replaced() {
        let mut view = view(0);
        view.append(&[entry(8, 6), entry(9, 6), entry(10, 7)]);
        let terms: Vec<u64> = (7..=10).map(|index| view.term(index).unwrap()).collect();
        assert_eq!(terms, [3, 6, 6, 7]);
        view.append(&[entry(9, 8)]);
        assert_eq!(view.last_index(), Ok(9));
        let all = view.entries(8, 10, None, GetEntriesContext::empty(false)).unwrap();
        assert_eq!(all, [entry(8, 6), entry(9, 8)]);
    }

    #[test]
    fn what_is_not_applied_stays_and_what_is_gone_is_fetched_once() {
        let mut view = view(0);
        view.applied(8);
        let at_once = |view: &LogView, low, high| view.entries(low, high, None, GetEntriesContext::empty(false));
        assert_eq!(indices(&at_once(&view, 9, 10).unwrap()), [9]);
        assert_eq!(at_once(&view, 8, 10), Err(StorageError::Unavailable.into()));
        assert!(view.take_missing().is_empty());

        for _ in 0..2 {
            let later = view.entries(6, 10, Some(1000), GetEntriesContext::empty(true));
            assert_eq!(later, Err(StorageError::LogTemporarilyUnavailable.into()));
        }
        let missing = view.take_missing();
        assert_eq!((missing.len(), missing[0].low, missing[0].high), (1, 6, 9));

        view.set_fetched(vec![entry(6, 2), entry(7, 3), entry(8, 3)]);
        let fetched = view.entries(6, 10, Some(250), GetEntriesContext::empty(true)).unwrap();
        assert_eq!(indices(&fetched), [6, 7]);
    }

    #[test]
    fn a_compaction_keeps_the_term_of_the_start() {
        let mut view = view(0);
        view.compact(8);
        assert_eq!(view.start(), LogStart { index: 8, term: 3 });
        assert_eq!((view.first_index(), view.term(8), view.term(9)), (Ok(9), Ok(3), Ok(5)));
        let gone = view.entries(8, 10, None, GetEntriesContext::empty(true));
        assert_eq!(gone, Err(StorageError::Compacted.into()));
        view.compact(9);
        assert_eq!(
            (view.first_index(), view.last_index(), view.term(9)),
            (Ok(10), Ok(9), Ok(5))
        );
    }
}
