//! What a hub is held to, seen from outside: real server processes, real TLS, real MLS.
//!
//! Each test has a federation of its own (see [`mimi_hub_tests::World`]), so that all can run at the same time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests are tests: a failure of theirs is the failure of the test"
)]

mod assets;
mod bodies;
mod chaos;
mod cluster;
mod delivery;
mod group_info;
mod hostile_provider;
mod identity;
mod key_material;
mod leave;
mod local_api;
mod membership;
mod notify;
mod ohttp;
mod people;
mod policy;
mod process;
mod pseudonyms;
mod rebuild;
mod relay;
mod scene;
mod submit_message;
mod update;

use mimi_hub_tests::World;

/// A federation for one test.
fn world() -> World {
    World::new(env!("CARGO_BIN_EXE_hub-under-test"))
}
