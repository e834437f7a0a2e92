//! What several modules' tests share: MLS clients that openmls makes, and a hub without sockets.

pub(crate) mod client;
pub(crate) mod content;
pub(crate) mod credential;
pub(crate) mod entity;
pub(crate) mod hub;
pub(crate) mod roles;
