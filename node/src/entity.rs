//! What the log is about: an entity is the unit of order. Every room hosted here, every room followed elsewhere and every
//! user is one entity; its events carry consecutive sequence numbers, and one actor decides them.
//!
//! Invariant: the bytes of [`EntityId::shard_key`] never change for a given entity, since data on disk is placed by them.

use mimi_hub_proto::uri::{RoomUri, UserUri};
use serde::{Deserialize, Serialize};

/// The identity of an entity.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EntityId {
    /// A room that this provider hosts.
    Room(RoomUri),
    /// A room that another provider hosts and that users of this provider take part in.
    Followed(RoomUri),
    /// A user of this provider.
    User(UserUri),
}

impl EntityId {
    /// One letter that tells the three name spaces apart, in keys and in hashes.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            EntityId::Room(_) => b'r',
            EntityId::Followed(_) => b'f',
            EntityId::User(_) => b'u',
        }
    }

    /// The canonical URI.
    pub fn name(&self) -> &str {
        match self {
            EntityId::Room(room) | EntityId::Followed(room) => room.as_str(),
            EntityId::User(user) => user.as_str(),
        }
    }

    /// The bytes whose hash places the entity in a shard: the kind, then the canonical URI. A followed room's URI names
    /// its hub, so that "(hub, room)" needs no second part.
    pub fn shard_key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(1 + self.name().len());
        key.push(self.kind());
        key.extend_from_slice(self.name().as_bytes());
        key
    }
}

impl std::fmt::Display for EntityId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EntityId::Room(room) => write!(f, "hosted room {room}"),
            EntityId::Followed(room) => write!(f, "followed room {room}"),
            EntityId::User(user) => write!(f, "user {user}"),
        }
    }
}
