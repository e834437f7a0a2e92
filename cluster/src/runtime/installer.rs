//! The thread that puts snapshots that have arrived into the state store.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use mimi_hub_storage::StateStore;

use super::applier::Work;
use super::delivery::SharedStaging;
use super::inbox::{Inbox, SnapshotNews};
use super::sender::pause;
use crate::fatal::Fatal;
use crate::machine::StateMachine;
use crate::snapshot::{SnapshotId, install};

pub(super) struct Installer {
    pub(super) state: Arc<dyn StateStore>,
    pub(super) machine: Arc<dyn StateMachine>,
    pub(super) staging: SharedStaging,
    pub(super) inbox: Arc<Inbox>,
    pub(super) apply: Sender<Work>,
    /// Not bounded here: there is never more than one snapshot that has arrived.
    pub(super) work: Receiver<SnapshotId>,
}

impl Installer {
    /// Installs what comes until nothing can come any more, or something breaks.
    pub(super) fn run(self) {
        while let Ok(id) = self.work.recv() {
            match self.install(id) {
                Ok(true) => {
                    tracing::info!(shard = %id.shard, index = id.index, "a snapshot was installed");
                    self.inbox.snapshot(SnapshotNews::Installed(id));
                }
                Ok(false) => return,
                Err(cause) => {
                    self.inbox.fatal(Fatal {
                        shard: Some(id.shard),
                        cause,
                    });
                    return;
                }
            }
        }
    }

    /// Returns whether it was installed; not when the node is stopping.
    fn install(&self, id: SnapshotId) -> Result<bool, String> {
        let whole = self.staging.lock().take_whole(id);
        let Some(staged) = whole else {
            return Err(format!(
                "the snapshot at index {} is to be installed, and is not here",
                id.index
            ));
        };
        // What was handed over before has to be applied before.
        let Some(paused) = pause(&self.apply, id.shard) else {
            return Ok(false);
        };
        install(self.state.as_ref(), id, &staged.chunks).map_err(|error| error.to_string())?;
        drop(paused);
        self.machine.applied(id.shard, id.index);
        Ok(true)
    }
}
