//! What can happen to a user of this provider.

use mimi_hub_proto::uri::{ClientUri, ProviderDomain, RoomUri, UserUri};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::consent::{Asked, ConsentSent, SentEffect, Told};
use super::discovery::Entry;

/// An event of a user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum UserEvent {
    /// The user is known from now on.
    Created,
    /// The user is gone, with its KeyPackages.
    Deleted {
        /// The KeyPackageRefs of those that were in store.
        dropped: Vec<ByteBuf>,
    },
    /// A client was registered.
    ClientAdded(ClientUri),
    /// A client is gone, with its KeyPackages.
    ClientRemoved {
        /// The client.
        client: ClientUri,
        /// The KeyPackageRefs of those that were in store.
        dropped: Vec<ByteBuf>,
    },
    /// A client published KeyPackages; or none did, and some have expired of a deleted user.
    KeyPackagesStored {
        /// The new ones.
        packages: Vec<StoredKeyPackage>,
        /// References whose lifetime is over, in store or given out.
        expired: Vec<ByteBuf>,
    },
    /// KeyPackages were given out: none of them is ever given again.
    KeyPackagesClaimed(Vec<GivenKeyPackage>),
    /// A consent rule was set.
    ConsentSet(ConsentRule),
    /// The user takes part in a room, hosted here or elsewhere.
    RoomJoined(RoomUri),
    /// The user wants to hear no more of a room.
    RoomForgotten(RoomUri),
    /// The user sends a consent operation to another user's provider.
    ConsentSent(ConsentSent),
    /// Another user asks for consent.
    ConsentAsked(Asked),
    /// Another user asks no more.
    ConsentWithdrawn {
        /// Who asked.
        requester: UserUri,
        /// For which room; absent for any.
        room: Option<RoomUri>,
    },
    /// Another user has told of its consent.
    ConsentTold(Told),
    /// A request of this user cannot be delivered.
    ConsentUndeliverable {
        /// Whom it asked.
        target: UserUri,
        /// For which room; absent for any.
        room: Option<RoomUri>,
    },
    /// The user has this profile from now on.
    ProfileSet(Vec<Entry>),
}

/// A KeyPackage that has been given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenKeyPackage {
    /// Its KeyPackageRef.
    pub reference: ByteBuf,
    /// The end of its lifetime, in seconds since the UNIX epoch: until then it must be remembered.
    pub not_after_s: u64,
}

/// A KeyPackage in store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredKeyPackage {
    /// Its KeyPackageRef.
    pub reference: ByteBuf,
    /// The client it belongs to.
    pub client: ClientUri,
    /// The KeyPackage struct.
    pub key_package: ByteBuf,
    /// The end of its lifetime, in seconds since the UNIX epoch.
    pub not_after_s: u64,
}

/// Who may fetch a user's KeyPackages. Absent fields match anybody and any room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsentRule {
    /// The user who asks.
    pub requester: Option<UserUri>,
    /// The room for which it asks.
    pub room: Option<RoomUri>,
    /// Yes or no.
    pub allow: bool,
}

impl UserEvent {
    /// The provider that is to hear of it.
    pub(crate) fn destination(&self) -> Option<&ProviderDomain> {
        match self {
            UserEvent::ConsentSent(sent) => Some(&sent.to),
            _ => None,
        }
    }

    /// KeyPackages that it gives out.
    pub(crate) fn given(&self) -> &[GivenKeyPackage] {
        match self {
            UserEvent::KeyPackagesClaimed(given) => given,
            UserEvent::ConsentSent(ConsentSent {
                effect: SentEffect::Answers { given, .. },
                ..
            }) => given,
            _ => &[],
        }
    }
}
