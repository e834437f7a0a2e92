//! The conformance suite: what [`StateStore`](crate::StateStore) and [`LogStore`](crate::LogStore) promise, held against
//! every implementation alike.

mod damage;
mod log;
mod state;
