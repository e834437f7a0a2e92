//! One actor per active entity: its mailbox is the order in which the entity's requests are decided.
//!
//! The actor holds an entity's state in memory, on the shard's leader only. For each request it looks whether the same
//! request was answered before, decides, proposes what was accepted, and takes the next request at once: its own state is
//! already advanced (speculatively), the reply waits until the command is committed and applied.
//!
//! Invariants:
//! - order of decisions = order of proposals = order in the log;
//! - a reply never shows what is not committed: a rejection or a read is answered after everything that was decided before
//!   it, and after this node has made sure that it has led since the state was loaded;
//! - when a proposal fails, the speculative state is worthless: the actor stops and is rebuilt from what is durable.

mod activation;
mod registry;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::ActorFutureExt;
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, WrapFuture};
use bytes::Bytes;
use mimi_hub_cluster::{Cluster, Leadership, ProposeError, ShardId, ShardReader};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

pub(crate) use self::activation::{Activation, Effect};
pub(crate) use self::registry::Registry;
use crate::command::{Event, Head, RequestHash};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::hub::Hub;
use crate::mls::crypto;
use crate::settings::Settings;

/// How many requests may wait in one entity's mailbox; more are answered 503.
const MAILBOX_REQUESTS_MAX: usize = 512;

/// What an entity must be able to do to live in an actor.
pub(crate) trait Entity: Sized + Unpin + 'static {
    /// What can be asked of it.
    type Request: Send + Serialize + DeserializeOwned + 'static;
    /// What it answers when nothing was accepted: a rejection, or something read.
    type Answer: Send + Unpin + Serialize + DeserializeOwned + 'static;

    /// Rebuilds the state from what is durable.
    fn load(settings: &Arc<Settings>, reader: &ShardReader, id: &EntityId, head: &Head) -> Result<Self, NodeError>;

    /// Reads what the decision needs besides the state. Default: nothing.
    fn prepare(_reader: &ShardReader, _id: &EntityId, _request: &mut Self::Request) -> Result<(), NodeError> {
        Ok(())
    }

    /// Decides a request that is accepted as event number `seq`, if it is. When it answers [`Decision::Accept`], the state
    /// has been advanced by the event.
    fn decide(&mut self, seq: u64, at_ms: u64, request: Self::Request) -> Result<Decision<Self::Answer>, NodeError>;

    /// An event that the entity itself wants in the log after what it just accepted or answered. The state has been advanced
    /// by it.
    fn follow_up(&mut self) -> Option<Event> {
        None
    }

    /// How many of the entity's events are kept.
    fn events_max(settings: &Settings) -> u64;
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
    activation: Activation<E, Answering<E::Answer>>,
    last_used: Instant,
}

impl<E: Entity> EntityActor<E> {
    fn new(hub: Arc<Hub>, id: EntityId) -> Self {
        let shard = hub.shard_of(&id);
        let reader = hub.cluster().reader(shard);
        let activation = Activation::new(Arc::clone(hub.settings()), id.clone(), reader);
        EntityActor {
            hub,
            id,
            shard,
            activation,
            last_used: Instant::now(),
        }
    }

    fn load(&mut self, ctx: &mut Context<Self>, led: Result<u64, ProposeError>) {
        let term = match led {
            Ok(term) => term,
            Err(error) => {
                tracing::debug!(entity = %self.id, %error, "not led here: not loaded");
                return self.give_up(ctx, &AskError::Unavailable);
            }
        };
        let number = match crypto::random_u64() {
            Ok(number) => number,
            Err(error) => return self.give_up(ctx, &AskError::Internal(error.to_string())),
        };
        if self.activation.load(number, term).is_err() {
            ctx.run_later(Duration::from_secs(1), |_, ctx| ctx.stop());
        }
    }

    fn give_up(&mut self, ctx: &mut Context<Self>, error: &AskError) {
        self.activation.give_up(error);
        self.perform(ctx);
    }

    fn perform(&mut self, ctx: &mut Context<Self>) {
        for effect in self.activation.take_effects() {
            match effect {
                Effect::Propose { seq, command } => {
                    let proposal = self.hub.cluster().propose(self.shard, command).into_actor(self);
                    ctx.spawn(proposal.map(move |result, actor, ctx| {
                        actor.activation.committed(seq, result);
                        actor.perform(ctx);
                    }));
                }
                Effect::ProposeTrim { command } => {
                    let proposal = self.hub.cluster().propose(self.shard, command);
                    ctx.spawn(async move { drop(proposal.await) }.into_actor(self));
                }
                Effect::Reply { to, reply } => send(to, reply),
                Effect::ReplyIfLed { to, reply, term } => {
                    let led = led_in(self.hub.cluster().clone(), self.shard).into_actor(self);
                    ctx.spawn(led.map(move |led, actor, ctx| {
                        if led.is_ok_and(|now| now == term) && actor.activation.is_current() {
                            return send(to, Ok(reply));
                        }
                        send(to, Err(AskError::Unavailable));
                        actor.give_up(ctx, &AskError::Unavailable);
                    }));
                }
                Effect::Stop => ctx.stop(),
            }
        }
    }
}

impl<E: Entity> Actor for EntityActor<E> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        // A leader has what is committed in its log, and not yet all of it in the store: what was loaded from there now could
        // be behind what has been acknowledged. Requests wait in the mailbox meanwhile.
        let led = led_in(self.hub.cluster().clone(), self.shard).into_actor(self);
        ctx.wait(led.map(|led, actor, ctx| actor.load(ctx, led)));
        let idle = Duration::from_millis(self.hub.config().room.idle_ms);
        ctx.run_interval(idle / 4 + Duration::from_millis(1), move |actor, ctx| {
            if actor.activation.is_idle() && actor.last_used.elapsed() >= idle {
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
        let Ask {
            hash,
            request,
            reply,
            place,
        } = ask;
        drop(place);
        self.last_used = Instant::now();
        self.activation.ask(crate::clock::now_ms(), hash, request, reply);
        self.perform(ctx);
    }
}

impl<E: Entity> Handler<Resign> for EntityActor<E> {
    type Result = ();

    fn handle(&mut self, _: Resign, ctx: &mut Context<Self>) {
        self.give_up(ctx, &AskError::Unavailable);
    }
}

/// Makes sure that this node leads and has applied everything acknowledged. Gives the term in which it leads: the leader of
/// one term leads it from its election on without a break.
async fn led_in(cluster: Cluster, shard: ShardId) -> Result<u64, ProposeError> {
    cluster.read_barrier(shard).await?;
    match cluster.leadership(shard) {
        Leadership::Leader { term, .. } => Ok(term),
        Leadership::Follower { leader } => Err(ProposeError::NotLeader { leader }),
    }
}

/// The asker may be gone: its request has timed out or its connection is closed.
fn send<A>(asker: Answering<A>, reply: Result<Reply<A>, AskError>) {
    drop(asker.send(reply));
}

#[cfg(test)]
mod tests;
