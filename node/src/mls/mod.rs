//! Where the hub touches MLS: the cryptography of the drafts' labelled operations ([`crypto`]), the hub's own keys
//! ([`hub_keys`], [`franking_keys`]), and the storage that keeps openmls's [`PublicGroup`](openmls::group::PublicGroup) in memory and turns
//! it into a checkpoint only when asked ([`store`]).

pub(crate) mod crypto;
pub(crate) mod franking_keys;
pub mod hub_keys;
pub(crate) mod ohttp_keys;
pub mod seal;
pub mod store;
