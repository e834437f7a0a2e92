//! Rooms that another provider hosts: what this provider, as a follower provider, keeps for its own users.
//!
//! - [`event`]: what can happen to one;
//! - [`entity`]: the requests that its actor takes, and what it decides.
//!
//! Invariant: each FanoutMessage of the hub is stored once, in the order in which the hub sent them, however often and in
//! whatever batches it sends them again.

pub(crate) mod entity;
pub(crate) mod event;
#[cfg(test)]
mod tests;

pub(crate) use self::entity::{FollowedAnswer, FollowedRequest, FollowedRoom};
