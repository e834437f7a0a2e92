//! The local listener's routes: what the provider's gateways ask, documented in `LOCAL_API.md`.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE};
use mimi_hub_proto::mls::CipherSuite;
use mimi_hub_proto::uri::{ClientUri, ProviderDomain, RoomUri, UserUri};
use openmls_traits::types::SignatureScheme;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::federation::{encapsulated, encoded_whole, mimi};
use super::problem::Problem;
use super::{body, drain, moderation, people};
use crate::hub::Hub;
use crate::mls::crypto;
use crate::mls::hub_keys::Rotation;
use crate::service::events::{LIMIT_MAX, Page, WAIT_MS_MAX};
use crate::service::users::{self, Changed};
use crate::service::{self, events, join_codes, moderation as own_behalf, rooms};

const JSON: &str = "application/json";

/// The header in which a gateway says for whom it speaks.
const MIMI_USER: &str = "mimi-user";

pub(super) type Answer = Result<Response, Problem>;

/// All routes. The listener lets in holders of a certificate of the provider's internal CA only.
pub(crate) fn router(hub: &Arc<Hub>) -> Router {
    let limited = Router::new()
        .route("/hub", get(about_hub))
        .route("/users/{user}", put(create_user).delete(delete_user))
        .route("/users/{user}/clients/{client}", put(add_client).delete(remove_client))
        .route("/users/{user}/clients/{client}/keyPackages", post(store_key_packages))
        .route("/users/{user}/rooms/{room}", delete(forget_room))
        .route("/rooms", post(create_room))
        .route("/rooms/{room}", get(view_room).delete(destroy_room))
        .route("/rooms/{room}/joinCodes", get(list_join_codes))
        .route(
            "/rooms/{room}/joinCodes/{id}",
            put(create_join_code).delete(revoke_join_code),
        )
        .route("/rooms/{room}/bans/{user}", put(bar_user).delete(unbar_user))
        .route("/rooms/{room}/removals/{user}", post(remove_from_room))
        .route("/rooms/{room}/leader", get(room_leader))
        .route("/keyMaterial/{user}", post(key_material))
        .route("/update/{room}", post(update))
        .route("/submitMessage/{room}", post(submit_message))
        .route("/groupInfo/{room}", post(group_info))
        .merge(people::routes())
        .merge(moderation::routes())
        .route("/proxyDownload/{hub}/{url}", get(proxy_download))
        .route("/ohttpKeys/{hub}", get(ohttp_keys))
        .route("/hub/ohttpKey", get(ohttp_key).post(rotate_ohttp_key))
        .layer(middleware::from_fn_with_state(
            hub.config().limits.request_timeout(),
            super::time_limit,
        ));
    // A long poll has its own limit on top.
    let wait = hub.config().limits.request_timeout() + Duration::from_millis(WAIT_MS_MAX);
    let polled = Router::new()
        .route("/users/{user}/events", post(stream_events))
        .layer(middleware::from_fn_with_state(wait, super::time_limit));
    // What comes by Oblivious HTTP comes whole, after the time that the asset takes.
    let whole = hub.config().limits.request_timeout() + hub.config().assets.timeout();
    let oblivious = Router::new()
        .route("/ohttp/{hub}", post(ohttp))
        .layer(middleware::from_fn_with_state(whole, super::time_limit));
    Router::new()
        .nest("/local/v1", limited.merge(polled).merge(oblivious))
        .fallback(super::no_such_endpoint)
        .method_not_allowed_fallback(super::wrong_method)
        .with_state(Arc::clone(hub))
        .layer(middleware::from_fn(drain::drain))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AboutHub {
    domains: Vec<ProviderDomain>,
    /// For groups with Ed25519 signatures.
    external_sender: String,
    /// For groups with ECDSA P-256 signatures.
    external_sender_p256: String,
    ciphersuites: Vec<u16>,
}

async fn about_hub(State(hub): State<Arc<Hub>>) -> Answer {
    let sender = |scheme| {
        hub.keys()
            .external_sender(scheme)
            .map(|sender| STANDARD.encode(sender))
            .map_err(|error| {
                tracing::error!(%error, "the hub's external sender cannot be encoded");
                Problem::internal()
            })
    };
    let about = AboutHub {
        domains: hub.config().hub.domains.clone(),
        external_sender: sender(SignatureScheme::ED25519)?,
        external_sender_p256: sender(SignatureScheme::ECDSA_SECP256R1_SHA256)?,
        ciphersuites: crypto::supported_suites()
            .into_iter()
            .map(|CipherSuite(suite)| suite)
            .collect(),
    };
    Ok(axum::Json(about).into_response())
}

async fn create_user(State(hub): State<Arc<Hub>>, Path(user): Path<String>) -> Answer {
    let user = local_user(&hub, &user)?;
    Ok(created(users::create(&hub, &user).await?))
}

async fn delete_user(State(hub): State<Arc<Hub>>, Path(user): Path<String>) -> Answer {
    let user = local_user(&hub, &user)?;
    users::delete(&hub, &user).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn add_client(State(hub): State<Arc<Hub>>, Path((user, client)): Path<(String, String)>) -> Answer {
    let (user, client) = (local_user(&hub, &user)?, uri::<ClientUri>(&client)?);
    Ok(created(users::add_client(&hub, &user, client).await?))
}

async fn remove_client(State(hub): State<Arc<Hub>>, Path((user, client)): Path<(String, String)>) -> Answer {
    let (user, client) = (local_user(&hub, &user)?, uri::<ClientUri>(&client)?);
    users::remove_client(&hub, &user, client).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyPackages {
    key_packages: Vec<String>,
}

async fn store_key_packages(
    State(hub): State<Arc<Hub>>,
    Path((user, client)): Path<(String, String)>,
    request: Request,
) -> Answer {
    let (user, client) = (local_user(&hub, &user)?, uri::<ClientUri>(&client)?);
    let body: KeyPackages = json_body(&hub, request).await?;
    let key_packages: Vec<_> = body
        .key_packages
        .iter()
        .map(|text| unbase64(text))
        .collect::<Result<_, _>>()?;
    Ok(json(
        users::store_key_packages(&hub, &user, &client, &key_packages).await?,
        StatusCode::OK,
    ))
}

async fn forget_room(State(hub): State<Arc<Hub>>, Path((user, room)): Path<(String, String)>) -> Answer {
    let (user, room) = (local_user(&hub, &user)?, uri::<RoomUri>(&room)?);
    users::forget_room(&hub, &user, &room).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateRoom {
    room: RoomUri,
    group_info: String,
    ratchet_tree: String,
}

async fn create_room(State(hub): State<Arc<Hub>>, headers: HeaderMap, request: Request) -> Answer {
    let user = speaking_for(&hub, &headers)?;
    let CreateRoom {
        room,
        group_info,
        ratchet_tree,
    } = json_body(&hub, request).await?;
    let (group_info, ratchet_tree) = (unbase64(&group_info)?, unbase64(&ratchet_tree)?);
    Ok(json(
        rooms::create(&hub, &user, &room, group_info, ratchet_tree).await?,
        StatusCode::CREATED,
    ))
}

async fn view_room(State(hub): State<Arc<Hub>>, Path(room): Path<String>) -> Answer {
    let room = uri::<RoomUri>(&room)?;
    Ok(axum::Json(rooms::view(&hub, &room).await?).into_response())
}

async fn destroy_room(State(hub): State<Arc<Hub>>, headers: HeaderMap, Path(room): Path<String>) -> Answer {
    let (user, room) = (speaking_for(&hub, &headers)?, uri::<RoomUri>(&room)?);
    own_behalf::destroy(&hub, &room, &user).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn list_join_codes(State(hub): State<Arc<Hub>>, headers: HeaderMap, Path(room): Path<String>) -> Answer {
    let (user, room) = (speaking_for(&hub, &headers)?, uri::<RoomUri>(&room)?);
    Ok(axum::Json(join_codes::list(&hub, &user, &room).await?).into_response())
}

async fn create_join_code(
    State(hub): State<Arc<Hub>>,
    Path((room, id)): Path<(String, String)>,
    request: Request,
) -> Answer {
    let (user, room) = (speaking_for(&hub, request.headers())?, uri::<RoomUri>(&room)?);
    let terms = json_body(&hub, request).await?;
    let code = join_codes::create(&hub, &user, &room, &id, terms).await?;
    Ok((StatusCode::CREATED, axum::Json(code)).into_response())
}

async fn revoke_join_code(
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    Path((room, id)): Path<(String, String)>,
) -> Answer {
    let (user, room) = (speaking_for(&hub, &headers)?, uri::<RoomUri>(&room)?);
    join_codes::revoke(&hub, &user, &room, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn bar_user(State(hub): State<Arc<Hub>>, Path((room, user)): Path<(String, String)>) -> Answer {
    let (room, user) = (uri::<RoomUri>(&room)?, uri::<UserUri>(&user)?);
    Ok(created(own_behalf::bar(&hub, &room, &user).await?))
}

async fn unbar_user(State(hub): State<Arc<Hub>>, Path((room, user)): Path<(String, String)>) -> Answer {
    let (room, user) = (uri::<RoomUri>(&room)?, uri::<UserUri>(&user)?);
    own_behalf::unbar(&hub, &room, &user).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    client: Option<ClientUri>,
}

async fn remove_from_room(
    State(hub): State<Arc<Hub>>,
    Path((room, user)): Path<(String, String)>,
    request: Request,
) -> Answer {
    let (room, user) = (uri::<RoomUri>(&room)?, uri::<UserUri>(&user)?);
    let Removal { client } = json_body(&hub, request).await?;
    Ok(created(own_behalf::remove(&hub, &room, &user, client).await?))
}

#[derive(Serialize)]
struct RoomLeader {
    node: u64,
}

async fn room_leader(State(hub): State<Arc<Hub>>, Path(room): Path<String>) -> Answer {
    let room = uri::<RoomUri>(&room)?;
    let node = rooms::leader(&hub, &room).await?;
    Ok(axum::Json(RoomLeader { node }).into_response())
}

async fn key_material(State(hub): State<Arc<Hub>>, Path(target): Path<String>, request: Request) -> Answer {
    let (user, target) = (speaking_for(&hub, request.headers())?, uri::<UserUri>(&target)?);
    let body = mimi_body(&hub, request).await?;
    Ok(mimi(service::key_material::for_user(&hub, &user, &target, body).await?))
}

async fn update(State(hub): State<Arc<Hub>>, Path(room): Path<String>, request: Request) -> Answer {
    let (user, room) = (speaking_for(&hub, request.headers())?, uri::<RoomUri>(&room)?);
    let body = mimi_body(&hub, request).await?;
    Ok(mimi(service::update::for_user(&hub, &user, &room, body).await?))
}

async fn submit_message(State(hub): State<Arc<Hub>>, Path(room): Path<String>, request: Request) -> Answer {
    let (user, room) = (speaking_for(&hub, request.headers())?, uri::<RoomUri>(&room)?);
    let body = mimi_body(&hub, request).await?;
    Ok(mimi(service::submit_message::for_user(&hub, &user, &room, body).await?))
}

async fn group_info(State(hub): State<Arc<Hub>>, Path(room): Path<String>, request: Request) -> Answer {
    let (user, room) = (speaking_for(&hub, request.headers())?, uri::<RoomUri>(&room)?);
    let body = mimi_body(&hub, request).await?;
    Ok(mimi(service::group_info::for_user(&hub, &user, &room, body).await?))
}

async fn proxy_download(State(hub): State<Arc<Hub>>, Path((host, url)): Path<(String, String)>, uri: Uri) -> Answer {
    encoded_whole(&uri)?;
    service::proxy_download::for_gateway(&hub, &self::uri(&host)?, &url).await
}

async fn ohttp_keys(State(hub): State<Arc<Hub>>, Path(host): Path<String>) -> Answer {
    service::ohttp::keys_for_client(&hub, &uri(&host)?).await
}

async fn ohttp(State(hub): State<Arc<Hub>>, Path(host): Path<String>, request: Request) -> Answer {
    let host = uri(&host)?;
    let body = encapsulated(&hub, request).await?;
    service::ohttp::at_relay(&hub, &host, body).await
}

#[derive(Serialize)]
struct OhttpKey {
    /// The identifier of the key that is given out.
    newest: u8,
    /// How many keys encapsulated requests are opened with.
    kept: usize,
}

async fn ohttp_key(State(hub): State<Arc<Hub>>) -> Answer {
    let keys = hub.keys().ohttp();
    Ok(axum::Json(OhttpKey {
        newest: keys.newest_id(),
        kept: keys.len(),
    })
    .into_response())
}

async fn rotate_ohttp_key(State(hub): State<Arc<Hub>>) -> Answer {
    moderation::rotate(&hub, Rotation::Ohttp).await?;
    ohttp_key(State(hub)).await
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StreamEvents {
    cursor: Option<String>,
    #[serde(default)]
    wait_ms: u64,
    limit: Option<usize>,
}

/// How many events a call brings that does not say.
const LIMIT_DEFAULT: usize = 100;

async fn stream_events(
    State(hub): State<Arc<Hub>>,
    Path(user): Path<String>,
    request: Request,
) -> Result<axum::Json<Page>, Problem> {
    let user = local_user(&hub, &user)?;
    let StreamEvents { cursor, wait_ms, limit } = json_body(&hub, request).await?;
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if wait_ms > WAIT_MS_MAX || limit == 0 || limit > LIMIT_MAX {
        let detail = format!("waitMs is at most {WAIT_MS_MAX}, limit from 1 to {LIMIT_MAX}");
        return Err(Problem::malformed(&detail));
    }
    let wait = Duration::from_millis(wait_ms);
    Ok(axum::Json(
        events::stream(&hub, &user, cursor.as_deref(), wait, limit).await?,
    ))
}

/// A URI that stands in the path as one segment; axum has decoded its percent-encoding.
pub(super) fn uri<T: std::str::FromStr<Err = mimi_hub_proto::Error>>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::malformed_path(&error))
}

pub(super) fn local_user(hub: &Hub, text: &str) -> Result<UserUri, Problem> {
    let user: UserUri = uri(text)?;
    if hub.is_local(&user.provider()) {
        Ok(user)
    } else {
        Err(Problem::not_our_user(user.as_str()))
    }
}

pub(super) fn speaking_for(hub: &Hub, headers: &HeaderMap) -> Result<UserUri, Problem> {
    let value = headers
        .get(MIMI_USER)
        .ok_or_else(|| Problem::no_user(&"the header is missing"))?;
    let user: UserUri = value
        .to_str()
        .map_err(|error| Problem::no_user(&error))?
        .parse()
        .map_err(|error: mimi_hub_proto::Error| Problem::no_user(&error))?;
    if hub.is_local(&user.provider()) {
        Ok(user)
    } else {
        Err(Problem::no_user(&"the user is of another provider"))
    }
}

pub(super) async fn json_body<T: DeserializeOwned>(hub: &Hub, request: Request) -> Result<T, Problem> {
    let body = body::read(request, JSON, &(&hub.config().limits).into()).await?;
    serde_json::from_slice(&body).map_err(|error| Problem::malformed(&error))
}

pub(super) async fn mimi_body(hub: &Hub, request: Request) -> Result<Bytes, Problem> {
    body::read(request, mimi_hub_proto::CONTENT_TYPE, &(&hub.config().limits).into()).await
}

fn unbase64(text: &str) -> Result<Vec<u8>, Problem> {
    STANDARD
        .decode(text)
        .map_err(|error| Problem::malformed(&format!("base64: {error}")))
}

pub(super) fn created(changed: Changed) -> Response {
    let status = if changed == Changed::Yes {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    status.into_response()
}

fn json(body: Bytes, status: StatusCode) -> Response {
    (status, [(CONTENT_TYPE, JSON)], body).into_response()
}
