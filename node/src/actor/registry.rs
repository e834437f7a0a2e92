//! The active actors of one kind of entity. An actor is started by the first request and forgotten when it has stopped.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Addr, ArbiterHandle};
use mimi_hub_cluster::ShardId;
use tokio::sync::{Semaphore, oneshot};

use super::{Ask, AskError, Entity, EntityActor, MAILBOX_REQUESTS_MAX, Reply, Resign};
use crate::command::RequestHash;
use crate::entity::EntityId;
use crate::hub::Hub;

/// The entries are swept of stopped actors when the map has doubled since the last sweep.
const SWEEP_ENTRIES_MIN: usize = 1_024;

/// Starts and finds the actors of one kind.
pub(crate) struct Registry<E: Entity> {
    arbiters: Vec<ArbiterHandle>,
    next: AtomicUsize,
    actors: Mutex<Actors<E>>,
}

struct Actors<E: Entity> {
    by_id: HashMap<EntityId, Active<E>>,
    sweep_at: usize,
}

/// An actor and the free places in its mailbox. They are counted here: actix bounds what one sender sends, and every clone
/// of an address is another sender.
struct Active<E: Entity> {
    actor: Addr<EntityActor<E>>,
    places: Arc<Semaphore>,
}

impl<E: Entity> Clone for Active<E> {
    fn clone(&self) -> Self {
        Active {
            actor: self.actor.clone(),
            places: Arc::clone(&self.places),
        }
    }
}

impl<E: Entity> Registry<E> {
    pub(crate) fn new(arbiters: Vec<ArbiterHandle>) -> Self {
        Registry {
            arbiters,
            next: AtomicUsize::new(0),
            actors: Mutex::new(Actors {
                by_id: HashMap::new(),
                sweep_at: SWEEP_ENTRIES_MIN,
            }),
        }
    }

    /// Asks the entity's actor, and starts it if need be. An actor that stops meanwhile is asked again once.
    ///
    /// # Errors
    /// See [`AskError`].
    pub(crate) async fn ask(
        &self,
        hub: &Arc<Hub>,
        id: &EntityId,
        hash: Option<RequestHash>,
        request: E::Request,
    ) -> Result<Reply<E::Answer>, AskError> {
        let (mut request, (mut reply, answer)) = (request, oneshot::channel());
        for _ in 0..2 {
            let Active { actor, places } = self.actor(hub, id);
            let place = places.try_acquire_owned().map_err(|_| AskError::Overloaded)?;
            let ask = Ask {
                hash,
                request,
                reply,
                place,
            };
            match actor.try_send(ask) {
                Ok(()) => return answer.await.unwrap_or(Err(AskError::Unavailable)),
                Err(actix::dev::SendError::Full(_)) => return Err(AskError::Overloaded),
                Err(actix::dev::SendError::Closed(back)) => {
                    self.forget(id, &actor);
                    (request, reply) = (back.request, back.reply);
                }
            }
        }
        Err(AskError::Unavailable)
    }

    /// Stops the actors of a shard that this node no longer leads.
    pub(crate) fn resign(&self, hub: &Hub, shard: ShardId) {
        let actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, active) in &actors.by_id {
            if hub.shard_of(id) == shard {
                active.actor.do_send(Resign);
            }
        }
    }

    /// How many actors are active.
    pub(crate) fn active(&self) -> usize {
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        actors.by_id.retain(|_, active| active.actor.connected());
        actors.by_id.len()
    }

    fn actor(&self, hub: &Arc<Hub>, id: &EntityId) -> Active<E> {
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(active) = actors.by_id.get(id).filter(|active| active.actor.connected()) {
            return active.clone();
        }
        if actors.by_id.len() >= actors.sweep_at {
            actors.by_id.retain(|_, active| active.actor.connected());
            actors.sweep_at = (2 * actors.by_id.len()).max(SWEEP_ENTRIES_MIN);
        }
        let arbiter = &self.arbiters[self.next.fetch_add(1, Ordering::Relaxed) % self.arbiters.len()];
        let (hub, id_there) = (Arc::clone(hub), id.clone());
        let actor = EntityActor::start_in_arbiter(arbiter, move |_| EntityActor::new(hub, id_there));
        let active = Active {
            actor,
            places: Arc::new(Semaphore::new(MAILBOX_REQUESTS_MAX)),
        };
        actors.by_id.insert(id.clone(), active.clone());
        active
    }

    fn forget(&self, id: &EntityId, stopped: &Addr<EntityActor<E>>) {
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        if actors.by_id.get(id).is_some_and(|active| active.actor == *stopped) {
            actors.by_id.remove(id);
        }
    }
}
