//! The HTTP skin: what a request must be before the hub looks at what it asks.

pub(crate) mod body;
pub(crate) mod identity;
pub(crate) mod problem;
pub(crate) mod rate;
