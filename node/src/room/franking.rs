//! Franking (draft-ietf-mimi-protocol, 5.4.1): the hub's stamp on a message it accepts, and what the stamp proves later
//! (5.9).
//!
//! A stamp binds together the sender's commitment to the content (`franking_tag`), who the sender's provider said it was,
//! the room and the time. So what is proven is: this content was accepted here, at this time, for this room, as sent by this
//! user. That it was this user and nobody else is the word of the user's own provider, which submits for it.

use mimi_hub_proto::components::{AppDataDictionary, FRANK_AAD, FRANKING_AGENT, SAFE_AAD, SafeAad};
use mimi_hub_proto::content::MimiContent;
use mimi_hub_proto::mls::{ApplicationMessage, CipherSuite, SignaturePublicKey};
use mimi_hub_proto::tls::{Decode, Reader};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{AbusiveMessage, FrankAad, FrankingAgentData, FrankingIntegrityTbs, ServerFrankingContext, tls};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::event::FrankRecord;
use crate::error::NodeError;
use crate::mls::crypto;
use crate::mls::hub_keys::{HubKeys, HubKeysError};

/// What signs the franks of a room: RFC 9420's SignWithLabel under this label.
const LABEL: &str = "FrankingIntegrityTBS";

/// What a message's additional authenticated data says about franking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// It asks for no frank.
    None,
    /// It asks for one.
    Some(FrankAad),
    /// The room's messages begin their additional data with a SafeAAD, and this one does not.
    Malformed,
}

/// Reads the `frank_aad` of a message. Where the group has the `safe_aad` component, a SafeAAD begins the message's additional
/// data; where it has not, there is none (draft-ietf-mls-extensions, 4.9).
pub(crate) fn tag_of(dictionary: &AppDataDictionary, message: &ApplicationMessage) -> Tag {
    if dictionary.get(SAFE_AAD).is_none() {
        return Tag::None;
    }
    let mut reader = Reader::new(message.authenticated_data());
    match <SafeAad as Decode>::decode(&mut reader).and_then(|aad| aad.decode(FRANK_AAD)) {
        Ok(Some(tag)) => Tag::Some(tag),
        Ok(None) => Tag::None,
        Err(_) => Tag::Malformed,
    }
}

/// The `franking_agent` of a room that this hub can be the agent of.
pub(crate) fn agent(keys: &HubKeys, suite: CipherSuite, room: &RoomUri) -> Result<FrankingAgentData, NodeError> {
    let scheme = crypto::supported(suite)
        .ok_or_else(|| NodeError::Mls(format!("cipher suite {} is not supported", suite.0)))?
        .signature_algorithm();
    let key = SignaturePublicKey::new(keys.public(scheme)?);
    Ok(FrankingAgentData::of_hub(&room.provider(), key))
}

/// Does the room have this hub as its franking agent?
pub(crate) fn has_agent(
    dictionary: &AppDataDictionary,
    keys: &HubKeys,
    suite: CipherSuite,
    room: &RoomUri,
) -> Result<bool, NodeError> {
    match dictionary.decode::<FrankingAgentData>(FRANKING_AGENT)? {
        Some(found) => Ok(found == agent(keys, suite, room)?),
        None => Ok(false),
    }
}

/// Stamps a message with this commitment.
pub(crate) fn frank(
    keys: &HubKeys,
    suite: CipherSuite,
    tag: &FrankAad,
    context: ServerFrankingContext,
) -> Result<FrankRecord, NodeError> {
    let scheme = crypto::supported(suite)
        .ok_or_else(|| NodeError::Mls(format!("cipher suite {} is not supported", suite.0)))?
        .signature_algorithm();
    let stamp = keys.franking().stamp(&context.server_frank_input(tag));
    let server_frank = stamp.map_err(HubKeysError::Crypto)?;
    let tbs = FrankingIntegrityTbs {
        server_frank,
        franking_signature_ciphersuite: suite,
        context,
    };
    let signature = keys.sign(scheme, LABEL, &tls::encode(&tbs))?;
    Ok(FrankRecord {
        server_frank,
        ciphersuite: suite.0,
        integrity_signature: ByteBuf::from(signature),
    })
}

/// Whether a reported message was sent as it is alleged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// This hub has accepted this content, at this time, for this room, as sent by the alleged abuser.
    Proven,
    /// Nothing shows that.
    NotProven(Unproven),
}

/// Why a message is not proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum Unproven {
    #[error("the content is not a MIMI content message")]
    Unreadable,
    #[error("the content does not name its sender and its room")]
    Anonymous,
    #[error("the content names another sender than the alleged abuser")]
    OtherSender,
    #[error("the content names another room")]
    OtherRoom,
    #[error("the server_frank is not this hub's for this content, sender, room and time")]
    WrongFrank,
    #[error("the franking_integrity_signature is not this hub's")]
    WrongSignature,
}

/// Validates a reported message: "the hub finds the salt, sender URI, and room URI inside the `message_content` and the
/// `accepted_timestamp` to recalculate the `franking_tag` and `context`" (5.9).
pub(crate) fn verdict(
    keys: &HubKeys,
    room: &RoomUri,
    alleged: &UserUri,
    reported: &AbusiveMessage,
) -> Result<Verdict, NodeError> {
    let unproven = |why| Ok(Verdict::NotProven(why));
    let Ok(content) = MimiContent::decode(&reported.message_content) else {
        return unproven(Unproven::Unreadable);
    };
    let (Some(sender), Some(claimed_room)) = (content.extensions.sender_uri(), content.extensions.room_uri()) else {
        return unproven(Unproven::Anonymous);
    };
    if sender != alleged.as_str() {
        return unproven(Unproven::OtherSender);
    }
    if claimed_room != room.as_str() {
        return unproven(Unproven::OtherRoom);
    }
    let tag = FrankAad {
        franking_tag: crypto::hmac_sha256(&content.salt, &reported.message_content).map_err(HubKeysError::Crypto)?,
    };
    let context = ServerFrankingContext {
        sender_uri: alleged.clone(),
        room_uri: room.clone(),
        accepted_timestamp: reported.accepted_timestamp,
    };
    let frank = &reported.frank;
    let input = context.server_frank_input(&tag);
    let stamped = keys.franking().have_stamped(&input, &frank.server_frank);
    if !stamped.map_err(HubKeysError::Crypto)? {
        return unproven(Unproven::WrongFrank);
    }
    let tbs = FrankingIntegrityTbs {
        server_frank: frank.server_frank,
        franking_signature_ciphersuite: frank.franking_signature_ciphersuite,
        context,
    };
    let signed = crypto::supported(frank.franking_signature_ciphersuite).is_some_and(|suite| {
        let scheme = suite.signature_algorithm();
        let signature = &frank.franking_integrity_signature;
        keys.public(scheme)
            .is_ok_and(|key| crypto::verify_with_label(scheme, key, LABEL, &tls::encode(&tbs), signature).is_ok())
    });
    if signed {
        Ok(Verdict::Proven)
    } else {
        unproven(Unproven::WrongSignature)
    }
}
