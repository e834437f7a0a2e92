//! The meta group's state machine, beside the owner's.

use std::sync::Arc;

use mimi_hub_storage::StateStore;
use tokio::sync::watch;

use super::state::{self, MetaCommand, MetaState};
use crate::error::ApplyError;
use crate::machine::{EntryMeta, Leadership, ShardTxn, StateMachine};
use crate::reader::ShardReader;
use crate::shard::ShardId;

/// Where the state lies in the meta group's keys.
const STATE: &[u8] = b"state";

/// What this node has applied of the meta group.
pub(crate) type MetaView = watch::Receiver<Arc<MetaState>>;

/// Gives the meta group's commands to the meta state, and every other to the owner's state machine.
pub(crate) struct WithMeta {
    owner: Arc<dyn StateMachine>,
    reader: ShardReader,
    view: watch::Sender<Arc<MetaState>>,
}

impl WithMeta {
    /// With what the state store holds.
    pub(crate) fn new(owner: Arc<dyn StateMachine>, store: Arc<dyn StateStore>, meta: ShardId) -> (Self, MetaView) {
        let (view, watched) = watch::channel(Arc::default());
        let machine = Self {
            owner,
            reader: ShardReader::new(store, meta),
            view,
        };
        machine.look();
        (machine, watched)
    }

    fn look(&self) {
        let read = self.reader.get(STATE).map_err(|error| error.to_string());
        match read.and_then(|bytes| bytes.map(|bytes| state::decode(&bytes)).transpose()) {
            Ok(Some(state)) => drop(self.view.send_replace(Arc::new(state))),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the meta group's state does not read"),
        }
    }
}

impl StateMachine for WithMeta {
    fn apply(&self, txn: &mut ShardTxn<'_>, entry: EntryMeta, command: &[u8]) -> Result<Vec<u8>, ApplyError> {
        if entry.shard != self.reader.shard() {
            return self.owner.apply(txn, entry, command);
        }
        let command: MetaCommand = state::decode(command).map_err(ApplyError::Broken)?;
        let mut meta: MetaState = match txn.get(STATE)? {
            Some(bytes) => state::decode(&bytes).map_err(ApplyError::Broken)?,
            None => MetaState::default(),
        };
        let outcome = meta.apply(command);
        if outcome.is_ok() {
            txn.put(STATE, state::encode(&meta).map_err(ApplyError::Broken)?);
        }
        state::encode(&outcome).map_err(ApplyError::Broken)
    }

    fn applied(&self, shard: ShardId, up_to: u64) {
        if shard == self.reader.shard() {
            self.look();
        } else {
            self.owner.applied(shard, up_to);
        }
    }

    fn leadership(&self, shard: ShardId, state: Leadership) {
        if shard != self.reader.shard() {
            self.owner.leadership(shard, state);
        }
    }
}
