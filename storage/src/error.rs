//! Everything that can go wrong between the hub and its disk.
//!
//! Display texts of errors met while opening say what to do, since an operator reads them at start.

use std::fmt;
use std::path::PathBuf;

/// Which of the stores an error came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The data folder's own files.
    DataDir,
    /// The in-memory twins.
    Memory,
    /// The Raft log.
    RaftEngine,
    /// The state store.
    Sled,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DataDir => "data folder",
            Self::Memory => "in-memory store",
            Self::RaftEngine => "raft log",
            Self::Sled => "state store",
        })
    }
}

/// An error of a store or of the data folder.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Entries below the first index were asked for: they have been compacted away.
    #[error("raft log of group {group}: index {index} is compacted, the first one kept is {first}")]
    Compacted {
        /// The Raft group.
        group: u64,
        /// The index asked for.
        index: u64,
        /// The first index that is still there.
        first: u64,
    },
    /// What is on the disk does not read as what was written.
    #[error(
        "{engine} at {path:?} is corrupt: {detail}. Set the folder aside and let the node rebuild it from the other \
         replicas (or, on a single node, restore the newest backup)"
    )]
    Corrupt {
        /// The store concerned.
        engine: Engine,
        /// Where it lives; empty for the in-memory twins.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The in-memory store was crashed on purpose; this handle is dead.
    #[error("the in-memory store was crashed by its test; open the handle that the crash returned")]
    Crashed,
    /// No space is left. Nothing of the write is visible.
    #[error("{engine}: no space left on the device. Free space or enlarge the volume, then start the node again")]
    DiskFull {
        /// The store concerned.
        engine: Engine,
    },
    /// A folder or file could not be read, written or created.
    #[error(
        "{engine} at {path:?}: {source}. Check that the volume is mounted and that the folder belongs to the hub's user"
    )]
    Io {
        /// The store concerned.
        engine: Engine,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The folder belongs to another cluster or node.
    #[error(
        "data folder {path:?} belongs to node {found_node} of cluster {found_cluster}, but the configuration says node \
         {expected_node} of cluster {expected_cluster}. Point `data_dir` at this node's own folder, or at an empty one"
    )]
    ForeignDataDir {
        /// The folder.
        path: PathBuf,
        /// The cluster written in it.
        found_cluster: String,
        /// The node written in it.
        found_node: u64,
        /// The cluster of the configuration.
        expected_cluster: String,
        /// The node of the configuration.
        expected_node: u64,
    },
    /// The folder was written in a format this binary does not know.
    #[error(
        "data folder {path:?} has format version {found}, this binary reads up to {known}. Start the version of mimi-hub \
         that wrote it, or upgrade this one"
    )]
    FormatVersion {
        /// The folder.
        path: PathBuf,
        /// The version written in it.
        found: u32,
        /// The newest version this binary reads.
        known: u32,
    },
    /// Entries were appended that do not follow the log, or a compaction reaches beyond its end.
    #[error("raft log of group {group}: a write at index {index} does not fit a log that ends at {last}")]
    Gap {
        /// The Raft group.
        group: u64,
        /// The index of the write.
        index: u64,
        /// The last index of the log.
        last: u64,
    },
    /// Another process holds the store.
    #[error(
        "{path:?} is locked by another process. Stop the other mimi-hub that uses this folder (one folder, one process)"
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The path of a store cannot be used.
    #[error("{path:?} cannot be used as the folder of the {engine}: {detail}")]
    Path {
        /// The store concerned.
        engine: Engine,
        /// The path.
        path: PathBuf,
        /// Why not.
        detail: &'static str,
    },
    /// A sync failed. What was written since the last good one may be gone although it can still be read, so the store
    /// refuses everything from here on: restart, and let recovery find out.
    #[error(
        "{engine}: sync failed ({detail}). Nothing written since the last sync can be trusted; check the disk, then start the node again"
    )]
    SyncFailed {
        /// The store concerned.
        engine: Engine,
        /// What the system said.
        detail: String,
    },
    /// The group is not in the log store, or the index is beyond its log.
    #[error("raft log of group {group}: index {index} is not there")]
    Unavailable {
        /// The Raft group.
        group: u64,
        /// The index asked for.
        index: u64,
    },
}
