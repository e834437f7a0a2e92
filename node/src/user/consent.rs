//! Consent requests and updates (draft-ietf-mimi-protocol, 5.7 and 8): what a user sends, what it is sent, and what is kept
//! of both. Whether somebody may fetch KeyPackages is decided by the user's rules alone; requests and updates are what
//! users tell each other about them.

use mimi_hub_proto::components::AppDataDictionary;
use mimi_hub_proto::mls::KeyPackage;
use mimi_hub_proto::uri::{ProviderDomain, RoomUri, UserUri};
use mimi_hub_proto::{ConsentChange, ConsentEntry, ConsentScope, tls};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::event::{ConsentRule, GivenKeyPackage, UserEvent};
use super::state::{Profile, UserState};
use crate::error::NodeError;

/// How many requests of others a user's list holds, and how many of them of one provider. The oldest give way.
const ASKED_MAX: usize = 1_000;
const ASKED_PER_PROVIDER_MAX: usize = 100;

/// The same for what others have told of their consent.
const TOLD_MAX: usize = 2_000;
const TOLD_PER_PROVIDER_MAX: usize = 500;

/// How many of a user's own requests may be open.
const SENT_MAX: usize = 1_000;

/// A request of another user that waits for this one's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub(crate) requester: UserUri,
    /// Absent: for any room.
    pub(crate) room: Option<RoomUri>,
    /// When it came, in milliseconds since the UNIX epoch.
    pub(crate) at_ms: u64,
}

/// A request of this user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) target: UserUri,
    pub(crate) room: Option<RoomUri>,
    pub(crate) at_ms: u64,
    /// The target's provider does not know the target, or takes no requests.
    pub(crate) undeliverable: bool,
}

/// What another user has told this one of its consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Who consents, or does not.
    pub(crate) target: UserUri,
    pub(crate) room: Option<RoomUri>,
    pub(crate) granted: bool,
    /// KeyPackages that came with it, each the struct's octets.
    pub(crate) key_packages: Vec<ByteBuf>,
    pub(crate) at_ms: u64,
}

/// A consent operation of this user on its way to the other user's provider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsentSent {
    /// The ConsentEntry.
    pub(crate) entry: ByteBuf,
    /// The other user's provider.
    pub(crate) to: ProviderDomain,
    /// The other user.
    pub(crate) other: UserUri,
    /// Absent: any room.
    pub(crate) room: Option<RoomUri>,
    /// What it does here.
    pub(crate) effect: SentEffect,
    pub(crate) at_ms: u64,
}

/// What sending a consent operation changes for the sender.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum SentEffect {
    /// It has asked.
    Asks,
    /// It asks no more.
    Withdraws,
    /// It has set a rule, and given out KeyPackages.
    Answers {
        rule: ConsentRule,
        given: Vec<GivenKeyPackage>,
    },
}

/// All that a user is shown of consent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConsentView {
    pub(crate) rules: Vec<ConsentRule>,
    pub(crate) requests: Vec<Asked>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) updates: Vec<Told>,
}

impl ConsentRule {
    /// Does the rule answer a request of this scope?
    fn covers(&self, requester: &UserUri, room: Option<&RoomUri>) -> bool {
        self.requester.as_ref().is_none_or(|named| named == requester)
            && self.room.as_ref().is_none_or(|named| Some(named) == room)
    }
}

impl Profile {
    /// Sets a rule, in place of one for the same requester and room. Requests that it answers are off the list.
    pub(super) fn set_rule(&mut self, rule: &ConsentRule) {
        self.consent
            .retain(|known| (&known.requester, &known.room) != (&rule.requester, &rule.room));
        self.consent.push(rule.clone());
        self.contacts
            .asked
            .retain(|asked| !rule.covers(&asked.requester, asked.room.as_ref()));
    }

    pub(super) fn note_sent(&mut self, sent: &ConsentSent) {
        match &sent.effect {
            SentEffect::Asks => {
                self.forget_sent(&sent.other, sent.room.as_ref());
                self.contacts.sent.push(Sent {
                    target: sent.other.clone(),
                    room: sent.room.clone(),
                    at_ms: sent.at_ms,
                    undeliverable: false,
                });
            }
            SentEffect::Withdraws => self.forget_sent(&sent.other, sent.room.as_ref()),
            SentEffect::Answers { rule, .. } => self.set_rule(rule),
        }
    }

    fn forget_sent(&mut self, target: &UserUri, room: Option<&RoomUri>) {
        self.contacts
            .sent
            .retain(|known| (&known.target, known.room.as_ref()) != (target, room));
    }

    pub(super) fn note_undeliverable(&mut self, target: &UserUri, room: Option<&RoomUri>) {
        for sent in &mut self.contacts.sent {
            sent.undeliverable |= (&sent.target, sent.room.as_ref()) == (target, room);
        }
    }

    pub(super) fn note_asked(&mut self, asked: &Asked) {
        self.contacts.asked.push(asked.clone());
        make_room(&mut self.contacts.asked, ASKED_MAX, ASKED_PER_PROVIDER_MAX, |asked| {
            &asked.requester
        });
    }

    pub(super) fn forget_asked(&mut self, requester: &UserUri, room: Option<&RoomUri>) {
        self.contacts
            .asked
            .retain(|known| (&known.requester, known.room.as_ref()) != (requester, room));
    }

    pub(super) fn note_told(&mut self, told: &Told) {
        self.contacts
            .told
            .retain(|known| (&known.target, &known.room) != (&told.target, &told.room));
        self.contacts.told.push(told.clone());
        make_room(&mut self.contacts.told, TOLD_MAX, TOLD_PER_PROVIDER_MAX, |told| {
            &told.target
        });
    }

    /// Has the user denied this very requester, for this room or for any?
    fn has_denied(&self, scope: &ConsentScope) -> bool {
        self.consent.iter().any(|rule| {
            !rule.allow
                && rule.requester.as_ref() == Some(&scope.requester)
                && rule.covers(&scope.requester, scope.room.as_ref())
        })
    }
}

/// Drops the oldest until the limits hold; who sends much pushes out its own first.
fn make_room<T>(list: &mut Vec<T>, max: usize, per_provider_max: usize, user: impl Fn(&T) -> &UserUri) {
    let Some(newest) = list.last().map(|newest| user(newest).provider()) else {
        return;
    };
    let of_provider = list.iter().filter(|entry| user(entry).provider() == newest).count();
    let oldest = if of_provider > per_provider_max {
        list.iter().position(|entry| user(entry).provider() == newest)
    } else {
        (list.len() > max).then_some(0)
    };
    if let Some(oldest) = oldest {
        list.remove(oldest);
    }
}

/// What comes of a consent operation.
pub(super) enum Outcome {
    Event(UserEvent),
    /// It is so already, or there is nothing to say.
    Unchanged,
    /// There is no request to withdraw.
    NoSuchRequest,
    /// Too many are open.
    TooMany,
}

/// The user asks for consent, or does no more.
pub(super) fn decide_request(
    state: &UserState,
    at_ms: u64,
    target: UserUri,
    room: Option<RoomUri>,
    withdraws: bool,
) -> Outcome {
    let known = state
        .profile
        .contacts
        .sent
        .iter()
        .find(|sent| (&sent.target, &sent.room) == (&target, &room));
    let (change, effect) = match (known, withdraws) {
        // "A `cancel` MUST use the same `ConsentScope` as a previous `request`"
        (None, true) => return Outcome::NoSuchRequest,
        (Some(_), true) => (ConsentChange::Cancel, SentEffect::Withdraws),
        (Some(sent), false) if !sent.undeliverable => return Outcome::Unchanged,
        (None, false) if state.profile.contacts.sent.len() >= SENT_MAX => return Outcome::TooMany,
        (_, false) => (ConsentChange::Request, SentEffect::Asks),
    };
    let scope = ConsentScope {
        requester: state.user.clone(),
        target: target.clone(),
        room,
    };
    Outcome::Event(sent(at_ms, scope, change, target, effect))
}

/// The user sets a rule about one requester and has that one told. `with_key_packages`: a grant brings one KeyPackage of each
/// client that has any.
pub(super) fn decide_answer(
    state: &UserState,
    at_ms: u64,
    requester: UserUri,
    room: Option<RoomUri>,
    allow: bool,
    with_key_packages: bool,
) -> Result<UserEvent, NodeError> {
    let mut given = Vec::new();
    let mut client_key_packages: Vec<KeyPackage> = Vec::new();
    if allow && with_key_packages {
        for client in &state.profile.clients {
            let fresh = state
                .stored_of(client)
                .filter(|stored| stored.not_after_s.saturating_mul(1_000) > at_ms)
                .min_by_key(|stored| stored.not_after_s);
            if let Some(stored) = fresh {
                client_key_packages.push(tls::decode_exact(&stored.key_package)?);
                given.push(GivenKeyPackage {
                    reference: stored.reference.clone(),
                    not_after_s: stored.not_after_s,
                });
            }
        }
    }
    let change = if allow {
        ConsentChange::Grant { client_key_packages }
    } else {
        ConsentChange::Revoke
    };
    let scope = ConsentScope {
        requester: requester.clone(),
        target: state.user.clone(),
        room: room.clone(),
    };
    let rule = ConsentRule {
        requester: Some(requester.clone()),
        room,
        allow,
    };
    Ok(sent(
        at_ms,
        scope,
        change,
        requester,
        SentEffect::Answers { rule, given },
    ))
}

fn sent(at_ms: u64, scope: ConsentScope, change: ConsentChange, other: UserUri, effect: SentEffect) -> UserEvent {
    let room = scope.room.clone();
    let entry = ConsentEntry {
        scope,
        change,
        consent_extensions: AppDataDictionary::new(),
    };
    UserEvent::ConsentSent(ConsentSent {
        entry: ByteBuf::from(tls::encode(&entry)),
        to: other.provider(),
        other,
        room,
        effect,
        at_ms,
    })
}

/// Another user's operation reaches this one.
pub(super) fn decide_received(state: &UserState, at_ms: u64, entry: &ConsentEntry) -> Outcome {
    let profile = &state.profile;
    let ConsentScope {
        requester,
        target,
        room,
    } = &entry.scope;
    let asked = profile
        .contacts
        .asked
        .iter()
        .any(|asked| (&asked.requester, &asked.room) == (requester, room));
    let (granted, key_packages) = match &entry.change {
        ConsentChange::Request if asked || profile.has_denied(&entry.scope) => return Outcome::Unchanged,
        ConsentChange::Request => {
            return Outcome::Event(UserEvent::ConsentAsked(Asked {
                requester: requester.clone(),
                room: room.clone(),
                at_ms,
            }));
        }
        ConsentChange::Cancel if asked => {
            return Outcome::Event(UserEvent::ConsentWithdrawn {
                requester: requester.clone(),
                room: room.clone(),
            });
        }
        // "in response to a `cancel` which has no `request` matching the `ConsentScope`, [...] no further action is taken"
        ConsentChange::Cancel => return Outcome::Unchanged,
        ConsentChange::Grant { client_key_packages } => (true, client_key_packages.as_slice()),
        ConsentChange::Revoke => (false, &[][..]),
    };
    let told = Told {
        target: target.clone(),
        room: room.clone(),
        granted,
        key_packages: key_packages
            .iter()
            .map(|key_package| ByteBuf::from(key_package.as_bytes()))
            .collect(),
        at_ms,
    };
    let known = profile
        .contacts
        .told
        .iter()
        .find(|known| (&known.target, &known.room) == (&told.target, &told.room));
    let says_nothing_new = known.is_some_and(|known| {
        known.granted == told.granted && (told.key_packages.is_empty() || known.key_packages == told.key_packages)
    });
    if says_nothing_new {
        return Outcome::Unchanged;
    }
    Outcome::Event(UserEvent::ConsentTold(told))
}
