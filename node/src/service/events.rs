//! A user's event stream: the events of all its rooms, read from the rooms' own logs.
//!
//! The cursor is the caller's: it holds the last event seen of each room. Nothing is stored per reader, so that a stream
//! can be resumed from any cursor, as far back as the rooms' retention goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mimi_hub_cluster::ShardId;
use mimi_hub_proto::tls;
use mimi_hub_proto::uri::{RoomUri, UserUri};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::unexpected;
use crate::actor::Reply;
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
        barriers(hub, &ids).await?;
        let mut page = Page::default();
        for (room, id) in rooms.iter().zip(&ids) {
            page.read_room(hub, user, room, id, &mut cursor, limit)?;
        }
        if !page.events.is_empty() || page.more || timeout_at(deadline, waiter.notified()).await.is_err() {
            let encoded = encode(&cursor).map_err(|error| unexpected(&error))?;
            page.cursor = URL_SAFE_NO_PAD.encode(encoded);
            return Ok(page);
        }
    }
}

impl Page {
    fn read_room(
        &mut self,
        hub: &Hub,
        user: &UserUri,
        room: &RoomUri,
        id: &EntityId,
        cursor: &mut Cursor,
        limit: usize,
    ) -> Result<(), Problem> {
        let seen = cursor.get(room).copied().unwrap_or_default();
        let left = limit.saturating_sub(self.events.len());
        if left == 0 {
            self.more = true;
            return Ok(());
        }
        let (last, events, more) = readable(hub, user, id, seen, left).map_err(|error| unexpected(&error))?;
        self.more |= more;
        for (seq, message) in events {
            self.events.push(StreamEvent {
                room: room.clone(),
                seq,
                fanout_message: STANDARD.encode(message),
            });
        }
        if last > seen {
            cursor.insert(room.clone(), last);
        }
        Ok(())
    }
}

/// Makes sure that what is read next is not older than this call: once for each shard, however many rooms are in it.
async fn barriers(hub: &Hub, ids: &[EntityId]) -> Result<(), Problem> {
    let shards: BTreeSet<ShardId> = ids.iter().map(|id| hub.shard_of(id)).collect();
    for shard in shards {
        let barrier = hub.cluster().read_barrier(shard).await;
        barrier.map_err(|_| Problem::unavailable().retry_after(super::RETRY_AFTER_S))?;
    }
    Ok(())
}

type Readable = (u64, Vec<(u64, Vec<u8>)>, bool);

/// The messages that the user may read after `seen`: the last event looked at, the messages, and whether there may be more.
fn readable(hub: &Hub, user: &UserUri, id: &EntityId, seen: u64, limit: usize) -> Result<Readable, NodeError> {
    let reader = hub.cluster().reader(hub.shard_of(id));
    let ranges: ReadableRanges = match reader.get(&keys::reader(id, user.as_str()))? {
        Some(bytes) => decode(&bytes)?,
        None => return Ok((seen, Vec::new(), false)),
    };
    let mut last = seen;
    let mut messages = Vec::new();
    let events = read::events_after(&reader, id, seen, limit)?;
    let more = events.len() == limit;
    for accepted in events {
        last = accepted.seq;
        if !ranges.contains(accepted.seq) {
            continue;
        }
        match &accepted.event {
            Event::Room(_) => {
                for message in fan_out::to_user(&accepted, user)? {
                    messages.push((accepted.seq, tls::encode(&message)));
                }
            }
            Event::Followed(FollowedEvent::Notified { messages: notified, .. }) => {
                messages.extend(notified.iter().map(|(_, octets)| (accepted.seq, octets.to_vec())));
            }
            Event::Followed(_) | Event::User(_) => {}
        }
    }
    Ok((last, messages, more))
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
