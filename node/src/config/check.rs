//! Do the files that a configuration names exist, and do they fit together?
//!
//! The part of `mimi-hub config check` that looks outside the configuration's text.

use std::{fs, path::Path};

use mimi_hub_proto::uri::ProviderDomain;

use super::{Config, Finding};
use crate::mls::seal::SealKey;
use crate::tls::{Identity, Validity, now_s, read_roots};

/// Looks at every file that `config` names: there, readable, of its kind, key and certificate a pair, the certificate
/// within its validity period, the federation's certificate good for every domain served, keys readable by their
/// owner only. All findings, none when the files are usable.
#[must_use]
pub fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (federation, local) = (&config.federation, &config.local);
    let pairs: [(&str, &Path, &Path, &[ProviderDomain]); 2] = [
        (
            "federation",
            &federation.certificate,
            &federation.private_key,
            &config.hub.domains,
        ),
        ("local", &local.certificate, &local.private_key, &[]),
    ];
    for (section, certificate, private_key, domains) in pairs {
        identity(&mut findings, section, certificate, private_key, domains);
    }
    for (key, path) in [
        ("federation.peer_ca", &federation.peer_ca),
        ("local.client_ca", &local.client_ca),
    ] {
        if let Err(error) = read_roots(path) {
            findings.push(finding(key, path, error.to_string()));
        }
    }
    if let Some(ca) = &config.assets.ca
        && let Err(error) = read_roots(ca)
    {
        findings.push(finding("assets.ca", ca, error.to_string()));
    }
    if let Some(admin) = &config.admin {
        identity(&mut findings, "admin", &admin.certificate, &admin.private_key, &[]);
        if let Err(error) = read_roots(&admin.client_ca) {
            findings.push(finding("admin.client_ca", &admin.client_ca, error.to_string()));
        }
    }
    if let Some(cluster) = &config.cluster {
        if let Err(error) = SealKey::read(&cluster.seal_key) {
            findings.push(finding("cluster.seal_key", &cluster.seal_key, error.to_string()));
        } else if is_readable_by_others(&cluster.seal_key) {
            let remedy = "can be read by other users of this machine; run chmod 600 on it".to_owned();
            findings.push(finding("cluster.seal_key", &cluster.seal_key, remedy));
        }
    }
    if config.hub.data_dir.exists() && !config.hub.data_dir.is_dir() {
        findings.push(finding(
            "hub.data_dir",
            &config.hub.data_dir,
            "is not a folder; name another place".to_owned(),
        ));
    }
    findings
}

fn identity(
    findings: &mut Vec<Finding>,
    section: &str,
    certificate: &Path,
    private_key: &Path,
    domains: &[ProviderDomain],
) {
    let certificate_key = format!("{section}.certificate");
    let identity = match Identity::read(certificate, private_key) {
        Ok(identity) => identity,
        Err(error) => {
            findings.push(finding(&certificate_key, certificate, error.to_string()));
            return;
        }
    };
    let end_entity = identity.certificate();
    let remedy = match end_entity.validity_at(now_s()) {
        Validity::Valid { .. } => None,
        Validity::Expired => Some("has expired; renew it"),
        Validity::NotYet => Some("is not valid yet; check this machine's clock"),
        Validity::Unreadable => Some("has no readable validity period; issue it anew"),
    };
    findings.extend(remedy.map(|remedy| finding(&certificate_key, certificate, remedy.to_owned())));
    for domain in domains.iter().filter(|domain| !end_entity.covers(domain)) {
        let remedy = format!("does not cover {domain}; issue it with the subject alternative name DNS:{domain}");
        findings.push(finding(&certificate_key, certificate, remedy));
    }
    if is_readable_by_others(private_key) {
        let remedy = "can be read by other users of this machine; run chmod 600 on it".to_owned();
        findings.push(finding(&format!("{section}.private_key"), private_key, remedy));
    }
}

fn is_readable_by_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0)
}

fn finding(key: &str, path: &Path, remedy: String) -> Finding {
    Finding {
        key: key.to_owned(),
        value: path.display().to_string(),
        remedy,
    }
}
