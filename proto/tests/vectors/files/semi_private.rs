//! The operations `external-receiver` and `associated-party`: keys of a SemiPrivateMessage for somebody outside the group,
//! and the key schedule of an associated party.

use mimi_hub_proto::Crypto as _;
use mimi_hub_proto::associated_parties::{
    AssociatedPartyEntry, AssociatedPartyExportContext, CommitSecret, EpochSecrets, commit_base_secret,
    commit_encrypt_context,
};
use mimi_hub_proto::mls::{
    Credential, ExternalReceiver, ExternalReceivers, GroupInfo, HpkePublicKey, KeyForExternalReceiver,
    PerMessageKeyAndNonces, SemiPrivateMessageContext,
};
use mimi_hub_proto::tls::{decode_exact, encode};
use serde_json::{Value, json};

use super::crypto::{SUITE, hpke_public_key, hpke_seal, provider, sign, signature_public_key, verifies};
use super::fields::{Fields, Read, field, hex, object, with};
use super::structs::{golden, of_octets, refused};
use super::{case, expect};

pub(super) fn cases() -> Read<Vec<Value>> {
    let receivers = ExternalReceivers {
        external_receivers: vec![receiver(&[0x71; 32])?, receiver(&[0x72; 32])?],
    };
    let keys = PerMessageKeyAndNonces {
        key: (0..16).collect(),
        nonce: (0..12).collect(),
        reuse_guard: [1, 2, 3, 4],
        sender_leaf_index: 5,
    };
    let inputs = json!({
        "receiver_private_key": hex(&[0x71; 32]),
        "receiver_credential": hex(&encode(&Credential::basic(b"mimi://a.example".to_vec()))),
        "ephemeral_private_key": hex(&[0x73; 32]),
        "group_id": hex(b"mimi://a.example/g/clubhouse"),
        "epoch": "7",
        "keys": keys.show(),
    });
    let outputs = for_receiver(&inputs)?;
    let entry_key: Vec<u8> = field(&outputs, "key_for_external_receiver_encoded")?;
    let for_receiver = case(
        "keys for a receiver",
        "semi-private",
        "external-receiver",
        with(inputs, outputs),
    );

    let first = json!({
        "party_hpke_private_key": hex(&[0x81; 32]),
        "party_signature_private_key": hex(&[0x82; 32]),
        "external_sender_index": 1,
        "ap_index": 0,
        "ap_secret": hex(&[0x83; 32]),
        "previous_init": null,
        "ephemeral_private_key": hex(&[0x84; 32]),
        "group_info": hex(&golden("group_info")?),
    });
    let outputs = party(&first)?;
    let next = with(
        first.clone(),
        json!({
            "previous_init": outputs["ap_init_secret"],
            "ap_secret": hex(&[0x85; 32]),
            "ephemeral_private_key": hex(&[0x86; 32]),
        }),
    );
    let parties: Vec<u8> = field(&outputs, "associated_parties")?;
    let next_outputs = party(&next)?;
    let section = "associated-parties";
    Ok(vec![
        of_octets(
            "ExternalReceivers",
            "semi-private",
            "ExternalReceivers",
            &encode(&receivers),
        )?,
        of_octets(
            "PerMessageKeyAndNonces",
            "semi-private",
            "PerMessageKeyAndNonces",
            &encode(&keys),
        )?,
        of_octets(
            "KeyForExternalReceiver",
            "semi-private",
            "KeyForExternalReceiver",
            &entry_key,
        )?,
        refused(
            "KeyForExternalReceiver: the last octet is missing",
            "semi-private",
            "KeyForExternalReceiver",
            &entry_key[..entry_key.len() - 1],
        ),
        refused(
            "PerMessageKeyAndNonces: no reuse_guard",
            "semi-private",
            "PerMessageKeyAndNonces",
            &[0, 0],
        ),
        for_receiver,
        of_octets("AssociatedParties", section, "AssociatedParties", &parties)?,
        refused(
            "AssociatedParties: an octet follows",
            section,
            "AssociatedParties",
            &[&parties[..], &[0]].concat(),
        ),
        case(
            "the epoch that adds a party",
            section,
            "associated-party",
            with(first, outputs),
        ),
        case(
            "the epoch after it",
            section,
            "associated-party",
            with(next, next_outputs),
        ),
    ])
}

fn receiver(private: &[u8]) -> Read<ExternalReceiver> {
    Ok(ExternalReceiver {
        external_receiver_public_key: HpkePublicKey::new(hpke_public_key(private)?),
        credential: Credential::basic(b"mimi://a.example".to_vec()),
    })
}

fn failed(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn for_receiver(case: &Value) -> Read<Value> {
    let private: Vec<u8> = field(case, "receiver_private_key")?;
    let receiver = ExternalReceiver {
        external_receiver_public_key: HpkePublicKey::new(hpke_public_key(&private)?),
        credential: field(case, "receiver_credential")?,
    };
    let keys: PerMessageKeyAndNonces = field(case, "keys")?;
    let context = SemiPrivateMessageContext {
        group_id: field(case, "group_id")?,
        epoch: field(case, "epoch")?,
        partial_context_hash: provider().hash(SUITE, &keys.partial_context()).map_err(failed)?,
    };
    let info = context.encrypt_context();
    let ephemeral: Vec<u8> = field(case, "ephemeral_private_key")?;
    let public = receiver.external_receiver_public_key.as_bytes();
    let sealed = hpke_seal(public, &ephemeral, &info, &encode(&keys))?;
    let opened = provider().hpke_open(SUITE, &private, &info, &sealed).map_err(failed)?;
    if opened != encode(&keys) {
        return Err("another plaintext is opened".to_owned());
    }
    let entry = KeyForExternalReceiver {
        external_receiver_ref: receiver.reference(&provider(), SUITE).map_err(failed)?,
        encrypted_keys_and_nonces: sealed,
    };
    Ok(object([
        ("external_receiver", encode(&receiver).show()),
        ("external_receiver_ref", entry.external_receiver_ref.show()),
        ("plaintext", encode(&keys).show()),
        ("partial_context", keys.partial_context().show()),
        ("guarded_nonce", keys.guarded_nonce().show()),
        ("context", context.show()),
        ("encrypt_context", info.show()),
        ("key_for_external_receiver", entry.show()),
        ("key_for_external_receiver_encoded", encode(&entry).show()),
    ]))
}

fn party(case: &Value) -> Read<Value> {
    let (hpke, signature): (Vec<u8>, Vec<u8>) = (
        field(case, "party_hpke_private_key")?,
        field(case, "party_signature_private_key")?,
    );
    let mut entry = AssociatedPartyEntry {
        encryption_key: HpkePublicKey::new(hpke_public_key(&hpke)?),
        external_sender_index: field(case, "external_sender_index")?,
        signature: Vec::new(),
    };
    let signed = entry.tbs().sign_content();
    entry.signature = sign(&signature, &signed)?;
    if !verifies(&signature_public_key(&signature)?, &signed, &entry.signature) {
        return Err("the entry's signature does not verify".to_owned());
    }
    let context = AssociatedPartyExportContext {
        ap_index: field(case, "ap_index")?,
        ap_entry: entry.clone(),
    };
    let ap_secret: Vec<u8> = field(case, "ap_secret")?;
    let base = commit_base_secret(&provider(), SUITE, &ap_secret, &context).map_err(failed)?;
    let commit = CommitSecret::new(&provider(), SUITE, &base).map_err(failed)?;
    let group_info: GroupInfo = decode_exact(&field::<Vec<u8>>(case, "group_info")?).map_err(failed)?;
    let group_context = group_info.group_context();
    let info = commit_encrypt_context(group_context, &commit.id);
    let ephemeral: Vec<u8> = field(case, "ephemeral_private_key")?;
    let sealed = hpke_seal(entry.encryption_key.as_bytes(), &ephemeral, &info, &base)?;
    let opened = provider().hpke_open(SUITE, &hpke, &info, &sealed).map_err(failed)?;
    if opened != base {
        return Err("another base secret is opened".to_owned());
    }
    let previous: Option<Vec<u8>> = field(case, "previous_init")?;
    let secrets = EpochSecrets::next(&provider(), previous.as_deref(), &commit, group_context).map_err(failed)?;
    let parties = mimi_hub_proto::associated_parties::AssociatedParties {
        associated_parties: vec![entry],
    };
    Ok(object([
        ("sign_content", signed.show()),
        ("party_signature_key", signature_public_key(&signature)?.show()),
        ("associated_parties", encode(&parties).show()),
        ("export_context", encode(&context).show()),
        ("group_context", Fields::show_all(group_context.as_bytes())),
        ("ap_commit_base_secret", base.show()),
        ("ap_commit_secret", commit.secret.show()),
        ("ap_commit_secret_id", commit.id.show()),
        ("encrypt_context", info.show()),
        ("encrypted_base_secret", sealed.show()),
        ("ap_exporter_secret", secrets.exporter.show()),
        ("ap_init_secret", secrets.init.show()),
    ]))
}

pub(super) fn check(case: &Value) -> Read<()> {
    let outputs = if case["operation"] == "associated-party" {
        party(case)?
    } else {
        for_receiver(case)?
    };
    for (name, found) in outputs.as_object().into_iter().flatten() {
        expect(case, name, found)?;
    }
    Ok(())
}
