//! The log store on raft-engine 0.4.
//!
//! raft-engine keeps entries by group and index and named values by group. On top of it this module keeps each group's
//! [`LogStart`] as a value, because the engine forgets the term of what it compacted and, once old files are gone, may
//! show compacted entries again after a restart: whatever lies at or below the start does not exist.
//!
//! raft-engine 0.4 caches the last block read per *thread*, by file number and offset, whichever engine it came from: a
//! thread that reads two engines gets the entries of one from the other, and a purge would even write them down. So every
//! read goes through [`RaftEngineLog::reading`], which keeps each thread to one engine.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use raft::eraftpb::{Entry, HardState};
use raft_engine::{Command, Config, Engine as RaftEngine, MessageExt, ReadableSize, RecoveryMode};

use crate::error::{Engine, StorageError};
use crate::log::{Durability, GroupId, GroupState, GroupWrite, LogBatch, LogStart, LogStore, Span};

const HARD_STATE: &[u8] = b"hard_state";
const START: &[u8] = b"start";
const RECORD_PREFIX: &[u8] = b"record/";

/// Numbers the engines opened by this process, from 1.
static OPENED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The engine whose blocks this thread may have cached; 0 before the first read.
    static READS: Cell<u64> = const { Cell::new(0) };
}

/// Tells the engine where an entry's index is.
struct Entries;

impl MessageExt for Entries {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// How the log is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftEngineConfig {
    /// Bytes after which a new log file is begun.
    pub file_bytes: u64,
    /// Bytes of log files from which on compacted entries are cleared away. Not less than `file_bytes`.
    pub purge_bytes: u64,
}

impl Default for RaftEngineConfig {
    fn default() -> Self {
        Self {
            file_bytes: 64 << 20,
            purge_bytes: 1 << 30,
        }
    }
}

/// The Raft log on raft-engine.
pub struct RaftEngineLog {
    engine: RaftEngine,
    /// Of this opening, among all in the process.
    number: u64,
    path: PathBuf,
    /// The groups' spans. Held over a write, so that it agrees with the engine at every moment it can be read.
    spans: Mutex<BTreeMap<GroupId, Span>>,
}

impl RaftEngineLog {
    /// Opens the log in the folder `path`, creating it when it is not there. A torn tail is cut off.
    ///
    /// # Errors
    /// [`StorageError::Locked`] when another process has it open, [`StorageError::Corrupt`] when it does not read.
    pub fn open(path: &Path, config: &RaftEngineConfig) -> Result<Self, StorageError> {
        let Some(dir) = path.to_str() else {
            let detail = "the path has to be valid UTF-8";
            return Err(StorageError::Path {
                engine: Engine::RaftEngine,
                path: path.to_owned(),
                detail,
            });
        };
        let config = Config {
            dir: dir.to_owned(),
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            target_file_size: ReadableSize(config.file_bytes),
            purge_threshold: ReadableSize(config.purge_bytes.max(config.file_bytes)),
            // Ciphertext does not compress.
            batch_compression_threshold: ReadableSize(0),
            ..Config::default()
        };
        // The engine panics on some damage that it meets while it replays.
        let engine = match catch_unwind(AssertUnwindSafe(|| RaftEngine::open(config))) {
            Ok(Ok(engine)) => engine,
            Ok(Err(raft_engine::Error::Other(error))) if error.to_string().contains("Failed to lock file") => {
                return Err(StorageError::Locked { path: path.to_owned() });
            }
            Ok(Err(error)) => return Err(map_error(path, error)),
            Err(_panic) => return Err(corrupt(path, "the engine panicked while it replayed its files")),
        };
        let mut spans = BTreeMap::new();
        for group in engine.raft_groups() {
            spans.insert(group, recover_span(&engine, path, group)?);
        }
        let number = OPENED.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Self {
            engine,
            number,
            path: path.to_owned(),
            spans: Mutex::new(spans),
        })
    }

    /// Runs `read` on a thread that has read no other engine: this one, as a rule.
    fn reading<T: Send>(&self, read: impl FnOnce() -> Result<T, raft_engine::Error> + Send) -> Result<T, StorageError> {
        let owner = READS.get();
        let result = if owner == 0 || owner == self.number {
            READS.set(self.number);
            read()
        } else {
            let joined = std::thread::scope(|scope| scope.spawn(read).join());
            joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        result.map_err(|error| self.error(error))
    }

    fn spans(&self) -> MutexGuard<'_, BTreeMap<GroupId, Span>> {
        // The map is only changed after the engine's write has succeeded, in one step per group that cannot panic.
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn span(&self, group: GroupId, index: u64) -> Result<Span, StorageError> {
        self.spans()
            .get(&group)
            .copied()
            .ok_or(StorageError::Unavailable { group, index })
    }

    fn error(&self, error: raft_engine::Error) -> StorageError {
        map_error(&self.path, error)
    }

    fn term_in(&self, span: Span, group: GroupId, index: u64) -> Result<u64, StorageError> {
        if index == span.start.index {
            return Ok(span.start.term);
        }
        span.check(group, index, index + 1)?;
        let entry = self.reading(|| self.engine.get_entry::<Entries>(group, index))?;
        entry
            .map(|entry| entry.term)
            .ok_or(StorageError::Unavailable { group, index })
    }

    fn add(
        &self,
        to: &mut raft_engine::LogBatch,
        group: GroupId,
        write: &GroupWrite,
        before: Option<Span>,
        after: Span,
    ) -> Result<(), raft_engine::Error> {
        let is_new = before.is_none();
        let before = before.unwrap_or_default();
        if let Some(last) = self.engine.last_index(group) {
            // Entries that a reset forgets, and those that the engine shows again after a restart, would leave a hole
            // before the new ones, which the engine does not survive.
            let hole = write.entries.first().is_some_and(|first| last + 1 < first.index);
            if write.reset.is_some() || hole {
                to.add_command(group, Command::Compact { index: last + 1 });
            }
        }
        to.add_entries::<Entries>(group, &write.entries)?;
        if after.start.index > before.start.index && write.compact_to.is_some() {
            to.add_command(
                group,
                Command::Compact {
                    index: after.start.index + 1,
                },
            );
        }
        // Also of a group written to for the first time, so that it is there after a restart whatever else is written.
        if after.start != before.start || write.reset.is_some() || is_new {
            to.put(group, START.to_vec(), encode_start(after.start))?;
        }
        if let Some(hard_state) = &write.hard_state {
            to.put_message(group, HARD_STATE.to_vec(), hard_state)?;
        }
        for (name, value) in &write.records {
            let key = [RECORD_PREFIX, name].concat();
            match value {
                Some(value) => to.put(group, key, value.clone())?,
                None => to.delete(group, key),
            }
        }
        Ok(())
    }
}

impl LogStore for RaftEngineLog {
    fn groups(&self) -> Result<Vec<GroupId>, StorageError> {
        Ok(self.spans().keys().copied().collect())
    }

    fn group(&self, group: GroupId) -> Result<Option<GroupState>, StorageError> {
        let Some(span) = self.spans().get(&group).copied() else {
            return Ok(None);
        };
        let hard_state: Option<HardState> = self
            .engine
            .get_message(group, HARD_STATE)
            .map_err(|error| self.error(error))?;
        Ok(Some(GroupState {
            hard_state: hard_state.unwrap_or_default(),
            start: span.start,
            last_index: span.last,
        }))
    }

    fn entries(&self, group: GroupId, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, StorageError> {
        if low >= high {
            return Ok(Vec::new());
        }
        self.span(group, low)?.check(group, low, high)?;
        let limit = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        self.reading(|| {
            let mut entries = Vec::new();
            self.engine
                .fetch_entries_to::<Entries>(group, low, high, Some(limit), &mut entries)?;
            Ok(entries)
        })
    }

    fn term(&self, group: GroupId, index: u64) -> Result<u64, StorageError> {
        self.term_in(self.span(group, index)?, group, index)
    }

    fn record(&self, group: GroupId, name: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.engine.get(group, &[RECORD_PREFIX, name].concat()))
    }

    fn append(&self, batch: LogBatch, durability: Durability) -> Result<(), StorageError> {
        let mut spans = self.spans();
        let mut write = raft_engine::LogBatch::default();
        let mut after = Vec::new();
        for (group, change) in batch.groups() {
            let known = spans.get(&group).copied();
            let before = known.unwrap_or_default();
            let span = before.after(group, change, |index| self.term_in(before, group, index))?;
            self.add(&mut write, group, change, known, span)
                .map_err(|error| self.error(error))?;
            after.push((group, span));
        }
        let synced = durability == Durability::Synced;
        // The engine panics when a sync fails; see `StorageError::SyncFailed` for what that means.
        let written = catch_unwind(AssertUnwindSafe(|| {
            self.engine.write(&mut write, synced).and_then(|_| {
                // A batch of nothing new is not written, and then not synced either.
                if synced && write.is_empty() {
                    self.engine.sync()
                } else {
                    Ok(())
                }
            })
        }));
        match written {
            Ok(Ok(())) => spans.extend(after),
            Ok(Err(error)) => return Err(self.error(error)),
            Err(panic) => {
                let detail = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .unwrap_or_else(|| "the engine panicked".to_owned());
                return Err(StorageError::SyncFailed {
                    engine: Engine::RaftEngine,
                    detail,
                });
            }
        }
        Ok(())
    }

    fn reclaim(&self) -> Result<(), StorageError> {
        // The groups that the engine would like to see compacted are compacted by their owner's own rule.
        self.reading(|| self.engine.purge_expired_files().map(|_groups| ()))
    }

    fn size_on_disk(&self) -> Result<u64, StorageError> {
        Ok(self.engine.get_used_size() as u64)
    }
}

fn recover_span(engine: &RaftEngine, path: &Path, group: GroupId) -> Result<Span, StorageError> {
    let start = match engine.get(group, START) {
        Some(bytes) => decode_start(&bytes).ok_or_else(|| corrupt(path, "the start of a log does not read"))?,
        None => LogStart::default(),
    };
    let last = engine.last_index(group).filter(|last| *last > start.index);
    if last.is_some() && engine.first_index(group).is_none_or(|first| first > start.index + 1) {
        return Err(corrupt(path, "a log does not begin where it was compacted to"));
    }
    Ok(Span {
        start,
        last: last.unwrap_or(start.index),
    })
}

/// Format version 1: the version, index and term in big endian.
fn encode_start(start: LogStart) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend_from_slice(&start.index.to_be_bytes());
    bytes.extend_from_slice(&start.term.to_be_bytes());
    bytes
}

fn decode_start(bytes: &[u8]) -> Option<LogStart> {
    let (index, term) = bytes.strip_prefix(&[1])?.split_at_checked(8)?;
    Some(LogStart {
        index: u64::from_be_bytes(index.try_into().ok()?),
        term: u64::from_be_bytes(term.try_into().ok()?),
    })
}

fn corrupt(path: &Path, detail: &str) -> StorageError {
    StorageError::Corrupt {
        engine: Engine::RaftEngine,
        path: path.to_owned(),
        detail: detail.to_owned(),
    }
}

fn map_error(path: &Path, error: raft_engine::Error) -> StorageError {
    match error {
        raft_engine::Error::Io(source) if source.kind() == std::io::ErrorKind::StorageFull => StorageError::DiskFull {
            engine: Engine::RaftEngine,
        },
        // After a write that met a full disk the engine asks for one more try, and then gives up.
        raft_engine::Error::TryAgain(_) => StorageError::DiskFull {
            engine: Engine::RaftEngine,
        },
        raft_engine::Error::Io(source) => StorageError::Io {
            engine: Engine::RaftEngine,
            path: path.to_owned(),
            source,
        },
        error => corrupt(path, &error.to_string()),
    }
}
