//! The state machine as `cluster` drives it: [`crate::state_machine`] does the applying, this glue passes on what happened
//! to whoever on this node must hear of it (delivery, event streams, the actors of a shard).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use mimi_hub_cluster::{ApplyError, EntryMeta, Leadership, ShardId, ShardTxn, StateMachine};
use tokio::sync::mpsc;

use crate::entity::EntityId;
use crate::state_machine;

/// What the node hears of its state machine.
#[derive(Debug)]
pub(crate) enum Notice {
    /// Events were applied, and are in the store.
    Applied(ShardId, Vec<AppliedEvent>),
    /// The shard is led by this node from now on, or no longer.
    Leads(ShardId, bool),
}

/// An applied event, as far as others must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AppliedEvent {
    pub(crate) entity: EntityId,
    pub(crate) seq: u64,
    /// Outbox destinations that it extended.
    pub(crate) destinations: Vec<String>,
}

pub(crate) struct Machine {
    notices: mpsc::UnboundedSender<Notice>,
    /// Applied, but perhaps not in the store yet.
    applying: Mutex<HashMap<ShardId, Vec<AppliedEvent>>>,
}

impl Machine {
    /// The receiver is bounded by what is applied, and that by what is proposed.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<Notice>) {
        let (notices, receiver) = mpsc::unbounded_channel();
        (
            Machine {
                notices,
                applying: Mutex::default(),
            },
            receiver,
        )
    }

    fn notify(&self, notice: Notice) {
        // The receiver goes when the node stops; nobody needs to hear then.
        drop(self.notices.send(notice));
    }
}

impl StateMachine for Machine {
    fn apply(&self, txn: &mut ShardTxn<'_>, entry: EntryMeta, command: &[u8]) -> Result<Vec<u8>, ApplyError> {
        let (outcome, event) = state_machine::apply(txn, command)?;
        if let Some(event) = event {
            let mut applying = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
            applying.entry(entry.shard).or_default().push(event);
        }
        Ok(outcome)
    }

    fn applied(&self, shard: ShardId, _: u64) {
        let events = self
            .applying
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&shard);
        if let Some(events) = events {
            self.notify(Notice::Applied(shard, events));
        }
    }

    fn leadership(&self, shard: ShardId, leadership: Leadership) {
        self.notify(Notice::Leads(shard, matches!(leadership, Leadership::Leader { .. })));
    }
}
