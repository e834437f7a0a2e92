//! The threads around the core, and the handle to them.
//!
//! | thread | does | waits for |
//! |---|---|---|
//! | worker | drives the core: takes what waits in the inbox, writes the log (one sync for all groups), hands on | the log's disk |
//! | applier | applies committed entries, writes the state store, answers proposers | the state store |
//! | flusher | flushes the state store now and then, lets the core compact the logs behind it, reclaims their files | the state store's disk |
//! | snapshot sender | reads the state of a shard and sends it, one at a time | the state store, the other node |
//! | installer | puts snapshots that have arrived into the state store | the state store's disk |
//!
//! All queues are bounded: the inbox by count and bytes, what is between core and applier by the core's own limits.

mod applier;
mod board;
mod cluster;
mod delivery;
mod flusher;
mod inbox;
mod installer;
mod logger;
mod sender;
#[cfg(test)]
mod tests;
mod worker;

pub use board::{Checksum, ClusterStatus, ShardStatus};
pub(crate) use cluster::WeakCluster;
pub use cluster::{Cluster, Outcome, Proposal};
pub use delivery::Delivery;
