//! What the log says has happened, as far as a simulation checks it.

use mimi_hub_cluster::ShardReader;

use crate::command::{self, Accepted, Command, Event, RequestHash, decode};
use crate::entity::EntityId;
use crate::error::NodeError;
use crate::room::event::RoomEvent;
use crate::user::event::UserEvent;

/// What a command of the log has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// It was not decided after the entity's last event, and has changed nothing.
    Fenced,
    /// It has trimmed, or the like.
    Other,
    /// It is an event.
    Event {
        /// Whose.
        id: EntityId,
        /// Its sequence number.
        seq: u64,
        /// The acceptance time, in milliseconds since the UNIX epoch.
        at_ms: u64,
        /// The request that it answers, if it may be retried.
        hash: Option<RequestHash>,
        /// The reply.
        reply: Vec<u8>,
        /// What has happened.
        what: What,
    },
}

/// What has happened to an entity, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A Commit: the MLSMessage.
    Commit(Vec<u8>),
    /// KeyPackages were stored: their references.
    KeyPackagesStored(Vec<Vec<u8>>),
    /// KeyPackages were given out: their references.
    KeyPackagesClaimed(Vec<Vec<u8>>),
    /// Something else.
    Else,
}

/// Reads a command and its outcome.
///
/// # Errors
/// One of them does not read.
pub fn record(command: &[u8], outcome: &[u8]) -> Result<Record, NodeError> {
    if matches!(decode(outcome)?, command::Outcome::Fenced { .. }) {
        return Ok(Record::Fenced);
    }
    let Command::Accepted(accepted) = decode(command)? else {
        return Ok(Record::Other);
    };
    Ok(event(accepted))
}

/// The events of an entity that a node has in its store.
///
/// # Errors
/// They do not read.
pub fn events(reader: &ShardReader, id: &EntityId) -> Result<Vec<Record>, NodeError> {
    let events = crate::read::events_after(reader, id, 0, usize::MAX)?;
    Ok(events.into_iter().map(event).collect())
}

fn event(accepted: Accepted) -> Record {
    let what = match accepted.event {
        Event::Room(RoomEvent::Commit(commit)) => What::Commit(commit.message.into_vec()),
        Event::User(UserEvent::KeyPackagesStored { packages, .. }) => What::KeyPackagesStored(
            packages
                .into_iter()
                .map(|package| package.reference.into_vec())
                .collect(),
        ),
        Event::User(UserEvent::KeyPackagesClaimed(packages)) => What::KeyPackagesClaimed(
            packages
                .into_iter()
                .map(|package| package.reference.into_vec())
                .collect(),
        ),
        Event::Room(_) | Event::User(_) | Event::Followed(_) => What::Else,
    };
    Record::Event {
        id: accepted.entity,
        seq: accepted.seq,
        at_ms: accepted.at_ms,
        hash: accepted.request,
        reply: accepted.reply,
        what,
    }
}
