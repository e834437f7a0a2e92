//! What can go wrong, by who has to react.

use mimi_hub_storage::StorageError;

use crate::config::NodeId;
use crate::shard::ShardId;

/// The cluster did not start, or could not carry out what its operator asked.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The configuration contradicts itself.
    #[error("cluster configuration: {0}")]
    Config(#[from] ConfigError),
    /// Raft refused a group's recovered state.
    #[error("{shard}: raft does not accept the recovered state: {detail}")]
    Recovery {
        /// The shard.
        shard: ShardId,
        /// What raft said.
        detail: String,
    },
    /// A record of the cluster's own does not read.
    #[error("the record `{name}` of {shard} does not read. Set the data folder aside and rebuild the node")]
    Record {
        /// The shard.
        shard: ShardId,
        /// Which record.
        name: &'static str,
    },
    /// The number of shards is fixed when a cluster is created.
    #[error(
        "this data folder holds a cluster of {stored} shards, the configuration says {configured}. It cannot be changed"
    )]
    ShardCount {
        /// In the data folder.
        stored: u32,
        /// In the configuration.
        configured: u32,
    },
    /// The state store and the log do not belong together: one of them was lost or replaced.
    #[error(
        "{shard}: the state store has applied index {applied}, but the log holds {first} to {last}. One of the two was lost \
         or replaced: restore both from the same backup, or set the folder aside and rebuild the node"
    )]
    StateDoesNotFitLog {
        /// The shard.
        shard: ShardId,
        /// Applied index of the state store; 0 when it has none.
        applied: u64,
        /// First index of the log.
        first: u64,
        /// Last index of the log.
        last: u64,
    },
    /// A store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// What is wrong with a [`ClusterConfig`](crate::ClusterConfig).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Elections must take several heartbeats.
    #[error("`election_ticks` ({election}) must be greater than `heartbeat_ticks` ({heartbeat}), and that not 0")]
    ElectionTicks {
        /// `election_ticks`.
        election: usize,
        /// `heartbeat_ticks`.
        heartbeat: usize,
    },
    /// Node ids start at 1.
    #[error("a node id cannot be 0")]
    NodeZero,
    /// A cluster has at least one shard.
    #[error("`shards` cannot be 0")]
    NoShards,
    /// This node is not one of the cluster's.
    #[error("node {0} is not in `nodes`")]
    NotAMember(NodeId),
    /// Other nodes cannot be reached.
    #[error("`nodes` names {0} nodes, but the cluster was started without a transport between them")]
    NoTransport(usize),
    /// Ticks drive everything.
    #[error("`tick` cannot be 0")]
    ZeroTick,
}

/// The network between nodes did not start.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// There is no CA, so that no peer could prove itself.
    #[error("the cluster CA file holds no certificate: give it the certificate that signed those of the nodes")]
    NoCa,
    /// The node has nothing to prove itself with.
    #[error("the file of the node's certificate holds none")]
    NoCertificate,
    /// A PEM file does not read.
    #[error("{part} does not read: {source}")]
    Pem {
        /// Which file.
        part: &'static str,
        /// What is wrong with it.
        source: rustls::pki_types::pem::Error,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// The certificate and the key, or their kinds, do not fit.
    #[error("the certificates cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// The certificate is that of another node.
    #[error("the certificate is not for `{name}`: node {node} needs its own, signed by the cluster CA for that name")]
    WrongCertificate {
        /// This node.
        node: NodeId,
        /// The name that its certificate has to be for.
        name: String,
    },
}

/// Why a proposal or a read was not carried out, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another change of members is under way, or this one is not possible. Nothing was done.
    #[error("another change of members is under way, or this one is not possible")]
    ChangeRefused,
    /// It takes a format that not every node understands yet. Nothing was done.
    #[error("not every node understands format {format} yet: upgrade the ones that do not")]
    HeldBack {
        /// The format.
        format: u16,
    },
    /// The cluster has no such shard.
    #[error("there is no {0}")]
    NoSuchShard(ShardId),
    /// Another replica leads the shard. Nothing was done.
    #[error("this node does not lead the shard")]
    NotLeader {
        /// Who does, if this node knows.
        leader: Option<NodeId>,
    },
    /// A queue is full. Nothing was done; try again later.
    #[error("too much is waiting already")]
    Overloaded,
    /// The node is stopping. Nothing was done.
    #[error("the node is shutting down")]
    ShuttingDown,
    /// The command is larger than any the cluster takes. Nothing was done.
    #[error("a command of {bytes} bytes, at most {limit} are possible")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Leadership was lost, or the node stopped, while the proposal was under way: it may be carried out or not.
    #[error("the outcome is unknown")]
    Unknown,
}

/// A state machine could not apply an entry. No replica may go on without it, so the process stops (see the crate's
/// documentation).
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The command does not read, or contradicts the state: a bug, or damage.
    #[error("{0}")]
    Broken(String),
    /// The state store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
