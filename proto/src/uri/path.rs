//! Identifiers in request paths.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but `unreserved` of RFC 3986, so that a whole URI is one path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// `text` as a single path segment: `mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse`.
pub fn path_segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// The URI in a path remainder, or nothing if it does not decode to text. A slash tells the two forms apart: in the
/// encoded one it is `%2F`.
pub(super) fn decode(remainder: &str) -> Option<String> {
    let text = if remainder.contains('/') {
        remainder.into()
    } else {
        percent_decode_str(remainder).decode_utf8().ok()?
    };
    Some(if text.contains("://") {
        text.into_owned()
    } else {
        format!("mimi://{text}")
    })
}
