//! A file of lines that only grows, and that one process at a time writes. All functions block.
//!
//! A line is on the disk when it is written, so that it can describe an act before the act is made. The process holds a
//! lock, so that a file without a lock is known to be of a process that has ended.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::lock::try_lock;

/// A file that this process writes.
#[derive(Debug)]
pub(crate) struct LinesFile {
    file: File,
    path: PathBuf,
    /// The length up to the last whole line.
    length: u64,
}

impl LinesFile {
    /// Makes the file at `path`, which must not exist, with the line `first`. Its directory is made if it is missing.
    pub(crate) fn create(path: &Path, first: &str) -> io::Result<Self> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(directory)?;
        let file = options().create_new(true).open(path)?;
        // The name was free, so nobody else has locked the file. A file system without locks does not prevent
        // the run.
        let _ = try_lock(&file);
        let mut made = Self {
            file,
            path: path.to_owned(),
            length: 0,
        };
        if let Err(error) = made.append(first) {
            // An empty file would look like one whose process was killed.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        for directory in directory.parent().into_iter().chain([directory]) {
            sync_directory(directory)?;
        }
        Ok(made)
    }

    /// Opens the file of an earlier process. `None` if another process has locked it. The caller reads it, and must
    /// [cut](Self::cut) it before it appends.
    pub(crate) fn reopen(path: &Path) -> io::Result<Option<Self>> {
        let file = options().open(path)?;
        if matches!(try_lock(&file), Ok(false)) {
            return Ok(None);
        }
        Ok(Some(Self {
            length: file.metadata()?.len(),
            file,
            path: path.to_owned(),
        }))
    }

    /// Removes what follows the last whole line, which ends at `length`.
    pub(crate) fn cut(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.length = length;
        Ok(())
    }

    /// Appends whole lines. When this returns, they are on the disk; if it fails, none of them is in the file.
    pub(crate) fn append(&mut self, text: &str) -> io::Result<()> {
        let written = (&self.file)
            .write_all(text.as_bytes())
            .and_then(|()| synced(self.file.sync_data()));
        if written.is_ok() {
            self.length += text.len() as u64;
        } else {
            // A part may have been written, for example if the disk is full. Later lines must not follow it.
            let _ = self.file.set_len(self.length);
        }
        written
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LinesFile {
    fn drop(&mut self) {
        // A child that was started meanwhile has the file open until it execs, so closing it is not enough.
        let _ = self.file.unlock();
    }
}

/// Whether another process, or this one, is writing the file.
pub(crate) fn is_locked(path: &Path) -> bool {
    let Ok(file) = options().open(path) else {
        return false;
    };
    let locked = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    let _ = file.unlock();
    locked
}

fn options() -> std::fs::OpenOptions {
    let mut options = File::options();
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options
        .append(true)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed());
    options
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    synced(File::open(directory)?.sync_all())
}

/// Some file systems do not support syncing.
fn synced(result: io::Result<()>) -> io::Result<()> {
    let unsupported = [io::ErrorKind::InvalidInput, io::ErrorKind::Unsupported];
    match result {
        Err(error) if unsupported.contains(&error.kind()) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_continued_after_an_unfinished_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.jsonl");
        let file = LinesFile::create(&path, "1\n").unwrap();
        assert!(is_locked(&path));
        assert!(LinesFile::reopen(&path).unwrap().is_none());
        assert!(LinesFile::create(&path, "1\n").is_err());
        drop(file);
        assert!(!is_locked(&path));
        std::fs::write(&path, "1\n2").unwrap();
        let mut file = LinesFile::reopen(&path).unwrap().unwrap();
        file.cut(2).unwrap();
        file.append("3\n").unwrap();
        assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "1\n3\n");
    }
}
