//! Which shard a key belongs to.

use std::fmt;

use sha2::{Digest, Sha256};

/// The number of a shard, `0 .. shards`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {}", self.0)
    }
}

/// The shard of `key` in a cluster of `shards` shards: the first 8 bytes of SHA-256 of the key, read as a big-endian
/// number, modulo `shards`.
///
/// Data on disk depends on it: it never changes, and neither does a cluster's number of shards. With `shards` = 0, which
/// no cluster has, everything is in shard 0.
pub fn shard_of(key: &[u8], shards: u32) -> ShardId {
    let digest = Sha256::digest(key);
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    let shard = u64::from_be_bytes(head) % u64::from(shards.max(1));
    // Smaller than `shards`, which is a `u32`.
    ShardId(shard as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checked against `printf %s KEY | sha256sum | cut -c1-16`.
    #[test]
    fn the_hash_is_the_documented_one() {
        for (key, head) in VECTORS {
            for shards in [1, 2, 3, 64, 1000, u32::MAX] {
                assert_eq!(
                    u64::from(shard_of(key.as_bytes(), shards).0),
                    head % u64::from(shards),
                    "{key} of {shards}"
                );
            }
        }
    }

    const VECTORS: [(&str, u64); 3] = [
        ("", 0xe3b0_c442_98fc_1c14),
        ("mimi://a.example/r/clubhouse", 0x8adc_163f_4c65_38f4),
        ("mimi://a.example/u/alice", 0x1476_f281_1dac_b90b),
    ];
}
