//! The operations `seal-group-info` and `open-group-info`: a GroupInfo encrypted to who wants to join, signed by the hub,
//! and what does not open.

use mimi_hub_proto::mls::{Credential, ExternalSender, HpkeCiphertext, HpkePublicKey, SignaturePublicKey};
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{
    ClientIdentity, Crypto as _, GroupInfoRatchetTreeTbe, GroupInfoRequest, GroupInfoRequestTbs, GroupInfoResponse,
    GroupInfoResponseTbs,
};
use serde_json::{Value, json};

use super::crypto::{SUITE, hpke_public_key, hpke_seal, provider, sign, signature_public_key, verifies};
use super::fields::{Fields, Read, field, hex, object, with};
use super::structs::golden;
use super::{case, expect};

const JOINER_HPKE_KEY: [u8; 32] = [0x61; 32];
const JOINER_SIGNATURE_KEY: [u8; 32] = [0x62; 32];
const HUB_SIGNATURE_KEY: [u8; 32] = [0x63; 32];
const EPHEMERAL_KEY: [u8; 32] = [0x64; 32];

pub(super) fn cases() -> Read<Vec<Value>> {
    let sealed = |name: &str, code: Option<&[u8]>, pending: bool| {
        let mut tbe: GroupInfoRatchetTreeTbe =
            decode_exact(&golden("group_info_ratchet_tree_tbe")?).map_err(|error| error.to_string())?;
        if !pending {
            tbe.pending_proposals.clear();
        }
        let inputs = json!({
            "room_id": "mimi://a.example/r/clubhouse",
            "joiner_user": "mimi://b.example/u/bob",
            "joiner_client": "mimi://b.example/d/bob-1",
            "joiner_hpke_private_key": hex(&JOINER_HPKE_KEY),
            "joiner_signature_private_key": hex(&JOINER_SIGNATURE_KEY),
            "joining_code": code.map(hex),
            "hub_signature_private_key": hex(&HUB_SIGNATURE_KEY),
            "ephemeral_private_key": hex(&EPHEMERAL_KEY),
            "plaintext": hex(&encode(&tbe)),
        });
        let outputs = seal(&inputs)?;
        Ok::<_, String>(case(name, "protocol 5.6", "seal-group-info", with(inputs, outputs)))
    };
    let first = sealed("with pending proposals", None, true)?;
    let mut cases = vec![
        first.clone(),
        sealed("without pending proposals", None, false)?,
        sealed("with a join code", Some(b"4f9UEnR1Q1mWbqJH5v6a7A"), false)?,
    ];
    let evidence = json!({
        "room_id": first["room_id"],
        "joiner_hpke_private_key": first["joiner_hpke_private_key"],
        "hub_signature_key": first["hub_signature_key"],
        "response": first["response"],
    });
    let response: Vec<u8> = field(&first, "response")?;
    let GroupInfoResponse::Success { tbs, signature } = decode_exact(&response).map_err(|error| error.to_string())?
    else {
        return Err("not an answer of success".to_owned());
    };
    let again = |tbs: GroupInfoResponseTbs, signature: &[u8]| {
        let signature = signature.to_vec();
        json!({ "response": hex(&encode(&GroupInfoResponse::Success { tbs, signature })) })
    };
    let mut flipped = tbs.clone();
    flipped.encrypted_groupinfo_and_tree.ciphertext[0] ^= 1;
    let mut other_kem = tbs.clone();
    other_kem.encrypted_groupinfo_and_tree.kem_output[0] ^= 1;
    let mut other_room = tbs.clone();
    other_room.room_id = "mimi://a.example/r/other".parse().map_err(|error| format!("{error}"))?;
    // Signed anew: only the encryption is bound to the room.
    let resigned = sign(&HUB_SIGNATURE_KEY, &other_room.sign_content())?;
    let mut forged = signature.clone();
    forged[0] ^= 1;
    let variants = [
        ("what the hub sent", json!({})),
        (
            "another private key",
            json!({ "joiner_hpke_private_key": hex(&[0x65; 32]) }),
        ),
        (
            "another hub",
            json!({ "hub_signature_key": hex(&signature_public_key(&[0x66; 32])?) }),
        ),
        ("a signature with a bit changed", again(tbs.clone(), &forged)),
        ("a ciphertext with a bit changed", again(flipped, &signature)),
        ("a kem_output with a bit changed", again(other_kem, &signature)),
        (
            "for another room, signed by the hub",
            with(
                again(other_room, &resigned),
                json!({ "room_id": "mimi://a.example/r/other" }),
            ),
        ),
    ];
    for (name, change) in variants {
        let inputs = with(evidence.clone(), change);
        let outputs = open(&inputs)?;
        cases.push(case(
            format!("open: {name}"),
            "protocol 5.6",
            "open-group-info",
            with(inputs, outputs),
        ));
    }
    Ok(cases)
}

fn seal(case: &Value) -> Read<Value> {
    let room_id: RoomUri = field(case, "room_id")?;
    let user: UserUri = field(case, "joiner_user")?;
    let identity = ClientIdentity::new(field(case, "joiner_client")?, user).map_err(|error| error.to_string())?;
    let hpke_key = hpke_public_key(&field::<Vec<u8>>(case, "joiner_hpke_private_key")?)?;
    let joiner: Vec<u8> = field(case, "joiner_signature_private_key")?;
    let request_tbs = GroupInfoRequestTbs {
        cipher_suite: SUITE,
        requesting_signature_key: SignaturePublicKey::new(signature_public_key(&joiner)?),
        requesting_credential: identity.to_credential(),
        group_info_public_key: HpkePublicKey::new(hpke_key.clone()),
        joining_code: field(case, "joining_code")?,
    };
    let request = GroupInfoRequest {
        signature: sign(&joiner, &request_tbs.sign_content())?,
        tbs: request_tbs,
    };
    let info = GroupInfoRatchetTreeTbe::encrypt_context(&room_id);
    let (ephemeral, plaintext): (Vec<u8>, Vec<u8>) = (field(case, "ephemeral_private_key")?, field(case, "plaintext")?);
    let encrypted = hpke_seal(&hpke_key, &ephemeral, &info, &plaintext)?;
    let hub: Vec<u8> = field(case, "hub_signature_private_key")?;
    let hub_key = signature_public_key(&hub)?;
    let tbs = GroupInfoResponseTbs {
        hub_sender: ExternalSender {
            signature_key: SignaturePublicKey::new(hub_key.clone()),
            credential: Credential::basic(format!("mimi://{}", room_id.domain()).into_bytes()),
        },
        room_id,
        cipher_suite: SUITE,
        encrypted_groupinfo_and_tree: encrypted.clone(),
    };
    let response = GroupInfoResponse::Success {
        signature: sign(&hub, &tbs.sign_content())?,
        tbs: tbs.clone(),
    };
    Ok(object([
        ("joiner_hpke_public_key", hpke_key.show()),
        ("request_sign_content", request.tbs.sign_content().show()),
        ("request", encode(&request).show()),
        ("encrypt_context", info.show()),
        ("encrypted_groupinfo_and_tree", encrypted.show()),
        ("hub_signature_key", hub_key.show()),
        ("response_sign_content", tbs.sign_content().show()),
        ("response", encode(&response).show()),
    ]))
}

/// What who asked makes of an answer: whose signature it has, and the plaintext if it opens.
fn open(case: &Value) -> Read<Value> {
    let response: GroupInfoResponse =
        decode_exact(&field::<Vec<u8>>(case, "response")?).map_err(|error| error.to_string())?;
    let GroupInfoResponse::Success { tbs, signature } = response else {
        return Err("not an answer of success".to_owned());
    };
    let hub: Vec<u8> = field(case, "hub_signature_key")?;
    let opened = opened(
        &field::<Vec<u8>>(case, "joiner_hpke_private_key")?,
        &field(case, "room_id")?,
        &tbs,
    );
    Ok(json!({
        "signature_valid": verifies(&hub, &tbs.sign_content(), &signature),
        "plaintext": opened.map(|octets| hex(&octets)),
    }))
}

fn opened(private: &[u8], room: &RoomUri, tbs: &GroupInfoResponseTbs) -> Option<Vec<u8>> {
    let info = GroupInfoRatchetTreeTbe::encrypt_context(room);
    let sealed: &HpkeCiphertext = &tbs.encrypted_groupinfo_and_tree;
    provider().hpke_open(tbs.cipher_suite, private, &info, sealed).ok()
}

pub(super) fn check(case: &Value) -> Read<()> {
    let outputs = if case["operation"] == "open-group-info" {
        open(case)?
    } else {
        let tbe: GroupInfoRatchetTreeTbe =
            decode_exact(&field::<Vec<u8>>(case, "plaintext")?).map_err(|error| error.to_string())?;
        expect(case, "plaintext", &encode(&tbe).show())?;
        // Another implementation of HPKE opens what ours has sealed.
        let opened = open(case)?;
        if opened["signature_valid"] != true {
            return Err("the hub's signature does not verify".to_owned());
        }
        expect(case, "plaintext", &opened["plaintext"])?;
        seal(case)?
    };
    for (name, found) in outputs.as_object().into_iter().flatten() {
        expect(case, name, found)?;
    }
    Ok(())
}
