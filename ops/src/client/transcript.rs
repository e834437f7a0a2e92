//! What a client has seen happen in a room, and how it tells new from seen.

use std::collections::{HashSet, VecDeque};

use mimi_hub_proto::content::ExternalPart;
use mimi_hub_proto::uri::{ClientUri, UserUri};
use sha2::{Digest as _, Sha256};

/// One application message, sent or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptEntry {
    /// The user, from the sender's credential.
    pub user: UserUri,
    /// The client, from the sender's credential.
    pub client: ClientUri,
    /// The text of the content's first text part; empty when there is none.
    pub text: String,
    /// The content that is elsewhere, where the message has that alone.
    pub external: Option<Box<ExternalPart>>,
    /// The salt of the content: the sender drew it for this message alone.
    pub salt: Vec<u8>,
    /// The epoch in which it was encrypted.
    pub epoch: u64,
    /// When the hub accepted it, in milliseconds since the UNIX epoch.
    pub accepted_ms: u64,
}

/// SHA-256 of an MLSMessage: what makes two deliveries the same.
pub(super) type MessageDigest = [u8; 32];

pub(super) fn digest(message: &[u8]) -> MessageDigest {
    Sha256::digest(message).into()
}

/// The messages of a room that came lately, so that one that comes again is known.
#[derive(Debug, Default)]
pub(super) struct Seen {
    order: VecDeque<MessageDigest>,
    digests: HashSet<MessageDigest>,
}

impl Seen {
    /// Well beyond what a failover or a re-read cursor brings again at once.
    const LEN_MAX: usize = 16_384;

    /// Remembers the message; false when it is known already.
    pub(super) fn insert(&mut self, digest: MessageDigest) -> bool {
        if !self.digests.insert(digest) {
            return false;
        }
        self.order.push_back(digest);
        if self.order.len() > Self::LEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.digests.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_new_once() {
        let mut seen = Seen::default();
        assert!(seen.insert(digest(b"one")));
        assert!(seen.insert(digest(b"two")));
        assert!(!seen.insert(digest(b"one")));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut seen = Seen::default();
        let messages = Seen::LEN_MAX + 1;
        for number in 0..messages {
            assert!(seen.insert(digest(&number.to_be_bytes())));
        }
        assert_eq!(seen.digests.len(), Seen::LEN_MAX);
        assert!(!seen.insert(digest(&1usize.to_be_bytes())));
        assert!(seen.insert(digest(&0usize.to_be_bytes())));
    }
}
