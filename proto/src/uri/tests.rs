//! Canonical form, refusals and request paths.

use proptest::prelude::*;

use super::{ClientUri, GroupUri, IdentifierUri, MAX_URI_LEN, ProviderDomain, RoomUri, UserUri, path_segment};
use crate::tls::{decode_exact, encode};
use crate::{Error, UriFault};

fn fault<T: std::fmt::Debug>(result: Result<T, Error>) -> UriFault {
    match result {
        Err(Error::Uri { fault, .. }) => fault,
        other => panic!("expected a URI error, got {other:?}"),
    }
}

#[test]
fn protocol_3_examples_parse_to_their_parts() {
    let user: UserUri = "mimi://a.example/u/alice".parse().unwrap();
    assert_eq!(
        (user.domain(), user.id(), user.as_str()),
        ("a.example", "alice", "mimi://a.example/u/alice")
    );
    let client: ClientUri = "mimi://a.example/d/ClientA1".parse().unwrap();
    assert_eq!((client.domain(), client.id()), ("a.example", "ClientA1"));
    let room: RoomUri = "mimi://a.example/r/clubhouse".parse().unwrap();
    assert_eq!(room.group_uri().as_str(), "mimi://a.example/g/clubhouse");
    assert_eq!(room.group_uri().room_uri(), room);
    let group: GroupUri = "mimi://a.example/g/clubhouse".parse().unwrap();
    assert_eq!(group.provider(), "a.example".parse::<ProviderDomain>().unwrap());
}

#[test]
fn one_kind_is_not_another() {
    assert_eq!(fault("mimi://a.example/r/clubhouse".parse::<UserUri>()), UriFault::Kind);
    assert_eq!(fault("mimi://a.example/u/alice".parse::<RoomUri>()), UriFault::Kind);
    assert_eq!(fault("mimi://a.example".parse::<UserUri>()), UriFault::Kind);
    assert_eq!(fault("mimi://a.example/ux".parse::<UserUri>()), UriFault::Kind);
}

#[test]
fn text_is_brought_into_canonical_form() {
    for (text, canonical) in [
        ("MIMI://A.Example/u/Alice", "mimi://a.example/u/Alice"),
        ("mimi://a.example/u/%61lice%c3%a9", "mimi://a.example/u/alice%C3%A9"),
        ("mimi://b\u{fc}cher.example/u/x", "mimi://xn--bcher-kva.example/u/x"),
        ("mimi://XN--BCHER-KVA.example/u/x", "mimi://xn--bcher-kva.example/u/x"),
        ("mimi://a.example/u/a%2B+b", "mimi://a.example/u/a%2B+b"),
    ] {
        assert_eq!(text.parse::<UserUri>().unwrap().as_str(), canonical, "{text}");
    }
}

#[test]
fn the_wire_carries_only_canonical_form() {
    let alice: UserUri = "mimi://a.example/u/alice".parse().unwrap();
    assert_eq!(decode_exact::<UserUri>(&encode(&alice)), Ok(alice));
    let octets = encode(&b"mimi://A.example/u/alice".to_vec());
    assert_eq!(fault(decode_exact::<UserUri>(&octets)), UriFault::NotCanonical);
    assert_eq!(fault(decode_exact::<UserUri>(&[1, 0xff])), UriFault::Utf8);
}

#[test]
fn what_is_no_identifier_is_refused() {
    for (text, expected) in [
        ("https://a.example/u/alice", UriFault::Scheme),
        ("mimi:/a.example/u/alice", UriFault::Scheme),
        ("mimi:///u/alice", UriFault::Domain),
        ("mimi://alice@a.example/u/alice", UriFault::Domain),
        ("mimi://a.example:443/u/alice", UriFault::Domain),
        ("mimi://a.example./u/alice", UriFault::Domain),
        ("mimi://a..example/u/alice", UriFault::Domain),
        ("mimi://-a.example/u/alice", UriFault::Domain),
        ("mimi://127.0.0.1/u/alice", UriFault::Domain),
        ("mimi://a%2eexample/u/alice", UriFault::Domain),
        ("mimi://a_b.example/u/alice", UriFault::Domain),
        ("mimi://a.example/u/", UriFault::Id),
        ("mimi://a.example/u/..", UriFault::Id),
        ("mimi://a.example/u/%2e", UriFault::Id),
        ("mimi://a.example/u/alice/", UriFault::Character(b'/')),
        ("mimi://a.example/u/alice?x=1", UriFault::Character(b'?')),
        ("mimi://a.example/u/alice#x", UriFault::Character(b'#')),
        ("mimi://a.example/u/a%2Fb", UriFault::Character(b'/')),
        ("mimi://a.example/u/a%00b", UriFault::Character(0)),
        ("mimi://a.example/u/a%4", UriFault::Character(b'%')),
        ("mimi://a.example/u/a%zz", UriFault::Character(b'%')),
        ("mimi://a.example/u/a%+1", UriFault::Character(b'%')),
        ("mimi://a.example/u/a b", UriFault::Character(b' ')),
        ("mimi://a.example/u/%ff", UriFault::Utf8),
    ] {
        assert_eq!(fault(text.parse::<UserUri>()), expected, "{text}");
    }
}

#[test]
fn content_3_client_may_have_several_segments() {
    let client: ClientUri = "mimi://example.com/d/3b52249d-68f9/0003".parse().unwrap();
    assert_eq!(client.id(), "3b52249d-68f9/0003");
    assert_eq!(fault("mimi://a.example/d/x//y".parse::<ClientUri>()), UriFault::Id);
    assert_eq!(fault("mimi://a.example/d/x/../y".parse::<ClientUri>()), UriFault::Id);
}

#[test]
fn length_is_limited() {
    let prefix = "mimi://a.example/u/";
    let longest = format!("{prefix}{}", "x".repeat(MAX_URI_LEN - prefix.len()));
    assert_eq!(longest.parse::<UserUri>().unwrap().as_str(), longest);
    assert_eq!(fault(format!("{longest}x").parse::<UserUri>()), UriFault::Length);
    // A Unicode host grows when it becomes A-labels; the limit holds for the result.
    let host = format!("mimi://{}example/u/", "\u{fc}.".repeat(8));
    let grown = format!("{host}{}", "x".repeat(MAX_URI_LEN - host.len()));
    assert_eq!(fault(grown.parse::<UserUri>()), UriFault::Length);
}

#[test]
fn domain_limits_are_those_of_dns() {
    let label = "a".repeat(63);
    assert!(format!("{label}.example").parse::<ProviderDomain>().is_ok());
    assert_eq!(
        fault(format!("{label}a.example").parse::<ProviderDomain>()),
        UriFault::Domain
    );
    let long = format!("{label}.{label}.{label}.{label}");
    assert_eq!(fault(long.parse::<ProviderDomain>()), UriFault::Domain);
    assert_eq!(fault("x".repeat(100_000).parse::<ProviderDomain>()), UriFault::Domain);
    assert_eq!("A.EXAMPLE".parse::<ProviderDomain>().unwrap().as_str(), "a.example");
}

#[test]
fn both_path_forms_name_the_same_room() {
    let room: RoomUri = "mimi://a.example/r/clubhouse".parse().unwrap();
    assert_eq!(path_segment(room.as_str()), "mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse");
    for remainder in [
        "mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse",
        "mimi%3a%2f%2fa.example%2fr%2fclubhouse",
        "a.example/r/clubhouse",
        "a.example%2Fr%2Fclubhouse",
        "mimi://a.example/r/clubhouse",
    ] {
        assert_eq!(RoomUri::from_path(remainder).unwrap(), room, "{remainder}");
    }
    // The example flow also writes this, without the kind; nothing says it is a room.
    assert_eq!(fault(RoomUri::from_path("a.example/clubhouse")), UriFault::Kind);
    assert_eq!(fault(RoomUri::from_path("%ff")), UriFault::Utf8);
}

#[test]
fn a_percent_encoded_id_survives_both_path_forms() {
    let room: RoomUri = "mimi://a.example/r/caf%C3%A9%25".parse().unwrap();
    assert_eq!(RoomUri::from_path(&path_segment(room.as_str())).unwrap(), room);
    assert_eq!(RoomUri::from_path("a.example/r/caf%C3%A9%25").unwrap(), room);
}

#[test]
fn serde_writes_and_reads_the_text() {
    let alice: UserUri = "mimi://a.example/u/alice".parse().unwrap();
    let json = serde_json::to_string(&alice).unwrap();
    assert_eq!(json, "\"mimi://a.example/u/alice\"");
    assert_eq!(serde_json::from_str::<UserUri>(&json).unwrap(), alice);
    assert!(serde_json::from_str::<UserUri>("\"alice\"").is_err());
    let domain: ProviderDomain = serde_json::from_str("\"A.example\"").unwrap();
    assert_eq!(serde_json::to_string(&domain).unwrap(), "\"a.example\"");
}

#[test]
fn an_identifier_uri_has_any_scheme_or_is_empty() {
    assert!("".parse::<IdentifierUri>().unwrap().is_empty());
    assert_eq!(
        "https://a.example/x?y#z".parse::<IdentifierUri>().unwrap().as_str(),
        "https://a.example/x?y#z"
    );
    assert_eq!(fault("no scheme".parse::<IdentifierUri>()), UriFault::Scheme);
    assert_eq!(fault("1a:b".parse::<IdentifierUri>()), UriFault::Scheme);
    assert_eq!(fault("a:b c".parse::<IdentifierUri>()), UriFault::Character(b' '));
    assert_eq!(
        fault(format!("a:{}", "b".repeat(5000)).parse::<IdentifierUri>()),
        UriFault::Length
    );
}

/// Text around what a URI looks like, so that a good part of it is one.
fn nearly_a_uri() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        "(mimi|MIMI|im)://[a-zA-Z0-9.é-]{0,12}/[urdg]/.{0,12}",
        "mimi://[a-zA-Z0-9]{1,5}.example/r/([a-zA-Z0-9~!=@:-]|%[0-9a-fA-F]{2}){1,12}",
    ]
}

proptest! {
    #[test]
    fn whatever_is_accepted_is_canonical(text in nearly_a_uri()) {
        if let Ok(room) = text.parse::<RoomUri>() {
            let canonical = room.as_str();
            prop_assert_eq!(canonical.parse::<RoomUri>(), Ok(room.clone()));
            prop_assert_eq!(decode_exact::<RoomUri>(&encode(&room)), Ok(room.clone()));
            prop_assert_eq!(RoomUri::from_path(&path_segment(canonical)), Ok(room.clone()));
            prop_assert_eq!(RoomUri::from_path(&canonical["mimi://".len()..]), Ok(room.clone()));
            prop_assert_eq!(room.group_uri().room_uri(), room);
        }
        let _ = (text.parse::<ClientUri>(), text.parse::<IdentifierUri>(), text.parse::<ProviderDomain>());
        let _ = RoomUri::from_path(&text);
    }
}
