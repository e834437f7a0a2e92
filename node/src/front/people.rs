//! The local listener's routes about users among each other: consent, profiles, and finding users elsewhere.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use serde::{Deserialize, Serialize};

use super::federation::mimi;
use super::local::{Answer, created, json_body, local_user, mimi_body, speaking_for};
use super::problem::Problem;
use crate::hub::Hub;
use crate::service::{consent, identifier_query, users};
use crate::user::consent::ConsentView;
use crate::user::discovery::Entry;
use crate::user::event::ConsentRule;

pub(super) fn routes() -> Router<Arc<Hub>> {
    Router::new()
        .route("/users/{user}/consent", get(view_consent).put(set_consent))
        .route("/users/{user}/consentRequests", post(request_consent))
        .route("/users/{user}/profile", get(view_profile).put(set_profile))
        .route("/identifierQuery/{domain}", post(identifier_query))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SetConsent {
    requester: Option<UserUri>,
    room: Option<RoomUri>,
    allow: bool,
    /// Is the requester's provider told?
    #[serde(default)]
    notify: bool,
    /// Does the grant bring KeyPackages?
    #[serde(default)]
    key_packages: bool,
}

async fn set_consent(State(hub): State<Arc<Hub>>, Path(user): Path<String>, request: Request) -> Answer {
    let user = local_user(&hub, &user)?;
    let SetConsent {
        requester,
        room,
        allow,
        notify,
        key_packages,
    } = json_body(&hub, request).await?;
    let rule = ConsentRule { requester, room, allow };
    if notify {
        consent::answer(&hub, &user, rule, key_packages).await?;
    } else if key_packages {
        return Err(Problem::malformed(
            &"keyPackages go to the requester's provider: notify is missing",
        ));
    } else {
        users::set_consent(&hub, &user, rule).await?;
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestConsent {
    target: UserUri,
    room: Option<RoomUri>,
    #[serde(default)]
    cancel: bool,
}

async fn request_consent(State(hub): State<Arc<Hub>>, Path(user): Path<String>, request: Request) -> Answer {
    let user = local_user(&hub, &user)?;
    let RequestConsent { target, room, cancel } = json_body(&hub, request).await?;
    Ok(created(consent::request(&hub, &user, target, room, cancel).await?))
}

#[derive(Serialize)]
struct ConsentAnswer {
    rules: Vec<ConsentRule>,
    requests: Vec<AskedAnswer>,
    sent: Vec<SentAnswer>,
    updates: Vec<ToldAnswer>,
}

#[derive(Serialize)]
struct AskedAnswer {
    requester: UserUri,
    room: Option<RoomUri>,
    timestamp: u64,
}

#[derive(Serialize)]
struct SentAnswer {
    target: UserUri,
    room: Option<RoomUri>,
    timestamp: u64,
    undeliverable: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToldAnswer {
    target: UserUri,
    room: Option<RoomUri>,
    timestamp: u64,
    granted: bool,
    key_packages: Vec<String>,
}

impl From<ConsentView> for ConsentAnswer {
    fn from(view: ConsentView) -> Self {
        ConsentAnswer {
            rules: view.rules,
            requests: view
                .requests
                .into_iter()
                .map(|asked| AskedAnswer {
                    requester: asked.requester,
                    room: asked.room,
                    timestamp: asked.at_ms,
                })
                .collect(),
            sent: view
                .sent
                .into_iter()
                .map(|sent| SentAnswer {
                    target: sent.target,
                    room: sent.room,
                    timestamp: sent.at_ms,
                    undeliverable: sent.undeliverable,
                })
                .collect(),
            updates: view
                .updates
                .into_iter()
                .map(|told| ToldAnswer {
                    target: told.target,
                    room: told.room,
                    timestamp: told.at_ms,
                    granted: told.granted,
                    key_packages: told.key_packages.iter().map(|octets| STANDARD.encode(octets)).collect(),
                })
                .collect(),
        }
    }
}

async fn view_consent(State(hub): State<Arc<Hub>>, Path(user): Path<String>) -> Answer {
    let user = local_user(&hub, &user)?;
    let view = consent::view(&hub, &user).await?;
    Ok(axum::Json(ConsentAnswer::from(view)).into_response())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    fields: Vec<Entry>,
}

async fn set_profile(State(hub): State<Arc<Hub>>, Path(user): Path<String>, request: Request) -> Answer {
    let user = local_user(&hub, &user)?;
    let Profile { fields } = json_body(&hub, request).await?;
    identifier_query::set_profile(&hub, &user, fields).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn view_profile(State(hub): State<Arc<Hub>>, Path(user): Path<String>) -> Answer {
    let user = local_user(&hub, &user)?;
    let fields = identifier_query::profile(&hub, &user).await?;
    Ok(axum::Json(Profile { fields }).into_response())
}

async fn identifier_query(State(hub): State<Arc<Hub>>, Path(domain): Path<String>, request: Request) -> Answer {
    let user = speaking_for(&hub, request.headers())?;
    let domain: ProviderDomain = domain.parse().map_err(|error| Problem::malformed_path(&error))?;
    let body = mimi_body(&hub, request).await?;
    Ok(mimi(identifier_query::for_user(&hub, &user, &domain, body).await?))
}
