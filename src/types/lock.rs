//! Locks between processes, by means of files. If a process that holds a lock dies, the lock is free.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use super::blocking::unblock;

/// The pause between two attempts to take a lock. A blocking call would need a thread that cannot be cancelled.
const PAUSE: Duration = Duration::from_millis(20);

/// Locks an open `file` without waiting. `false` if another process holds the lock.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A locked file. Dropping it removes the lock.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Options to open a lock file: it is created if it is missing, and its content is kept.
    pub(crate) fn options() -> OpenOptions {
        let mut options = File::options();
        options
            .create(true)
            .truncate(false)
            .write(true)
            // If a FIFO has this name, opening it would block otherwise.
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        options
    }

    /// Opens `path` with `options` and locks it, without waiting. `None` if another process holds the lock.
    pub(crate) fn try_take(options: &OpenOptions, path: &Path) -> io::Result<Option<Self>> {
        let file = options.open(path)?;
        if !try_lock(&file)? {
            return Ok(None);
        }
        // The previous holder may have removed the file, and a third process may have created and locked a new one.
        // Then ours is not the file that others lock.
        let ours = file.metadata()?;
        let current = std::fs::metadata(path).ok();
        let same = current.is_some_and(|now| (now.dev(), now.ino()) == (ours.dev(), ours.ino()));
        Ok(same.then_some(Self { file }))
    }

    /// Opens `path` with `options` and locks it. `None` if another process still holds the lock after `patience`.
    pub(crate) async fn take(
        options: OpenOptions,
        path: &Path,
        patience: Duration,
    ) -> io::Result<Option<Self>> {
        let attempt = async {
            loop {
                let (options, path) = (options.clone(), path.to_owned());
                if let Some(lock) = unblock(move || Self::try_take(&options, &path)).await? {
                    return Ok(Some(lock));
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let taken = tokio::time::timeout(patience, attempt).await;
        taken.unwrap_or(Ok(None))
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that was started in the meantime has it open until it execs.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_take(path: &Path) -> Option<FileLock> {
        FileLock::try_take(&FileLock::options(), path).unwrap()
    }

    #[tokio::test]
    async fn a_lock_has_one_holder_and_is_free_after_the_drop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let take = |patience| FileLock::take(FileLock::options(), &path, patience);
        let held = try_take(&path).unwrap();
        assert!(try_take(&path).is_none());
        assert!(take(Duration::from_millis(1)).await.unwrap().is_none());
        drop(held);
        assert!(take(Duration::from_secs(5)).await.unwrap().is_some());
    }

    #[test]
    fn a_dropped_lock_is_free_even_if_a_child_has_its_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = try_take(&path).unwrap();
        let child = held.file.try_clone().unwrap();
        drop(held);
        assert!(try_take(&path).is_some());
        drop(child);
    }

    #[test]
    fn a_pipe_in_place_of_the_lock_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, 0o600.into(), 0).unwrap();
        assert!(FileLock::try_take(&FileLock::options(), &path).is_err());
    }
}
