//! The rules that values of a configuration keep. Pure: looks at no file and no network.

use std::{collections::BTreeSet, fmt::Display};

use tracing_subscriber::EnvFilter;
use url::Url;

use super::{Config, ConfigError, Finding};

/// Longest duration of any kind, a year: beyond it, a typing error is likelier than a wish, and sums stay far from
/// overflow.
const DURATION_MS_MAX: u64 = 365 * 24 * 3_600_000;

/// Largest size of any kind. A length of 2^30 or more cannot stand in front of a vector (RFC 9420, section 2.1.2).
const BYTES_MAX: u64 = (1 << 30) - 1;

/// Largest number of things of any kind.
const COUNT_MAX: u64 = 1_000_000_000;

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, key: &str, value: impl Display, remedy: impl Into<String>) {
        self.0.push(Finding {
            key: key.to_owned(),
            value: value.to_string(),
            remedy: remedy.into(),
        });
    }

    fn within(&mut self, key: &str, value: u64, min: u64, max: u64) {
        if !(min..=max).contains(&value) {
            self.add(key, value, format!("set a value from {min} to {max}"));
        }
    }
}

/// A count in memory as a number that can be compared with the limits here.
fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl Config {
    /// Checks every value that its type alone does not make right.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with all findings, in the order of the file.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut findings = Findings::default();
        self.hub(&mut findings);
        self.listeners(&mut findings);
        self.cluster(&mut findings);
        self.peers(&mut findings);
        self.limits(&mut findings);
        self.rooms_and_delivery(&mut findings);
        self.assets(&mut findings);
        if let Err(error) = EnvFilter::builder().parse(&self.log.filter) {
            findings.add(
                "log.filter",
                &self.log.filter,
                format!("{error}; write for example \"info\""),
            );
        }
        match findings.0 {
            found if found.is_empty() => Ok(()),
            found => Err(ConfigError::Invalid(found)),
        }
    }

    fn cluster(&self, findings: &mut Findings) {
        let Some(cluster) = &self.cluster else { return };
        match cluster.numbered() {
            None => findings.add(
                "cluster.nodes",
                format!("{:?}", cluster.nodes),
                "number the nodes from 1",
            ),
            Some(nodes) if !nodes.contains_key(&cluster.node) => {
                findings.add("cluster.node", cluster.node, "name this node in cluster.nodes too");
            }
            Some(_) => {}
        }
        if cluster.numbered_detours().is_none() {
            findings.add(
                "cluster.detours",
                format!("{:?}", cluster.detours),
                "number the nodes from 1",
            );
        }
        findings.within(
            "cluster.check_interval_ms",
            cluster.check_interval_ms,
            0,
            DURATION_MS_MAX,
        );
        findings.within("cluster.replicas", cluster.replicas.into(), 1, 9);
        findings.within(
            "cluster.replace_after_ms",
            cluster.replace_after_ms,
            2_000,
            DURATION_MS_MAX,
        );
    }

    fn hub(&self, findings: &mut Findings) {
        if self.hub.domains.is_empty() {
            findings.add("hub.domains", "[]", "name at least the provider's own domain");
        }
        let mut seen = BTreeSet::new();
        for domain in &self.hub.domains {
            if !seen.insert(domain) {
                findings.add("hub.domains", domain, "name each domain once");
            }
        }
        findings.within("hub.shards", self.hub.shards.into(), 1, 4096);
    }

    fn listeners(&self, findings: &mut Findings) {
        let (federation, local) = (self.federation.listen, self.local.listen);
        // Port 0 asks for any free port, so two of them never meet.
        if federation == local && federation.port() != 0 {
            findings.add(
                "local.listen",
                local,
                "is the address of federation.listen too; set another port",
            );
        }
        if let Some(text) = &self.federation.public_url
            && !is_base_url(text)
        {
            let remedy = "write https://, a host, and optionally a port and a path, nothing else";
            findings.add("federation.public_url", text, remedy);
        }
    }

    fn peers(&self, findings: &mut Findings) {
        for (name, peer) in &self.peers {
            let key = format!("peers.\"{name}\"");
            if self.hub.domains.contains(name) {
                findings.add(&key, name, "is one of hub.domains; a provider is not its own peer");
            }
            if peer.hosts_and_ports().is_none() {
                findings.add(
                    &format!("{key}.address"),
                    &peer.address,
                    "write host:port, such as 127.0.0.1:7002",
                );
            }
        }
    }

    fn limits(&self, findings: &mut Findings) {
        let limits = &self.limits;
        findings.within("limits.body_bytes_max", wide(limits.body_bytes_max), 1024, BYTES_MAX);
        findings.within("limits.body_timeout_ms", limits.body_timeout_ms, 1, DURATION_MS_MAX);
        findings.within("limits.header_timeout_ms", limits.header_timeout_ms, 1, DURATION_MS_MAX);
        findings.within(
            "limits.request_timeout_ms",
            limits.request_timeout_ms,
            1,
            DURATION_MS_MAX,
        );
        findings.within("limits.connections_max", wide(limits.connections_max), 1, 10_000_000);
        findings.within("limits.drain_ms", limits.drain_ms, 0, DURATION_MS_MAX);
        if limits.requests_per_second_per_provider > 0 && limits.requests_burst_per_provider == 0 {
            let remedy = "set at least 1, or no request would ever pass";
            findings.add("limits.requests_burst_per_provider", 0, remedy);
        }
    }

    fn rooms_and_delivery(&self, findings: &mut Findings) {
        let (room, delivery, retention) = (&self.room, &self.delivery, &self.retention);
        let discovery = &self.discovery;
        findings.within("discovery.results_max", wide(discovery.results_max), 1, 1000);
        findings.within("discovery.partial_chars_min", wide(discovery.partial_chars_min), 1, 100);
        findings.within("discovery.profiles_max", wide(discovery.profiles_max), 1, COUNT_MAX);
        findings.within("room.past_epochs_max", room.past_epochs_max, 0, 1000);
        findings.within(
            "room.pending_proposals_max",
            wide(room.pending_proposals_max),
            1,
            COUNT_MAX,
        );
        findings.within(
            "room.checkpoint_handshake_bytes",
            room.checkpoint_handshake_bytes,
            1024,
            BYTES_MAX,
        );
        findings.within("room.members_max", wide(room.members_max), 1, COUNT_MAX);
        findings.within("room.idle_ms", room.idle_ms, 1000, DURATION_MS_MAX);

        findings.within("delivery.retry_ms_min", delivery.retry_ms_min, 1, DURATION_MS_MAX);
        findings.within(
            "delivery.retry_ms_max",
            delivery.retry_ms_max,
            delivery.retry_ms_min,
            DURATION_MS_MAX,
        );
        findings.within(
            "delivery.batch_messages_max",
            wide(delivery.batch_messages_max),
            1,
            COUNT_MAX,
        );
        findings.within(
            "delivery.batch_bytes_max",
            wide(delivery.batch_bytes_max),
            1024,
            BYTES_MAX,
        );
        let in_flight = wide(delivery.in_flight_per_destination_max);
        findings.within("delivery.in_flight_per_destination_max", in_flight, 1, 10_000);
        findings.within(
            "delivery.directory_ttl_ms",
            delivery.directory_ttl_ms,
            1,
            DURATION_MS_MAX,
        );

        findings.within(
            "retention.events_max_per_room",
            retention.events_max_per_room,
            1,
            COUNT_MAX,
        );
    }

    fn assets(&self, findings: &mut Findings) {
        let assets = &self.assets;
        if assets.is_offered() && assets.ca.is_none() {
            let remedy =
                "name the roots of the asset servers' certificates, such as /etc/ssl/certs/ca-certificates.crt";
            findings.add("assets.ca", "none", remedy);
        }
        if assets.ports.is_empty() || assets.ports.contains(&0) {
            findings.add(
                "assets.ports",
                format!("{:?}", assets.ports),
                "write ports above 0, such as [443]",
            );
        }
        // Larger assets than other things: they are streamed.
        findings.within("assets.size_max_bytes", assets.size_max_bytes, 1, 1 << 40);
        findings.within("assets.timeout_ms", assets.timeout_ms, 1, 3_600_000);
        findings.within("assets.in_flight_max", wide(assets.in_flight_max), 1, 1_000_000);
        let per_peer = wide(assets.in_flight_max_per_peer);
        findings.within("assets.in_flight_max_per_peer", per_peer, 1, 1_000_000);
        let oblivious = wide(assets.ohttp_size_max_bytes);
        findings.within("assets.ohttp_size_max_bytes", oblivious, 1, BYTES_MAX);
        let oblivious = wide(assets.ohttp_in_flight_max);
        findings.within("assets.ohttp_in_flight_max", oblivious, 1, 1_000_000);
        findings.within("assets.cache_bytes_max", wide(assets.cache_bytes_max), 0, 1 << 40);
        findings.within("assets.cache_ttl_ms", assets.cache_ttl_ms, 0, DURATION_MS_MAX);
    }
}

/// Whether `text` can stand in front of an endpoint's path.
fn is_base_url(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    // A brace would be taken for a variable of the directory's URL templates.
    bare && url.scheme() == "https" && url.has_host() && url.fragment().is_none() && !text.contains(['{', '}'])
}

impl super::PeerConfig {
    /// The addresses in their parts; `None` when one is not `host:port` with a port above 0.
    #[must_use]
    pub fn hosts_and_ports(&self) -> Option<Vec<(&str, u16)>> {
        self.address
            .split(',')
            .map(|address| host_and_port(address.trim()))
            .collect()
    }
}

fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    let port: u16 = port.parse().ok()?;
    (!host.is_empty() && port != 0).then_some((host, port))
}
