//! What goes over a connection: frames of `length (4 bytes, big endian) | version (1) | kind (1) | body`, where the length
//! counts everything after it.
//!
//! Invariant: no more memory is taken than bytes have arrived, whatever the length says, and never more than the limit.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The version of this layout.
pub(super) const VERSION: u8 = 1;
/// Version and kind.
const HEADER: usize = 2;
/// Bytes of one frame's body that any node takes: a frame of Raft messages has at most one large entry.
pub(super) const MAX_BODY: usize = 40 << 20;
/// Bytes of a frame's body before the peer is known.
pub(super) const MAX_HELLO: usize = 4 << 10;
/// Bytes that are made room for at a time.
const STEP: usize = 64 << 10;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The first frame of the dialer.
    Hello = 1,
    /// The acceptor takes the dialer in.
    Welcome = 2,
    /// The acceptor does not: the body is the reason, in words.
    Refusal = 3,
    /// Says that the dialer lives.
    Ping = 4,
    /// Says that the acceptor lives.
    Pong = 5,
    /// Raft messages.
    Raft = 6,
    /// A request: id (8 bytes), milliseconds that are left for it (4 bytes), body.
    Request = 7,
    /// Its response: id (8 bytes), body.
    Response = 8,
    /// A request was not taken: id (8 bytes).
    Busy = 9,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Hello,
            Self::Welcome,
            Self::Refusal,
            Self::Ping,
            Self::Pong,
            Self::Raft,
            Self::Request,
            Self::Response,
            Self::Busy,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the other side closed the connection")]
    Closed,
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("a frame does not read: the connection is damaged, or the other side is not a node of this software")]
    Malformed,
    #[error("a frame of {length} bytes, at most {limit} are taken: both nodes need the same release")]
    TooLarge { length: usize, limit: usize },
    #[error("frames of version {theirs}, this node knows {VERSION}: {}", which_to_upgrade(*.theirs))]
    Version { theirs: u8 },
    #[error("nothing was heard for too long")]
    Silent,
}

fn which_to_upgrade(theirs: u8) -> &'static str {
    if theirs > VERSION {
        "upgrade this node"
    } else {
        "upgrade the other node"
    }
}

/// Lays out a frame, to be written as a whole.
pub(super) fn frame(kind: Kind, parts: &[&[u8]]) -> Bytes {
    let body: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = BytesMut::with_capacity(4 + HEADER + body);
    // Whoever makes a body keeps to `MAX_BODY`.
    bytes.put_u32((HEADER + body) as u32);
    bytes.put_u8(VERSION);
    bytes.put_u8(kind as u8);
    for part in parts {
        bytes.put_slice(part);
    }
    bytes.freeze()
}

/// Reads the next frame.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), limit: usize) -> Result<(Kind, Bytes), WireError> {
    let mut length = [0; 4];
    if let Err(error) = stream.read_exact(&mut length).await {
        return Err(closed_or(error));
    }
    let length = u32::from_be_bytes(length) as usize;
    if length < HEADER {
        return Err(WireError::Malformed);
    }
    let mut bytes = BytesMut::new();
    read_up_to(stream, &mut bytes, HEADER).await?;
    let (version, kind) = (bytes.get_u8(), bytes.get_u8());
    if version != VERSION {
        return Err(WireError::Version { theirs: version });
    }
    let length = length - HEADER;
    if length > limit {
        return Err(WireError::TooLarge { length, limit });
    }
    let kind = Kind::from_byte(kind).ok_or(WireError::Malformed)?;
    read_up_to(stream, &mut bytes, length).await?;
    Ok((kind, bytes.freeze()))
}

/// Reads until `bytes` holds `length`.
async fn read_up_to(
    stream: &mut (impl AsyncRead + Unpin),
    bytes: &mut BytesMut,
    length: usize,
) -> Result<(), WireError> {
    while bytes.len() < length {
        let missing = length - bytes.len();
        bytes.reserve(missing.min(STEP));
        if stream.take(missing as u64).read_buf(bytes).await? == 0 {
            return Err(WireError::Closed);
        }
    }
    Ok(())
}

/// Writes a frame, without flushing it.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> Result<(), WireError> {
    stream.write_all(frame).await.map_err(closed_or)
}

fn closed_or(error: io::Error) -> WireError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => WireError::Closed,
        _ => WireError::Io(error),
    }
}

/// Splits a number of 8 bytes off the front.
pub(super) fn split_id(body: &mut Bytes) -> Result<u64, WireError> {
    body.try_get_u64().map_err(|_| WireError::Malformed)
}

/// Splits a number of 4 bytes off the front.
pub(super) fn split_millis(body: &mut Bytes) -> Result<u32, WireError> {
    body.try_get_u32().map_err(|_| WireError::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_now(mut bytes: &[u8], limit: usize) -> Result<(Kind, Bytes), WireError> {
        block_on(read(&mut bytes, limit))
    }

    /// Reading from a slice never waits.
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn a_frame_reads_as_written() {
        for (kind, parts) in [(Kind::Ping, vec![]), (Kind::Request, vec![&b"one"[..], b"", b"two"])] {
            let (read, body) = read_now(&frame(kind, &parts), 6).unwrap();
            assert_eq!((read, body.to_vec()), (kind, parts.concat()));
        }
    }

    #[test]
    fn what_is_wrong_with_a_frame_is_said() {
        let good = frame(Kind::Raft, &[b"body"]);
        for length in 0..good.len() {
            assert!(matches!(read_now(&good[..length], 9), Err(WireError::Closed)));
        }
        assert!(matches!(
            read_now(&good, 3),
            Err(WireError::TooLarge { length: 4, limit: 3 })
        ));
        let changed = |at: usize, to: u8| {
            let mut bytes = good.to_vec();
            bytes[at] = to;
            read_now(&bytes, 9).unwrap_err().to_string()
        };
        assert!(changed(4, 9).contains("upgrade this node"));
        assert!(changed(4, 0).contains("upgrade the other node"));
        assert!(changed(5, 99).contains("does not read"));
        assert!(changed(3, 1).contains("does not read"));
        assert!(changed(0, 0xff).contains("at most 9 are taken"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read_now(&bytes, MAX_HELLO);
        }
    }
}
