//! The operations, one file each, behind both listeners: a follower provider's request and a local gateway's take the same
//! way from here on. Each takes a decoded target and the body as it came, and answers the body to send back or a problem.

pub(crate) mod cluster;
pub(crate) mod consent;
pub(crate) mod events;
pub(crate) mod group_info;
pub(crate) mod identifier_query;
pub(crate) mod join_codes;
pub(crate) mod key_material;
pub(crate) mod moderation;
pub(crate) mod notify;
pub(crate) mod ohttp;
mod problems;
pub(crate) mod proxy_download;
pub(crate) mod report_abuse;
pub(crate) mod rooms;
pub(crate) mod scan;
pub(crate) mod submit_message;
pub(crate) mod update;
pub(crate) mod users;

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use mimi_hub_proto::uri::{ProviderDomain, RoomUri};

use crate::actor::{AskError, Reply};
use crate::front::problem::Problem;
use crate::hub::Hub;
use crate::peer::{Endpoint, PeerAnswer, PeerError};

/// Seconds after which a caller may try again when a room is between two leaders, or too busy.
const RETRY_AFTER_S: u64 = 1;

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Unavailable => Problem::unavailable().retry_after(RETRY_AFTER_S),
            AskError::Overloaded => Problem::overloaded().retry_after(RETRY_AFTER_S),
            AskError::Internal(_) => Problem::internal(),
        }
    }
}

/// The reply to an accepted request, or what `answer` makes of another.
fn reply<A>(reply: Reply<A>, answer: impl FnOnce(A) -> Result<Bytes, Problem>) -> Result<Bytes, Problem> {
    match reply {
        Reply::Accepted(bytes) => Ok(bytes),
        Reply::Answer(other) => answer(other),
    }
}

/// An answer that the request cannot have: a mistake of ours, logged where it is noticed.
fn unexpected(answer: &dyn std::fmt::Debug) -> Problem {
    tracing::error!(?answer, "an actor's answer does not fit the request");
    Problem::internal()
}

/// A room is hosted by the provider of its URI; asking another one for it is a mistake of the caller.
fn must_be_hosted_here(hub: &Hub, room: &RoomUri) -> Result<(), Problem> {
    if hub.is_local(&room.provider()) {
        Ok(())
    } else {
        Err(Problem::not_hosted_here(room.as_str()))
    }
}

/// Passes a local gateway's request on to the hub of the room, and its answer back.
async fn relay(
    hub: &Arc<Hub>,
    ours: &ProviderDomain,
    to: &ProviderDomain,
    endpoint: Endpoint,
    parameter: &str,
    body: Bytes,
) -> Result<Bytes, Problem> {
    let time = hub.config().limits.request_timeout();
    let answer = hub.peers().post(ours, to, endpoint, parameter, body, time).await;
    answered(to, answer)
}

/// The body of another provider's answer of success, which must be of the drafts' type.
fn answered(to: &ProviderDomain, answer: Result<PeerAnswer, PeerError>) -> Result<Bytes, Problem> {
    answered_with(to, answer, mimi_hub_proto::CONTENT_TYPE)
}

/// The body of another provider's answer of success, which must be of this media type.
fn answered_with(to: &ProviderDomain, answer: Result<PeerAnswer, PeerError>, expected: &str) -> Result<Bytes, Problem> {
    match answer {
        Ok(answer) if answer.status == StatusCode::OK => {
            let media_type = answer
                .content_type
                .as_deref()
                .and_then(|value| value.split(';').next())
                .map(str::trim);
            if media_type.is_some_and(|found| found.eq_ignore_ascii_case(expected)) {
                return Ok(answer.body);
            }
            Err(Problem::bad_gateway(to.as_str(), &"its content type is another"))
        }
        other => Err(unanswered(to, other)),
    }
}

/// Another provider's answer of success that has no body.
fn acknowledged(to: &ProviderDomain, answer: Result<PeerAnswer, PeerError>) -> Result<(), Problem> {
    match answer {
        Ok(answer) if answer.status.is_success() => Ok(()),
        other => Err(unanswered(to, other)),
    }
}

/// What is said of an answer that is not of success, or of none.
fn unanswered(to: &ProviderDomain, answer: Result<PeerAnswer, PeerError>) -> Problem {
    match answer {
        Ok(answer) if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS => {
            let wait = answer.retry_after.map_or(RETRY_AFTER_S, |wait| wait.as_secs().max(1));
            Problem::peer_unavailable(to.as_str()).retry_after(wait)
        }
        Ok(answer) => Problem::peer_refused(to.as_str(), answer.status),
        Err(PeerError::NotOffered) => Problem::not_offered(to.as_str()),
        Err(error) => {
            tracing::info!(%to, %error, "a provider gave no answer");
            Problem::peer_unavailable(to.as_str()).retry_after(RETRY_AFTER_S)
        }
    }
}
