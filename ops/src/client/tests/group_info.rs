//! A GroupInfoResponse is believed only if everything about it fits.

use super::*;
use crate::OpsError;

/// The room's hub, and a new device of Bob's that asks it.
fn scene() -> (Hub, ClientState, GroupInfoQuery, GroupInfoResponseTbs, Vec<u8>) {
    let (hub, _) = alice_and_bob();
    let device = client("bob", "B3");
    let (query, request) = device.group_info_request(&room(), None).unwrap();
    let GroupInfoResponse::Success { tbs, signature } = decode_exact(&hub.group_info_response(&request)).unwrap()
    else {
        panic!("refused");
    };
    (hub, device, query, tbs, signature)
}

fn sign(signer: &SignatureKeyPair, tbs: GroupInfoResponseTbs) -> Vec<u8> {
    let signature = signer.sign(&tbs.sign_content()).unwrap();
    encode(&GroupInfoResponse::Success { tbs, signature })
}

#[test]
fn protocol_5_6_a_genuine_answer_leads_into_the_room() {
    let (_, mut device, query, tbs, signature) = scene();
    let response = encode(&GroupInfoResponse::Success { tbs, signature });
    device.external_commit(&room(), &query, &response, None).unwrap();
}

#[test]
fn a_changed_answer_is_refused() {
    let (_, mut device, query, mut tbs, signature) = scene();
    tbs.encrypted_groupinfo_and_tree.ciphertext[0] ^= 1;
    let response = encode(&GroupInfoResponse::Success { tbs, signature });
    let refused = device.external_commit(&room(), &query, &response, None);
    assert!(matches!(refused, Err(OpsError::Signature { .. })));
}

#[test]
fn an_answer_by_another_than_the_rooms_hub_is_refused() {
    let (_, mut device, query, mut tbs, _) = scene();
    let stranger = Hub::new();
    tbs.hub_sender = stranger.sender();
    let response = sign(&stranger.signer, tbs);
    let refused = device.external_commit(&room(), &query, &response, None);
    assert!(
        matches!(&refused, Err(OpsError::Answer { source, .. }) if source.to_string().contains("external sender")),
        "{refused:?}"
    );
}

#[test]
fn an_answer_to_another_question_is_refused() {
    let (hub, mut device, _, tbs, _) = scene();
    let (query, _) = device.group_info_request(&room(), None).unwrap();
    let refused = device.external_commit(&room(), &query, &sign(&hub.signer, tbs), None);
    assert!(matches!(refused, Err(OpsError::Mls { .. })), "encrypted to another key");
}

#[test]
fn an_answer_about_another_room_is_refused() {
    let (hub, mut device, query, mut tbs, _) = scene();
    tbs.room_id = "mimi://a.example/r/elsewhere".parse().unwrap();
    let refused = device.external_commit(&room(), &query, &sign(&hub.signer, tbs), None);
    assert!(matches!(refused, Err(OpsError::Answer { .. })));
}

#[test]
fn protocol_5_6_a_refusal_is_told_as_such() {
    let (_, mut device, query, ..) = scene();
    let response = encode(&GroupInfoResponse::NotAuthorized { room_id: room() });
    let refused = device.external_commit(&room(), &query, &response, None);
    assert!(matches!(refused, Err(OpsError::NoGroupInfo { status, .. }) if status == "NotAuthorized"));
    let refused = device.external_commit(&room(), &query, b"", None);
    assert!(matches!(refused, Err(OpsError::Answer { .. })));
}

#[test]
fn a_tree_that_does_not_belong_to_the_group_info_is_refused() {
    let (mut hub, _) = alice_and_bob();
    let mut other = Hub::new();
    let mut stranger = client("alice", "A9");
    other.create(&mut stranger);
    hub.ratchet_tree = other.ratchet_tree;
    let mut device = client("bob", "B3");
    let (query, request) = device.group_info_request(&room(), None).unwrap();
    let refused = device.external_commit(&room(), &query, &hub.group_info_response(&request), None);
    assert!(matches!(refused, Err(OpsError::Mls { .. })));
    assert!(!device.is_member(&room()));
}
