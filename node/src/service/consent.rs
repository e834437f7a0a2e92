//! `POST /v1/requestConsent/{targetUser}` and `POST /v1/updateConsent/{requesterUser}` (draft-ietf-mimi-protocol, 5.7): both
//! go from one user's provider to the other's, without a hub.
//!
//! What a user sends is an event of the user, and delivered from there like a room's events: in order, and until the other
//! provider has answered. Users of this provider reach each other on the same way, without the network.

use std::sync::Arc;

use bytes::Bytes;
use mimi_hub_proto::mls::KeyPackage;
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{
    ClientIdentity, ClientKeyMaterial, ClientKeyMaterialOutcome, ConsentChange, ConsentEntry, ConsentScope,
    KeyMaterialResponse, tls,
};

use super::unexpected;
use super::users::{self, Changed};
use crate::actor::Reply;
use crate::front::problem::Problem;
use crate::hub::Hub;
use crate::room::{RoomAnswer, RoomRequest};
use crate::user::consent::ConsentView;
use crate::user::event::ConsentRule;
use crate::user::{UserAnswer, UserRequest};

/// Which of the two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// `requestConsent`: from the requester's provider to the target's.
    Request,
    /// `updateConsent`: from the target's provider to the requester's.
    Update,
}

/// A local user asks for consent, or does no more.
pub(crate) async fn request(
    hub: &Arc<Hub>,
    user: &UserUri,
    target: UserUri,
    room: Option<RoomUri>,
    withdraws: bool,
) -> Result<Changed, Problem> {
    if target == *user {
        return Err(Problem::malformed(&"a user needs no consent of its own"));
    }
    let request = UserRequest::RequestConsent {
        target,
        room,
        withdraws,
    };
    users::change(hub, user, None, request).await
}

/// A local user sets a rule, and has the requester told of it.
pub(crate) async fn answer(
    hub: &Arc<Hub>,
    user: &UserUri,
    rule: ConsentRule,
    with_key_packages: bool,
) -> Result<Changed, Problem> {
    let ConsentRule { requester, room, allow } = rule;
    let requester = requester.ok_or_else(|| Problem::malformed(&"who is to be told of it? requester is missing"))?;
    // KeyPackages are routed by their room, and its hub must hear of them: it does where it is the requester's provider.
    let routable = room
        .as_ref()
        .is_some_and(|room| room.provider() == requester.provider());
    if with_key_packages && !routable {
        let detail = "KeyPackages go with a grant for one room, hosted by the requester's provider";
        return Err(Problem::malformed(&detail));
    }
    let request = UserRequest::AnswerConsent {
        requester,
        room,
        allow,
        with_key_packages,
    };
    users::change(hub, user, None, request).await
}

/// All that a local user is shown of consent.
pub(crate) async fn view(hub: &Arc<Hub>, user: &UserUri) -> Result<ConsentView, Problem> {
    match hub.ask_user(user, None, UserRequest::Consent).await? {
        Reply::Answer(UserAnswer::Consent(view)) => Ok(view),
        Reply::Answer(UserAnswer::Unknown) => Err(Problem::no_such_user(user.as_str())),
        other => Err(unexpected(&other)),
    }
}

/// What another provider sends to one of the endpoints. `path`: whom the request path names, a user or a domain.
pub(crate) async fn from_provider(
    hub: &Arc<Hub>,
    source: &ProviderDomain,
    direction: Direction,
    path: &str,
    body: &Bytes,
) -> Result<(), Problem> {
    let entry: ConsentEntry = tls::decode_exact(body).map_err(|error| Problem::malformed(&error))?;
    if entry.change.is_of_requester() != (direction == Direction::Request) {
        let detail = format!("{:?} is sent to the other endpoint", entry.change.operation());
        return Err(Problem::malformed(&detail));
    }
    let ConsentScope { requester, target, .. } = &entry.scope;
    let (sender, receiver, field) = match direction {
        Direction::Request => (requester, target, "requesterUri"),
        Direction::Update => (target, requester, "targetUri"),
    };
    // "the `targetUri` needs to be in one of the domains of the receiving provider, and the `requesterUri` needs to be in one
    // of the domains of the sending provider", and the other way round.
    if sender.provider() != *source {
        return Err(Problem::wrong_source(source.as_str(), field));
    }
    if !names(path, receiver) {
        return Err(Problem::malformed(
            &"the request path names somebody else than the body",
        ));
    }
    if !hub.is_local(&receiver.provider()) {
        return Err(Problem::not_our_user(receiver.as_str()));
    }
    if take_in(hub, entry.clone()).await? || !hub.config().consent.tell_unknown {
        return Ok(());
    }
    Err(Problem::no_such_user(receiver.as_str()))
}

/// The directory has a user in the path, 5.7 a domain: both are understood.
fn names(path: &str, user: &UserUri) -> bool {
    UserUri::from_path(path).map_or_else(
        |_| {
            let domain = path.strip_prefix("mimi://").unwrap_or(path);
            domain
                .parse()
                .is_ok_and(|domain: ProviderDomain| domain == user.provider())
        },
        |named| named == *user,
    )
}

/// Brings an operation to the user of ours that it is about. Says whether there is that user.
pub(crate) async fn take_in(hub: &Arc<Hub>, mut entry: ConsentEntry) -> Result<bool, Problem> {
    let receiver = if entry.change.is_of_requester() {
        entry.scope.target.clone()
    } else {
        entry.scope.requester.clone()
    };
    if let ConsentChange::Grant { client_key_packages } = &mut entry.change
        && !client_key_packages.is_empty()
        && !announce(hub, &entry.scope, client_key_packages).await?
    {
        // No Welcome could be routed to them.
        client_key_packages.clear();
    }
    match hub
        .ask_user(&receiver, None, UserRequest::ConsentReceived(entry))
        .await?
    {
        Reply::Accepted(_) | Reply::Answer(UserAnswer::Unchanged) => Ok(true),
        Reply::Answer(UserAnswer::Unknown) => Ok(false),
        Reply::Answer(other) => Err(unexpected(&other)),
    }
}

/// Has the room that a grant is for remember where its KeyPackages came from. Says whether it does.
async fn announce(hub: &Arc<Hub>, scope: &ConsentScope, key_packages: &[KeyPackage]) -> Result<bool, Problem> {
    let Some(room) = scope.room.as_ref().filter(|room| hub.is_local(&room.provider())) else {
        return Ok(false);
    };
    let may_claim = RoomRequest::MayClaim {
        requester: scope.requester.clone(),
        target: scope.target.clone(),
    };
    match hub.ask_room(room, None, may_claim).await? {
        Reply::Answer(RoomAnswer::MayClaim(true)) => {}
        Reply::Answer(RoomAnswer::MayClaim(false) | RoomAnswer::NoSuchRoom) => return Ok(false),
        other => return Err(unexpected(&other)),
    }
    let clients = key_packages.iter().map(|key_package| {
        let leaf = key_package.leaf_node();
        let identity = ClientIdentity::of_leaf(leaf.credential(), leaf.signature_key())?;
        Ok(ClientKeyMaterial {
            client_uri: identity.client().clone(),
            outcome: ClientKeyMaterialOutcome::Success(key_package.clone()),
        })
    });
    let response = clients
        .collect::<Result<Vec<_>, mimi_hub_proto::Error>>()
        .and_then(|clients| KeyMaterialResponse::from_clients(scope.target.clone(), clients))
        .map_err(|error| Problem::malformed(&error))?;
    let provider = scope.target.provider();
    match hub
        .ask_room(room, None, RoomRequest::Claimed { provider, response })
        .await?
    {
        Reply::Accepted(_) => Ok(true),
        Reply::Answer(RoomAnswer::BadKeyMaterial(reason)) => Err(Problem::malformed(&reason)),
        Reply::Answer(other) => Err(unexpected(&other)),
    }
}
