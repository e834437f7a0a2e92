//! One attempt to deliver events to another provider. Those of a room: `/notify` with as many FanoutMessages as one body holds.

use std::sync::Arc;

use bytes::Bytes;
use mimi_hub_proto::uri::ProviderDomain;
use tracing::warn;

use super::consent;
use super::destination::Attempt;
use crate::command::OutboxCursor;
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::hub::Hub;
use crate::peer::Endpoint;
use crate::read;
use crate::room::fan_out;

pub(super) async fn deliver(hub: &Arc<Hub>, id: &EntityId, cursor: OutboxCursor, to: &ProviderDomain) -> Attempt {
    let room = match id {
        EntityId::Room(room) => room,
        EntityId::User(user) => return Box::pin(consent::deliver(hub, id, user, cursor, to)).await,
        EntityId::Followed(_) => return Attempt::Refused(format!("{id} has no destinations elsewhere"), None),
    };
    let batch = match gather(hub, id, cursor, to) {
        Ok(batch) => batch,
        Err(error) => return Attempt::Refused(error.to_string(), None),
    };
    if batch.body.is_empty() {
        return Attempt::Confirmed(batch.last_seq);
    }
    let time = hub.config().limits.request_timeout();
    let body = Bytes::from(batch.body);
    let answer = hub
        .peers()
        .post(&room.provider(), to, Endpoint::Notify, room.as_str(), body, time)
        .await;
    match answer {
        Ok(answer) if answer.status == http::StatusCode::CREATED => Attempt::Confirmed(batch.last_seq),
        Ok(answer) => Attempt::Refused(format!("answered {}", answer.status), answer.retry_after),
        Err(error) => Attempt::Unreachable(error.to_string()),
    }
}

struct Batch {
    body: Vec<u8>,
    last_seq: u64,
}

/// The events after the cursor, as many as the limits allow and at least one.
fn gather(hub: &Hub, id: &EntityId, cursor: OutboxCursor, to: &ProviderDomain) -> Result<Batch, NodeError> {
    let limits = &hub.config().delivery;
    let reader = hub.cluster().reader(hub.shard_of(id));
    let mut batch = Batch {
        body: Vec::new(),
        last_seq: cursor.confirmed_seq,
    };
    let mut messages = 0;
    for event in read::events_after(&reader, id, cursor.confirmed_seq, limits.batch_messages_max)? {
        if event.seq > cursor.last_seq {
            break;
        }
        if event.seq > batch.last_seq + 1 {
            let (from, until) = (batch.last_seq + 1, event.seq - 1);
            warn!(%id, %to, from, until, "a destination has fallen behind the retention limit: it does not receive these events");
        }
        let rendered = fan_out::to_provider(&event, to)?;
        let bytes = mimi_hub_proto::encode_all(&rendered);
        if !batch.body.is_empty() && batch.body.len() + bytes.len() > limits.batch_bytes_max {
            break;
        }
        messages += rendered.len();
        batch.body.extend_from_slice(&bytes);
        batch.last_seq = event.seq;
        if messages >= limits.batch_messages_max {
            break;
        }
    }
    if batch.last_seq == cursor.confirmed_seq {
        // Nothing is left of what this destination should have had.
        batch.last_seq = cursor.last_seq;
    }
    Ok(batch)
}
