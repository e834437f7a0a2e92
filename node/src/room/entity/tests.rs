//! A hosted room between real MLS clients.

mod bundles;
mod commits;
mod creation;
mod external_senders;
mod franking;
mod join_codes;
mod key_material;
mod membership;
mod messages;
mod moderation;
mod properties;
mod proposals;
mod pseudonyms;
mod uploads;
mod vectors;
mod world;
