//! Writes saved files below one directory.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::walk::SavedFileSink;
use crate::files::{FileAccess, Resolved, open, write_file};
use crate::types::blocking::unblock;

/// The mode of directories that are made, without the bits of the process's umask.
const DIRECTORY_MODE: u32 = 0o777;

/// A directory for the files of one target.
#[derive(Debug)]
pub(super) struct SavedFileStore {
    directory: PathBuf,
}

impl SavedFileStore {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }
}

impl SavedFileSink for SavedFileStore {
    async fn write(&self, path: &Path, content: Bytes) -> io::Result<()> {
        let path = self.directory.join(path);
        unblock(move || write(&path, &content)).await
    }
}

/// Writes one file. Its directory is made if it does not exist.
///
/// # Errors
/// A part of the path is a symbolic link, or it cannot be written.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let above = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    drop(open::dir_handle_or_make(above, DIRECTORY_MODE)?);
    write_file(&Resolved::of_path(path), FileAccess::Kept, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_the_directory_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("out")).unwrap();
        std::fs::create_dir(root.join("elsewhere")).unwrap();
        let link = |to: &str, name: &str| {
            std::os::unix::fs::symlink(root.join(to), root.join("out").join(name)).unwrap();
        };
        link("elsewhere", "dir");
        link("elsewhere/file", "file");
        for path in ["dir/a", "file"] {
            assert!(write(&root.join("out").join(path), b"x").is_err(), "{path}");
        }
        let left = std::fs::read_dir(root.join("elsewhere")).unwrap();
        assert_eq!(left.count(), 0);
        write(&root.join("out/new/deep/a"), b"one").unwrap();
        write(&root.join("out/new/deep/a"), b"two").unwrap();
        let content = std::fs::read(root.join("out/new/deep/a")).unwrap();
        assert_eq!(content, b"two");
    }
}
