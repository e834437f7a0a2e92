//! Rooms that another provider hosts: what this provider, as a follower provider, keeps for its own users.
//!
//! - [`event`]: what can happen to one;
//! - [`entity`]: the requests that its actor takes, and what it decides.
//!
//! Invariant: each FanoutMessage of the hub is stored once, in the order in which the hub sent them, however often and in
//! whatever batches it sends them again.
//!
//! A Welcome is awaited for the KeyPackages that were given out for the room. They are not given again once they have
//! expired, and forgotten [`entity::KEPT_EXPIRED_MS`] later, by and by, with the events that come then: a Welcome that was
//! sent in time may arrive after that end, when the hub or this provider was away.

pub(crate) mod entity;
pub(crate) mod event;
#[cfg(test)]
mod tests;

pub(crate) use self::entity::{FollowedAnswer, FollowedRequest, FollowedRoom};
