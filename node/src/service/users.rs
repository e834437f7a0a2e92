//! Users of this provider, their clients and KeyPackages, as gateways manage them.

use std::sync::Arc;

use bytes::Bytes;
use mimi_hub_proto::mls::KeyPackage;
use mimi_hub_proto::tls;
use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri};

use super::{moderation, unexpected};
use crate::actor::Reply;
use crate::command::request_hash;
use crate::followed::FollowedRequest;
use crate::front::problem::Problem;
use crate::hub::Hub;
use crate::user::event::ConsentRule;
use crate::user::{UserAnswer, UserRequest};

/// How many KeyPackages one request may publish.
const KEY_PACKAGES_PER_REQUEST_MAX: usize = 200;

/// Did the request change anything?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    Yes,
    No,
}

pub(crate) async fn create(hub: &Arc<Hub>, user: &UserUri) -> Result<Changed, Problem> {
    change(hub, user, None, UserRequest::Create).await
}

pub(crate) async fn delete(hub: &Arc<Hub>, user: &UserUri) -> Result<Changed, Problem> {
    moderation::remove_everywhere(hub, user, None).await?;
    change(hub, user, None, UserRequest::Delete).await
}

pub(crate) async fn add_client(hub: &Arc<Hub>, user: &UserUri, client: ClientUri) -> Result<Changed, Problem> {
    if client.domain() != user.domain() {
        return Err(Problem::malformed_path(&"client and user are of different providers"));
    }
    let named = client.clone();
    change(hub, user, Some(&named), UserRequest::AddClient(client)).await
}

pub(crate) async fn remove_client(hub: &Arc<Hub>, user: &UserUri, client: ClientUri) -> Result<Changed, Problem> {
    let named = client.clone();
    moderation::remove_everywhere(hub, user, Some(&client)).await?;
    change(hub, user, Some(&named), UserRequest::RemoveClient(client)).await
}

pub(crate) async fn set_consent(hub: &Arc<Hub>, user: &UserUri, rule: ConsentRule) -> Result<Changed, Problem> {
    change(hub, user, None, UserRequest::SetConsent(rule)).await
}

/// Takes a room out of the user's event stream.
pub(crate) async fn forget_room(hub: &Arc<Hub>, user: &UserUri, room: &RoomUri) -> Result<Changed, Problem> {
    if !hub.is_local(&room.provider()) {
        hub.ask_followed(room, FollowedRequest::Leave(user.clone())).await?;
    }
    change(hub, user, None, UserRequest::ForgetRoom(room.clone())).await
}

/// Publishes KeyPackages, all or none.
pub(crate) async fn store_key_packages(
    hub: &Arc<Hub>,
    user: &UserUri,
    client: &ClientUri,
    key_packages: &[Vec<u8>],
) -> Result<Bytes, Problem> {
    if key_packages.len() > KEY_PACKAGES_PER_REQUEST_MAX {
        return Err(Problem::too_many("KeyPackages in one request"));
    }
    let decoded: Vec<KeyPackage> = key_packages
        .iter()
        .map(|octets| tls::decode_exact(octets).map_err(|error| Problem::bad_key_package(&error)))
        .collect::<Result<_, _>>()?;
    let hash = request_hash(
        &user.provider(),
        "keyPackages",
        client.as_str(),
        &key_packages.concat().into(),
    );
    let request = UserRequest::StoreKeyPackages {
        client: client.clone(),
        key_packages: decoded,
    };
    match hub.ask_user(user, Some(hash), request).await? {
        Reply::Accepted(bytes) => Ok(bytes),
        Reply::Answer(answer) => Err(refusal(user, Some(client), answer)),
    }
}

pub(super) async fn change(
    hub: &Arc<Hub>,
    user: &UserUri,
    client: Option<&ClientUri>,
    request: UserRequest,
) -> Result<Changed, Problem> {
    match hub.ask_user(user, None, request).await? {
        Reply::Accepted(_) => Ok(Changed::Yes),
        Reply::Answer(UserAnswer::Unchanged) => Ok(Changed::No),
        Reply::Answer(answer) => Err(refusal(user, client, answer)),
    }
}

fn refusal(user: &UserUri, client: Option<&ClientUri>, answer: UserAnswer) -> Problem {
    match answer {
        UserAnswer::Unknown => Problem::no_such_user(user.as_str()),
        UserAnswer::UnknownClient => Problem::no_such_client(client.map_or("", ClientUri::as_str)),
        UserAnswer::TooMany(what) => Problem::too_many(&what),
        UserAnswer::NoSuchRequest => Problem::no_such_request(),
        UserAnswer::BadProfile(reason) => Problem::bad_profile(&reason),
        UserAnswer::BadKeyPackage(reason) => Problem::bad_key_package(&reason),
        other => unexpected(&other),
    }
}
