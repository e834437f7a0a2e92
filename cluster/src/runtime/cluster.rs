//! The handle to a running cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use mimi_hub_storage::{LogStore, StateStore};
use tokio::sync::{oneshot, watch};

use super::board::{Board, Checksum, ClusterStatus, ShardStatus};
use super::delivery::{Delivery, SharedStaging};
use super::inbox::{Inbox, Request};
use super::worker::{Seams, Stores, Worker};
use crate::config::{ClusterConfig, NodeId};
use crate::entry;
use crate::error::{ClusterError, ConfigError, ProposeError};
use crate::machine::{Leadership, StateMachine};
use crate::members::MemberStep;
use crate::meta::{self, Driver, MetaCommand, MetaError, MetaState, MetaView, WithMeta, meta_shard};
use crate::reader::ShardReader;
use crate::recovery;
use crate::shard::ShardId;
use crate::transport::{DeliverError, NoPeers, Transport};

/// This node's part of a cluster. Clones are handles to the same one; it stops when told to, or with the last of them.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    node: NodeId,
    shards: u32,
    meta: Option<MetaView>,
    max_command_bytes: usize,
    inbox: Arc<Inbox>,
    board: Arc<Board>,
    delivery: Delivery,
    state: Arc<dyn StateStore>,
    stopped: watch::Receiver<bool>,
}

impl Cluster {
    /// Starts this node's replicas from what the stores hold, or creates the cluster when they are empty.
    ///
    /// Shards with this node as their only replica are led by it within the first log write; a proposal made right after
    /// the start finds them led. Entries that the state store lost in a crash are applied again from the log; a read
    /// barrier waits for that, a bare read does not.
    ///
    /// # Errors
    /// The configuration contradicts itself or the stores, the stores contradict each other, or they fail.
    pub async fn start(
        config: ClusterConfig,
        log: Arc<dyn LogStore>,
        state: Arc<dyn StateStore>,
        machine: Arc<dyn StateMachine>,
    ) -> Result<Self, ClusterError> {
        if config.nodes.len() > 1 {
            return Err(ConfigError::NoTransport(config.nodes.len()).into());
        }
        Self::start_with_transport(config, log, state, machine, Arc::new(NoPeers)).await
    }

    /// Like [`start`](Self::start), for a cluster of several nodes: with a [`ClusterNetwork`](crate::ClusterNetwork), or
    /// any other transport that gives what arrives to the [`Delivery`] it is connected with.
    ///
    /// A shard of several replicas elects a leader within an election timeout. A replica that lags is served from the log,
    /// or with a snapshot when it lacks more than `max_lag_entries`.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub async fn start_with_transport(
        config: ClusterConfig,
        log: Arc<dyn LogStore>,
        state: Arc<dyn StateStore>,
        machine: Arc<dyn StateMachine>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, ClusterError> {
        config.validate()?;
        let inbox = Arc::new(Inbox::new(config.max_queued, config.max_queued_bytes));
        let board = Arc::new(Board::new(config.groups()));
        let staging = SharedStaging::new(&config);
        let delivery = Delivery::new(config.node, &inbox, staging.clone());
        let (stopped, watched) = watch::channel(false);
        let (machine, meta) = match &config.meta {
            Some(_) => {
                let (machine, view) = WithMeta::new(machine, state.clone(), meta_shard(config.shards));
                (Arc::new(machine) as Arc<dyn StateMachine>, Some(view))
            }
            None => (machine, None),
        };
        let driver = config
            .meta
            .clone()
            .map(|meta| (meta, config.nodes.clone(), transport.clone()));
        let inner = Inner {
            node: config.node,
            shards: config.shards,
            meta,
            max_command_bytes: config.max_command_bytes,
            inbox: inbox.clone(),
            board: board.clone(),
            delivery: delivery.clone(),
            state: state.clone(),
            stopped: watched,
        };
        transport.connect(delivery);
        let (begun, started) = oneshot::channel();
        let stores = Stores { log, state };
        let seams = Seams {
            machine,
            transport,
            staging,
        };
        // Recovery reads the disk: on the worker's own thread, not on the caller's.
        let run = move || {
            let recovered = recovery::recover(&config, stores.log.as_ref(), stores.state.as_ref());
            let worker = recovered.and_then(|groups| Worker::new(&config, groups, stores, seams, inbox, board));
            match worker {
                Ok(worker) => {
                    if begun.send(Ok(())).is_ok() {
                        worker.run();
                    }
                }
                // Nobody is left to be told when the caller has gone away.
                Err(error) => drop(begun.send(Err(error))),
            }
            stopped.send_replace(true);
        };
        std::thread::Builder::new()
            .name("raft".to_owned())
            .spawn(run)
            .map_err(ClusterError::Thread)?;
        match started.await {
            Ok(Ok(())) => {
                let cluster = Self { inner: Arc::new(inner) };
                if let Some((config, founders, transport)) = driver {
                    let driver = Driver {
                        cluster: WeakCluster(Arc::downgrade(&cluster.inner)),
                        transport,
                        config,
                        founders,
                    };
                    tokio::spawn(driver.run());
                }
                Ok(cluster)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ClusterError::Thread(std::io::Error::other(
                "the worker panicked while it started",
            ))),
        }
    }

    /// The number of shards.
    pub fn shards(&self) -> u32 {
        self.inner.shards
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// Proposes a command to `shard`.
    ///
    /// It is enqueued before this returns: of the calls of one thread, and of calls that happen one after the other, those
    /// that enter the shard's log enter it in their order. One may still be refused with a later one going in
    /// ([`ProposeError::Overloaded`]), so a command has to carry what it builds on.
    ///
    /// The future ends when the command has been committed *and* applied here, with what the state machine returned.
    /// Dropping it does not withdraw the command.
    pub fn propose(&self, shard: ShardId, command: impl AsRef<[u8]>) -> Proposal {
        self.propose_to(shard, shard.0 < self.inner.shards, command.as_ref())
    }

    fn propose_to(&self, shard: ShardId, exists: bool, command: &[u8]) -> Proposal {
        self.propose_entry(shard, exists, entry::encode(command))
    }

    fn propose_entry(&self, shard: ShardId, exists: bool, data: Vec<u8>) -> Proposal {
        let (reply, answer) = oneshot::channel();
        // The format stands before the command.
        let (bytes, limit) = (data.len() - 1, self.inner.max_command_bytes);
        let refused = if !exists {
            Some((reply, ProposeError::NoSuchShard(shard)))
        } else if bytes > limit {
            Some((reply, ProposeError::TooLarge { bytes, limit }))
        } else {
            match self.inner.inbox.request(Request::Propose { shard, data, reply }) {
                Err((Request::Propose { reply, .. }, error)) => Some((reply, error)),
                Ok(()) | Err(_) => None,
            }
        };
        if let Some((reply, error)) = refused {
            // The receiver is still in our hands.
            let _ = reply.send(Err(error));
        }
        Proposal { answer }
    }

    /// Gives the leadership of `shard` to node `to`, if this node has it and that one has a vote and lacks nothing. Whether it
    /// did is to be seen from [`leadership`](Self::leadership). The nodes give leaderships back to whom they are spread over by
    /// themselves, after a while.
    pub fn transfer(&self, shard: ShardId, to: NodeId) {
        // A refusal is as good as a transfer that fails.
        let _ = self.inner.inbox.request(Request::Transfer { shard, to });
    }

    /// Changes who has a replica of `shard`, in one step: several nodes at once through joint consensus. To be asked of the
    /// leader. The future ends when the change is under way and recorded; the old voters are needed until
    /// [`Members::outgoing`](crate::Members::outgoing) of [`status`](Self::status) is empty again.
    ///
    /// A replica moves as [`MemberStep::Learn`], and once that has caught up, [`MemberStep::Promote`] together with
    /// [`MemberStep::Remove`].
    pub fn change_members(&self, shard: ShardId, steps: Vec<MemberStep>) -> Proposal {
        let (reply, answer) = oneshot::channel();
        let request = Request::ChangeMembers { shard, steps, reply };
        if let Err((Request::ChangeMembers { reply, .. }, error)) = self.inner.inbox.request(request) {
            // The receiver is still in our hands.
            let _ = reply.send(Err(error));
        }
        Proposal { answer }
    }

    /// Waits until this node's state of `shard` holds everything that was acknowledged before the call (ReadIndex): a read
    /// of [`reader`](Self::reader) after it is linearizable.
    ///
    /// # Errors
    /// Those of a proposal, but never [`ProposeError::Unknown`]: a read may always be tried again.
    pub async fn read_barrier(&self, shard: ShardId) -> Result<(), ProposeError> {
        let (reply, answer) = oneshot::channel();
        self.inner
            .inbox
            .request(Request::Read { shard, reply })
            .map_err(|(_, error)| error)?;
        answer.await.unwrap_or(Err(ProposeError::ShuttingDown))
    }

    /// Takes in a frame that node `from` has sent. The caller has made sure that it is from that node.
    ///
    /// # Errors
    /// The frame does not read, or too many wait. Either way it is dropped, which Raft survives.
    pub fn deliver(&self, from: NodeId, frame: &[u8]) -> Result<(), DeliverError> {
        self.inner.delivery.frame(from, frame)
    }

    /// Reads what this node has applied of `shard`.
    pub fn reader(&self, shard: ShardId) -> ShardReader {
        ShardReader::new(self.inner.state.clone(), shard)
    }

    /// This node's part in `shard`. Of a shard that does not exist, it follows nobody.
    pub fn leadership(&self, shard: ShardId) -> Leadership {
        let status = self.inner.board.shard(shard);
        status.map_or(Leadership::Follower { leader: None }, |status| status.leadership)
    }

    /// Whether this node has a replica of `shard`, for all it knows.
    pub fn has_replica(&self, shard: ShardId) -> bool {
        let status = self.inner.board.shard(shard);
        status.is_some_and(|status| status.members.contains(self.inner.node))
    }

    /// Where this node stands.
    pub fn status(&self) -> ClusterStatus {
        ClusterStatus {
            node: self.inner.node,
            queued: self.inner.inbox.queued(),
            unapplied_bytes: self.inner.board.unapplied_bytes(),
            shards: self.inner.board.shards().take(self.inner.shards as usize).collect(),
        }
    }

    /// Has every replica of `shard` compute a checksum of its state at the same place. To be asked of the leader; the outcome
    /// is its own checksum and the index that it is of. See [`checksum`](Self::checksum) for the others'.
    ///
    /// Every replica reads the shard whole while its applier waits: for now and then.
    ///
    /// # Errors
    /// Those of a proposal, and [`ProposeError::HeldBack`] while a node is too old for it.
    pub async fn check(&self, shard: ShardId) -> Result<(u64, Checksum), ProposeError> {
        let format = 2;
        if self.meta().is_none_or(|state| state.format < format) {
            return Err(ProposeError::HeldBack { format });
        }
        let exists = shard.0 < self.inner.shards;
        let outcome = self.propose_entry(shard, exists, entry::encode_check()).await?;
        let checksum = outcome.bytes.try_into().map_err(|_| ProposeError::Unknown)?;
        Ok((outcome.index, checksum))
    }

    /// The last checksum that this node has computed of `shard`, and the index that it is of.
    pub fn checksum(&self, shard: ShardId) -> Option<(u64, Checksum)> {
        self.inner.board.checksum(shard)
    }

    /// What this node has applied of the meta group; `None` when the cluster has none.
    pub fn meta(&self) -> Option<Arc<MetaState>> {
        self.inner.meta.as_ref().map(|view| view.borrow().clone())
    }

    /// Waits until `wanted` holds of what this node has applied of the meta group.
    ///
    /// # Errors
    /// There is no meta group, or the node stops.
    pub async fn meta_when(&self, wanted: impl FnMut(&Arc<MetaState>) -> bool) -> Result<Arc<MetaState>, ProposeError> {
        let mut view = self
            .inner
            .meta
            .clone()
            .ok_or(ProposeError::NoSuchShard(self.meta_shard()))?;
        let state = view.wait_for(wanted).await.map_err(|_| ProposeError::ShuttingDown)?;
        Ok(state.clone())
    }

    /// The meta group, as a shard: for [`leadership`](Self::leadership) and [`transfer`](Self::transfer).
    pub fn meta_shard(&self) -> ShardId {
        meta_shard(self.inner.shards)
    }

    /// Whether this node leads the meta group.
    pub fn leads_meta(&self) -> bool {
        self.inner.meta.is_some() && matches!(self.leadership(self.meta_shard()), Leadership::Leader { .. })
    }

    /// Changes the meta state. To be asked of the meta group's leader.
    ///
    /// # Errors
    /// Those of a proposal; inside, why the command changed nothing.
    pub async fn change_meta(&self, command: &MetaCommand) -> Result<Result<(), MetaError>, ProposeError> {
        let bytes = meta::encode(command).map_err(|_| ProposeError::Unknown)?;
        let outcome = self
            .propose_to(self.meta_shard(), self.inner.meta.is_some(), &bytes)
            .await?;
        meta::decode(&outcome.bytes).map_err(|_| ProposeError::Unknown)
    }

    /// Where this node's replicas of all groups stand, that of the meta group last.
    pub(crate) fn groups(&self) -> Vec<ShardStatus> {
        self.inner.board.shards().collect()
    }

    /// Where this node stands in the meta group; `None` when there is none.
    pub fn meta_status(&self) -> Option<ShardStatus> {
        self.inner.board.shard(self.meta_shard())
    }

    /// For how long another node has not been heard of. Zero when it was never waited for.
    pub fn silence(&self, node: NodeId) -> Duration {
        self.inner.board.silence(node).unwrap_or_default()
    }

    /// Says who should lead which shard. Returns whether the worker will hear it.
    pub(crate) fn prefer(&self, leaders: BTreeMap<ShardId, NodeId>) -> bool {
        self.inner.inbox.request(Request::Prefer(leaders)).is_ok()
    }

    /// Gives this node's leaderships to other nodes, and campaigns for none any more; for no longer than the configured grace.
    /// Everything else goes on, so that what is asked of this node can be passed on to those who lead now. To be followed by
    /// [`stop`](Self::stop).
    pub async fn hand_over(&self) {
        let mut given_away = self.inner.inbox.given_away();
        self.inner.inbox.leave();
        // The inbox lives as long as this handle.
        let _ = given_away.wait_for(|given_away| *given_away).await;
    }

    /// Stops this node's part: gives its leaderships to other nodes, refuses new requests, finishes those under way (each
    /// for no longer than the configured grace), flushes the state store and ends the threads. Until the leaderships are
    /// given away, requests are carried out or refused with the new leader's name. The stores close when every handle and
    /// reader is gone; dropping the last handle stops, too, but gives nothing away.
    pub async fn stop(&self) {
        self.inner.inbox.part();
        let mut stopped = self.inner.stopped.clone();
        // An error means that the worker is gone, too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

/// Does not keep the cluster running.
pub(crate) struct WeakCluster(Weak<Inner>);

impl WeakCluster {
    pub(crate) fn upgrade(&self) -> Option<Cluster> {
        self.0.upgrade().map(|inner| Cluster { inner })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.inbox.stop();
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("node", &self.inner.node)
            .field("shards", &self.shards())
            .finish_non_exhaustive()
    }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its index in the shard's log.
    pub index: u64,
    /// What the state machine returned.
    pub bytes: Vec<u8>,
}

/// A command under way; see [`Cluster::propose`].
#[derive(Debug)]
#[must_use = "the command may be refused, and only the proposal says so"]
pub struct Proposal {
    answer: oneshot::Receiver<Result<Outcome, ProposeError>>,
}

impl Future for Proposal {
    type Output = Result<Outcome, ProposeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Whoever gave up without an answer may have written the entry before.
        Pin::new(&mut self.answer)
            .poll(cx)
            .map(|answer| answer.unwrap_or(Err(ProposeError::Unknown)))
    }
}
