//! The certificates of nodes.
//!
//! A cluster has a CA of its own, which has nothing to do with the federation's. It signs one certificate per node, whose
//! subject alternative name is the node's ([`node_name`]) and which serves as server and as client certificate. Whoever
//! holds one is a node: the CA's key is to be kept accordingly.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore, ServerConfig};

use super::hello::Refusal;
use crate::config::NodeId;
use crate::error::NetworkError;

/// The name that the certificate of `node` is for: `node-<id>.cluster.internal`. It is never looked up.
pub fn node_name(node: NodeId) -> String {
    format!("node-{node}.cluster.internal")
}

/// What a node needs to prove itself to others, and they to it. All PEM.
#[derive(Clone)]
pub struct ClusterTls {
    /// The cluster's CA; during a change of it, the old and the new one.
    pub ca: Vec<u8>,
    /// This node's certificate, for [`node_name`], followed by any intermediate ones.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: Vec<u8>,
}

impl std::fmt::Debug for ClusterTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is nobody's business.
        f.write_str("ClusterTls")
    }
}

/// Both sides of TLS.
pub(super) struct Sides {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
}

impl ClusterTls {
    pub(super) fn sides(&self, node: NodeId) -> Result<Sides, NetworkError> {
        let pem = |part| move |source| NetworkError::Pem { part, source };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.ca) {
            roots.add(certificate.map_err(pem("the cluster CA"))?)?;
        }
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(pem("the node's certificate"))?;
        let own = chain.first().ok_or(NetworkError::NoCertificate)?;
        if !is_of_node(own, node) {
            return Err(NetworkError::WrongCertificate {
                node,
                name: node_name(node),
            });
        }
        let key = || PrivateKeyDer::from_pem_slice(&self.key).map_err(pem("the node's key"));
        let roots = Arc::new(roots);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = [&rustls::version::TLS13];
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|_| NetworkError::NoCa)?;
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain.clone(), key()?)?;
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key()?)?;
        Ok(Sides {
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }
}

/// Checks that a verified peer certificate is that of `node`.
pub(super) fn check_node(peer: Option<&[CertificateDer<'_>]>, node: NodeId) -> Result<(), Refusal> {
    if peer.and_then(<[_]>::first).is_some_and(|own| is_of_node(own, node)) {
        return Ok(());
    }
    Err(Refusal::Certificate {
        from: node,
        name: node_name(node),
    })
}

fn is_of_node(certificate: &CertificateDer<'_>, node: NodeId) -> bool {
    let name = ServerName::try_from(node_name(node));
    let parsed = webpki::EndEntityCert::try_from(certificate);
    matches!((name, parsed), (Ok(name), Ok(parsed)) if parsed.verify_is_valid_for_subject_name(&name).is_ok())
}

/// What a failed handshake, or a connection that broke right after it, means, and what to do.
pub(super) fn explain(error: &std::io::Error) -> Option<String> {
    let tls = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match tls {
        // The second is what a CA of the same name but another key gives.
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the other side's certificate is not signed by this cluster's CA: give both nodes certificates of one CA"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the other side's certificate is for another node: correct the address, or give it its own certificate"
            .to_owned(),
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the other side's certificate has expired: make it a new one".to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::UnknownCA | AlertDescription::DecryptError) => {
            "the other side does not accept this node's certificate: give both nodes certificates of one CA".to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "this node's certificate has expired: make it a new one".to_owned()
        }
        rustls::Error::NoCertificatesPresented => "the other side showed no certificate: it is not a node".to_owned(),
        other => format!("TLS failed: {other}"),
    })
}
