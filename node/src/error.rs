//! Everything that can stop the process or one of its parts, apart from answers to requests.
//!
//! Answers have their own shape, [`crate::front::problem::Problem`]; calls to other providers have
//! [`crate::peer::PeerError`], on which their callers branch.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::config::ConfigError;

/// Why the process cannot start, or cannot renew what it was started with.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The actor system does not start.
    #[error("cannot start the actors: {0}")]
    Actors(#[source] io::Error),
    /// The address of a listener is taken or not ours.
    #[error("cannot listen on {listen} for {purpose}: {source}")]
    Bind {
        /// The address.
        listen: SocketAddr,
        /// Which listener.
        purpose: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The configuration is unusable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The client for calls to other providers cannot be made.
    #[error("cannot make the client for other providers: {0}")]
    PeerClient(#[source] reqwest::Error),
    /// The log's filter is not understood.
    #[error("cannot use log.filter: {0}")]
    LogFilter(#[source] tracing_subscriber::filter::ParseError),
    /// Logging was set up before.
    #[error("logging is set up already: {0}")]
    LogInit(#[source] tracing_subscriber::util::TryInitError),
    /// A signal of the operating system cannot be listened to.
    #[error("cannot listen for SIGHUP: {0}")]
    Signal(#[source] io::Error),
    /// Certificate and key were read and do not make a TLS configuration, such as a key of another certificate.
    #[error("cannot use {} with {}: {source}", certificate.display(), private_key.display())]
    TlsIdentity {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        private_key: PathBuf,
        /// What does not fit.
        source: rustls::Error,
    },
    /// A PEM file holds nothing of the kind that is needed.
    #[error("{} holds no {wanted} in PEM form: {source}", path.display())]
    TlsPem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        wanted: &'static str,
        /// What the parser says.
        source: rustls::pki_types::pem::Error,
    },
    /// A file named in the configuration cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    TlsRead {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The roots cannot check anybody's certificate.
    #[error("cannot use the roots in {}: {problem}", path.display())]
    TlsRoots {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        problem: String,
    },
    /// The replicated log or its shards do not start or run.
    #[error(transparent)]
    Cluster(#[from] mimi_hub_cluster::ClusterError),
    /// The command line's own files, or the data folder.
    #[error(transparent)]
    Storage(#[from] mimi_hub_storage::StorageError),
    /// The members of a room do not go by one kind of names.
    #[error(transparent)]
    Credential(#[from] crate::room::credentials::CredentialRefusal),
    /// A record in the store is not readable.
    #[error(transparent)]
    Format(#[from] crate::command::FormatError),
    /// The way to the other nodes cannot be set up.
    #[error(transparent)]
    Network(#[from] mimi_hub_cluster::NetworkError),
    /// A damaged store cannot be moved out of the way.
    #[error("cannot set {path} aside: {source}")]
    SetAside {
        /// The store.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A node's number is none.
    #[error("cluster.nodes: nodes are numbered from 1")]
    Nodes,
    /// The hub's MLS keys are not usable.
    #[error(transparent)]
    HubKeys(#[from] crate::mls::hub_keys::HubKeysError),
    /// The key under which the nodes keep them is not usable.
    #[error(transparent)]
    Seal(#[from] crate::mls::seal::SealError),
    /// A stored MLS group is not readable.
    #[error(transparent)]
    GroupStore(#[from] crate::mls::store::GroupStoreError),
    /// The MLS library refuses what it accepted before.
    #[error("MLS: {0}")]
    Mls(String),
    /// A stored message or identifier does not decode.
    #[error(transparent)]
    Proto(#[from] mimi_hub_proto::Error),
    /// What was accepted before cannot be carried out again: a mistake of ours, or a damaged store.
    #[error("a stored event cannot be carried out again: {0}")]
    Replay(String),
    /// An actor was started for an entity of another kind: a mistake of ours.
    #[error("{0} is not of this actor's kind")]
    WrongEntity(String),
}
