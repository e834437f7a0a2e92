//! The test vectors in `proto/vectors`: how each file is made, and how one is checked. Both follow from this crate's code
//! and fixed inputs, so that making them again gives the same octets.
//!
//! A case has a `name`, a `section` of a draft, an `operation`, and the operation's inputs and outputs. The page
//! `proto/vectors/README.md` says what each operation means.

mod binary_http;
mod bodies;
mod components;
mod crypto;
mod fields;
mod franking;
mod group_info;
mod ohttp;
#[path = "../../wire/crypto.rs"]
mod provider;
mod semi_private;
mod structs;
mod updates;
mod uris;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use self::fields::{Read, member, text};

/// Where the files are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// All files, by name, as they are to be.
pub(crate) fn make() -> Read<Vec<(&'static str, String)>> {
    Ok(vec![
        file("bodies.json", &structs::bodies()?),
        file("components.json", &[structs::components()?, updates::cases()?].concat()),
        file("franking.json", &franking::cases()?),
        file("group-info.json", &group_info::cases()?),
        file_of("ohttp.json", &ohttp::documents(), &ohttp::cases()?),
        file("semi-private.json", &semi_private::cases()?),
        file("uris.json", &uris::cases()),
    ])
}

fn file(name: &'static str, cases: &[Value]) -> (&'static str, String) {
    let drafts = json!({
        "extensions": "draft-ietf-mls-extensions",
        "associated-parties": "draft-kohbrok-mls-associated-parties",
        "content": "draft-ietf-mimi-content-08",
        "protocol": "draft-ietf-mimi-protocol-06",
        "ratchet-tree-options": "draft-mahy-mls-ratchet-tree-options-03",
        "room-policy": "draft-ietf-mimi-room-policy-03",
        "semi-private": "draft-mahy-mls-semiprivatemessage-07",
    });
    file_of(name, &drafts, cases)
}

fn file_of(name: &'static str, drafts: &Value, cases: &[Value]) -> (&'static str, String) {
    let whole = sorted(json!({ "format": 1, "drafts": drafts, "cases": cases }));
    (name, format!("{whole:#}\n"))
}

/// With the members of all objects in the order of their names, whatever the JSON library keeps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_by(|one, other| one.0.cmp(&other.0));
            let members = members.into_iter().map(|(name, value)| (name, sorted(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

/// Checks every case of a file by what its operation says; gives how many there are.
pub(crate) fn check(file: &str) -> Read<usize> {
    let file: Value = serde_json::from_str(file).map_err(|error| error.to_string())?;
    let cases = member(&file, "cases")?.as_array().ok_or("cases is not a list")?;
    for case in cases {
        let name = text(member(case, "name")?)?;
        text(member(case, "section")?)?;
        check_case(case).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(cases.len())
}

pub(crate) fn check_case(case: &Value) -> Read<()> {
    match text(member(case, "operation")?)? {
        "encode" | "refuse" => structs::check(case),
        "apply" => updates::check(case),
        "frank" | "verify-frank" => franking::check(case),
        "seal-group-info" | "open-group-info" => group_info::check(case),
        "key-config" | "binary-http" | "encapsulate" | "open-request" | "open-response" => ohttp::check(case),
        "external-receiver" | "associated-party" => semi_private::check(case),
        "parse-uri" => uris::check(case),
        other => Err(format!("the operation {other} is unknown")),
    }
}

/// A case with what all have.
fn case(name: impl Into<String>, section: &str, operation: &str, more: Value) -> Value {
    fields::with(
        json!({ "name": name.into(), "section": section, "operation": operation }),
        more,
    )
}

/// `found` is what the member says.
fn expect(case: &Value, name: &str, found: &Value) -> Read<()> {
    let expected = member(case, name)?;
    if expected == found {
        return Ok(());
    }
    Err(format!("{name} is {expected}, found {found}"))
}
