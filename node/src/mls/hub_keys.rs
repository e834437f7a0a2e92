//! The hub's own MLS keys: one signature key pair a signature scheme. With them the hub is an external sender of its rooms
//! and signs GroupInfo responses.
//!
//! They are made at the first start and kept in the data folder, readable by the owner only; several nodes have the same
//! ones, in a file of its own. Clients pin the public key in their groups' `external_senders`: a hub that loses the file can
//! no longer speak in the rooms made before.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use mimi_hub_proto::uri::ProviderDomain;
use mimi_hub_storage::DataDir;
use openmls::credentials::BasicCredential;
use openmls::extensions::ExternalSender;
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::signatures::{Signer, SignerError};
use openmls_traits::types::{CryptoError, SignatureScheme};
use serde::{Deserialize, Serialize};
use tls_codec::Serialize as _;

use super::crypto;

/// The file's name in the data folder.
const FILE: &str = "hub-keys.json";

/// Those of the cipher suites that rooms may have.
const SCHEMES: [SignatureScheme; 2] = [SignatureScheme::ED25519, SignatureScheme::ECDSA_SECP256R1_SHA256];

/// The hub's signature keys. Never printed.
pub struct HubKeys {
    domain: ProviderDomain,
    pairs: Vec<KeyPair>,
}

#[derive(Serialize, Deserialize)]
struct KeyPair {
    scheme: u16,
    public: Vec<u8>,
    private: Vec<u8>,
}

/// Why the hub's keys are not there.
#[derive(Debug, thiserror::Error)]
pub enum HubKeysError {
    /// Key generation or use failed.
    #[error("the hub's keys: {0:?}")]
    Crypto(CryptoError),
    /// The file is damaged.
    #[error(
        "{path} does not hold the hub's keys ({error}): restore it from a backup; do not delete it, rooms refer to it"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// There is a log, but no keys: its rooms were made with others than would be made now.
    #[error("{path} is missing, and rooms refer to the keys in it: restore it from a backup")]
    Lost {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        error: std::io::Error,
    },
    /// No key for this signature scheme.
    #[error("the hub has no key for signature scheme {0:?}")]
    Scheme(SignatureScheme),
}

impl HubKeys {
    /// Reads the keys from the file, or makes them. Of several nodes that make them at the same time, one does.
    ///
    /// # Errors
    /// A file that cannot be read, written or understood.
    pub fn open(path: &Path, domain: &ProviderDomain) -> Result<Self, HubKeysError> {
        let path = path.to_owned();
        let damaged = |error: String| HubKeysError::Damaged {
            path: path.clone(),
            error,
        };
        let pairs = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                write(&path, &generate()?)?;
                let bytes = fs::read(&path).map_err(|error| HubKeysError::Io {
                    path: path.clone(),
                    error,
                })?;
                serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?
            }
            Err(error) => return Err(HubKeysError::Io { path, error }),
        };
        let keys = HubKeys {
            domain: domain.clone(),
            pairs,
        };
        keys.prove().map_err(|error| damaged(error.to_string()))?;
        Ok(keys)
    }

    /// The keys of a lone node, which it keeps in its data folder. They are made as long as there is no log.
    ///
    /// # Errors
    /// As for [`HubKeys::open`], and keys that were there once are gone.
    pub fn open_in(data: &DataDir, domain: &ProviderDomain) -> Result<Self, HubKeysError> {
        let path = data.path().join(FILE);
        if data.log_path().exists() && !path.exists() {
            return Err(HubKeysError::Lost { path });
        }
        HubKeys::open(&path, domain)
    }

    /// Every scheme has a key, and its two halves fit: a signature that nobody can verify would be noticed by clients only.
    fn prove(&self) -> Result<(), HubKeysError> {
        for scheme in SCHEMES {
            let signature = self.sign(scheme, "HubKeys", b"proof")?;
            crypto::verify_with_label(scheme, self.public(scheme)?, "HubKeys", b"proof", &signature)
                .map_err(HubKeysError::Crypto)?;
        }
        Ok(())
    }

    /// Keys that live in memory only, for tests and benches.
    ///
    /// # Errors
    /// Key generation fails.
    pub fn ephemeral(domain: &ProviderDomain) -> Result<Self, HubKeysError> {
        Ok(HubKeys {
            domain: domain.clone(),
            pairs: generate()?,
        })
    }

    /// The public key for a signature scheme.
    ///
    /// # Errors
    /// No such key.
    pub fn public(&self, scheme: SignatureScheme) -> Result<&[u8], HubKeysError> {
        Ok(&self.pair(scheme)?.public)
    }

    /// The public keys, in the file's order.
    pub fn publics(&self) -> impl Iterator<Item = &[u8]> {
        self.pairs.iter().map(|pair| &*pair.public)
    }

    /// The ExternalSender struct (RFC 9420, 12.1.8.1) that stands for this hub in a group of this signature scheme. Its
    /// credential is the provider's MIMI URI.
    ///
    /// # Errors
    /// No such key.
    pub fn external_sender(&self, scheme: SignatureScheme) -> Result<Vec<u8>, HubKeysError> {
        let credential = BasicCredential::new(format!("mimi://{}", self.domain).into_bytes());
        let sender = ExternalSender::new(self.pair(scheme)?.public.clone().into(), credential.into());
        sender
            .tls_serialize_detached()
            .map_err(|_| HubKeysError::Crypto(CryptoError::CryptoLibraryError))
    }

    /// SignWithLabel with the hub's key.
    ///
    /// # Errors
    /// No such key.
    pub fn sign(&self, scheme: SignatureScheme, label: &str, content: &[u8]) -> Result<Vec<u8>, HubKeysError> {
        crypto::sign_with_label(scheme, &self.pair(scheme)?.private, label, content).map_err(HubKeysError::Crypto)
    }

    /// Signs as the hub where openmls frames what is signed.
    ///
    /// # Errors
    /// No such key.
    pub(crate) fn signer(&self, scheme: SignatureScheme) -> Result<HubSigner<'_>, HubKeysError> {
        self.pair(scheme).map(HubSigner)
    }

    fn pair(&self, scheme: SignatureScheme) -> Result<&KeyPair, HubKeysError> {
        self.pairs
            .iter()
            .find(|pair| pair.scheme == scheme as u16)
            .ok_or(HubKeysError::Scheme(scheme))
    }
}

/// One of the hub's keys, for openmls.
pub(crate) struct HubSigner<'a>(&'a KeyPair);

impl Signer for HubSigner<'_> {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        crypto::provider()
            .sign(self.signature_scheme(), payload, &self.0.private)
            .map_err(SignerError::CryptoError)
    }

    fn signature_scheme(&self) -> SignatureScheme {
        let found = SCHEMES.into_iter().find(|scheme| *scheme as u16 == self.0.scheme);
        found.unwrap_or(SignatureScheme::ED25519)
    }
}

impl std::fmt::Debug for HubKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubKeys")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

fn generate() -> Result<Vec<KeyPair>, HubKeysError> {
    SCHEMES
        .into_iter()
        .map(|scheme| {
            let (private, public) = crypto::provider()
                .signature_key_gen(scheme)
                .map_err(HubKeysError::Crypto)?;
            Ok(KeyPair {
                scheme: scheme as u16,
                public,
                private,
            })
        })
        .collect()
}

/// Written beside and put in place whole, so that a crash leaves no half file.
fn write(path: &Path, pairs: &[KeyPair]) -> Result<(), HubKeysError> {
    let io = |error| HubKeysError::Io {
        path: path.to_owned(),
        error,
    };
    let bytes = serde_json::to_vec(pairs).map_err(|error| io(error.into()))?;
    let beside = path.with_extension(format!("new.{}", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(io)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(io)?;
    // A link does not replace what another node has made meanwhile.
    let linked = fs::hard_link(&beside, path);
    fs::remove_file(&beside).map_err(io)?;
    if let Err(error) = linked
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(io(error));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

#[cfg(test)]
mod tests {
    use mimi_hub_storage::{ClusterId, Identity};

    use super::*;

    #[test]
    fn keys_survive_a_restart_and_are_private_to_the_owner() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let domain: ProviderDomain = "a.example".parse().unwrap();
        let first = HubKeys::open(&folder.path().join(FILE), &domain).unwrap();
        let again = HubKeys::open(&folder.path().join(FILE), &domain).unwrap();
        let scheme = SignatureScheme::ED25519;
        assert_eq!(first.public(scheme).unwrap(), again.public(scheme).unwrap());
        let signature = again.sign(scheme, "GroupInfoResponseTBS", b"content").unwrap();
        crypto::verify_with_label(
            scheme,
            first.public(scheme).unwrap(),
            "GroupInfoResponseTBS",
            b"content",
            &signature,
        )
        .unwrap();
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn lost_keys_are_not_made_anew_once_there_are_rooms() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity {
            cluster: ClusterId([1; 16]),
            node: 1,
        };
        let data = DataDir::open(folder.path(), identity).unwrap();
        let domain = "a.example".parse().unwrap();
        HubKeys::open_in(&data, &domain).unwrap();
        fs::create_dir(data.log_path()).unwrap();
        HubKeys::open_in(&data, &domain).unwrap();
        fs::remove_file(folder.path().join(FILE)).unwrap();
        let error = HubKeys::open_in(&data, &domain).unwrap_err();
        assert!(matches!(error, HubKeysError::Lost { .. }), "{error}");
    }

    #[test]
    fn a_damaged_file_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let domain = "a.example".parse().unwrap();
        let mut pairs = generate().unwrap();
        let key_of_another = generate().unwrap().remove(0).public;
        pairs[0].public = key_of_another;
        let mixed = serde_json::to_vec(&pairs).unwrap();
        for damaged in [b"{".as_slice(), b"", b"[]", &mixed] {
            fs::write(folder.path().join(FILE), damaged).unwrap();
            let error = HubKeys::open(&folder.path().join(FILE), &domain).unwrap_err();
            assert!(matches!(error, HubKeysError::Damaged { .. }), "{error}");
            assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), damaged);
        }
    }
}
