//! Users of this provider: their clients, the KeyPackages they have in store, who may fetch those, what they can be found by,
//! and the rooms they are in.
//!
//! Invariant: a KeyPackage is given out once. Claims go through the log, so that this holds across any failure.

mod claim;
pub(crate) mod consent;
mod decide;
pub(crate) mod discovery;
pub(crate) mod event;
pub(crate) mod state;
#[cfg(test)]
mod tests;

pub(crate) use self::decide::{UserAnswer, UserRequest};
