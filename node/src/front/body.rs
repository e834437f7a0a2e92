//! Reading a request's body within a size and a time.

use std::time::Duration;

use axum::{body::Body, extract::Request};
use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_LENGTH, header::CONTENT_TYPE};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;
use tracing::debug;

use super::problem::Problem;
use crate::config::LimitsConfig;

/// Bounds on one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    /// Size.
    pub(crate) bytes_max: usize,
    /// Time until the last byte is here, however the bytes before it trickle in.
    pub(crate) timeout: Duration,
}

impl From<&LimitsConfig> for BodyLimits {
    fn from(limits: &LimitsConfig) -> Self {
        Self {
            bytes_max: limits.body_bytes_max,
            timeout: limits.body_timeout(),
        }
    }
}

/// Reads the whole body, which must be of the media type `expected` (parameters aside).
///
/// # Errors
/// 415 another media type or none; 413 larger than the limit, told without reading on; 408 not here in time; 400 broken
/// off.
pub(crate) async fn read(request: Request, expected: &str, limits: &BodyLimits) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    if !has_content_type(&parts.headers, expected) {
        return Err(Problem::content_type(expected));
    }
    if announces_more_than(&parts.headers, limits.bytes_max) {
        return Err(Problem::body_too_large(limits.bytes_max));
    }
    collect(body, limits).await
}

async fn collect(body: Body, limits: &BodyLimits) -> Result<Bytes, Problem> {
    let collected = timeout(limits.timeout, Limited::new(body, limits.bytes_max).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::body_too_large(limits.bytes_max)),
        Ok(Err(error)) => {
            debug!(%error, "a request's body broke off");
            Err(Problem::body_interrupted())
        }
        Err(_) => Err(Problem::body_timeout(limits.timeout.as_millis())),
    }
}

fn has_content_type(headers: &HeaderMap, expected: &str) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or(value).trim();
    essence.eq_ignore_ascii_case(expected)
}

/// Whether `Content-Length` says already that reading is in vain. A missing or odd one is left to the reading.
fn announces_more_than(headers: &HeaderMap, bytes_max: usize) -> bool {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    announced.is_some_and(|announced| usize::try_from(announced).map_or(true, |announced| announced > bytes_max))
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io};

    use futures::{StreamExt, stream};
    use http::StatusCode;

    use super::*;

    const LIMITS: BodyLimits = BodyLimits {
        bytes_max: 10,
        timeout: Duration::from_millis(50),
    };

    fn request(content_type: Option<&str>, body: Body) -> Request {
        let builder = content_type
            .into_iter()
            .fold(Request::builder(), |b, value| b.header(CONTENT_TYPE, value));
        builder.body(body).unwrap()
    }

    async fn status_of(content_type: Option<&str>, body: Body) -> StatusCode {
        read(request(content_type, body), "application/mimi", &LIMITS)
            .await
            .unwrap_err()
            .status()
    }

    #[tokio::test]
    async fn a_body_up_to_the_limit_is_read() {
        let read = read(
            request(Some("Application/MIMI; v=1"), Body::from("0123456789")),
            "application/mimi",
            &LIMITS,
        );
        assert_eq!(read.await.unwrap(), "0123456789");
    }

    #[tokio::test]
    async fn another_content_type_or_none_is_415() {
        for content_type in [None, Some("application/json"), Some("application/mimi2"), Some("")] {
            assert_eq!(
                status_of(content_type, Body::empty()).await,
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            );
        }
    }

    #[tokio::test]
    async fn one_byte_too_many_is_413_announced_or_not() {
        let announced = Body::from("0123456789a");
        assert_eq!(
            status_of(Some("application/mimi"), announced).await,
            StatusCode::PAYLOAD_TOO_LARGE
        );
        let chunks = stream::iter(["01234", "56789", "a"]).map(Ok::<_, Infallible>);
        let streamed = Body::from_stream(chunks);
        assert_eq!(
            status_of(Some("application/mimi"), streamed).await,
            StatusCode::PAYLOAD_TOO_LARGE
        );
    }

    #[tokio::test]
    async fn an_announced_size_is_refused_before_a_byte_is_read() {
        let mut request = request(
            Some("application/mimi"),
            Body::from_stream(stream::pending::<io::Result<Bytes>>()),
        );
        request.headers_mut().insert(CONTENT_LENGTH, "11".parse().unwrap());
        let problem = read(request, "application/mimi", &LIMITS).await.unwrap_err();
        assert_eq!(problem.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn a_body_that_trickles_is_408() {
        let trickle = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, Infallible>("1"), ()))
        });
        assert_eq!(
            status_of(Some("application/mimi"), Body::from_stream(trickle)).await,
            StatusCode::REQUEST_TIMEOUT
        );
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_400() {
        let broken = stream::iter([Ok("123"), Err(io::Error::other("connection reset"))]);
        assert_eq!(
            status_of(Some("application/mimi"), Body::from_stream(broken)).await,
            StatusCode::BAD_REQUEST
        );
    }
}
