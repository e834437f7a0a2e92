//! What can happen to a room that another provider hosts, as far as this provider's users are concerned.

use mimi_hub_proto::uri::{ClientUri, UserUri};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// An event of a followed room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FollowedEvent {
    /// KeyPackages of a local user were given out for this room: a Welcome to them is for that user. Written as long as
    /// there are nodes in the cluster that do not know [`Awaited`](Self::Awaited).
    Expected {
        /// The user.
        user: UserUri,
        /// KeyPackageRefs and their clients.
        packages: Vec<(ByteBuf, ClientUri)>,
    },
    /// The hub sent events that were not known yet.
    Notified {
        /// FanoutMessages as they came, each with its SHA-256.
        messages: Vec<([u8; 32], ByteBuf)>,
        /// KeyPackageRefs for which no Welcome is awaited any more: Welcomes among the messages have used them, or their
        /// lifetimes are long over.
        welcomed: Vec<ByteBuf>,
        /// Users that a Welcome among them is for.
        joined: Vec<UserUri>,
    },
    /// A local user joins by itself (external Commit): what the hub sends from now on may concern it.
    Joined {
        /// The user.
        user: UserUri,
    },
    /// A local user has left, or has been removed, and has said so.
    Left {
        /// The user.
        user: UserUri,
    },
    /// KeyPackages of a local user were given out for this room, with the ends of their lifetimes: a Welcome to them is for
    /// that user.
    Awaited {
        /// The user.
        user: UserUri,
        /// The KeyPackages.
        packages: Vec<AwaitedKeyPackage>,
        /// KeyPackageRefs for which no Welcome is awaited any more: their lifetimes are long over.
        expired: Vec<ByteBuf>,
    },
}

/// A KeyPackage that a Welcome is awaited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwaitedKeyPackage {
    /// Its KeyPackageRef.
    pub reference: ByteBuf,
    /// The client it belongs to.
    pub client: ClientUri,
    /// The end of its lifetime, in seconds since the UNIX epoch.
    pub not_after_s: u64,
}

impl FollowedEvent {
    /// Users that take part from this event on.
    pub(crate) fn joined(&self) -> &[UserUri] {
        match self {
            FollowedEvent::Notified { joined, .. } => joined,
            FollowedEvent::Joined { user } => std::slice::from_ref(user),
            FollowedEvent::Expected { .. } | FollowedEvent::Awaited { .. } | FollowedEvent::Left { .. } => &[],
        }
    }

    /// Users for whom this is the last event.
    pub(crate) fn left(&self) -> &[UserUri] {
        match self {
            FollowedEvent::Left { user } => std::slice::from_ref(user),
            _ => &[],
        }
    }
}
