//! A user's event stream: the events of all its rooms, read from the rooms' own logs.
//!
//! The cursor is the caller's: it holds the last event seen of each room. Nothing is stored per reader, so that a stream
//! can be resumed from any cursor, as far back as the rooms' retention goes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mimi_hub_cluster::ShardId;
use mimi_hub_proto::tls;
use mimi_hub_proto::uri::{RoomUri, UserUri};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::unexpected;
use crate::actor::{AskError, Reply};
use crate::command::{Event, ReadableRanges, decode, encode};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::followed::event::FollowedEvent;
use crate::front::problem::Problem;
use crate::hub::Hub;
use crate::room::fan_out;
use crate::user::{UserAnswer, UserRequest};
use crate::{keys, read};

/// The last event seen of each room.
type Cursor = BTreeMap<RoomUri, u64>;

/// How long a call may wait for an event.
pub(crate) const WAIT_MS_MAX: u64 = 30_000;

/// How many events one call may bring.
pub(crate) const LIMIT_MAX: usize = 1_000;

/// A page of a user's event stream.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Page {
    events: Vec<StreamEvent>,
    cursor: String,
    /// Is there more than `limit` let through?
    more: bool,
}

/// One FanoutMessage.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StreamEvent {
    room: RoomUri,
    seq: u64,
    /// Standard base64 of the struct.
    fanout_message: String,
}

/// The events after `cursor`; waits up to `wait` for the first one.
pub(crate) async fn stream(
    hub: &Arc<Hub>,
    user: &UserUri,
    cursor: Option<&str>,
    wait: Duration,
    limit: usize,
) -> Result<Page, Problem> {
    let mut cursor = parse_cursor(cursor)?;
    let deadline = Instant::now() + wait;
    let waiter = Arc::new(Notify::new());
    let user_id = EntityId::User(user.clone());
    loop {
        hub.wakers().register(&waiter, [&user_id]);
        let rooms = rooms(hub, user).await?;
        let ids: Vec<EntityId> = rooms.iter().map(|room| entity(hub, room)).collect();
        hub.wakers().register(&waiter, &ids);
        let mut by_shard: BTreeMap<ShardId, Vec<RoomRead>> = BTreeMap::new();
        for (room, id) in rooms.into_iter().zip(ids) {
            let seen = cursor.get(&room).copied().unwrap_or_default();
            by_shard
                .entry(hub.shard_of(&id))
                .or_default()
                .push(RoomRead { id, room, seen });
        }
        let mut page = Page::default();
        for (shard, rooms) in by_shard {
            page.read(hub, user, shard, rooms, &mut cursor, limit).await?;
        }
        if !page.events.is_empty() || page.more || timeout_at(deadline, waiter.notified()).await.is_err() {
            let encoded = encode(&cursor).map_err(|error| unexpected(&error))?;
            page.cursor = URL_SAFE_NO_PAD.encode(encoded);
            return Ok(page);
        }
    }
}

impl Page {
    /// Reads the rooms of one shard.
    async fn read(
        &mut self,
        hub: &Arc<Hub>,
        user: &UserUri,
        shard: ShardId,
        rooms: Vec<RoomRead>,
        cursor: &mut Cursor,
        limit: usize,
    ) -> Result<(), Problem> {
        let limit = limit.saturating_sub(self.events.len());
        if limit == 0 {
            self.more = true;
            return Ok(());
        }
        let read = ShardRead {
            user: user.clone(),
            shard: shard.0,
            rooms,
            limit,
        };
        for readable in hub.readable(&read).await? {
            self.more |= readable.more;
            for (seq, message) in readable.messages {
                self.events.push(StreamEvent {
                    room: readable.room.clone(),
                    seq,
                    fanout_message: STANDARD.encode(message),
                });
            }
            cursor
                .entry(readable.room)
                .and_modify(|seen| *seen = (*seen).max(readable.last))
                .or_insert(readable.last);
        }
        Ok(())
    }
}

/// What is read of the rooms of one shard for one user.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ShardRead {
    user: UserUri,
    shard: u32,
    rooms: Vec<RoomRead>,
    /// Messages, over all rooms.
    limit: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RoomRead {
    id: EntityId,
    room: RoomUri,
    /// The last event seen.
    seen: u64,
}

/// What a user may read of a room.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Readable {
    room: RoomUri,
    /// The last event looked at.
    last: u64,
    /// FanoutMessages, each with its event's number.
    messages: Vec<(u64, ByteBuf)>,
    /// May there be more?
    more: bool,
}

impl ShardRead {
    pub(crate) fn shard(&self) -> ShardId {
        ShardId(self.shard)
    }
}

/// Reads at the node that leads the shard, after making sure that it does.
pub(crate) async fn readable(hub: &Hub, read: &ShardRead) -> Result<Vec<Readable>, AskError> {
    hub.cluster()
        .read_barrier(read.shard())
        .await
        .map_err(|_| AskError::Unavailable)?;
    let mut left = read.limit;
    let mut all = Vec::new();
    for room in &read.rooms {
        let readable = room_readable(hub, read, room, left).map_err(|error| {
            tracing::error!(entity = %room.id, %error, "a room cannot be read");
            AskError::Internal(error.to_string())
        })?;
        left = left.saturating_sub(readable.messages.len());
        all.push(readable);
    }
    Ok(all)
}

fn room_readable(hub: &Hub, read: &ShardRead, asked: &RoomRead, limit: usize) -> Result<Readable, NodeError> {
    let RoomRead { id, room, seen } = asked;
    let mut readable = Readable {
        room: room.clone(),
        last: *seen,
        messages: Vec::new(),
        more: limit == 0,
    };
    let reader = hub.cluster().reader(read.shard());
    let ranges: ReadableRanges = match reader.get(&keys::reader(id, read.user.as_str()))? {
        Some(bytes) => decode(&bytes)?,
        None => return Ok(readable),
    };
    let events = read::events_after(&reader, id, *seen, limit)?;
    readable.more |= events.len() == limit;
    for accepted in events {
        readable.last = accepted.seq;
        if !ranges.contains(accepted.seq) {
            continue;
        }
        match &accepted.event {
            Event::Room(_) => {
                for message in fan_out::to_user(&accepted, &read.user)? {
                    readable
                        .messages
                        .push((accepted.seq, ByteBuf::from(tls::encode(&message))));
                }
            }
            Event::Followed(FollowedEvent::Notified { messages, .. }) => {
                readable
                    .messages
                    .extend(messages.iter().map(|(_, octets)| (accepted.seq, octets.clone())));
            }
            Event::Followed(_) | Event::User(_) => {}
        }
    }
    Ok(readable)
}

async fn rooms(hub: &Arc<Hub>, user: &UserUri) -> Result<Vec<RoomUri>, Problem> {
    match hub.ask_user(user, None, UserRequest::Rooms).await? {
        Reply::Answer(UserAnswer::Rooms(rooms)) => Ok(rooms),
        Reply::Answer(UserAnswer::Unknown) => Err(Problem::no_such_user(user.as_str())),
        other => Err(unexpected(&other)),
    }
}

fn entity(hub: &Hub, room: &RoomUri) -> EntityId {
    if hub.is_local(&room.provider()) {
        EntityId::Room(room.clone())
    } else {
        EntityId::Followed(room.clone())
    }
}

fn parse_cursor(cursor: Option<&str>) -> Result<Cursor, Problem> {
    let Some(text) = cursor else { return Ok(Cursor::new()) };
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|error| Problem::malformed(&format!("cursor: {error}")))?;
    decode(&bytes).map_err(|error| Problem::malformed(&format!("cursor: {error}")))
}
