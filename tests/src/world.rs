//! What all providers of one test share.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use mimi_hub_ops::certs::{Authority, Identity, Validity};
use mimi_hub_proto::uri::{ClientUri, ProviderDomain, RoomUri, UserUri};
use tempfile::TempDir;

use crate::follower::Follower;
use crate::http::{Peer, TlsIdentity};
use crate::hub::Hub;
use crate::ports;
use crate::remote::RemoteClient;

/// Where retries are tested, the pauses between them are short.
const DEFAULTS: &str = "
delivery.retry_ms_min = 50
delivery.retry_ms_max = 500
limits.drain_ms = 3000
log.filter = 'info'
";

/// One test's federation. Everything in it ends with it.
pub struct World {
    folder: TempDir,
    program: &'static str,
    federation: Authority,
    local: Authority,
    ports: BTreeMap<String, u16>,
}

impl World {
    /// Providers a.example to d.example, none of which runs yet. `program` is `env!("CARGO_BIN_EXE_hub-under-test")`.
    #[must_use]
    pub fn new(program: &'static str) -> Self {
        let names = ["a.example", "b.example", "c.example", "d.example"];
        Self {
            folder: tempfile::Builder::new().prefix("mimi-hub-test-").tempdir().unwrap(),
            program,
            federation: Authority::new("federation", Validity::days(2)).unwrap(),
            local: Authority::new("local", Validity::days(2)).unwrap(),
            ports: names.iter().map(|name| ((*name).to_owned(), ports::free())).collect(),
        }
    }

    /// The folder of this test.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program under test.
    #[must_use]
    pub fn program(&self) -> &'static str {
        self.program
    }

    /// Where a provider's federation listener is.
    #[must_use]
    pub fn address(&self, domain: &str) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports[domain]))
    }

    /// Starts a server.
    pub async fn hub(&self, domain: &str) -> Hub {
        self.hub_with(domain, "").await
    }

    /// Starts a server with these settings (TOML) over the usual ones.
    pub async fn hub_with(&self, domain: &str, settings: &str) -> Hub {
        let mut hub = self.prepare(domain, settings);
        hub.start().await;
        hub
    }

    /// Writes a server's certificates and configuration.
    #[must_use]
    pub fn prepare(&self, domain: &str, settings: &str) -> Hub {
        self.prepare_at(domain, domain, self.address(domain), settings)
    }

    pub(crate) fn prepare_at(&self, domain: &str, name: &str, address: SocketAddr, settings: &str) -> Hub {
        let home = self.path().join(name);
        fs::create_dir_all(&home).unwrap();
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let days = Validity::days(1);
        write(
            &home,
            "federation",
            &self.federation.issue(&[domain], &[], days).unwrap(),
        );
        write(
            &home,
            "local",
            &self.local.issue(&["localhost"], &loopback, days).unwrap(),
        );
        write(&home, "gateway", &self.local.issue(&["gateway"], &[], days).unwrap());
        fs::write(home.join("federation-ca.pem"), self.federation.pem()).unwrap();
        fs::write(home.join("local-ca.pem"), self.local.pem()).unwrap();

        let local_port = ports::free();
        let mut config: toml::Table = toml::from_str(&format!(
            "
            [hub]
            domains = ['{domain}']
            data_dir = 'data'
            shards = 8
            [federation]
            listen = '{federation}'
            certificate = 'federation.pem'
            private_key = 'federation.key'
            peer_ca = 'federation-ca.pem'
            [local]
            listen = '127.0.0.1:{local_port}'
            certificate = 'local.pem'
            private_key = 'local.key'
            client_ca = 'local-ca.pem'
            ",
            federation = address,
        ))
        .unwrap();
        let peers: toml::Table = self
            .ports
            .iter()
            .filter(|(peer, _)| *peer != domain)
            .map(|(peer, port)| {
                let address = toml::Value::from(format!("127.0.0.1:{port}"));
                (
                    peer.clone(),
                    toml::Table::from_iter([("address".to_owned(), address)]).into(),
                )
            })
            .collect();
        config.insert("peers".to_owned(), peers.into());
        for overlay in [DEFAULTS, settings] {
            merge(&mut config, toml::from_str(overlay).unwrap());
        }
        let path = home.join("mimi-hub.toml");
        fs::write(&path, toml::to_string(&config).unwrap()).unwrap();
        Hub::new(self.program, domain, home, address, local_port)
    }

    /// A provider that is no server, but sends what a test wants.
    #[must_use]
    pub fn peer(&self, domain: &str, to: &str) -> Peer {
        let identity = self.identity(&[domain]);
        Peer::new(domain, to, self.address(to), &self.federation.pem(), Some(&identity))
    }

    /// A provider that shows this certificate, or none.
    #[must_use]
    pub fn peer_showing(&self, domain: &str, to: &str, identity: Option<&TlsIdentity>) -> Peer {
        Peer::new(domain, to, self.address(to), &self.federation.pem(), identity)
    }

    /// A provider that takes what is delivered to it, as a test wants.
    pub async fn follower(&self, domain: &str) -> Follower {
        let identity = self.identity(&[domain]);
        Follower::start(domain, self.address(domain), &self.federation.pem(), &identity).await
    }

    /// A client of a provider that is no server.
    #[must_use]
    pub fn remote(&self, user: &str, client: &str, hub: &str) -> RemoteClient {
        let user: UserUri = user.parse().unwrap();
        let peer = self.peer(user.domain(), hub);
        RemoteClient::new(peer, client.parse().unwrap(), user)
    }

    /// A certificate of the federation.
    #[must_use]
    pub fn identity(&self, names: &[&str]) -> TlsIdentity {
        self.federation.issue(names, &[], Validity::days(1)).unwrap().into()
    }

    /// A certificate of the federation that has expired.
    #[must_use]
    pub fn expired_identity(&self, names: &[&str]) -> TlsIdentity {
        self.federation.issue(names, &[], Validity::expired()).unwrap().into()
    }

    /// The federation's root, PEM.
    #[must_use]
    pub fn federation_ca(&self) -> String {
        self.federation.pem()
    }
}

pub(crate) fn write(home: &Path, stem: &str, identity: &Identity) {
    use std::os::unix::fs::PermissionsExt as _;
    let key: PathBuf = home.join(format!("{stem}.key"));
    fs::write(home.join(format!("{stem}.pem")), &identity.certificate_pem).unwrap();
    fs::write(&key, &identity.private_key_pem).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
}

fn merge(base: &mut toml::Table, overlay: toml::Table) {
    for (key, value) in overlay {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(value)) => merge(base, value),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// `mimi://domain/u/name`.
///
/// # Panics
/// It is no URI.
#[must_use]
pub fn user(domain: &str, name: &str) -> UserUri {
    format!("mimi://{domain}/u/{name}").parse().unwrap()
}

/// `mimi://domain/d/name`.
///
/// # Panics
/// It is no URI.
#[must_use]
pub fn client(domain: &str, name: &str) -> ClientUri {
    format!("mimi://{domain}/d/{name}").parse().unwrap()
}

/// `mimi://domain/r/name`.
///
/// # Panics
/// It is no URI.
#[must_use]
pub fn room(domain: &str, name: &str) -> RoomUri {
    format!("mimi://{domain}/r/{name}").parse().unwrap()
}

/// A provider's domain.
///
/// # Panics
/// It is no domain.
#[must_use]
pub fn domain(name: &str) -> ProviderDomain {
    name.parse().unwrap()
}
