//! The data folder: who it belongs to, and that one process at a time uses it.
//!
//! Invariants: a folder gets its identity once, durably, before anything else is stored in it, and keeps it for life; as
//! long as a [`DataDir`] lives, no other process can open the same folder.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Engine, StorageError};

/// The newest layout of a data folder that this binary knows.
pub const FORMAT_VERSION: u32 = 1;

const IDENTITY_FILE: &str = "IDENTITY";
const LOCK_FILE: &str = "LOCK";

/// The name of a cluster for life: 16 random bytes, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

impl FromStr for ClusterId {
    type Err = InvalidClusterId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(number) if digits => Ok(Self(number.to_be_bytes())),
            _ => Err(InvalidClusterId),
        }
    }
}

/// The text is not a cluster id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cluster id is 32 hexadecimal digits")]
pub struct InvalidClusterId;

/// Whose folder it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node in it.
    pub node: u64,
}

/// An open data folder. Dropping it lets another process in.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    // Held for the lock on it.
    _lock: File,
}

impl DataDir {
    /// Opens the folder for `identity`, creating the folder and writing the identity when there is none.
    ///
    /// # Errors
    /// [`StorageError::Locked`], [`StorageError::ForeignDataDir`], [`StorageError::FormatVersion`],
    /// [`StorageError::Corrupt`] when the identity file does not read, [`StorageError::Io`].
    pub fn open(path: &Path, identity: Identity) -> Result<Self, StorageError> {
        fs::create_dir_all(path).map_err(|source| io(path, source))?;
        let lock_path = path.join(LOCK_FILE);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|source| io(&lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StorageError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(io(&lock_path, source)),
        }
        match read_identity(path)? {
            Some(found) if found == identity => {}
            Some(found) => {
                return Err(StorageError::ForeignDataDir {
                    path: path.to_owned(),
                    found_cluster: found.cluster.to_string(),
                    found_node: found.node,
                    expected_cluster: identity.cluster.to_string(),
                    expected_node: identity.node,
                });
            }
            None => write_identity(path, identity)?,
        }
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Where the state store lives.
    pub fn state_path(&self) -> PathBuf {
        self.path.join("state")
    }

    /// Where the Raft log lives.
    pub fn log_path(&self) -> PathBuf {
        self.path.join("log")
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn io(path: &Path, source: std::io::Error) -> StorageError {
    StorageError::Io {
        engine: Engine::DataDir,
        path: path.to_owned(),
        source,
    }
}

fn read_identity(folder: &Path) -> Result<Option<Identity>, StorageError> {
    let path = folder.join(IDENTITY_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidData => return Err(unreadable(&path)),
        Err(source) => return Err(io(&path, source)),
    };
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.split_once('=').filter(|(key, _)| key.trim() == name))
            .map(|(_, v)| v.trim())
    };
    let format: u32 = field("format")
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| unreadable(&path))?;
    if format > FORMAT_VERSION {
        return Err(StorageError::FormatVersion {
            path: folder.to_owned(),
            found: format,
            known: FORMAT_VERSION,
        });
    }
    let cluster = field("cluster")
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| unreadable(&path))?;
    let node = field("node")
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| unreadable(&path))?;
    Ok(Some(Identity { cluster, node }))
}

fn unreadable(path: &Path) -> StorageError {
    StorageError::Corrupt {
        engine: Engine::DataDir,
        path: path.to_owned(),
        detail: "the identity file does not read".to_owned(),
    }
}

fn write_identity(folder: &Path, identity: Identity) -> Result<(), StorageError> {
    let text = format!(
        "format = {FORMAT_VERSION}\ncluster = {}\nnode = {}\n",
        identity.cluster, identity.node
    );
    let path = folder.join(IDENTITY_FILE);
    let unfinished = folder.join("IDENTITY.new");
    // Written beside, then renamed: a crash leaves no identity or the whole of it.
    let written = File::create(&unfinished)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&unfinished, &path))
        .and_then(|()| File::open(folder).and_then(|dir| dir.sync_all()));
    written.map_err(|source| io(&path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Identity = Identity {
        cluster: ClusterId([7; 16]),
        node: 1,
    };

    #[test]
    fn a_folder_keeps_its_identity() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path(), OURS).unwrap());
        drop(DataDir::open(dir.path(), OURS).unwrap());
        for foreign in [
            Identity { node: 2, ..OURS },
            Identity {
                cluster: ClusterId([8; 16]),
                ..OURS
            },
        ] {
            let error = DataDir::open(dir.path(), foreign).unwrap_err();
            assert!(
                matches!(error, StorageError::ForeignDataDir { found_node: 1, .. }),
                "{error:?}"
            );
            assert!(error.to_string().contains("data_dir"), "{error}");
        }
    }

    #[test]
    fn one_folder_one_holder() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path(), OURS).unwrap();
        assert!(matches!(
            DataDir::open(dir.path(), OURS),
            Err(StorageError::Locked { .. })
        ));
        drop(first);
        DataDir::open(dir.path(), OURS).unwrap();
    }

    #[test]
    fn a_newer_format_and_a_damaged_identity_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(IDENTITY_FILE);
        fs::write(&file, "format = 99\n").unwrap();
        assert!(matches!(
            DataDir::open(dir.path(), OURS),
            Err(StorageError::FormatVersion { found: 99, .. })
        ));
        for damaged in ["", "format = 1\ncluster = 12\nnode = 1\n", "format = 1\nnode = 1\n"] {
            fs::write(&file, damaged).unwrap();
            assert!(
                matches!(DataDir::open(dir.path(), OURS), Err(StorageError::Corrupt { .. })),
                "{damaged:?}"
            );
        }
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(matches!(
            DataDir::open(dir.path(), OURS),
            Err(StorageError::Corrupt { .. })
        ));
    }

    #[test]
    fn a_cluster_id_reads_as_written() {
        let id = ClusterId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]);
        assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in [
            "",
            "0001",
            "+00102030405060708090a0b0c0d0eff",
            "g00102030405060708090a0b0c0d0eff",
        ] {
            assert_eq!(wrong.parse::<ClusterId>(), Err(InvalidClusterId), "{wrong:?}");
        }
    }
}
