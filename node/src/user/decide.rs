//! The requests that a user's actor takes, and what it decides.

use std::borrow::Cow;
use std::sync::Arc;

use mimi_hub_cluster::ShardReader;
use mimi_hub_proto::mls::KeyPackage;
use mimi_hub_proto::uri::{ClientUri, RoomUri, UserUri};
use mimi_hub_proto::{ClientIdentity, ConsentEntry, KeyMaterialRequest, KeyMaterialResponse, tls};
use openmls::key_packages::KeyPackageIn;
use openmls::prelude::ProtocolVersion;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use tls_codec::DeserializeBytes;

use super::claim::{self, Claim, ClaimPolicy};
use super::consent::{self, ConsentView};
use super::discovery::{self, Entry};
use super::event::{ConsentRule, StoredKeyPackage, UserEvent};
use super::state::{Standing, UserState};
use crate::actor::{Decision, Entity};
use crate::command::{Event, Head};
use crate::config::ConsentDefault;
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::mls::crypto;
use crate::settings::Settings;

/// How many KeyPackages a client may have in store.
pub(crate) const KEY_PACKAGES_PER_CLIENT_MAX: usize = 500;

/// How many clients a user may have.
pub(crate) const CLIENTS_PER_USER_MAX: usize = 100;

/// How many consent rules a user may set.
const CONSENT_RULES_MAX: usize = 10_000;

/// How many of a user's events are kept: as long as requests may be retried.
const EVENTS_MAX: u64 = 1_000;

/// How many expired KeyPackages one event drops, so that an apply never takes long.
pub(crate) const DROPPED_PER_EVENT_MAX: usize = 1_000;

/// What can be asked of a user.
#[derive(Serialize, Deserialize)]
pub(crate) enum UserRequest {
    Create,
    Delete,
    AddClient(ClientUri),
    RemoveClient(ClientUri),
    StoreKeyPackages {
        client: ClientUri,
        #[serde(with = "crate::octets")]
        key_packages: Vec<KeyPackage>,
    },
    Claim {
        #[serde(with = "crate::octets")]
        request: KeyMaterialRequest,
        /// Are requester and target in a room together, as far as this provider can see?
        shares_room: bool,
    },
    SetConsent(ConsentRule),
    JoinRoom(RoomUri),
    ForgetRoom(RoomUri),
    /// The rooms in the user's event stream.
    Rooms,
    /// Nothing but the reply that the same request had, if it was accepted before.
    Answered,
    /// Ask another user for consent, or do no more.
    RequestConsent {
        target: UserUri,
        room: Option<RoomUri>,
        withdraws: bool,
    },
    /// Set a consent rule and have the requester told.
    AnswerConsent {
        requester: UserUri,
        room: Option<RoomUri>,
        allow: bool,
        with_key_packages: bool,
    },
    /// Another user's consent operation, about this one.
    ConsentReceived(#[serde(with = "crate::octets")] ConsentEntry),
    /// The user's request cannot be delivered.
    ConsentUndeliverable {
        target: UserUri,
        room: Option<RoomUri>,
    },
    /// All there is about consent.
    Consent,
    SetProfile(Vec<Entry>),
    Profile,
}

/// What a user answers when nothing is accepted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum UserAnswer {
    /// It is so already.
    Unchanged,
    /// No such user, or deleted.
    Unknown,
    /// No such client.
    UnknownClient,
    /// A limit is reached.
    TooMany(Cow<'static, str>),
    /// What is wrong with a KeyPackage.
    BadKeyPackage(String),
    /// The claim gives out nothing.
    KeyMaterial(#[serde(with = "crate::octets")] KeyMaterialResponse),
    Rooms(Vec<RoomUri>),
    NoSuchRequest,
    Consent(ConsentView),
    BadProfile(String),
    Profile(Vec<Entry>),
}

impl Entity for UserState {
    type Request = UserRequest;
    type Answer = UserAnswer;

    fn load(settings: &Arc<Settings>, reader: &ShardReader, id: &EntityId, head: &Head) -> Result<Self, NodeError> {
        UserState::load(settings, reader, id, head)
    }

    fn decide(&mut self, _: u64, at_ms: u64, request: UserRequest) -> Result<Decision<UserAnswer>, NodeError> {
        let decision = self.decide_request(at_ms, request)?;
        if let Decision::Accept {
            event: Event::User(event),
            ..
        } = &decision
        {
            self.apply(event);
        }
        if self.profile.standing == Standing::Deleted {
            self.to_drop = self.expired(at_ms);
        }
        Ok(decision)
    }

    fn follow_up(&mut self) -> Option<Event> {
        let expired = std::mem::take(&mut self.to_drop);
        if expired.is_empty() {
            return None;
        }
        let event = UserEvent::KeyPackagesStored {
            packages: Vec::new(),
            expired,
        };
        self.apply(&event);
        Some(Event::User(event))
    }

    fn events_max(_: &Settings) -> u64 {
        EVENTS_MAX
    }
}

impl UserState {
    fn decide_request(&self, at_ms: u64, request: UserRequest) -> Result<Decision<UserAnswer>, NodeError> {
        let profile = &self.profile;
        match (&request, profile.standing) {
            (UserRequest::Create, Standing::Known) => return Ok(Decision::Answer(UserAnswer::Unchanged)),
            (UserRequest::Create | UserRequest::Claim { .. }, _) | (_, Standing::Known) => {}
            // Room lists are kept for users that the provider has not announced, too: a Welcome may come first.
            (UserRequest::JoinRoom(_) | UserRequest::ForgetRoom(_) | UserRequest::Rooms, Standing::Unknown) => {}
            _ => return Ok(Decision::Answer(UserAnswer::Unknown)),
        }
        Ok(match request {
            UserRequest::Create => accept(UserEvent::Created),
            UserRequest::Delete => accept(UserEvent::Deleted {
                dropped: references(self.key_packages.values()),
            }),
            UserRequest::AddClient(client) if profile.clients.contains(&client) => {
                Decision::Answer(UserAnswer::Unchanged)
            }
            UserRequest::AddClient(_) if profile.clients.len() >= CLIENTS_PER_USER_MAX => {
                Decision::Answer(UserAnswer::TooMany("clients".into()))
            }
            UserRequest::AddClient(client) => accept(UserEvent::ClientAdded(client)),
            UserRequest::RemoveClient(client) | UserRequest::StoreKeyPackages { client, .. }
                if !profile.clients.contains(&client) =>
            {
                Decision::Answer(UserAnswer::UnknownClient)
            }
            UserRequest::RemoveClient(client) => {
                let dropped = references(self.stored_of(&client));
                accept(UserEvent::ClientRemoved { client, dropped })
            }
            UserRequest::StoreKeyPackages { client, key_packages } => self.store(at_ms, &client, &key_packages),
            UserRequest::Claim { request, shares_room } => {
                let policy = self.claim_policy(&request, shares_room);
                let Claim { response, given } = claim::decide_claim(self, at_ms, policy, &request)?;
                if given.is_empty() {
                    Decision::Answer(UserAnswer::KeyMaterial(response))
                } else {
                    let event = Event::User(UserEvent::KeyPackagesClaimed(given));
                    Decision::Accept {
                        event,
                        reply: tls::encode(&response),
                    }
                }
            }
            UserRequest::SetConsent(rule) if profile.consent.len() >= CONSENT_RULES_MAX && !profile.replaces(&rule) => {
                Decision::Answer(UserAnswer::TooMany("consent rules".into()))
            }
            UserRequest::SetConsent(rule) => accept(UserEvent::ConsentSet(rule)),
            UserRequest::JoinRoom(room) if profile.rooms.contains(&room) => Decision::Answer(UserAnswer::Unchanged),
            UserRequest::JoinRoom(room) => accept(UserEvent::RoomJoined(room)),
            UserRequest::ForgetRoom(room) if !profile.rooms.contains(&room) => Decision::Answer(UserAnswer::Unchanged),
            UserRequest::ForgetRoom(room) => accept(UserEvent::RoomForgotten(room)),
            UserRequest::Rooms if profile.standing == Standing::Unknown && profile.rooms.is_empty() => {
                Decision::Answer(UserAnswer::Unknown)
            }
            UserRequest::RequestConsent {
                target,
                room,
                withdraws,
            } => outcome(consent::decide_request(self, at_ms, target, room, withdraws)),
            UserRequest::AnswerConsent {
                requester, room, allow, ..
            } if self.has_rules_enough(&requester, room.as_ref(), allow) => {
                Decision::Answer(UserAnswer::TooMany("consent rules".into()))
            }
            UserRequest::AnswerConsent {
                requester,
                room,
                allow,
                with_key_packages,
            } => accept(consent::decide_answer(
                self,
                at_ms,
                requester,
                room,
                allow,
                with_key_packages,
            )?),
            UserRequest::ConsentReceived(entry) => outcome(consent::decide_received(self, at_ms, &entry)),
            UserRequest::ConsentUndeliverable { target, room } => {
                accept(UserEvent::ConsentUndeliverable { target, room })
            }
            UserRequest::Consent => Decision::Answer(UserAnswer::Consent(ConsentView {
                rules: profile.consent.clone(),
                requests: profile.contacts.asked.clone(),
                sent: profile.contacts.sent.clone(),
                updates: profile.contacts.told.clone(),
            })),
            UserRequest::SetProfile(entries) => match discovery::check(&entries) {
                Ok(()) if entries == profile.contacts.entries => Decision::Answer(UserAnswer::Unchanged),
                Ok(()) => accept(UserEvent::ProfileSet(entries)),
                Err(bad) => Decision::Answer(UserAnswer::BadProfile(bad.to_string())),
            },
            UserRequest::Profile => Decision::Answer(UserAnswer::Profile(profile.contacts.entries.clone())),
            UserRequest::Answered => Decision::Answer(UserAnswer::Unchanged),
            UserRequest::Rooms => Decision::Answer(UserAnswer::Rooms(profile.rooms.iter().cloned().collect())),
        })
    }

    fn claim_policy(&self, request: &KeyMaterialRequest, shares_room: bool) -> ClaimPolicy {
        let consent = &self.settings.config.consent;
        let is_ours = self.settings.is_local(&request.tbs.requesting_user.provider());
        ClaimPolicy {
            implied: consent.default == ConsentDefault::Allow
                || consent.same_provider && is_ours
                || consent.shared_room && shares_room,
            tells_unknown: consent.tell_unknown,
        }
    }

    fn has_rules_enough(&self, requester: &UserUri, room: Option<&RoomUri>, allow: bool) -> bool {
        let rule = ConsentRule {
            requester: Some(requester.clone()),
            room: room.cloned(),
            allow,
        };
        self.profile.consent.len() >= CONSENT_RULES_MAX && !self.profile.replaces(&rule)
    }

    /// All KeyPackages of a request are stored, or none.
    fn store(&self, at_ms: u64, client: &ClientUri, key_packages: &[KeyPackage]) -> Decision<UserAnswer> {
        let available = self.stored_of(client).count();
        if available + key_packages.len() > KEY_PACKAGES_PER_CLIENT_MAX {
            return Decision::Answer(UserAnswer::TooMany("KeyPackages".into()));
        }
        let mut packages: Vec<StoredKeyPackage> = Vec::new();
        for key_package in key_packages {
            match self.check(at_ms, client, key_package) {
                Ok(stored) if packages.iter().any(|known| known.reference == stored.reference) => {
                    return Decision::Answer(UserAnswer::BadKeyPackage("it is in the list twice".to_owned()));
                }
                Ok(stored) => packages.push(stored),
                Err(reason) => return Decision::Answer(UserAnswer::BadKeyPackage(reason)),
            }
        }
        let expired = self.expired(at_ms);
        let reply = format!(
            "{{\"stored\":{},\"available\":{}}}",
            packages.len(),
            available + packages.len()
        );
        let event = Event::User(UserEvent::KeyPackagesStored { packages, expired });
        Decision::Accept {
            event,
            reply: reply.into_bytes(),
        }
    }

    /// KeyPackages whose lifetime is over, in store or given out, as many as one event may drop.
    fn expired(&self, at_ms: u64) -> Vec<ByteBuf> {
        let expired = |not_after_s: u64| not_after_s.saturating_mul(1_000) <= at_ms;
        self.key_packages
            .values()
            .filter(|stored| expired(stored.not_after_s))
            .map(|stored| stored.reference.clone())
            .chain(
                self.given
                    .iter()
                    .filter(|(_, not_after_s)| expired(**not_after_s))
                    .map(|(reference, _)| ByteBuf::from(reference.clone())),
            )
            .take(DROPPED_PER_EVENT_MAX)
            .collect()
    }

    fn check(&self, at_ms: u64, client: &ClientUri, key_package: &KeyPackage) -> Result<StoredKeyPackage, String> {
        let leaf = key_package.leaf_node();
        let identity = ClientIdentity::of_leaf(leaf.credential(), leaf.signature_key()).map_err(|e| e.to_string())?;
        if identity.client() != client || identity.user() != &self.user {
            return Err(format!("it is for {} of {}", identity.client(), identity.user()));
        }
        let lifetime = key_package.lifetime();
        if lifetime.not_after.saturating_mul(1_000) <= at_ms {
            return Err("it has expired".to_owned());
        }
        let suite = crypto::supported(key_package.cipher_suite()).ok_or("its cipher suite is not supported")?;
        // Checks the signatures, the keys and the lifetime (RFC 9420, 10.1).
        KeyPackageIn::tls_deserialize_exact_bytes(key_package.as_bytes())
            .map_err(|error| error.to_string())?
            .validate(crypto::provider(), ProtocolVersion::Mls10)
            .map_err(|error| error.to_string())?;
        let reference = crypto::key_package_ref(suite, key_package).map_err(|error| format!("{error:?}"))?;
        if self.key_packages.contains_key(&reference) || self.given.contains_key(&reference) {
            return Err("it was published before: a KeyPackage is used once".to_owned());
        }
        Ok(StoredKeyPackage {
            reference: ByteBuf::from(reference),
            client: client.clone(),
            key_package: ByteBuf::from(key_package.as_bytes()),
            not_after_s: lifetime.not_after,
        })
    }
}

fn accept(event: UserEvent) -> Decision<UserAnswer> {
    Decision::Accept {
        event: Event::User(event),
        reply: Vec::new(),
    }
}

fn outcome(outcome: consent::Outcome) -> Decision<UserAnswer> {
    match outcome {
        consent::Outcome::Event(event) => accept(event),
        consent::Outcome::Unchanged => Decision::Answer(UserAnswer::Unchanged),
        consent::Outcome::NoSuchRequest => Decision::Answer(UserAnswer::NoSuchRequest),
        consent::Outcome::TooMany => Decision::Answer(UserAnswer::TooMany("consent requests".into())),
    }
}

fn references<'a>(packages: impl Iterator<Item = &'a StoredKeyPackage>) -> Vec<ByteBuf> {
    packages.map(|package| package.reference.clone()).collect()
}
