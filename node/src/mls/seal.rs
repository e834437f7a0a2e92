//! The key under which the nodes keep the hub's MLS keys in their meta group.
//!
//! The operator makes it and gives it to every node; it never leaves a node, and nothing in the cluster's stores can be
//! opened without it. AES-256-GCM; what is sealed is the nonce and the ciphertext.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::random::OpenMlsRand;
use openmls_traits::types::{AeadType, CryptoError};
use sha2::{Digest, Sha256};

use super::crypto;

const NONCE: usize = 12;
const AEAD: AeadType = AeadType::Aes256Gcm;

/// The operator's key. Never printed.
pub(crate) struct SealKey([u8; 32]);

/// Why the key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file cannot be read.
    #[error("cluster.seal_key: cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("cluster.seal_key: {0} has to hold 32 random bytes in base64: make it with `openssl rand -base64 32`")]
    Format(PathBuf),
    /// Something was sealed with another key, or is damaged.
    #[error("what the cluster has sealed cannot be opened with cluster.seal_key: give this node the key of the others")]
    Opened,
    /// The cryptography provider fails.
    #[error("cannot seal: {0:?}")]
    Crypto(CryptoError),
}

impl SealKey {
    /// Reads the key from its file.
    pub(crate) fn read(path: &Path) -> Result<Self, SealError> {
        let text = fs::read_to_string(path).map_err(|source| SealError::Read {
            path: path.to_owned(),
            source,
        })?;
        let bytes = STANDARD.decode(text.trim()).ok();
        let key = bytes.and_then(|bytes| bytes.try_into().ok());
        key.map(SealKey).ok_or_else(|| SealError::Format(path.to_owned()))
    }

    /// Tells clusters with different keys apart, and nothing about the key.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        Sha256::new_with_prefix(b"mimi-hub seal key")
            .chain_update(self.0)
            .finalize()
            .into()
    }

    pub(crate) fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE] = crypto::provider()
            .random_array()
            .map_err(|_| SealError::Crypto(CryptoError::InsufficientRandomness))?;
        let sealed = crypto::provider().aead_encrypt(AEAD, &self.0, plaintext, &nonce, &[]);
        Ok([&nonce[..], &sealed.map_err(SealError::Crypto)?].concat())
    }

    pub(crate) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE).ok_or(SealError::Opened)?;
        let opened = crypto::provider().aead_decrypt(AEAD, &self.0, ciphertext, nonce, &[]);
        opened.map_err(|_| SealError::Opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(folder: &Path, text: &str) -> Result<SealKey, SealError> {
        let path = folder.join("seal.key");
        fs::write(&path, text).unwrap();
        SealKey::read(&path)
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_only_and_unchanged_only() {
        let folder = tempfile::tempdir().unwrap();
        let ours = key(folder.path(), &STANDARD.encode([7; 32])).unwrap();
        let other = key(folder.path(), &(STANDARD.encode([8; 32]) + "\n")).unwrap();
        let sealed = ours.seal(b"secret").unwrap();
        assert_ne!(sealed, ours.seal(b"secret").unwrap());
        assert_eq!(ours.open(&sealed).unwrap(), b"secret");
        assert!(matches!(other.open(&sealed), Err(SealError::Opened)));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(ours.open(&changed).is_err() && ours.open(&sealed[..at]).is_err());
        }
        assert_ne!(ours.fingerprint(), other.fingerprint());
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for wrong in ["", "no base64!", "c2hvcnQ="] {
            assert!(
                matches!(key(folder.path(), wrong), Err(SealError::Format(_))),
                "{wrong}"
            );
        }
        assert!(matches!(
            SealKey::read(&folder.path().join("none")),
            Err(SealError::Read { .. })
        ));
    }
}
