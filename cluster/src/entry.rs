//! What is in an entry of a shard's log.
//!
//! A command's entry is a format version byte and the command. An entry without data is the one that a leader begins its
//! term with.

use raft::eraftpb::{Entry, EntryType};

const VERSION: u8 = 1;

/// The data of the entry of `command`.
pub(crate) fn encode(command: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(1 + command.len());
    data.push(VERSION);
    data.extend_from_slice(command);
    data
}

/// What a committed entry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// A command for the state machine.
    Command(Vec<u8>),
    /// Nothing.
    Empty,
}

/// An entry that this version cannot carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntryError {
    #[error(
        "the entry at index {index} has format version {version}, this binary knows {VERSION}: it was written by a newer one"
    )]
    Version { index: u64, version: u8 },
    #[error("the entry at index {index} changes the membership, which this version does not do")]
    Membership { index: u64 },
}

/// Reads a committed entry.
pub(crate) fn decode(entry: &Entry) -> Result<Payload, EntryError> {
    if entry.get_entry_type() != EntryType::EntryNormal {
        return Err(EntryError::Membership { index: entry.index });
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
        assert_eq!(decode(&entry), Err(EntryError::Membership { index: 7 }));
    }
}
