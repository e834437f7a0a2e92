//! Where a command keeps certificates, configuration, data and logs of the processes that it starts.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::OpsError;

/// A folder that was given, or a temporary one.
pub(crate) enum Folder {
    Given(PathBuf),
    Temporary(TempDir),
}

impl Folder {
    /// The given folder, which must be empty or missing, or a temporary one whose name begins with `prefix`.
    pub(crate) fn open(given: Option<&Path>, prefix: &str) -> Result<Self, OpsError> {
        let Some(path) = given else {
            let folder = tempfile::Builder::new().prefix(prefix).tempdir();
            return folder
                .map(Self::Temporary)
                .map_err(OpsError::file(&std::env::temp_dir()));
        };
        std::fs::create_dir_all(path).map_err(OpsError::file(path))?;
        if std::fs::read_dir(path).map_err(OpsError::file(path))?.next().is_some() {
            return Err(OpsError::Usage(format!(
                "--dir {}: the folder is not empty",
                path.display()
            )));
        }
        // The processes run with other working directories than a relative path is meant for.
        let path = path.canonicalize().map_err(OpsError::file(path))?;
        Ok(Self::Given(path))
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    /// A temporary folder goes, unless there is something to be found in it.
    pub(crate) fn close(self, keep: bool) -> Result<(), OpsError> {
        match self {
            Self::Temporary(folder) if keep => {
                let _kept: PathBuf = folder.keep();
                Ok(())
            }
            Self::Temporary(folder) => {
                let path = folder.path().to_owned();
                folder.close().map_err(OpsError::file(&path))
            }
            Self::Given(_) => Ok(()),
        }
    }
}
