//! One MIMI client without its network: keys, rooms, and what the drafts say a client does with them.
//!
//! Requests come out as octets to be sent, answers and deliveries go in as octets received; nothing here waits. An update
//! or message stays unanswered until the hub's answer, or the hub's fan-out of it, says what became of it; until then the
//! same octets are handed out to be sent again.

use std::collections::BTreeMap;

use mimi_hub_proto::ClientIdentity;
use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri};

use super::keys::ClientKeys;
use super::pseudonyms::IdentityLinkKey;
use super::room::{Membership, RoomState};
use super::transcript::TranscriptEntry;
use crate::OpsError;

/// How the hub gets the new epoch's ratchet tree and GroupInfo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TreeOption {
    /// Both whole, with every Commit.
    Full,
    /// The hub makes them from the handshakes, and what it cannot know of the GroupInfo comes with the Commit
    /// (draft-mahy-mls-ratchet-tree-options, 3 and 4).
    #[default]
    DistributionService,
}

/// One MIMI client.
pub struct ClientState {
    pub(super) keys: ClientKeys,
    pub(super) rooms: BTreeMap<RoomUri, Membership>,
    pub(super) tree: TreeOption,
    /// What it knows of users that go by pseudonyms.
    pub(super) link_keys: BTreeMap<UserUri, IdentityLinkKey>,
}

impl ClientState {
    /// A new client of `user`, with a fresh signature key.
    ///
    /// # Errors
    /// [`OpsError::Mls`] when client and user are of different providers, or no key can be made.
    pub fn new(client: ClientUri, user: UserUri, tree: TreeOption) -> Result<Self, OpsError> {
        Ok(Self {
            keys: ClientKeys::generate(client, user)?,
            rooms: BTreeMap::new(),
            tree,
            link_keys: BTreeMap::new(),
        })
    }

    /// Who this client is.
    #[must_use]
    pub fn identity(&self) -> &ClientIdentity {
        &self.keys.identity
    }

    /// Makes KeyPackages to be published, as encoded structs; their private keys stay here.
    ///
    /// # Errors
    /// [`OpsError::Mls`] when a key cannot be made.
    pub fn key_packages(&self, count: usize) -> Result<Vec<Vec<u8>>, OpsError> {
        (0..count).map(|_| self.keys.key_package()).collect()
    }

    /// What this client knows of a room that it is in.
    ///
    /// # Errors
    /// [`OpsError::NotMember`], or [`OpsError::Mls`] when the group's components break a rule.
    pub fn room(&self, room: &RoomUri) -> Result<RoomState, OpsError> {
        RoomState::of(self.membership(room)?.group()?)
    }

    /// The application messages of a room, in the hub's order. Own messages that the hub has accepted but not delivered yet
    /// stand last.
    #[must_use]
    pub fn transcript(&self, room: &RoomUri) -> &[TranscriptEntry] {
        self.rooms.get(room).map_or(&[], |membership| &membership.transcript)
    }

    /// The epochs that this client has been in, each with its epoch authenticator (RFC 9420, 8.7).
    pub fn epochs(&self, room: &RoomUri) -> impl Iterator<Item = (u64, &[u8])> + Clone {
        let epochs = self.rooms.get(room).map(|membership| &membership.epochs);
        epochs
            .into_iter()
            .flatten()
            .map(|(epoch, authenticator)| (*epoch, authenticator.as_slice()))
    }

    /// How many of this client's own messages the hub has accepted but not delivered yet; they stand last in the transcript.
    #[must_use]
    pub fn undelivered(&self, room: &RoomUri) -> usize {
        self.rooms
            .get(room)
            .map_or(0, |membership| membership.undelivered.len())
    }

    /// Whether proposals of the room wait for a Commit.
    #[must_use]
    pub fn has_pending_proposals(&self, room: &RoomUri) -> bool {
        let group = self.rooms.get(room).and_then(|membership| membership.group.as_ref());
        group.is_some_and(|group| group.pending_proposals().next().is_some())
    }

    /// What could not be processed in a room, in words.
    #[must_use]
    pub fn failures(&self, room: &RoomUri) -> &[String] {
        self.rooms.get(room).map_or(&[], |membership| &membership.failures)
    }

    /// How many messages of a room came more than once, and were recognised.
    #[must_use]
    pub fn redelivered(&self, room: &RoomUri) -> u64 {
        self.rooms.get(room).map_or(0, |membership| membership.redelivered)
    }

    /// Whether a Commit has removed this client from the room's group.
    #[must_use]
    pub fn is_removed(&self, room: &RoomUri) -> bool {
        self.rooms.get(room).is_some_and(|membership| membership.removed)
    }

    /// Whether this client is in the room's group.
    #[must_use]
    pub fn is_member(&self, room: &RoomUri) -> bool {
        self.rooms
            .get(room)
            .is_some_and(|membership| membership.group.is_some())
    }

    pub(super) fn membership(&self, room: &RoomUri) -> Result<&Membership, OpsError> {
        self.rooms
            .get(room)
            .ok_or_else(|| OpsError::NotMember { room: room.clone() })
    }

    pub(super) fn membership_mut(&mut self, room: &RoomUri) -> &mut Membership {
        self.rooms
            .entry(room.clone())
            .or_insert_with(|| Membership::new(room.clone()))
    }
}
