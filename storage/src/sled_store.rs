//! The state store on sled 0.34: one tree, unsynced writes, flushed when told to.
//!
//! sled has reported corruption after kills and panics on damaged files, so opening is fenced: whatever comes out of it is
//! an error that says to rebuild, never a panic of the process. See the design's "the state store can be lost and rebuilt".

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::error::{Engine, StorageError};
use crate::state::{Batch, Direction, KeyRange, KeyValue, Op, StateStore};

/// How the sled store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SledConfig {
    /// Bytes of the page cache.
    pub cache_bytes: u64,
}

impl Default for SledConfig {
    fn default() -> Self {
        Self { cache_bytes: 256 << 20 }
    }
}

/// The state store on sled.
pub struct SledStore {
    db: sled::Db,
    path: PathBuf,
}

impl SledStore {
    /// Opens the store in the folder `path`, creating it when it is not there.
    ///
    /// # Errors
    /// [`StorageError::Locked`] when another process has it open, [`StorageError::Corrupt`] when it does not read.
    pub fn open(path: &Path, config: &SledConfig) -> Result<Self, StorageError> {
        let sled = sled::Config::new()
            .path(path)
            .cache_capacity(config.cache_bytes)
            .mode(sled::Mode::HighThroughput)
            // Flushing is the owner's business: it has to know what was flushed before it may shorten the log.
            .flush_every_ms(None);
        let opened = catch_unwind(AssertUnwindSafe(|| sled.open()));
        match opened {
            Ok(Ok(db)) => Ok(Self {
                db,
                path: path.to_owned(),
            }),
            // sled reports its lock only in the text of an error of kind `Other`.
            Ok(Err(sled::Error::Io(error))) if error.to_string().contains("could not acquire lock") => {
                Err(StorageError::Locked { path: path.to_owned() })
            }
            Ok(Err(error)) => Err(map_error(path, error)),
            Err(_panic) => Err(StorageError::Corrupt {
                engine: Engine::Sled,
                path: path.to_owned(),
                detail: "sled panicked while it read its files".to_owned(),
            }),
        }
    }

    fn error(&self, error: sled::Error) -> StorageError {
        map_error(&self.path, error)
    }
}

impl StateStore for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let value = self.db.get(key).map_err(|error| self.error(error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, range: &KeyRange, limit: usize, direction: Direction) -> Result<Vec<KeyValue>, StorageError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let pairs = self.db.range(range.bounds());
        let read = |pair: sled::Result<(sled::IVec, sled::IVec)>| {
            pair.map(|(key, value)| (key.to_vec(), value.to_vec()))
                .map_err(|error| self.error(error))
        };
        match direction {
            Direction::Forward => pairs.take(limit).map(read).collect(),
            Direction::Reverse => pairs.rev().take(limit).map(read).collect(),
        }
    }

    fn write(&self, batch: Batch) -> Result<(), StorageError> {
        let mut writes = sled::Batch::default();
        for op in batch.into_ops() {
            match op {
                Op::Delete(key) => writes.remove(key),
                Op::Put(key, value) => writes.insert(key, value),
            }
        }
        self.db.apply_batch(writes).map_err(|error| self.error(error))
    }

    fn flush(&self) -> Result<(), StorageError> {
        match self.db.flush() {
            Ok(_bytes) => Ok(()),
            Err(sled::Error::Io(error)) if error.kind() == std::io::ErrorKind::StorageFull => {
                Err(StorageError::DiskFull { engine: Engine::Sled })
            }
            Err(error) => Err(StorageError::SyncFailed {
                engine: Engine::Sled,
                detail: error.to_string(),
            }),
        }
    }

    fn size_on_disk(&self) -> Result<u64, StorageError> {
        self.db.size_on_disk().map_err(|error| self.error(error))
    }
}

fn map_error(path: &Path, error: sled::Error) -> StorageError {
    match error {
        sled::Error::Io(source) if source.kind() == std::io::ErrorKind::StorageFull => {
            StorageError::DiskFull { engine: Engine::Sled }
        }
        // sled reports torn and overwritten pages as bad input as well as `Corruption`.
        sled::Error::Io(source) if source.kind() != std::io::ErrorKind::InvalidData => StorageError::Io {
            engine: Engine::Sled,
            path: path.to_owned(),
            source,
        },
        error => StorageError::Corrupt {
            engine: Engine::Sled,
            path: path.to_owned(),
            detail: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_is_told_that_the_store_is_locked() {
        let dir = tempfile::tempdir().unwrap();
        let _first = SledStore::open(dir.path(), &SledConfig::default()).unwrap();
        let second = SledStore::open(dir.path(), &SledConfig::default());
        assert!(matches!(second, Err(StorageError::Locked { .. })));
    }

    #[test]
    fn an_unreadable_store_is_an_error_that_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("conf"), b"not a sled configuration").unwrap();
        let error = SledStore::open(dir.path(), &SledConfig::default()).err().unwrap();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains("rebuild"), "{error}");
    }
}
