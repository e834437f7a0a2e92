//! An entity as its actor would drive it, one request after the other, over a store in memory.

use std::sync::Arc;

use mimi_hub_cluster::{ShardId, ShardReader, StateWriter};
use mimi_hub_storage::MemoryStore;

use crate::actor::{Decision, Entity};
use crate::command::{Accepted, Command, Event, Head, Outcome, decode, encode};
use crate::entity::EntityId;
use crate::settings::Settings;
use crate::{keys, state_machine};

const SHARD: ShardId = ShardId(0);

pub(crate) struct Driven<E> {
    pub(crate) settings: Arc<Settings>,
    id: EntityId,
    store: Arc<MemoryStore>,
    head: Head,
    pub(crate) entity: E,
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Asked<A> {
    Accepted { event: Box<Event>, reply: Vec<u8> },
    Answer(A),
}

impl<A: std::fmt::Debug> Asked<A> {
    pub(crate) fn accepted(self) -> (Event, Vec<u8>) {
        match self {
            Asked::Accepted { event, reply } => (*event, reply),
            Asked::Answer(answer) => panic!("{answer:?}"),
        }
    }

    #[cfg(test)]
    pub(crate) fn answer(self) -> A {
        match self {
            Asked::Answer(answer) => answer,
            Asked::Accepted { event, .. } => panic!("accepted: {event:?}"),
        }
    }
}

impl<E: Entity> Driven<E> {
    pub(crate) fn new(settings: &Arc<Settings>, id: EntityId) -> Self {
        let store = Arc::<MemoryStore>::default();
        let head = Head::default();
        let entity = E::load(settings, &ShardReader::new(store.clone(), SHARD), &id, &head).unwrap();
        Driven {
            settings: Arc::clone(settings),
            id,
            store,
            head,
            entity,
        }
    }

    /// Decides, and applies what is accepted.
    pub(crate) fn ask(&mut self, at_ms: u64, mut request: E::Request) -> Asked<E::Answer> {
        E::prepare(&self.reader(), &self.id, &mut request).unwrap();
        match self.entity.decide(self.head.last_seq + 1, at_ms, request).unwrap() {
            Decision::Answer(answer) => {
                if let Some(event) = self.entity.follow_up() {
                    self.apply(at_ms, event, Vec::new());
                }
                Asked::Answer(answer)
            }
            Decision::Accept { event, reply } => {
                let accepted = event.clone();
                self.apply(at_ms, event, reply.clone());
                if let Some(event) = self.entity.follow_up() {
                    self.apply(at_ms, event, Vec::new());
                }
                Asked::Accepted {
                    event: Box::new(accepted),
                    reply,
                }
            }
        }
    }

    fn apply(&mut self, at_ms: u64, event: Event, reply: Vec<u8>) {
        self.head.last_seq += 1;
        let accepted = Accepted {
            entity: self.id.clone(),
            seq: self.head.last_seq,
            decided_by: 1,
            decided_after: self.head.last_decided_by,
            at_ms,
            request: None,
            reply,
            event,
        };
        self.head.last_decided_by = 1;
        let mut writer = StateWriter::new(self.store.as_ref());
        let command = encode(&Command::Accepted(accepted)).unwrap();
        let (outcome, _) = state_machine::apply(&mut writer.txn(SHARD), &command).unwrap();
        assert_eq!(decode::<Outcome>(&outcome).unwrap(), Outcome::Applied);
        writer.commit().unwrap();
    }

    pub(crate) fn reader(&self) -> ShardReader {
        ShardReader::new(self.store.clone(), SHARD)
    }

    #[cfg(test)]
    pub(crate) fn last_seq(&self) -> u64 {
        self.head.last_seq
    }

    /// The entity as an actor that starts now finds it.
    pub(crate) fn rebuilt(&self) -> E {
        let reader = self.reader();
        let head = match reader.get(&keys::head(&self.id)).unwrap() {
            Some(bytes) => decode(&bytes).unwrap(),
            None => Head::default(),
        };
        assert_eq!(head.last_seq, self.head.last_seq);
        E::load(&self.settings, &reader, &self.id, &head).unwrap()
    }

    /// Passivation: the state in memory goes, and is rebuilt.
    pub(crate) fn reload(&mut self) {
        self.entity = self.rebuilt();
    }
}
