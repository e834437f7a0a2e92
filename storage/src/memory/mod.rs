//! The in-memory twins of the two stores, with faults injected by a seed.
//!
//! Each twin writes checksummed frames to a [`disk::Disk`], which is a journal that is synced, torn, filled up or lost as
//! the [`FaultPlan`] says. Recovery reads the frames back and stops at the first that does not check, as a file does.

mod disk;
mod log;
mod state;

pub use disk::FaultPlan;
pub use log::MemoryLog;
pub use state::MemoryStore;
