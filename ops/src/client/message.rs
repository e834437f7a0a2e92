//! Sending application messages.

use mimi_hub_proto::ClientIdentity;
use mimi_hub_proto::content::{ContentExtensions, Disposition, ExternalPart, MimiContent, NestedPart, Part};
use mimi_hub_proto::mls::MlsMessage;
use mimi_hub_proto::tls::{decode_exact, encode};
use mimi_hub_proto::uri::RoomUri;
use mimi_hub_proto::{SubmitMessageRequest, SubmitMessageResponse};
use openmls::group::MlsGroup;
use openmls::prelude::tls_codec::Serialize as _;

use super::franking;
use super::keys::ClientKeys;
use super::room::UnansweredMessage;
use super::state::ClientState;
use super::transcript::{MessageDigest, TranscriptEntry, digest};
use crate::OpsError;

/// The media type of the messages made here.
const PLAIN_TEXT: &str = "text/plain;charset=utf-8";

/// What the hub said to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageAnswer {
    /// It is in the room's order.
    Accepted,
    /// The hub is at this epoch, too far ahead: follow the stream up to it and encrypt the message anew.
    EpochTooOld(u64),
    /// The policy of the room, or its state, forbids it.
    NotAllowed,
}

impl ClientState {
    /// The content of a new text message, with a salt of its own.
    ///
    /// # Errors
    /// [`OpsError::Mls`] when there is no randomness.
    pub fn text(&self, room: &RoomUri, text: &str) -> Result<MimiContent, OpsError> {
        Ok(MimiContent {
            salt: self.keys.random()?,
            replaces: None,
            topic_id: Vec::new(),
            expires: None,
            in_reply_to: None,
            extensions: ContentExtensions::for_franking(self.identity().user().as_str(), room.as_str()),
            nested_part: NestedPart {
                disposition: Disposition::RENDER,
                language: String::new(),
                part: Part::Single {
                    content_type: PLAIN_TEXT.to_owned(),
                    content: text.as_bytes().to_vec(),
                },
            },
        })
    }

    /// Encrypts a message and gives the SubmitMessageRequest to be sent.
    ///
    /// # Errors
    /// [`OpsError::NotMember`], [`OpsError::Leaving`], [`OpsError::Unanswered`] while another message has no answer, or
    /// [`OpsError::Mls`].
    pub fn encrypt(&mut self, room: &RoomUri, content: &MimiContent) -> Result<Vec<u8>, OpsError> {
        let ClientState { keys, rooms, .. } = self;
        let membership = rooms
            .get_mut(room)
            .ok_or_else(|| OpsError::NotMember { room: room.clone() })?;
        if membership.leaving {
            return Err(OpsError::Leaving { room: room.clone() });
        }
        if membership.message.is_some() {
            return Err(OpsError::Unanswered { room: room.clone() });
        }
        let group = membership
            .group
            .as_mut()
            .ok_or_else(|| OpsError::NotMember { room: room.clone() })?;
        let epoch = group.epoch().as_u64();
        let user = keys.identity.user().clone();
        let (message, body) = seal(keys, group, content)?;
        membership.message = Some(UnansweredMessage {
            body: body.clone(),
            message,
            entry: TranscriptEntry {
                user,
                client: keys.identity.client().clone(),
                text: shown_text(content).to_owned(),
                external: external_part(content),
                salt: content.salt.to_vec(),
                epoch,
                accepted_ms: 0,
            },
        });
        Ok(body)
    }

    /// Encrypts `count` text messages and gives their SubmitMessageRequests, to be sent in any order by whoever wants to: the
    /// client does not follow what becomes of them. For putting a hub under load.
    ///
    /// # Errors
    /// [`OpsError::NotMember`] or [`OpsError::Mls`].
    pub fn encrypt_ahead(&mut self, room: &RoomUri, text: &str, count: usize) -> Result<Vec<Vec<u8>>, OpsError> {
        let contents: Result<Vec<MimiContent>, OpsError> = (0..count).map(|_| self.text(room, text)).collect();
        let ClientState { keys, rooms, .. } = self;
        let group = rooms.get_mut(room).and_then(|membership| membership.group.as_mut());
        let group = group.ok_or_else(|| OpsError::NotMember { room: room.clone() })?;
        contents?
            .iter()
            .map(|content| Ok(seal(keys, group, content)?.1))
            .collect()
    }

    /// The SubmitMessageRequest of a room that has no answer yet, to be sent again as it is.
    #[must_use]
    pub fn unanswered_message(&self, room: &RoomUri) -> Option<&[u8]> {
        Some(&self.rooms.get(room)?.message.as_ref()?.body)
    }

    /// Takes in the SubmitMessageResponse to the last message of a room.
    ///
    /// # Errors
    /// [`OpsError::Answer`] when it is no SubmitMessageResponse; the message then still has no answer.
    pub fn message_answered(&mut self, room: &RoomUri, response: &[u8]) -> Result<MessageAnswer, OpsError> {
        let response: SubmitMessageResponse =
            decode_exact(response).map_err(OpsError::answer("SubmitMessageResponse"))?;
        let membership = self.membership_mut(room);
        match response {
            SubmitMessageResponse::Accepted { accepted_timestamp, .. } => {
                membership.accept_message(accepted_timestamp);
                Ok(MessageAnswer::Accepted)
            }
            SubmitMessageResponse::EpochTooOld { current_epoch } => {
                membership.message = None;
                Ok(MessageAnswer::EpochTooOld(current_epoch))
            }
            SubmitMessageResponse::NotAllowed => {
                membership.message = None;
                Ok(MessageAnswer::NotAllowed)
            }
        }
    }
}

/// Encrypts one message: its digest, and the SubmitMessageRequest.
fn seal(keys: &ClientKeys, group: &mut MlsGroup, content: &MimiContent) -> Result<(MessageDigest, Vec<u8>), OpsError> {
    franking::commit_to(keys, group, content)?;
    let encrypted = group
        .create_message(&keys.provider, &keys.signer, &content.encode())
        .map_err(OpsError::mls("encrypt a message"))?
        .tls_serialize_detached()
        .map_err(OpsError::mls("encode a message"))?;
    let framed: MlsMessage = decode_exact(&encrypted).map_err(OpsError::mls("frame a message"))?;
    let body = encode(&SubmitMessageRequest {
        app_message: framed.try_into().map_err(OpsError::mls("frame a message"))?,
        sending_uri: keys.identity.user().clone(),
    });
    Ok((digest(&encrypted), body))
}

/// The text of a message whose one part is text; empty for every other.
pub(super) fn shown_text(content: &MimiContent) -> &str {
    match &content.nested_part.part {
        Part::Single { content_type, content } if content_type.starts_with("text/") => {
            std::str::from_utf8(content).unwrap_or_default()
        }
        _ => "",
    }
}

/// What a message refers to whose one part is elsewhere.
pub(super) fn external_part(content: &MimiContent) -> Option<Box<ExternalPart>> {
    match &content.nested_part.part {
        Part::External(part) => Some(part.clone()),
        _ => None,
    }
}

/// Who the content claims to be from, and to which room, must be who sent it and where it came
/// (draft-ietf-mimi-protocol, 5.4.1). What claims nothing is not wrong.
pub(super) fn check_claims(content: &MimiContent, sender: &ClientIdentity, room: &RoomUri) -> Result<(), OpsError> {
    let extensions = &content.extensions;
    if extensions
        .sender_uri()
        .is_some_and(|claimed| claimed != sender.user().as_str())
    {
        return Err(OpsError::mls("read the MIMI content")(
            "its senderUri is not its sender's",
        ));
    }
    if extensions.room_uri().is_some_and(|claimed| claimed != room.as_str()) {
        return Err(OpsError::mls("read the MIMI content")("its roomUri is another room's"));
    }
    Ok(())
}
