//! File locks between the processes that use the embedded builder.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::files;
use crate::types::lock::FileLock;

/// A lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be opened or locked.
    #[error("cannot lock `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
    /// Another process held the lock for the whole time.
    #[error("`{}` was locked by another process for {} seconds", path.display(), waited.as_secs())]
    Held {
        /// The file.
        path: PathBuf,
        /// How long this process waited.
        waited: Duration,
    },
}

/// Locks the file `path`, which is created if needed and must lie in a folder that only this user can write to.
/// While another process holds the lock, waits for up to `patience`.
pub async fn lock(path: &Path, patience: Duration) -> Result<FileLock, LockError> {
    let mut options = files::own_file();
    options.truncate(false).read(true).write(true);
    match FileLock::take(options, path, patience).await {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(LockError::Held {
            path: path.to_owned(),
            waited: patience,
        }),
        Err(source) => Err(LockError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_has_one_holder_and_is_free_after_the_drop() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = lock(&path, Duration::from_secs(5)).await.unwrap();
        let waiting = lock(&path, Duration::from_millis(1)).await;
        assert!(matches!(waiting, Err(LockError::Held { .. })));
        drop(held);
        assert!(lock(&path, Duration::from_secs(5)).await.is_ok());
    }

    #[tokio::test]
    async fn the_error_names_a_missing_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/lock");
        let error = lock(&path, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot lock `{}`", path.display())
        );
    }
}
