//! The hub's own keys: one MLS signature key pair a signature scheme, and the franking keys. With the former the hub is an
//! external sender of its rooms, signs GroupInfo responses, and is the franking agent; with the latter it stamps messages. And
//! the keys of its gateway of Oblivious HTTP.
//!
//! They are made at the first start and kept in the data folder, readable by the owner only; several nodes keep them in
//! their meta group, sealed ([`super::seal`]). Clients pin the public key in their groups'
//! `external_senders`: a hub that loses the keys can no longer speak in the rooms made before.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use ed25519_dalek::{Signer, SigningKey};
use mimi_hub_proto::mls::sign_content;
use mimi_hub_proto::uri::ProviderDomain;
use mimi_hub_storage::DataDir;
use openmls::credentials::BasicCredential;
use openmls::extensions::ExternalSender;
use openmls_traits::crypto::OpenMlsCrypto;
use openmls_traits::types::{CryptoError, SignatureScheme};
use serde::{Deserialize, Serialize};
use tls_codec::Serialize as _;

use super::crypto;
use super::franking_keys::FrankingKeys;
use super::ohttp_keys::OhttpKeys;

/// The file's name in the data folder.
const FILE: &str = "hub-keys.json";

/// Those of the cipher suites that rooms may have.
const SCHEMES: [SignatureScheme; 2] = [SignatureScheme::ED25519, SignatureScheme::ECDSA_SECP256R1_SHA256];

/// The hub's keys. Never printed.
pub struct HubKeys {
    domain: ProviderDomain,
    pairs: Vec<KeyPair>,
    /// The Ed25519 one, ready for use: openmls's provider derives the public key anew for each signature, which takes as long
    /// as the signature itself, and there is one for each franked message.
    ed25519: Option<SigningKey>,
    /// Replaced as a whole at a rotation.
    rotating: RwLock<Rotating>,
    /// The file, where one node has it for itself.
    own_file: Option<PathBuf>,
}

/// The keys that are replaced from time to time.
#[derive(Clone)]
struct Rotating {
    franking: Arc<FrankingKeys>,
    ohttp: Arc<OhttpKeys>,
}

/// Which of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Rotation {
    /// The franking keys.
    Franking,
    /// The keys of the gateway of Oblivious HTTP.
    Ohttp,
}

/// What is in the file.
#[derive(Serialize, Deserialize)]
struct Kept {
    signature: Vec<KeyPair>,
    franking: FrankingKeys,
    /// Missing in what was written before there was a gateway.
    #[serde(default)]
    ohttp: OhttpKeys,
}

#[derive(Clone, Serialize, Deserialize)]
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
    /// What the nodes keep does not read.
    #[error("the hub's keys that the nodes keep do not read: {0}")]
    Sealed(String),
    /// The keys are not kept in a file of this node's own: several nodes agree on new ones in their meta group.
    #[error("the hub's keys are not in a file of this node alone")]
    Shared,
    /// No more franking keys are kept.
    #[error("there are as many franking keys as are kept")]
    TooMany,
    /// No key for this signature scheme.
    #[error("the hub has no key for signature scheme {0:?}")]
    Scheme(SignatureScheme),
}

impl HubKeys {
    /// Reads the keys from the file, or makes them.
    ///
    /// # Errors
    /// A file that cannot be read, written or understood.
    pub fn open(path: &Path, domain: &ProviderDomain) -> Result<Self, HubKeysError> {
        let path = path.to_owned();
        let damaged = |error: String| HubKeysError::Damaged {
            path: path.clone(),
            error,
        };
        let kept: Kept = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                write(&path, &generate()?, IfThere::Keep)?;
                let bytes = fs::read(&path).map_err(|error| HubKeysError::Io {
                    path: path.clone(),
                    error,
                })?;
                serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?
            }
            Err(error) => return Err(HubKeysError::Io { path, error }),
        };
        let keys = HubKeys::of(domain, kept);
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
        let mut keys = HubKeys::open(&path, domain)?;
        keys.own_file = Some(path);
        if keys.ohttp().is_empty() {
            keys.rotate(Rotation::Ohttp)?;
        }
        Ok(keys)
    }

    fn of(domain: &ProviderDomain, kept: Kept) -> Self {
        let of_ed25519 = |pair: &&KeyPair| pair.scheme == SignatureScheme::ED25519 as u16;
        let ed25519 = kept.signature.iter().find(of_ed25519);
        HubKeys {
            domain: domain.clone(),
            ed25519: ed25519.and_then(|pair| SigningKey::try_from(pair.private.as_slice()).ok()),
            pairs: kept.signature,
            rotating: RwLock::new(Rotating {
                franking: Arc::new(kept.franking),
                ohttp: Arc::new(kept.ohttp),
            }),
            own_file: None,
        }
    }

    /// Every scheme has a key, and its two halves fit: a signature that nobody can verify would be noticed by clients only.
    fn prove(&self) -> Result<(), HubKeysError> {
        for scheme in SCHEMES {
            let signature = self.sign(scheme, "HubKeys", b"proof")?;
            crypto::verify_with_label(scheme, self.public(scheme)?, "HubKeys", b"proof", &signature)
                .map_err(HubKeysError::Crypto)?;
        }
        if self.franking().are_sound() && self.ohttp().are_sound() {
            Ok(())
        } else {
            Err(HubKeysError::Crypto(CryptoError::InvalidLength))
        }
    }

    /// The franking keys of this moment.
    pub(crate) fn franking(&self) -> Arc<FrankingKeys> {
        self.rotating().franking
    }

    /// The keys of the gateway of Oblivious HTTP of this moment.
    pub(crate) fn ohttp(&self) -> Arc<OhttpKeys> {
        self.rotating().ohttp
    }

    fn rotating(&self) -> Rotating {
        self.rotating.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of the newest key.
    pub(crate) fn newest_id(&self, which: Rotation) -> u64 {
        self.rotating().newest_id(which)
    }

    /// Makes a new key, which is used from now on; of the former ones are kept as many as are of use. Gives its number.
    ///
    /// # Errors
    /// The file cannot be written, or is not this node's alone; too many keys are kept.
    pub(crate) fn rotate(&self, which: Rotation) -> Result<u64, HubKeysError> {
        let mut rotating = self.rotating.write().unwrap_or_else(PoisonError::into_inner);
        let rotated = rotating.rotated(which)?;
        let path = self.own_file.as_ref().ok_or(HubKeysError::Shared)?;
        // Durable before it is used: a frank under a key that is lost could never be proven.
        write(path, &self.kept_with(&rotated), IfThere::Replace)?;
        let newest = rotated.newest_id(which);
        *rotating = rotated;
        Ok(newest)
    }

    fn kept_with(&self, rotating: &Rotating) -> Kept {
        Kept {
            signature: self.pairs.clone(),
            franking: (*rotating.franking).clone(),
            ohttp: (*rotating.ohttp).clone(),
        }
    }

    /// One key pair and one `hub_key`, so that a simulation can be repeated and a test vector be held to.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn of_pair(
        domain: &ProviderDomain,
        scheme: SignatureScheme,
        private: &[u8],
        public: &[u8],
        hub_key: &[u8],
    ) -> Self {
        let pair = KeyPair {
            scheme: scheme as u16,
            public: public.to_vec(),
            private: private.to_vec(),
        };
        let kept = Kept {
            signature: vec![pair],
            franking: FrankingKeys::of(hub_key),
            ohttp: OhttpKeys::of(private),
        };
        HubKeys::of(domain, kept)
    }

    /// The keys as the nodes seal them.
    ///
    /// # Errors
    /// None that can be told apart: they are always laid out.
    pub fn to_bytes(&self) -> Result<Vec<u8>, HubKeysError> {
        self.bytes_with(&self.rotating())
    }

    fn bytes_with(&self, rotating: &Rotating) -> Result<Vec<u8>, HubKeysError> {
        serde_json::to_vec(&self.kept_with(rotating)).map_err(|error| HubKeysError::Sealed(error.to_string()))
    }

    /// The keys as they would be with a new one, as the nodes seal them, and its number. Nothing is replaced yet.
    pub(crate) fn rotated_bytes(&self, which: Rotation) -> Result<(Vec<u8>, u64), HubKeysError> {
        let rotated = self.rotating().rotated(which)?;
        Ok((self.bytes_with(&rotated)?, rotated.newest_id(which)))
    }

    /// Takes over the rotating keys of others, which the nodes have agreed on.
    pub(crate) fn take_rotating(&self, others: &HubKeys) {
        *self.rotating.write().unwrap_or_else(PoisonError::into_inner) = others.rotating();
    }

    /// Reads what [`to_bytes`](Self::to_bytes) laid out.
    ///
    /// # Errors
    /// They do not read, or do not fit together.
    pub fn from_bytes(bytes: &[u8], domain: &ProviderDomain) -> Result<Self, HubKeysError> {
        let kept = serde_json::from_slice(bytes).map_err(|error| HubKeysError::Sealed(error.to_string()))?;
        let keys = HubKeys::of(domain, kept);
        keys.prove()?;
        Ok(keys)
    }

    /// Keys that are new, and live in memory only.
    ///
    /// # Errors
    /// Key generation fails.
    pub fn ephemeral(domain: &ProviderDomain) -> Result<Self, HubKeysError> {
        Ok(HubKeys::of(domain, generate()?))
    }

    /// The public key for a signature scheme.
    ///
    /// # Errors
    /// No such key.
    pub fn public(&self, scheme: SignatureScheme) -> Result<&[u8], HubKeysError> {
        Ok(&self.pair(scheme)?.public)
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
        match &self.ed25519 {
            Some(key) if scheme == SignatureScheme::ED25519 => {
                Ok(key.sign(&sign_content(label, content)).to_bytes().to_vec())
            }
            _ => crypto::sign_with_label(scheme, &self.pair(scheme)?.private, label, content)
                .map_err(HubKeysError::Crypto),
        }
    }

    fn pair(&self, scheme: SignatureScheme) -> Result<&KeyPair, HubKeysError> {
        self.pairs
            .iter()
            .find(|pair| pair.scheme == scheme as u16)
            .ok_or(HubKeysError::Scheme(scheme))
    }
}

impl std::fmt::Debug for HubKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubKeys")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

fn generate() -> Result<Kept, HubKeysError> {
    let signature: Result<_, HubKeysError> = SCHEMES
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
        .collect();
    Ok(Kept {
        signature: signature?,
        franking: FrankingKeys::generate().map_err(HubKeysError::Crypto)?,
        ohttp: OhttpKeys::generate().map_err(HubKeysError::Crypto)?,
    })
}

impl Rotating {
    fn newest_id(&self, which: Rotation) -> u64 {
        match which {
            Rotation::Franking => self.franking.newest_id(),
            Rotation::Ohttp => self.ohttp.newest_id().into(),
        }
    }

    fn rotated(&self, which: Rotation) -> Result<Self, HubKeysError> {
        let mut rotated = self.clone();
        match which {
            Rotation::Franking => {
                let keys = self.franking.rotated().map_err(HubKeysError::Crypto)?;
                rotated.franking = Arc::new(keys.ok_or(HubKeysError::TooMany)?);
            }
            Rotation::Ohttp => rotated.ohttp = Arc::new(self.ohttp.rotated().map_err(HubKeysError::Crypto)?),
        }
        Ok(rotated)
    }
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IfThere {
    Keep,
    Replace,
}

/// Written beside and put in place whole, so that a crash leaves no half file.
fn write(path: &Path, kept: &Kept, if_there: IfThere) -> Result<(), HubKeysError> {
    let io = |error| HubKeysError::Io {
        path: path.to_owned(),
        error,
    };
    let bytes = serde_json::to_vec(kept).map_err(|error| io(error.into()))?;
    let beside = path.with_extension(format!("new.{}", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(io)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(io)?;
    if if_there == IfThere::Replace {
        fs::rename(&beside, path).map_err(io)?;
    } else {
        // A link does not replace what another node has made meanwhile.
        let linked = fs::hard_link(&beside, path);
        fs::remove_file(&beside).map_err(io)?;
        if let Err(error) = linked
            && error.kind() != ErrorKind::AlreadyExists
        {
            return Err(io(error));
        }
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
    fn a_rotated_franking_key_survives_a_restart_and_the_old_one_still_verifies() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity {
            cluster: ClusterId([1; 16]),
            node: 1,
        };
        let data = DataDir::open(folder.path(), identity).unwrap();
        let domain = "a.example".parse().unwrap();
        let keys = HubKeys::open_in(&data, &domain).unwrap();
        let old = keys.franking().stamp(b"input").unwrap();
        assert_eq!(keys.rotate(Rotation::Franking).unwrap(), 2);
        let new = keys.franking().stamp(b"input").unwrap();
        let again = HubKeys::open_in(&data, &domain).unwrap();
        assert_eq!(again.franking().stamp(b"input").unwrap(), new);
        assert!(again.franking().have_stamped(b"input", &old).unwrap());
        let scheme = SignatureScheme::ED25519;
        assert_eq!(keys.public(scheme).unwrap(), again.public(scheme).unwrap());
    }

    #[test]
    fn a_file_of_before_there_was_a_gateway_gets_a_key_for_it_that_stays() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity {
            cluster: ClusterId([1; 16]),
            node: 1,
        };
        let data = DataDir::open(folder.path(), identity).unwrap();
        let domain = "a.example".parse().unwrap();
        let first = HubKeys::open_in(&data, &domain).unwrap();
        let path = folder.path().join(FILE);
        let mut kept: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        kept.as_object_mut().unwrap().remove("ohttp").unwrap();
        fs::write(&path, kept.to_string()).unwrap();
        let again = HubKeys::open_in(&data, &domain).unwrap();
        let made = again.ohttp().configurations().unwrap();
        assert_ne!(made, first.ohttp().configurations().unwrap());
        let third = HubKeys::open_in(&data, &domain).unwrap();
        assert_eq!(third.ohttp().configurations().unwrap(), made);
        let scheme = SignatureScheme::ED25519;
        assert_eq!(third.public(scheme).unwrap(), first.public(scheme).unwrap());
    }

    #[test]
    fn a_rotated_ohttp_key_survives_a_restart_and_leaves_the_franking_keys_alone() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity {
            cluster: ClusterId([1; 16]),
            node: 1,
        };
        let data = DataDir::open(folder.path(), identity).unwrap();
        let domain = "a.example".parse().unwrap();
        let keys = HubKeys::open_in(&data, &domain).unwrap();
        assert_eq!(keys.rotate(Rotation::Ohttp).unwrap(), 2);
        let again = HubKeys::open_in(&data, &domain).unwrap();
        assert_eq!(
            again.ohttp().configurations().unwrap(),
            keys.ohttp().configurations().unwrap()
        );
        assert_eq!((again.ohttp().len(), again.franking().len()), (2, 1));
    }

    #[test]
    fn keys_that_several_nodes_share_are_not_rotated_by_one_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let keys = HubKeys::open(&path, &"a.example".parse().unwrap()).unwrap();
        let before = fs::read(&path).unwrap();
        assert!(matches!(keys.rotate(Rotation::Franking), Err(HubKeysError::Shared)));
        assert_eq!(keys.franking().newest_id(), 1);
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_damaged_file_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let domain = "a.example".parse().unwrap();
        let mut kept = generate().unwrap();
        let key_of_another = generate().unwrap().signature.remove(0).public;
        kept.signature[0].public = key_of_another;
        let mixed = serde_json::to_vec(&kept).unwrap();
        let unfranked = serde_json::to_vec(&serde_json::json!({
            "signature": generate().unwrap().signature,
            "franking": [],
        }));
        for damaged in [b"{".as_slice(), b"", b"[]", &mixed, &unfranked.unwrap()] {
            fs::write(folder.path().join(FILE), damaged).unwrap();
            let error = HubKeys::open(&folder.path().join(FILE), &domain).unwrap_err();
            assert!(matches!(error, HubKeysError::Damaged { .. }), "{error}");
            assert_eq!(fs::read(folder.path().join(FILE)).unwrap(), damaged);
        }
    }
}
