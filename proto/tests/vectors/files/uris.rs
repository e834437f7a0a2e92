//! The operation `parse-uri`: text that is a MIMI URI of a kind, with its normal form, and text that is none.

use mimi_hub_proto::uri::{ClientUri, GroupUri, RoomUri, UserUri};
use serde_json::{Value, json};

use super::fields::{Read, hex, member, text};
use super::{case, expect};

/// Kind, text, and what is to be seen in it.
const VALID: &[(&str, &str, &str)] = &[
    ("user", "mimi://a.example/u/alice", "a user"),
    ("client", "mimi://a.example/d/ClientA1", "a client"),
    (
        "client",
        "mimi://example.com/d/3b52249d-68f9/0003",
        "a client of two segments",
    ),
    ("room", "mimi://a.example/r/clubhouse", "a room"),
    ("group", "mimi://a.example/g/clubhouse", "the MLS group of a room"),
    ("user", "MIMI://A.Example/u/Alice", "scheme and host in upper case"),
    (
        "user",
        "mimi://a.example/u/%61lice%c3%a9",
        "percent-encoding that is not needed, or in lower case",
    ),
    ("user", "mimi://b\u{fc}cher.example/u/x", "a host in Unicode"),
    ("user", "mimi://XN--BCHER-KVA.example/u/x", "A-labels in upper case"),
    ("user", "mimi://a.example/u/a%2B+b", "sub-delimiters, encoded and not"),
    ("room", "mimi://a.example/r/caf%C3%A9%25", "an encoded percent sign"),
    (
        "user",
        "mimi://a.example/u/~!$&'()*+,;=:@-._",
        "all that need not be encoded",
    ),
];

const INVALID: &[(&str, &str, &str)] = &[
    ("user", "mimi://a.example/r/clubhouse", "a room for a user"),
    ("room", "mimi://a.example/u/alice", "a user for a room"),
    ("user", "mimi://a.example", "a provider for a user"),
    ("user", "mimi://a.example/ux", "no kind"),
    ("user", "mimi://a.example/b/bob", "an unknown kind"),
    ("user", "https://a.example/u/alice", "another scheme"),
    ("user", "mimi:/a.example/u/alice", "no authority"),
    ("user", "mimi:///u/alice", "an empty host"),
    ("user", "mimi://alice@a.example/u/alice", "user information"),
    ("user", "mimi://a.example:443/u/alice", "a port"),
    ("user", "mimi://a.example./u/alice", "a dot behind the host"),
    ("user", "mimi://a..example/u/alice", "an empty label"),
    ("user", "mimi://-a.example/u/alice", "a label that begins with a hyphen"),
    ("user", "mimi://127.0.0.1/u/alice", "an address for a host"),
    ("user", "mimi://a%2eexample/u/alice", "a percent-encoded host"),
    ("user", "mimi://a_b.example/u/alice", "an underscore in the host"),
    ("user", "mimi://a.example/u/", "an empty ID"),
    ("user", "mimi://a.example/u/..", "a dot segment"),
    ("user", "mimi://a.example/u/%2e", "an encoded dot segment"),
    ("user", "mimi://a.example/u/alice/", "a slash behind the ID"),
    ("user", "mimi://a.example/u/a/b", "two segments where there is one"),
    ("user", "mimi://a.example/u/alice?x=1", "a query"),
    ("user", "mimi://a.example/u/alice#x", "a fragment"),
    ("user", "mimi://a.example/u/a%2Fb", "an encoded slash"),
    ("user", "mimi://a.example/u/a%00b", "an encoded control character"),
    ("user", "mimi://a.example/u/a%4", "half a percent-encoding"),
    ("user", "mimi://a.example/u/a%zz", "a percent-encoding that is none"),
    ("user", "mimi://a.example/u/a b", "a space"),
    ("user", "mimi://a.example/u/%ff", "octets that are not UTF-8"),
    ("client", "mimi://a.example/d/x//y", "an empty segment of a client's ID"),
    ("client", "mimi://a.example/d/x/../y", "a dot segment in a client's ID"),
];

pub(super) fn cases() -> Vec<Value> {
    let valid = VALID.iter().map(|(kind, text, what)| {
        let parsed = parse(kind, text).unwrap_or(Value::Null);
        (kind, text, what, parsed)
    });
    let invalid = INVALID.iter().map(|(kind, text, what)| (kind, text, what, Value::Null));
    valid
        .chain(invalid)
        .map(|(kind, text, what, parsed)| {
            let more = json!({ "kind": kind, "text": text, "parsed": parsed });
            case(*what, "protocol 3", "parse-uri", more)
        })
        .collect()
}

/// The parts of what is valid.
fn parse(kind: &str, text: &str) -> Read<Value> {
    let parts = |uri: &str, domain: &str, id: &str| json!({ "uri": uri, "domain": domain, "id": id, "octets": hex(uri.as_bytes()) });
    macro_rules! of {
        ($type:ty) => {{
            let uri: $type = text.parse().map_err(|error| format!("{error}"))?;
            // On the wire only the normal form is taken.
            if <$type>::from_octets(text.as_bytes()).is_ok() != (uri.as_str() == text) {
                return Err("the wire takes what is not in its normal form".to_owned());
            }
            parts(uri.as_str(), uri.domain(), uri.id())
        }};
    }
    Ok(match kind {
        "client" => of!(ClientUri),
        "group" => of!(GroupUri),
        "room" => of!(RoomUri),
        "user" => of!(UserUri),
        other => return Err(format!("the kind {other} is unknown")),
    })
}

pub(super) fn check(case: &Value) -> Read<()> {
    let parsed = parse(text(member(case, "kind")?)?, text(member(case, "text")?)?);
    expect(case, "parsed", &parsed.unwrap_or(Value::Null))
}
