//! The thread that drives the core.
//!
//! One turn: take everything that waits, step, do what the step asks for. The log write of a turn serves every group, and
//! what arrives while the disk is busy is the next turn's (group commit).

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mimi_hub_storage::{Durability, LogStore, StateStore};
use raft::eraftpb::Message;

use super::applier::{Applier, Committed, Work};
use super::board::Board;
use super::delivery::SharedStaging;
use super::flusher::Flusher;
use super::inbox::{Inbox, ProposalReply, ReadReply, Request, SnapshotNews, Waiting};
use super::installer::{Installer, Task};
use super::logger::logger;
use super::sender::SnapshotSender;
use crate::config::ClusterConfig;
use crate::core::{
    ApplyWork, Core, CoreConfig, Fetch, Frame, GroupStart, Input, LogWrite, Outputs, RequestId, group_id,
};
use crate::error::{ClusterError, ProposeError};
use crate::fatal::{Fatal, FatalHook, panic_text};
use crate::machine::{EntryMeta, StateMachine};
use crate::shard::ShardId;
use crate::transport::{self, Transport};

/// The stores of a node.
pub(super) struct Stores {
    pub(super) log: Arc<dyn LogStore>,
    pub(super) state: Arc<dyn StateStore>,
}

/// What the owner of the cluster brings along.
pub(super) struct Seams {
    pub(super) machine: Arc<dyn StateMachine>,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) staging: SharedStaging,
}

/// Who waits for a request.
enum Reply {
    Proposal(ProposalReply),
    Read(ReadReply),
}

pub(super) struct Worker {
    core: Core,
    origin: Instant,
    stores: Stores,
    machine: Arc<dyn StateMachine>,
    transport: Arc<dyn Transport>,
    inbox: Arc<Inbox>,
    board: Arc<Board>,
    replies: HashMap<RequestId, Reply>,
    last_request: RequestId,
    stop_grace: Duration,
    fatal: FatalHook,
    staging: SharedStaging,
    apply: Sender<Work>,
    flush: Sender<()>,
    send: Sender<(ShardId, Message)>,
    install: Sender<Task>,
    /// For the snapshot sender, which may be in the middle of one.
    stop_sending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn new(
        config: &ClusterConfig,
        groups: Vec<GroupStart>,
        stores: Stores,
        seams: Seams,
        inbox: Arc<Inbox>,
        board: Arc<Board>,
    ) -> Result<Self, ClusterError> {
        let Seams {
            machine,
            transport,
            staging,
        } = seams;
        let core = Core::new(CoreConfig::new(config, logger()), Duration::ZERO, groups).map_err(|(shard, error)| {
            ClusterError::Recovery {
                shard,
                detail: error.to_string(),
            }
        })?;
        let (apply, work) = channel();
        let (flush, stop) = channel();
        let applier = Applier::new(
            stores.state.clone(),
            machine.clone(),
            inbox.clone(),
            board.clone(),
            work,
        );
        let flusher = Flusher {
            state: stores.state.clone(),
            log: stores.log.clone(),
            board: board.clone(),
            inbox: inbox.clone(),
            interval: config.flush_interval,
            stop,
        };
        let (send, to_send) = channel();
        let (install, to_install) = channel();
        let stop_sending = Arc::new(AtomicBool::new(false));
        let sender = SnapshotSender {
            state: stores.state.clone(),
            transport: transport.clone(),
            inbox: inbox.clone(),
            apply: apply.clone(),
            max_bytes: config.max_snapshot_bytes,
            stopping: stop_sending.clone(),
            work: to_send,
        };
        let installer = Installer {
            node: config.node,
            log: stores.log.clone(),
            state: stores.state.clone(),
            machine: machine.clone(),
            staging: staging.clone(),
            inbox: inbox.clone(),
            apply: apply.clone(),
            work: to_install,
        };
        let threads = vec![
            spawn("apply", inbox.clone(), move || applier.run())?,
            spawn("flush", inbox.clone(), move || flusher.run())?,
            spawn("snapshot send", inbox.clone(), move || sender.run())?,
            spawn("snapshot install", inbox.clone(), move || installer.run())?,
        ];
        Ok(Self {
            core,
            origin: Instant::now(),
            stores,
            machine,
            transport,
            replies: HashMap::new(),
            last_request: 0,
            stop_grace: config.stop_grace,
            fatal: config.fatal.clone(),
            staging,
            apply,
            flush,
            send,
            install,
            stop_sending,
            threads,
            inbox,
            board,
        })
    }

    /// Runs until the node is told to stop, or breaks.
    pub(super) fn run(mut self) {
        let ended = catch_unwind(AssertUnwindSafe(|| self.turns()));
        let ended = ended.unwrap_or_else(|panic| {
            Err(Fatal {
                shard: None,
                cause: panic_text(panic.as_ref()),
            })
        });
        // Nothing is taken in any more, whichever way it ended.
        self.inbox.close();
        match ended {
            Ok(()) => self.close(),
            Err(fatal) => self.fatal.call(&fatal),
        }
    }

    fn turns(&mut self) -> Result<(), Fatal> {
        self.step(Vec::new())?;
        let (mut leave_at, mut stop_at) = (None, None);
        loop {
            let timeout = self.core.deadline().saturating_sub(self.origin.elapsed());
            let waiting = self.inbox.take(timeout);
            if let Some(fatal) = waiting.fatal {
                return Err(fatal);
            }
            let Waiting {
                leaving,
                parting,
                stopping,
                ..
            } = waiting;
            let mut inputs = self.inputs(waiting);
            if leaving && leave_at.is_none() {
                leave_at = Some(Instant::now() + self.stop_grace);
                inputs.push(Input::HandOver);
            }
            self.step(inputs)?;
            if leave_at.is_some_and(|until| !self.core.may_hand_over() || Instant::now() >= until) {
                self.inbox.gave_away();
                if parting && !stopping {
                    self.inbox.stop();
                }
            }
            if stopping {
                let stop_at = *stop_at.get_or_insert_with(|| Instant::now() + self.stop_grace);
                if self.replies.is_empty() || Instant::now() >= stop_at {
                    return Ok(());
                }
            }
        }
    }

    fn inputs(&mut self, waiting: Waiting) -> Vec<Input> {
        let mut inputs = Vec::with_capacity(waiting.requests.len() + waiting.applied.len());
        inputs.extend(
            waiting
                .applied
                .into_iter()
                .map(|(shard, index)| Input::Applied { shard, index }),
        );
        inputs.extend(waiting.frames.into_iter().map(Input::Frame));
        inputs.extend(
            waiting
                .flushed
                .into_iter()
                .map(|(shard, index)| Input::Flushed { shard, index }),
        );
        inputs.extend(waiting.snapshots.into_iter().map(|news| match news {
            SnapshotNews::Installed(id) => Input::Installed(id),
            SnapshotNews::Cleared(start) => Input::Cleared(start),
            SnapshotNews::Received { shard, message } => Input::Snapshot { shard, message },
            SnapshotNews::Sent { shard, to, delivered } => Input::SnapshotSent { shard, to, delivered },
        }));
        for request in waiting.requests {
            self.last_request += 1;
            let id = self.last_request;
            let (input, reply) = match request {
                Request::Propose { shard, data, reply } => (Input::Propose { shard, id, data }, Reply::Proposal(reply)),
                Request::Read { shard, reply } => (Input::Read { shard, id }, Reply::Read(reply)),
                Request::Transfer { shard, to } => {
                    inputs.push(Input::Transfer { shard, to });
                    continue;
                }
                Request::Prefer(leaders) => {
                    inputs.push(Input::Prefer(leaders));
                    continue;
                }
                Request::ChangeMembers { shard, steps, reply } => {
                    (Input::ChangeMembers { shard, id, steps }, Reply::Proposal(reply))
                }
            };
            inputs.push(input);
            self.replies.insert(id, reply);
        }
        inputs
    }

    /// Steps the core, and again with what comes of it, until there is nothing more to be done at once.
    fn step(&mut self, mut inputs: Vec<Input>) -> Result<(), Fatal> {
        loop {
            let out = self.core.step(self.origin.elapsed(), inputs);
            inputs = self.perform(out)?;
            if inputs.is_empty() {
                return Ok(());
            }
        }
    }

    /// Does what a step asks for, and returns what the core has to be told about it.
    fn perform(&mut self, out: Outputs) -> Result<Vec<Input>, Fatal> {
        if let Some(fatal) = out.fatal {
            return Err(fatal);
        }
        for frame in &out.frames {
            self.send_frame(frame);
        }
        for shard in &out.touched {
            if let Some(status) = self.core.status(*shard) {
                self.board.set(*shard, status);
            }
        }
        self.board.set_unapplied_bytes(self.core.unapplied_bytes());
        if let Some(silence) = out.silence {
            self.board.set_silence(silence);
        }
        for (shard, state) in out.leadership {
            self.machine.leadership(shard, state);
        }
        for (id, answer) in out.answers {
            self.answer(id, answer);
        }
        self.hand_over(out.apply);
        // When one of these threads is gone, it has left a fatal error in the inbox.
        for snapshot in out.snapshots {
            let _ = self.send.send(snapshot);
        }
        for id in out.installs {
            let _ = self.install.send(Task::Install(id));
        }
        for shard in out.removed {
            let _ = self.install.send(Task::Clear(shard));
        }
        for id in out.discards {
            self.staging.lock().take_whole(id);
        }
        let mut inputs = Vec::new();
        for fetch in out.fetches {
            inputs.push(self.fetch(fetch)?);
        }
        if let Some(write) = out.write {
            inputs.push(self.write(write)?);
        }
        Ok(inputs)
    }

    fn send_frame(&self, frame: &Frame) {
        match transport::encode(frame) {
            Ok(frames) => frames
                .into_iter()
                .for_each(|bytes| self.transport.send(frame.to, bytes)),
            // A message larger than protobuf can lay out. Dropped, as the network might drop it.
            Err(error) => tracing::error!(to = %frame.to, %error, "cannot lay out a frame"),
        }
    }

    fn answer(&mut self, id: RequestId, answer: Result<(), ProposeError>) {
        // Whoever asked may have lost interest.
        match (self.replies.remove(&id), answer) {
            (Some(Reply::Read(reply)), answer) => drop(reply.send(answer)),
            (Some(Reply::Proposal(reply)), Err(error)) => drop(reply.send(Err(error))),
            (Some(Reply::Proposal(_)) | None, _) => {}
        }
    }

    fn hand_over(&mut self, work: Vec<ApplyWork>) {
        let mut committed = Vec::new();
        for ApplyWork { shard, entries } in work {
            for entry in entries {
                let reply = entry.request.and_then(|id| match self.replies.remove(&id)? {
                    Reply::Proposal(reply) => Some(reply),
                    Reply::Read(_) => None,
                });
                let meta = EntryMeta {
                    shard,
                    index: entry.index,
                    term: entry.term,
                };
                committed.push(Committed {
                    meta,
                    payload: entry.payload,
                    reply,
                });
            }
        }
        if !committed.is_empty() {
            // When the applier is gone, it has left a fatal error in the inbox.
            let _ = self.apply.send(Work::Apply(committed));
        }
    }

    fn fetch(&self, fetch: Fetch) -> Result<Input, Fatal> {
        let Fetch {
            shard,
            low,
            high,
            max_bytes,
        } = fetch;
        let entries = self.stores.log.entries(group_id(shard), low, high, max_bytes);
        let entries = entries.map_err(|error| Fatal {
            shard: Some(shard),
            cause: error.to_string(),
        })?;
        Ok(Input::Fetched { shard, low, entries })
    }

    fn write(&self, write: LogWrite) -> Result<Input, Fatal> {
        // Whatever the error, this replica cannot tell what is durable, and must not go on as if it could.
        write.carry_out(self.stores.log.as_ref()).map_err(|error| Fatal {
            shard: None,
            cause: error.to_string(),
        })
    }

    /// Ends the other threads and leaves everything durable.
    fn close(mut self) {
        self.stop_sending.store(true, Ordering::Relaxed);
        drop((self.apply, self.flush, self.send, self.install));
        for thread in self.threads {
            // A thread that panicked has said so in the inbox.
            let _ = thread.join();
        }
        let parting = self.core.parting_write();
        let closed = self
            .stores
            .log
            .append(parting, Durability::Synced)
            .and_then(|()| self.stores.state.flush());
        if let Err(error) = closed {
            // Nothing is lost: what was acknowledged is in the log.
            tracing::warn!(%error, "the stores were not closed cleanly");
        }
    }
}

/// Starts a thread whose panic is a fatal error.
fn spawn(name: &str, inbox: Arc<Inbox>, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, ClusterError> {
    let guarded = move || {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            inbox.fatal(Fatal {
                shard: None,
                cause: panic_text(panic.as_ref()),
            });
        }
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(guarded)
        .map_err(ClusterError::Thread)
}
