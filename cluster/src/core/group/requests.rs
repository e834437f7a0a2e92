//! Proposals and reads of a group, from the asking to the answer.

use bytes::Bytes;
use mimi_hub_storage::Entry;
use raft::ReadState;
use raft::eraftpb::{Message, MessageType};

use super::{Group, MAX_MESSAGE_BYTES, Proposal, pop_front_if};
use crate::core::{ApplyEntry, ApplyWork, Load, Outputs, RequestId};
use crate::entry::{self, Payload};
use crate::error::ProposeError;
use crate::fatal::Fatal;
use crate::machine::Leadership;
use crate::planted::{self, Bug};

impl Group {
    /// Takes a proposal in. Those of one step go to raft-rs together: one message to each replica carries them.
    pub(in crate::core) fn propose(&mut self, id: RequestId, data: Vec<u8>) -> Result<(), ProposeError> {
        if !self.leads() {
            return Err(self.not_leader());
        }
        self.wake();
        self.queued.push((id, data.into()));
        Ok(())
    }

    pub(in crate::core) fn read(&mut self, id: RequestId) -> Result<(), ProposeError> {
        if !self.leads() {
            return Err(self.not_leader());
        }
        self.wake();
        self.reads.add(id);
        Ok(())
    }

    /// Appends what has been proposed since the last time, in order.
    pub(super) fn append_queued(&mut self, out: &mut Outputs) {
        let queued = std::mem::take(&mut self.queued);
        let mut rest = queued.as_slice();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_length(rest));
            rest = after;
            // Raft-rs drops a batch whole when not all of it fits the budget of uncommitted entries.
            if batch.len() == 1 || self.append(batch).is_err() {
                for proposal in batch {
                    if let Err(error) = self.append(std::slice::from_ref(proposal)) {
                        out.answers.push((proposal.0, Err(error)));
                    }
                }
            }
        }
    }

    pub(super) fn append(&mut self, proposals: &[(RequestId, Bytes)]) -> Result<(), ProposeError> {
        if !self.leads() {
            return Err(self.not_leader());
        }
        let entries: Vec<Entry> = proposals
            .iter()
            .map(|(_, data)| Entry {
                data: data.clone(),
                ..Entry::default()
            })
            .collect();
        let mut message = Message {
            from: self.raw.raft.id,
            ..Message::default()
        };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(entries.into());
        let first = self.raw.raft.raft_log.last_index() + 1;
        match self.raw.step(message) {
            Ok(()) => {
                let term = self.raw.raft.term;
                let placed = proposals
                    .iter()
                    .zip(first..)
                    .map(|((id, _), index)| Proposal { index, term, id: *id });
                self.proposals.extend(placed);
                Ok(())
            }
            Err(_) if self.raw.raft.lead_transferee.is_some() => Err(ProposeError::NotLeader { leader: None }),
            // What is left is a full budget of uncommitted entries.
            Err(_) => Err(ProposeError::Overloaded),
        }
    }

    pub(super) fn ask_reads(&mut self) {
        let raft = &self.raw.raft;
        // Before a leader has committed in its own term, raft-rs drops the request.
        if !self.leads() || !raft.commit_to_current_term() {
            return;
        }
        if let Some(context) = self.reads.ask(raft.term) {
            if planted::is(Bug::StaleRead) {
                let index = raft.raft_log.committed;
                let request_ctx = context;
                return self.reads.confirm(&ReadState { index, request_ctx });
            }
            self.raw.read_index(context);
        }
    }

    /// Hands committed entries over to be applied, each with the proposal that it is.
    pub(super) fn hand_over(&mut self, committed: &[Entry], load: &mut Load, out: &mut Outputs) {
        let Some(last) = committed.last() else { return };
        let mut bytes = 0;
        let mut entries = Vec::with_capacity(committed.len());
        for entry in committed {
            let payload = match entry::decode(entry, self.format) {
                Ok(payload) => payload,
                Err(error) => {
                    out.fatal = Some(Fatal {
                        shard: Some(self.shard),
                        cause: error.to_string(),
                    });
                    return;
                }
            };
            bytes += entry.data.len() as u64;
            let request = match pop_front_if(&mut self.proposals, |proposal| proposal.index == entry.index) {
                Some(proposal) if proposal.term == entry.term => Some(proposal.id),
                Some(overwritten) => {
                    out.answers.push((overwritten.id, Err(self.not_leader())));
                    None
                }
                None => None,
            };
            let (payload, request) = self.settle_change(payload, request, out);
            entries.push(ApplyEntry {
                index: entry.index,
                term: entry.term,
                payload,
                request,
            });
        }
        load.unapplied_bytes += bytes;
        self.unapplied.push_back((last.index, bytes));
        out.apply.push(ApplyWork {
            shard: self.shard,
            entries,
        });
    }

    /// Carries out what an entry changes about the members. Whoever proposed one that comes to nothing is told.
    fn settle_change(
        &mut self,
        payload: Payload,
        request: Option<RequestId>,
        out: &mut Outputs,
    ) -> (Payload, Option<RequestId>) {
        let payload = match payload {
            Payload::Change(change) => self.carry_out(&change),
            payload => payload,
        };
        if payload == Payload::Empty {
            out.answers
                .extend(request.map(|id| (id, Err(ProposeError::ChangeRefused))));
            return (payload, None);
        }
        (payload, request)
    }

    /// The replica is gone: whatever waits on it ends.
    pub(in crate::core) fn give_up(mut self, load: &mut Load, out: &mut Outputs) {
        for (_, bytes) in self.unapplied {
            load.unapplied_bytes -= bytes;
        }
        for (id, _) in self.queued {
            out.answers.push((id, Err(ProposeError::NotLeader { leader: None })));
        }
        for proposal in self.proposals {
            out.answers.push((proposal.id, Err(ProposeError::Unknown)));
        }
        let reads = self.reads.take_orphaned(None);
        answer_reads(&reads, &Err(ProposeError::NotLeader { leader: None }), load, out);
    }

    /// After every change: fails what waits on a leadership that is over, answers confirmed reads, announces the role.
    pub(super) fn settle(&mut self, load: &mut Load, out: &mut Outputs) {
        let term = self.raw.raft.term;
        let leads = self.leads();
        while let Some(proposal) = pop_front_if(&mut self.proposals, |proposal| !leads || proposal.term != term) {
            out.answers.push((proposal.id, Err(ProposeError::Unknown)));
        }
        let orphaned = self.reads.take_orphaned(leads.then_some(term));
        answer_reads(&orphaned, &Err(self.not_leader()), load, out);
        let applied = self.applied;
        answer_reads(&self.reads.take_permitted(applied), &Ok(()), load, out);
        let since = match self.announced {
            // The entry may be compacted by now.
            Leadership::Leader { term: announced, since } if announced == term => Some(since),
            _ => self.raw.store().first_of_term(term),
        };
        let since = since.filter(|first| leads && *first <= applied);
        let leadership = match since {
            Some(since) => Leadership::Leader { term, since },
            None => Leadership::Follower {
                leader: self.known_leader(),
            },
        };
        if leadership != self.announced {
            self.announced = leadership;
            out.leadership.push((self.shard, leadership));
        }
    }
}

/// How many of `proposals`, from the front, go into one message: at least one.
fn batch_length(proposals: &[(RequestId, Bytes)]) -> usize {
    let mut bytes = 0;
    let fit = proposals.iter().take_while(|(_, data)| {
        bytes += data.len() as u64;
        bytes <= MAX_MESSAGE_BYTES
    });
    fit.count().max(1)
}

fn answer_reads(ids: &[RequestId], answer: &Result<(), ProposeError>, load: &mut Load, out: &mut Outputs) {
    load.reads -= ids.len();
    out.answers.extend(ids.iter().map(|id| (*id, answer.clone())));
}
