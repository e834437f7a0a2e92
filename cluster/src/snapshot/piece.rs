//! What sender and receiver of a snapshot say to each other: a format version byte, then the message in bincode.
//!
//! The sender says [`Piece::Begin`] and is told which chunk is wanted first: not the first one when the connection broke
//! on the way and the receiver has some of them. Each chunk is answered with the next that is wanted.

use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;
/// Bytes that a message may claim to hold: a chunk has at most one large value.
const LIMIT: usize = 40 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Piece {
    Begin {
        /// Chosen by the sender, another for every snapshot it takes.
        number: u64,
        shard: u32,
        /// Raft's `MsgSnapshot`, which has the index, term and members.
        message: Vec<u8>,
        chunks: u32,
        /// Over the checksums of all chunks.
        digest: [u8; 32],
    },
    Chunk {
        number: u64,
        at: u32,
        sum: [u8; 32],
        bytes: Vec<u8>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Another snapshot is on its way, or being installed: ask again soon.
    Busy,
    /// All of it is here.
    Complete,
    /// The chunk that is wanted next.
    Next(u32),
    /// It is not taken, in words.
    Refused(String),
}

impl Piece {
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        encode(self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        decode(bytes)
    }
}

impl Answer {
    /// An empty answer, which does not read, when it cannot be laid out.
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(self).unwrap_or_default()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        decode(bytes)
    }
}

fn encode(message: &impl Serialize) -> Option<Vec<u8>> {
    let mut bytes = vec![VERSION];
    bincode::serde::encode_into_std_write(message, &mut bytes, bincode::config::standard()).ok()?;
    Some(bytes)
}

fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<T> {
    let rest = bytes.strip_prefix(&[VERSION])?;
    let config = bincode::config::standard().with_limit::<LIMIT>();
    let (message, read) = bincode::serde::decode_from_slice(rest, config).ok()?;
    (read == rest.len()).then_some(message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_read_as_written_and_not_in_part() {
        let begin = Piece::Begin {
            number: 1 << 60,
            shard: 5,
            message: vec![1, 2, 3],
            chunks: 9,
            digest: [4; 32],
        };
        let chunk = Piece::Chunk {
            number: 3,
            at: 8,
            sum: [5; 32],
            bytes: vec![9; 1000],
        };
        for piece in [begin, chunk] {
            let bytes = piece.encode().unwrap();
            assert_eq!(Piece::decode(&bytes), Some(piece));
            for length in 0..bytes.len() {
                assert_eq!(Piece::decode(&bytes[..length]), None);
            }
            assert_eq!(Piece::decode(&[&bytes[..], &[0]].concat()), None);
            assert_eq!(Piece::decode(&[&[VERSION + 1], &bytes[1..]].concat()), None);
        }
        for answer in [
            Answer::Busy,
            Answer::Complete,
            Answer::Next(7),
            Answer::Refused("why".to_owned()),
        ] {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Piece::decode(&bytes);
            let _ = Answer::decode(&[&[VERSION][..], &bytes].concat());
        }
    }
}
