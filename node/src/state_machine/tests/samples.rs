//! Events with made-up contents: the state machine looks into none of the MLS objects.

use mimi_hub_proto::uri::{ClientUri, ProviderDomain, UserUri};
use serde_bytes::ByteBuf;

use crate::command::{Accepted, Event};
use crate::entity::EntityId;
use crate::followed::event::{AwaitedKeyPackage, FollowedEvent};
use crate::mls::store::StoredGroup;
use crate::room::event::{CommitAccepted, RoomEvent, WelcomeAccepted};
use crate::room::state::Checkpoint;

/// Who decides, where nothing else is said.
pub(super) const ACTIVATION: u64 = 7;

pub(super) fn room() -> EntityId {
    EntityId::Room("mimi://a.example/r/clubhouse".parse().unwrap())
}

pub(super) fn followed() -> EntityId {
    EntityId::Followed("mimi://b.example/r/elsewhere".parse().unwrap())
}

pub(super) fn user() -> EntityId {
    EntityId::User(alice())
}

pub(super) fn alice() -> UserUri {
    "mimi://a.example/u/alice".parse().unwrap()
}

pub(super) fn bob() -> UserUri {
    "mimi://a.example/u/bob".parse().unwrap()
}

pub(super) fn client() -> ClientUri {
    "mimi://a.example/d/ClientA1".parse().unwrap()
}

pub(super) fn hash(number: u8) -> [u8; 32] {
    [number; 32]
}

pub(super) fn bytes(number: u8) -> ByteBuf {
    ByteBuf::from([number])
}

fn domains(names: &[&str]) -> Vec<ProviderDomain> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

pub(super) fn accepted(entity: &EntityId, seq: u64, event: Event) -> Accepted {
    Accepted {
        entity: entity.clone(),
        seq,
        decided_by: ACTIVATION,
        decided_after: if seq == 1 { 0 } else { ACTIVATION },
        at_ms: 1_000 + seq % 1_000,
        request: None,
        reply: Vec::new(),
        event,
    }
}

pub(super) fn message(fan_out: &[&str]) -> Event {
    Event::Room(RoomEvent::Message {
        message: bytes(1),
        frank: None,
        fan_out: domains(fan_out),
        withheld: Vec::new(),
    })
}

pub(super) fn commit_accepted(fan_out: &[&str], joined: &[UserUri], left: &[UserUri]) -> CommitAccepted {
    CommitAccepted {
        message: bytes(2),
        group_info: bytes(3),
        welcome: None,
        fan_out: domains(fan_out),
        joined: joined.to_vec(),
        left: left.to_vec(),
        external_proposals: Vec::new(),
        join_code: None,
    }
}

pub(super) fn commit(fan_out: &[&str], joined: &[UserUri], left: &[UserUri]) -> Event {
    Event::Room(RoomEvent::Commit(commit_accepted(fan_out, joined, left)))
}

pub(super) fn welcome(fan_out: &[&str]) -> WelcomeAccepted {
    WelcomeAccepted {
        message: bytes(4),
        ratchet_tree: bytes(5),
        fan_out: domains(fan_out),
        users: Vec::new(),
    }
}

pub(super) fn checkpoint() -> Event {
    let checkpoint = Checkpoint::first(StoredGroup::default(), bytes(6));
    Event::Room(RoomEvent::Checkpoint(Box::new(checkpoint)))
}

/// The same, decided by one who knows that event `seq` - 1 was decided by `after`.
pub(super) fn decided(by: u64, after: u64, entity: &EntityId, seq: u64, event: Event) -> Accepted {
    Accepted {
        decided_by: by,
        decided_after: after,
        ..accepted(entity, seq, event)
    }
}

/// Messages whose hashes are these numbers.
pub(super) fn notified(hashes: &[u8], welcomed: &[u8], joined: &[UserUri]) -> Event {
    Event::Followed(FollowedEvent::Notified {
        messages: hashes.iter().map(|number| (hash(*number), bytes(*number))).collect(),
        welcomed: welcomed.iter().map(|number| bytes(*number)).collect(),
        joined: joined.to_vec(),
    })
}

/// KeyPackages with these references are awaited from now on, and those others no more.
pub(super) fn awaited(references: &[u8], expired: &[u8]) -> Event {
    let package = |number: &u8| AwaitedKeyPackage {
        reference: bytes(*number),
        client: client(),
        not_after_s: 1_000,
    };
    Event::Followed(FollowedEvent::Awaited {
        user: alice(),
        packages: references.iter().map(package).collect(),
        expired: expired.iter().map(|number| bytes(*number)).collect(),
    })
}
