//! What is in an entry of a shard's log.
//!
//! A command's entry is a format version byte and the command. An entry without data is the one that a leader begins its
//! term with. A change of members has Raft's own data, and the version in the entry's context.

use protobuf::Message as _;
use raft::eraftpb::{ConfChangeV2, ConfState, Entry, EntryType};

/// Of a command.
const VERSION: u8 = 1;
/// Of an entry that has every replica compute a checksum; there is nothing else in it.
const CHECK: u8 = 2;

/// The data of the entry of `command`.
pub(crate) fn encode(command: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(1 + command.len());
    data.push(VERSION);
    data.extend_from_slice(command);
    data
}

/// The data of the entry that has every replica compute a checksum of its state.
pub(crate) fn encode_check() -> Vec<u8> {
    vec![CHECK]
}

/// The context of an entry that changes the members.
pub(crate) const CHANGE_CONTEXT: [u8; 1] = [VERSION];

/// What a committed entry asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Payload {
    /// A command for the state machine.
    Command(Vec<u8>),
    /// A checksum of the state at this place.
    Check,
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
        "the entry at index {index} has format version {version}, this binary knows those up to {understood}: it was written \
         by a newer one"
    )]
    Version { index: u64, version: u8, understood: u16 },
    #[error("the entry at index {index} changes the members in a way that this version does not know")]
    Members { index: u64 },
}

/// Reads a committed entry, in a binary that understands formats up to `understood`.
pub(crate) fn decode(entry: &Entry, understood: u16) -> Result<Payload, EntryError> {
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
        Some((&CHECK, [])) if understood >= u16::from(CHECK) => Ok(Payload::Check),
        Some((&version, _)) => Err(EntryError::Version {
            index: entry.index,
            version,
            understood,
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
        assert_eq!(decode(&entry, 1), Ok(Payload::Empty));
        for command in [&b""[..], b"command"] {
            entry.data = encode(command).into();
            assert_eq!(decode(&entry, 1), Ok(Payload::Command(command.to_vec())));
        }
        entry.data = encode_check().into();
        assert_eq!(decode(&entry, 2), Ok(Payload::Check));
    }

    #[test]
    fn what_is_not_understood_is_not_skipped() {
        let mut entry = Entry {
            index: 7,
            data: vec![3, 0].into(),
            ..Entry::default()
        };
        let newer = |version, understood| {
            Err(EntryError::Version {
                index: 7,
                version,
                understood,
            })
        };
        assert_eq!(decode(&entry, 2), newer(3, 2));
        entry.data = encode_check().into();
        assert_eq!(decode(&entry, 1), newer(2, 1), "a binary of an older release");
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        assert_eq!(decode(&entry, 2), Err(EntryError::Members { index: 7 }));
        entry.data.clear();
        assert_eq!(decode(&entry, 2), Ok(Payload::Change(ConfChangeV2::default())));
    }
}
