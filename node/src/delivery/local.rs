//! Delivery to this provider's own users: a room that they have come to take part in is entered in their room lists. The
//! events themselves stay where they are and are read from the room's log.

use std::collections::BTreeSet;
use std::sync::Arc;

use mimi_hub_proto::uri::{RoomUri, UserUri};

use super::destination::Attempt;
use crate::command::{Event, OutboxCursor};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::hub::Hub;
use crate::read;
use crate::user::UserRequest;

/// How many events are looked at in one attempt.
const EVENTS_MAX: usize = 256;

pub(super) async fn deliver(hub: &Arc<Hub>, id: &EntityId, cursor: OutboxCursor) -> Attempt {
    let (EntityId::Room(room) | EntityId::Followed(room)) = id else {
        return Attempt::Refused(format!("{id} has no readers"), None);
    };
    match joins(hub, id, cursor) {
        Ok((last_seq, users)) => match enter(hub, room, users).await {
            Ok(()) => Attempt::Confirmed(last_seq),
            Err(reason) => Attempt::Refused(reason, None),
        },
        Err(error) => Attempt::Refused(error.to_string(), None),
    }
}

fn joins(hub: &Hub, id: &EntityId, cursor: OutboxCursor) -> Result<(u64, BTreeSet<UserUri>), NodeError> {
    let reader = hub.cluster().reader(hub.shard_of(id));
    let mut users = BTreeSet::new();
    let mut last_seq = cursor.last_seq;
    for (count, event) in read::events_after(&reader, id, cursor.confirmed_seq, EVENTS_MAX)?
        .into_iter()
        .enumerate()
    {
        users.extend(match &event.event {
            Event::Room(event) => event.joined().to_vec(),
            Event::Followed(event) => event.joined().to_vec(),
            Event::User(_) => Vec::new(),
        });
        if count + 1 == EVENTS_MAX {
            last_seq = event.seq.min(cursor.last_seq);
        }
    }
    Ok((last_seq, users))
}

async fn enter(hub: &Arc<Hub>, room: &RoomUri, users: BTreeSet<UserUri>) -> Result<(), String> {
    for user in users {
        let request = UserRequest::JoinRoom(room.clone());
        hub.ask_user(&user, None, request)
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}
