//! Files that secrets are read from, shared by all targets of a run.
//!
//! A pipe gives its content only once. So the content of a pipe is kept for the whole run; otherwise a second target
//! would get an empty secret.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::secrets::SECRET_LIMIT;
use crate::files;
use crate::types::Secret;

/// A file with a secret. Clones share the content of a pipe.
#[derive(Debug, Clone)]
pub struct SecretFile {
    path: PathBuf,
    /// The content, if the file is a pipe and was read. The lock is held during a read, so that two readers do not
    /// get one half each.
    piped: Arc<tokio::sync::Mutex<Option<Secret<Bytes>>>>,
}

impl PartialEq for SecretFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for SecretFile {}

impl From<PathBuf> for SecretFile {
    /// The file at `path`, which must be absolute and without symbolic links.
    fn from(path: PathBuf) -> Self {
        Self {
            path,
            piped: Arc::default(),
        }
    }
}

/// The secret files of one run, one entry for each path.
#[derive(Debug, Default)]
pub(crate) struct SecretFiles(Mutex<HashMap<PathBuf, SecretFile>>);

impl SecretFiles {
    /// The file at `path`, which must be absolute and without symbolic links. Returns the same file for the same
    /// path.
    pub(crate) fn at(&self, path: &Path) -> SecretFile {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let file = known
            .entry(path.to_owned())
            .or_insert_with(|| SecretFile::from(path.to_owned()));
        file.clone()
    }
}

enum Content {
    Regular(Secret<Bytes>),
    Piped(Secret<Bytes>),
}

impl SecretFile {
    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The content of the file. Reads at most one byte more than the largest secret, so that the caller can detect an
    /// excess. Waits at most `patience`.
    pub(super) async fn read(&self, patience: Duration) -> Result<Secret<Bytes>, String> {
        let file = self.clone();
        // A separate task, so that the content of a pipe is kept even if the daemon cancels its call meanwhile.
        let reading = tokio::spawn(file.read_on());
        match tokio::time::timeout(patience, reading).await {
            Ok(Ok(content)) => content.map_err(|error| error.to_string()),
            Ok(Err(_)) => Err("the read was aborted".to_owned()),
            Err(_) => Err(format!("no data arrived within {} s", patience.as_secs())),
        }
    }

    /// Reads the file, up to one byte more than the largest secret. Has no time limit.
    async fn read_on(self) -> std::io::Result<Secret<Bytes>> {
        let mut piped = self.piped.lock().await;
        if let Some(content) = &*piped {
            return Ok(content.clone());
        }
        let path = self.path;
        let reading = tokio::task::spawn_blocking(move || read_blocking(&path));
        match reading.await?? {
            Content::Regular(content) => Ok(content),
            Content::Piped(content) => {
                *piped = Some(content.clone());
                Ok(content)
            }
        }
    }
}

fn read_blocking(path: &Path) -> std::io::Result<Content> {
    let file = files::open::file(path)?;
    let is_regular = file.metadata()?.is_file();
    let mut data = Vec::new();
    file.take(SECRET_LIMIT + 1).read_to_end(&mut data)?;
    let data = Secret::new(data.into());
    Ok(if is_regular {
        Content::Regular(data)
    } else {
        Content::Piped(data)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    const READ_TIMEOUT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_pipe_is_read_once_for_all_secrets_with_its_path() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let path = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
        writer.write_all(b"once").unwrap();
        drop(writer);
        let files = SecretFiles::default();
        let (one, other) = (files.at(&path), files.at(&path));
        let (one, other) = tokio::join!(one.read(READ_TIMEOUT), other.read(READ_TIMEOUT));
        assert_eq!(one.unwrap().expose(), "once");
        assert_eq!(other.unwrap().expose(), "once");
    }

    #[tokio::test]
    async fn content_that_arrives_after_a_cancelled_read_is_kept() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let path = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
        let file = SecretFile::from(path);
        {
            let mut question = std::pin::pin!(file.read(READ_TIMEOUT));
            assert!(futures_util::poll!(&mut question).is_pending());
            tokio::task::yield_now().await;
        }
        writer.write_all(b"late").unwrap();
        drop(writer);
        assert_eq!(file.read(READ_TIMEOUT).await.unwrap().expose(), "late");
    }

    #[tokio::test]
    async fn regular_files_are_read_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let file = SecretFiles::default().at(&path);
        for text in ["one", "two"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(file.read(READ_TIMEOUT).await.unwrap().expose(), text);
        }
    }
}
