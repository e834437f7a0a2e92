//! Answers that say why not: problem documents (RFC 9457).
//!
//! A [`Problem`] is for the caller: it names what the caller did or should do, never what is inside this hub. What an
//! operator needs to know is logged where it happens.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;

/// Media type of a problem document.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// A refusal; becomes a response with a problem document.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// Of the types that this hub makes; one that is registered is a URI.
    slug: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    retry_after_s: Option<u64>,
}

#[derive(Serialize)]
struct Document<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    /// A problem of the kind `slug`, which together with `title` stands for one cause; `detail` is about this case.
    pub(crate) fn new(
        status: StatusCode,
        slug: &'static str,
        title: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            slug,
            title,
            detail: detail.into(),
            retry_after_s: None,
        }
    }

    /// The same, with the advice to try again no sooner than after so many seconds.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The problem document (RFC 9457).
    pub(crate) fn document(&self) -> Vec<u8> {
        let document = Document {
            r#type: match self.slug.contains(':') {
                true => self.slug.to_owned(),
                false => format!("urn:mimi-hub:problem:{}", self.slug),
            },
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        // Texts and a number are always laid out.
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// The status it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// `From` is missing, or there is more than one.
    pub(crate) fn from_missing() -> Self {
        let detail = "exactly one From header is needed, with mimi@ and the source provider's domain";
        Self::new(StatusCode::BAD_REQUEST, "from-missing", "No source provider", detail)
    }

    /// `From` is not `mimi@` and a domain.
    pub(crate) fn from_invalid(value: &str) -> Self {
        let detail = format!("From must be mimi@ and a provider's domain, but is {value:?}");
        Self::new(
            StatusCode::BAD_REQUEST,
            "from-invalid",
            "Source provider not understood",
            detail,
        )
    }

    /// Neither `Host` nor `:authority`, or more than one, or two that differ.
    pub(crate) fn host_invalid() -> Self {
        let detail = "exactly one Host (or :authority) is needed, with the target provider's domain";
        Self::new(StatusCode::BAD_REQUEST, "host-invalid", "No target provider", detail)
    }

    /// The request is for a domain that this hub does not serve.
    pub(crate) fn host_unknown(host: &str) -> Self {
        let detail = format!("this hub does not serve {host:?}");
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host-unknown",
            "Other target provider",
            detail,
        )
    }

    /// The client certificate does not authenticate the domain in `From`.
    pub(crate) fn source_not_authenticated(domain: &str) -> Self {
        let detail = format!("the client certificate does not cover {domain}");
        Self::new(
            StatusCode::FORBIDDEN,
            "source-not-authenticated",
            "Source provider not authenticated",
            detail,
        )
    }

    /// The source provider sends more than it may.
    pub(crate) fn rate_exceeded(retry_after_s: u64) -> Self {
        let detail = "more requests than this hub takes from one provider";
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate-exceeded",
            "Too many requests",
            detail,
        )
        .retry_after(retry_after_s)
    }

    /// The body has another media type than the endpoint takes.
    pub(crate) fn content_type(expected: &str) -> Self {
        let detail = format!("the body must be {expected}, and Content-Type must say so");
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content-type",
            "Wrong content type",
            detail,
        )
    }

    /// The body is larger than the limit.
    pub(crate) fn body_too_large(bytes_max: usize) -> Self {
        let detail = format!("a body may have {bytes_max} bytes");
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "Body too large",
            detail,
        )
    }

    /// The body did not arrive in time.
    pub(crate) fn body_timeout(timeout_ms: u128) -> Self {
        let detail = format!("a body must arrive within {timeout_ms} ms");
        Self::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", "Body too slow", detail)
    }

    /// An encapsulated request is for a key configuration that the gateway does not have (RFC 9458, section 5.3).
    pub(crate) fn ohttp_key() -> Self {
        let detail = "fetch the key configurations anew, and encapsulate the request with one of them";
        Self::new(
            StatusCode::BAD_REQUEST,
            mimi_hub_proto::OHTTP_KEY_PROBLEM,
            "Oblivious HTTP key configuration not known",
            detail,
        )
    }

    /// The body broke off.
    pub(crate) fn body_interrupted() -> Self {
        let detail = "the body ended before its announced end";
        Self::new(StatusCode::BAD_REQUEST, "body-interrupted", "Body incomplete", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.document()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_problem_is_a_document_of_rfc_9457() {
        let response = Problem::rate_exceeded(7).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[RETRY_AFTER], "7");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
                "type": "urn:mimi-hub:problem:rate-exceeded",
                "title": "Too many requests",
                "status": 429,
                "detail": "more requests than this hub takes from one provider",
            })
        );
    }

    /// RFC 9458, section 5.3.
    #[test]
    fn rfc_9458_5_3_a_registered_type_is_given_as_it_is() {
        let document: serde_json::Value = serde_json::from_slice(&Problem::ohttp_key().document()).unwrap();
        assert_eq!(
            document["type"],
            "https://iana.org/assignments/http-problem-types#ohttp-key"
        );
        assert_eq!(document["status"], 400);
    }

    #[test]
    fn without_advice_there_is_no_retry_after() {
        let response = Problem::body_too_large(10).into_response();
        assert!(!response.headers().contains_key(RETRY_AFTER));
    }
}
