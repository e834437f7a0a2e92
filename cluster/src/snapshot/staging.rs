//! What has arrived of a snapshot, and what has arrived whole.
//!
//! Invariants: at most one snapshot is here at a time; a chunk is only kept when its checksum holds, the whole only when
//! the digest does. Time comes from the caller.

use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

use super::chunk::{Chunk, digest_of};
use super::piece::{Answer, Piece};
use super::{SnapshotError, SnapshotId};
use crate::config::NodeId;
use crate::planted::{self, Bug};
use crate::shard::ShardId;

/// After how long without a chunk a snapshot makes room for another one.
const PATIENCE: Duration = Duration::from_secs(10);

/// A whole snapshot.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) id: SnapshotId,
    pub(crate) chunks: Vec<Chunk>,
}

struct Incoming {
    from: NodeId,
    number: u64,
    message: Message,
    id: SnapshotId,
    total: u32,
    digest: [u8; 32],
    chunks: Vec<Chunk>,
    bytes: u64,
    touched: Duration,
}

pub(crate) struct Staging {
    node: NodeId,
    max_bytes: u64,
    incoming: Option<Incoming>,
    whole: Option<Staged>,
}

impl Staging {
    pub(crate) fn new(node: NodeId, max_bytes: u64) -> Self {
        Self {
            node,
            max_bytes,
            incoming: None,
            whole: None,
        }
    }

    /// Takes in a piece. Returns the answer, and with the last chunk Raft's message about the snapshot, which is to be
    /// given to the core.
    pub(crate) fn take(&mut self, now: Duration, from: NodeId, piece: Piece) -> (Answer, Option<(ShardId, Message)>) {
        match piece {
            Piece::Begin {
                number,
                shard,
                message,
                chunks,
                digest,
            } => {
                let known = self
                    .incoming
                    .as_mut()
                    .filter(|it| it.from == from && it.number == number);
                if let Some(incoming) = known {
                    incoming.touched = now;
                    return (Answer::Next(incoming.chunks.len() as u32), None);
                }
                let busy = self
                    .incoming
                    .as_ref()
                    .is_some_and(|it| now.saturating_sub(it.touched) < PATIENCE);
                if busy || self.whole.is_some() {
                    return (Answer::Busy, None);
                }
                let shard = ShardId(shard);
                let Some(message) = self.message(from, &message).filter(|_| chunks > 0) else {
                    let text = format!("the snapshot of {shard} does not read: both nodes need the same release");
                    return (Answer::Refused(text), None);
                };
                let metadata = message.get_snapshot().get_metadata();
                let (index, term) = (metadata.index, metadata.term);
                self.incoming = Some(Incoming {
                    from,
                    number,
                    message,
                    id: SnapshotId { shard, index, term },
                    total: chunks,
                    digest,
                    chunks: Vec::new(),
                    bytes: 0,
                    touched: now,
                });
                (Answer::Next(0), None)
            }
            Piece::Chunk { number, at, sum, bytes } => self.chunk(now, (from, number), at, sum, bytes),
        }
    }

    /// Takes the whole snapshot of this name out; `None` when it is not here.
    pub(crate) fn take_whole(&mut self, id: SnapshotId) -> Option<Staged> {
        self.whole.take_if(|whole| whole.id == id)
    }

    fn message(&self, from: NodeId, bytes: &[u8]) -> Option<Message> {
        let message = Message::parse_from_bytes(bytes).ok()?;
        let fits = message.get_msg_type() == MessageType::MsgSnapshot
            && message.from == from.0
            && message.to == self.node.0
            && message.get_snapshot().get_metadata().index > 0;
        fits.then_some(message)
    }

    fn chunk(
        &mut self,
        now: Duration,
        (from, number): (NodeId, u64),
        at: u32,
        sum: [u8; 32],
        bytes: Vec<u8>,
    ) -> (Answer, Option<(ShardId, Message)>) {
        let Some(incoming) = self
            .incoming
            .as_mut()
            .filter(|it| it.from == from && it.number == number)
        else {
            return (
                Answer::Refused("this snapshot is not known here, or no longer".to_owned()),
                None,
            );
        };
        incoming.touched = now;
        let expected = incoming.chunks.len() as u32;
        if at != expected {
            return (Answer::Next(expected), None);
        }
        let shard = incoming.id.shard;
        let Some(chunk) = Chunk::checked(bytes.into(), sum) else {
            // The sender may try this one again.
            let error = SnapshotError::Checksum { shard, number: at };
            return (Answer::Refused(error.to_string()), None);
        };
        incoming.bytes += chunk.bytes.len() as u64;
        incoming.chunks.push(chunk);
        let result = if incoming.bytes > self.max_bytes {
            let limit = self.max_bytes;
            Err(SnapshotError::TooLarge { shard, limit })
        } else if planted::is(Bug::ApplyBeforeSnapshotComplete) {
            Ok(())
        } else if expected + 1 < incoming.total {
            return (Answer::Next(expected + 1), None);
        } else if digest_of(&incoming.chunks) == incoming.digest {
            Ok(())
        } else {
            Err(SnapshotError::Digest { shard })
        };
        // Whichever way it ended, it makes room.
        match (self.incoming.take(), result) {
            (
                Some(Incoming {
                    id, chunks, message, ..
                }),
                Ok(()),
            ) => {
                self.whole = Some(Staged { id, chunks });
                (Answer::Complete, Some((shard, message)))
            }
            (_, Err(error)) => (Answer::Refused(error.to_string()), None),
            (None, Ok(())) => (Answer::Busy, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);
    const FROM: NodeId = NodeId(2);

    fn message() -> Vec<u8> {
        let mut message = Message {
            from: FROM.0,
            to: NODE.0,
            ..Message::default()
        };
        message.set_msg_type(MessageType::MsgSnapshot);
        message.mut_snapshot().mut_metadata().index = 9;
        message.mut_snapshot().mut_metadata().term = 4;
        message.write_to_bytes().unwrap()
    }

    fn chunks(count: u8) -> Vec<Chunk> {
        use sha2::Digest as _;
        let chunk = |n| Chunk {
            bytes: vec![n; 100].into(),
            sum: sha2::Sha256::digest([n; 100]).into(),
        };
        (0..count).map(chunk).collect()
    }

    fn begin(number: u64, chunks: &[Chunk]) -> Piece {
        Piece::Begin {
            number,
            shard: 3,
            message: message(),
            chunks: chunks.len() as u32,
            digest: digest_of(chunks),
        }
    }

    fn piece(number: u64, at: u32, chunk: &Chunk) -> Piece {
        Piece::Chunk {
            number,
            at,
            sum: chunk.sum,
            bytes: chunk.bytes.to_vec(),
        }
    }

    fn at(staging: &mut Staging, seconds: u64, from: NodeId, piece: Piece) -> Answer {
        staging.take(Duration::from_secs(seconds), from, piece).0
    }

    #[test]
    fn a_snapshot_is_whole_with_its_last_chunk_and_resumes_after_a_break() {
        let mut staging = Staging::new(NODE, 1000);
        let sent = chunks(3);
        assert_eq!(at(&mut staging, 0, FROM, begin(7, &sent)), Answer::Next(0));
        assert_eq!(at(&mut staging, 0, FROM, piece(7, 0, &sent[0])), Answer::Next(1));
        // Said twice, or out of turn.
        assert_eq!(at(&mut staging, 0, FROM, piece(7, 0, &sent[0])), Answer::Next(1));
        assert_eq!(at(&mut staging, 0, FROM, piece(7, 2, &sent[2])), Answer::Next(1));
        assert_eq!(at(&mut staging, 0, FROM, begin(7, &sent)), Answer::Next(1));
        assert_eq!(at(&mut staging, 0, FROM, piece(7, 1, &sent[1])), Answer::Next(2));
        let id = SnapshotId {
            shard: ShardId(3),
            index: 9,
            term: 4,
        };
        assert!(staging.take_whole(id).is_none());
        let (answer, message) = staging.take(Duration::ZERO, FROM, piece(7, 2, &sent[2]));
        assert_eq!((answer, message.unwrap().0), (Answer::Complete, ShardId(3)));
        assert_eq!(at(&mut staging, 0, FROM, begin(8, &sent)), Answer::Busy);
        assert!(staging.take_whole(SnapshotId { index: 8, ..id }).is_none());
        assert_eq!(staging.take_whole(id).unwrap().chunks, sent);
        assert_eq!(at(&mut staging, 0, FROM, begin(8, &sent)), Answer::Next(0));
    }

    #[test]
    fn what_does_not_hold_is_refused() {
        let mut staging = Staging::new(NODE, 250);
        let refused = |answer: Answer, part: &str| match answer {
            Answer::Refused(text) => assert!(text.contains(part), "{text}"),
            other => panic!("{other:?}"),
        };
        let sent = chunks(2);
        refused(at(&mut staging, 0, FROM, piece(7, 0, &sent[0])), "not known here");
        refused(at(&mut staging, 0, NodeId(3), begin(7, &sent)), "does not read");
        at(&mut staging, 0, FROM, begin(7, &sent));
        let wrong = Chunk {
            sum: [0; 32],
            ..sent[0].clone()
        };
        refused(
            at(&mut staging, 0, FROM, piece(7, 0, &wrong)),
            "does not match its checksum",
        );
        assert_eq!(at(&mut staging, 0, FROM, piece(7, 0, &sent[0])), Answer::Next(1));
        // Each holds, but not together.
        refused(
            at(&mut staging, 0, FROM, piece(7, 1, &sent[0])),
            "does not match its digest",
        );
        let large = chunks(3);
        at(&mut staging, 0, FROM, begin(8, &large));
        at(&mut staging, 0, FROM, piece(8, 0, &large[0]));
        at(&mut staging, 0, FROM, piece(8, 1, &large[1]));
        refused(at(&mut staging, 0, FROM, piece(8, 2, &large[2])), "max_snapshot_bytes");
    }

    #[test]
    fn one_that_got_stuck_makes_room() {
        let mut staging = Staging::new(NODE, 1000);
        let sent = chunks(2);
        at(&mut staging, 0, FROM, begin(7, &sent));
        assert_eq!(at(&mut staging, 9, FROM, begin(8, &sent)), Answer::Busy);
        assert_eq!(at(&mut staging, 10, FROM, begin(8, &sent)), Answer::Next(0));
    }
}
