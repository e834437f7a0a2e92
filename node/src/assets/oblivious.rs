//! What stands inside of encapsulated requests and responses (RFC 9458): binary HTTP messages (RFC 9292) between a client and
//! the asset server, the Target Resource. Pure.
//!
//! Invariant: what comes out of a request is a URL, which [`super::admit`] decides upon like that of `proxyDownload`, and
//! whether the content is wanted. No header field of the client's goes any further.

use std::io::Cursor;

use bhttp::{Message, Mode};
use http::{HeaderName, HeaderValue, StatusCode, header::HOST};

/// What a client wants of an asset server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TargetRequest {
    /// Whether it wants the content: GET, not HEAD.
    pub(crate) content: bool,
    /// The URL as it was written, not yet admitted.
    pub(crate) url: String,
}

/// Why a binary HTTP message is not a request for an asset.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TargetRequestError {
    /// It does not read.
    #[error("this is not a binary HTTP message: {0}")]
    Malformed(#[from] bhttp::Error),
    /// It is a response.
    #[error("this is a response")]
    NotRequest,
    /// Assets are fetched, and nothing else: a request that is sent again changes nothing (RFC 9458, section 6.5).
    #[error("only GET and HEAD are carried out")]
    Method,
    /// It has content or trailers, with which nothing would be done.
    #[error("a request for an asset has no content")]
    Content,
    /// Its control data is not a URL, or contradicted by `Host`.
    #[error("scheme, authority and path do not make a URL")]
    Url,
}

/// Reads the request.
///
/// # Errors
/// It is none for an asset.
pub(crate) fn target_request(binary: &[u8]) -> Result<TargetRequest, TargetRequestError> {
    let message = Message::read_bhttp(&mut Cursor::new(binary))?;
    let control = message.control();
    let content = match control.method() {
        Some(b"GET") => true,
        Some(b"HEAD") => false,
        Some(_) => return Err(TargetRequestError::Method),
        None => return Err(TargetRequestError::NotRequest),
    };
    if !message.content().is_empty() || !message.trailer().is_empty() {
        return Err(TargetRequestError::Content);
    }
    let mut named = message.header().get_all(HOST.as_str().as_bytes());
    // RFC 9292, section 3.4: the authority may be left to `Host`.
    let authority = match (control.authority(), named.next(), named.next()) {
        (Some(authority), None, None) => authority,
        (Some(authority), Some(host), None) if authority.eq_ignore_ascii_case(host) => authority,
        (None, Some(host), None) => host,
        _ => return Err(TargetRequestError::Url),
    };
    let part = |octets: Option<&[u8]>| -> Result<String, TargetRequestError> {
        let text = octets.and_then(|octets| str::from_utf8(octets).ok());
        text.map(str::to_owned).ok_or(TargetRequestError::Url)
    };
    let (scheme, authority, path) = (part(control.scheme())?, part(Some(authority))?, part(control.path())?);
    // Put together, the parts are what they were apart.
    if scheme.contains([':', '/']) || authority.contains(['/', '?', '#', '\\']) || !path.starts_with('/') {
        return Err(TargetRequestError::Url);
    }
    Ok(TargetRequest {
        content,
        url: format!("{scheme}://{authority}{path}"),
    })
}

/// Lays out a response.
///
/// # Errors
/// None that its parts can cause.
pub(crate) fn target_response(
    status: StatusCode,
    fields: &[(HeaderName, HeaderValue)],
    content: impl AsRef<[u8]>,
) -> Result<Vec<u8>, bhttp::Error> {
    let mut message = Message::response(status.as_u16().try_into()?);
    for (name, value) in fields {
        message.put_header(name.as_str(), value.as_bytes());
    }
    let mut binary = Vec::with_capacity(content.as_ref().len() + 256);
    message.write_content(content);
    message.write_bhttp(Mode::KnownLength, &mut binary)?;
    Ok(binary)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(message: &Message, mode: Mode) -> Vec<u8> {
        let mut binary = Vec::new();
        message.write_bhttp(mode, &mut binary).unwrap();
        binary
    }

    fn message(method: &str, scheme: &str, authority: &str, path: &str) -> Message {
        Message::request(method.into(), scheme.into(), authority.into(), path.into())
    }

    fn read(message: &Message) -> Result<TargetRequest, TargetRequestError> {
        target_request(&encode(message, Mode::KnownLength))
    }

    #[test]
    fn rfc_9292_3_a_request_is_a_method_and_a_url_in_either_mode() {
        for mode in [Mode::KnownLength, Mode::IndeterminateLength] {
            let get = message("GET", "https", "assets.b.example", "/cat?a=b");
            let expected = TargetRequest {
                content: true,
                url: "https://assets.b.example/cat?a=b".to_owned(),
            };
            assert_eq!(target_request(&encode(&get, mode)).unwrap(), expected);
        }
        let head = read(&message("HEAD", "https", "assets.b.example:444", "/cat")).unwrap();
        assert_eq!(
            (head.content, head.url.as_str()),
            (false, "https://assets.b.example:444/cat")
        );
    }

    #[test]
    fn rfc_9292_3_4_the_authority_may_stand_in_host_and_not_be_contradicted() {
        let mut host_alone = message("GET", "https", "", "/cat");
        host_alone.put_header("host", "assets.b.example");
        assert_eq!(read(&host_alone).unwrap().url, "https://assets.b.example/cat");
        let mut both = message("GET", "https", "assets.b.example", "/cat");
        both.put_header("host", "Assets.B.Example");
        assert!(read(&both).is_ok());
        both.put_header("host", "c.example");
        assert!(matches!(read(&both), Err(TargetRequestError::Url)));
        let mut other = message("GET", "https", "assets.b.example", "/cat");
        other.put_header("host", "c.example");
        assert!(matches!(read(&other), Err(TargetRequestError::Url)));
        assert!(matches!(
            read(&message("GET", "https", "", "/cat")),
            Err(TargetRequestError::Url)
        ));
    }

    #[test]
    fn rfc_9458_6_5_methods_that_change_something_are_not_carried_out() {
        for method in ["POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "get", ""] {
            let refused = read(&message(method, "https", "assets.b.example", "/cat"));
            assert!(matches!(refused, Err(TargetRequestError::Method)), "{method}");
        }
        let mut with_content = message("GET", "https", "assets.b.example", "/cat");
        with_content.write_content("content");
        assert!(matches!(read(&with_content), Err(TargetRequestError::Content)));
        let response = target_response(StatusCode::OK, &[], b"").unwrap();
        assert!(matches!(target_request(&response), Err(TargetRequestError::NotRequest)));
    }

    #[test]
    fn parts_that_run_into_each_other_are_no_url() {
        for (scheme, authority, path) in [
            ("https", "assets.b.example", ".c.example/"),
            ("https", "assets.b.example", "@c.example/"),
            ("https", "assets.b.example", "*"),
            ("https", "assets.b.example", ""),
            ("https", "c.example/?", "/assets.b.example"),
            ("https", "c.example#", "/"),
            ("https", "c.example\\", "/"),
            ("https://c.example/", "assets.b.example", "/"),
            ("http:", "assets.b.example", "/"),
            ("", "", "/cat"),
        ] {
            let refused = read(&message("GET", scheme, authority, path));
            assert!(
                matches!(refused, Err(TargetRequestError::Url)),
                "{scheme} {authority} {path}"
            );
        }
        let octets = Message::request(b"GET".to_vec(), b"https".to_vec(), vec![0xff], b"/".to_vec());
        assert!(matches!(read(&octets), Err(TargetRequestError::Url)));
    }

    #[test]
    fn rfc_9292_3_a_response_has_status_fields_and_content() {
        let fields = [(http::header::CONTENT_TYPE, HeaderValue::from_static("image/x"))];
        let binary = target_response(StatusCode::NOT_FOUND, &fields, b"cat").unwrap();
        let message = Message::read_bhttp(&mut Cursor::new(&binary[..])).unwrap();
        assert_eq!(message.control().status().unwrap().code(), 404);
        assert_eq!(message.header().get(b"content-type"), Some(&b"image/x"[..]));
        assert_eq!(message.content(), b"cat");
    }

    proptest! {
        #[test]
        fn any_octets_are_a_request_or_an_error(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(request) = target_request(&octets) {
                prop_assert!(request.url.contains("://"));
            }
        }

        #[test]
        fn a_request_that_is_cut_or_changed_is_a_request_or_an_error(cut in 0_usize..60, at in 0_usize..60, to in any::<u8>()) {
            let mut binary = encode(&message("GET", "https", "assets.b.example", "/cat"), Mode::KnownLength);
            binary.truncate(cut);
            if let Some(octet) = binary.get_mut(at) {
                *octet = to;
            }
            drop(target_request(&binary));
        }
    }
}
