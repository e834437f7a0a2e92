//! Who we are and whom we believe: TLS for both listeners and for calls to other providers.
//!
//! A [`Tls`] owns what one trio of files (chain, key, roots) means in memory, and the exchange of it without a
//! restart. Invariants:
//! - TLS 1.3 only, in both directions, and a certificate from both sides (draft-ietf-mimi-protocol, section 4.1).
//! - Sessions are never resumed: every connection checks certificates anew, so an expired one, or one whose CA was
//!   taken away, opens no new connection.
//! - A failed reload changes nothing; what was loaded stays in force.
//!
//! That a peer's certificate chains to our roots says that it is *some* provider. Which one is a question to
//! [`PeerCertificate::covers`].

mod certificate;
mod files;
mod renewal;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, client::Resumption, crypto::CryptoProvider,
    server::NoServerSessionStorage, server::WebPkiClientVerifier, version::TLS13,
};
use tokio::sync::watch;

use crate::{
    config::{AdminConfig, FederationConfig, LocalConfig},
    error::NodeError,
};
pub(crate) use certificate::{PeerCertificate, Validity};
pub(crate) use files::{Identity, now_s, read_roots};
pub(crate) use renewal::{POLL, keep_fresh};

/// Where one trio of PEM files is.
#[derive(Clone, Debug)]
pub(crate) struct TlsFiles {
    /// Our certificate, then its intermediates.
    pub(crate) certificate: PathBuf,
    /// The key of the certificate.
    pub(crate) private_key: PathBuf,
    /// The roots of the other side.
    pub(crate) roots: PathBuf,
}

impl From<&FederationConfig> for TlsFiles {
    fn from(config: &FederationConfig) -> Self {
        Self {
            certificate: config.certificate.clone(),
            private_key: config.private_key.clone(),
            roots: config.peer_ca.clone(),
        }
    }
}

impl From<&AdminConfig> for TlsFiles {
    fn from(config: &AdminConfig) -> Self {
        Self {
            certificate: config.certificate.clone(),
            private_key: config.private_key.clone(),
            roots: config.client_ca.clone(),
        }
    }
}

impl From<&LocalConfig> for TlsFiles {
    fn from(config: &LocalConfig) -> Self {
        Self {
            certificate: config.certificate.clone(),
            private_key: config.private_key.clone(),
            roots: config.client_ca.clone(),
        }
    }
}

/// What the files meant when they were read last. Never changes; a reload makes another one.
#[derive(Debug)]
pub(crate) struct TlsMaterial {
    /// For accepting: demands a client certificate, offers HTTP/2 and HTTP/1.1.
    pub(crate) server: Arc<ServerConfig>,
    /// For calling: shows our certificate, offers HTTP/2 and HTTP/1.1.
    pub(crate) client: Arc<ClientConfig>,
}

/// TLS material that can be exchanged while it is in use.
#[derive(Debug)]
pub(crate) struct Tls {
    name: &'static str,
    files: TlsFiles,
    current: watch::Sender<Arc<TlsMaterial>>,
    /// How the files looked just before they were read for `current`.
    stamps: Mutex<files::Stamps>,
}

impl Tls {
    /// Reads the files. `name` says in log lines which listener this is about.
    ///
    /// # Errors
    /// A file is missing or is not what it should be, or the key is not the certificate's.
    pub(crate) fn load(name: &'static str, files: TlsFiles) -> Result<Arc<Self>, NodeError> {
        let stamps = files::Stamps::of(&files);
        let material = TlsMaterial::read(name, &files)?;
        let current = watch::Sender::new(Arc::new(material));
        Ok(Arc::new(Self {
            name,
            files,
            current,
            stamps: Mutex::new(stamps),
        }))
    }

    /// What is in force now.
    pub(crate) fn current(&self) -> Arc<TlsMaterial> {
        self.current.borrow().clone()
    }

    /// Follows what is in force; the receiver has seen the present material.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<TlsMaterial>> {
        self.current.subscribe()
    }

    /// Reads the files again and puts them in force for new connections.
    ///
    /// # Errors
    /// As [`Tls::load`]; the material in force is then unchanged.
    pub(crate) fn reload(&self) -> Result<(), NodeError> {
        // Looked at before reading: a file that changes in between looks changed the next time.
        let stamps = files::Stamps::of(&self.files);
        let material = TlsMaterial::read(self.name, &self.files)?;
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) = stamps;
        self.current.send_replace(Arc::new(material));
        Ok(())
    }

    /// Whether a file looks different from when the material in force was read.
    fn is_outdated(&self) -> bool {
        *self.stamps.lock().unwrap_or_else(PoisonError::into_inner) != files::Stamps::of(&self.files)
    }
}

impl TlsMaterial {
    fn read(name: &'static str, files: &TlsFiles) -> Result<Self, NodeError> {
        let identity = Identity::read(&files.certificate, &files.private_key)?;
        let roots = Arc::new(files::read_roots(&files.roots)?);
        let material = Self::build(&identity, roots, files)?;
        identity.log_loaded(name, &files.certificate);
        Ok(material)
    }

    fn build(identity: &Identity, roots: Arc<RootCertStore>, files: &TlsFiles) -> Result<Self, NodeError> {
        let unusable = |source| NodeError::TlsIdentity {
            certificate: files.certificate.clone(),
            private_key: files.private_key.clone(),
            source,
        };
        let provider = crypto_provider();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| NodeError::TlsRoots {
                path: files.roots.clone(),
                problem: error.to_string(),
            })?;

        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(unusable)?;
        server.alpn_protocols = alpn_protocols();
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_root_certificates(roots)
            .with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())
            .map_err(unusable)?;
        client.alpn_protocols = alpn_protocols();
        client.resumption = Resumption::disabled();

        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client),
        })
    }
}

/// The only cryptography that TLS uses here, named rather than installed for the whole process: a library that
/// installs another one changes nothing.
pub(crate) fn crypto_provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

pub(crate) fn alpn_protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}
