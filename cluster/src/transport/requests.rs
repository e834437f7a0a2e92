//! One connection's queue, and the requests that wait for a response on it.
//!
//! Invariants: what waits is bounded in number and bytes; nothing waits on a connection that is down; every request ends,
//! with its response or with the reason why there will be none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::BulkReply;
use super::wire::{self, Kind};
use crate::config::NodeId;

/// Why a request to another node has no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// The time was up. It may have been carried out, or be carried out yet.
    #[error("no response in time")]
    Deadline,
    /// The connection broke while it was under way. It may have been carried out.
    #[error("the connection broke while the request was under way")]
    Lost,
    /// There is no connection at the moment. Nothing was done.
    #[error("node {to} cannot be reached: {reason}")]
    NotConnected {
        /// The node.
        to: NodeId,
        /// What the last attempt failed with.
        reason: String,
    },
    /// Too much waits already, here or there. Nothing was done.
    #[error("too much is waiting already")]
    Overloaded,
    /// Larger than any frame. Nothing was done.
    #[error("a request of {bytes} bytes, at most {limit} are possible")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// This node knows no address of that one. Nothing was done.
    #[error("node {0} is not known here")]
    UnknownPeer(NodeId),
}

/// What stands before a request's body.
const REQUEST_HEADER: usize = 12;

pub(super) struct Link {
    peer: NodeId,
    queue: mpsc::Sender<Bytes>,
    queued_bytes: AtomicUsize,
    max_bytes: usize,
    state: Mutex<State>,
}

struct State {
    /// Why the connection is down; `None` while it is up.
    down: Option<String>,
    next_id: u64,
    waiting: HashMap<u64, BulkReply>,
}

impl Link {
    /// A link that is down, and the end of the queue that whoever writes to the connection takes from.
    pub(super) fn new(peer: NodeId, max_frames: usize, max_bytes: usize) -> (Self, mpsc::Receiver<Bytes>) {
        let (queue, frames) = mpsc::channel(max_frames);
        let state = State {
            down: Some("not connected yet".to_owned()),
            next_id: 0,
            waiting: HashMap::new(),
        };
        let link = Self {
            peer,
            queue,
            queued_bytes: AtomicUsize::new(0),
            max_bytes,
            state: Mutex::new(state),
        };
        (link, frames)
    }

    /// Puts a frame in the queue.
    pub(super) fn send(&self, frame: Bytes) -> Result<(), ForwardError> {
        self.check_up(&self.lock())?;
        self.enqueue(frame)
    }

    /// Sends a request and waits for the response, until `deadline`.
    pub(super) async fn request(&self, body: &[u8], deadline: Instant) -> Result<Bytes, ForwardError> {
        let limit = wire::MAX_BODY - REQUEST_HEADER;
        if body.len() > limit {
            return Err(ForwardError::TooLarge {
                bytes: body.len(),
                limit,
            });
        }
        let budget = deadline.saturating_duration_since(Instant::now());
        let (reply, answer) = oneshot::channel();
        let id = self.begin(body, budget, reply)?;
        let _forget = Forget { link: self, id };
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(answer) => answer.unwrap_or(Err(ForwardError::Lost)),
            Err(_) => Err(ForwardError::Deadline),
        }
    }

    fn begin(&self, body: &[u8], budget: Duration, reply: BulkReply) -> Result<u64, ForwardError> {
        let mut state = self.lock();
        self.check_up(&state)?;
        state.next_id += 1;
        let id = state.next_id;
        let millis = u32::try_from(budget.as_millis()).unwrap_or(u32::MAX);
        let head = [&id.to_be_bytes()[..], &millis.to_be_bytes(), body];
        self.enqueue(wire::frame(Kind::Request, &head))?;
        state.waiting.insert(id, reply);
        Ok(id)
    }

    /// The request `id` has ended.
    pub(super) fn answer(&self, id: u64, answer: Result<Bytes, ForwardError>) {
        if let Some(reply) = self.lock().waiting.remove(&id) {
            // Whoever asked may have given up.
            let _ = reply.send(answer);
        }
    }

    /// A frame has left the queue.
    pub(super) fn dequeued(&self, frame: &Bytes) {
        self.queued_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
    }

    pub(super) fn up(&self) {
        self.lock().down = None;
    }

    /// Returns whether the reason is another one than before.
    pub(super) fn down(&self, reason: String) -> bool {
        let mut state = self.lock();
        for (_, reply) in state.waiting.drain() {
            let _ = reply.send(Err(ForwardError::Lost));
        }
        let news = state.down.as_ref() != Some(&reason);
        state.down = Some(reason);
        news
    }

    /// Why the connection is down; `None` while it is up.
    pub(super) fn trouble(&self) -> Option<String> {
        self.lock().down.clone()
    }

    fn check_up(&self, state: &State) -> Result<(), ForwardError> {
        match &state.down {
            None => Ok(()),
            Some(reason) => Err(ForwardError::NotConnected {
                to: self.peer,
                reason: reason.clone(),
            }),
        }
    }

    fn enqueue(&self, frame: Bytes) -> Result<(), ForwardError> {
        let length = frame.len();
        let before = self.queued_bytes.fetch_add(length, Ordering::Relaxed);
        // One that is larger than the limit still gets in when it is alone.
        let fits = before == 0 || before + length <= self.max_bytes;
        if !fits || self.queue.try_send(frame).is_err() {
            self.queued_bytes.fetch_sub(length, Ordering::Relaxed);
            return Err(ForwardError::Overloaded);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of a request that nobody waits for any more.
struct Forget<'a> {
    link: &'a Link,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.link.lock().waiting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(30)
    }

    #[tokio::test]
    async fn the_queue_is_bounded_in_frames_and_bytes_and_empty_while_down() {
        let (link, mut frames) = Link::new(NodeId(2), 2, 100);
        let frame = |bytes| Bytes::from(vec![0; bytes]);
        assert!(matches!(link.send(frame(1)), Err(ForwardError::NotConnected { .. })));
        link.up();
        assert_eq!(link.send(frame(500)), Ok(()));
        assert_eq!(link.send(frame(1)), Err(ForwardError::Overloaded));
        link.dequeued(&frames.recv().await.unwrap());
        assert_eq!(link.send(frame(60)), Ok(()));
        assert_eq!(link.send(frame(60)), Err(ForwardError::Overloaded));
        assert_eq!(link.send(frame(40)), Ok(()));
        link.dequeued(&frames.recv().await.unwrap());
        assert_eq!(link.send(frame(1)), Ok(()));
        assert_eq!(link.send(frame(1)), Err(ForwardError::Overloaded));
    }

    #[tokio::test]
    async fn every_request_ends() {
        let (link, _frames) = Link::new(NodeId(2), 9, 1000);
        link.up();
        let (answered, late, lost) = tokio::join!(link.request(b"1", soon()), link.request(b"2", soon()), async {
            link.answer(1, Ok(Bytes::from_static(b"one")));
            let (lost, ()) = tokio::join!(link.request(b"3", soon()), async {
                tokio::time::sleep(Duration::from_millis(60)).await;
            });
            lost
        });
        assert_eq!(answered, Ok(Bytes::from_static(b"one")));
        assert_eq!((late, lost), (Err(ForwardError::Deadline), Err(ForwardError::Deadline)));
        assert!(link.lock().waiting.is_empty());
        let later = Instant::now() + Duration::from_secs(60);
        let (lost, news) = tokio::join!(link.request(b"4", later), async { link.down("gone".to_owned()) });
        assert_eq!((lost, news), (Err(ForwardError::Lost), true));
        assert!(!link.down("gone".to_owned()));
    }
}
