//! One actor per active entity: its mailbox is the order in which the entity's requests are decided.
//!
//! The actor holds an entity's state in memory, on the shard's leader only. For each request it looks whether the same
//! request was answered before, decides, proposes what was accepted, and takes the next request at once: its own state is
//! already advanced (speculatively), the reply waits until the command is committed and applied.
//!
//! Invariants:
//! - order of decisions = order of proposals = order in the log;
//! - a reply never shows what is not committed: a rejection or a read is answered after everything that was decided before
//!   it, and after this node has made sure that it still leads;
//! - when a proposal fails, the speculative state is worthless: the actor stops and is rebuilt from what is durable.

mod registry;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::ActorFutureExt;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, WrapFuture};
use bytes::Bytes;
use mimi_hub_cluster::{Outcome as Committed, ProposeError, ShardId, ShardReader};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

pub(crate) use self::registry::Registry;
use crate::command::{Accepted, Command, Event, Head, Outcome, RequestHash, decode, encode};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::hub::Hub;
use crate::keys;
use crate::mls::crypto;

/// How many requests may wait in one entity's mailbox; more are answered 503.
const MAILBOX_REQUESTS_MAX: usize = 512;

/// Trimming is proposed when this many events are beyond the retention limit, so that it is not done at each event.
const TRIM_BATCH_EVENTS: u64 = 256;

/// What an entity must be able to do to live in an actor.
pub(crate) trait Entity: Sized + Unpin + 'static {
    /// What can be asked of it.
    type Request: Send + Serialize + DeserializeOwned + 'static;
    /// What it answers when nothing was accepted: a rejection, or something read.
    type Answer: Send + Serialize + DeserializeOwned + 'static;

    /// Rebuilds the state from what is durable.
    fn load(hub: &Arc<Hub>, reader: &ShardReader, id: &EntityId, head: &Head) -> Result<Self, NodeError>;

    /// Reads what the decision needs besides the state. Default: nothing.
    fn prepare(_reader: &ShardReader, _id: &EntityId, _request: &mut Self::Request) -> Result<(), NodeError> {
        Ok(())
    }

    /// Decides a request that is accepted as event number `seq`, if it is. When it answers [`Decision::Accept`], the state
    /// has been advanced by the event.
    fn decide(&mut self, seq: u64, at_ms: u64, request: Self::Request) -> Result<Decision<Self::Answer>, NodeError>;

    /// An event that the entity itself wants in the log after what it just accepted.
    fn follow_up(&mut self) -> Option<Event> {
        None
    }

    /// How many of the entity's events are kept.
    fn events_max(hub: &Hub) -> u64;
}

/// What came of a request.
#[expect(clippy::large_enum_variant, reason = "short-lived, and nearly always the large one")]
pub(crate) enum Decision<A> {
    /// It is accepted: this is what happened, and the reply once it is committed.
    Accept { event: Event, reply: Vec<u8> },
    /// Nothing happened.
    Answer(A),
}

/// The reply to a request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply<A> {
    /// Accepted, now or when the same request came before: the encoded reply, and the acceptance time of a fresh event.
    Accepted(#[serde(with = "crate::octets::shared")] Bytes),
    /// Not accepted, or only read.
    Answer(A),
}

/// Why there is no reply.
#[derive(Clone, Debug, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum AskError {
    /// Another node leads the entity's shard, or none does; or the outcome is unknown. The caller may ask again.
    #[error("the entity is not available here at the moment")]
    Unavailable,
    /// Too much is waiting.
    #[error("too many requests wait for this entity")]
    Overloaded,
    /// The stored state is unreadable, or the like.
    #[error("internal error: {0}")]
    Internal(String),
}

type Answering<A> = oneshot::Sender<Result<Reply<A>, AskError>>;

/// A request on its way to the actor.
pub(crate) struct Ask<E: Entity> {
    /// Set where the same bytes must get the same answer.
    pub(crate) hash: Option<RequestHash>,
    pub(crate) request: E::Request,
    pub(crate) reply: Answering<E::Answer>,
    /// Its place in the mailbox, given back when it is taken out.
    pub(crate) place: OwnedSemaphorePermit,
}

impl<E: Entity> Message for Ask<E> {
    type Result = ();
}

/// The entity's shard is led by another node now.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Resign;

pub(crate) struct EntityActor<E: Entity> {
    hub: Arc<Hub>,
    id: EntityId,
    shard: ShardId,
    reader: ShardReader,
    /// `Err` when the state could not be rebuilt; every request is answered with it until the actor is started again.
    state: Result<E, AskError>,
    head: Head,
    /// Tells this actor's decisions from those of any other for the same entity, here or on another node.
    activation: u64,
    /// Proposals on their way, by sequence number.
    in_flight: BTreeMap<u64, InFlight<E::Answer>>,
    /// The same, by request.
    hashes: HashMap<RequestHash, u64>,
    last_used: Instant,
}

struct InFlight<A> {
    hash: Option<RequestHash>,
    reply: Bytes,
    askers: Vec<Answering<A>>,
    /// Answers that must not be given before this proposal is committed.
    behind: Vec<(Answering<A>, Reply<A>)>,
}

impl<E: Entity> EntityActor<E> {
    fn new(hub: Arc<Hub>, id: EntityId) -> Self {
        let shard = hub.shard_of(&id);
        let reader = hub.cluster().reader(shard);
        EntityActor {
            hub,
            id,
            shard,
            reader,
            state: Err(AskError::Unavailable),
            head: Head::default(),
            activation: 0,
            in_flight: BTreeMap::new(),
            hashes: HashMap::new(),
            last_used: Instant::now(),
        }
    }

    fn rebuild(&mut self) -> Result<(Head, E), NodeError> {
        self.activation = crypto::random_u64()?;
        let head = match self.reader.get(&keys::head(&self.id))? {
            Some(bytes) => decode(&bytes)?,
            None => Head::default(),
        };
        let state = E::load(&self.hub, &self.reader, &self.id, &head)?;
        Ok((head, state))
    }

    fn load(&mut self, ctx: &mut Context<Self>, current: Result<(), ProposeError>) {
        if let Err(error) = current {
            tracing::debug!(entity = %self.id, %error, "not led here: not loaded");
            return self.give_up(ctx, &AskError::Unavailable);
        }
        match self.rebuild() {
            Ok((head, state)) => {
                self.head = head;
                self.state = Ok(state);
            }
            Err(error) => {
                self.state = Err(self.internal(&error));
                ctx.run_later(Duration::from_secs(1), |_, ctx| ctx.stop());
            }
        }
    }

    /// The reply of the event that answered the same request before.
    fn earlier_reply(&self, hash: &RequestHash) -> Result<Option<Bytes>, NodeError> {
        let Some(seq) = self.reader.get(&keys::request(&self.id, hash))? else {
            return Ok(None);
        };
        let Some(record) = self.reader.get(&keys::event(&self.id, decode(&seq)?))? else {
            return Ok(None);
        };
        match decode(&record)? {
            Command::Accepted(accepted) => Ok(Some(accepted.reply.into())),
            Command::CursorsMoved(_) | Command::Trimmed { .. } => Ok(None),
        }
    }

    fn ask(&mut self, ctx: &mut Context<Self>, ask: Ask<E>) {
        let Ask {
            hash,
            mut request,
            reply,
            place,
        } = ask;
        drop(place);
        if let Some(seq) = hash.and_then(|hash| self.hashes.get(&hash)) {
            if let Some(in_flight) = self.in_flight.get_mut(seq) {
                in_flight.askers.push(reply);
            }
            return;
        }
        if let Err(error) = &self.state {
            return send(reply, Err(error.clone()));
        }
        match hash.map_or(Ok(None), |hash| self.earlier_reply(&hash)) {
            Ok(Some(earlier)) => return self.answer(ctx, reply, Reply::Accepted(earlier)),
            Ok(None) => {}
            Err(error) => return send(reply, Err(self.internal(&error))),
        }
        let Ok(state) = &mut self.state else { return };
        let at_ms = crate::clock::now_ms().max(self.head.last_at_ms);
        let decided = E::prepare(&self.reader, &self.id, &mut request)
            .and_then(|()| state.decide(self.head.last_seq + 1, at_ms, request));
        match decided {
            Ok(Decision::Answer(answer)) => self.answer(ctx, reply, Reply::Answer(answer)),
            Ok(Decision::Accept { event, reply: bytes }) => {
                self.propose(ctx, at_ms, hash, event, bytes, Some(reply));
                if let Some(event) = self.state.as_mut().ok().and_then(E::follow_up) {
                    self.propose(ctx, at_ms, None, event, Vec::new(), None);
                }
                self.trim(ctx);
            }
            Err(error) => {
                // The state may have been advanced in part: it is rebuilt from what is durable.
                let error = self.internal(&error);
                send(reply, Err(error.clone()));
                self.give_up(ctx, &error);
            }
        }
    }

    fn propose(
        &mut self,
        ctx: &mut Context<Self>,
        at_ms: u64,
        hash: Option<RequestHash>,
        event: Event,
        reply: Vec<u8>,
        asker: Option<Answering<E::Answer>>,
    ) {
        let seq = self.head.last_seq + 1;
        let accepted = Accepted {
            entity: self.id.clone(),
            seq,
            decided_by: self.activation,
            decided_after: self.head.last_decided_by,
            at_ms,
            request: hash,
            reply,
            event,
        };
        let command = Command::Accepted(accepted);
        let bytes = match encode(&command) {
            Ok(bytes) => bytes,
            Err(error) => {
                // The state has moved on without the log: it must be rebuilt.
                let error = self.internal(&NodeError::from(error));
                if let Some(asker) = asker {
                    send(asker, Err(error.clone()));
                }
                return self.give_up(ctx, &error);
            }
        };
        let Command::Accepted(accepted) = command else { return };
        self.head.last_seq = seq;
        self.head.last_decided_by = self.activation;
        self.head.first_seq = self.head.first_seq.max(1);
        self.head.last_at_ms = at_ms;
        if let Some(hash) = hash {
            self.hashes.insert(hash, seq);
        }
        let in_flight = InFlight {
            hash,
            reply: accepted.reply.into(),
            askers: asker.into_iter().collect(),
            behind: Vec::new(),
        };
        self.in_flight.insert(seq, in_flight);
        let proposal = self.hub.cluster().propose(self.shard, bytes);
        ctx.spawn(
            proposal
                .into_actor(self)
                .map(move |result, actor, ctx| actor.committed(ctx, seq, result)),
        );
    }

    fn committed(&mut self, ctx: &mut Context<Self>, seq: u64, result: Result<Committed, ProposeError>) {
        let outcome = result
            .map_err(|error| error.to_string())
            .and_then(|committed| decode::<Outcome>(&committed.bytes).map_err(|error| error.to_string()));
        match outcome {
            Ok(Outcome::Applied) => {
                let Some(done) = self.in_flight.remove(&seq) else {
                    return;
                };
                if let Some(hash) = done.hash {
                    self.hashes.remove(&hash);
                }
                for asker in done.askers {
                    send(asker, Ok(Reply::Accepted(done.reply.clone())));
                }
                for (asker, reply) in done.behind {
                    send(asker, Ok(reply));
                }
            }
            Ok(Outcome::Fenced { last_seq }) => {
                tracing::info!(entity = %self.id, seq, last_seq, "another leader has decided in between: starting over");
                self.give_up(ctx, &AskError::Unavailable);
            }
            Err(error) => {
                tracing::info!(entity = %self.id, seq, error, "a proposal has failed: starting over");
                self.give_up(ctx, &AskError::Unavailable);
            }
        }
    }

    /// Answers without an event, but not before what was decided earlier is committed, and only if this node still leads.
    fn answer(&mut self, ctx: &mut Context<Self>, asker: Answering<E::Answer>, reply: Reply<E::Answer>) {
        if let Some(mut last) = self.in_flight.last_entry() {
            last.get_mut().behind.push((asker, reply));
            return;
        }
        let cluster = self.hub.cluster().clone();
        let shard = self.shard;
        ctx.spawn(
            async move {
                let result = cluster.read_barrier(shard).await;
                send(asker, result.map(|()| reply).map_err(|_| AskError::Unavailable));
            }
            .into_actor(self),
        );
    }

    fn give_up(&mut self, ctx: &mut Context<Self>, error: &AskError) {
        self.state = Err(error.clone());
        self.hashes.clear();
        for (_, in_flight) in std::mem::take(&mut self.in_flight) {
            let behind = in_flight.behind.into_iter().map(|(asker, _)| asker);
            for asker in in_flight.askers.into_iter().chain(behind) {
                send(asker, Err(error.clone()));
            }
        }
        ctx.stop();
    }

    fn trim(&mut self, ctx: &mut Context<Self>) {
        let kept = self.head.last_seq.saturating_sub(self.head.first_seq);
        let excess = kept.saturating_sub(E::events_max(&self.hub));
        if excess < TRIM_BATCH_EVENTS {
            return;
        }
        let first_seq = self.head.first_seq + excess.min(crate::state_machine::TRIM_EVENTS_MAX);
        let Ok(bytes) = encode(&Command::Trimmed {
            entity: self.id.clone(),
            first_seq,
        }) else {
            return;
        };
        self.head.first_seq = first_seq;
        let proposal = self.hub.cluster().propose(self.shard, bytes);
        // A trim that fails is proposed again by whoever leads next.
        ctx.spawn(async move { drop(proposal.await) }.into_actor(self));
    }

    fn internal(&self, error: &NodeError) -> AskError {
        tracing::error!(entity = %self.id, %error, "cannot decide");
        AskError::Internal(error.to_string())
    }
}

impl<E: Entity> Actor for EntityActor<E> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // A leader has what is committed in its log, and not yet all of it in the store: what was loaded from there now could
        // be behind what has been acknowledged. Requests wait in the mailbox meanwhile.
        let (cluster, shard) = (self.hub.cluster().clone(), self.shard);
        let current = async move { cluster.read_barrier(shard).await };
        ctx.wait(
            current
                .into_actor(self)
                .map(|current, actor, ctx| actor.load(ctx, current)),
        );
        let idle = Duration::from_millis(self.hub.config().room.idle_ms);
        ctx.run_interval(idle / 4 + Duration::from_millis(1), move |actor, ctx| {
            if actor.in_flight.is_empty() && actor.last_used.elapsed() >= idle {
                ctx.stop();
            }
        });
    }

    fn stopped(&mut self, ctx: &mut Context<Self>) {
        self.give_up(ctx, &AskError::Unavailable);
    }
}

impl<E: Entity> Handler<Ask<E>> for EntityActor<E> {
    type Result = ();

    fn handle(&mut self, ask: Ask<E>, ctx: &mut Context<Self>) {
        self.last_used = Instant::now();
        self.ask(ctx, ask);
    }
}

impl<E: Entity> Handler<Resign> for EntityActor<E> {
    type Result = ();

    fn handle(&mut self, _: Resign, ctx: &mut Context<Self>) {
        self.give_up(ctx, &AskError::Unavailable);
    }
}

/// The asker may be gone: its request has timed out or its connection is closed.
fn send<A>(asker: Answering<A>, reply: Result<Reply<A>, AskError>) {
    drop(asker.send(reply));
}

#[cfg(test)]
mod tests;
