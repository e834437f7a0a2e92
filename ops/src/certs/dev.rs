//! The files of a development set-up: names, contents, permissions.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mimi_hub_proto::uri::ProviderDomain;

use super::{Authority, Identity, Validity};
use crate::OpsError;

/// Choices for [`DevCerts::generate`].
#[derive(Clone, Copy, Debug)]
pub struct DevCertsOptions {
    /// Validity of the end-entity certificates.
    pub leaf: Validity,
    /// Validity of the authorities.
    pub authority: Validity,
    /// Nodes of a cluster that get certificates of its own CA; 0 for none.
    pub nodes: u16,
}

impl Default for DevCertsOptions {
    fn default() -> Self {
        Self {
            leaf: Validity::days(90),
            authority: Validity::days(365),
            nodes: 0,
        }
    }
}

/// A complete set of development certificates, not yet on disk.
///
/// | file | what it is |
/// |---|---|
/// | `federation-ca.pem` | root of the providers' certificates |
/// | `<domain>.pem`, `<domain>.key` | the provider towards other providers, server and client |
/// | `local-ca.pem` | root of everything behind the local listeners |
/// | `local.<domain>.pem`, `.key` | the provider's local listener (`localhost`, `local.<domain>`, loopback) |
/// | `gateway.<domain>.pem`, `.key` | a gateway of the provider |
/// | `admin-ca.pem` | root of the admin listeners' and operators' certificates, where there are nodes |
/// | `admin.<domain>.pem`, `.key` | the provider's admin listener (`localhost`, `admin.<domain>`, loopback) |
/// | `operator.pem`, `.key` | an operator |
/// | `seal.key` | the key under which the nodes keep the hub's keys |
/// | `cluster-ca.pem` | root of the nodes' certificates, where there are any |
/// | `node-<number>.pem`, `.key` | a node towards the other nodes (`node-<number>.cluster.internal`) |
pub struct DevCerts {
    files: Vec<DevFile>,
}

struct DevFile {
    name: String,
    contents: String,
    secret: bool,
}

impl DevCerts {
    /// Makes the set for these providers.
    ///
    /// # Errors
    /// [`OpsError::Certificate`] when a key or a certificate cannot be made.
    pub fn generate(domains: &[ProviderDomain], options: DevCertsOptions) -> Result<Self, OpsError> {
        let federation = Authority::new("MIMI development federation CA", options.authority)?;
        let local = Authority::new("MIMI development local CA", options.authority)?;
        let mut certs = Self { files: Vec::new() };
        certs.push("federation-ca.pem".to_owned(), federation.pem(), false);
        certs.push("local-ca.pem".to_owned(), local.pem(), false);
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        for domain in domains {
            let name = domain.as_str();
            let listener = format!("local.{name}");
            let gateway = format!("gateway.{name}");
            certs.push_identity(name, federation.issue(&[name], &[], options.leaf)?);
            certs.push_identity(
                &listener,
                local.issue(&["localhost", &listener], &loopback, options.leaf)?,
            );
            certs.push_identity(&gateway, local.issue(&[&gateway], &[], options.leaf)?);
        }
        if options.nodes > 0 {
            let cluster = Authority::new("MIMI development cluster CA", options.authority)?;
            certs.push("cluster-ca.pem".to_owned(), cluster.pem(), false);
            let admin = Authority::new("MIMI development admin CA", options.authority)?;
            certs.push("admin-ca.pem".to_owned(), admin.pem(), false);
            for domain in domains {
                let listener = format!("admin.{domain}");
                certs.push_identity(
                    &listener,
                    admin.issue(&["localhost", &listener], &loopback, options.leaf)?,
                );
            }
            certs.push_identity("operator", admin.issue(&["operator"], &[], options.leaf)?);
            let mut key = [0; 32];
            rustls::crypto::ring::default_provider()
                .secure_random
                .fill(&mut key)
                .map_err(|_| OpsError::Random)?;
            certs.push("seal.key".to_owned(), STANDARD.encode(key), true);
            for number in 1..=options.nodes {
                let name = format!("node-{number}.cluster.internal");
                certs.push_identity(&format!("node-{number}"), cluster.issue(&[&name], &[], options.leaf)?);
            }
        }
        Ok(certs)
    }

    /// Writes the set into `folder`, making it when it is missing; private keys get mode 0600. Each file appears whole
    /// or not at all. Returns the paths in the order written.
    ///
    /// # Errors
    /// [`OpsError::FilesExist`], before anything is written, when `force` is not set and a file of the set is there;
    /// [`OpsError::File`] when the file system refuses.
    pub fn write(&self, folder: &Path, force: bool) -> Result<Vec<PathBuf>, OpsError> {
        let paths: Vec<PathBuf> = self.files.iter().map(|file| folder.join(&file.name)).collect();
        let existing: Vec<PathBuf> = paths.iter().filter(|path| path.exists()).cloned().collect();
        if !force && !existing.is_empty() {
            return Err(OpsError::FilesExist { paths: existing });
        }
        fs::create_dir_all(folder).map_err(OpsError::file(folder))?;
        for (file, path) in self.files.iter().zip(&paths) {
            write_whole(path, &file.contents, file.secret)?;
        }
        Ok(paths)
    }

    fn push_identity(&mut self, stem: &str, identity: Identity) {
        self.push(format!("{stem}.pem"), identity.certificate_pem, false);
        self.push(format!("{stem}.key"), identity.private_key_pem, true);
    }

    fn push(&mut self, name: String, contents: String, secret: bool) {
        self.files.push(DevFile { name, contents, secret });
    }
}

/// Writes beside the target and renames: a server that reloads never reads half a key, and the mode is that of the new
/// file even where an old one is replaced.
fn write_whole(path: &Path, contents: &str, secret: bool) -> Result<(), OpsError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(OpsError::file(&beside)(error)),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(if secret { 0o600 } else { 0o644 });
    }
    let mut file = options.open(&beside).map_err(OpsError::file(&beside))?;
    file.write_all(contents.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(OpsError::file(&beside))?;
    fs::rename(&beside, path).map_err(OpsError::file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains() -> Vec<ProviderDomain> {
        vec!["a.example".parse().unwrap(), "b.example".parse().unwrap()]
    }

    fn generate() -> DevCerts {
        DevCerts::generate(&domains(), DevCertsOptions::default()).unwrap()
    }

    #[test]
    fn writes_the_documented_names_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("certs");
        generate().write(&out, false).unwrap();
        let mut names: Vec<String> = fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "a.example.key",
                "a.example.pem",
                "b.example.key",
                "b.example.pem",
                "federation-ca.pem",
                "gateway.a.example.key",
                "gateway.a.example.pem",
                "gateway.b.example.key",
                "gateway.b.example.pem",
                "local-ca.pem",
                "local.a.example.key",
                "local.a.example.pem",
                "local.b.example.key",
                "local.b.example.pem",
            ]
        );
    }

    #[cfg(unix)]
    #[test]
    fn private_keys_are_readable_by_their_owner_only_even_when_replaced() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("a.example.key");
        fs::write(&key, "old").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        for path in generate().write(folder.path(), true).unwrap() {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            let secret = path.extension().is_some_and(|extension| extension == "key");
            assert_eq!(mode & 0o077 == 0, secret, "{} has mode {mode:o}", path.display());
        }
    }

    #[test]
    fn refuses_to_overwrite_and_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("local.b.example.pem");
        fs::write(&there, "precious").unwrap();
        let refused = generate().write(folder.path(), false);
        assert!(matches!(refused, Err(OpsError::FilesExist { paths }) if paths == [there.clone()]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(&there).unwrap(), "precious");
        generate().write(folder.path(), true).unwrap();
        assert_ne!(fs::read_to_string(&there).unwrap(), "precious");
    }
}
