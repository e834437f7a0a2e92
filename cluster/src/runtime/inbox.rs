//! Where everything for the worker waits.
//!
//! Invariants: requests are taken in the order they were put; they wait in bounded number and bytes. Reports of the other
//! threads are merged, so that they take no more room than there are shards.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use raft::eraftpb::Message;
use tokio::sync::{oneshot, watch};

use super::cluster::Outcome;
use crate::config::NodeId;
use crate::core::{Frame, GroupStart};
use crate::error::ProposeError;
use crate::fatal::Fatal;
use crate::members::MemberStep;
use crate::shard::ShardId;
use crate::snapshot::SnapshotId;
use crate::transport::DeliverError;

/// Where a proposal's outcome goes.
pub(super) type ProposalReply = oneshot::Sender<Result<Outcome, ProposeError>>;
/// Where a read's permission goes.
pub(super) type ReadReply = oneshot::Sender<Result<(), ProposeError>>;

/// Something that a user of the cluster waits for.
#[derive(Debug)]
pub(super) enum Request {
    Propose {
        shard: ShardId,
        data: Vec<u8>,
        reply: ProposalReply,
    },
    Read {
        shard: ShardId,
        reply: ReadReply,
    },
    Transfer {
        shard: ShardId,
        to: NodeId,
    },
    ChangeMembers {
        shard: ShardId,
        steps: Vec<MemberStep>,
        reply: ProposalReply,
    },
    /// Who should lead which shard.
    Prefer(BTreeMap<ShardId, NodeId>),
}

/// What has become of a snapshot, or of a replica that was removed.
#[derive(Debug)]
pub(super) enum SnapshotNews {
    /// The state store has taken it.
    Installed(SnapshotId),
    /// A replica that was removed is gone; what it begins anew with.
    Cleared(Box<GroupStart>),
    /// It has arrived whole.
    Received { shard: ShardId, message: Message },
    /// It has reached the other node, or has not.
    Sent {
        shard: ShardId,
        to: NodeId,
        delivered: bool,
    },
}

/// Everything that waited.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) requests: Vec<Request>,
    /// From other nodes, in the order they came.
    pub(super) frames: Vec<Frame>,
    /// Not bounded here: few are under way at a time.
    pub(super) snapshots: Vec<SnapshotNews>,
    /// How far the applier has come.
    pub(super) applied: BTreeMap<ShardId, u64>,
    /// How far the flusher has come.
    pub(super) flushed: BTreeMap<ShardId, u64>,
    /// Another thread cannot go on.
    pub(super) fatal: Option<Fatal>,
    /// The node is about to stop: leaderships are to be given away.
    pub(super) leaving: bool,
    /// It stops as soon as they are.
    pub(super) parting: bool,
    /// No requests will come any more.
    pub(super) stopping: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.requests.is_empty()
            && self.frames.is_empty()
            && self.snapshots.is_empty()
            && self.applied.is_empty()
            && self.flushed.is_empty()
            && self.fatal.is_none()
    }
}

pub(super) struct Inbox {
    state: Mutex<State>,
    wake: Condvar,
    max_queued: usize,
    max_queued_bytes: usize,
    /// Whether what could be given away is, or there was no more time.
    given_away: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    waiting: Waiting,
    bytes: usize,
    frame_bytes: usize,
    /// The worker does not know of `leaving` or `stopping` yet.
    news: bool,
}

impl Inbox {
    pub(super) fn new(max_queued: usize, max_queued_bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            max_queued,
            max_queued_bytes,
            given_away: watch::Sender::new(false),
        }
    }

    /// Puts a request in, or gives it back with the reason why not.
    pub(super) fn request(&self, request: Request) -> Result<(), (Request, ProposeError)> {
        let bytes = match &request {
            Request::Propose { data, .. } => data.len(),
            Request::Read { .. } | Request::ChangeMembers { .. } | Request::Transfer { .. } | Request::Prefer(_) => 0,
        };
        let mut state = self.lock();
        if state.waiting.stopping {
            return Err((request, ProposeError::ShuttingDown));
        }
        let fits = state.waiting.requests.len() < self.max_queued && state.bytes + bytes <= self.max_queued_bytes;
        if !fits {
            return Err((request, ProposeError::Overloaded));
        }
        state.bytes += bytes;
        state.waiting.requests.push(request);
        self.wake.notify_one();
        Ok(())
    }

    /// Puts in a frame that was `bytes` long, unless too many of them wait.
    pub(super) fn frame(&self, frame: Frame, bytes: usize) -> Result<(), DeliverError> {
        let mut state = self.lock();
        // One that is larger than the limit still gets in when it is alone.
        let fits = state.frame_bytes == 0 || state.frame_bytes + bytes <= self.max_queued_bytes;
        if !fits || state.waiting.frames.len() >= self.max_queued {
            return Err(DeliverError::Overloaded);
        }
        state.frame_bytes += bytes;
        state.waiting.frames.push(frame);
        self.wake.notify_one();
        Ok(())
    }

    pub(super) fn snapshot(&self, news: SnapshotNews) {
        self.lock().waiting.snapshots.push(news);
        self.wake.notify_one();
    }

    pub(super) fn applied(&self, shard: ShardId, index: u64) {
        self.lock().waiting.applied.insert(shard, index);
        self.wake.notify_one();
    }

    pub(super) fn flushed(&self, shards: impl IntoIterator<Item = (ShardId, u64)>) {
        self.lock().waiting.flushed.extend(shards);
        self.wake.notify_one();
    }

    pub(super) fn fatal(&self, fatal: Fatal) {
        self.lock().waiting.fatal.get_or_insert(fatal);
        self.wake.notify_one();
    }

    /// The node is about to stop.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        state.waiting.leaving = true;
        state.news = true;
        self.wake.notify_one();
    }

    /// The node stops as soon as it has left.
    pub(super) fn part(&self) {
        self.lock().waiting.parting = true;
        self.leave();
    }

    /// The worker has given away what it could.
    pub(super) fn gave_away(&self) {
        self.given_away
            .send_if_modified(|given_away| !std::mem::replace(given_away, true));
    }

    /// Becomes true with [`gave_away`](Self::gave_away), or with the end of the worker.
    pub(super) fn given_away(&self) -> watch::Receiver<bool> {
        self.given_away.subscribe()
    }

    /// Refuses requests from now on.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.waiting.stopping = true;
        state.news = true;
        self.wake.notify_one();
    }

    /// Takes everything that waits; waits for something for at most `timeout`.
    pub(super) fn take(&self, timeout: Duration) -> Waiting {
        let state = self.lock();
        let (mut state, _) = self
            .wake
            .wait_timeout_while(state, timeout, |state| state.waiting.is_empty() && !state.news)
            .unwrap_or_else(PoisonError::into_inner);
        state.bytes = 0;
        state.frame_bytes = 0;
        state.news = false;
        let Waiting {
            leaving,
            parting,
            stopping,
            ..
        } = state.waiting;
        std::mem::replace(
            &mut state.waiting,
            Waiting {
                leaving,
                parting,
                stopping,
                ..Waiting::default()
            },
        )
    }

    /// Refuses what still waits, once nobody takes it any more.
    pub(super) fn close(&self) {
        self.stop();
        self.gave_away();
        for request in self.take(Duration::ZERO).requests {
            match request {
                Request::Propose { reply, .. } | Request::ChangeMembers { reply, .. } => {
                    drop(reply.send(Err(ProposeError::ShuttingDown)));
                }
                Request::Read { reply, .. } => drop(reply.send(Err(ProposeError::ShuttingDown))),
                Request::Transfer { .. } | Request::Prefer(_) => {}
            }
        }
    }

    /// How many requests wait.
    pub(super) fn queued(&self) -> usize {
        self.lock().waiting.requests.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn propose(inbox: &Inbox, bytes: usize) -> Result<(), ProposeError> {
        let (reply, _) = oneshot::channel();
        let request = Request::Propose {
            shard: ShardId(0),
            data: vec![0; bytes],
            reply,
        };
        inbox.request(request).map_err(|(_, error)| error)
    }

    #[test]
    fn a_full_inbox_refuses_by_count_and_by_bytes() {
        let inbox = Inbox::new(2, 100);
        assert_eq!(propose(&inbox, 60), Ok(()));
        assert_eq!(propose(&inbox, 60), Err(ProposeError::Overloaded));
        assert_eq!(propose(&inbox, 40), Ok(()));
        assert_eq!(propose(&inbox, 0), Err(ProposeError::Overloaded));
        assert_eq!(inbox.take(Duration::ZERO).requests.len(), 2);
        assert_eq!(propose(&inbox, 100), Ok(()));
    }

    #[test]
    fn frames_wait_in_bounded_bytes_apart_from_requests() {
        let inbox = Inbox::new(9, 100);
        let frame = || Frame {
            from: crate::NodeId(1),
            to: crate::NodeId(2),
            messages: Vec::new(),
        };
        assert_eq!(inbox.frame(frame(), 500), Ok(()));
        assert_eq!(inbox.frame(frame(), 1), Err(DeliverError::Overloaded));
        assert_eq!(propose(&inbox, 100), Ok(()));
        assert_eq!(inbox.take(Duration::ZERO).frames.len(), 1);
        assert_eq!(inbox.frame(frame(), 60), Ok(()));
        assert_eq!(inbox.frame(frame(), 40), Ok(()));
        assert_eq!(inbox.frame(frame(), 1), Err(DeliverError::Overloaded));
    }

    #[test]
    fn a_stopped_inbox_wakes_the_worker_once_and_takes_nothing_new() {
        let inbox = Inbox::new(2, 100);
        assert_eq!(propose(&inbox, 1), Ok(()));
        inbox.stop();
        assert_eq!(propose(&inbox, 1), Err(ProposeError::ShuttingDown));
        let waiting = inbox.take(Duration::from_secs(60));
        assert!(waiting.stopping && waiting.requests.len() == 1);
        let begun = std::time::Instant::now();
        assert!(inbox.take(Duration::from_millis(20)).stopping);
        assert!(begun.elapsed() >= Duration::from_millis(20));
    }
}
