//! A followed room in its actor.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use mimi_hub_cluster::ShardReader;
use mimi_hub_proto::uri::{ClientUri, UserUri};
use mimi_hub_proto::{FanoutEvent, FanoutMessage, tls};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};

use super::event::{AwaitedKeyPackage, FollowedEvent};
use crate::actor::{Decision, Entity};
use crate::command::{Event, Head, decode};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::settings::Settings;
use crate::{keys, read};

/// For how long after the end of a KeyPackage's lifetime a Welcome to it still finds its user: 30 days.
pub(crate) const KEPT_EXPIRED_MS: u64 = 30 * 24 * 3_600 * 1_000;

/// How many expired KeyPackages one event drops, so that an apply never takes long.
pub(crate) const DROPPED_PER_EVENT_MAX: usize = 256;

/// What can be asked of a followed room.
#[derive(Serialize, Deserialize)]
pub(crate) enum FollowedRequest {
    /// The same as [`Await`](Self::Await), while there are nodes in the cluster that do not know that one.
    Expect {
        user: UserUri,
        packages: Vec<(ByteBuf, ClientUri)>,
    },
    /// Is a Welcome still awaited for all these KeyPackages, by KeyPackageRef, and has none of them expired?
    AwaitsWelcome(Vec<ByteBuf>),
    /// The hub sends events.
    Notify(Vec<Notified>),
    /// A local user is about to join by itself.
    Join(UserUri),
    /// A local user has left.
    Leave(UserUri),
    /// KeyPackages of a local user were given out for this room.
    Await {
        user: UserUri,
        packages: Vec<AwaitedKeyPackage>,
    },
}

/// The format of the cluster that brings [`FollowedRequest::Await`] and [`FollowedEvent::Awaited`].
const AWAIT_FORMAT: u16 = 3;

impl FollowedRequest {
    /// KeyPackages were given out, said as every node understands it: in the format of the cluster, if there is one.
    pub(crate) fn awaiting(format: Option<u16>, user: UserUri, packages: Vec<AwaitedKeyPackage>) -> Self {
        if format.is_none_or(|format| format >= AWAIT_FORMAT) {
            return FollowedRequest::Await { user, packages };
        }
        let packages = packages.into_iter().map(|package| (package.reference, package.client));
        FollowedRequest::Expect {
            user,
            packages: packages.collect(),
        }
    }
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
    expected: Expectations,
    readers: BTreeSet<UserUri>,
    /// Hashes of what was accepted since the state was loaded: it may not be in the store yet.
    accepted: HashSet<[u8; 32]>,
}

impl Entity for FollowedRoom {
    type Request = FollowedRequest;
    type Answer = FollowedAnswer;

    fn load(_: &Arc<Settings>, reader: &ShardReader, id: &EntityId, head: &Head) -> Result<Self, NodeError> {
        let prefix = keys::given_key_packages(id);
        let mut ends: HashMap<Vec<u8>, u64> = HashMap::new();
        for (key, value) in read::prefix(reader, &prefix)? {
            ends.insert(key[prefix.len()..].to_vec(), decode(&value)?);
        }
        let prefix = keys::key_packages(id);
        let mut expected = Expectations::default();
        for (key, value) in read::prefix(reader, &prefix)? {
            let reference = &key[prefix.len()..];
            let (user, _): (UserUri, ClientUri) = decode(&value)?;
            expected.insert(reference, user, ends.get(reference).copied());
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

    fn decide(&mut self, _: u64, at_ms: u64, request: FollowedRequest) -> Result<Decision<FollowedAnswer>, NodeError> {
        let event = match request {
            FollowedRequest::Expect { user, packages } => {
                for (reference, _) in &packages {
                    self.expected.insert(reference, user.clone(), None);
                }
                FollowedEvent::Expected { user, packages }
            }
            FollowedRequest::Await { user, packages } => {
                let expired = self.expected.drop_expired(at_ms);
                for package in &packages {
                    let end = Some(package.not_after_s);
                    self.expected.insert(&package.reference, user.clone(), end);
                }
                FollowedEvent::Awaited {
                    user,
                    packages,
                    expired,
                }
            }
            FollowedRequest::AwaitsWelcome(references) => {
                let all = references.iter().all(|r| self.expected.is_usable(r, at_ms));
                return Ok(Decision::Answer(FollowedAnswer::AwaitsWelcome(all)));
            }
            FollowedRequest::Notify(_) if !self.known => return Ok(Decision::Answer(FollowedAnswer::NoParticipants)),
            FollowedRequest::Notify(messages) => match self.notified(at_ms, messages) {
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
    fn notified(&mut self, at_ms: u64, messages: Vec<Notified>) -> Option<FollowedEvent> {
        let mut fresh = Vec::new();
        let mut welcomed = Vec::new();
        let mut joined = BTreeSet::new();
        for message in messages {
            if message.known || !self.accepted.insert(message.hash) {
                continue;
            }
            if let FanoutEvent::Welcome { welcome, .. } = &message.message.event {
                for reference in welcome.new_members() {
                    if let Some(user) = self.expected.remove(reference) {
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
        // After the Welcomes: one of them may be late.
        welcomed.extend(self.expected.drop_expired(at_ms));
        Some(FollowedEvent::Notified {
            messages: fresh,
            welcomed,
            joined: joined.into_iter().collect(),
        })
    }
}

/// KeyPackages given out for a room, which a Welcome is awaited for.
#[derive(Default)]
struct Expectations {
    /// By KeyPackageRef: whose they are, and the ends of their lifetimes. Those of which an older release has written have
    /// none here.
    packages: BTreeMap<Vec<u8>, (UserUri, Option<u64>)>,
    /// The ends of their lifetimes, the first one first.
    ends: BTreeSet<(u64, Vec<u8>)>,
}

impl Expectations {
    fn insert(&mut self, reference: &[u8], user: UserUri, not_after_s: Option<u64>) {
        self.remove(reference);
        if let Some(end) = not_after_s {
            self.ends.insert((end, reference.to_vec()));
        }
        self.packages.insert(reference.to_vec(), (user, not_after_s));
    }

    fn remove(&mut self, reference: &[u8]) -> Option<UserUri> {
        let (user, not_after_s) = self.packages.remove(reference)?;
        if let Some(end) = not_after_s {
            self.ends.remove(&(end, reference.to_vec()));
        }
        Some(user)
    }

    /// Is a Welcome awaited, and the lifetime not over? That of a KeyPackage without an end here is looked at elsewhere.
    fn is_usable(&self, reference: &[u8], at_ms: u64) -> bool {
        let Some((_, not_after_s)) = self.packages.get(reference) else {
            return false;
        };
        not_after_s.is_none_or(|end| end.saturating_mul(1_000) > at_ms)
    }

    /// Takes out those whose lifetimes are long over, or the first of them.
    fn drop_expired(&mut self, at_ms: u64) -> Vec<ByteBuf> {
        let mut dropped = Vec::new();
        while dropped.len() < DROPPED_PER_EVENT_MAX
            && let Some((end, _)) = self.ends.first()
            && end.saturating_mul(1_000).saturating_add(KEPT_EXPIRED_MS) <= at_ms
            && let Some((_, reference)) = self.ends.pop_first()
        {
            self.packages.remove(&reference);
            dropped.push(ByteBuf::from(reference));
        }
        dropped
    }
}
