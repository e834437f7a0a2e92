//! The `hub_key`s of franking (draft-ietf-mimi-protocol, 5.4.1): secret symmetric keys by which the hub knows its own
//! franks again.
//!
//! The newest one stamps. The others are kept: a message may be reported long after the key has been replaced.

use openmls_traits::random::OpenMlsRand;
use openmls_traits::types::CryptoError;
use serde::{Deserialize, Serialize};

use super::crypto;

/// The octets of a key: those of the HMAC's output.
const KEY_LEN: usize = 32;

/// How many keys are kept. With one a month, they last for decades.
pub(crate) const KEYS_MAX: usize = 1_000;

/// All franking keys, the newest last. Never printed.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct FrankingKeys(Vec<FrankingKey>);

#[derive(Clone, Serialize, Deserialize)]
struct FrankingKey {
    id: u64,
    key: Vec<u8>,
}

impl FrankingKeys {
    /// A first key.
    pub(crate) fn generate() -> Result<Self, CryptoError> {
        Ok(FrankingKeys(vec![FrankingKey {
            id: 1,
            key: random_key()?,
        }]))
    }

    /// One key, made of these octets.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn of(octets: &[u8]) -> Self {
        let key = octets.iter().copied().cycle().take(KEY_LEN).collect();
        FrankingKeys(vec![FrankingKey { id: 1, key }])
    }

    /// The same with a new key, which stamps from now on; `None` when there are [`KEYS_MAX`].
    pub(crate) fn rotated(&self) -> Result<Option<Self>, CryptoError> {
        if self.0.len() >= KEYS_MAX {
            return Ok(None);
        }
        let mut keys = self.clone();
        keys.0.push(FrankingKey {
            id: self.newest_id() + 1,
            key: random_key()?,
        });
        Ok(Some(keys))
    }

    /// There is a key, all are whole, and each has a number of its own.
    pub(crate) fn are_sound(&self) -> bool {
        let ascending = self.0.windows(2).all(|pair| pair[0].id < pair[1].id);
        !self.0.is_empty() && ascending && self.0.iter().all(|key| key.key.len() == KEY_LEN)
    }

    /// The number of the key that stamps.
    pub(crate) fn newest_id(&self) -> u64 {
        self.0.last().map_or(0, |key| key.id)
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The stamp on `input`, under the newest key.
    pub(crate) fn stamp(&self, input: &[u8]) -> Result<[u8; 32], CryptoError> {
        let newest = self.0.last().ok_or(CryptoError::CryptoLibraryError)?;
        crypto::hmac_sha256(&newest.key, input)
    }

    /// Has one of the keys stamped `input`?
    pub(crate) fn have_stamped(&self, input: &[u8], stamp: &[u8; 32]) -> Result<bool, CryptoError> {
        for key in self.0.iter().rev() {
            let ours = crypto::hmac_sha256(&key.key, input)?;
            // Without a branch on the octets: how long a comparison takes tells nothing about the stamp.
            if ours
                .iter()
                .zip(stamp)
                .fold(0, |difference, (a, b)| difference | (a ^ b))
                == 0
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn random_key() -> Result<Vec<u8>, CryptoError> {
    let key = crypto::provider().random_vec(KEY_LEN);
    key.map_err(|_| CryptoError::InsufficientRandomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocol_5_4_1_old_keys_still_verify_after_a_rotation_and_the_new_one_stamps() {
        let first = FrankingKeys::generate().unwrap();
        let old = first.stamp(b"input").unwrap();
        let second = first.rotated().unwrap().unwrap();
        let new = second.stamp(b"input").unwrap();
        assert_ne!(old, new);
        assert!(second.have_stamped(b"input", &old).unwrap() && second.have_stamped(b"input", &new).unwrap());
        assert!(!second.have_stamped(b"other", &old).unwrap());
        assert!(!first.have_stamped(b"input", &new).unwrap(), "a key that is not known");
        assert_eq!((first.newest_id(), second.newest_id(), second.len()), (1, 2, 2));
        assert!(first.are_sound() && second.are_sound());
    }

    #[test]
    fn lists_without_keys_with_short_ones_or_with_one_number_twice_are_not_sound() {
        let keys = FrankingKeys::generate().unwrap();
        assert!(!FrankingKeys(Vec::new()).are_sound());
        assert!(!FrankingKeys([keys.0.clone(), keys.0.clone()].concat()).are_sound());
        let short = FrankingKey {
            id: 2,
            key: vec![1; 31],
        };
        assert!(!FrankingKeys([keys.0, vec![short]].concat()).are_sound());
    }

    #[test]
    fn only_so_many_keys_are_kept() {
        let full = FrankingKeys(
            (1..=KEYS_MAX as u64)
                .map(|id| FrankingKey { id, key: vec![7; 32] })
                .collect(),
        );
        assert!(full.rotated().unwrap().is_none());
    }
}
