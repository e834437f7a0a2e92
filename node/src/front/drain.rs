//! A refusal must arrive. A request that is refused before its body has been read would leave the body unread; HTTP/2 then
//! resets the stream, which can overtake the answer, and HTTP/1.1 closes the connection with data in it, which can destroy
//! it. So what is left of a refused request's body is read and dropped first, as long as it is short and comes soon.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Limited};

/// How much of a refused body is read at most.
const BYTES_MAX: usize = 64 * 1024;

/// How long it may take to come.
const TIME_MAX: Duration = Duration::from_secs(1);

/// A body that outlives the handler it was given to.
struct Kept(Arc<Mutex<Body>>);

/// Middleware, outermost: reads what a refused request still sends.
pub(crate) async fn drain(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let kept = Arc::new(Mutex::new(body));
    let response = next
        .run(Request::from_parts(parts, Body::new(Kept(Arc::clone(&kept)))))
        .await;
    let refused = response.status().is_client_error() && response.status() != StatusCode::REQUEST_TIMEOUT;
    if refused && !Kept(Arc::clone(&kept)).is_end_stream() {
        let rest = Limited::new(Kept(kept), BYTES_MAX).collect();
        // Whatever comes of it, the refusal stands.
        drop(tokio::time::timeout(TIME_MAX, rest).await);
    }
    response
}

impl HttpBody for Kept {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::post;
    use tower::ServiceExt;

    use super::*;

    /// A body that counts what is taken from it.
    fn counted(chunks: usize) -> (Body, Arc<Mutex<usize>>) {
        let taken = Arc::new(Mutex::new(0));
        let counter = Arc::clone(&taken);
        let stream = futures::stream::iter((0..chunks).map(move |_| {
            *counter.lock().unwrap() += 1;
            Ok::<_, std::convert::Infallible>(Bytes::from_static(&[0; 1024]))
        }));
        (Body::from_stream(stream), taken)
    }

    async fn send(status: StatusCode, chunks: usize) -> usize {
        let router = Router::new()
            .route("/", post(move || async move { status }))
            .layer(from_fn(drain));
        let (body, taken) = counted(chunks);
        let request = Request::post("/").body(body).unwrap();
        assert_eq!(router.oneshot(request).await.unwrap().status(), status);
        *taken.lock().unwrap()
    }

    #[tokio::test]
    async fn a_refused_body_is_read_to_its_end_when_it_is_short() {
        assert_eq!(send(StatusCode::BAD_REQUEST, 3).await, 3);
    }

    #[tokio::test]
    async fn a_long_one_is_not() {
        assert!(send(StatusCode::PAYLOAD_TOO_LARGE, 1_000).await <= BYTES_MAX / 1024 + 1);
    }

    #[tokio::test]
    async fn nothing_is_read_after_an_answer_of_success_or_a_timeout() {
        assert_eq!(send(StatusCode::OK, 3).await, 0);
        assert_eq!(send(StatusCode::REQUEST_TIMEOUT, 3).await, 0);
    }
}
