//! The actor of one destination: which rooms have something for it, what is on its way, and when to try again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use mimi_hub_cluster::ShardId;
use mimi_hub_proto::uri::ProviderDomain;
use tracing::{debug, info, warn};

use super::{local, provider};
use crate::command::{Command, CursorMove, OutboxCursor, encode};
use crate::entity::EntityId;
use crate::hub::Hub;

/// Confirmed cursors are proposed together, this often.
const CURSORS_INTERVAL: Duration = Duration::from_millis(200);

/// Events of `entity` up to `cursor.last_seq` are for this destination.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Extend {
    pub(super) entity: EntityId,
    pub(super) cursor: OutboxCursor,
}

/// Another node delivers this shard's events now.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Forget(pub(super) ShardId);

/// What came of one attempt.
pub(super) enum Attempt {
    /// The destination has everything up to this event.
    Confirmed(u64),
    /// It could not be reached at all: nothing is tried for a while.
    Unreachable(String),
    /// It refused this room's events; the wait that it asked for.
    Refused(String, Option<Duration>),
}

pub(super) struct Destination {
    hub: Arc<Hub>,
    name: String,
    /// `None` for this provider's own users.
    provider: Option<ProviderDomain>,
    rooms: HashMap<EntityId, Room>,
    ready: VecDeque<EntityId>,
    in_flight: usize,
    /// Failed attempts to reach the destination since the last that worked.
    failures: u32,
    resting: bool,
    confirmed: HashMap<EntityId, u64>,
}

struct Room {
    cursor: OutboxCursor,
    /// In `ready`, on its way, or waiting for its next attempt.
    busy: bool,
    failures: u32,
}

impl Destination {
    pub(super) fn new(hub: Arc<Hub>, name: String, provider: Option<ProviderDomain>) -> Self {
        Destination {
            hub,
            name,
            provider,
            rooms: HashMap::new(),
            ready: VecDeque::new(),
            in_flight: 0,
            failures: 0,
            resting: false,
            confirmed: HashMap::new(),
        }
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        let in_flight_max = self.hub.config().delivery.in_flight_per_destination_max.max(1);
        while !self.resting && self.in_flight < in_flight_max {
            let Some(entity) = self.ready.pop_front() else { return };
            let Some(room) = self.rooms.get(&entity) else { continue };
            self.in_flight += 1;
            let (hub, cursor, provider) = (Arc::clone(&self.hub), room.cursor, self.provider.clone());
            let id = entity.clone();
            let attempt = async move {
                match provider {
                    Some(provider) => provider::deliver(&hub, &id, cursor, &provider).await,
                    None => local::deliver(&hub, &id, cursor).await,
                }
            };
            // Encoding and TLS happen on the server's runtime; the actor's thread is for order only.
            let attempt = self.hub.runtime().spawn(attempt);
            ctx.spawn(attempt.into_actor(self).map(move |attempt, actor, ctx| {
                let attempt = attempt.unwrap_or_else(|error| Attempt::Refused(error.to_string(), None));
                actor.attempted(ctx, entity, attempt);
            }));
        }
    }

    fn attempted(&mut self, ctx: &mut Context<Self>, entity: EntityId, attempt: Attempt) {
        self.in_flight -= 1;
        let Some(room) = self.rooms.get_mut(&entity) else {
            return self.pump(ctx);
        };
        match attempt {
            Attempt::Confirmed(seq) => {
                self.failures = 0;
                room.failures = 0;
                room.cursor.confirmed_seq = room.cursor.confirmed_seq.max(seq);
                let done = room.cursor.confirmed_seq >= room.cursor.last_seq;
                self.confirmed.insert(entity.clone(), room.cursor.confirmed_seq);
                if done {
                    self.rooms.remove(&entity);
                } else {
                    self.ready.push_back(entity);
                }
            }
            Attempt::Unreachable(reason) => {
                self.failures = self.failures.saturating_add(1);
                let wait = self.back_off(self.failures);
                if self.failures == 1 {
                    info!(destination = self.name, reason, "a destination cannot be reached");
                }
                self.ready.push_front(entity);
                if !self.resting {
                    self.resting = true;
                    ctx.run_later(wait, |actor, ctx| {
                        actor.resting = false;
                        actor.pump(ctx);
                    });
                }
            }
            Attempt::Refused(reason, retry_after) => {
                room.failures = room.failures.saturating_add(1);
                let failures = room.failures;
                let wait = self.back_off(failures).max(retry_after.unwrap_or_default());
                if failures == 1 {
                    warn!(destination = self.name, %entity, reason, "a destination does not take a room's events");
                }
                ctx.run_later(wait, move |actor, ctx| {
                    actor.ready.push_back(entity);
                    actor.pump(ctx);
                });
            }
        }
        self.pump(ctx);
    }

    /// Doubles with every failure, up to the configured limit, with the room's share of jitter left to the queue itself.
    fn back_off(&self, failures: u32) -> Duration {
        let delivery = &self.hub.config().delivery;
        let doubled = delivery
            .retry_ms_min
            .saturating_mul(1 << failures.saturating_sub(1).min(20));
        Duration::from_millis(doubled.clamp(delivery.retry_ms_min, delivery.retry_ms_max))
    }

    fn replicate_cursors(&mut self, ctx: &mut Context<Self>) {
        let mut by_shard: HashMap<ShardId, Vec<CursorMove>> = HashMap::new();
        for (entity, seq) in self.confirmed.drain() {
            let moved = CursorMove {
                entity,
                destination: self.name.clone(),
                seq,
            };
            by_shard
                .entry(self.hub.shard_of(&moved.entity))
                .or_default()
                .push(moved);
        }
        for (shard, moves) in by_shard {
            match encode(&Command::CursorsMoved(moves)) {
                Ok(command) => {
                    let proposal = self.hub.cluster().propose(shard, command);
                    // When it fails, the next leader sends these events once more: followers know them by their hash.
                    ctx.spawn(async move { drop(proposal.await) }.into_actor(self));
                }
                Err(error) => warn!(%error, "cursors cannot be encoded"),
            }
        }
    }
}

impl Actor for Destination {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(CURSORS_INTERVAL, Self::replicate_cursors);
    }
}

impl Handler<Extend> for Destination {
    type Result = ();

    fn handle(&mut self, Extend { entity, cursor }: Extend, ctx: &mut Context<Self>) {
        let room = self.rooms.entry(entity.clone()).or_insert(Room {
            cursor,
            busy: false,
            failures: 0,
        });
        room.cursor.last_seq = room.cursor.last_seq.max(cursor.last_seq);
        if !room.busy {
            room.busy = true;
            self.ready.push_back(entity);
            self.pump(ctx);
        }
    }
}

impl Handler<Forget> for Destination {
    type Result = ();

    fn handle(&mut self, Forget(shard): Forget, _: &mut Context<Self>) {
        debug!(destination = self.name, ?shard, "another node delivers now");
        let hub = Arc::clone(&self.hub);
        self.rooms.retain(|entity, _| hub.shard_of(entity) != shard);
        self.ready.retain(|entity| hub.shard_of(entity) != shard);
        self.confirmed.retain(|entity, _| hub.shard_of(entity) != shard);
    }
}
