//! What one certificate says, once the handshake has proved that it may be believed.

use std::{fmt, sync::Arc, time::Duration};

use mimi_hub_proto::uri::ProviderDomain;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

/// The end-entity certificate that the other side of a connection has proved to hold the key of.
#[derive(Clone)]
pub(crate) struct PeerCertificate(Arc<CertificateDer<'static>>);

/// Where a moment lies in a certificate's validity period.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Validity {
    /// After `notAfter`.
    Expired,
    /// Before `notBefore`.
    NotYet,
    /// The period, or the certificate, cannot be read.
    Unreadable,
    /// Within; so long until `notAfter`.
    Valid {
        /// Seconds.
        remaining_s: u64,
    },
}

impl PeerCertificate {
    pub(crate) fn new(end_entity: CertificateDer<'static>) -> Self {
        Self(Arc::new(end_entity))
    }

    /// Whether the certificate authenticates `domain`: a DNS name among its subject alternative names matches by the
    /// rules of RFC 6125 (draft-ietf-mimi-protocol, section 4.1), wildcards in the first label included.
    pub(crate) fn covers(&self, domain: &ProviderDomain) -> bool {
        let Ok(certificate) = EndEntityCert::try_from(&*self.0) else {
            return false;
        };
        let Ok(name) = ServerName::try_from(domain.as_str()) else {
            return false;
        };
        certificate.verify_is_valid_for_subject_name(&name).is_ok()
    }

    /// Where `now_s`, seconds of the Unix epoch, lies in the validity period.
    pub(crate) fn validity_at(&self, now_s: u64) -> Validity {
        // The period is the first thing that webpki looks at on its way to an issuer, and its errors carry the limits.
        // There is no anchor here, so a certificate whose period is fine ends with an unknown issuer.
        match self.verify_at(now_s) {
            webpki::Error::CertExpired { .. } => return Validity::Expired,
            webpki::Error::CertNotValidYet { .. } => return Validity::NotYet,
            webpki::Error::InvalidCertValidity | webpki::Error::BadDer => return Validity::Unreadable,
            _ => {}
        }
        match self.verify_at(u64::MAX / 2) {
            webpki::Error::CertExpired { not_after, .. } => Validity::Valid {
                remaining_s: not_after.as_secs().saturating_sub(now_s),
            },
            _ => Validity::Unreadable,
        }
    }

    fn verify_at(&self, unix_s: u64) -> webpki::Error {
        let certificate = match EndEntityCert::try_from(&*self.0) {
            Ok(certificate) => certificate,
            Err(error) => return error,
        };
        let time = UnixTime::since_unix_epoch(Duration::from_secs(unix_s));
        let outcome = certificate.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None);
        match outcome {
            Err(error) => error,
            Ok(_) => webpki::Error::UnknownIssuer,
        }
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerCertificate({} bytes)", self.0.len())
    }
}
