//! The harness of the end-to-end tests: real server processes on free loopback ports, each test with a folder, certificates
//! and ports of its own.
//!
//! | module | owns |
//! |---|---|
//! | `world` ([`World`]) | the folder, the two authorities, the ports: what all providers of one test share |
//! | `hub` ([`Hub`]) | one server process: configuration, start, stop, `kill -9`, restart, its gateway |
//! | `nodes` ([`Nodes`]) | a provider of several nodes, which come and go |
//! | `http` ([`Peer`], [`Answer`]) | raw requests as any provider or gateway, with any headers and bytes |
//! | `follower` ([`Follower`]) | a follower provider that answers what a test wants, and records what it received |
//! | `remote` ([`RemoteClient`]) | a client of such a provider, over raw requests |
//! | `forger` ([`Forger`]) | a client that commits what no honest client would |
//! | `simulation` | hubs without processes: real code on a virtual clock, network and disks |
//! | `tamper` | changing single fields of encoded requests |
//! | `stream` | reading a user's event stream from its start |
//!
//! Whatever goes wrong here is the failure of the test that uses it, so these functions panic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure of the harness is the failure of the test that uses it"
)]

pub mod assets;
mod follower;
mod forger;
mod http;
mod hub;
mod nodes;
pub mod ohttp;
mod ports;
mod remote;
pub mod simulation;
pub mod stream;
pub mod tamper;
mod world;

pub use follower::{Delivery, Follower, Reply};
pub use forger::{Forger, Forgery};
pub use http::{Answer, Peer, TlsIdentity, tls_client};
pub use hub::{Exit, Hub};
pub use nodes::Nodes;
pub use remote::RemoteClient;
pub use world::{World, client, domain, room, user};
