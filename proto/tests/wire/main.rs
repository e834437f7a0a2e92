//! The wire formats as a whole: golden octets, round trips, hostile input, and comparison with other implementations.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests outside of test functions; a failure is a failed test"
)]

mod arbitrary;
mod crypto;
mod golden;
mod hostile;
mod mls_bytes;
mod mls_spec_crate;
mod mls_views;
mod openmls_groups;
mod people;
mod round_trip;
mod samples;
