//! The active actors of one kind of entity. An actor is started by the first request and forgotten when it has stopped.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Addr, ArbiterHandle};
use mimi_hub_cluster::ShardId;
use tokio::sync::oneshot;

use super::{Ask, AskError, Entity, EntityActor, Reply, Resign};
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
    by_id: HashMap<EntityId, Addr<EntityActor<E>>>,
    sweep_at: usize,
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
        let (reply, answer) = oneshot::channel();
        let mut ask = Ask { hash, request, reply };
        for _ in 0..2 {
            let actor = self.actor(hub, id);
            match actor.try_send(ask) {
                Ok(()) => return answer.await.unwrap_or(Err(AskError::Unavailable)),
                Err(actix::dev::SendError::Full(_)) => return Err(AskError::Overloaded),
                Err(actix::dev::SendError::Closed(back)) => {
                    self.forget(id, &actor);
                    ask = back;
                }
            }
        }
        Err(AskError::Unavailable)
    }

    /// Stops the actors of a shard that this node no longer leads.
    pub(crate) fn resign(&self, hub: &Hub, shard: ShardId) {
        let actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, actor) in &actors.by_id {
            if hub.shard_of(id) == shard {
                actor.do_send(Resign);
            }
        }
    }

    /// How many actors are active.
    pub(crate) fn active(&self) -> usize {
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        actors.by_id.retain(|_, actor| actor.connected());
        actors.by_id.len()
    }

    fn actor(&self, hub: &Arc<Hub>, id: &EntityId) -> Addr<EntityActor<E>> {
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(actor) = actors.by_id.get(id).filter(|actor| actor.connected()) {
            return actor.clone();
        }
        if actors.by_id.len() >= actors.sweep_at {
            actors.by_id.retain(|_, actor| actor.connected());
            actors.sweep_at = (2 * actors.by_id.len()).max(SWEEP_ENTRIES_MIN);
        }
        let arbiter = &self.arbiters[self.next.fetch_add(1, Ordering::Relaxed) % self.arbiters.len()];
        let (hub, id_there) = (Arc::clone(hub), id.clone());
        let actor = EntityActor::start_in_arbiter(arbiter, move |_| EntityActor::new(hub, id_there));
        actors.by_id.insert(id.clone(), actor.clone());
        actor
    }

    fn forget(&self, id: &EntityId, stopped: &Addr<EntityActor<E>>) {
        let mut actors = self.actors.lock().unwrap_or_else(PoisonError::into_inner);
        if actors.by_id.get(id) == Some(stopped) {
            actors.by_id.remove(id);
        }
    }
}
