//! A disk without space left for one node.
//!
//! Where mounting is allowed, the node's data folder is a file system in memory of its own, which is shrunk to what it holds:
//! the next write that needs a page gets ENOSPC. Elsewhere the limit on the process's file sizes is set to 0, and the kernel
//! ends it at its next write.

use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::OpsError;
use crate::providers::Node;

/// A node's data folder. Dropping it takes its file system away.
pub(super) struct Disk {
    path: PathBuf,
    /// Bytes of the file system in memory, if it is one.
    size: Option<u64>,
}

/// Memory is only used for what is written.
const SIZE: u64 = 4 << 30;

/// How often the file system is shrunk until it fits what it holds, with a node that writes meanwhile.
const ATTEMPTS_MAX: usize = 100;

impl Disk {
    /// Makes the data folder of a node that has not been started, as a file system in memory if that is allowed.
    pub(super) fn prepare(path: &Path) -> Result<Self, OpsError> {
        std::fs::create_dir_all(path).map_err(OpsError::file(path))?;
        let mounted = mount(
            "mimi-hub-chaos",
            path,
            "tmpfs",
            MountFlags::empty(),
            Some(options(SIZE).as_c_str()),
        );
        Ok(Self {
            path: path.to_owned(),
            size: mounted.is_ok().then_some(SIZE),
        })
    }

    /// How the disk gets full.
    pub(super) fn means(&self) -> &'static str {
        match self.size {
            Some(_) => "its file system has no space left",
            None => "its files may not grow (mounting is not allowed here)",
        }
    }

    /// From now on nothing more fits.
    pub(super) fn fill(&self, node: &Node) -> Result<(), OpsError> {
        if self.size.is_none() {
            let pid = node
                .pid()
                .and_then(|pid| i32::try_from(pid).ok())
                .and_then(Pid::from_raw);
            let none = Rlimit {
                current: Some(0),
                maximum: Some(0),
            };
            return match pid {
                Some(_) => prlimit(pid, Resource::Fsize, none)
                    .map(drop)
                    .map_err(|error| self.failed(error)),
                None => Ok(()),
            };
        }
        let mut outcome = Ok(());
        for _ in 0..ATTEMPTS_MAX {
            let stat = statvfs(&self.path).map_err(|error| self.failed(error))?;
            let used = stat.f_blocks.saturating_sub(stat.f_bfree) * stat.f_frsize;
            outcome = self.resize(used);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// There is space again. (A limit on file sizes ends with its process.)
    pub(super) fn free(&self) -> Result<(), OpsError> {
        self.size.map_or(Ok(()), |size| self.resize(size))
    }

    fn resize(&self, bytes: u64) -> Result<(), OpsError> {
        mount_remount(&self.path, MountFlags::empty(), options(bytes).as_c_str()).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rustix::io::Errno) -> OpsError {
        OpsError::file(&self.path)(error.into())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.size.is_some() {
            // Nothing can be done about one that does not go.
            let _ = unmount(&self.path, UnmountFlags::DETACH);
        }
    }
}

fn options(bytes: u64) -> std::ffi::CString {
    // Digits hold no NUL.
    std::ffi::CString::new(format!("size={bytes},mode=0700")).unwrap_or_default()
}
