//! The linearizable reads of a group (ReadIndex), batched: all that arrive between two steps share one round of heartbeats.
//!
//! A read passes through three places: `waiting`, until it may be asked; `asked`, until a quorum has confirmed that this
//! node still leads; `confirmed`, until what was committed when it was asked is applied.

use std::collections::BTreeMap;

use raft::ReadState;

use super::RequestId;

#[derive(Default)]
pub(super) struct Reads {
    waiting: Vec<RequestId>,
    /// By round, with the term it was asked in.
    asked: BTreeMap<u64, (u64, Vec<RequestId>)>,
    /// With the index that has to be applied.
    confirmed: Vec<(u64, Vec<RequestId>)>,
    rounds: u64,
}

impl Reads {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty() && self.confirmed.is_empty()
    }

    pub(super) fn add(&mut self, id: RequestId) {
        self.waiting.push(id);
    }

    /// Begins a round in `term` with everything that waits. Returns the context that raft-rs has to give back.
    pub(super) fn ask(&mut self, term: u64) -> Option<Vec<u8>> {
        if self.waiting.is_empty() {
            return None;
        }
        self.rounds += 1;
        self.asked
            .insert(self.rounds, (term, std::mem::take(&mut self.waiting)));
        Some(self.rounds.to_be_bytes().to_vec())
    }

    /// Raft-rs has confirmed a round.
    pub(super) fn confirm(&mut self, state: &ReadState) {
        let round = state.request_ctx.as_slice().try_into().map(u64::from_be_bytes);
        if let Some((_, ids)) = round.ok().and_then(|round| self.asked.remove(&round)) {
            self.confirmed.push((state.index, ids));
        }
    }

    /// Takes out the reads that may be carried out now that `applied` is.
    pub(super) fn take_permitted(&mut self, applied: u64) -> Vec<RequestId> {
        self.confirmed
            .extract_if(.., |(index, _)| *index <= applied)
            .flat_map(|(_, ids)| ids)
            .collect()
    }

    /// Takes out the reads that depend on a leadership other than that of `term`; `None`: on any. Those that are confirmed
    /// depend on none any more.
    pub(super) fn take_orphaned(&mut self, term: Option<u64>) -> Vec<RequestId> {
        let mut orphaned = if term.is_none() {
            std::mem::take(&mut self.waiting)
        } else {
            Vec::new()
        };
        let lost = self.asked.extract_if(.., |_, (asked, _)| Some(*asked) != term);
        orphaned.extend(lost.flat_map(|(_, (_, ids))| ids));
        orphaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(index: u64, request_ctx: Vec<u8>) -> ReadState {
        ReadState { index, request_ctx }
    }

    #[test]
    fn a_round_carries_everything_that_waited() {
        let mut reads = Reads::default();
        assert_eq!(reads.ask(3), None);
        reads.add(1);
        reads.add(2);
        let round = reads.ask(3).unwrap();
        reads.add(3);
        reads.confirm(&state(9, round.clone()));
        reads.confirm(&state(9, round));
        reads.confirm(&state(9, b"not ours".to_vec()));
        assert_eq!(reads.take_permitted(8), [0; 0]);
        assert_eq!(reads.take_permitted(9), [1, 2]);
        assert_eq!(reads.take_permitted(9), [0; 0]);
    }

    #[test]
    fn what_is_confirmed_outlives_the_leadership() {
        let mut reads = Reads::default();
        reads.add(1);
        let confirmed = reads.ask(3).unwrap();
        reads.confirm(&state(5, confirmed));
        reads.add(2);
        reads.ask(3).unwrap();
        reads.add(3);
        assert_eq!(reads.take_orphaned(Some(3)), [0; 0]);
        assert_eq!(
            reads.take_orphaned(Some(4)),
            [2],
            "the third may still be asked in the new term"
        );
        assert_eq!(reads.take_orphaned(None), [3]);
        assert_eq!(reads.take_permitted(5), [1]);
    }
}
