//! How Raft's messages are laid out between nodes.
//!
//! A frame is a format version byte, then messages, each as shard (4 bytes), length (4 bytes), both big endian, and the
//! Raft message in its protobuf form. Everything that one step of a node says to another node, of all shards, travels in
//! one frame, or in a few when it is much.

use protobuf::Message as _;
use raft::eraftpb::Message;

use crate::config::NodeId;
use crate::core::Frame;
use crate::shard::ShardId;

const VERSION: u8 = 1;
/// Length of what stands before a message.
const MESSAGE_HEADER: usize = 8;
/// Bytes from which on a frame takes no further message.
const FULL_FRAME: usize = 4 << 20;

/// A frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// It does not read.
    #[error("the frame does not read")]
    Malformed,
    /// Too much is waiting already. The sender sends again what matters.
    #[error("too much is waiting already")]
    Overloaded,
    /// Its format version is not known here.
    #[error("frame format version {0} is not known")]
    Version(u8),
}

/// Lays out a frame.
pub(crate) fn encode(frame: &Frame) -> Result<Vec<Vec<u8>>, protobuf::ProtobufError> {
    let mut frames = Vec::new();
    let mut bytes = vec![VERSION];
    for (shard, message) in &frame.messages {
        let message = message.write_to_bytes()?;
        if bytes.len() > 1 && bytes.len() + MESSAGE_HEADER + message.len() > FULL_FRAME {
            frames.push(std::mem::replace(&mut bytes, vec![VERSION]));
        }
        // Protobuf itself takes no message of 2 GiB.
        let length = message.len() as u32;
        bytes.extend_from_slice(&shard.0.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&message);
    }
    frames.push(bytes);
    Ok(frames)
}

/// Reads a frame that `from` sent to `to`.
pub(crate) fn decode(from: NodeId, to: NodeId, frame: &[u8]) -> Result<Frame, DeliverError> {
    let mut rest = match frame.split_first() {
        Some((&VERSION, rest)) => rest,
        Some((&version, _)) => return Err(DeliverError::Version(version)),
        None => return Err(DeliverError::Malformed),
    };
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let (shard, after) = split_number(rest).ok_or(DeliverError::Malformed)?;
        let (length, after) = split_number(after).ok_or(DeliverError::Malformed)?;
        let (message, after) = after.split_at_checked(length as usize).ok_or(DeliverError::Malformed)?;
        let message = Message::parse_from_bytes(message).map_err(|_| DeliverError::Malformed)?;
        messages.push((ShardId(shard), message));
        rest = after;
    }
    Ok(Frame { from, to, messages })
}

fn split_number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use raft::eraftpb::{Entry, MessageType};

    use super::*;

    fn frame(messages: u32, bytes: usize) -> Frame {
        let message = |shard| {
            let entry = Entry {
                index: 7,
                term: 3,
                data: vec![1; bytes].into(),
                ..Entry::default()
            };
            let mut message = Message {
                from: 1,
                to: 2,
                term: 3,
                ..Message::default()
            };
            message.set_msg_type(MessageType::MsgAppend);
            message.set_entries(vec![entry].into());
            (ShardId(shard), message)
        };
        Frame {
            from: NodeId(1),
            to: NodeId(2),
            messages: (0..messages).map(message).collect(),
        }
    }

    #[test]
    fn a_frame_reads_as_written_whole_or_in_parts() {
        for (messages, bytes, parts) in [(0, 0, 1), (3, 10, 1), (5, 1 << 20, 2), (2, 5 << 20, 2)] {
            let sent = frame(messages, bytes);
            let encoded = encode(&sent).unwrap();
            assert_eq!(encoded.len(), parts);
            let read = encoded
                .iter()
                .flat_map(|part| decode(NodeId(1), NodeId(2), part).unwrap().messages);
            assert_eq!(read.collect::<Vec<_>>(), sent.messages);
        }
    }

    #[test]
    fn what_does_not_read_is_refused() {
        let good = encode(&frame(1, 10)).unwrap().remove(0);
        let read = |bytes: &[u8]| decode(NodeId(1), NodeId(2), bytes);
        assert_eq!(read(&[]), Err(DeliverError::Malformed));
        assert_eq!(read(&[9]), Err(DeliverError::Version(9)));
        for length in 2..good.len() {
            assert_eq!(
                read(&good[..length]),
                Err(DeliverError::Malformed),
                "the first {length} bytes"
            );
        }
        let huge = [&[VERSION][..], &[0; 4], &[0xff; 4], &[0; 100]].concat();
        assert_eq!(read(&huge), Err(DeliverError::Malformed));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let versioned = [&[VERSION][..], &bytes].concat();
            let _ = decode(NodeId(1), NodeId(2), &bytes);
            let _ = decode(NodeId(1), NodeId(2), &versioned);
        }
    }
}
