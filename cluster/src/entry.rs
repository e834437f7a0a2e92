//! What is in an entry of a shard's log.
//!
//! A command's entry is a format version byte and the command. An entry without data is the one that a leader begins its
//! term with. A change of members has Raft's own data, and the version in the entry's context.

use protobuf::Message as _;
use raft::eraftpb::{ConfChangeV2, ConfState, Entry, EntryType};

const VERSION: u8 = 1;

/// The data of the entry of `command`.
pub(crate) fn encode(command: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(1 + command.len());
    data.push(VERSION);
    data.extend_from_slice(command);
    data
}

/// The context of an entry that changes the members.
pub(crate) const CHANGE_CONTEXT: [u8; 1] = [VERSION];

/// What a committed entry asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Payload {
    /// A command for the state machine.
    Command(Vec<u8>),
    /// Nothing.
    Empty,
    /// A change of members, not carried out yet.
    Change(ConfChangeV2),
    /// One that has been carried out: the members from here on.
    Members(ConfState),
}

/// An entry that this version cannot carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    #[error(
        "the entry at index {index} has format version {version}, this binary knows {VERSION}: it was written by a newer one"
    )]
    Version { index: u64, version: u8 },
    #[error("the entry at index {index} changes the members in a way that this version does not know")]
    Members { index: u64 },
}

/// Reads a committed entry.
pub(crate) fn decode(entry: &Entry) -> Result<Payload, EntryError> {
    let index = entry.index;
    match entry.get_entry_type() {
        EntryType::EntryNormal => {}
        // Raft-rs itself ends a joint change, with an entry that holds nothing.
        EntryType::EntryConfChangeV2 if entry.context == CHANGE_CONTEXT[..] || entry.data.is_empty() => {
            let change = ConfChangeV2::parse_from_bytes(&entry.data);
            return change.map(Payload::Change).map_err(|_| EntryError::Members { index });
        }
        EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => return Err(EntryError::Members { index }),
    }
    match entry.data.split_first() {
        None => Ok(Payload::Empty),
        Some((&VERSION, command)) => Ok(Payload::Command(command.to_vec())),
        Some((&version, _)) => Err(EntryError::Version {
            index: entry.index,
            version,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_as_written() {
        let mut entry = Entry {
            index: 7,
            ..Entry::default()
        };
        assert_eq!(decode(&entry), Ok(Payload::Empty));
        for command in [&b""[..], b"command"] {
            entry.data = encode(command).into();
            assert_eq!(decode(&entry), Ok(Payload::Command(command.to_vec())));
        }
    }

    #[test]
    fn what_is_not_understood_is_not_skipped() {
        let mut entry = Entry {
            index: 7,
            data: vec![2, 0].into(),
            ..Entry::default()
        };
        assert_eq!(decode(&entry), Err(EntryError::Version { index: 7, version: 2 }));
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        assert_eq!(decode(&entry), Err(EntryError::Members { index: 7 }));
        entry.data.clear();
        assert_eq!(decode(&entry), Ok(Payload::Change(ConfChangeV2::default())));
    }
}
