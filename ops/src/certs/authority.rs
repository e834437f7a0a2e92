//! A certificate authority that lives in memory.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::OpsError;

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

impl Validity {
    /// From five minutes ago (clocks differ) until `days` days from now.
    #[must_use]
    pub fn days(days: u32) -> Self {
        let now = OffsetDateTime::now_utc();
        Self {
            not_before: now - Duration::minutes(5),
            not_after: now + Duration::days(i64::from(days)),
        }
    }

    /// A day that ended an hour ago.
    #[must_use]
    pub fn expired() -> Self {
        let not_after = OffsetDateTime::now_utc() - Duration::hours(1);
        Self {
            not_before: not_after - Duration::days(1),
            not_after,
        }
    }
}

/// A certificate and its private key, both in PEM.
pub struct Identity {
    /// The end-entity certificate.
    pub certificate_pem: String,
    /// Its private key (PKCS #8).
    pub private_key_pem: String,
}

/// A root that signs end-entity certificates. Its key leaves memory never.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a root with a fresh key.
    ///
    /// # Errors
    /// [`OpsError::Certificate`] when the key or the certificate cannot be made.
    pub fn new(common_name: &str, validity: Validity) -> Result<Self, OpsError> {
        let mut params = CertificateParams::default();
        params.not_before = validity.not_before;
        params.not_after = validity.not_after;
        params.distinguished_name.push(DnType::CommonName, common_name);
        // It signs end entities only: an intermediate of its name would be a forgery.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        Ok(Self {
            issuer: CertifiedIssuer::self_signed(params, key)?,
        })
    }

    /// The root certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Signs a certificate over a fresh key for the DNS names (A-labels, wildcards allowed) and addresses given, good for
    /// both ends of mutual TLS.
    ///
    /// # Errors
    /// [`OpsError::Certificate`] when a name is not ASCII, or the key or the certificate cannot be made.
    pub fn issue(&self, names: &[&str], addresses: &[IpAddr], validity: Validity) -> Result<Identity, OpsError> {
        let mut params = CertificateParams::default();
        params.not_before = validity.not_before;
        params.not_after = validity.not_after;
        if let Some(first) = names.first() {
            params.distinguished_name.push(DnType::CommonName, *first);
        }
        for name in names {
            params.subject_alt_names.push(SanType::DnsName((*name).try_into()?));
        }
        params
            .subject_alt_names
            .extend(addresses.iter().copied().map(SanType::IpAddress));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            certificate_pem: certificate.pem(),
            private_key_pem: key.serialize_pem(),
        })
    }
}
