//! The way in for what other nodes send.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::inbox::{Inbox, SnapshotNews};
use crate::config::{ClusterConfig, NodeId};
use crate::snapshot::{Answer, Piece, Staging};
use crate::transport::{self, DeliverError};

/// What has arrived of snapshots.
#[derive(Clone)]
pub(super) struct SharedStaging(Arc<Mutex<Staging>>);

impl SharedStaging {
    pub(super) fn new(config: &ClusterConfig) -> Self {
        Self(Arc::new(Mutex::new(Staging::new(
            config.node,
            config.max_snapshot_bytes,
        ))))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Staging> {
        // Nothing in there panics half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes in what other nodes send to this one; a transport is given one. It does not keep the cluster running.
#[derive(Clone)]
pub struct Delivery {
    node: NodeId,
    origin: Instant,
    inbox: Weak<Inbox>,
    staging: SharedStaging,
}

impl Delivery {
    pub(super) fn new(node: NodeId, inbox: &Arc<Inbox>, staging: SharedStaging) -> Self {
        Self {
            node,
            origin: Instant::now(),
            inbox: Arc::downgrade(inbox),
            staging,
        }
    }

    /// Takes in a frame that node `from` has sent. The caller has made sure that it is from that node.
    ///
    /// # Errors
    /// The frame does not read, or too many wait. Either way it is dropped, which Raft survives.
    pub fn frame(&self, from: NodeId, frame: &[u8]) -> Result<(), DeliverError> {
        let decoded = transport::decode(from, self.node, frame)?;
        match self.inbox.upgrade() {
            Some(inbox) => inbox.frame(decoded, frame.len()),
            None => Ok(()),
        }
    }

    /// Takes in a piece of a snapshot that node `from` has sent, and returns the answer to it.
    pub fn bulk(&self, from: NodeId, request: &[u8]) -> Vec<u8> {
        let (Some(piece), Some(inbox)) = (Piece::decode(request), self.inbox.upgrade()) else {
            let text = "the piece does not read, or the node is stopping".to_owned();
            return Answer::Refused(text).encode();
        };
        let (answer, whole) = self.staging.lock().take(self.origin.elapsed(), from, piece);
        if let Answer::Refused(text) = &answer {
            tracing::warn!(%from, "a snapshot is refused: {text}");
        }
        if let Some((shard, message)) = whole {
            inbox.snapshot(SnapshotNews::Received { shard, message });
        }
        answer.encode()
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
