//! Certificate authorities and certificates for tests, made on the spot.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use super::{Tls, TlsFiles};

/// A certificate authority.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub(crate) struct Issued {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate for these DNS names, valid now, for servers and clients.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_until(names, 4096)
    }

    /// One that went out of force long ago.
    pub(crate) fn issue_expired(&self, names: &[&str]) -> Issued {
        self.issue_until(names, 2001)
    }

    fn issue_until(&self, names: &[&str], year: i32) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        Issued {
            certificate: params.signed_by(&key, &self.0).unwrap(),
            key,
        }
    }
}

impl Issued {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }
}

/// A folder with the files of one [`Tls`].
pub(crate) struct TlsFolder {
    folder: TempDir,
}

impl TlsFolder {
    pub(crate) fn new(identity: &Issued, roots: &Ca) -> Self {
        let new = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        new.write(identity, roots);
        new
    }

    /// Writes all three files anew.
    pub(crate) fn write(&self, identity: &Issued, roots: &Ca) {
        fs::write(self.path("certificate.pem"), identity.certificate.pem()).unwrap();
        fs::write(self.path("private.key"), identity.key.serialize_pem()).unwrap();
        fs::write(self.path("roots.pem"), roots.0.pem()).unwrap();
        fs::set_permissions(self.path("private.key"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles {
            certificate: self.path("certificate.pem"),
            private_key: self.path("private.key"),
            roots: self.path("roots.pem"),
        }
    }

    pub(crate) fn load(&self) -> Arc<Tls> {
        Tls::load("test", self.files()).unwrap()
    }
}

/// What a party shows and whom it trusts, in memory for the rest of the test.
pub(crate) fn tls(identity: &Issued, roots: &Ca) -> Arc<Tls> {
    TlsFolder::new(identity, roots).load()
}
