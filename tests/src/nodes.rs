//! A provider of several nodes, which come and go.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mimi_hub_ops::certs::{Authority, Validity};
use mimi_hub_ops::client::{Admin, GatewaySettings, RetryPolicy};
use serde_json::{Value, json};

use crate::hub::Hub;
use crate::ports;
use crate::world::{World, write};

/// 32 bytes in base64.
const SEAL_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The nodes of one provider. Each [`Hub`] is one process; node `n` is `hubs[n - 1]`.
pub struct Nodes {
    /// The nodes, those that left included.
    pub hubs: Vec<Hub>,
    domain: String,
    settings: String,
    cluster: Authority,
    admins: Authority,
    ports: Vec<(u16, u16)>,
}

impl Nodes {
    /// Starts a provider of several nodes with these settings (TOML) over the usual ones. Its first node is where a provider
    /// of one would be.
    pub async fn start(world: &World, domain: &str, count: usize, settings: &str) -> Self {
        let authority = |name| Authority::new(name, Validity::days(2)).unwrap();
        let mut nodes = Self {
            hubs: Vec::new(),
            domain: domain.to_owned(),
            settings: settings.to_owned(),
            cluster: authority("cluster"),
            admins: authority("admins"),
            ports: (0..count).map(|_| (ports::free(), ports::free())).collect(),
        };
        for number in 1..=count {
            let hub = nodes.prepare(world, number, "");
            nodes.hubs.push(hub);
        }
        for node in &mut nodes.hubs {
            node.launch();
        }
        for node in &mut nodes.hubs {
            node.ready().await;
        }
        nodes
    }

    /// Writes what a node needs. It knows those that are there when it is prepared.
    fn prepare(&self, world: &World, number: usize, more: &str) -> Hub {
        let address = match number {
            1 => world.address(&self.domain),
            _ => SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free())),
        };
        let (listen, admin) = self.ports[number - 1];
        let known: Vec<String> = self
            .ports
            .iter()
            .zip(1..)
            .map(|((port, _), number)| format!("{number} = '127.0.0.1:{port}'"))
            .collect();
        let settings = format!(
            "
            {settings}
            [cluster]
            node = {number}
            listen = '127.0.0.1:{listen}'
            nodes = {{ {} }}
            certificate = 'node.pem'
            private_key = 'node.key'
            ca = 'cluster-ca.pem'
            seal_key = 'seal.key'
            {more}
            [admin]
            listen = '127.0.0.1:{admin}'
            certificate = 'admin.pem'
            private_key = 'admin.key'
            client_ca = 'admin-ca.pem'
            ",
            known.join(", "),
            settings = self.settings,
        );
        let hub = world.prepare_at(&self.domain, &format!("{}-{number}", self.domain), address, &settings);
        let (home, days) = (hub.home(), Validity::days(1));
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let name = format!("node-{number}.cluster.internal");
        write(home, "node", &self.cluster.issue(&[&name], &[], days).unwrap());
        write(
            home,
            "admin",
            &self.admins.issue(&["localhost"], &loopback, days).unwrap(),
        );
        write(home, "operator", &self.admins.issue(&["operator"], &[], days).unwrap());
        fs::write(home.join("cluster-ca.pem"), self.cluster.pem()).unwrap();
        fs::write(home.join("admin-ca.pem"), self.admins.pem()).unwrap();
        fs::write(home.join("seal.key"), SEAL_KEY).unwrap();
        hub
    }

    /// Lets another node in, and starts it. Returns its number.
    pub async fn join(&mut self, world: &World, through: usize) -> usize {
        let number = self.ports.len() + 1;
        self.ports.push((ports::free(), ports::free()));
        let address = format!("127.0.0.1:{}", self.ports[number - 1].0);
        let body = json!({ "node": number, "address": address });
        self.admin(through).post("join", &body).await.unwrap();
        let mut hub = self.prepare(world, number, "join = true");
        hub.launch();
        hub.ready().await;
        self.hubs.push(hub);
        number
    }

    /// A node that nobody has let in, with everything else that it needs.
    #[must_use]
    pub fn uninvited(&mut self, world: &World) -> Hub {
        let number = self.ports.len() + 1;
        self.ports.push((ports::free(), ports::free()));
        let hub = self.prepare(world, number, "join = true");
        self.ports.pop();
        hub
    }

    /// An operator's connection to a node.
    #[must_use]
    pub fn admin(&self, node: usize) -> Admin {
        self.admin_as(node, "operator")
    }

    /// A connection to a node's admin listener with another certificate of its folder.
    #[must_use]
    pub fn admin_as(&self, node: usize, certificate: &str) -> Admin {
        let home = self.hubs[node - 1].home();
        Admin::new(&GatewaySettings {
            url: format!("https://localhost:{}", self.ports[node - 1].1),
            more_urls: Vec::new(),
            ca: home.join("admin-ca.pem"),
            certificate: home.join(format!("{certificate}.pem")),
            private_key: home.join(format!("{certificate}.key")),
            retry: RetryPolicy::never(),
        })
        .unwrap()
    }

    /// Waits until what a node says of the cluster is so.
    ///
    /// # Panics
    /// It is not so after a minute.
    pub async fn until(&self, node: usize, what: &'static str, told: &str, so: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.admin(node).get::<Value>(what).await;
            if let Ok(answer) = &answer
                && so(answer)
            {
                return answer.clone();
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{told}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
