//! A clustered MIMI hub: the server.
//!
//! The way of a request, by file: [`listener`] takes the connection, `front::identity` says between which providers it
//! travels, `front::federation` (or `front::local`) finds the operation in `service`, which asks the actor of the room or
//! user (`actor`); the actor decides (`room`, `user`, `followed`), proposes what it accepted (`command`), `state_machine`
//! applies it on every replica, the actor replies, and `delivery` sends the event on.

mod actor;
pub mod assets;
pub mod cli;
mod clock;
pub mod command;
pub mod config;
mod delivery;
pub mod entity;
mod error;
mod followed;
mod forward;
mod front;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod hub;
mod keys;
mod listener;
mod logging;
mod machine;
mod members;
pub mod mls;
mod octets;
mod peer;
mod read;
mod recent;
mod repair;
pub mod room;
pub mod server;
mod service;
mod settings;
#[cfg(feature = "simulation")]
pub mod simulation;
mod state_machine;
#[cfg(any(test, feature = "fuzzing"))]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here is a finding, and a finding is a panic"
)]
mod testing;
mod tls;
mod user;
mod wakers;

pub use error::NodeError;
