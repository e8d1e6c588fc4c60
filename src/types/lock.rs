//! Locks between processes, on files: a holder that dies lets go.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use super::blocking::unblock;

/// How often a taken lock is tried again. A lock cannot be waited for without a thread that cannot be called back.
const PAUSE: Duration = Duration::from_millis(20);

/// Locks `file`, which must be open; `false` if another process holds the lock. Does not wait.
pub(crate) fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A file that is locked until this is dropped.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// How a file is opened that exists to be locked: made if it is missing, its content left alone.
    pub(crate) fn options() -> OpenOptions {
        let mut options = File::options();
        options
            .create(true)
            .truncate(false)
            .write(true)
            // Opening a pipe of that name would block.
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        options
    }

    /// Locks `path`, opened with `options`; `None` if another process holds the lock. Does not wait.
    pub(crate) fn try_take(options: &OpenOptions, path: &Path) -> io::Result<Option<Self>> {
        let file = options.open(path)?;
        if !try_lock(&file)? {
            return Ok(None);
        }
        // A holder may have removed the file, and a third process have made and locked another.
        let ours = file.metadata()?;
        let current = std::fs::metadata(path).ok();
        let same = current.is_some_and(|now| (now.dev(), now.ino()) == (ours.dev(), ours.ino()));
        Ok(same.then_some(Self { file }))
    }

    /// Locks `path`, opened with `options`; `None` if another process holds the lock for as long as `patience`.
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
        // Closing is not enough: a child that was started meanwhile has the file open until it runs its program.
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
    async fn one_holder_at_a_time_and_none_after_the_drop() {
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
    fn a_lock_that_is_dropped_is_free_though_a_child_has_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = try_take(&path).unwrap();
        let child = held.file.try_clone().unwrap();
        drop(held);
        assert!(try_take(&path).is_some());
        drop(child);
    }

    #[test]
    fn a_pipe_in_its_place_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, 0o600.into(), 0).unwrap();
        assert!(FileLock::try_take(&FileLock::options(), &path).is_err());
    }
}
