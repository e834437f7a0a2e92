//! Delivery: every destination of a room's events (a follower provider, or this provider's own users' room lists) is a
//! cursor into the room's log. One actor per destination moves the cursors on; the log is the only copy of a message.
//!
//! Invariants:
//! - events of one room reach one destination in their order, one request at a time;
//! - a cursor moves only when the destination has confirmed; it is replicated lazily, so that a failover may send again
//!   and never skips;
//! - a destination that does not answer holds back nobody else, and a room that one refuses does not hold back the others.

mod consent;
mod destination;
mod local;
mod provider;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Addr, ArbiterHandle};
use mimi_hub_cluster::ShardId;
use tracing::warn;

use self::destination::{Destination, Extend, Forget};
use crate::command::{LOCAL, OutboxCursor, decode};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::hub::Hub;
use crate::keys;
use crate::machine::AppliedEvent;
use crate::read;

/// All destinations that this node has something for, or had.
pub(crate) struct Delivery {
    arbiters: Vec<ArbiterHandle>,
    destinations: Mutex<HashMap<String, Addr<Destination>>>,
}

impl Delivery {
    pub(crate) fn new(arbiters: Vec<ArbiterHandle>) -> Self {
        Delivery {
            arbiters,
            destinations: Mutex::default(),
        }
    }

    /// This node leads the shard now: everything unconfirmed in it is this node's work.
    pub(crate) fn take_over(&self, hub: &Arc<Hub>, shard: ShardId) -> Result<(), NodeError> {
        for (key, value) in read::prefix(&hub.cluster().reader(shard), keys::OUTBOXES)? {
            let Some((entity, destination)) = keys::parse_outbox(&key) else {
                warn!(?shard, "an outbox record's key is not understood: skipped");
                continue;
            };
            let cursor: OutboxCursor = decode(&value)?;
            self.extend(hub, entity, cursor, &destination);
        }
        Ok(())
    }

    /// Another node leads the shard now.
    pub(crate) fn hand_over(&self, shard: ShardId) {
        for destination in self
            .destinations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
        {
            destination.do_send(Forget(shard));
        }
    }

    /// An event has been applied.
    pub(crate) fn applied(&self, hub: &Arc<Hub>, event: &AppliedEvent) {
        for destination in &event.destinations {
            let cursor = OutboxCursor {
                confirmed_seq: event.seq - 1,
                last_seq: event.seq,
            };
            self.extend(hub, event.entity.clone(), cursor, destination);
        }
    }

    fn extend(&self, hub: &Arc<Hub>, entity: EntityId, cursor: OutboxCursor, destination: &str) {
        let mut destinations = self.destinations.lock().unwrap_or_else(PoisonError::into_inner);
        let actor = match destinations.get(destination).filter(|actor| actor.connected()) {
            Some(actor) => actor,
            None => {
                let Some(actor) = self.start(hub, destination) else {
                    return;
                };
                destinations.insert(destination.to_owned(), actor);
                &destinations[destination]
            }
        };
        // Not bounded by the mailbox: what is extended is durable, and dropping the message would delay it until the next
        // change of leader. The sender is the apply loop, which is bounded by what is proposed.
        actor.do_send(Extend { entity, cursor });
    }

    fn start(&self, hub: &Arc<Hub>, destination: &str) -> Option<Addr<Destination>> {
        let provider = match destination {
            LOCAL => None,
            domain => match domain.parse() {
                Ok(domain) => Some(domain),
                Err(error) => {
                    warn!(domain, %error, "a destination is not a domain: its events stay");
                    return None;
                }
            },
        };
        let mut hash = 0usize;
        for byte in destination.bytes() {
            hash = hash.wrapping_mul(31).wrapping_add(byte.into());
        }
        let arbiter = &self.arbiters[hash % self.arbiters.len()];
        let hub = Arc::clone(hub);
        let name = destination.to_owned();
        Some(Destination::start_in_arbiter(arbiter, move |_| {
            Destination::new(hub, name, provider)
        }))
    }
}
