//! `POST /v1/update/{roomId}` (draft-ietf-mimi-protocol, 5.3).

use std::sync::Arc;

use bytes::Bytes;
use mimi_hub_proto::mls::{CommitMessage, Sender};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{ClientIdentity, HandshakeBundle, UpdateRequest, tls};

use super::{must_be_hosted_here, relay, reply, rooms, unexpected};
use crate::command::request_hash;
use crate::followed::FollowedRequest;
use crate::front::problem::Problem;
use crate::hub::Hub;
use crate::peer::Endpoint;
use crate::room::{RoomAnswer, RoomRequest};

/// As the hub of the room: decides what `source` sends.
pub(crate) async fn at_hub(
    hub: &Arc<Hub>,
    source: &ProviderDomain,
    room: &RoomUri,
    body: Bytes,
) -> Result<Bytes, Problem> {
    must_be_hosted_here(hub, room)?;
    decide(hub, source, room, decode(&body)?, &body).await
}

/// For a local user: at the room's hub, wherever that is.
pub(crate) async fn for_user(hub: &Arc<Hub>, user: &UserUri, room: &RoomUri, body: Bytes) -> Result<Bytes, Problem> {
    let (ours, host) = (user.provider(), room.provider());
    let request = decode(&body)?;
    let joins = match &request.bundle {
        HandshakeBundle::Commit { commit, .. } => commit.sender() == Sender::NewMemberCommit && joins_as(commit, user)?,
        HandshakeBundle::Proposals { .. } => false,
    };
    if hub.is_local(&host) {
        return decide(hub, &ours, room, request, &body).await;
    }
    if joins {
        // Entered before the Commit goes out: what others send in the new epoch may be here before the hub's answer.
        hub.ask_followed(room, FollowedRequest::Join(user.clone())).await?;
    }
    relay(hub, &ours, &host, Endpoint::Update, room.as_str(), body).await
}

fn decode(body: &Bytes) -> Result<UpdateRequest, Problem> {
    tls::decode_exact(body).map_err(|error| Problem::malformed(&error))
}

/// A client that joins by itself is the user's for whom the gateway speaks.
fn joins_as(commit: &CommitMessage, user: &UserUri) -> Result<bool, Problem> {
    let joiner = commit
        .commit()
        .path_leaf()
        .map(|leaf| ClientIdentity::of_leaf(leaf.credential(), leaf.signature_key()));
    match joiner {
        Some(Ok(joiner)) if joiner.user() == user => Ok(true),
        _ => Err(Problem::wrong_user(user.as_str(), "the credential of the Commit")),
    }
}

async fn decide(
    hub: &Arc<Hub>,
    source: &ProviderDomain,
    room: &RoomUri,
    request: UpdateRequest,
    body: &Bytes,
) -> Result<Bytes, Problem> {
    let hash = request_hash(source, "update", room.as_str(), body);
    let request = || RoomRequest::Update {
        source: source.clone(),
        update: request.bundle.clone().into(),
    };
    let answer = rooms::ask_within(hub, room, hash, request).await?;
    reply(answer, |answer| match answer {
        RoomAnswer::Update(response) => Ok(tls::encode(&response).into()),
        RoomAnswer::NoSuchRoom => Err(Problem::no_such_room(room.as_str())),
        other => Err(unexpected(&other)),
    })
}
