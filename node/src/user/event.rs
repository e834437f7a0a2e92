//! What can happen to a user of this provider.

use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

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
    /// A client published KeyPackages.
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
