//! Downloading by Oblivious HTTP (draft-ietf-mimi-protocol, 5.10.3): the hub as Oblivious Gateway Resource, a provider as
//! Oblivious Relay Resource for its own clients (RFC 9458).
//!
//! What is wrong before a request is opened is answered with a problem that everybody on the way can read; what is wrong
//! afterwards is the client's affair alone, and goes into the encapsulated response (RFC 9458, section 5.2).

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use mimi_hub_proto::uri::ProviderDomain;
use mimi_hub_proto::{OHTTP_KEY_PROBLEM, OHTTP_KEYS, OHTTP_RES};
use serde::Deserialize;

use super::proxy_download::{self, problem};
use super::{RETRY_AFTER_S, answered_with, unexpected};
use crate::assets::{AssetError, TargetRequestError, target_request, target_response};
use crate::front::problem::{PROBLEM_JSON, Problem};
use crate::hub::Hub;
use crate::mls::ohttp_keys::OpenError;
use crate::peer::PeerError;

/// A response to the client, before it is encapsulated.
struct Inner {
    status: StatusCode,
    fields: Vec<(HeaderName, HeaderValue)>,
    content: Bytes,
}

/// The key configurations of this hub's gateway.
pub(crate) fn keys(hub: &Hub) -> Result<Response, Problem> {
    let list = hub.keys().ohttp().configurations().map_err(|error| refusal(&error))?;
    Ok(([(CONTENT_TYPE, OHTTP_KEYS)], list).into_response())
}

/// As gateway: opens an encapsulated request that `relay` has passed on, or this provider itself, and carries it out.
pub(crate) async fn at_gateway(
    hub: &Arc<Hub>,
    relay: Option<&ProviderDomain>,
    encapsulated: &[u8],
) -> Result<Response, Problem> {
    let place = hub.assets().oblivious_place(relay).map_err(|error| problem(&error))?;
    let (request, response) = hub.keys().ohttp().open(encapsulated).map_err(|error| {
        tracing::debug!(%error, "an encapsulated request is refused");
        refusal(&error)
    })?;
    let inner = match carry_out(hub, relay, &request).await {
        Ok(inner) => inner,
        Err(problem) => Inner::from(&problem),
    };
    let encapsulated = tokio::task::spawn_blocking(move || {
        let Inner {
            status,
            fields,
            content,
        } = inner;
        let binary = target_response(status, &fields, content).map_err(|error| error.to_string())?;
        response.encapsulate(&binary).map_err(|error| error.to_string())
    });
    let encapsulated = match encapsulated.await {
        Ok(Ok(encapsulated)) => encapsulated,
        Ok(Err(error)) => return Err(unexpected(&error)),
        Err(error) => return Err(unexpected(&error)),
    };
    let length = encapsulated.len();
    let body = hub.assets().body_of(encapsulated.into(), place);
    Ok(answer(body, Some(length)))
}

/// Why an encapsulated request is not opened: what the relay passes on to the client.
fn refusal(error: &OpenError) -> Problem {
    match error {
        OpenError::Malformed(_) => Problem::malformed(error),
        OpenError::Key(_) => Problem::ohttp_key(),
        OpenError::NoKey => Problem::unavailable().retry_after(RETRY_AFTER_S),
    }
}

async fn carry_out(hub: &Arc<Hub>, relay: Option<&ProviderDomain>, request: &[u8]) -> Result<Inner, Problem> {
    let request = target_request(request).map_err(|error| match error {
        TargetRequestError::Method => Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "wrong-method",
            "Method not allowed",
            error.to_string(),
        ),
        error => Problem::malformed(&error),
    })?;
    let asset = hub.assets().fetch(relay, &request.url).await;
    let asset = asset.map_err(|error| problem(&error))?;
    let mut fields = vec![(CONTENT_TYPE, proxy_download::content_type(&asset))];
    let content = if request.content {
        hub.assets().whole(asset).await.map_err(|error| problem(&error))?
    } else {
        // The rest of it is not fetched.
        fields.extend(asset.length.map(|length| (CONTENT_LENGTH, length.into())));
        Bytes::new()
    };
    Ok(Inner {
        status: StatusCode::OK,
        fields,
        content,
    })
}

impl From<&Problem> for Inner {
    fn from(problem: &Problem) -> Self {
        let mut fields = vec![(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON))];
        if problem.status() == StatusCode::METHOD_NOT_ALLOWED {
            fields.push((ALLOW, HeaderValue::from_static("GET, HEAD")));
        }
        Inner {
            status: problem.status(),
            fields,
            content: problem.document().into(),
        }
    }
}

/// As relay: passes a client's encapsulated request on to the gateway of the hub `host`, which may be this one, and its answer
/// back. Nothing is added that tells of the client.
pub(crate) async fn at_relay(hub: &Arc<Hub>, host: &ProviderDomain, encapsulated: Bytes) -> Result<Response, Problem> {
    if hub.is_local(host) {
        offered(hub)?;
        return at_gateway(hub, None, &encapsulated).await;
    }
    let ours = hub.config().primary_domain();
    let asked = async {
        let response = hub.peers().ohttp(ours, host, encapsulated).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Err(AssetError::Peer(PeerError::NotOffered)),
            StatusCode::BAD_REQUEST => Err(match is_key_problem(response).await {
                true => AssetError::Key,
                false => AssetError::Status(StatusCode::BAD_REQUEST),
            }),
            _ => Ok(response),
        }
    };
    let asset = match hub.assets().relay_oblivious(asked).await {
        Ok(asset) => asset,
        Err(AssetError::Key) => return Err(Problem::ohttp_key()),
        Err(error) => return Err(proxy_download::of_peer(host, &error)),
    };
    if asset.content_type.as_ref().is_none_or(|found| found != OHTTP_RES) {
        return Err(Problem::bad_gateway(host.as_str(), &"its content type is another"));
    }
    let length = asset.length.and_then(|length| usize::try_from(length).ok());
    Ok(answer(asset.body, length))
}

/// For a client: the key configurations of the gateway of the hub `host`, which may be this one.
pub(crate) async fn keys_for_client(hub: &Arc<Hub>, host: &ProviderDomain) -> Result<Response, Problem> {
    if hub.is_local(host) {
        offered(hub)?;
        return keys(hub);
    }
    let time = hub.config().limits.request_timeout();
    let fetched = hub.peers().ohttp_keys(hub.config().primary_domain(), host, time).await;
    let list = answered_with(host, fetched, OHTTP_KEYS)?;
    Ok(([(CONTENT_TYPE, OHTTP_KEYS)], list).into_response())
}

fn offered(hub: &Hub) -> Result<(), Problem> {
    if hub.config().assets.is_offered() {
        Ok(())
    } else {
        Err(Problem::not_offered(hub.config().primary_domain().as_str()))
    }
}

/// The answer is of use to one client, once: no cache on the way keeps it.
fn answer(body: axum::body::Body, length: Option<usize>) -> Response {
    let fields = [(CONTENT_TYPE, OHTTP_RES), (CACHE_CONTROL, "private, no-store")];
    let mut response = (fields, body).into_response();
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    response
}

/// What of a problem document says which problem it is.
#[derive(Deserialize)]
struct Kind {
    r#type: String,
}

/// A problem document is not larger.
const PROBLEM_LEN_MAX: usize = 16 * 1024;

async fn is_key_problem(mut response: reqwest::Response) -> bool {
    let mut document = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        if document.len() + piece.len() > PROBLEM_LEN_MAX {
            return false;
        }
        document.extend_from_slice(&piece);
    }
    serde_json::from_slice::<Kind>(&document).is_ok_and(|kind| kind.r#type == OHTTP_KEY_PROBLEM)
}
