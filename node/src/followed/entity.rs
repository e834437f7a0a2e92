//! A followed room in its actor.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use mimi_hub_cluster::ShardReader;
use mimi_hub_proto::uri::{ClientUri, UserUri};
use mimi_hub_proto::{FanoutEvent, FanoutMessage, tls};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use super::event::FollowedEvent;
use crate::actor::{Decision, Entity};
use crate::command::{Event, Head, decode};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::settings::Settings;
use crate::{keys, read};

/// What can be asked of a followed room.
#[derive(Serialize, Deserialize)]
pub(crate) enum FollowedRequest {
    /// KeyPackages of a local user were given out for this room.
    Expect {
        user: UserUri,
        packages: Vec<(ByteBuf, ClientUri)>,
    },
    /// Is a Welcome still awaited for all these KeyPackages, by KeyPackageRef?
    AwaitsWelcome(Vec<ByteBuf>),
    /// The hub sends events.
    Notify(Vec<Notified>),
    /// A local user is about to join by itself.
    Join(UserUri),
    /// A local user has left.
    Leave(UserUri),
}

/// One FanoutMessage of the hub.
pub(crate) struct Notified {
    message: FanoutMessage,
    octets: ByteBuf,
    hash: [u8; 32],
    /// Is it in the store already?
    known: bool,
}

impl Notified {
    pub(crate) fn new(message: FanoutMessage) -> Self {
        let octets = ByteBuf::from(tls::encode(&message));
        let hash = Sha256::digest(&octets).into();
        Notified {
            message,
            octets,
            hash,
            known: false,
        }
    }
}

impl Serialize for Notified {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.octets.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Notified {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::octets::deserialize(deserializer).map(Notified::new)
    }
}

/// What a followed room answers when nothing is accepted.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FollowedAnswer {
    /// It is so already, or was.
    Unchanged,
    /// To [`FollowedRequest::AwaitsWelcome`].
    AwaitsWelcome(bool),
    /// No user of this provider has ever had to do with this room.
    NoParticipants,
}

/// A followed room.
pub(crate) struct FollowedRoom {
    /// Has anything ever happened?
    known: bool,
    /// KeyPackages given out for this room, by KeyPackageRef.
    expected: BTreeMap<Vec<u8>, (UserUri, ClientUri)>,
    readers: BTreeSet<UserUri>,
    /// Hashes of what was accepted since the state was loaded: it may not be in the store yet.
    accepted: HashSet<[u8; 32]>,
}

impl Entity for FollowedRoom {
    type Request = FollowedRequest;
    type Answer = FollowedAnswer;

    fn load(_: &Arc<Settings>, reader: &ShardReader, id: &EntityId, head: &Head) -> Result<Self, NodeError> {
        let prefix = keys::key_package(id, &[]);
        let mut expected = BTreeMap::new();
        for (key, value) in read::prefix(reader, &prefix)? {
            expected.insert(key[prefix.len()..].to_vec(), decode(&value)?);
        }
        let prefix = keys::readers(id);
        let mut readers = BTreeSet::new();
        for (key, value) in read::prefix(reader, &prefix)? {
            let ranges: crate::command::ReadableRanges = decode(&value)?;
            if ranges.is_open() {
                readers.insert(UserUri::from_octets(&key[prefix.len()..])?);
            }
        }
        Ok(FollowedRoom {
            known: head.last_seq > 0,
            expected,
            readers,
            accepted: HashSet::new(),
        })
    }

    fn prepare(reader: &ShardReader, id: &EntityId, request: &mut FollowedRequest) -> Result<(), NodeError> {
        if let FollowedRequest::Notify(messages) = request {
            for message in messages {
                message.known = reader.get(&keys::request(id, &message.hash))?.is_some();
            }
        }
        Ok(())
    }

    fn decide(&mut self, _: u64, _: u64, request: FollowedRequest) -> Result<Decision<FollowedAnswer>, NodeError> {
        let event = match request {
            FollowedRequest::Expect { user, packages } => {
                for (reference, client) in &packages {
                    self.expected.insert(reference.to_vec(), (user.clone(), client.clone()));
                }
                FollowedEvent::Expected { user, packages }
            }
            FollowedRequest::AwaitsWelcome(references) => {
                let all = references.iter().all(|r| self.expected.contains_key(r.as_slice()));
                return Ok(Decision::Answer(FollowedAnswer::AwaitsWelcome(all)));
            }
            FollowedRequest::Notify(_) if !self.known => return Ok(Decision::Answer(FollowedAnswer::NoParticipants)),
            FollowedRequest::Notify(messages) => match self.notified(messages) {
                Some(event) => event,
                None => return Ok(Decision::Answer(FollowedAnswer::Unchanged)),
            },
            FollowedRequest::Join(user) if !self.readers.insert(user.clone()) => {
                return Ok(Decision::Answer(FollowedAnswer::Unchanged));
            }
            FollowedRequest::Join(user) => FollowedEvent::Joined { user },
            FollowedRequest::Leave(user) if !self.readers.remove(&user) => {
                return Ok(Decision::Answer(FollowedAnswer::Unchanged));
            }
            FollowedRequest::Leave(user) => FollowedEvent::Left { user },
        };
        self.known = true;
        Ok(Decision::Accept {
            event: Event::Followed(event),
            reply: Vec::new(),
        })
    }

    fn events_max(settings: &Settings) -> u64 {
        settings.config.retention.events_max_per_room
    }
}

impl FollowedRoom {
    /// What is new among the messages.
    fn notified(&mut self, messages: Vec<Notified>) -> Option<FollowedEvent> {
        let mut fresh = Vec::new();
        let mut welcomed = Vec::new();
        let mut joined = BTreeSet::new();
        for message in messages {
            if message.known || !self.accepted.insert(message.hash) {
                continue;
            }
            if let FanoutEvent::Welcome { welcome, .. } = &message.message.event {
                for reference in welcome.new_members() {
                    if let Some((user, _)) = self.expected.remove(reference) {
                        welcomed.push(ByteBuf::from(reference));
                        joined.insert(user);
                    }
                }
            }
            fresh.push((message.hash, message.octets));
        }
        joined.retain(|user| self.readers.insert(user.clone()));
        if fresh.is_empty() {
            return None;
        }
        Some(FollowedEvent::Notified {
            messages: fresh,
            welcomed,
            joined: joined.into_iter().collect(),
        })
    }
}
