//! A run of pairs: `format version (1)`, then each pair as length of the key (4 bytes), key, length of the value (4), value.
//! Keys are relative to the shard, with their namespace, and ascend over all chunks.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};

const VERSION: u8 = 1;
/// Bytes from which on a chunk takes no further pair.
pub(crate) const FULL: usize = 1 << 20;

/// A chunk and its checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    /// SHA-256 of the bytes.
    pub(crate) sum: [u8; 32],
}

/// SHA-256 over the checksums of all chunks, in order.
pub(crate) fn digest_of(chunks: &[Chunk]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for chunk in chunks {
        hash.update(chunk.sum);
    }
    hash.finalize().into()
}

impl Chunk {
    /// Takes in bytes that have arrived; `None` when they do not have that checksum.
    pub(super) fn checked(bytes: Bytes, sum: [u8; 32]) -> Option<Self> {
        (Sha256::digest(&bytes).as_slice() == sum).then_some(Self { bytes, sum })
    }

    /// The pairs; `None` when it does not read.
    pub(super) fn pairs(&self) -> Option<Vec<(Bytes, Bytes)>> {
        let mut rest = self.bytes.clone();
        if rest.try_get_u8().ok()? != VERSION {
            return None;
        }
        let mut pairs = Vec::new();
        while rest.has_remaining() {
            pairs.push((split(&mut rest)?, split(&mut rest)?));
        }
        Some(pairs)
    }
}

fn split(rest: &mut Bytes) -> Option<Bytes> {
    let length = rest.try_get_u32().ok()? as usize;
    (length <= rest.len()).then(|| rest.split_to(length))
}

/// Collects pairs into chunks.
pub(super) struct Chunks {
    full: usize,
    done: Vec<Chunk>,
    open: BytesMut,
    bytes: u64,
}

impl Chunks {
    /// Chunks of `full` bytes, and whatever the pair has that fills them.
    pub(super) fn new(full: usize) -> Self {
        Self {
            full,
            done: Vec::new(),
            open: BytesMut::new(),
            bytes: 0,
        }
    }

    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        if self.open.is_empty() {
            self.open.put_u8(VERSION);
        }
        for part in [key, value] {
            // No store holds a key or a value of 4 GiB.
            self.open.put_u32(part.len() as u32);
            self.open.put_slice(part);
            self.bytes += part.len() as u64;
        }
        if self.open.len() >= self.full {
            self.close();
        }
    }

    /// Bytes of keys and values.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn finish(mut self) -> Vec<Chunk> {
        if !self.open.is_empty() {
            self.close();
        }
        self.done
    }

    fn close(&mut self) {
        let bytes = self.open.split().freeze();
        let sum = Sha256::digest(&bytes).into();
        self.done.push(Chunk { bytes, sum });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pairs_read_as_written(
            pairs in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..9), 0_usize..700_000), 0..9)
        ) {
            let pairs: Vec<_> = pairs.into_iter().map(|(key, length)| (key, vec![7; length])).collect();
            let mut chunks = Chunks::new(FULL);
            for (key, value) in &pairs {
                chunks.push(key, value);
            }
            let chunks = chunks.finish();
            let read: Vec<_> = chunks.iter().flat_map(|chunk| chunk.pairs().unwrap()).collect();
            let read: Vec<_> = read.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(read, pairs);
            prop_assert!(chunks.iter().all(|chunk| chunk.bytes.len() < FULL + 700_100));
            let arrived = chunks.iter().map(|chunk| Chunk::checked(chunk.bytes.clone(), chunk.sum));
            prop_assert!(arrived.eq(chunks.iter().cloned().map(Some)));
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let sum = Sha256::digest(&bytes).into();
            Chunk::checked(bytes.clone().into(), sum).unwrap().pairs();
            let versioned: Bytes = [&[VERSION][..], &bytes].concat().into();
            let sum = Sha256::digest(&versioned).into();
            Chunk::checked(versioned, sum).unwrap().pairs();
        }
    }

    #[test]
    fn a_chunk_that_changed_on_its_way_is_not_taken() {
        let mut chunks = Chunks::new(FULL);
        chunks.push(b"key", b"value");
        let chunk = chunks.finish().remove(0);
        for at in 0..chunk.bytes.len() {
            let mut bytes = chunk.bytes.to_vec();
            bytes[at] ^= 1;
            assert_eq!(Chunk::checked(bytes.into(), chunk.sum), None);
        }
    }
}
