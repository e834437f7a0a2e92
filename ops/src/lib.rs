//! What an operator runs and reads beside the server: making certificates, the demo, the load, chaos, and the reference client that
//! they and the tests share.
//!
//! Speaks to a hub only over its local API, as any gateway does; knows nothing of the server's inside.

pub mod certs;
pub mod chaos;
pub mod client;
pub mod cluster;
pub mod demo;
mod error;
mod folder;
pub mod load;
mod providers;
mod rng;
mod terminal;

pub use error::OpsError;
pub use rng::Rng;
