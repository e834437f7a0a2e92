//! The operations `frank` and `verify-frank`: from a message's content to the hub's frank, and what does not verify.

use mimi_hub_proto::content::{ContentExtensions, Disposition, MimiContent, NestedPart, Part};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{
    AbusiveMessage, Frank, FrankAad, FrankingIntegrityTbs, ServerFrankingContext, components::FRANK_AAD,
    components::SafeAad, components::SafeAadItem,
};
use serde_json::{Value, json};

use super::crypto::{SUITE, hmac_sha256, sign, signature_public_key, verifies};
use super::fields::{Fields, Read, field, hex, object, with};
use super::{case, expect};

const HUB_KEY: [u8; 32] = [0x42; 32];
const FRANKING_PRIVATE_KEY: [u8; 32] = [0x51; 32];

fn content(salt: u8, sender: &str, room: &str, text: &str) -> Vec<u8> {
    let content = MimiContent {
        salt: [salt; 16],
        replaces: None,
        topic_id: Vec::new(),
        expires: None,
        in_reply_to: None,
        extensions: ContentExtensions::for_franking(sender, room),
        nested_part: NestedPart {
            disposition: Disposition::RENDER,
            language: "en".to_owned(),
            part: Part::Single {
                content_type: "text/plain;charset=utf-8".to_owned(),
                content: text.as_bytes().to_vec(),
            },
        },
    };
    content.encode()
}

pub(super) fn cases() -> Read<Vec<Value>> {
    let room = "mimi://a.example/r/clubhouse";
    let stamped = |name: &str, salt: u8, sender: &str, text: &str, at_ms: u64| {
        let inputs = json!({
            "hub_key": hex(&HUB_KEY),
            "franking_private_key": hex(&FRANKING_PRIVATE_KEY),
            "application_data": hex(&content(salt, sender, room, text)),
            "sender_uri": sender,
            "room_uri": room,
            "accepted_timestamp": at_ms.to_string(),
            "cipher_suite": SUITE.0,
        });
        let outputs = frank(&inputs)?;
        Ok::<_, String>(case(name, "protocol 5.4.1", "frank", with(inputs, outputs)))
    };
    let first = stamped(
        "a short text",
        1,
        "mimi://a.example/u/alice",
        "Hello",
        1_700_000_000_000,
    )?;
    let mut cases = vec![
        first.clone(),
        stamped(
            "of a user of a follower",
            2,
            "mimi://b.example/u/bob",
            "Hi \u{1f44b}",
            1_700_000_000_001,
        )?,
        stamped("an empty text", 3, "mimi://a.example/u/caf%C3%A9", "", 0)?,
    ];
    let evidence = json!({
        "hub_key": first["hub_key"],
        "franking_signature_key": first["franking_signature_key"],
        "sender_uri": first["sender_uri"],
        "room_uri": first["room_uri"],
        "accepted_timestamp": first["accepted_timestamp"],
        "application_data": first["application_data"],
        "frank": first["frank"],
    });
    let other_content = hex(&content(1, "mimi://a.example/u/alice", room, "Hullo"));
    let other_salt = hex(&content(9, "mimi://a.example/u/alice", room, "Hello"));
    let flipped = |name: &str, at: usize| {
        let mut frank: Frank = field(&evidence, "frank")?;
        match name {
            "server_frank" => frank.server_frank[at] ^= 1,
            _ => frank.franking_integrity_signature[at] ^= 1,
        }
        Ok::<_, String>(json!({ "frank": frank.show() }))
    };
    let mut other_suite: Frank = field(&evidence, "frank")?;
    other_suite.franking_signature_ciphersuite.0 = 3;
    let variants = [
        ("what the hub accepted", json!({})),
        ("another content", json!({ "application_data": other_content })),
        ("another salt", json!({ "application_data": other_salt })),
        ("another sender", json!({ "sender_uri": "mimi://a.example/u/mallory" })),
        ("another room", json!({ "room_uri": "mimi://a.example/r/other" })),
        ("another time", json!({ "accepted_timestamp": "1700000000001" })),
        ("another hub_key", json!({ "hub_key": hex(&[0x43; 32]) })),
        (
            "another franking agent",
            json!({ "franking_signature_key": hex(&signature_public_key(&[0x52; 32])?) }),
        ),
        ("a server_frank with a bit changed", flipped("server_frank", 31)?),
        ("a signature with a bit changed", flipped("signature", 0)?),
        (
            "another cipher suite in the frank",
            json!({ "frank": other_suite.show() }),
        ),
    ];
    for (name, change) in variants {
        let inputs = with(evidence.clone(), change);
        let outputs = verify(&inputs)?;
        cases.push(case(
            format!("verify: {name}"),
            "protocol 5.9",
            "verify-frank",
            with(inputs, outputs),
        ));
    }
    Ok(cases)
}

/// The salt is in the content.
fn tag(application_data: &[u8]) -> Read<FrankAad> {
    let content = MimiContent::decode(application_data).map_err(|error| error.to_string())?;
    let franking_tag = hmac_sha256(&content.salt, application_data)?;
    let franking_tag = franking_tag.try_into().map_err(|_| "not 32 octets")?;
    Ok(FrankAad { franking_tag })
}

fn context(case: &Value) -> Read<ServerFrankingContext> {
    let (sender_uri, room_uri): (UserUri, RoomUri) = (field(case, "sender_uri")?, field(case, "room_uri")?);
    let accepted_timestamp = field(case, "accepted_timestamp")?;
    Ok(ServerFrankingContext {
        sender_uri,
        room_uri,
        accepted_timestamp,
    })
}

/// What the inputs of a `frank` case come to.
fn frank(case: &Value) -> Read<Value> {
    let application_data: Vec<u8> = field(case, "application_data")?;
    let content = MimiContent::decode(&application_data).map_err(|error| error.to_string())?;
    let tag = tag(&application_data)?;
    let safe_aad = SafeAad::new(vec![SafeAadItem {
        component_id: FRANK_AAD,
        aad_item_data: encode(&tag),
    }])
    .map_err(|error| error.to_string())?;
    let context = context(case)?;
    let input = context.server_frank_input(&tag);
    let server_frank = hmac_sha256(&field::<Vec<u8>>(case, "hub_key")?, &input)?;
    let server_frank = server_frank.try_into().map_err(|_| "not 32 octets")?;
    let suite = field(case, "cipher_suite")?;
    let tbs = FrankingIntegrityTbs {
        server_frank,
        franking_signature_ciphersuite: suite,
        context: context.clone(),
    };
    let private: Vec<u8> = field(case, "franking_private_key")?;
    let frank = Frank {
        server_frank,
        franking_signature_ciphersuite: suite,
        franking_integrity_signature: sign(&private, &tbs.sign_content())?,
    };
    let reported = AbusiveMessage {
        message_content: application_data,
        frank: frank.clone(),
        accepted_timestamp: context.accepted_timestamp,
    };
    Ok(object([
        ("salt", content.salt.show()),
        ("franking_tag", tag.franking_tag.show()),
        ("frank_aad", encode(&tag).show()),
        ("safe_aad", encode(&safe_aad).show()),
        ("context", encode(&context).show()),
        ("server_frank_input", input.show()),
        ("server_frank", server_frank.show()),
        ("franking_integrity_tbs", encode(&tbs).show()),
        ("sign_content", tbs.sign_content().show()),
        ("franking_signature_key", signature_public_key(&private)?.show()),
        (
            "franking_integrity_signature",
            frank.franking_integrity_signature.show(),
        ),
        ("frank", frank.show()),
        ("frank_encoded", encode(&frank).show()),
        ("abusive_message", encode(&reported).show()),
    ]))
}

/// Does the frank hold for the hub, and does its signature for whoever receives it?
fn verify(case: &Value) -> Read<Value> {
    let frank: Frank = field(case, "frank")?;
    let context = context(case)?;
    let tag = tag(&field::<Vec<u8>>(case, "application_data")?)?;
    let stamp = hmac_sha256(&field::<Vec<u8>>(case, "hub_key")?, &context.server_frank_input(&tag))?;
    let tbs = FrankingIntegrityTbs {
        server_frank: frank.server_frank,
        franking_signature_ciphersuite: frank.franking_signature_ciphersuite,
        context,
    };
    let key: Vec<u8> = field(case, "franking_signature_key")?;
    let signature = &frank.franking_integrity_signature;
    Ok(json!({
        "server_frank_valid": stamp == frank.server_frank,
        "signature_valid": verifies(&key, &tbs.sign_content(), signature),
    }))
}

pub(super) fn check(case: &Value) -> Read<()> {
    let outputs = match case["operation"].as_str() {
        Some("frank") => {
            // The encoded forms are read, too.
            let encoded: Vec<u8> = field(case, "frank_encoded")?;
            let decoded: Frank = decode_exact(&encoded).map_err(|error| error.to_string())?;
            expect(case, "frank", &decoded.show())?;
            let safe_aad: SafeAad =
                decode_exact(&field::<Vec<u8>>(case, "safe_aad")?).map_err(|error| error.to_string())?;
            let tag: Option<FrankAad> = safe_aad.decode(FRANK_AAD).map_err(|error| error.to_string())?;
            expect(case, "franking_tag", &tag.ok_or("no frank_aad")?.franking_tag.show())?;
            frank(case)?
        }
        _ => verify(case)?,
    };
    for (name, found) in outputs.as_object().into_iter().flatten() {
        expect(case, name, found)?;
    }
    Ok(())
}
