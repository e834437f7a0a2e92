//! `POST /v1/keyMaterial/{targetUser}` (draft-ietf-mimi-protocol, 5.2).
//!
//! The request goes from the requester's provider to the hub of the room, and from there to the target's provider; any of
//! the three may be the same. The hub remembers where each KeyPackage came from; the target's provider remembers for whom
//! it gave it out. Both do so before they answer, so that the Welcome, which comes later, always finds its way; and both
//! answer the same request again with the same KeyPackages, so that a retry costs none, until these are used or one of them
//! has expired.

use std::sync::Arc;

use bytes::Bytes;
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{
    ClientIdentity, ClientKeyMaterialOutcome, KeyMaterialRequest, KeyMaterialResponse, KeyMaterialUserCode, tls,
};
use serde_bytes::ByteBuf;

use super::{answered, relay, reply, unexpected};
use crate::actor::Reply;
use crate::clock;
use crate::command::{RequestHash, request_hash};
use crate::followed::event::AwaitedKeyPackage;
use crate::followed::{FollowedAnswer, FollowedRequest};
use crate::front::problem::Problem;
use crate::hub::Hub;
use crate::mls::crypto;
use crate::peer::Endpoint;
use crate::room::{RoomAnswer, RoomRequest};
use crate::user::{UserAnswer, UserRequest};

/// As the hub of the room, or as the target's provider: `source` says which.
pub(crate) async fn from_provider(
    hub: &Arc<Hub>,
    source: &ProviderDomain,
    target: &UserUri,
    body: Bytes,
) -> Result<Bytes, Problem> {
    let (request, room) = decode(target, &body)?;
    let host = room.provider();
    if hub.is_local(&host) {
        if request.tbs.requesting_user.provider() != *source {
            return Err(Problem::wrong_source(source.as_str(), "requestingUser"));
        }
        return at_hub(hub, source, &room, request, body).await;
    }
    // "KeyPackages requested using this primitive MUST be sent via the hub provider of whatever room they will be used in"
    if host != *source {
        return Err(Problem::wrong_source(source.as_str(), "roomId"));
    }
    if !hub.is_local(&target.provider()) {
        return Err(Problem::not_our_user(target.as_str()));
    }
    at_target(hub, source, &room, request, &body).await
}

/// For a local user: by way of the room's hub, wherever that is.
pub(crate) async fn for_user(hub: &Arc<Hub>, user: &UserUri, target: &UserUri, body: Bytes) -> Result<Bytes, Problem> {
    let (request, room) = decode(target, &body)?;
    if request.tbs.requesting_user != *user {
        return Err(Problem::wrong_user(user.as_str(), "requestingUser"));
    }
    let (ours, host) = (user.provider(), room.provider());
    if hub.is_local(&host) {
        return at_hub(hub, &ours, &room, request, body).await;
    }
    relay(hub, &ours, &host, Endpoint::KeyMaterial, target.as_str(), body).await
}

/// The request, its signature checked, and its room.
fn decode(target: &UserUri, body: &Bytes) -> Result<(KeyMaterialRequest, RoomUri), Problem> {
    let request: KeyMaterialRequest = tls::decode_exact(body).map_err(|error| Problem::malformed(&error))?;
    if request.tbs.target_user != *target {
        return Err(Problem::malformed(&"targetUser is not the user in the request path"));
    }
    let room = request.tbs.room_id.clone().ok_or_else(|| {
        // See SPEC_NOTES.md: without a room, no Welcome could be routed.
        Problem::malformed(&"roomId is missing: key material is given out for one room")
    })?;
    let identity = ClientIdentity::of_leaf(
        request.tbs.requester_credential.as_ref(),
        request.tbs.requester_signature_key.as_bytes(),
    )
    .map_err(|error| Problem::malformed(&error))?;
    if *identity.user() != request.tbs.requesting_user {
        return Err(Problem::malformed(&"requesterCredential is not of requestingUser"));
    }
    // The request does not say which signature algorithm its key is of: it is that of one of the acceptable suites.
    let signed = request
        .tbs
        .acceptable_ciphersuites
        .iter()
        .filter_map(|suite| crypto::supported(*suite))
        .any(|suite| {
            crypto::verify_with_label(
                suite.signature_algorithm(),
                request.tbs.requester_signature_key.as_bytes(),
                "KeyMaterialRequestTBS",
                &tls::encode(&request.tbs),
                &request.key_material_request_signature,
            )
            .is_ok()
        });
    if signed {
        Ok((request, room))
    } else {
        Err(Problem::bad_signature())
    }
}

async fn at_hub(
    hub: &Arc<Hub>,
    source: &ProviderDomain,
    room: &RoomUri,
    request: KeyMaterialRequest,
    body: Bytes,
) -> Result<Bytes, Problem> {
    for turn in 0..TURNS_MAX {
        let hash = turn_hash(source, &request.tbs.target_user, &body, turn);
        let may_claim = RoomRequest::MayClaim {
            requester: request.tbs.requesting_user.clone(),
            target: request.tbs.target_user.clone(),
        };
        match hub.ask_room(room, Some(hash), may_claim).await? {
            Reply::Accepted(earlier) => {
                let Some(references) = still_given_in(&earlier)? else {
                    continue;
                };
                let addable = RoomRequest::AreAddable(references);
                match hub.ask_room(room, None, addable).await? {
                    Reply::Answer(RoomAnswer::AreAddable(true)) => return Ok(earlier),
                    Reply::Answer(RoomAnswer::AreAddable(false)) => {}
                    other => return Err(unexpected(&other)),
                }
            }
            Reply::Answer(RoomAnswer::MayClaim(true)) => {
                if let Some(answer) = claim_at_hub(hub, &hash, room, &request, &body).await? {
                    return Ok(answer);
                }
            }
            Reply::Answer(RoomAnswer::MayClaim(false)) => {
                return refused(request.tbs.target_user, KeyMaterialUserCode::NoConsentForThisRoom);
            }
            Reply::Answer(RoomAnswer::NoSuchRoom) => return Err(Problem::no_such_room(room.as_str())),
            Reply::Answer(other) => return Err(unexpected(&other)),
        }
    }
    Err(Problem::too_many("repetitions of one request for key material"))
}

/// Fetches the KeyPackages, and has the room remember where they came from. `None` when it is an earlier answer that was
/// fetched: it never came to the room, and has expired since.
async fn claim_at_hub(
    hub: &Arc<Hub>,
    hash: &RequestHash,
    room: &RoomUri,
    request: &KeyMaterialRequest,
    body: &Bytes,
) -> Result<Option<Bytes>, Problem> {
    let target = request.tbs.target_user.clone();
    let provider = target.provider();
    let answer = if hub.is_local(&provider) {
        let answer = claim(hub, hash, request.clone()).await?;
        if still_given_in(&answer)?.is_none() {
            return Ok(None);
        }
        answer
    } else {
        let time = hub.config().limits.request_timeout();
        let (peers, ours) = (hub.peers(), room.provider());
        let relayed = peers
            .post(
                &ours,
                &provider,
                Endpoint::KeyMaterial,
                target.as_str(),
                body.clone(),
                time,
            )
            .await;
        answered(&provider, relayed)?
    };
    let response: KeyMaterialResponse =
        tls::decode_exact(&answer).map_err(|error| Problem::bad_gateway(provider.as_str(), &error))?;
    if *response.user_uri() != target {
        return Err(Problem::bad_gateway(provider.as_str(), &"it answers for another user"));
    }
    if given(&response).is_empty() {
        return Ok(Some(answer));
    }
    let claimed = RoomRequest::Claimed {
        provider: provider.clone(),
        response,
    };
    let remembered = hub.ask_room(room, Some(*hash), claimed).await?;
    reply(remembered, |answer| match answer {
        RoomAnswer::BadKeyMaterial(reason) => Err(Problem::bad_gateway(provider.as_str(), &reason)),
        other => Err(unexpected(&other)),
    })
    .map(Some)
}

async fn at_target(
    hub: &Arc<Hub>,
    source: &ProviderDomain,
    room: &RoomUri,
    request: KeyMaterialRequest,
    body: &Bytes,
) -> Result<Bytes, Problem> {
    let target = request.tbs.target_user.clone();
    for turn in 0..TURNS_MAX {
        let hash = turn_hash(source, &target, body, turn);
        if let Reply::Accepted(earlier) = hub.ask_user(&target, Some(hash), UserRequest::Answered).await? {
            let Some(references) = still_given_in(&earlier)? else {
                continue;
            };
            let awaits = FollowedRequest::AwaitsWelcome(references);
            match hub.ask_followed(room, awaits).await? {
                Reply::Answer(FollowedAnswer::AwaitsWelcome(true)) => return Ok(earlier),
                _ => continue,
            }
        }
        let answer = claim(hub, &hash, request).await?;
        let response: KeyMaterialResponse = tls::decode_exact(&answer).map_err(|error| unexpected(&error))?;
        let packages = given(&response);
        if !packages.is_empty() {
            hub.await_welcomes(room, target, packages).await?;
        }
        return Ok(answer);
    }
    Err(Problem::too_many("repetitions of one request for key material"))
}

/// How often the same octets can ask for KeyPackages that are then used or expire.
const TURNS_MAX: u32 = 1_000;

/// A KeyMaterialRequest has nothing in it that is new each time: who adds the same user once more sends the same octets
/// once more (an Ed25519 signature is the same, too). They are a retry for as long as the KeyPackages in the answer are
/// unused and unexpired, and the next turn of the same request afterwards.
fn turn_hash(source: &ProviderDomain, target: &UserUri, body: &Bytes, turn: u32) -> RequestHash {
    match turn {
        0 => request_hash(source, "keyMaterial", target.as_str(), body),
        _ => request_hash(source, &format!("keyMaterial {turn}"), target.as_str(), body),
    }
}

/// The KeyPackages in an answer given earlier, by KeyPackageRef; `None` when one of them has expired.
fn still_given_in(answer: &[u8]) -> Result<Option<Vec<ByteBuf>>, Problem> {
    let response: KeyMaterialResponse = tls::decode_exact(answer).map_err(|error| unexpected(&error))?;
    let now_ms = clock::now_ms();
    let unexpired = |package: AwaitedKeyPackage| {
        let lasts = package.not_after_s.saturating_mul(1_000) > now_ms;
        lasts.then_some(package.reference)
    };
    Ok(given(&response).into_iter().map(unexpired).collect())
}

/// Claims KeyPackages of a user of ours.
async fn claim(hub: &Arc<Hub>, hash: &RequestHash, request: KeyMaterialRequest) -> Result<Bytes, Problem> {
    let target = request.tbs.target_user.clone();
    let shares_room =
        hub.config().consent.shared_room && share_room(hub, &request.tbs.requesting_user, &target).await?;
    reply(
        hub.ask_user(&target, Some(*hash), UserRequest::Claim { request, shares_room })
            .await?,
        |answer| match answer {
            UserAnswer::KeyMaterial(response) => Ok(tls::encode(&response).into()),
            other => Err(unexpected(&other)),
        },
    )
}

/// How many of a user's rooms are looked at.
const SHARED_ROOMS_MAX: usize = 32;

/// Are both active participants of a room that is hosted here?
async fn share_room(hub: &Arc<Hub>, requester: &UserUri, target: &UserUri) -> Result<bool, Problem> {
    let Reply::Answer(UserAnswer::Rooms(rooms)) = hub.ask_user(target, None, UserRequest::Rooms).await? else {
        return Ok(false);
    };
    let hosted = rooms.iter().filter(|room| hub.is_local(&room.provider()));
    for room in hosted.take(SHARED_ROOMS_MAX) {
        let both = RoomRequest::AreActive(vec![requester.clone(), target.clone()]);
        if let Reply::Answer(RoomAnswer::AreActive(true)) = hub.ask_room(room, None, both).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The KeyPackages in an answer.
fn given(response: &KeyMaterialResponse) -> Vec<AwaitedKeyPackage> {
    let given = response.clients().iter().filter_map(|client| match &client.outcome {
        ClientKeyMaterialOutcome::Success(key_package) => {
            let suite = crypto::supported(key_package.cipher_suite())?;
            let reference = crypto::key_package_ref(suite, key_package).ok()?;
            Some(AwaitedKeyPackage {
                reference: ByteBuf::from(reference),
                client: client.client_uri.clone(),
                not_after_s: key_package.lifetime().not_after,
            })
        }
        _ => None,
    });
    given.collect()
}

fn refused(user: UserUri, code: KeyMaterialUserCode) -> Result<Bytes, Problem> {
    let response = KeyMaterialResponse::refused(user, code).map_err(|error| unexpected(&error))?;
    Ok(tls::encode(&response).into())
}
