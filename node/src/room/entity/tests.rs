//! A hosted room between real MLS clients.

mod bundles;
mod commits;
mod creation;
mod franking;
mod key_material;
mod membership;
mod messages;
mod properties;
mod proposals;
mod world;
