//! Franking from the client's side (draft-ietf-mimi-protocol, 5.4.1): committing to what is sent, checking the hub's stamp on
//! what is received, and reporting it (5.9).

use std::collections::VecDeque;

use mimi_hub_proto::components::{AppDataDictionary, ComponentsList, FRANK_AAD, FRANKING_AGENT, SAFE_AAD, SafeAad};
use mimi_hub_proto::content::MimiContent;
use mimi_hub_proto::mls::{ApplicationMessage, CipherSuite, SignaturePublicKey};
use mimi_hub_proto::tls::{Decode, Reader, encode};
use mimi_hub_proto::uri::{RoomUri, UserUri};
use mimi_hub_proto::{
    AbuseReport, AbuseType, AbusiveMessage, Frank, FrankAad, FrankingAgentData, FrankingIntegrityTbs,
    ServerFrankingContext,
};
use openmls::framing::SafeAadItem;
use openmls::group::MlsGroup;
use openmls_traits::OpenMlsProvider as _;
use openmls_traits::crypto::OpenMlsCrypto as _;
use openmls_traits::types::HashType;

use super::app_data;
use super::keys::{CIPHERSUITE, ClientKeys};
use super::state::ClientState;
use crate::OpsError;

/// A received message that the hub has stamped, kept so that it can be reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Who sent it.
    pub sender: UserUri,
    /// Its salt, by which the transcript names it.
    pub salt: Vec<u8>,
    /// What a report says of it.
    pub message: AbusiveMessage,
}

/// The components of a new room by which its messages are franked.
pub(super) fn components(room: &RoomUri, hub_key: SignaturePublicKey) -> [(u16, Vec<u8>); 2] {
    let agent = FrankingAgentData::of_hub(&room.provider(), hub_key);
    let in_safe_aad = ComponentsList {
        component_ids: vec![FRANK_AAD],
    };
    [(FRANKING_AGENT, encode(&agent)), (SAFE_AAD, encode(&in_safe_aad))]
}

/// "franking_tag = HMAC_SHA256( salt, application_data)"
pub(super) fn tag(keys: &ClientKeys, salt: &[u8], application_data: &[u8]) -> Result<FrankAad, OpsError> {
    let mac = keys
        .provider
        .crypto()
        .hmac(HashType::Sha2_256, salt, application_data)
        .map_err(|error| OpsError::mls("compute the franking tag")(format!("{error:?}")))?;
    let franking_tag = mac
        .as_slice()
        .try_into()
        .map_err(OpsError::mls("compute the franking tag"))?;
    Ok(FrankAad { franking_tag })
}

/// Puts the franking tag beside the message that is sent next, in a room whose messages have a SafeAAD.
pub(super) fn commit_to(keys: &ClientKeys, group: &mut MlsGroup, content: &MimiContent) -> Result<(), OpsError> {
    if app_data::dictionary(group.extensions())?.get(SAFE_AAD).is_none() {
        return Ok(());
    }
    let tag = tag(keys, &content.salt, &content.encode())?;
    group
        .set_safe_aad(vec![SafeAadItem::new(FRANK_AAD, encode(&tag))])
        .map_err(OpsError::mls("put the franking tag beside the message"))
}

/// What the receiver of a message knows of it.
pub(super) struct Receipt<'a> {
    pub(super) room: &'a RoomUri,
    pub(super) sender: &'a UserUri,
    pub(super) octets: &'a [u8],
    pub(super) content: &'a MimiContent,
    pub(super) accepted_ms: u64,
}

/// "Receiver verification of frank". Gives the evidence; nothing, where the room has no franking agent or the message was not
/// franked.
///
/// # Errors
/// [`OpsError::Signature`] when the tag is another message's or the stamp is not the hub's for this sender, room and time.
pub(super) fn verify(
    keys: &ClientKeys,
    group: &MlsGroup,
    message: &ApplicationMessage,
    frank: Option<Frank>,
    receipt: &Receipt<'_>,
) -> Result<Option<Evidence>, OpsError> {
    let dictionary = app_data::dictionary(group.extensions())?;
    if dictionary.get(SAFE_AAD).is_none() {
        return Ok(None);
    }
    let aad = <SafeAad as Decode>::decode(&mut Reader::new(message.authenticated_data()))
        .map_err(OpsError::mls("read the SafeAAD"))?;
    let Some(sent_tag) = aad
        .decode::<FrankAad>(FRANK_AAD)
        .map_err(OpsError::mls("read the franking tag"))?
    else {
        return Ok(None);
    };
    // Whoever sends a tag that commits to something else wants its message not to be reportable.
    if sent_tag != tag(keys, &receipt.content.salt, receipt.octets)? {
        return Err(OpsError::Signature { what: "franking_tag" });
    }
    let agent: Option<FrankingAgentData> = dictionary
        .decode(FRANKING_AGENT)
        .map_err(OpsError::mls("read the franking agent"))?;
    let (Some(agent), Some(frank)) = (agent, frank) else {
        return Ok(None);
    };
    let suite = CipherSuite(CIPHERSUITE.into());
    if frank.franking_signature_ciphersuite != suite || !agent.is_of(&receipt.room.provider()) {
        return Err(OpsError::Signature { what: "frank" });
    }
    let tbs = FrankingIntegrityTbs {
        server_frank: frank.server_frank,
        franking_signature_ciphersuite: suite,
        context: ServerFrankingContext {
            sender_uri: receipt.sender.clone(),
            room_uri: receipt.room.clone(),
            accepted_timestamp: receipt.accepted_ms,
        },
    };
    keys.verify(
        agent.franking_signature_key.as_bytes(),
        &tbs.sign_content(),
        &frank.franking_integrity_signature,
        "frank",
    )?;
    Ok(Some(Evidence {
        sender: receipt.sender.clone(),
        salt: receipt.content.salt.to_vec(),
        message: AbusiveMessage {
            message_content: receipt.octets.to_vec(),
            frank,
            accepted_timestamp: receipt.accepted_ms,
        },
    }))
}

/// How many received messages of a room can be reported.
const EVIDENCE_MAX: usize = 4_096;

/// Keeps the evidence of a message; the oldest gives way.
pub(super) fn keep(kept: &mut VecDeque<Evidence>, evidence: Option<Evidence>) {
    kept.extend(evidence);
    if kept.len() > EVIDENCE_MAX {
        kept.pop_front();
    }
}

impl ClientState {
    /// The stamped messages that were received in a room, in their order.
    #[must_use]
    pub fn evidence(&self, room: &RoomUri) -> Vec<&Evidence> {
        self.rooms
            .get(room)
            .map_or(Vec::new(), |membership| membership.evidence.iter().collect())
    }

    /// An AbuseReport about messages of one sender, to be sent to the room's hub.
    #[must_use]
    pub fn abuse_report(&self, alleged_abuser: &UserUri, note: &str, messages: Vec<AbusiveMessage>) -> Vec<u8> {
        encode(&AbuseReport {
            reporting_user: Some(self.identity().user().clone()),
            alleged_abuser: alleged_abuser.clone(),
            reason_code: AbuseType(0),
            note: note.to_owned(),
            messages,
            abuse_extensions: AppDataDictionary::new(),
        })
    }
}
