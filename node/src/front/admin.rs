//! The admin listener's routes: what operators, and `mimi-hub cluster`, ask and change of the cluster.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use mimi_hub_cluster::NodeId;
use serde::Deserialize;

use super::drain;
use super::problem::Problem;
use crate::hub::Hub;
use crate::service::cluster::{self, AdminError};

type Answer = Result<Response, Problem>;
type Body<T> = Result<Json<T>, JsonRejection>;

/// All routes. The listener lets in holders of a certificate of the operators' CA only.
pub(crate) fn router(hub: &Arc<Hub>) -> Router {
    let routes = Router::new()
        .route("/status", get(status))
        .route("/nodes", get(nodes))
        .route("/shards", get(shards))
        .route("/join", post(join))
        .route("/drain", post(drain_node))
        .route("/remove", post(remove))
        .route("/transfer-leader", post(transfer));
    Router::new()
        .nest("/admin/v1/cluster", routes)
        .fallback(super::no_such_endpoint)
        .method_not_allowed_fallback(super::wrong_method)
        .with_state(Arc::clone(hub))
        .layer(middleware::from_fn_with_state(
            hub.config().limits.request_timeout(),
            super::time_limit,
        ))
        .layer(middleware::from_fn(drain::drain))
}

async fn status(State(hub): State<Arc<Hub>>) -> Response {
    Json(cluster::overview(&hub).await).into_response()
}

async fn nodes(State(hub): State<Arc<Hub>>) -> Response {
    Json(cluster::nodes(&hub).await).into_response()
}

async fn shards(State(hub): State<Arc<Hub>>) -> Response {
    Json(cluster::shards(&hub).await).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Join {
    node: NodeId,
    address: String,
    #[serde(default)]
    zone: String,
}

async fn join(State(hub): State<Arc<Hub>>, body: Body<Join>) -> Answer {
    let Join { node, address, zone } = taken(body)?;
    let port = address.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
    if node.0 == 0 || !matches!(port, Some((host, Ok(_))) if !host.is_empty()) {
        return Err(malformed(
            "a node has a number from 1, and an address of the form host:port",
        ));
    }
    done(cluster::join(&hub, node, address, zone).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Drain {
    node: NodeId,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    cancel: bool,
}

async fn drain_node(State(hub): State<Arc<Hub>>, body: Body<Drain>) -> Answer {
    let Drain { node, force, cancel } = taken(body)?;
    done(cluster::drain(&hub, node, force, cancel).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remove {
    node: NodeId,
}

async fn remove(State(hub): State<Arc<Hub>>, body: Body<Remove>) -> Answer {
    done(cluster::remove(&hub, taken(body)?.node).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    shard: u32,
    to: NodeId,
}

async fn transfer(State(hub): State<Arc<Hub>>, body: Body<Transfer>) -> Answer {
    let Transfer { shard, to } = taken(body)?;
    done(cluster::transfer(&hub, shard, to).await)
}

fn taken<T>(body: Body<T>) -> Result<T, Problem> {
    body.map(|Json(body)| body)
        .map_err(|error| malformed(error.body_text()))
}

fn malformed(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "admin-body",
        "The request does not read",
        detail,
    )
}

fn done(outcome: Result<(), AdminError>) -> Answer {
    match outcome {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(AdminError::Ask(error)) => Err(error.into()),
        Err(error) => Err(Problem::new(
            StatusCode::CONFLICT,
            "cluster-refuses",
            "The cluster does not do that",
            error.to_string(),
        )),
    }
}
