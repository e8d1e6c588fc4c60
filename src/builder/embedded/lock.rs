//! Locks between processes, on open files: a holder that dies lets go.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::time::Instant;

use super::super::blocking::blocking;
use super::super::files;

// How often a taken lock is tried again. `flock` cannot be waited for without a thread that cannot be called back.
const PAUSE: Duration = Duration::from_millis(40);

/// A lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be opened or locked.
    #[error("cannot lock `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else held it all the time.
    #[error("`{}` was locked by another process for {} seconds", path.display(), waited.as_secs())]
    Held {
        /// The file.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock on `path`, which is made if needed; `None` where somebody else holds it.
    pub fn try_take(path: &Path) -> Result<Option<Self>, LockError> {
        let fail = |source: io::Error| LockError::Io {
            path: path.to_owned(),
            source,
        };
        let file = files::own_file()
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(fail)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(fail(error.into())),
        }
    }

    /// Takes the lock on `path`, waiting for at most `patience`.
    pub async fn take(path: &Path, patience: Duration) -> Result<Self, LockError> {
        let end = Instant::now() + patience;
        loop {
            let wanted = path.to_owned();
            if let Some(lock) = blocking(move || Self::try_take(&wanted)).await? {
                return Ok(lock);
            }
            if Instant::now() >= end {
                return Err(LockError::Held {
                    path: path.to_owned(),
                    waited: patience,
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_holder_at_a_time_and_none_after_the_drop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = FileLock::try_take(&path).unwrap().unwrap();
        assert!(FileLock::try_take(&path).unwrap().is_none());
        let waiting = FileLock::take(&path, Duration::from_millis(1)).await;
        assert!(matches!(waiting, Err(LockError::Held { .. })));
        drop(held);
        assert!(FileLock::take(&path, Duration::from_secs(5)).await.is_ok());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/lock");
        let error = FileLock::try_take(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot lock `{}`", path.display())
        );
    }
}
