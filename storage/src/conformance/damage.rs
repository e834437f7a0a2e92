//! Copying and damaging the folders of the real engines.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Copies a folder as a power loss would leave it: what the engine has not handed to the system is not in it.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target);
        } else {
            fs::copy(item.path(), target).unwrap();
        }
    }
}

/// Overwrites the last `bytes` bytes of `file` that are not zero, and what follows them, with zeros. Engines allocate
/// their files ahead, so this is what a torn write leaves.
pub(super) fn tear(file: &Path, bytes: usize) {
    let mut content = Vec::new();
    File::open(file).unwrap().read_to_end(&mut content).unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let from = end.saturating_sub(bytes);
    let mut file = File::options().write(true).open(file).unwrap();
    file.seek(SeekFrom::Start(from as u64)).unwrap();
    file.write_all(&vec![0; end - from]).unwrap();
}

/// The file of `folder` that sorts last among those that end in `suffix`.
pub(super) fn last_file(folder: &Path, suffix: &str) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|item| item.unwrap().path()).collect();
    files.retain(|path| path.to_string_lossy().ends_with(suffix));
    files.sort();
    files.pop().unwrap()
}
