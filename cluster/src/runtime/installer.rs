//! The thread that puts snapshots that have arrived into the state store, and clears away replicas that were removed.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use mimi_hub_storage::{LogStore, StateStore};

use super::applier::Work;
use super::delivery::SharedStaging;
use super::inbox::{Inbox, SnapshotNews};
use super::sender::pause;
use crate::config::NodeId;
use crate::fatal::Fatal;
use crate::machine::StateMachine;
use crate::recovery;
use crate::shard::ShardId;
use crate::snapshot::{SnapshotId, install};

/// What the installer is told.
pub(super) enum Task {
    /// A snapshot has arrived.
    Install(SnapshotId),
    /// The replica of a shard was removed.
    Clear(ShardId),
}

pub(super) struct Installer {
    pub(super) node: NodeId,
    pub(super) log: Arc<dyn LogStore>,
    pub(super) state: Arc<dyn StateStore>,
    pub(super) machine: Arc<dyn StateMachine>,
    pub(super) staging: SharedStaging,
    pub(super) inbox: Arc<Inbox>,
    pub(super) apply: Sender<Work>,
    /// Not bounded here: there is never more than one snapshot that has arrived, and one task a shard.
    pub(super) work: Receiver<Task>,
}

impl Installer {
    /// Does what comes until nothing can come any more, or something breaks.
    pub(super) fn run(self) {
        while let Ok(task) = self.work.recv() {
            let (shard, done) = match task {
                Task::Install(id) => (id.shard, self.install(id)),
                Task::Clear(shard) => (shard, self.clear(shard)),
            };
            match done {
                Ok(Some(news)) => self.inbox.snapshot(news),
                Ok(None) => return,
                Err(cause) => {
                    self.inbox.fatal(Fatal {
                        shard: Some(shard),
                        cause,
                    });
                    return;
                }
            }
        }
    }

    /// Returns nothing when the node is stopping.
    fn clear(&self, shard: ShardId) -> Result<Option<SnapshotNews>, String> {
        // What was handed over before may still be under way.
        let Some(paused) = pause(&self.apply, shard) else {
            return Ok(None);
        };
        let (log, state) = (self.log.as_ref(), self.state.as_ref());
        let cleared =
            recovery::clear(shard, log, state).and_then(|()| recovery::recover_group(shard, self.node, log, state));
        let start = cleared.map_err(|error| error.to_string())?;
        drop(paused);
        tracing::info!(%shard, "the replica was removed, and its data with it");
        Ok(Some(SnapshotNews::Cleared(Box::new(start))))
    }

    /// Returns nothing when the node is stopping.
    fn install(&self, id: SnapshotId) -> Result<Option<SnapshotNews>, String> {
        let whole = self.staging.lock().take_whole(id);
        let Some(staged) = whole else {
            return Err(format!(
                "the snapshot at index {} is to be installed, and is not here",
                id.index
            ));
        };
        // What was handed over before has to be applied before.
        let Some(paused) = pause(&self.apply, id.shard) else {
            return Ok(None);
        };
        install(self.state.as_ref(), id, &staged.chunks).map_err(|error| error.to_string())?;
        drop(paused);
        self.machine.applied(id.shard, id.index);
        tracing::info!(shard = %id.shard, index = id.index, "a snapshot was installed");
        Ok(Some(SnapshotNews::Installed(id)))
    }
}
