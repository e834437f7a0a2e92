//! Delivery of a user's consent operations to the other user's provider: one at a time, in their order.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use mimi_hub_proto::uri::{ProviderDomain, UserUri};
use mimi_hub_proto::{ConsentChange, ConsentEntry, tls};
use serde_bytes::ByteBuf;
use tracing::{info, warn};

use super::destination::Attempt;
use crate::command::{Event, OutboxCursor};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::followed::event::AwaitedKeyPackage;
use crate::hub::Hub;
use crate::mls::crypto;
use crate::peer::{Endpoint, PeerError};
use crate::read;
use crate::service::consent;
use crate::user::UserRequest;
use crate::user::consent::{ConsentSent, SentEffect};
use crate::user::event::UserEvent;

/// How many events are looked at in one attempt.
const EVENTS_MAX: usize = 64;

pub(super) async fn deliver(
    hub: &Arc<Hub>,
    id: &EntityId,
    user: &UserUri,
    cursor: OutboxCursor,
    to: &ProviderDomain,
) -> Attempt {
    let (seq, sent) = match next(hub, id, cursor, to) {
        Ok((seq, Some(sent))) => (seq, sent),
        Ok((seq, None)) => return Attempt::Confirmed(seq),
        Err(error) => return Attempt::Refused(error.to_string(), None),
    };
    let delivered = match tls::decode_exact::<ConsentEntry>(&sent.entry) {
        Ok(entry) => send(hub, user, &sent, entry, to).await,
        Err(error) => Err(Attempt::Refused(error.to_string(), None)),
    };
    match delivered {
        Ok(true) => Attempt::Confirmed(seq),
        Ok(false) => match undeliverable(hub, user, &sent).await {
            Ok(()) => Attempt::Confirmed(seq),
            Err(reason) => Attempt::Refused(reason, None),
        },
        Err(attempt) => attempt,
    }
}

/// The next event for this destination, and its number; without one, how far there is none.
fn next(
    hub: &Hub,
    id: &EntityId,
    cursor: OutboxCursor,
    to: &ProviderDomain,
) -> Result<(u64, Option<ConsentSent>), NodeError> {
    let reader = hub.cluster().reader(hub.shard_of(id));
    let events = read::events_after(&reader, id, cursor.confirmed_seq, EVENTS_MAX)?;
    let first = events.first().map_or(cursor.last_seq + 1, |event| event.seq);
    if first > cursor.confirmed_seq + 1 {
        let (from, until) = (cursor.confirmed_seq + 1, first - 1);
        warn!(%id, %to, from, until, "a destination has fallen behind the retention limit: it does not receive these events");
    }
    let whole = events.len() == EVENTS_MAX;
    let mut last_seq = cursor.last_seq;
    for event in events.into_iter().take_while(|event| event.seq <= cursor.last_seq) {
        if whole {
            last_seq = event.seq;
        }
        match event.event {
            Event::User(UserEvent::ConsentSent(sent)) if sent.to == *to => return Ok((event.seq, Some(sent))),
            _ => {}
        }
    }
    Ok((last_seq, None))
}

/// Says whether it arrived, or never will.
async fn send(
    hub: &Arc<Hub>,
    user: &UserUri,
    sent: &ConsentSent,
    entry: ConsentEntry,
    to: &ProviderDomain,
) -> Result<bool, Attempt> {
    if hub.is_local(to) {
        return consent::take_in(hub, entry)
            .await
            .map_err(|problem| Attempt::Refused(format!("{problem:?}"), None));
    }
    expect_welcomes(hub, user, &entry).await?;
    let endpoint = if entry.change.is_of_requester() {
        Endpoint::RequestConsent
    } else {
        Endpoint::UpdateConsent
    };
    let time = hub.config().limits.request_timeout();
    let body = Bytes::from(sent.entry.to_vec());
    let answer = hub
        .peers()
        .post(&user.provider(), to, endpoint, sent.other.as_str(), body, time)
        .await;
    match answer {
        Ok(answer) if answer.status.is_success() => Ok(true),
        Ok(answer) if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS => Err(
            Attempt::Refused(format!("answered {}", answer.status), answer.retry_after),
        ),
        Ok(answer) => {
            info!(%user, %to, status = %answer.status, "a consent operation is not taken");
            Ok(false)
        }
        Err(PeerError::NotOffered) => Ok(false),
        Err(error) => Err(Attempt::Unreachable(error.to_string())),
    }
}

/// KeyPackages in a grant are awaited from the room's hub before it hears of them.
async fn expect_welcomes(hub: &Arc<Hub>, user: &UserUri, entry: &ConsentEntry) -> Result<(), Attempt> {
    let (ConsentChange::Grant { client_key_packages }, Some(room)) = (&entry.change, &entry.scope.room) else {
        return Ok(());
    };
    let mut packages = Vec::new();
    for key_package in client_key_packages {
        let leaf = key_package.leaf_node();
        let identity = mimi_hub_proto::ClientIdentity::of_leaf(leaf.credential(), leaf.signature_key());
        let reference = crypto::supported(key_package.cipher_suite())
            .and_then(|suite| crypto::key_package_ref(suite, key_package).ok());
        if let (Ok(identity), Some(reference)) = (identity, reference) {
            packages.push(AwaitedKeyPackage {
                reference: ByteBuf::from(reference),
                client: identity.client().clone(),
                not_after_s: key_package.lifetime().not_after,
            });
        }
    }
    if packages.is_empty() {
        return Ok(());
    }
    hub.await_welcomes(room, user.clone(), packages)
        .await
        .map_err(|error| Attempt::Refused(error.to_string(), None))
}

/// The user is shown that its request went nowhere.
async fn undeliverable(hub: &Arc<Hub>, user: &UserUri, sent: &ConsentSent) -> Result<(), String> {
    if sent.effect != SentEffect::Asks {
        return Ok(());
    }
    let request = UserRequest::ConsentUndeliverable {
        target: sent.other.clone(),
        room: sent.room.clone(),
    };
    hub.ask_user(user, None, request)
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}
