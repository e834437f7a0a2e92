//! The pure rules of a room: what its state may be, how updates change it, and who may make them
//! (draft-ietf-mimi-room-policy; draft-ietf-mimi-protocol, sections 5.3 and 7.5).
//!
//! Three steps, each total and deterministic, so that every replica and every client comes to the same result:
//! [`RoomPolicy`] reads and validates the state; [`RoomPolicy::apply`] turns the AppDataUpdates of a handshake into a
//! new state and a list of [`Change`]s; [`authorize()`] decides whether one actor may make these changes together.
//! `authorize` is the only place where a role is consulted.

mod authorize;
mod constraints;
pub mod examples;
mod list;
mod room;
#[cfg(test)]
mod tests;
mod update;

pub use authorize::{Actor, Change, Denied, authorize, authorize_together};
pub use constraints::Constraint;
pub use list::{ListError, ParticipantChange};
pub use room::{BANNED_ROLE_INDEX, BANNED_ROLE_NAME, MAX_PARTICIPANTS, MAX_ROLES, NO_ROLE_INDEX, RoomPolicy};
pub use update::{Applied, UpdateError};
