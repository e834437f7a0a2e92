//! Between which two providers does a request travel? (draft-ietf-mimi-protocol, section 4.1)
//!
//! [`authenticate`] runs in front of every federation endpoint and checks, in this order:
//! 1. `From` is one mailbox, an addr-spec whose local part is `mimi`: its domain is the source provider (400).
//! 2. `Host`, or `:authority` in HTTP/2, its port ignored, is a domain that we serve: the target provider (400, 421).
//! 3. The certificate of the connection authenticates the source provider's domain (403).
//!
//! Behind it, [`Source`] and [`Target`] stand among the request's extensions, and are what they say.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{FROM, HOST},
    uri::Authority,
};
use mimi_hub_proto::uri::ProviderDomain;
use tracing::info;

use super::problem::Problem;
use crate::tls::PeerCertificate;

/// The provider that sent the request, authenticated.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Source(pub(crate) ProviderDomain);

/// The one of our domains that the request is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Target(pub(crate) ProviderDomain);

/// Middleware: lets a request pass that says, and proves, between whom it travels. The state is the domains served.
pub(crate) async fn authenticate(
    State(served): State<Arc<[ProviderDomain]>>,
    mut request: Request,
    next: Next,
) -> Response {
    match identify(&request, &served) {
        Ok((source, target)) => {
            request.extensions_mut().insert(source);
            request.extensions_mut().insert(target);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

fn identify(request: &Request, served: &[ProviderDomain]) -> Result<(Source, Target), Problem> {
    let source = source(request.headers())?;
    let target = target(request.headers(), request.uri(), served)?;
    let is_authentic = request
        .extensions()
        .get::<PeerCertificate>()
        .is_some_and(|shown| shown.covers(&source));
    if !is_authentic {
        info!(from = %source, "request refused: the client certificate does not cover the domain in From");
        return Err(Problem::source_not_authenticated(source.as_str()));
    }
    Ok((Source(source), Target(target)))
}

fn source(headers: &HeaderMap) -> Result<ProviderDomain, Problem> {
    let value = single(headers, &FROM).ok_or_else(Problem::from_missing)?;
    let text = value.to_str().map_err(|_| Problem::from_invalid("not text"))?;
    text.strip_prefix("mimi@")
        .and_then(|domain| domain.parse().ok())
        .ok_or_else(|| Problem::from_invalid(text))
}

fn target(headers: &HeaderMap, uri: &Uri, served: &[ProviderDomain]) -> Result<ProviderDomain, Problem> {
    let header = match headers.contains_key(HOST) {
        true => Some(host_header(headers).ok_or_else(Problem::host_invalid)?),
        false => None,
    };
    // RFC 9110, section 7.2, and RFC 9113, section 8.3.1: a target in the request line or `:authority` goes before
    // `Host`, and a `Host` that names somebody else makes the request malformed.
    let host = match (uri.authority(), &header) {
        (Some(authority), Some(header)) if !authority.host().eq_ignore_ascii_case(header.host()) => {
            return Err(Problem::host_invalid());
        }
        (Some(authority), _) => authority.host(),
        (None, Some(header)) => header.host(),
        (None, None) => return Err(Problem::host_invalid()),
    };
    let domain: Option<ProviderDomain> = host.parse().ok();
    domain
        .filter(|domain| served.contains(domain))
        .ok_or_else(|| Problem::host_unknown(host))
}

fn host_header(headers: &HeaderMap) -> Option<Authority> {
    let authority: Authority = single(headers, &HOST)?.to_str().ok()?.parse().ok()?;
    (!authority.as_str().contains('@')).then_some(authority)
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::StatusCode;

    use super::*;
    use crate::tls::testing::Ca;

    fn served() -> Vec<ProviderDomain> {
        ["a.example", "xn--bcher-kva.example"]
            .map(|domain| domain.parse().unwrap())
            .to_vec()
    }

    /// A request over a connection with a certificate for these names.
    fn request(uri: &str, headers: &[(&str, &str)], names: &[&str]) -> Request {
        let builder = headers
            .iter()
            .fold(Request::builder().uri(uri), |b, (name, value)| b.header(*name, *value));
        let mut request = builder.body(Body::empty()).unwrap();
        request
            .extensions_mut()
            .insert(PeerCertificate::new(Ca::new("CA").issue(names).der()));
        request
    }

    fn refusal(uri: &str, headers: &[(&str, &str)]) -> StatusCode {
        identify(&request(uri, headers, &["b.example"]), &served())
            .unwrap_err()
            .status()
    }

    fn parties(uri: &str, headers: &[(&str, &str)], names: &[&str]) -> (String, String) {
        let (Source(source), Target(target)) = identify(&request(uri, headers, names), &served()).unwrap();
        (source.to_string(), target.to_string())
    }

    /// draft-ietf-mimi-protocol, section 4.1: the port of `Host` is ignored.
    #[test]
    fn source_and_target_come_from_from_and_host() {
        let expected = ("b.example".to_owned(), "a.example".to_owned());
        let from = ("from", "mimi@b.example");
        for host in ["a.example", "A.Example", "a.example:8443"] {
            assert_eq!(parties("/v1", &[from, ("host", host)], &["b.example"]), expected);
        }
        assert_eq!(parties("https://a.example:7001/v1", &[from], &["b.example"]), expected);
        assert_eq!(
            parties(
                "https://a.example/v1",
                &[from, ("host", "a.example:7001")],
                &["b.example"]
            ),
            expected
        );
        let (_, target) = parties("/", &[from, ("host", "xn--bcher-kva.example")], &["b.example"]);
        assert_eq!(target, "xn--bcher-kva.example");
    }

    /// draft-ietf-mimi-protocol, section 4.1: addr-spec alone, and the local part is the fixed string `mimi`.
    #[test]
    fn a_from_that_is_not_mimi_at_a_domain_is_400() {
        let host = ("host", "a.example");
        assert_eq!(refusal("/", &[host]), StatusCode::BAD_REQUEST);
        for from in [
            "",
            "b.example",
            "@b.example",
            "MIMI@b.example",
            "alice@b.example",
            "mimi@",
            "mimi@b.example, mimi@c.example",
            "B <mimi@b.example>",
            "<mimi@b.example>",
            "mimi@b.example:7002",
            "mimi@[127.0.0.1]",
            "mimi@127.0.0.1",
            "mimi@b..example",
            "mimi@b.example/",
        ] {
            assert_eq!(
                refusal("/", &[host, ("from", from)]),
                StatusCode::BAD_REQUEST,
                "{from:?}"
            );
        }
        let twice = [host, ("from", "mimi@b.example"), ("from", "mimi@b.example")];
        assert_eq!(refusal("/", &twice), StatusCode::BAD_REQUEST);
    }

    #[test]
    fn a_host_that_is_not_ours_is_421() {
        let from = ("from", "mimi@b.example");
        for host in [
            "c.example",
            "b.example:443",
            "sub.a.example",
            "a.example.",
            "127.0.0.1",
            "[::1]:443",
        ] {
            assert_eq!(
                refusal("/", &[from, ("host", host)]),
                StatusCode::MISDIRECTED_REQUEST,
                "{host}"
            );
        }
        assert_eq!(refusal("https://c.example/", &[from]), StatusCode::MISDIRECTED_REQUEST);
    }

    #[test]
    fn a_host_that_is_missing_doubled_or_contradicted_is_400() {
        let from = ("from", "mimi@b.example");
        assert_eq!(refusal("/", &[from]), StatusCode::BAD_REQUEST);
        let twice = [from, ("host", "a.example"), ("host", "a.example")];
        assert_eq!(refusal("/", &twice), StatusCode::BAD_REQUEST);
        assert_eq!(
            refusal("https://a.example/", &[from, ("host", "c.example")]),
            StatusCode::BAD_REQUEST
        );
        assert_eq!(
            refusal("/", &[from, ("host", "user@a.example")]),
            StatusCode::BAD_REQUEST
        );
    }

    /// draft-ietf-mimi-protocol, section 4.1: the certificate authenticates the source provider's domain.
    #[test]
    fn a_from_that_the_certificate_does_not_cover_is_403() {
        let host = ("host", "a.example");
        for from in ["mimi@c.example", "mimi@sub.b.example", "mimi@example", "mimi@a.example"] {
            assert_eq!(refusal("/", &[host, ("from", from)]), StatusCode::FORBIDDEN, "{from}");
        }
    }

    #[test]
    fn without_a_certificate_nobody_is_believed() {
        let mut request = request(
            "/",
            &[("host", "a.example"), ("from", "mimi@b.example")],
            &["b.example"],
        );
        request.extensions_mut().remove::<PeerCertificate>();
        assert_eq!(
            identify(&request, &served()).unwrap_err().status(),
            StatusCode::FORBIDDEN
        );
    }

    #[test]
    fn a_certificate_may_have_wildcards_and_several_names() {
        let host = ("host", "a.example");
        for (from, names) in [
            ("mimi@chat.b.example", &["*.b.example"][..]),
            ("mimi@c.example", &["b.example", "c.example"]),
            ("mimi@xn--bcher-kva.example", &["xn--bcher-kva.example"]),
        ] {
            let (source, _) = parties("/", &[host, ("from", from)], names);
            assert_eq!(format!("mimi@{source}"), from);
        }
        let too_deep = request("/", &[host, ("from", "mimi@x.chat.b.example")], &["*.b.example"]);
        assert_eq!(
            identify(&too_deep, &served()).unwrap_err().status(),
            StatusCode::FORBIDDEN
        );
    }
}
