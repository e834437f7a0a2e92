//! The thread that makes the state store durable, and with that lets the logs be compacted.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use mimi_hub_storage::{LogStore, StateStore, StorageError};

use super::board::Board;
use super::inbox::Inbox;
use crate::fatal::Fatal;

pub(super) struct Flusher {
    pub(super) state: Arc<dyn StateStore>,
    pub(super) log: Arc<dyn LogStore>,
    pub(super) board: Arc<Board>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) interval: Duration,
    /// Disconnected when the node stops.
    pub(super) stop: Receiver<()>,
}

impl Flusher {
    /// Flushes every now and then until the node stops.
    pub(super) fn run(self) {
        while self.stop.recv_timeout(self.interval) == Err(RecvTimeoutError::Timeout) {
            if let Err(error) = self.flush() {
                self.inbox.fatal(Fatal {
                    shard: None,
                    cause: error.to_string(),
                });
                return;
            }
        }
    }

    fn flush(&self) -> Result<(), StorageError> {
        // Looked up before the flush, and on the board after the write: what is there is covered.
        let applied: Vec<_> = self
            .board
            .shards()
            .map(|status| (status.shard, status.applied))
            .collect();
        self.state.flush()?;
        self.inbox.flushed(applied);
        self.log.reclaim()
    }
}
