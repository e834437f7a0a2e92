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
    waiting: Mutex<HashMap<EntityId, Vec<Weak<Notify>>>>,
}

impl Wakers {
    /// Wakes `waiter` when something happens to any of the entities, until it is dropped.
    pub(crate) fn register<'a>(&self, waiter: &Arc<Notify>, entities: impl IntoIterator<Item = &'a EntityId>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for entity in entities {
            let waiters = waiting.entry(entity.clone()).or_default();
            waiters.retain(|known| known.strong_count() > 0);
            waiters.push(Arc::downgrade(waiter));
        }
    }

    /// Something has been applied to the entity.
    pub(crate) fn wake(&self, entity: &EntityId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiters) = waiting.get_mut(entity) else { return };
        waiters.retain(|waiter| match waiter.upgrade() {
            Some(waiter) => {
                waiter.notify_one();
                true
            }
            None => false,
        });
        if waiters.is_empty() {
            waiting.remove(entity);
        }
    }
}
