//! .
pub mod config;
mod error;
mod front;
mod listener;
mod logging;
mod peer;
mod recent;
mod tls;

pub use error::NodeError;
