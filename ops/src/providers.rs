//! Provider processes on this machine: the demo's and the load's.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use mimi_hub_proto::uri::ProviderDomain;
use serde::Serialize;
use tokio::process::{Child, Command};

use crate::OpsError;
use crate::certs::{DevCerts, DevCertsOptions};
use crate::client::{Gateway, GatewaySettings, RetryPolicy};

/// How long a provider may take from its start to its first answer.
const READY_MAX: Duration = Duration::from_secs(30);
const READY_POLL: Duration = Duration::from_millis(50);

/// One provider: a process of this same program, and the way to it.
pub(crate) struct Provider {
    pub(crate) domain: ProviderDomain,
    pub(crate) gateway: Gateway,
    /// How the gateway reaches it, for gateways of other kinds.
    pub(crate) gateway_settings: GatewaySettings,
    pub(crate) config: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) federation_port: u16,
    pub(crate) local_port: u16,
    child: Option<Child>,
}

/// Writes certificates and configuration for providers on free ports of the loopback interface. Nothing runs yet.
pub(crate) fn prepare(folder: &Path, domains: &[ProviderDomain]) -> Result<Vec<Provider>, OpsError> {
    let certs = folder.join("certs");
    DevCerts::generate(domains, DevCertsOptions::default())?.write(&certs, false)?;
    let ports = free_ports(domains.len() * 2)?;
    let federation: BTreeMap<&ProviderDomain, u16> = domains.iter().zip(ports.iter().copied()).collect();
    let local = ports.iter().copied().skip(domains.len());
    domains
        .iter()
        .zip(local)
        .map(|(domain, local_port)| provider(folder, &certs, domain, &federation, local_port))
        .collect()
}

fn provider(
    folder: &Path,
    certs: &Path,
    domain: &ProviderDomain,
    federation: &BTreeMap<&ProviderDomain, u16>,
    local_port: u16,
) -> Result<Provider, OpsError> {
    let federation_port = federation.get(domain).copied().unwrap_or_default();
    let home = folder.join(domain.as_str());
    fs::create_dir_all(&home).map_err(OpsError::file(&home))?;
    let peers = federation.iter().filter(|(peer, _)| **peer != domain);
    let config = Config {
        hub: Hub {
            domains: [domain.as_str()],
            data_dir: home.join("data"),
        },
        federation: Federation {
            listen: loopback(federation_port),
            certificate: certs.join(format!("{domain}.pem")),
            private_key: certs.join(format!("{domain}.key")),
            peer_ca: certs.join("federation-ca.pem"),
        },
        local: Local {
            listen: loopback(local_port),
            certificate: certs.join(format!("local.{domain}.pem")),
            private_key: certs.join(format!("local.{domain}.key")),
            client_ca: certs.join("local-ca.pem"),
        },
        peers: peers
            .map(|(peer, port)| {
                (
                    peer.to_string(),
                    Peer {
                        address: loopback(*port),
                    },
                )
            })
            .collect(),
        delivery: Delivery { retry_ms_max: 2_000 },
    };
    let config_path = home.join("mimi-hub.toml");
    let text = toml::to_string(&config).map_err(|error| OpsError::Request {
        call: "configuration",
        source: Box::new(error),
    })?;
    fs::write(&config_path, text).map_err(OpsError::file(&config_path))?;
    let gateway_settings = GatewaySettings {
        url: format!("https://localhost:{local_port}"),
        ca: certs.join("local-ca.pem"),
        certificate: certs.join(format!("gateway.{domain}.pem")),
        private_key: certs.join(format!("gateway.{domain}.key")),
        retry: RetryPolicy::default(),
    };
    let gateway = Gateway::new(&gateway_settings)?;
    Ok(Provider {
        domain: domain.clone(),
        gateway,
        gateway_settings,
        config: config_path,
        log: home.join("mimi-hub.log"),
        federation_port,
        local_port,
        child: None,
    })
}

impl Provider {
    /// Starts the process and waits until its local API answers.
    pub(crate) async fn start(&mut self) -> Result<(), OpsError> {
        let program = std::env::current_exe().map_err(|error| self.failed(&format!("no program to start: {error}")))?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(&self.config);
        // The demo's configuration is the files it shows, whatever the environment holds for another hub.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MIMI_HUB__") {
                command.env_remove(name);
            }
        }
        let log = self.open_log()?;
        let also_log = log.try_clone().map_err(OpsError::file(&self.log))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(also_log)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.failed(&format!("does not start: {error}")))?;
        self.child = Some(child);
        self.ready().await
    }

    /// `kill -9`, as a power cut would: nothing is flushed, nobody is told.
    pub(crate) async fn kill(&mut self) -> Result<(), OpsError> {
        if let Some(mut child) = self.child.take() {
            child
                .kill()
                .await
                .map_err(|error| self.failed(&format!("cannot be killed: {error}")))?;
        }
        Ok(())
    }

    /// The process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    async fn ready(&mut self) -> Result<(), OpsError> {
        let started = Instant::now();
        let impatient = self.gateway.with_retry(RetryPolicy::never());
        loop {
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(self.failed(&format!("ended with {status}")));
            }
            match impatient.hub().await {
                Ok(hub) if hub.domains.iter().any(|domain| self.domain == **domain) => return Ok(()),
                Ok(_) => return Err(self.failed("another server answers on its port")),
                Err(error) if started.elapsed() > READY_MAX => {
                    return Err(self.failed(&format!("does not answer after {} s: {error}", READY_MAX.as_secs())));
                }
                Err(_) => tokio::time::sleep(READY_POLL).await,
            }
        }
    }

    fn open_log(&self) -> Result<File, OpsError> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(OpsError::file(&self.log))
    }

    fn failed(&self, reason: &str) -> OpsError {
        OpsError::Process {
            provider: self.domain.to_string(),
            reason: reason.to_owned(),
            log: self.log.clone(),
        }
    }
}

/// Ports that are free now. Holding all of them at once makes them different.
fn free_ports(count: usize) -> Result<Vec<u16>, OpsError> {
    let no_port = |error: std::io::Error| OpsError::Usage(format!("no free port on the loopback interface: {error}"));
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()
        .map_err(no_port)?;
    held.iter()
        .map(|listener| listener.local_addr().map(|address| address.port()).map_err(no_port))
        .collect()
}

fn loopback(port: u16) -> String {
    format!("{}:{port}", Ipv4Addr::LOCALHOST)
}

/// As much of the server's configuration file as the demo sets.
#[derive(Serialize)]
struct Config<'a> {
    hub: Hub<'a>,
    federation: Federation,
    local: Local,
    peers: BTreeMap<String, Peer>,
    delivery: Delivery,
}

#[derive(Serialize)]
struct Hub<'a> {
    domains: [&'a str; 1],
    data_dir: PathBuf,
}

#[derive(Serialize)]
struct Federation {
    listen: String,
    certificate: PathBuf,
    private_key: PathBuf,
    peer_ca: PathBuf,
}

#[derive(Serialize)]
struct Local {
    listen: String,
    certificate: PathBuf,
    private_key: PathBuf,
    client_ca: PathBuf,
}

#[derive(Serialize)]
struct Peer {
    address: String,
}

#[derive(Serialize)]
struct Delivery {
    /// A killed provider comes back within seconds here.
    retry_ms_max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_knows_the_others_and_no_port_is_used_twice() {
        let folder = tempfile::tempdir().unwrap();
        let domains: Vec<ProviderDomain> = ["a.example", "b.example", "c.example"]
            .iter()
            .map(|name| name.parse().unwrap())
            .collect();
        let providers = prepare(folder.path(), &domains).unwrap();
        let mut ports: Vec<u16> = providers
            .iter()
            .flat_map(|provider| [provider.federation_port, provider.local_port])
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 6);
        for provider in &providers {
            let config: toml::Table = toml::from_str(&fs::read_to_string(&provider.config).unwrap()).unwrap();
            let own = format!("127.0.0.1:{}", provider.federation_port);
            assert_eq!(config["federation"]["listen"].as_str(), Some(own.as_str()));
            let peers = config["peers"].as_table().unwrap();
            assert_eq!(peers.len(), 2);
            for other in providers.iter().filter(|other| other.domain != provider.domain) {
                let address = format!("127.0.0.1:{}", other.federation_port);
                assert_eq!(peers[other.domain.as_str()]["address"].as_str(), Some(address.as_str()));
            }
            for section in ["federation", "local"] {
                for (key, value) in config[section]
                    .as_table()
                    .unwrap()
                    .iter()
                    .filter(|(key, _)| *key != "listen")
                {
                    assert!(Path::new(value.as_str().unwrap()).is_file(), "{section}.{key}");
                }
            }
        }
    }
}
