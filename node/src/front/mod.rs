//! The HTTP skin: what a request must be before the hub looks at what it asks, the routes of both listeners, and the
//! answers' form. What is asked is carried out in [`crate::service`].

pub(crate) mod admin;
pub(crate) mod base64;
pub(crate) mod body;
pub(crate) mod drain;
pub(crate) mod federation;
pub(crate) mod identity;
pub(crate) mod local;
mod moderation;
mod people;
pub(crate) mod problem;
pub(crate) mod rate;

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use self::problem::Problem;

/// Middleware: a request that takes longer is answered 503. What it has proposed is not undone: the same request, sent
/// again, gets its reply.
pub(crate) async fn time_limit(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable().retry_after(1).into_response(),
    }
}

pub(crate) async fn no_such_endpoint() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no-such-endpoint",
        "No such endpoint",
        "the directory lists the endpoints",
    )
}

pub(crate) async fn wrong_method() -> Problem {
    let detail = "this endpoint is used with another method";
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong-method",
        "Method not allowed",
        detail,
    )
}
