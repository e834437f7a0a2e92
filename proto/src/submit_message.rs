//! `POST /submitMessage/{roomId}` (draft-ietf-mimi-protocol, section 5.4).

use crate::Error;
use crate::franking::Frank;
use crate::mls::ApplicationMessage;
use crate::protocol::Protocol;
use crate::tls::{Decode, Encode, Reader, Writer, tls_enum};
use crate::uri::UserUri;

/// A message for the room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitMessageRequest {
    /// The message, encrypted.
    pub app_message: ApplicationMessage,
    /// Who sends it, as the sender's provider asserts.
    pub sending_uri: UserUri,
}

impl Encode for SubmitMessageRequest {
    fn encode(&self, out: &mut Writer) {
        Protocol::Mls10.encode(out);
        self.app_message.encode(out);
        self.sending_uri.encode(out);
    }
}

impl Decode for SubmitMessageRequest {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let Protocol::Mls10 = Protocol::decode(reader)?;
        let app_message = ApplicationMessage::decode(reader)?;
        Ok(SubmitMessageRequest {
            app_message,
            sending_uri: UserUri::decode(reader)?,
        })
    }
}

tls_enum! {
    /// Whether a message was accepted.
    pub enum SubmitResponseCode: u8 {
        /// It was, and will be distributed.
        Accepted = 0,
        /// The room's policy forbids it, or the request makes no sense.
        NotAllowed = 1,
        /// The hub is in a newer epoch.
        EpochTooOld = 2,
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubmitMessageResponse {
    /// It was accepted, and will be distributed.
    Accepted {
        /// When, in milliseconds since the Unix epoch.
        accepted_timestamp: u64,
        /// The hub's stamp, if the message carried a `frank_aad` and the room has a `franking_agent`.
        frank: Option<Frank>,
    },
    /// The room's policy forbids it, or the request makes no sense.
    NotAllowed,
    /// The hub is in a newer epoch.
    EpochTooOld {
        /// Which.
        current_epoch: u64,
    },
}

impl SubmitMessageResponse {
    /// The code of the answer.
    pub fn status_code(&self) -> SubmitResponseCode {
        match self {
            SubmitMessageResponse::Accepted { .. } => SubmitResponseCode::Accepted,
            SubmitMessageResponse::NotAllowed => SubmitResponseCode::NotAllowed,
            SubmitMessageResponse::EpochTooOld { .. } => SubmitResponseCode::EpochTooOld,
        }
    }
}

impl Encode for SubmitMessageResponse {
    fn encode(&self, out: &mut Writer) {
        Protocol::Mls10.encode(out);
        self.status_code().encode(out);
        match self {
            SubmitMessageResponse::Accepted {
                accepted_timestamp,
                frank,
            } => {
                accepted_timestamp.encode(out);
                frank.encode(out);
            }
            SubmitMessageResponse::NotAllowed => {}
            SubmitMessageResponse::EpochTooOld { current_epoch } => current_epoch.encode(out),
        }
    }
}

impl Decode for SubmitMessageResponse {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let Protocol::Mls10 = Protocol::decode(reader)?;
        Ok(match SubmitResponseCode::decode(reader)? {
            SubmitResponseCode::Accepted => SubmitMessageResponse::Accepted {
                accepted_timestamp: u64::decode(reader)?,
                frank: Option::decode(reader)?,
            },
            SubmitResponseCode::NotAllowed => SubmitMessageResponse::NotAllowed,
            SubmitResponseCode::EpochTooOld => SubmitMessageResponse::EpochTooOld {
                current_epoch: u64::decode(reader)?,
            },
        })
    }
}
