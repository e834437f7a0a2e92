//! Reading PEM files, and noticing that they have changed.

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject},
    sign::CertifiedKey,
};
use tracing::{info, warn};

use super::{PeerCertificate, TlsFiles, Validity, crypto_provider};
use crate::error::NodeError;

/// A certificate is renewed well before this; later is worth a warning.
const EXPIRY_WARNING_DAYS: u64 = 14;

const DAY_S: u64 = 24 * 3600;

/// A certificate chain and the key of its first certificate.
pub(crate) struct Identity {
    /// The end-entity certificate, then intermediates. Never empty.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads both files and makes sure that they belong together.
    ///
    /// # Errors
    /// A file is missing or holds nothing of its kind, or the key is another certificate's.
    pub(crate) fn read(certificate: &Path, private_key: &Path) -> Result<Self, NodeError> {
        let chain = read_certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&read(private_key)?).map_err(|source| NodeError::TlsPem {
            path: private_key.to_owned(),
            wanted: "private key",
            source,
        })?;
        CertifiedKey::from_der(chain.clone(), key.clone_key(), &crypto_provider()).map_err(|source| {
            NodeError::TlsIdentity {
                certificate: certificate.to_owned(),
                private_key: private_key.to_owned(),
                source,
            }
        })?;
        Ok(Self { chain, key })
    }

    /// The end-entity certificate.
    pub(crate) fn certificate(&self) -> PeerCertificate {
        PeerCertificate::new(
            self.chain
                .first()
                .cloned()
                .unwrap_or_else(|| CertificateDer::from(Vec::new())),
        )
    }

    pub(super) fn log_loaded(&self, name: &'static str, path: &Path) {
        let path = path.display();
        match self.certificate().validity_at(now_s()) {
            Validity::Valid { remaining_s } if remaining_s / DAY_S >= EXPIRY_WARNING_DAYS => {
                info!(listener = name, %path, valid_days = remaining_s / DAY_S, "certificate loaded");
            }
            Validity::Valid { remaining_s } => {
                warn!(listener = name, %path, valid_hours = remaining_s / 3600, "certificate expires soon: renew it");
            }
            Validity::Expired | Validity::NotYet | Validity::Unreadable => {
                warn!(listener = name, %path, "certificate is not valid now: no peer will accept it");
            }
        }
    }
}

/// Seconds of the Unix epoch by the system's clock.
pub(crate) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// All certificates of a PEM file, at least one.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, NodeError> {
    let not_pem = |source| NodeError::TlsPem {
        path: path.to_owned(),
        wanted: "certificate",
        source,
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(not_pem)?;
    if certificates.is_empty() {
        return Err(not_pem(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

/// The trust anchors in a PEM file, at least one; a certificate in it that cannot be one is an error, not skipped.
pub(crate) fn read_roots(path: &Path) -> Result<RootCertStore, NodeError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|error| NodeError::TlsRoots {
            path: path.to_owned(),
            problem: error.to_string(),
        })?;
    }
    Ok(roots)
}

fn read(path: &Path) -> Result<Vec<u8>, NodeError> {
    fs::read(path).map_err(|source| NodeError::TlsRead {
        path: path.to_owned(),
        source,
    })
}

/// What `stat` says of the three files; `None` for one that is not there.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Stamps([Option<(SystemTime, u64)>; 3]);

impl Stamps {
    pub(super) fn of(files: &TlsFiles) -> Self {
        Self([&files.certificate, &files.private_key, &files.roots].map(|path| {
            // Follows links, so the exchange of a mounted secret's folder shows too.
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        }))
    }
}
