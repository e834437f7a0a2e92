//! What is not MIMI content, and messages of any shape.

use std::collections::BTreeMap;

use ciborium::Value;
use proptest::prelude::*;

use crate::Error;
use crate::content::{
    ContentExtensions, Disposition, Expiration, ExtensionKey, ExternalPart, MAX_CONTENT_LEN, MAX_PART_DEPTH, MessageId,
    MimiContent, NestedPart, Part, PartSemantics, cbor,
};

fn null_part() -> NestedPart {
    NestedPart {
        disposition: Disposition::RENDER,
        language: String::new(),
        part: Part::Null,
    }
}

fn message(nested_part: NestedPart) -> MimiContent {
    MimiContent {
        salt: [1; 16],
        replaces: None,
        topic_id: Vec::new(),
        expires: None,
        in_reply_to: None,
        extensions: ContentExtensions::for_franking("mimi://a.example/u/alice", "mimi://a.example/r/clubhouse"),
        nested_part,
    }
}

/// The fields of a valid message, for a test to break.
fn fields() -> Vec<Value> {
    cbor::read(&message(null_part()).encode())
        .unwrap()
        .into_array()
        .unwrap()
}

fn decode_with(field: usize, value: Value) -> Result<MimiContent, Error> {
    let mut fields = fields();
    fields[field] = value;
    MimiContent::decode(&cbor::write(&Value::Array(fields)))
}

fn with_extension(key: Value, value: Value) -> Result<MimiContent, Error> {
    decode_with(5, Value::Map(vec![(key, value)]))
}

fn bytes(octets: &[u8]) -> Value {
    Value::Bytes(octets.to_vec())
}

#[test]
fn content_4_1_fields_have_their_types_and_sizes() {
    for (field, value) in [
        (0, bytes(&[1; 15])),
        (0, Value::Null),
        (1, bytes(&[1; 31])),
        (1, Value::Text("x".into())),
        (2, Value::Null),
        (3, Value::Array(vec![0.into(), 1.into()])),
        (3, Value::Array(vec![true.into()])),
        (3, Value::Array(vec![true.into(), 1.into(), 1.into()])),
        (3, Value::Array(vec![true.into(), (1u64 << 32).into()])),
        (4, bytes(&[])),
        (5, Value::Null),
        (6, Value::Null),
        (6, Value::Array(vec![1.into(), Value::Text(String::new())])),
        (6, Value::Array(vec![256.into(), Value::Text(String::new()), 0.into()])),
        (6, Value::Array(vec![1.into(), Value::Null, 0.into()])),
        (
            6,
            Value::Array(vec![1.into(), Value::Text(String::new()), 0.into(), 0.into()]),
        ),
        (6, Value::Array(vec![1.into(), Value::Text(String::new()), (-1).into()])),
    ] {
        let error = decode_with(field, value.clone());
        assert!(
            matches!(error, Err(Error::Invalid { .. })),
            "{field} {value:?}: {error:?}"
        );
    }
    let error = decode_with(6, Value::Array(vec![1.into(), Value::Text(String::new()), 4.into()]));
    assert_eq!(
        error,
        Err(Error::UnknownValue {
            what: "cardinality",
            value: 4
        })
    );
    let mut more = fields();
    more.push(Value::Null);
    assert!(matches!(
        MimiContent::decode(&cbor::write(&Value::Array(more))),
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(MimiContent::decode(&[0xf6]), Err(Error::Invalid { .. })));
}

#[test]
fn content_4_4_multi_has_two_or_more_parts_and_known_semantics() {
    let multi = |part_semantics: u8, parts: usize| {
        let part = Value::Array(vec![1.into(), Value::Text(String::new()), 0.into()]);
        let parts = Value::Array(vec![part; parts]);
        Value::Array(vec![
            1.into(),
            Value::Text(String::new()),
            3.into(),
            part_semantics.into(),
            parts,
        ])
    };
    assert!(decode_with(6, multi(2, 2)).is_ok());
    assert_eq!(
        decode_with(6, multi(3, 2)),
        Err(Error::UnknownValue {
            what: "partSemantics",
            value: 3
        })
    );
    assert!(matches!(
        decode_with(6, multi(2, 1)),
        Err(Error::Invalid { what: "parts", .. })
    ));
}

#[test]
fn content_6_1_encoding_is_deterministic() {
    let octets = message(null_part()).encode();
    // The array of seven with its length in the next octet, and of indefinite length.
    let longer = [&[0x98, 0x07], &octets[1..]].concat();
    assert_eq!(MimiContent::decode(&longer), Err(Error::NotDeterministic));
    let indefinite = [&[0x9f], &octets[1..], &[0xff]].concat();
    assert_eq!(MimiContent::decode(&indefinite), Err(Error::NotDeterministic));
    let text = |text: &str| Value::Text(text.into());
    let unordered = vec![(2.into(), text("b")), (1.into(), text("a"))];
    assert_eq!(decode_with(5, Value::Map(unordered)), Err(Error::NotDeterministic));
    let twice = vec![(1.into(), text("a")), (1.into(), text("b"))];
    assert_eq!(decode_with(5, Value::Map(twice)), Err(Error::NotDeterministic));
    let nested = Value::Map(vec![(text("b"), 1.into()), (text("a"), 1.into())]);
    assert_eq!(with_extension(300.into(), nested), Err(Error::NotDeterministic));
}

#[test]
fn content_6_2_extension_keys_are_integers_or_short_texts() {
    let max = (1i64 << 53) - 1;
    for key in [0.into(), max.into(), (-max).into(), Value::Text("x".repeat(255))] {
        assert!(with_extension(key.clone(), 1.into()).is_ok(), "{key:?}");
    }
    for key in [
        (max + 1).into(),
        (-max - 1).into(),
        Value::Text("x".repeat(256)),
        Value::Text(String::new()),
    ] {
        assert!(
            matches!(with_extension(key.clone(), 1.into()), Err(Error::Invalid { .. })),
            "{key:?}"
        );
    }
    assert!(matches!(
        with_extension(bytes(b"x"), 1.into()),
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(with_extension(1.into(), 1.into()), Err(Error::Invalid { .. })));
    let inner = |key: Value| with_extension(300.into(), Value::Map(vec![(key, 1.into())]));
    assert!(inner(bytes(b"x")).is_ok());
    assert!(matches!(inner(true.into()), Err(Error::Invalid { .. })));
    assert!(matches!(inner((max + 1).into()), Err(Error::Invalid { .. })));
}

#[test]
fn content_6_2_the_only_nan_is_the_quiet_one() {
    assert!(MimiContent::decode(&message_with_float(&[0xf9, 0x7e, 0x00])).is_ok());
    for nan in [&[0xf9, 0x7e, 0x01][..], &[0xf9, 0xfe, 0x00], &[0xf9, 0x7c, 0x01]] {
        assert!(MimiContent::decode(&message_with_float(nan)).is_err(), "{nan:x?}");
    }
}

/// A message whose extension 300 is this encoded float.
fn message_with_float(float: &[u8]) -> Vec<u8> {
    let octets = message_with_extension_300(Value::Null).encode();
    // f6 also stands for the null fields before the map; the extension's value is the last but for the part.
    let part = cbor::write(&fields()[6]).len();
    let value = octets.len() - part - 1;
    assert_eq!(octets[value], 0xf6);
    [&octets[..value], float, &octets[value + 1..]].concat()
}

fn message_with_extension_300(value: Value) -> MimiContent {
    let extensions = ContentExtensions(BTreeMap::from([(ExtensionKey::Int(300), value)]));
    MimiContent {
        extensions,
        ..message(null_part())
    }
}

#[test]
fn content_6_3_parts_are_at_most_four_levels_deep() {
    let mut part = null_part();
    for depth in 1..=MAX_PART_DEPTH + 1 {
        let result = MimiContent::decode(&message(part.clone()).encode());
        assert_eq!(result.is_ok(), depth <= MAX_PART_DEPTH, "depth {depth}: {result:?}");
        let part_semantics = PartSemantics::ProcessAll;
        part = NestedPart {
            part: Part::Multi {
                part_semantics,
                parts: vec![part, null_part()],
            },
            ..null_part()
        };
    }
}

#[test]
fn content_6_3_extensions_are_at_most_four_levels_deep() {
    // The draft's own example is four levels deep, the map of extensions counted.
    let uri = Value::Tag(32, Box::new(Value::Text("http://example.com".into())));
    let draft = Value::Array(vec![Value::Array(vec![bytes(&[0x12, 0x34]), uri])]);
    assert!(with_extension(256.into(), draft.clone()).is_ok());
    let error = with_extension(256.into(), Value::Array(vec![draft]));
    assert!(matches!(
        error,
        Err(Error::Limit {
            what: "depth of extensions",
            ..
        })
    ));
}

#[test]
fn hostile_depth_and_size_are_refused() {
    let deep = [0x81; 100_000];
    assert!(matches!(MimiContent::decode(&deep), Err(Error::Invalid { .. })));
    assert!(matches!(
        MimiContent::decode(&vec![0; MAX_CONTENT_LEN + 1]),
        Err(Error::Limit { .. })
    ));
    // An array of 2^40 elements, a byte string of 2^40 octets, and one of 2^64 - 1.
    for head in [
        &[0x9b, 0, 0, 1, 0, 0, 0, 0, 0][..],
        &[0x87, 0x5b, 0, 0, 1, 0, 0, 0, 0, 0],
        &[0x5b; 1],
    ] {
        assert!(matches!(MimiContent::decode(head), Err(Error::Invalid { .. })));
    }
    assert!(matches!(
        MimiContent::decode(&[0x5b, 255, 255, 255, 255, 255, 255, 255, 255]),
        Err(Error::Invalid { .. })
    ));
    let trailing = [message(null_part()).encode(), vec![0]].concat();
    assert_eq!(MimiContent::decode(&trailing), Err(Error::Trailing { octets: 1 }));
}

#[test]
fn content_3_3_a_uri_that_its_length_field_cannot_hold_has_no_id() {
    let uri = "x".repeat(65_536);
    let error = MessageId::of(&[], &[0; 16], &uri, "");
    assert_eq!(
        error,
        Err(Error::Limit {
            what: "sender URI",
            value: 65_536,
            limit: 65_535
        })
    );
    assert!(MessageId::of(&[], &[0; 16], &uri[1..], "").is_ok());
}

fn any_part() -> impl Strategy<Value = NestedPart> {
    let external = (
        ".{0,9}",
        ".{0,9}",
        any::<(u32, u64, u16, u8)>(),
        any::<[Vec<u8>; 4]>(),
        ".{0,9}",
    )
        .prop_map(
            |(content_type, url, (expires, size, enc_alg, hash_alg), [key, nonce, aad, content_hash], filename)| {
                let description = url.clone();
                Part::External(Box::new(ExternalPart {
                    content_type,
                    url,
                    expires,
                    size,
                    enc_alg,
                    key,
                    nonce,
                    aad,
                    hash_alg,
                    content_hash,
                    description,
                    filename,
                }))
            },
        );
    let single =
        (".{0,9}", any::<Vec<u8>>()).prop_map(|(content_type, content)| Part::Single { content_type, content });
    let leaf = prop_oneof![Just(Part::Null), single, external];
    let nested = |part| {
        (any::<u8>(), "[a-z]{0,5}", part).prop_map(|(disposition, language, part)| NestedPart {
            disposition: Disposition(disposition),
            language,
            part,
        })
    };
    let semantics = prop_oneof![
        Just(PartSemantics::ChooseOne),
        Just(PartSemantics::SingleUnit),
        Just(PartSemantics::ProcessAll)
    ];
    nested(leaf.boxed()).prop_recursive(3, 12, 3, move |inner| {
        let multi = (semantics.clone(), prop::collection::vec(inner, 2..4))
            .prop_map(|(part_semantics, parts)| Part::Multi { part_semantics, parts });
        nested(multi.boxed())
    })
}

fn any_message() -> impl Strategy<Value = MimiContent> {
    let key = prop_oneof![
        (-300i64..300)
            .prop_filter("typed keys", |key| ![1, 2].contains(key))
            .prop_map(ExtensionKey::Int),
        ".{1,20}".prop_map(ExtensionKey::Text),
    ];
    let value = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<Vec<u8>>().prop_map(Value::Bytes),
        any::<f32>()
            .prop_filter("one NaN", |f| !f.is_nan())
            .prop_map(|f| Value::Float(f.into())),
        prop::collection::vec(any::<u32>().prop_map(Value::from), 0..4).prop_map(Value::Array),
    ];
    let id = || prop::option::of(any::<[u8; 32]>().prop_map(MessageId));
    let expires = prop::option::of(any::<(bool, u32)>().prop_map(|(relative, time)| Expiration { relative, time }));
    let extensions = prop::collection::btree_map(key, value, 0..6).prop_map(ContentExtensions);
    (
        any::<[u8; 16]>(),
        id(),
        any::<Vec<u8>>(),
        expires,
        id(),
        extensions,
        any_part(),
    )
        .prop_map(
            |(salt, replaces, topic_id, expires, in_reply_to, extensions, nested_part)| MimiContent {
                salt,
                replaces,
                topic_id,
                expires,
                in_reply_to,
                extensions,
                nested_part,
            },
        )
}

proptest! {
    #[test]
    fn a_message_survives_its_encoding(content in any_message()) {
        let octets = content.encode();
        prop_assert_eq!(MimiContent::decode(&octets), Ok(content));
    }

    #[test]
    fn what_is_accepted_is_encoded_as_it_came(octets in any_message().prop_map(|m| m.encode()), flips in any::<[prop::sample::Index; 3]>(), cut in any::<prop::sample::Index>()) {
        prop_assert!(MimiContent::decode(&octets[..cut.index(octets.len())]).is_err());
        let mut octets = octets;
        for flip in flips {
            let bit = flip.index(octets.len() * 8);
            octets[bit / 8] ^= 1 << (bit % 8);
            if let Ok(content) = MimiContent::decode(&octets) {
                prop_assert_eq!(content.encode(), octets.clone());
            }
        }
    }

    #[test]
    fn random_octets_never_panic(octets in any::<Vec<u8>>()) {
        let _ = MimiContent::decode(&octets);
    }
}
