//! The hub's own franking and its GroupInfo requests, held to the test vectors of `proto/vectors`.

use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{AbusiveMessage, Frank, FrankAad, GroupInfoRequest, ServerFrankingContext, tls};
use openmls_traits::types::SignatureScheme;
use serde_json::Value;

use crate::mls::crypto;
use crate::mls::hub_keys::HubKeys;
use crate::room::franking::{Verdict, frank, verdict};

fn cases(file: &str, operation: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(file).unwrap();
    let cases = file["cases"].as_array().unwrap().iter();
    let cases: Vec<Value> = cases.filter(|case| case["operation"] == operation).cloned().collect();
    assert!(!cases.is_empty());
    cases
}

fn octets(case: &Value, member: &str) -> Vec<u8> {
    let digits = case[member].as_str().unwrap_or_else(|| panic!("{member}"));
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn text<'a>(case: &'a Value, member: &str) -> &'a str {
    case[member].as_str().unwrap()
}

#[test]
fn protocol_5_4_1_the_hub_franks_as_the_vectors_say_and_proves_what_they_report() {
    for case in cases(include_str!("../../../../../proto/vectors/franking.json"), "frank") {
        let room: RoomUri = text(&case, "room_uri").parse().unwrap();
        let sender: UserUri = text(&case, "sender_uri").parse().unwrap();
        let keys = HubKeys::of_pair(
            &room.provider(),
            SignatureScheme::ED25519,
            &octets(&case, "franking_private_key"),
            &octets(&case, "franking_signature_key"),
            &octets(&case, "hub_key"),
        );
        let tag: FrankAad = tls::decode_exact(&octets(&case, "frank_aad")).unwrap();
        let context = ServerFrankingContext {
            sender_uri: sender.clone(),
            room_uri: room.clone(),
            accepted_timestamp: text(&case, "accepted_timestamp").parse().unwrap(),
        };
        let suite = mimi_hub_proto::mls::CipherSuite(1);
        let made = Frank::from(&frank(&keys, suite, &tag, context).unwrap());
        assert_eq!(tls::encode(&made), octets(&case, "frank_encoded"), "{}", case["name"]);
        let mut reported: AbusiveMessage = tls::decode_exact(&octets(&case, "abusive_message")).unwrap();
        assert_eq!(verdict(&keys, &room, &sender, &reported).unwrap(), Verdict::Proven);
        reported.accepted_timestamp ^= 1;
        assert_ne!(verdict(&keys, &room, &sender, &reported).unwrap(), Verdict::Proven);
    }
}

#[test]
fn protocol_5_6_the_hub_verifies_the_requests_of_the_vectors() {
    for case in cases(
        include_str!("../../../../../proto/vectors/group-info.json"),
        "seal-group-info",
    ) {
        let request: GroupInfoRequest = tls::decode_exact(&octets(&case, "request")).unwrap();
        let key = request.tbs.requesting_signature_key.as_bytes();
        let (scheme, content) = (SignatureScheme::ED25519, tls::encode(&request.tbs));
        let verify = |content: &[u8]| {
            crypto::verify_with_label(scheme, key, "GroupInfoRequestTBS", content, &request.signature).is_ok()
        };
        assert!(verify(&content), "{}", case["name"]);
        assert!(!verify(&content[1..]));
    }
}
