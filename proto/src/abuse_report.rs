//! `POST /reportAbuse/{roomId}` (draft-ietf-mimi-protocol, section 5.9).

use crate::Error;
use crate::components::AppDataDictionary;
use crate::franking::Frank;
use crate::tls::{Decode, Encode, Reader, Writer, tls_struct};
use crate::uri::UserUri;

/// The most messages that one report may hold: "a handful".
pub const MAX_ABUSIVE_MESSAGES: usize = 64;

/// The longest note, in octets.
pub const MAX_ABUSE_NOTE_LEN: usize = 16 * 1024;

/// A message that is alleged to be abusive, with what is to prove that it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbusiveMessage {
    /// The application data as it was decrypted, a MIMI content message.
    pub message_content: Vec<u8>,
    /// The hub's stamp.
    pub frank: Frank,
    /// When the hub accepted it, in milliseconds since the Unix epoch.
    pub accepted_timestamp: u64,
}

tls_struct!(AbusiveMessage {
    message_content,
    frank,
    accepted_timestamp
});

/// The kind of abuse. The registry is still empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbuseType(pub u8);

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbuseReport {
    /// Who reports, unless it stays anonymous.
    pub reporting_user: Option<UserUri>,
    /// Who is said to have sent the messages.
    pub alleged_abuser: UserUri,
    /// The kind of abuse.
    pub reason_code: AbuseType,
    /// For people; may be empty.
    pub note: String,
    /// The messages; may be empty.
    pub messages: Vec<AbusiveMessage>,
    /// An extension point.
    pub abuse_extensions: AppDataDictionary,
}

impl Encode for AbuseReport {
    fn encode(&self, out: &mut Writer) {
        match &self.reporting_user {
            Some(user) => user.encode(out),
            None => out.opaque(&[]),
        }
        self.alleged_abuser.encode(out);
        self.reason_code.0.encode(out);
        self.note.encode(out);
        self.messages.encode(out);
        self.abuse_extensions.encode(out);
    }
}

impl Decode for AbuseReport {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let reporting_user = match reader.opaque()? {
            [] => None,
            octets => Some(UserUri::from_octets(octets)?),
        };
        let alleged_abuser = UserUri::decode(reader)?;
        let reason_code = AbuseType(u8::decode(reader)?);
        let note = String::decode(reader)?;
        let messages: Vec<AbusiveMessage> = Vec::decode(reader)?;
        let limits = [
            ("note", note.len(), MAX_ABUSE_NOTE_LEN),
            ("messages", messages.len(), MAX_ABUSIVE_MESSAGES),
        ];
        if let Some((what, value, limit)) = limits.into_iter().find(|(_, value, limit)| value > limit) {
            return Err(Error::Limit { what, value, limit });
        }
        Ok(AbuseReport {
            reporting_user,
            alleged_abuser,
            reason_code,
            note,
            messages,
            abuse_extensions: Decode::decode(reader)?,
        })
    }
}
