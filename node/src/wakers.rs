//! Who waits for news of which entity on this node: long polls of event streams.
//!
//! Invariant: a waiter that registers before it looks never misses an event that is applied after it looked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use crate::entity::EntityId;

/// The waiters of this node.
#[derive(Default)]
pub(crate) struct Wakers {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    entities: HashMap<EntityId, Vec<Weak<Notify>>>,
    /// The number of entities at which those are dropped that nobody waits for.
    sweep_at: usize,
}

/// Below this many entities, sweeping is not worth it.
const SWEEP_ENTITIES_MIN: usize = 1_024;

impl Wakers {
    /// Wakes `waiter` when something happens to any of the entities, until it is dropped.
    pub(crate) fn register<'a>(&self, waiter: &Arc<Notify>, entities: impl IntoIterator<Item = &'a EntityId>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for entity in entities {
            let waiters = waiting.entities.entry(entity.clone()).or_default();
            waiters.retain(|known| known.strong_count() > 0);
            if !waiters
                .iter()
                .any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(waiter)))
            {
                waiters.push(Arc::downgrade(waiter));
            }
        }
        if waiting.entities.len() >= waiting.sweep_at {
            // Entities that nothing happens to, and that nobody waits for any more.
            waiting
                .entities
                .retain(|_, waiters| waiters.iter().any(|waiter| waiter.strong_count() > 0));
            waiting.sweep_at = (2 * waiting.entities.len()).max(SWEEP_ENTITIES_MIN);
        }
    }

    /// Something has been applied to the entity.
    pub(crate) fn wake(&self, entity: &EntityId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiters) = waiting.entities.get_mut(entity) else {
            return;
        };
        waiters.retain(|waiter| match waiter.upgrade() {
            Some(waiter) => {
                waiter.notify_one();
                true
            }
            None => false,
        });
        if waiters.is_empty() {
            waiting.entities.remove(entity);
        }
    }
}
