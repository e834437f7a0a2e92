//! Provider processes on this machine: those of the demo, of the load and of chaos.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mimi_hub_proto::uri::ProviderDomain;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::process::{Child, Command};

use crate::OpsError;
use crate::certs::{DevCerts, DevCertsOptions};
use crate::client::{Gateway, GatewaySettings, RetryPolicy};

/// How long a provider may take from its start to its first answer.
const READY_MAX: Duration = Duration::from_secs(30);
const READY_POLL: Duration = Duration::from_millis(50);

/// One provider: one or several processes of this same program, and the way to it.
pub(crate) struct Provider {
    pub(crate) domain: ProviderDomain,
    pub(crate) gateway: Gateway,
    /// How the gateway reaches it, for gateways of other kinds.
    pub(crate) gateway_settings: GatewaySettings,
    pub(crate) nodes: Vec<Node>,
}

/// One process.
pub(crate) struct Node {
    pub(crate) config: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) federation_port: u16,
    pub(crate) local_port: u16,
    /// Of the admin listener, where there are several nodes.
    pub(crate) admin_port: u16,
    pub(crate) cluster_port: u16,
    /// Where this node looks for the others: by their places, its own `cluster_port` at its own. Another port than theirs
    /// where something stands between them.
    pub(crate) links: Vec<u16>,
    pub(crate) data: PathBuf,
    child: Option<Child>,
}

/// The ports of one process.
struct Ports {
    federation: u16,
    local: u16,
    cluster: u16,
    admin: u16,
    links: Vec<u16>,
}

/// Writes certificates and configuration for providers on free ports of the loopback interface, the first of them with
/// `nodes` processes. Nothing runs yet.
pub(crate) fn prepare(folder: &Path, domains: &[ProviderDomain], nodes: u16) -> Result<Vec<Provider>, OpsError> {
    prepare_all(folder, domains, nodes, false, None)
}

/// A server of attached files, on this machine.
pub(crate) struct AssetHost {
    /// Whose users' files it has.
    pub(crate) provider: String,
    pub(crate) host: String,
    pub(crate) address: SocketAddr,
    /// The root of its certificate, PEM.
    pub(crate) ca: PathBuf,
}

/// The same, where hubs fetch attached files from this server.
pub(crate) fn prepare_with_assets(
    folder: &Path,
    domains: &[ProviderDomain],
    nodes: u16,
    assets: &AssetHost,
) -> Result<Vec<Provider>, OpsError> {
    prepare_all(folder, domains, nodes, false, Some(assets))
}

/// The same, where each of the first provider's nodes reaches each other one at a port of this pair's own, at which somebody
/// has to listen ([`Node::links`]).
pub(crate) fn prepare_linked(folder: &Path, domains: &[ProviderDomain], nodes: u16) -> Result<Vec<Provider>, OpsError> {
    prepare_all(folder, domains, nodes, true, None)
}

fn prepare_all(
    folder: &Path,
    domains: &[ProviderDomain],
    nodes: u16,
    linked: bool,
    assets: Option<&AssetHost>,
) -> Result<Vec<Provider>, OpsError> {
    let certs = folder.join("certs");
    let options = DevCertsOptions {
        nodes: if nodes > 1 { nodes } else { 0 },
        ..DevCertsOptions::default()
    };
    DevCerts::generate(domains, options)?.write(&certs, false)?;
    let processes = |index: usize| if index == 0 { usize::from(nodes) } else { 1 };
    let each = if linked { 4 + usize::from(nodes) } else { 4 };
    let free = free_ports(each * (0..domains.len()).map(processes).sum::<usize>())?;
    let mut free = free.chunks_exact(each).map(|ports| Ports {
        federation: ports[0],
        local: ports[1],
        cluster: ports[2],
        admin: ports[3],
        links: ports[4..].to_vec(),
    });
    let mut ports: Vec<Vec<Ports>> = (0..domains.len())
        .map(|index| free.by_ref().take(processes(index)).collect())
        .collect();
    for own in &mut ports {
        let direct: Vec<u16> = own.iter().map(|ports| ports.cluster).collect();
        for (index, ports) in own.iter_mut().enumerate() {
            if linked {
                ports.links.truncate(direct.len());
                ports.links[index] = ports.cluster;
            } else {
                ports.links.clone_from(&direct);
            }
        }
    }
    let all: BTreeMap<&ProviderDomain, &Vec<Ports>> = domains.iter().zip(&ports).collect();
    domains
        .iter()
        .map(|domain| provider(folder, &certs, domain, &all, assets))
        .collect()
}

fn provider(
    folder: &Path,
    certs: &Path,
    domain: &ProviderDomain,
    all: &BTreeMap<&ProviderDomain, &Vec<Ports>>,
    assets: Option<&AssetHost>,
) -> Result<Provider, OpsError> {
    let home = folder.join(domain.as_str());
    fs::create_dir_all(&home).map_err(OpsError::file(&home))?;
    let own = all.get(domain).map(|ports| ports.as_slice()).unwrap_or_default();
    let nodes: Vec<Node> = (0..own.len())
        .map(|index| node(&home, certs, domain, all, (own, index), assets))
        .collect::<Result<_, _>>()?;
    let mut urls = own.iter().map(|ports| format!("https://localhost:{}", ports.local));
    let gateway_settings = GatewaySettings {
        url: urls.next().unwrap_or_default(),
        more_urls: urls.collect(),
        ca: certs.join("local-ca.pem"),
        certificate: certs.join(format!("gateway.{domain}.pem")),
        private_key: certs.join(format!("gateway.{domain}.key")),
        retry: RetryPolicy::default(),
    };
    Ok(Provider {
        domain: domain.clone(),
        gateway: Gateway::new(&gateway_settings)?,
        gateway_settings,
        nodes,
    })
}

/// Writes the configuration of one process. One of several has a folder of its own.
fn node(
    home: &Path,
    certs: &Path,
    domain: &ProviderDomain,
    all: &BTreeMap<&ProviderDomain, &Vec<Ports>>,
    (own, index): (&[Ports], usize),
    assets: Option<&AssetHost>,
) -> Result<Node, OpsError> {
    let number = index + 1;
    let ports = &own[index];
    let several = own.len() > 1;
    let folder = if several {
        home.join(format!("node-{number}"))
    } else {
        home.to_owned()
    };
    fs::create_dir_all(&folder).map_err(OpsError::file(&folder))?;
    let peers = all.iter().filter(|(peer, _)| **peer != domain);
    let addresses = |ports: &[Ports]| {
        let addresses: Vec<String> = ports.iter().map(|ports| loopback(ports.federation)).collect();
        addresses.join(",")
    };
    let config = Config {
        hub: Hub {
            domains: [domain.as_str()],
            data_dir: folder.join("data"),
        },
        federation: Federation {
            listen: loopback(ports.federation),
            certificate: certs.join(format!("{domain}.pem")),
            private_key: certs.join(format!("{domain}.key")),
            peer_ca: certs.join("federation-ca.pem"),
        },
        local: Local {
            listen: loopback(ports.local),
            certificate: certs.join(format!("local.{domain}.pem")),
            private_key: certs.join(format!("local.{domain}.key")),
            client_ca: certs.join("local-ca.pem"),
        },
        cluster: several.then(|| Cluster {
            node: number,
            listen: loopback(ports.cluster),
            nodes: numbered(own.iter().map(|ports| ports.cluster)),
            detours: numbered(ports.links.iter().copied()),
            certificate: certs.join(format!("node-{number}.pem")),
            private_key: certs.join(format!("node-{number}.key")),
            ca: certs.join("cluster-ca.pem"),
            seal_key: certs.join("seal.key"),
        }),
        admin: several.then(|| Local {
            listen: loopback(ports.admin),
            certificate: certs.join(format!("admin.{domain}.pem")),
            private_key: certs.join(format!("admin.{domain}.key")),
            client_ca: certs.join("admin-ca.pem"),
        }),
        peers: peers
            .map(|(peer, ports)| (peer.to_string(), addresses(ports)))
            .chain(assets.map(|assets| (assets.host.clone(), assets.address.to_string())))
            .map(|(peer, address)| (peer, Peer { address }))
            .collect(),
        assets: assets.map(|assets| Assets {
            domains: BTreeMap::from([(assets.provider.clone(), [assets.host.clone()])]),
            ca: assets.ca.clone(),
            ports: [assets.address.port()],
            allow_private: [format!("{}/32", Ipv4Addr::LOCALHOST)],
        }),
        delivery: Delivery { retry_ms_max: 2_000 },
    };
    let config_path = folder.join("mimi-hub.toml");
    let text = toml::to_string(&config).map_err(|error| OpsError::Request {
        call: "configuration",
        source: Box::new(error),
    })?;
    fs::write(&config_path, text).map_err(OpsError::file(&config_path))?;
    Ok(Node {
        config: config_path,
        log: folder.join("mimi-hub.log"),
        federation_port: ports.federation,
        local_port: ports.local,
        admin_port: ports.admin,
        cluster_port: ports.cluster,
        links: ports.links.clone(),
        data: folder.join("data"),
        child: None,
    })
}

impl Provider {
    /// Starts all processes, and waits until the local API answers at each.
    pub(crate) async fn start(&mut self) -> Result<(), OpsError> {
        for node in &mut self.nodes {
            node.spawn(&self.domain)?;
        }
        for index in 0..self.nodes.len() {
            self.ready(index).await?;
        }
        Ok(())
    }

    /// Starts one process that was killed, and waits until its local API answers.
    pub(crate) async fn start_node(&mut self, index: usize) -> Result<(), OpsError> {
        self.nodes[index].spawn(&self.domain)?;
        self.ready(index).await
    }

    /// `Err` when one of the processes that were started has ended by itself.
    pub(crate) fn all_run(&mut self) -> Result<(), OpsError> {
        for node in &mut self.nodes {
            if let Some(child) = &mut node.child
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(node.failed(&self.domain, &format!("ended with {status} by itself")));
            }
        }
        Ok(())
    }

    /// What is wrong with one of the processes.
    pub(crate) fn failed(&self, index: usize, reason: &str) -> OpsError {
        self.nodes[index].failed(&self.domain, reason)
    }

    async fn ready(&mut self, index: usize) -> Result<(), OpsError> {
        let node = &mut self.nodes[index];
        let started = Instant::now();
        let impatient = Gateway::new(&GatewaySettings {
            url: format!("https://localhost:{}", node.local_port),
            more_urls: Vec::new(),
            retry: RetryPolicy::never(),
            ..self.gateway_settings.clone()
        })?;
        loop {
            if let Some(child) = &mut node.child
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(node.failed(&self.domain, &format!("ended with {status}")));
            }
            match impatient.hub().await {
                Ok(hub) if hub.domains.iter().any(|domain| self.domain == **domain) => return Ok(()),
                Ok(_) => return Err(node.failed(&self.domain, "another server answers on its port")),
                Err(error) if started.elapsed() > READY_MAX => {
                    let reason = format!("does not answer after {} s: {error}", READY_MAX.as_secs());
                    return Err(node.failed(&self.domain, &reason));
                }
                Err(_) => tokio::time::sleep(READY_POLL).await,
            }
        }
    }
}

impl Node {
    fn spawn(&mut self, domain: &ProviderDomain) -> Result<(), OpsError> {
        let program =
            std::env::current_exe().map_err(|error| self.failed(domain, &format!("no program to start: {error}")))?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--config").arg(&self.config);
        // The configuration is the files that are shown, whatever the environment holds for another hub.
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
            .map_err(|error| self.failed(domain, &format!("does not start: {error}")))?;
        self.child = Some(child);
        Ok(())
    }

    /// `kill -9`, as a power cut would: nothing is flushed, nobody is told.
    pub(crate) async fn kill(&mut self) -> Result<(), OpsError> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.map_err(|source| OpsError::File {
                path: self.log.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Sends a signal to the process, if it runs.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), OpsError> {
        let pid = self
            .pid()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        match pid.map(|pid| kill_process(pid, signal)) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(OpsError::Usage(format!("cannot send a signal: {error}"))),
        }
    }

    /// Waits until the process has ended by itself; says how, or nothing when it takes longer than `limit`.
    pub(crate) async fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        let status = tokio::time::timeout(limit, child.wait()).await.ok()?.ok()?;
        self.child = None;
        Some(status)
    }

    /// The process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    fn open_log(&self) -> Result<File, OpsError> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(OpsError::file(&self.log))
    }

    fn failed(&self, domain: &ProviderDomain, reason: &str) -> OpsError {
        OpsError::Process {
            provider: domain.to_string(),
            reason: reason.to_owned(),
            log: self.log.clone(),
        }
    }
}

/// Ports that are free now. Holding all of them at once makes them different.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>, OpsError> {
    let no_port = |error: std::io::Error| OpsError::Usage(format!("no free port on the loopback interface: {error}"));
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()
        .map_err(no_port)?;
    held.iter()
        .map(|listener| listener.local_addr().map(|address| address.port()).map_err(no_port))
        .collect()
}

/// Addresses by the numbers of their nodes.
fn numbered(ports: impl Iterator<Item = u16>) -> BTreeMap<String, String> {
    (1..)
        .zip(ports)
        .map(|(number, port): (usize, u16)| (number.to_string(), loopback(port)))
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
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<Cluster>,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<Local>,
    peers: BTreeMap<String, Peer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assets: Option<Assets>,
    delivery: Delivery,
}

#[derive(Serialize)]
struct Assets {
    domains: BTreeMap<String, [String; 1]>,
    ca: PathBuf,
    ports: [u16; 1],
    allow_private: [String; 1],
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
struct Cluster {
    node: usize,
    listen: String,
    nodes: BTreeMap<String, String>,
    detours: BTreeMap<String, String>,
    certificate: PathBuf,
    private_key: PathBuf,
    ca: PathBuf,
    seal_key: PathBuf,
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

    fn domains() -> Vec<ProviderDomain> {
        let names = ["a.example", "b.example", "c.example"];
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn every_provider_knows_the_others_and_no_port_is_used_twice() {
        let folder = tempfile::tempdir().unwrap();
        let providers = prepare(folder.path(), &domains(), 3).unwrap();
        assert_eq!(
            providers
                .iter()
                .map(|provider| provider.nodes.len())
                .collect::<Vec<_>>(),
            [3, 1, 1]
        );
        let nodes: Vec<&Node> = providers.iter().flat_map(|provider| &provider.nodes).collect();
        let mut ports: Vec<u16> = nodes
            .iter()
            .flat_map(|node| [node.federation_port, node.local_port])
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 10);
        for provider in &providers {
            for node in &provider.nodes {
                let config: toml::Table = toml::from_str(&fs::read_to_string(&node.config).unwrap()).unwrap();
                let own = format!("127.0.0.1:{}", node.federation_port);
                assert_eq!(config["federation"]["listen"].as_str(), Some(own.as_str()));
                let peers = config["peers"].as_table().unwrap();
                assert_eq!(peers.len(), 2);
                for other in providers.iter().filter(|other| other.domain != provider.domain) {
                    let addresses: Vec<String> = other
                        .nodes
                        .iter()
                        .map(|node| format!("127.0.0.1:{}", node.federation_port))
                        .collect();
                    let address = addresses.join(",");
                    assert_eq!(peers[other.domain.as_str()]["address"].as_str(), Some(address.as_str()));
                }
                let several = provider.nodes.len() > 1;
                assert_eq!(config.contains_key("cluster"), several);
                let sections: &[&str] = if several {
                    &["federation", "local", "cluster"]
                } else {
                    &["federation", "local"]
                };
                for section in sections {
                    for key in ["certificate", "private_key"] {
                        let path = config[*section][key].as_str().unwrap();
                        assert!(Path::new(path).is_file(), "{section}.{key}");
                    }
                }
            }
        }
    }
}
