//! The MIMI content format (draft-ietf-mimi-content-08): what is inside an application message.
//!
//! The hub never sees this, except in an abuse report; clients write and read it. Only the deterministic CBOR of
//! RFC 8949, section 4.2.1, is accepted, so that a message has one encoding, and with it one message ID and one
//! franking tag.

mod cbor;
mod decode;
mod encode;
mod extensions;
#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};

use crate::Error;

pub use extensions::{ContentExtensions, ExtensionKey};

/// The largest content accepted, in octets.
pub const MAX_CONTENT_LEN: usize = 1 << 20;
/// How deep parts may be nested, the outermost counted (section 6.3).
pub const MAX_PART_DEPTH: usize = 4;
/// The identifier of SHA-256 in the IANA registry of named information hash algorithms.
const SHA_256: u8 = 0x01;

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub struct MimiContent {
    /// Random, unique to the message.
    pub salt: [u8; 16],
    /// The message this one edits, deletes or takes back.
    pub replaces: Option<MessageId>,
    /// Groups messages; may be empty.
    pub topic_id: Vec<u8>,
    /// When it should be forgotten.
    pub expires: Option<Expiration>,
    /// The message this one answers.
    pub in_reply_to: Option<MessageId>,
    /// What the sender adds, its own and the room's URI among it.
    pub extensions: ContentExtensions,
    /// What is shown.
    pub nested_part: NestedPart,
}

/// The ID of a message (section 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 32]);

/// When a message should be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiration {
    /// Whether `time` counts from when the message is read.
    pub relative: bool,
    /// In seconds: since reading, or since the Unix epoch.
    pub time: u32,
}

/// A body part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NestedPart {
    /// What it is for.
    pub disposition: Disposition,
    /// Language tags, separated by commas; may be empty.
    pub language: String,
    /// What it holds.
    pub part: Part,
}

/// The purpose of a part, an open registry (section 8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disposition(pub u8);

impl Disposition {
    /// No hint.
    pub const UNSPECIFIED: Disposition = Disposition(0);
    /// To be shown.
    pub const RENDER: Disposition = Disposition(1);
    /// A reaction to another message.
    pub const REACTION: Disposition = Disposition(2);
    /// About a participant or the room.
    pub const PROFILE: Disposition = Disposition(3);
    /// To be shown in line.
    pub const INLINE: Disposition = Disposition(4);
    /// An icon.
    pub const ICON: Disposition = Disposition(5);
    /// To be downloaded.
    pub const ATTACHMENT: Disposition = Disposition(6);
    /// A multimedia session.
    pub const SESSION: Disposition = Disposition(7);
    /// A preview made by the sender.
    pub const PREVIEW: Disposition = Disposition(8);
}

/// What a part holds (section 4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Nothing: the message deletes or takes back.
    Null,
    /// The content itself.
    Single {
        /// Its media type.
        content_type: String,
        /// The content.
        content: Vec<u8>,
    },
    /// Content that is elsewhere.
    External(Box<ExternalPart>),
    /// Two or more parts.
    Multi {
        /// What they are to each other.
        part_semantics: PartSemantics,
        /// The parts.
        parts: Vec<NestedPart>,
    },
}

/// Content at a URL (section 4.5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExternalPart {
    /// The media type; may be empty.
    pub content_type: String,
    /// Where it is.
    pub url: String,
    /// Until when, in seconds since the Unix epoch; 0 for ever.
    pub expires: u32,
    /// Its size in octets, or 0.
    pub size: u64,
    /// The AEAD it is encrypted with, or 0.
    pub enc_alg: u16,
    /// The AEAD's key.
    pub key: Vec<u8>,
    /// The AEAD's nonce.
    pub nonce: Vec<u8>,
    /// The AEAD's additional data.
    pub aad: Vec<u8>,
    /// The algorithm of the hash, or 0.
    pub hash_alg: u8,
    /// The hash of what is at the URL.
    pub content_hash: Vec<u8>,
    /// For people.
    pub description: String,
    /// A suggestion.
    pub filename: String,
}

/// What the parts of a [`Part::Multi`] are to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PartSemantics {
    /// The receiver chooses one.
    ChooseOne = 0,
    /// All or none.
    SingleUnit = 1,
    /// As many as the receiver can.
    ProcessAll = 2,
}

impl MimiContent {
    /// Reads a message.
    ///
    /// # Errors
    /// If it is too large or too deep, not CBOR, not deterministic, or not what the draft's schema says.
    pub fn decode(octets: &[u8]) -> Result<Self, Error> {
        decode::content(octets)
    }

    /// The deterministic encoding. Extension values are written as they are; those that break the draft's rules make
    /// a message that [`MimiContent::decode`] refuses.
    pub fn encode(&self) -> Vec<u8> {
        encode::content(self)
    }
}

impl MessageId {
    /// The ID of a message, from its encoding and salt and the URIs of its sender and room (section 3.3).
    ///
    /// # Errors
    /// [`Error::Limit`] if a URI is longer than 65,535 octets.
    pub fn of(octets: &[u8], salt: &[u8; 16], sender_uri: &str, room_uri: &str) -> Result<Self, Error> {
        let mut hash = Sha256::new();
        for (what, uri) in [("sender URI", sender_uri), ("room URI", room_uri)] {
            let limit = usize::from(u16::MAX);
            let length = u16::try_from(uri.len()).map_err(|_| Error::Limit {
                what,
                value: uri.len(),
                limit,
            })?;
            hash.update(length.to_be_bytes());
            hash.update(uri.as_bytes());
        }
        hash.update(octets);
        hash.update(salt);
        let mut id = [SHA_256; 32];
        id[1..].copy_from_slice(&hash.finalize()[..31]);
        Ok(MessageId(id))
    }
}
