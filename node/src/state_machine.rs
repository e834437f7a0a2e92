//! `apply`: the deterministic half of every decision, run on every replica.
//!
//! Invariants kept here, and only here:
//! - an entity's events carry the numbers 1, 2, 3, …, and each was decided by who knew the one before: a command that does
//!   not follow is [`Outcome::Fenced`] and changes nothing (fencing);
//! - the event, the reply under its request's hash, the outbox and the head are written in one batch;
//! - a cursor never moves back.
//!
//! No cryptography, no clock, no policy: the leader has decided all that.

use mimi_hub_cluster::planted::{self, Bug};
use mimi_hub_cluster::{ApplyError, ShardTxn};
use mimi_hub_proto::uri::UserUri;
use serde::de::DeserializeOwned;

use crate::command::{
    Accepted, Command, CursorMove, Event, Head, LOCAL, OutboxCursor, Outcome, ReadableRanges, decode, encode,
};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::followed::event::FollowedEvent;
use crate::keys;
use crate::machine::AppliedEvent;
use crate::room::event::RoomEvent;
use crate::user::discovery;
use crate::user::event::UserEvent;
use crate::user::state::Profile;

/// How many events one `Trimmed` command may remove, so that an apply never takes long.
pub(crate) const TRIM_EVENTS_MAX: u64 = 1_000;

/// Applies one command. Answers the encoded [`Outcome`], and the event if one was accepted.
pub(crate) fn apply(txn: &mut ShardTxn<'_>, command: &[u8]) -> Result<(Vec<u8>, Option<AppliedEvent>), ApplyError> {
    // A command that cannot be applied was written by a newer binary or is damaged: this replica must not go on past it.
    try_apply(txn, command).map_err(|error| ApplyError::Broken(error.to_string()))
}

fn try_apply(txn: &mut ShardTxn<'_>, command: &[u8]) -> Result<(Vec<u8>, Option<AppliedEvent>), NodeError> {
    let (outcome, event) = match decode::<Command>(command)? {
        Command::Accepted(accepted) => {
            let outcome = apply_accepted(txn, &accepted, command)?;
            (outcome, (outcome == Outcome::Applied).then(|| applied_event(accepted)))
        }
        Command::CursorsMoved(moves) => (apply_cursors(txn, &moves)?, None),
        Command::Trimmed { entity, first_seq } => (apply_trim(txn, &entity, first_seq)?, None),
    };
    Ok((encode(&outcome)?, event))
}

fn applied_event(accepted: Accepted) -> AppliedEvent {
    let (mut destinations, joined): (Vec<String>, _) = match &accepted.event {
        Event::Room(event) => (
            event.destinations().map(|domain| domain.as_str().to_owned()).collect(),
            event.joined(),
        ),
        Event::Followed(event) => (Vec::new(), event.joined()),
        Event::User(event) => (
            event
                .destination()
                .map(|domain| domain.as_str().to_owned())
                .into_iter()
                .collect(),
            &[][..],
        ),
    };
    if !joined.is_empty() {
        destinations.push(LOCAL.to_owned());
    }
    AppliedEvent {
        entity: accepted.entity,
        seq: accepted.seq,
        destinations,
    }
}

fn apply_accepted(txn: &mut ShardTxn<'_>, accepted: &Accepted, command: &[u8]) -> Result<Outcome, NodeError> {
    let entity = &accepted.entity;
    let mut head: Head = read(txn, &keys::head(entity))?.unwrap_or_default();
    let follows = accepted.seq == head.last_seq + 1 && accepted.decided_after == head.last_decided_by;
    if !follows && !planted::is(Bug::SkipFencing) {
        return Ok(Outcome::Fenced {
            last_seq: head.last_seq,
        });
    }
    let seq = accepted.seq;
    head.last_seq = seq;
    head.last_decided_by = accepted.decided_by;
    head.first_seq = head.first_seq.max(1);
    head.last_at_ms = accepted.at_ms;

    match &accepted.event {
        Event::Room(event) => {
            if let RoomEvent::Created { checkpoint, .. } | RoomEvent::Checkpoint(checkpoint) = event {
                txn.put(&keys::checkpoint(entity), encode(checkpoint)?);
                head.checkpoint_seq = seq;
                drop_spared(txn, entity)?;
            }
            match event {
                RoomEvent::AbuseReported(report) => {
                    txn.put(&keys::open_report(entity, seq), encode(&report.at_ms)?);
                    txn.put(&keys::report(entity, seq), encode(report)?);
                    txn.put(
                        &keys::report_by_time(entity, report.at_ms, seq),
                        encode(&(entity, seq))?,
                    );
                }
                RoomEvent::AbuseReportClosed { seq, at_ms } => {
                    txn.delete(&keys::open_report(entity, *seq));
                    txn.delete(&keys::report(entity, *seq));
                    txn.delete(&keys::report_by_time(entity, *at_ms, *seq));
                    forget_report(txn, entity, *seq)?;
                }
                _ => {}
            }
            if event.changes_state() {
                txn.put(&keys::state_mark(entity, seq), []);
            }
            for destination in event.destinations() {
                extend_outbox(txn, entity, destination.as_str(), seq)?;
            }
            change_readers(txn, accepted, event.joined(), event.left())?;
        }
        Event::Followed(event) => {
            match event {
                FollowedEvent::Expected { user, packages } => {
                    for (reference, client) in packages {
                        txn.put(&keys::key_package(entity, reference), encode(&(user, client))?);
                    }
                }
                FollowedEvent::Notified { messages, welcomed, .. } => {
                    for (hash, _) in messages {
                        txn.put(&keys::request(entity, hash), encode(&seq)?);
                    }
                    for reference in welcomed {
                        forget_awaited(txn, entity, reference);
                    }
                }
                FollowedEvent::Awaited {
                    user,
                    packages,
                    expired,
                } => {
                    for reference in expired {
                        forget_awaited(txn, entity, reference);
                    }
                    for package in packages {
                        let reference = &package.reference;
                        txn.put(&keys::key_package(entity, reference), encode(&(user, &package.client))?);
                        txn.put(
                            &keys::given_key_package(entity, reference),
                            encode(&package.not_after_s)?,
                        );
                    }
                }
                FollowedEvent::Joined { .. } | FollowedEvent::Left { .. } => {}
            }
            change_readers(txn, accepted, event.joined(), event.left())?;
        }
        Event::User(event) => {
            apply_user(txn, entity, event)?;
            if let Some(destination) = event.destination() {
                extend_outbox(txn, entity, destination.as_str(), seq)?;
            }
        }
    }

    if let Some(hash) = &accepted.request {
        txn.put(&keys::request(entity, hash), encode(&seq)?);
    }
    // The command is its own record: what was accepted, and the reply.
    txn.put(&keys::event(entity, seq), command);
    txn.put(&keys::head(entity), encode(&head)?);
    Ok(Outcome::Applied)
}

/// No Welcome is awaited for a KeyPackage any more.
fn forget_awaited(txn: &mut ShardTxn<'_>, entity: &EntityId, reference: &[u8]) {
    txn.delete(&keys::key_package(entity, reference));
    txn.delete(&keys::given_key_package(entity, reference));
}

/// What was reported goes, and not with the room's old events alone: of the event stay whom it was about, when, and its reply.
fn forget_report(txn: &mut ShardTxn<'_>, entity: &EntityId, seq: u64) -> Result<(), NodeError> {
    let key = keys::event(entity, seq);
    if let Some(Command::Accepted(mut accepted)) = read(txn, &key)?
        && let Event::Room(RoomEvent::AbuseReported(report)) = &mut accepted.event
    {
        report.reporter = None;
        report.note.clear();
        report.messages.clear();
        txn.put(&key, encode(&Command::Accepted(accepted))?);
    }
    Ok(())
}

fn apply_user(txn: &mut ShardTxn<'_>, entity: &EntityId, event: &UserEvent) -> Result<(), NodeError> {
    match event {
        UserEvent::KeyPackagesStored { packages, expired } => {
            for reference in expired {
                txn.delete(&keys::key_package(entity, reference));
                txn.delete(&keys::given_key_package(entity, reference));
            }
            for package in packages {
                txn.put(&keys::key_package(entity, &package.reference), encode(package)?);
            }
        }
        UserEvent::KeyPackagesClaimed(_) | UserEvent::ConsentSent(_) => {
            for package in event.given() {
                txn.delete(&keys::key_package(entity, &package.reference));
                txn.put(
                    &keys::given_key_package(entity, &package.reference),
                    encode(&package.not_after_s)?,
                );
            }
        }
        UserEvent::ClientRemoved { dropped, .. } | UserEvent::Deleted { dropped } => {
            for reference in dropped {
                txn.delete(&keys::key_package(entity, reference));
            }
        }
        UserEvent::Created
        | UserEvent::ClientAdded(_)
        | UserEvent::ConsentSet(_)
        | UserEvent::RoomJoined(_)
        | UserEvent::RoomForgotten(_)
        | UserEvent::ConsentAsked(_)
        | UserEvent::ConsentWithdrawn { .. }
        | UserEvent::ConsentTold(_)
        | UserEvent::ConsentUndeliverable { .. }
        | UserEvent::ProfileSet(_) => {}
    }
    let mut profile: Profile = read(txn, &keys::checkpoint(entity))?.unwrap_or_default();
    profile.contacts = read(txn, &keys::contacts(entity))?.unwrap_or_default();
    let contacts_before = profile.contacts.clone();
    if matches!(event, UserEvent::ProfileSet(_) | UserEvent::Deleted { .. }) {
        for term in discovery::terms(&profile.contacts.entries) {
            txn.delete(&keys::found_by(&term, entity.name()));
        }
        txn.delete(&keys::findable(entity.name()));
    }
    profile.apply(event);
    if let UserEvent::ProfileSet(entries) = event
        && discovery::can_be_found(entries)
    {
        for term in discovery::terms(entries) {
            txn.put(&keys::found_by(&term, entity.name()), []);
        }
        txn.put(&keys::findable(entity.name()), encode(entries)?);
    }
    if profile.contacts != contacts_before {
        txn.put(&keys::contacts(entity), encode(&profile.contacts)?);
    }
    txn.put(&keys::checkpoint(entity), encode(&profile)?);
    Ok(())
}

/// Opens and closes what local users may read, and has the rooms of those who join entered in their room lists.
fn change_readers(
    txn: &mut ShardTxn<'_>,
    accepted: &Accepted,
    joined: &[UserUri],
    left: &[UserUri],
) -> Result<(), NodeError> {
    let entity = &accepted.entity;
    for (users, joins) in [(left, false), (joined, true)] {
        for user in users {
            let key = keys::reader(entity, user.as_str());
            let mut ranges: ReadableRanges = read(txn, &key)?.unwrap_or_default();
            if joins {
                ranges.open(accepted.seq);
            } else {
                ranges.close(accepted.seq);
            }
            txn.put(&key, encode(&ranges)?);
        }
    }
    if !joined.is_empty() {
        extend_outbox(txn, entity, LOCAL, accepted.seq)?;
    }
    Ok(())
}

fn extend_outbox(txn: &mut ShardTxn<'_>, entity: &EntityId, destination: &str, seq: u64) -> Result<(), NodeError> {
    let key = keys::outbox(entity, destination);
    let mut cursor: OutboxCursor = read(txn, &key)?.unwrap_or(OutboxCursor {
        confirmed_seq: seq - 1,
        last_seq: seq - 1,
    });
    cursor.last_seq = seq;
    txn.put(&key, encode(&cursor)?);
    Ok(())
}

fn apply_cursors(txn: &mut ShardTxn<'_>, moves: &[CursorMove]) -> Result<Outcome, NodeError> {
    for CursorMove {
        entity,
        destination,
        seq,
    } in moves
    {
        let key = keys::outbox(entity, destination);
        let Some(mut cursor) = read::<OutboxCursor>(txn, &key)? else {
            continue;
        };
        cursor.confirmed_seq = cursor.confirmed_seq.max(*seq);
        if cursor.confirmed_seq >= cursor.last_seq {
            // Nothing is on its way: the record comes back with the next event for this destination.
            txn.delete(&key);
        } else {
            txn.put(&key, encode(&cursor)?);
        }
    }
    Ok(Outcome::Applied)
}

fn apply_trim(txn: &mut ShardTxn<'_>, entity: &EntityId, first_seq: u64) -> Result<Outcome, NodeError> {
    let Some(mut head) = read::<Head>(txn, &keys::head(entity))? else {
        return Ok(Outcome::Applied);
    };
    let first_seq = first_seq.min(head.last_seq).min(head.first_seq + TRIM_EVENTS_MAX);
    let mut spared: Vec<u64> = read(txn, &keys::spared(entity))?.unwrap_or_default();
    let already_spared = spared.len();
    for seq in head.first_seq..first_seq {
        let key = keys::event(entity, seq);
        let mark = keys::state_mark(entity, seq);
        let Some(Command::Accepted(accepted)) = read(txn, &key)? else {
            continue;
        };
        if let Some(hash) = &accepted.request {
            txn.delete(&keys::request(entity, hash));
        }
        if let Event::Followed(FollowedEvent::Notified { messages, .. }) = &accepted.event {
            for (hash, _) in messages {
                txn.delete(&keys::request(entity, hash));
            }
        }
        // What a rebuild needs stays until a checkpoint covers it.
        if txn.get(&mark)?.is_none() || seq <= head.checkpoint_seq {
            txn.delete(&mark);
            txn.delete(&key);
        } else {
            spared.push(seq);
        }
    }
    if spared.len() > already_spared {
        txn.put(&keys::spared(entity), encode(&spared)?);
    }
    head.first_seq = head.first_seq.max(first_seq);
    txn.put(&keys::head(entity), encode(&head)?);
    Ok(Outcome::Applied)
}

/// What trims spared for a rebuild goes, now that a checkpoint covers it.
fn drop_spared(txn: &mut ShardTxn<'_>, entity: &EntityId) -> Result<(), NodeError> {
    let spared: Vec<u64> = read(txn, &keys::spared(entity))?.unwrap_or_default();
    for seq in &spared {
        txn.delete(&keys::state_mark(entity, *seq));
        txn.delete(&keys::event(entity, *seq));
    }
    if !spared.is_empty() {
        txn.delete(&keys::spared(entity));
    }
    Ok(())
}

fn read<T: DeserializeOwned>(txn: &ShardTxn<'_>, key: &[u8]) -> Result<Option<T>, NodeError> {
    match txn.get(key)? {
        Some(bytes) => Ok(Some(decode(&bytes)?)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests;
