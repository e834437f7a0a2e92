//! `[assets]`: the download proxy and the gateway of Oblivious HTTP (draft-ietf-mimi-protocol, sections 5.10.2 and 5.10.3).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use mimi_hub_proto::uri::ProviderDomain;
use serde::{Deserialize, Serialize};

use crate::assets::Network;

/// What is fetched for peers and gateways, from where, and what it may cost. Without `domains` nothing is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AssetsConfig {
    /// Provider to the hosts on which its users' assets are. Subdomains of a host are other hosts.
    pub domains: BTreeMap<ProviderDomain, Vec<ProviderDomain>>,
    /// PEM: the roots that asset servers' certificates must chain to. Needed with `domains`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Ports on which assets are.
    pub ports: Vec<u16>,
    /// Networks in which an asset server may be although they are not public: `["127.0.0.1/32"]`. For tests.
    pub allow_private: Vec<Network>,
    /// The largest asset.
    pub size_max_bytes: u64,
    /// Time from a request to the last byte of its asset.
    pub timeout_ms: u64,
    /// Downloads under way at once.
    pub in_flight_max: usize,
    /// Downloads under way at once for one peer provider.
    pub in_flight_max_per_peer: usize,
    /// Memory for assets that were fetched; 0 switches the cache off.
    pub cache_bytes_max: usize,
    /// How long an asset is kept there, where its server does not say less.
    pub cache_ttl_ms: u64,
    /// The largest asset by Oblivious HTTP: it is encrypted as a whole, and in memory up to three times meanwhile.
    pub ohttp_size_max_bytes: usize,
    /// Encapsulated requests under way at once, until their answers have been read.
    pub ohttp_in_flight_max: usize,
}

impl Default for AssetsConfig {
    fn default() -> Self {
        Self {
            domains: BTreeMap::new(),
            ca: None,
            ports: vec![443],
            allow_private: Vec::new(),
            size_max_bytes: 100 * 1024 * 1024,
            timeout_ms: 60_000,
            in_flight_max: 64,
            in_flight_max_per_peer: 32,
            cache_bytes_max: 64 * 1024 * 1024,
            cache_ttl_ms: 3_600_000,
            ohttp_size_max_bytes: 16 * 1024 * 1024,
            ohttp_in_flight_max: 16,
        }
    }
}

impl AssetsConfig {
    /// Whether there is anything to fetch.
    #[must_use]
    pub fn is_offered(&self) -> bool {
        self.domains.values().any(|hosts| !hosts.is_empty())
    }

    /// `timeout_ms`
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// `cache_ttl_ms`
    #[must_use]
    pub fn cache_ttl(&self) -> Duration {
        Duration::from_millis(self.cache_ttl_ms)
    }
}
