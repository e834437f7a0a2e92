//! What has happened to the rooms and users, as the log has it, and what must hold of it.

use std::collections::{BTreeMap, BTreeSet};

use mimi_hub::command::RequestHash;
use mimi_hub::entity::EntityId;
use mimi_hub::simulation::{Record, What, events};
use mimi_hub_cluster::ShardReader;
use mimi_hub_proto::mls::CommitMessage;
use mimi_hub_proto::tls;

/// The events of every entity, in their order.
#[derive(Default)]
pub(super) struct History {
    entities: BTreeMap<EntityId, Entity>,
    /// How many commands were fenced.
    pub(super) fenced: u64,
}

#[derive(Default)]
pub(super) struct Entity {
    events: Vec<Record>,
    by_hash: BTreeMap<RequestHash, usize>,
    last_at_ms: u64,
    /// The Commits of a room, and after which event each came.
    pub(super) commits: Vec<Vec<u8>>,
    commit_seqs: Vec<u64>,
    stored: BTreeSet<Vec<u8>>,
    claimed: BTreeSet<Vec<u8>>,
}

impl Entity {
    /// The number of the last event.
    pub(super) fn last_seq(&self) -> u64 {
        self.events.len() as u64
    }

    /// How many Commits there are up to an event.
    pub(super) fn commits_up_to(&self, seq: u64) -> u64 {
        self.commit_seqs.iter().filter(|commit| **commit <= seq).count() as u64
    }

    /// The event that answered a request: its number and its reply.
    pub(super) fn answer_of(&self, hash: &RequestHash) -> Option<(u64, &[u8])> {
        let at = *self.by_hash.get(hash)?;
        match &self.events[at] {
            Record::Event { reply, .. } => Some((at as u64 + 1, reply)),
            _ => None,
        }
    }
}

impl History {
    pub(super) fn of(&mut self, id: &EntityId) -> &Entity {
        self.entities.entry(id.clone()).or_default()
    }

    /// Takes in what was applied first anywhere. `first_epoch`: that of every room.
    pub(super) fn applied(&mut self, record: Record, first_epoch: u64) -> Result<(), String> {
        let Record::Event {
            id,
            seq,
            at_ms,
            hash,
            what,
            ..
        } = &record
        else {
            self.fenced += u64::from(record == Record::Fenced);
            return Ok(());
        };
        let entity = self.entities.entry(id.clone()).or_default();
        if *seq != entity.last_seq() + 1 {
            return Err(format!(
                "gap-free sequence: {id} has event {seq} after {}",
                entity.last_seq()
            ));
        }
        if *at_ms < entity.last_at_ms {
            return Err(format!("acceptance times run backwards at event {seq} of {id}"));
        }
        entity.last_at_ms = *at_ms;
        if let Some(hash) = hash
            && entity.by_hash.insert(*hash, entity.events.len()).is_some()
        {
            return Err(format!(
                "exactly once: event {seq} of {id} answers a request that was answered before"
            ));
        }
        match what {
            What::Commit(commit) => {
                let epoch = tls::decode_exact::<CommitMessage>(commit).map_err(|error| error.to_string())?;
                let expected = first_epoch + entity.commits.len() as u64;
                if epoch.epoch() != expected {
                    return Err(format!(
                        "one Commit per epoch: {id} has one of {} in {expected}",
                        epoch.epoch()
                    ));
                }
                entity.commits.push(commit.clone());
                entity.commit_seqs.push(*seq);
            }
            What::KeyPackagesStored(references) => entity.stored.extend(references.iter().cloned()),
            What::KeyPackagesClaimed(references) => {
                for reference in references {
                    if !entity.stored.contains(reference) || !entity.claimed.insert(reference.clone()) {
                        return Err(format!("no KeyPackage claimed twice: event {seq} of {id}"));
                    }
                }
            }
            What::Else => {}
        }
        entity.events.push(record);
        Ok(())
    }

    /// The events as a node has them are these.
    pub(super) fn compare(&self, id: &EntityId, reader: &ShardReader) -> Result<(), String> {
        let stored = events(reader, id).map_err(|error| error.to_string())?;
        let known = self.entities.get(id).map_or(&[][..], |entity| &entity.events);
        if stored == known {
            Ok(())
        } else {
            Err(format!(
                "same sequence: {} events of {id} were applied, {} are stored, or others",
                known.len(),
                stored.len()
            ))
        }
    }

    pub(super) fn ids(&self) -> Vec<EntityId> {
        self.entities.keys().cloned().collect()
    }
}
