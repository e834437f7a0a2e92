//! The federation listener's routes: the directory and the endpoints of draft-ietf-mimi-protocol, section 5.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::{StatusCode, Uri, header::CONTENT_TYPE};
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{
    Directory, OHTTP_REQ, OHTTP_REQ_LEN_MAX, UrlTemplate, WELL_KNOWN_DIRECTORY, WELL_KNOWN_OHTTP_GATEWAY,
};

use super::identity::{self, Source};
use super::problem::Problem;
use super::rate::{self, RateLimiter};
use super::{body, drain};
use crate::config::Config;
use crate::error::NodeError;
use crate::hub::Hub;
use crate::service;
use crate::service::consent::Direction;

/// All routes, behind authentication and the rate limit.
pub(crate) fn router(hub: &Arc<Hub>) -> Result<Router, NodeError> {
    let directory = directory(hub.config())?;
    let served: Arc<[ProviderDomain]> = hub.config().hub.domains.clone().into();
    let endpoints = Router::new()
        .route("/v1/keyMaterial/{*target}", post(key_material))
        .route("/v1/update/{*room}", post(update))
        .route("/v1/submitMessage/{*room}", post(submit_message))
        .route("/v1/groupInfo/{*room}", post(group_info))
        .route("/v1/notify/{*room}", post(notify))
        .route("/v1/requestConsent/{*target}", post(request_consent))
        .route("/v1/updateConsent/{*requester}", post(update_consent))
        .route("/v1/reportAbuse/{*room}", post(report_abuse))
        .route("/v1/proxyDownload/{url}", get(proxy_download))
        .merge(queries(hub));
    // The directory's URLs begin with `public_url`, whose path, if it has one, is ours too.
    let path = public_path(hub.config());
    let endpoints = if path.is_empty() {
        endpoints
    } else {
        Router::new().nest(&path, endpoints)
    };
    let time = hub.config().limits.request_timeout();
    let endpoints = endpoints
        .route(WELL_KNOWN_DIRECTORY, get(move || async move { axum::Json(directory) }))
        .route_layer(middleware::from_fn_with_state(time, super::time_limit));
    let mut router = endpoints
        .merge(ohttp_gateway(hub))
        .fallback(super::no_such_endpoint)
        .method_not_allowed_fallback(super::wrong_method)
        .with_state(Arc::clone(hub));
    if let Some(limiter) = RateLimiter::new(&hub.config().limits) {
        router = router.layer(middleware::from_fn_with_state(limiter, rate::limit));
    }
    Ok(router
        .layer(middleware::from_fn_with_state(served, identity::authenticate))
        .layer(middleware::from_fn(drain::drain)))
}

/// Queries have a limit of their own: who asks often enough finds everybody.
fn queries(hub: &Arc<Hub>) -> Router<Arc<Hub>> {
    let queries = Router::new().route("/v1/identifierQuery/{*domain}", post(identifier_query));
    match RateLimiter::per_minute(hub.config().discovery.queries_per_minute_per_provider) {
        Some(limiter) => queries.route_layer(middleware::from_fn_with_state(limiter, rate::limit)),
        None => queries,
    }
}

/// The Oblivious Gateway Resource, where there are assets to fetch. Its answer begins when all of the asset is there, which has
/// a limit of its own on top.
fn ohttp_gateway(hub: &Arc<Hub>) -> Router<Arc<Hub>> {
    let Config { assets, limits, .. } = hub.config();
    if !assets.is_offered() {
        return Router::new();
    }
    Router::new()
        .route(WELL_KNOWN_OHTTP_GATEWAY, get(ohttp_keys).post(ohttp))
        .route_layer(middleware::from_fn_with_state(
            limits.request_timeout() + assets.timeout(),
            super::time_limit,
        ))
}

/// The path of `federation.public_url`, without a slash at its end.
fn public_path(config: &Config) -> String {
    let url = url::Url::parse(&config.public_base());
    url.map(|url| url.path().trim_end_matches('/').to_owned())
        .unwrap_or_default()
}

fn directory(config: &Config) -> Result<Directory, NodeError> {
    let base = config.public_base();
    let template = |endpoint: &str, variable: &str| -> Result<UrlTemplate, mimi_hub_proto::Error> {
        format!("{base}/v1/{endpoint}/{{{variable}}}").parse()
    };
    Ok(Directory {
        key_material: template("keyMaterial", "targetUser")?,
        update: template("update", "roomId")?,
        notify: template("notify", "roomId")?,
        submit_message: template("submitMessage", "roomId")?,
        group_info: template("groupInfo", "roomId")?,
        request_consent: Some(template("requestConsent", "targetUser")?),
        update_consent: Some(template("updateConsent", "requesterUser")?),
        identifier_query: Some(template("identifierQuery", "domain")?),
        report_abuse: Some(template("reportAbuse", "roomId")?),
        proxy_download: match config.assets.is_offered() {
            true => Some(template("proxyDownload", "downloadUrl")?),
            false => None,
        },
    })
}

/// The source provider, the room of the path, and the body.
async fn about_room(hub: &Hub, path: &str, request: Request) -> Result<(ProviderDomain, RoomUri, Bytes), Problem> {
    let room = RoomUri::from_path(path).map_err(|error| Problem::malformed_path(&error))?;
    let (source, body) = source_and_body(hub, request).await?;
    Ok((source, room, body))
}

fn source(request: &Request) -> Result<ProviderDomain, Problem> {
    let source = request.extensions().get::<Source>();
    source.map(|source| source.0.clone()).ok_or_else(Problem::from_missing)
}

async fn source_and_body(hub: &Hub, request: Request) -> Result<(ProviderDomain, Bytes), Problem> {
    let source = source(&request)?;
    let body = body::read(request, mimi_hub_proto::CONTENT_TYPE, &(&hub.config().limits).into()).await?;
    Ok((source, body))
}

async fn key_material(
    State(hub): State<Arc<Hub>>,
    Path(path): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let target = UserUri::from_path(&path).map_err(|error| Problem::malformed_path(&error))?;
    let (source, body) = source_and_body(&hub, request).await?;
    Ok(mimi(
        service::key_material::from_provider(&hub, &source, &target, body).await?,
    ))
}

async fn update(State(hub): State<Arc<Hub>>, Path(path): Path<String>, request: Request) -> Result<Response, Problem> {
    let (source, room, body) = about_room(&hub, &path, request).await?;
    Ok(mimi(service::update::at_hub(&hub, &source, &room, body).await?))
}

async fn submit_message(
    State(hub): State<Arc<Hub>>,
    Path(path): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (source, room, body) = about_room(&hub, &path, request).await?;
    Ok(mimi(service::submit_message::at_hub(&hub, &source, &room, body).await?))
}

async fn group_info(
    State(hub): State<Arc<Hub>>,
    Path(path): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (source, room, body) = about_room(&hub, &path, request).await?;
    Ok(mimi(service::group_info::at_hub(&hub, &source, &room, body).await?))
}

async fn notify(
    State(hub): State<Arc<Hub>>,
    Path(path): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let (source, room, body) = about_room(&hub, &path, request).await?;
    service::notify::notify(&hub, &source, &room, body).await?;
    Ok(StatusCode::CREATED)
}

async fn request_consent(
    State(hub): State<Arc<Hub>>,
    Path(path): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    consent(&hub, Direction::Request, &path, request).await
}

async fn update_consent(
    State(hub): State<Arc<Hub>>,
    Path(path): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    consent(&hub, Direction::Update, &path, request).await
}

async fn consent(hub: &Arc<Hub>, direction: Direction, path: &str, request: Request) -> Result<StatusCode, Problem> {
    let (source, body) = source_and_body(hub, request).await?;
    service::consent::from_provider(hub, &source, direction, path, &body).await?;
    Ok(StatusCode::CREATED)
}

async fn report_abuse(
    State(hub): State<Arc<Hub>>,
    Path(path): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let (source, room, body) = about_room(&hub, &path, request).await?;
    service::report_abuse::at_hub(&hub, &source, &room, body).await?;
    Ok(StatusCode::CREATED)
}

async fn identifier_query(
    State(hub): State<Arc<Hub>>,
    Path(path): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let domain = path.strip_prefix("mimi://").unwrap_or(&path).parse();
    let domain: ProviderDomain = domain.map_err(|error| Problem::malformed_path(&error))?;
    let (_, body) = source_and_body(&hub, request).await?;
    Ok(mimi(
        service::identifier_query::at_provider(&hub, &domain, &body).await?,
    ))
}

async fn proxy_download(
    State(hub): State<Arc<Hub>>,
    Path(url): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    encoded_whole(request.uri())?;
    service::proxy_download::at_hub(&hub, Some(&source(&request)?), &url).await
}

async fn ohttp_keys(State(hub): State<Arc<Hub>>) -> Result<Response, Problem> {
    service::ohttp::keys(&hub)
}

async fn ohttp(State(hub): State<Arc<Hub>>, request: Request) -> Result<Response, Problem> {
    let relay = source(&request)?;
    let body = encapsulated(&hub, request).await?;
    service::ohttp::at_gateway(&hub, Some(&relay), &body).await
}

/// The body of an encapsulated request.
pub(super) async fn encapsulated(hub: &Hub, request: Request) -> Result<Bytes, Problem> {
    let limits = body::BodyLimits {
        bytes_max: OHTTP_REQ_LEN_MAX,
        timeout: hub.config().limits.body_timeout(),
    };
    body::read(request, OHTTP_REQ, &limits).await
}

/// Refuses a request whose URL of an asset was not encoded, so that a part of it has become the request's own query.
pub(super) fn encoded_whole(uri: &Uri) -> Result<(), Problem> {
    match uri.query() {
        None => Ok(()),
        Some(_) => Err(Problem::malformed_path(
            &"the asset's URL is one percent-encoded segment, with nothing after it",
        )),
    }
}

/// An answer of the type `application/mimi`.
pub(super) fn mimi(body: Bytes) -> Response {
    ([(CONTENT_TYPE, mimi_hub_proto::CONTENT_TYPE)], body).into_response()
}
