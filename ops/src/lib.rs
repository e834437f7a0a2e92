//! What an operator runs and reads beside the server: making certificates, the demo, and the reference client that they and
//! the tests share.
//!
//! Speaks to a hub only over its local API, as any gateway does; knows nothing of the server's inside.

pub mod certs;
pub mod client;
pub mod demo;
mod error;
mod terminal;

pub use error::OpsError;
