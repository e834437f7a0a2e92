//! A user's state: the profile that every replica keeps, and the KeyPackages that the leader holds in memory.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use mimi_hub_cluster::ShardReader;
use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::consent::{Asked, Sent, Told};
use super::discovery::Entry;
use super::event::{ConsentRule, StoredKeyPackage, UserEvent};
use crate::command::{Head, decode};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::settings::Settings;
use crate::{keys, read};

/// What is stored of a user, apart from KeyPackages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// Known, deleted, or never heard of.
    pub(crate) standing: Standing,
    /// The user's clients.
    pub(crate) clients: BTreeSet<ClientUri>,
    /// Who may fetch KeyPackages; at most one rule for a pair of requester and room.
    pub(crate) consent: Vec<ConsentRule>,
    /// The rooms in the user's event stream.
    pub(crate) rooms: BTreeSet<RoomUri>,
    /// What concerns other people; a record of its own.
    #[serde(skip)]
    pub(crate) contacts: Contacts,
}

/// What a user and others have sent each other, and what it can be found by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contacts {
    /// Consent requests of others that wait for an answer, the oldest first.
    pub(crate) asked: Vec<Asked>,
    /// The user's own consent requests, the oldest first.
    pub(crate) sent: Vec<Sent>,
    /// What others have told of their consent, the oldest first.
    pub(crate) told: Vec<Told>,
    /// What the user can be found by.
    pub(crate) entries: Vec<Entry>,
}

/// What a provider says of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    #[default]
    Unknown,
    Known,
    Deleted,
}

impl Profile {
    /// Advances the profile by an event.
    pub(crate) fn apply(&mut self, event: &UserEvent) {
        match event {
            UserEvent::Created => self.standing = Standing::Known,
            UserEvent::Deleted { .. } => {
                *self = Profile {
                    standing: Standing::Deleted,
                    ..Profile::default()
                }
            }
            UserEvent::ClientAdded(client) => {
                self.clients.insert(client.clone());
            }
            UserEvent::ClientRemoved { client, .. } => {
                self.clients.remove(client);
            }
            UserEvent::ConsentSet(rule) => {
                self.set_rule(rule);
            }
            UserEvent::ConsentSent(sent) => self.note_sent(sent),
            UserEvent::ConsentAsked(asked) => self.note_asked(asked),
            UserEvent::ConsentWithdrawn { requester, room } => self.forget_asked(requester, room.as_ref()),
            UserEvent::ConsentTold(told) => self.note_told(told),
            UserEvent::ConsentUndeliverable { target, room } => self.note_undeliverable(target, room.as_ref()),
            UserEvent::ProfileSet(entries) => self.contacts.entries.clone_from(entries),
            UserEvent::RoomJoined(room) => {
                self.rooms.insert(room.clone());
            }
            UserEvent::RoomForgotten(room) => {
                self.rooms.remove(room);
            }
            UserEvent::KeyPackagesStored { .. } | UserEvent::KeyPackagesClaimed(_) => {}
        }
    }

    /// The most specific rule for the request: `Some(allowed)`, or none.
    pub(crate) fn consents(&self, requester: &UserUri, room: &RoomUri) -> Option<bool> {
        let rank = |rule: &ConsentRule| {
            let requester_matches = rule.requester.as_ref().is_none_or(|wanted| wanted == requester);
            let room_matches = rule.room.as_ref().is_none_or(|wanted| wanted == room);
            (requester_matches && room_matches).then_some((rule.requester.is_some(), rule.room.is_some()))
        };
        self.consent
            .iter()
            .filter_map(|rule| rank(rule).map(|rank| (rank, rule.allow)))
            .max()
            .map(|(_, allow)| allow)
    }

    /// Has the user allowed this requester some other room than this one?
    pub(crate) fn consents_to_another_room(&self, requester: &UserUri, room: Option<&RoomUri>) -> bool {
        self.consent.iter().any(|rule| {
            rule.allow
                && rule.room.as_ref().is_some_and(|other| Some(other) != room)
                && rule.requester.as_ref().is_none_or(|wanted| wanted == requester)
        })
    }

    /// Does the rule take the place of one for the same requester and room?
    pub(crate) fn replaces(&self, rule: &ConsentRule) -> bool {
        let same = |known: &ConsentRule| (&known.requester, &known.room) == (&rule.requester, &rule.room);
        self.consent.iter().any(same)
    }
}

/// A user as its actor holds it.
pub(crate) struct UserState {
    pub(crate) settings: Arc<Settings>,
    pub(crate) user: UserUri,
    pub(crate) profile: Profile,
    /// KeyPackages in store, by KeyPackageRef.
    pub(crate) key_packages: BTreeMap<Vec<u8>, StoredKeyPackage>,
    /// Given out, and not yet dropped as expired: KeyPackageRef to the end of the lifetime.
    pub(crate) given: BTreeMap<Vec<u8>, u64>,
    /// Expired KeyPackages that the next event is to drop: a deleted user publishes no more.
    pub(crate) to_drop: Vec<ByteBuf>,
}

impl UserState {
    pub(crate) fn load(
        settings: &Arc<Settings>,
        reader: &ShardReader,
        id: &EntityId,
        _: &Head,
    ) -> Result<Self, NodeError> {
        let EntityId::User(user) = id else {
            return Err(NodeError::WrongEntity(id.to_string()));
        };
        let mut profile: Profile = match reader.get(&keys::checkpoint(id))? {
            Some(bytes) => decode(&bytes)?,
            None => Profile::default(),
        };
        if let Some(bytes) = reader.get(&keys::contacts(id))? {
            profile.contacts = decode(&bytes)?;
        }
        let mut key_packages = BTreeMap::new();
        for (_, value) in read::prefix(reader, &keys::key_packages(id))? {
            let stored: StoredKeyPackage = decode(&value)?;
            key_packages.insert(stored.reference.to_vec(), stored);
        }
        let prefix = keys::given_key_packages(id);
        let mut given = BTreeMap::new();
        for (key, value) in read::prefix(reader, &prefix)? {
            given.insert(key[prefix.len()..].to_vec(), decode(&value)?);
        }
        Ok(UserState {
            settings: Arc::clone(settings),
            user: user.clone(),
            profile,
            key_packages,
            given,
            to_drop: Vec::new(),
        })
    }

    /// Advances the state in memory; what [`crate::state_machine`] does to the stored one.
    pub(crate) fn apply(&mut self, event: &UserEvent) {
        self.profile.apply(event);
        match event {
            UserEvent::KeyPackagesStored { packages, expired } => {
                for reference in expired {
                    self.key_packages.remove(reference.as_slice());
                    self.given.remove(reference.as_slice());
                }
                for package in packages {
                    self.key_packages.insert(package.reference.to_vec(), package.clone());
                }
            }
            UserEvent::KeyPackagesClaimed(_) | UserEvent::ConsentSent(_) => {
                for package in event.given() {
                    self.key_packages.remove(package.reference.as_slice());
                    self.given.insert(package.reference.to_vec(), package.not_after_s);
                }
            }
            UserEvent::Deleted { dropped } | UserEvent::ClientRemoved { dropped, .. } => {
                let dropped: HashSet<_> = dropped.iter().map(|reference| reference.as_slice()).collect();
                self.key_packages
                    .retain(|reference, _| !dropped.contains(reference.as_slice()));
            }
            _ => {}
        }
    }

    pub(crate) fn stored_of<'a>(&'a self, client: &'a ClientUri) -> impl Iterator<Item = &'a StoredKeyPackage> {
        self.key_packages
            .values()
            .filter(move |package| package.client == *client)
    }
}
