//! The configuration of one hub process.
//!
//! This module owns the shape of the configuration file, its defaults, and the rules that its values keep. A
//! [`Config`] that [`Config::load`] has returned satisfies every rule of `validate`, so the rest of the program takes
//! its values as they are. Whether the *files* that it names are there and fit together is another question, answered
//! by [`check`].
//!
//! Sources, later ones win: the defaults below, one TOML file, the environment. Every key `a.b.c` can be set as
//! `MIMI_HUB__A__B__C`; the value is read as TOML if it is TOML (`5000`, `true`, `["a.example"]`,
//! `{"b.example"={address="127.0.0.1:7002"}}`), otherwise as a string. Relative paths start at the folder of the
//! file. Units stand last in the names of keys.
//!
//! Nothing secret is in a `Config`: private keys are named by path, and read by [`crate::tls`] alone.

mod assets;
pub mod check;
mod error;
mod load;
mod validate;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use mimi_hub_proto::uri::ProviderDomain;
use serde::{Deserialize, Serialize};

pub use assets::AssetsConfig;
pub use error::{ConfigError, Finding};

/// The whole configuration; one field per section of the file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[hub]`
    pub hub: HubConfig,
    /// `[federation]`
    pub federation: FederationConfig,
    /// `[local]`
    pub local: LocalConfig,
    /// `[cluster]`: this node's part in a cluster of several; absent where there is one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<NodeConfig>,
    /// `[admin]`: what operators ask and change of the cluster; absent where they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<AdminConfig>,
    /// `[peers."b.example"]`: how to reach single hosts, by name.
    #[serde(default)]
    pub peers: BTreeMap<ProviderDomain, PeerConfig>,
    /// `[limits]`
    #[serde(default)]
    pub limits: LimitsConfig,
    /// `[room]`
    #[serde(default)]
    pub room: RoomConfig,
    /// `[delivery]`
    #[serde(default)]
    pub delivery: DeliveryConfig,
    /// `[retention]`
    #[serde(default)]
    pub retention: RetentionConfig,
    /// `[consent]`
    #[serde(default)]
    pub consent: ConsentConfig,
    /// `[discovery]`
    #[serde(default)]
    pub discovery: DiscoveryConfig,
    /// `[assets]`
    #[serde(default)]
    pub assets: AssetsConfig,
    /// `[log]`
    #[serde(default)]
    pub log: LogConfig,
}

/// Who this provider is and where it keeps its state.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HubConfig {
    /// The domains served; the first is the primary one. `Host` of every federation request must be one of them.
    pub domains: Vec<ProviderDomain>,
    /// The folder of the state store and the Raft log.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// Number of shards; fixed when the cluster is created, because data on disk depends on it.
    #[serde(default = "default_shards")]
    pub shards: u16,
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("data")
}

fn default_shards() -> u16 {
    64
}

/// The listener for other providers, and what we show and trust when we call them.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FederationConfig {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Base of the URLs in our directory, see [`Config::public_base`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// PEM: our certificate, then its intermediates. Shown to peers as server and as client; covers all `hub.domains`.
    pub certificate: PathBuf,
    /// PEM: the key of `certificate`.
    pub private_key: PathBuf,
    /// PEM: the roots that peers' certificates must chain to, whether they call us or we call them.
    pub peer_ca: PathBuf,
}

/// The listener for the provider's own gateways.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LocalConfig {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// PEM: certificate and intermediates of this listener.
    pub certificate: PathBuf,
    /// PEM: the key of `certificate`.
    pub private_key: PathBuf,
    /// PEM: the roots of the gateways' client certificates. Whoever holds such a certificate may speak for any user.
    pub client_ca: PathBuf,
}

/// One node among several. All nodes of a cluster serve the same domains and have the same number of shards.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// This node's number, from 1, for life.
    pub node: u64,
    /// Address and port to listen on for the other nodes.
    pub listen: SocketAddr,
    /// Where the nodes are that create the cluster, this one among them: number to `host:port`. A node that joins one names
    /// itself and those that it begins with; from then on the cluster knows where its nodes are.
    pub nodes: BTreeMap<String, String>,
    /// Where this node dials others in place of where they are: through a tunnel, for example.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub detours: BTreeMap<String, String>,
    /// PEM: this node's certificate, for `node-<number>.cluster.internal`, server and client.
    pub certificate: PathBuf,
    /// PEM: the key of `certificate`.
    pub private_key: PathBuf,
    /// PEM: the cluster's own CA. Whoever holds a certificate of it is a node.
    pub ca: PathBuf,
    /// 32 random bytes in base64, the same for all nodes: the key under which they keep the hub's MLS keys. Nodes with
    /// different ones refuse each other as of different clusters.
    pub seal_key: PathBuf,
    /// Whether this node joins a cluster that exists, with an empty data folder.
    #[serde(default)]
    pub join: bool,
    /// What this node fails together with: a rack, a room, a power line.
    #[serde(default)]
    pub zone: String,
    /// Replicas of each shard, where there are as many nodes. Recorded when the cluster is created.
    #[serde(default = "default_replicas")]
    pub replicas: u8,
    /// After how long without a sign of life a node's replicas are placed on other nodes.
    #[serde(default = "default_replace_after")]
    pub replace_after_ms: u64,
    /// How often the replicas of every shard are compared; 0 switches that off.
    #[serde(default = "default_check_interval")]
    pub check_interval_ms: u64,
}

fn default_replicas() -> u8 {
    3
}

fn default_check_interval() -> u64 {
    24 * 3_600_000
}

fn default_replace_after() -> u64 {
    300_000
}

/// The listener for the cluster's operators.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// PEM: certificate and intermediates of this listener.
    pub certificate: PathBuf,
    /// PEM: the key of `certificate`.
    pub private_key: PathBuf,
    /// PEM: the roots of the operators' client certificates. Whoever holds such a certificate may change the cluster.
    pub client_ca: PathBuf,
}

impl NodeConfig {
    /// Where the other nodes reach this one.
    pub(crate) fn own_address(&self) -> Option<&str> {
        self.nodes.get(&self.node.to_string()).map(String::as_str)
    }

    /// The nodes by their numbers; `None` when one is not a number from 1.
    pub(crate) fn numbered(&self) -> Option<BTreeMap<u64, &str>> {
        numbered(&self.nodes)
    }

    /// The detours by the numbers of their nodes; `None` when one is not a number from 1.
    pub(crate) fn numbered_detours(&self) -> Option<BTreeMap<u64, &str>> {
        numbered(&self.detours)
    }
}

fn numbered(nodes: &BTreeMap<String, String>) -> Option<BTreeMap<u64, &str>> {
    nodes
        .iter()
        .map(|(number, address)| {
            let number = number.parse().ok().filter(|number| *number > 0)?;
            Some((number, address.as_str()))
        })
        .collect()
}

/// How to reach one host, in place of what DNS says.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PeerConfig {
    /// `host:port` to dial, or several, separated by commas: a provider's nodes, of which the first that takes the
    /// connection is used. The name that TLS checks stays that of the peer.
    pub address: String,
}

/// What one connection, one request and one provider may cost.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Largest body of a request that we take, and of an answer that we accept from a peer.
    pub body_bytes_max: usize,
    /// Time from the first to the last byte of a request's body.
    pub body_timeout_ms: u64,
    /// Time for the TLS handshake, again from there to the first request, and for an HTTP/1.1 request's header.
    pub header_timeout_ms: u64,
    /// Time from a request's header to its answer.
    pub request_timeout_ms: u64,
    /// Connections held at once, per listener; further ones are closed unanswered.
    pub connections_max: usize,
    /// Sustained request rate of one source provider; 0 switches the limit off.
    pub requests_per_second_per_provider: u32,
    /// Requests that one source provider may send at once above that rate.
    pub requests_burst_per_provider: u32,
    /// Time that open requests get to end when the process is told to stop.
    pub drain_ms: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 * 1024 * 1024,
            body_timeout_ms: 10_000,
            header_timeout_ms: 5_000,
            request_timeout_ms: 15_000,
            connections_max: 10_000,
            requests_per_second_per_provider: 0,
            requests_burst_per_provider: 100,
            drain_ms: 10_000,
        }
    }
}

impl LimitsConfig {
    /// `body_timeout_ms`
    #[must_use]
    pub fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    /// `header_timeout_ms`
    #[must_use]
    pub fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    /// `request_timeout_ms`
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// `drain_ms`
    #[must_use]
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }
}

/// What one room may cost.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoomConfig {
    /// Epochs before the current one whose application messages are still accepted.
    pub past_epochs_max: u64,
    /// Proposals that wait for a Commit.
    pub pending_proposals_max: usize,
    /// Handshake bytes after which the room's state is written as a checkpoint.
    pub checkpoint_handshake_bytes: u64,
    /// Leaves of the room's ratchet tree that hold a client.
    pub members_max: usize,
    /// Time without a request after which a room leaves memory.
    pub idle_ms: u64,
}

impl Default for RoomConfig {
    fn default() -> Self {
        Self {
            past_epochs_max: 2,
            pending_proposals_max: 256,
            checkpoint_handshake_bytes: 1024 * 1024,
            members_max: 10_000,
            idle_ms: 600_000,
        }
    }
}

/// How accepted events travel to other providers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeliveryConfig {
    /// First pause after a failed `/notify`.
    pub retry_ms_min: u64,
    /// Longest pause between two tries.
    pub retry_ms_max: u64,
    /// FanoutMessages in one `/notify`.
    pub batch_messages_max: usize,
    /// Body of one `/notify`; a single larger message travels alone.
    pub batch_bytes_max: usize,
    /// Requests open at once towards one provider.
    pub in_flight_per_destination_max: usize,
    /// Age at which a peer's directory is fetched anew.
    pub directory_ttl_ms: u64,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            retry_ms_min: 200,
            retry_ms_max: 60_000,
            batch_messages_max: 64,
            batch_bytes_max: 1024 * 1024,
            in_flight_per_destination_max: 16,
            directory_ttl_ms: 300_000,
        }
    }
}

/// How much of a room's event log stays when every destination has it, or never comes for it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Events kept per room.
    pub events_max_per_room: u64,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self {
            events_max_per_room: 100_000,
        }
    }
}

/// Who may fetch a user's KeyPackages.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsentConfig {
    /// The answer for a requester that no rule of the user speaks of.
    pub default: ConsentDefault,
    /// Where the default is no: is consent implied for users of this provider?
    pub same_provider: bool,
    /// Where the default is no: is consent implied for who is in a room together with the user? Rooms hosted here count; of
    /// others this provider does not know who is in them.
    pub shared_room: bool,
    /// Are other providers told that a user is unknown or deleted? If not, they hear that it does not consent.
    pub tell_unknown: bool,
}

impl Default for ConsentConfig {
    fn default() -> Self {
        Self {
            default: ConsentDefault::default(),
            same_provider: false,
            shared_room: false,
            tell_unknown: true,
        }
    }
}

/// Who may find users by what.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscoveryConfig {
    /// By what other providers may search; nothing switches the search off.
    pub search: Vec<SearchBy>,
    /// Users that one answer names. A query that more users match is answered that it must be more exact.
    pub results_max: usize,
    /// Characters that a search for a part of a name or profile must have.
    pub partial_chars_min: usize,
    /// Users whose profiles one search looks at in each shard: all, for a part; those of one term, otherwise.
    pub profiles_max: usize,
    /// Queries of one provider in a minute, at each node; 0 switches the limit off.
    pub queries_per_minute_per_provider: u32,
}

/// Values of `discovery.search`: the draft's search types.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SearchBy {
    /// A handle URI.
    Handle,
    /// A nickname.
    Nick,
    /// An address.
    Email,
    /// A telephone number.
    Phone,
    /// A part of a name.
    PartialName,
    /// A part of any field.
    WholeProfile,
    /// A claim.
    OidcStdClaim,
    /// A property.
    VcardField,
}

impl Default for DiscoveryConfig {
    fn default() -> Self {
        use SearchBy::{Email, Handle, Nick, OidcStdClaim, PartialName, Phone, VcardField, WholeProfile};
        Self {
            search: vec![
                Handle,
                Nick,
                Email,
                Phone,
                PartialName,
                WholeProfile,
                OidcStdClaim,
                VcardField,
            ],
            results_max: 20,
            partial_chars_min: 3,
            profiles_max: 10_000,
            queries_per_minute_per_provider: 600,
        }
    }
}

/// Values of `consent.default`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsentDefault {
    /// Without a rule, KeyPackages are handed out.
    #[default]
    Allow,
    /// Without a rule, they are not.
    Deny,
}

/// What the process writes about itself, to standard error.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// One event per line for people, or one JSON object per line.
    pub format: LogFormat,
    /// Directives of tracing-subscriber's `EnvFilter`: `info`, `info,mimi_hub::peer=debug`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            filter: "info".to_owned(),
        }
    }
}

/// Values of `log.format`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// One line per event.
    Text,
}

impl Config {
    /// Reads the file at `path`, lays the environment over it, and checks every value.
    ///
    /// # Errors
    /// The file cannot be read, is not TOML of this shape, or holds values that break a rule; all broken rules are
    /// reported at once.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load::load(path, load::process_environment())
    }

    /// The domain under which this provider acts when nothing says which of its domains is meant.
    ///
    /// # Panics
    /// Never for a loaded configuration: `hub.domains` was found not to be empty.
    #[must_use]
    #[expect(
        clippy::expect_used,
        reason = "a configuration that `validate` refuses is not loaded"
    )]
    pub fn primary_domain(&self) -> &ProviderDomain {
        self.hub
            .domains
            .first()
            .expect("`validate` refuses an empty hub.domains")
    }

    /// What the URLs in our directory begin with, without a final slash; `https://<primary domain>` unless set.
    #[must_use]
    pub fn public_base(&self) -> String {
        match &self.federation.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("https://{}", self.primary_domain()),
        }
    }

    /// The configuration in force as a TOML document, defaults included.
    ///
    /// # Errors
    /// A value does not fit TOML, such as a path that is not UTF-8.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        toml::to_string_pretty(self).map_err(ConfigError::Print)
    }
}
