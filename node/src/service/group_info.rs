//! `POST /v1/groupInfo/{roomId}` (draft-ietf-mimi-protocol, 5.6).

use std::sync::Arc;

use bytes::Bytes;
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{ClientIdentity, GroupInfoRequest, GroupInfoResponse, tls};

use super::{must_be_hosted_here, relay, reply, unexpected};
use crate::actor::Reply;
use crate::front::problem::Problem;
use crate::hub::Hub;
use crate::peer::Endpoint;
use crate::room::{RoomAnswer, RoomRequest, group_info};

/// As the hub of the room: gives the GroupInfo to `source`'s client, if it may join.
pub(crate) async fn at_hub(
    hub: &Arc<Hub>,
    source: &ProviderDomain,
    room: &RoomUri,
    body: Bytes,
) -> Result<Bytes, Problem> {
    must_be_hosted_here(hub, room)?;
    let request: GroupInfoRequest = tls::decode_exact(&body).map_err(|error| Problem::malformed(&error))?;
    let asked = RoomRequest::GroupInfo {
        source: source.clone(),
        request: request.clone(),
    };
    let mut answer = hub.ask_room(room, None, asked).await?;
    if matches!(answer, Reply::Accepted(_)) {
        // A join code was shown, and the room will know it when asked again.
        let asked = RoomRequest::GroupInfo {
            source: source.clone(),
            request: request.clone(),
        };
        answer = hub.ask_room(room, None, asked).await?;
    }
    let room_id = room.clone();
    reply(answer, |answer| match answer {
        RoomAnswer::GroupInfo(parts) => {
            let response = group_info::seal(hub.keys(), &request, &parts).map_err(|error| {
                tracing::info!(%room, %error, "a GroupInfo cannot be sealed for its requester");
                Problem::unsealable()
            })?;
            Ok(tls::encode(&response).into())
        }
        RoomAnswer::NotAuthorized(reason) => {
            tracing::debug!(%room, reason, "a GroupInfo is refused");
            Ok(tls::encode(&GroupInfoResponse::NotAuthorized { room_id }).into())
        }
        RoomAnswer::NoSuchRoom => Ok(tls::encode(&GroupInfoResponse::NoSuchRoom { room_id }).into()),
        other => Err(unexpected(&other)),
    })
}

/// For a local user: at the room's hub, wherever that is.
pub(crate) async fn for_user(hub: &Arc<Hub>, user: &UserUri, room: &RoomUri, body: Bytes) -> Result<Bytes, Problem> {
    let request: GroupInfoRequest = tls::decode_exact(&body).map_err(|error| Problem::malformed(&error))?;
    let identity = ClientIdentity::of_leaf(
        request.tbs.requesting_credential.as_ref(),
        request.tbs.requesting_signature_key.as_bytes(),
    )
    .map_err(|error| Problem::malformed(&error))?;
    if identity.user() != user {
        return Err(Problem::wrong_user(user.as_str(), "requestingCredential"));
    }
    let (ours, host) = (user.provider(), room.provider());
    if hub.is_local(&host) {
        return at_hub(hub, &ours, room, body).await;
    }
    relay(hub, &ours, &host, Endpoint::GroupInfo, room.as_str(), body).await
}
