//! Contents that were read from registries, kept on this machine.
//!
//! They are named by their digests, so they never change, and need not be read again to compare an image with the one
//! in a registry. What is kept is checked when it is read; a file that is damaged counts as missing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use bytes::Bytes;

use crate::types::blocking::unblock;
use crate::types::regular::read_regular;
use crate::types::temporary::Temporary;
use crate::types::{Digest, Environment};

const DIRECTORY: &str = "contents";
/// The directory of the manifests of whole repositories, which must not take the place of others.
const MANIFESTS: &str = "manifests";
/// The largest content that is kept, in bytes.
const LARGEST: usize = 1 << 20;
/// When more files are kept than this, the oldest are removed, until half of them are left.
const MOST: usize = 1_000;
/// The same for manifests.
const MOST_MANIFESTS: usize = 20_000;
/// After so many files, rbake looks again whether there are too many. It does so at the first one, too.
const LOOK: usize = 100;

/// A directory of contents. Nothing in it fails a run.
#[derive(Debug, Clone)]
pub(crate) struct KeptContents {
    directory: Option<PathBuf>,
    most: usize,
    written: Arc<AtomicUsize>,
}

impl KeptContents {
    /// The contents that rbake keeps in its cache directory.
    pub(crate) fn of(environment: &Environment) -> Self {
        Self::in_directory(environment, DIRECTORY, MOST)
    }

    /// The manifests of whole repositories, and what tells their ages.
    pub(crate) fn manifests_of(environment: &Environment) -> Self {
        Self::in_directory(environment, MANIFESTS, MOST_MANIFESTS)
    }

    fn in_directory(environment: &Environment, name: &str, most: usize) -> Self {
        let directory = environment.cache_dir();
        Self {
            directory: directory.map(|cache| environment.current_dir().join(cache).join(name)),
            most,
            written: Arc::default(),
        }
    }

    /// Keeps nothing.
    pub(crate) fn nothing() -> Self {
        Self {
            directory: None,
            most: 0,
            written: Arc::default(),
        }
    }

    /// The content with this digest. `None` if it is not kept.
    pub(crate) async fn read(&self, digest: &Digest) -> Option<Bytes> {
        let path = self.directory.as_ref()?.join(name(digest));
        let digest = digest.clone();
        unblock(move || {
            let bytes = read_regular(&path, LARGEST as u64).ok()?;
            (digest.of_same_algorithm(&bytes) == digest).then(|| bytes.into())
        })
        .await
    }

    /// Keeps `bytes`, whose digest was checked.
    pub(crate) async fn keep(&self, digest: &Digest, bytes: &Bytes) {
        let Some(directory) = self.directory.clone() else {
            return;
        };
        if bytes.len() > LARGEST {
            return;
        }
        let (name, bytes) = (name(digest), bytes.clone());
        let is_look = self
            .written
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(LOOK);
        let most = self.most;
        unblock(move || {
            if is_look {
                remove_old(&directory, most);
            }
            if let Err(error) = write(&directory, &name, &bytes) {
                tracing::debug!(%error, "a content is not kept");
            }
        })
        .await;
    }
}

fn name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm(), digest.hex())
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let file = Temporary::make_in(directory, 0o600)?;
    file.file().write_all(bytes)?;
    file.persist(name.as_bytes())?;
    Ok(())
}

/// Removes the oldest files if there are too many.
fn remove_old(directory: &Path, most: usize) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<(SystemTime, PathBuf)> = entries
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    if files.len() < most {
        return;
    }
    files.sort();
    for (_, path) in files.iter().take(files.len() - most / 2) {
        // Another run may have removed it.
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(dir: &Path) -> KeptContents {
        KeptContents::of(&Environment::of(
            [("RBAKE_CACHE_DIR", dir.to_str().unwrap())],
            "/",
        ))
    }

    #[tokio::test]
    async fn a_kept_content_is_read_unless_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let kept = kept(dir.path());
        let bytes = Bytes::from_static(b"{}");
        let digest = Digest::sha256(&bytes);
        assert_eq!(kept.read(&digest).await, None);
        kept.keep(&digest, &bytes).await;
        assert_eq!(kept.read(&digest).await, Some(bytes));
        let path = dir.path().join(DIRECTORY).join(name(&digest));
        std::fs::write(path, "{ }").unwrap();
        assert_eq!(kept.read(&digest).await, None);
    }

    #[tokio::test]
    async fn old_contents_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let kept = kept(dir.path());
        for number in 0..=MOST {
            let bytes = Bytes::from(number.to_string());
            kept.keep(&Digest::sha256(&bytes), &bytes).await;
        }
        let count = std::fs::read_dir(dir.path().join(DIRECTORY))
            .unwrap()
            .count();
        assert_eq!(count, MOST / 2 + 1);
        let last = Digest::sha256(MOST.to_string().as_bytes());
        assert!(kept.read(&last).await.is_some());
    }
}
