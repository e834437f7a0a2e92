//! What goes through the log: commands, and what applying one answers.
//!
//! A command says what was accepted, never what was asked: it was decided once, by the leader. Its first byte is the
//! format version; a newer binary reads what the one before wrote.

use bytes::Bytes;
use mimi_hub_proto::uri::ProviderDomain;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::entity::EntityId;
use crate::followed::event::FollowedEvent;
use crate::room::event::RoomEvent;
use crate::user::event::UserEvent;

/// SHA-256 over (source provider, endpoint, room or user, body): see [`request_hash`].
pub type RequestHash = [u8; 32];

/// The outbox destination that stands for this provider's own users: what is delivered there are entries in their room
/// lists. Not a domain name, so that it cannot be taken for a provider.
pub const LOCAL: &str = "@local";

/// The version of commands and stored records that this binary writes.
const FORMAT: u8 = 1;

/// One entry of a shard's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "nearly all commands are of the large kind")]
pub enum Command {
    /// A decision about an entity, fenced by its sequence number.
    Accepted(Accepted),
    /// Destinations have received events; a cursor never moves back.
    CursorsMoved(Vec<CursorMove>),
    /// Events before `first_seq` are beyond the retention limit.
    Trimmed {
        /// The entity.
        entity: EntityId,
        /// The oldest event to keep.
        first_seq: u64,
    },
}

/// What the leader accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// The entity it changes.
    pub entity: EntityId,
    /// Follows the entity's last sequence number by one, or the command is refused on every replica.
    pub seq: u64,
    /// Which activation of the entity's actor has decided it: drawn at random when the actor is started.
    pub decided_by: u64,
    /// Which activation has decided the event before it, 0 before the first: it is that event which this one was decided
    /// after, or the command is refused. An activation has several proposals on their way; when another leader's event takes
    /// the number of the first, the second would follow by its number alone.
    pub decided_after: u64,
    /// The hub acceptance time, in milliseconds since the UNIX epoch.
    pub at_ms: u64,
    /// The request that it answers, if it may be retried.
    pub request: Option<RequestHash>,
    /// The answer: the encoded response body.
    #[serde(with = "serde_bytes")]
    pub reply: Vec<u8>,
    /// What happened.
    pub event: Event,
}

/// What happened to an entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// To a hosted room.
    Room(RoomEvent),
    /// To a followed room.
    Followed(FollowedEvent),
    /// To a user.
    User(UserEvent),
}

/// A destination has everything up to `seq`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorMove {
    /// Whose events.
    pub entity: EntityId,
    /// Who received them: a follower provider's domain, or [`LOCAL`].
    pub destination: String,
    /// The last event received.
    pub seq: u64,
}

/// What applying a command answers; the same on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done.
    Applied,
    /// The command was not decided after the entity's last event: another leader decided in between.
    Fenced {
        /// The entity's last sequence number.
        last_seq: u64,
    },
}

/// The first record of an entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last event's sequence number; 0 before the first.
    pub last_seq: u64,
    /// Which activation of the entity's actor has decided the last event; 0 before the first.
    pub last_decided_by: u64,
    /// The oldest event that is still kept.
    pub first_seq: u64,
    /// The event after which the checkpoint was taken (hosted rooms).
    pub checkpoint_seq: u64,
    /// The last event's acceptance time, in milliseconds since the UNIX epoch: times never run backwards.
    pub last_at_ms: u64,
}

/// How far a destination is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxCursor {
    /// The last event it has confirmed.
    pub confirmed_seq: u64,
    /// The last event meant for it.
    pub last_seq: u64,
}

/// The events that a local user may read, as closed ranges; the last one is open while the user takes part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadableRanges(pub Vec<(u64, Option<u64>)>);

impl ReadableRanges {
    /// May the event be read?
    pub fn contains(&self, seq: u64) -> bool {
        self.0
            .iter()
            .any(|(from, to)| seq >= *from && to.is_none_or(|to| seq <= to))
    }

    /// Is there an open range?
    pub fn is_open(&self) -> bool {
        self.0.last().is_some_and(|(_, to)| to.is_none())
    }

    pub(crate) fn open(&mut self, seq: u64) {
        if !self.is_open() {
            self.0.push((seq, None));
        }
    }

    pub(crate) fn close(&mut self, seq: u64) {
        if let Some((_, to @ None)) = self.0.last_mut() {
            *to = Some(seq);
        }
    }
}

/// A record or command that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The bytes do not decode.
    #[error("a stored record does not decode: {0}")]
    Decode(#[from] bincode::error::DecodeError),
    /// The value does not encode.
    #[error("a record does not encode: {0}")]
    Encode(#[from] bincode::error::EncodeError),
    /// Nothing there.
    #[error("a stored record is empty")]
    Empty,
    /// Bytes are left over.
    #[error("{0} bytes follow a stored record")]
    TrailingBytes(usize),
    /// Written by a newer binary.
    #[error("record format {0} is newer than this binary understands ({FORMAT}): upgrade this node")]
    Version(u8),
}

/// Encodes a command or a stored record.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, FormatError> {
    let mut bytes = vec![FORMAT];
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())?;
    Ok(bytes)
}

/// Decodes a command or a stored record, whole.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FormatError> {
    let (&version, body) = bytes.split_first().ok_or(FormatError::Empty)?;
    if version != FORMAT {
        return Err(FormatError::Version(version));
    }
    let (value, read) = bincode::serde::decode_from_slice(body, bincode::config::standard())?;
    match body.len() - read {
        0 => Ok(value),
        left => Err(FormatError::TrailingBytes(left)),
    }
}

/// The identity of a request: the same bytes from the same provider to the same endpoint are the same request.
pub fn request_hash(source: &ProviderDomain, endpoint: &str, target: &str, body: &Bytes) -> RequestHash {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for part in [source.as_str().as_bytes(), endpoint.as_bytes(), target.as_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(body);
    hash.finalize().into()
}

#[cfg(test)]
mod tests;
