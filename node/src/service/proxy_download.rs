//! `GET /v1/proxyDownload/{downloadUrl}` (draft-ietf-mimi-protocol, 5.10.2).

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use mimi_hub_proto::uri::ProviderDomain;

use super::RETRY_AFTER_S;
use crate::assets::{Asset, AssetError};
use crate::front::problem::Problem;
use crate::hub::Hub;
use crate::peer::{Endpoint, PeerError};

/// As a hub: fetches the asset, for whichever provider asks, or for this one itself.
pub(crate) async fn at_hub(hub: &Arc<Hub>, source: Option<&ProviderDomain>, url: &str) -> Result<Response, Problem> {
    match hub.assets().fetch(source, url).await {
        Ok(asset) => Ok(response(asset)),
        Err(error) => Err(problem(&error)),
    }
}

/// For a gateway: by the hub `host`, which may be this one. Neither the user nor the room is known here, nor told.
pub(crate) async fn for_gateway(hub: &Arc<Hub>, host: &ProviderDomain, url: &str) -> Result<Response, Problem> {
    if hub.is_local(host) {
        return at_hub(hub, None, url).await;
    }
    let ours = hub.config().primary_domain();
    // No URL has a space.
    let key = format!("{host} {url}");
    let request = hub.peers().get(ours, host, Endpoint::ProxyDownload, url);
    match hub.assets().relay(&key, request).await {
        Ok(asset) => Ok(response(asset)),
        Err(error @ AssetError::Status(StatusCode::NOT_FOUND | StatusCode::GONE)) => Err(problem(&error)),
        Err(error) => Err(of_peer(host, &error)),
    }
}

/// What is said of a hub that was asked and gave no asset.
pub(super) fn of_peer(host: &ProviderDomain, error: &AssetError) -> Problem {
    match error {
        AssetError::Status(status) if may_change(*status) => {
            Problem::peer_unavailable(host.as_str()).retry_after(RETRY_AFTER_S)
        }
        AssetError::Status(status) => Problem::peer_refused(host.as_str(), *status),
        AssetError::Peer(PeerError::NotOffered) => {
            Problem::bad_gateway(host.as_str(), &"it does not offer to fetch assets")
        }
        AssetError::Peer(error) => {
            tracing::info!(%host, %error, "a hub gave no answer");
            Problem::peer_unavailable(host.as_str()).retry_after(RETRY_AFTER_S)
        }
        error => problem(error),
    }
}

/// Whether the same request may get another answer later.
fn may_change(status: StatusCode) -> bool {
    let of_the_asset = status.is_client_error() || status == StatusCode::BAD_GATEWAY;
    !of_the_asset || status == StatusCode::TOO_MANY_REQUESTS
}

/// The type of the asset, as its server has it.
pub(super) fn content_type(asset: &Asset) -> HeaderValue {
    let octets = HeaderValue::from_static("application/octet-stream");
    asset.content_type.clone().unwrap_or(octets)
}

fn response(asset: Asset) -> Response {
    let mut response = ([(CONTENT_TYPE, content_type(&asset))], asset.body).into_response();
    if let Some(length) = asset.length {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    response
}

/// "The hub can reject `proxyDownload` requests by replying with standard HTTP error codes."
pub(super) fn problem(error: &AssetError) -> Problem {
    tracing::debug!(%error, "no asset");
    let detail = error.to_string();
    let new = |status, slug, title| Problem::new(status, slug, title, detail.clone());
    let bad_gateway = |slug| new(StatusCode::BAD_GATEWAY, slug, "The asset cannot be had");
    match *error {
        AssetError::Refused(refusal) if refusal.is_forbidden() => {
            new(StatusCode::FORBIDDEN, "asset-not-allowed", "This URL is not fetched")
        }
        AssetError::Refused(_) => new(StatusCode::BAD_REQUEST, "asset-url", "This is not the URL of an asset"),
        AssetError::Address => bad_gateway("asset-address"),
        AssetError::Busy => {
            new(StatusCode::SERVICE_UNAVAILABLE, "asset-busy", "Too many downloads").retry_after(RETRY_AFTER_S)
        }
        AssetError::PeerBusy => new(
            StatusCode::TOO_MANY_REQUESTS,
            "asset-peer-busy",
            "Too many downloads for one provider",
        )
        .retry_after(RETRY_AFTER_S),
        AssetError::Timeout => new(StatusCode::GATEWAY_TIMEOUT, "asset-timeout", "The asset cannot be had"),
        AssetError::Status(status @ (StatusCode::NOT_FOUND | StatusCode::GONE)) => {
            new(status, "asset-not-found", "No such asset")
        }
        AssetError::TooLarge(_) => bad_gateway("asset-too-large"),
        AssetError::Encoded => bad_gateway("asset-encoded"),
        AssetError::Incomplete => bad_gateway("asset-incomplete"),
        AssetError::Unreachable(_) | AssetError::Status(_) | AssetError::Key | AssetError::Peer(_) => {
            bad_gateway("asset-unavailable")
        }
    }
}
