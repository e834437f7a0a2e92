//! What several modules' tests, and fuzzing, share: MLS clients that openmls makes, an entity as its actor would drive it,
//! and a hub without sockets.

pub(crate) mod client;
pub(crate) mod content;
pub(crate) mod credential;
pub(crate) mod entity;
#[cfg(test)]
pub(crate) mod hub;
pub(crate) mod roles;
