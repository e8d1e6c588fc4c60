//! A directory of blobs, as the OCI image layout defines it.
//!
//! `blobs/sha256/<hex>` holds complete blobs, `ingest/` those that are being written. The names of blobs are made
//! from checked digests, so a request cannot lead out of the directory. All functions here block.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::files;
use crate::types::regular::read_regular;
use crate::types::temporary::{Temporary, sweep_at};
use crate::types::{Digest, descriptors};

/// Why a layout cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The file system reported an error.
    #[error("cannot {act} `{}`", path.display())]
    Io {
        /// The action, as a verb phrase.
        act: &'static str,
        /// The path that it concerned.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The path of the layout is not a directory.
    #[error("`{}` is a file; an image layout must be a directory", path.display())]
    NoDirectory {
        /// The path.
        path: PathBuf,
    },
    /// A file of the layout has the wrong content.
    #[error("`{}` is not valid in an image layout ({reason})", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The problem with it.
        reason: String,
    },
    /// Another program holds the lock of the index.
    #[error("`{}` is locked by another program", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The content of a blob does not match its digest.
    #[error("a blob has the digest {actual} instead of {expected}")]
    WrongDigest {
        /// The announced digest.
        expected: Digest,
        /// The digest of the content.
        actual: Digest,
    },
    /// A blob does not have the announced size.
    #[error("a blob has {actual} bytes instead of {expected}")]
    WrongSize {
        /// The announced size in bytes.
        expected: u64,
        /// The actual size in bytes.
        actual: u64,
    },
}

impl LayoutError {
    pub(super) fn io(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { act, path, source }
    }
}

/// A directory with an OCI image layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutDirectory {
    root: PathBuf,
}

/// The size and time of an existing blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlobInfo {
    /// The size in bytes.
    pub(crate) size: u64,
    /// The time of the last change.
    pub(crate) modified: SystemTime,
}

impl LayoutDirectory {
    /// Opens the layout at `root`, and creates it if it is missing.
    pub fn create(root: &Path) -> Result<Self, LayoutError> {
        let layout = Self {
            root: root.to_owned(),
        };
        if std::fs::metadata(root).is_ok_and(|found| !found.is_dir()) {
            return Err(LayoutError::NoDirectory {
                path: root.to_owned(),
            });
        }
        layout.check_links()?;
        for dir in [layout.blobs(), layout.ingest()] {
            let failed = LayoutError::io("make", &dir);
            let made = layout.inside(&dir);
            made.and_then(|dir| files::open::dir_handle_or_make(&dir, 0o755))
                .map_err(failed)?;
        }
        for dir in [layout.root(), &layout.ingest()] {
            sweep_at(dir);
        }
        Ok(layout)
    }

    /// Opens the layout at `root`. `None` if there is no such directory.
    pub fn open(root: &Path) -> Result<Option<Self>, LayoutError> {
        match std::fs::metadata(root) {
            Ok(metadata) if metadata.is_dir() => {
                let layout = Self {
                    root: root.to_owned(),
                };
                layout.check_links()?;
                Ok(Some(layout))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LayoutError::io("open", root)(error)),
        }
    }

    /// Resolves the links in `path`. The user has granted access to this directory only, so a link may lead to
    /// another place inside it, but not out of it.
    fn inside(&self, path: &Path) -> io::Result<PathBuf> {
        let root = files::resolve(Path::new("/"), &self.root)?;
        let place = files::resolve(Path::new("/"), path)?;
        if place.path().starts_with(root.path()) {
            Ok(place.path().to_owned())
        } else {
            let out = place.path().display();
            Err(io::Error::other(format!(
                "a symbolic link leads out of the directory, to `{out}`"
            )))
        }
    }

    /// Fails if a file or directory of the layout is a link that leads out of it.
    fn check_links(&self) -> Result<(), LayoutError> {
        let files =
            ["index.json", "index.json.lock", "oci-layout"].map(|name| self.root.join(name));
        for path in files.into_iter().chain([self.blobs(), self.ingest()]) {
            self.inside(&path).map_err(LayoutError::io("use", &path))?;
        }
        Ok(())
    }

    /// The path of the layout's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    fn ingest(&self) -> PathBuf {
        self.root.join("ingest")
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root
            .join("blobs")
            .join(digest.algorithm())
            .join(digest.hex())
    }

    /// The size and time of the blob `digest`. `None` if it does not exist.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<Option<BlobInfo>, LayoutError> {
        let path = self.blob_path(digest);
        match self.inside(&path).and_then(std::fs::metadata) {
            Ok(metadata) if metadata.is_file() => Ok(Some(BlobInfo {
                size: metadata.len(),
                modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LayoutError::io("read", &path)(error)),
        }
    }

    /// The content of the blob `digest`, whose digest was checked. `None` if it does not exist. Blocks.
    ///
    /// Fails if it has more than `limit` bytes.
    pub(crate) fn read_blob(
        &self,
        digest: &Digest,
        limit: usize,
    ) -> Result<Option<Bytes>, LayoutError> {
        if self.blob(digest)?.is_none() {
            return Ok(None);
        }
        let path = self.inside(&self.blob_path(digest));
        let path = path.map_err(LayoutError::io("read", self.root()))?;
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let bytes = read_regular(&path, limit).map_err(LayoutError::io("read", &path))?;
        let actual = digest.of_same_algorithm(&bytes);
        if actual != *digest {
            let expected = digest.clone();
            return Err(LayoutError::WrongDigest { expected, actual });
        }
        Ok(Some(bytes.into()))
    }

    /// Writes a blob, and returns its digest. Blocks.
    pub(crate) fn write_blob(&self, data: &[u8]) -> Result<Digest, LayoutError> {
        let mut blob = self.ingest_blob()?;
        blob.write(data)?;
        blob.commit(None, None).map(|(digest, _)| digest)
    }

    /// The digests of all blobs, sorted.
    pub(crate) fn blob_digests(&self) -> Result<Vec<Digest>, LayoutError> {
        let dir = self.blobs();
        let entries = match descriptors::patiently(|| std::fs::read_dir(&dir)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(LayoutError::io("list", &dir)(error)),
        };
        let mut digests = Vec::new();
        for entry in entries {
            let name = entry.map_err(LayoutError::io("list", &dir))?.file_name();
            let digest = name.to_str().map(|hex| format!("sha256:{hex}").parse());
            // Skip files whose names are not digests.
            digests.extend(digest.and_then(Result::ok));
        }
        digests.sort();
        Ok(digests)
    }

    pub(super) fn remove_blob(&self, digest: &Digest) -> Result<(), LayoutError> {
        let path = self.blob_path(digest);
        std::fs::remove_file(&path).map_err(LayoutError::io("remove", &path))
    }

    pub(super) fn open_blob(&self, digest: &Digest) -> io::Result<File> {
        let path = self.inside(&self.blob_path(digest))?;
        descriptors::patiently(|| files::open::file(&path))
    }

    /// Starts a new blob.
    pub(super) fn ingest_blob(&self) -> Result<Ingest, LayoutError> {
        let dir = self.ingest();
        let temporary =
            Temporary::make_in(&dir, 0o666).map_err(LayoutError::io("make a file in", &dir))?;
        Ok(Ingest {
            layout: self.clone(),
            temporary,
            hash: Sha256::new(),
            offset: 0,
        })
    }
}

/// Writes `data` to `path` atomically: after a crash, the file has either its old content or all of the new one.
pub(super) fn write_whole(path: &Path, data: &[u8]) -> Result<(), LayoutError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        let temporary = Temporary::make_in(dir, 0o644)?;
        temporary.file().write_all(data)?;
        temporary.file().sync_all()?;
        temporary.persist_as(path)?;
        descriptors::patiently(|| File::open(dir))?.sync_all()
    };
    write().map_err(LayoutError::io("write", path))
}

/// A blob that is being written. If this is dropped before [`Ingest::commit`], the file is removed.
#[derive(Debug)]
pub(super) struct Ingest {
    layout: LayoutDirectory,
    temporary: Temporary,
    hash: Sha256,
    offset: u64,
}

impl Ingest {
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn write(&mut self, data: &[u8]) -> Result<(), LayoutError> {
        let dir = self.layout.ingest();
        self.temporary
            .file()
            .write_all(data)
            .map_err(LayoutError::io("write to", &dir))?;
        self.hash.update(data);
        self.offset += data.len() as u64;
        Ok(())
    }

    /// Discards what was written, and starts again.
    pub(super) fn truncate(&mut self) -> Result<(), LayoutError> {
        *self = self.layout.ingest_blob()?;
        Ok(())
    }

    /// Moves the blob to its final place, if its size and digest are those announced. Returns its digest, and whether
    /// the blob existed already.
    pub(super) fn commit(
        self,
        size: Option<u64>,
        digest: Option<&Digest>,
    ) -> Result<(Digest, bool), LayoutError> {
        let Self {
            layout,
            temporary,
            hash,
            offset,
        } = self;
        if let Some(expected) = size.filter(|size| *size != offset) {
            return Err(LayoutError::WrongSize {
                expected,
                actual: offset,
            });
        }
        let actual = Digest::from_sha256(hash.finalize().into());
        if let Some(expected) = digest.filter(|digest| **digest != actual) {
            return Err(LayoutError::WrongDigest {
                expected: expected.clone(),
                actual,
            });
        }
        let place = layout.blob_path(&actual);
        if layout.blob(&actual)?.is_some() {
            return Ok((actual, true));
        }
        let failed = || LayoutError::io("write", &place);
        temporary.file().sync_all().map_err(failed())?;
        temporary.persist_at(&place).map_err(failed())?;
        let dir = descriptors::patiently(|| File::open(layout.blobs())).map_err(failed())?;
        dir.sync_all().map_err(failed())?;
        Ok((actual, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_appears_when_it_is_complete_and_correct() {
        let dir = tempfile::tempdir().unwrap();
        let layout = LayoutDirectory::create(dir.path()).unwrap();
        let digest = Digest::sha256(b"content");
        let ingest = |data: &[u8]| {
            let mut ingest = layout.ingest_blob().unwrap();
            ingest.write(data).unwrap();
            ingest
        };
        let ingests = || {
            std::fs::read_dir(dir.path().join("ingest"))
                .unwrap()
                .count()
        };

        let half = ingest(b"con");
        assert!(matches!(
            half.commit(Some(7), None),
            Err(LayoutError::WrongSize { .. })
        ));
        let other = ingest(b"malicious");
        assert!(matches!(
            other.commit(None, Some(&digest)),
            Err(LayoutError::WrongDigest { .. })
        ));
        drop(ingest(b"x"));
        assert_eq!((ingests(), layout.blob(&digest).unwrap()), (0, None));

        let mut again = ingest(b"wrong start");
        again.truncate().unwrap();
        again.write(b"content").unwrap();
        let committed = again.commit(Some(7), Some(&digest)).unwrap();
        assert_eq!(committed, (digest.clone(), false));
        assert_eq!(layout.blob(&digest).unwrap().unwrap().size, 7);
        assert_eq!(
            ingest(b"content").commit(None, None).unwrap(),
            (digest.clone(), true)
        );
        assert_eq!(ingests(), 0);
        assert_eq!(layout.blob_digests().unwrap(), [digest]);
    }

    #[test]
    fn links_that_lead_out_of_a_layout_are_refused() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("layout");
        let outside = dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        let digest = Digest::sha256(b"secret");
        std::fs::write(outside.join("secret"), "secret").unwrap();
        for name in [
            "blobs",
            "blobs/sha256",
            "ingest",
            "index.json",
            "index.json.lock",
            "oci-layout",
        ] {
            let link = root.join(name);
            std::fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(&outside, &link).unwrap();
            for error in [
                LayoutDirectory::create(&root).err(),
                LayoutDirectory::open(&root).err(),
            ] {
                let error =
                    error.and_then(|error| Some(std::error::Error::source(&error)?.to_string()));
                assert!(
                    error.is_some_and(|error| error.contains("leads out")),
                    "{name}"
                );
            }
            std::fs::remove_dir_all(&root).unwrap();
        }
        let layout = LayoutDirectory::create(&root).unwrap();
        symlink("../../../outside/secret", layout.blob_path(&digest)).unwrap();
        assert!(layout.blob(&digest).is_err() && layout.open_blob(&digest).is_err());
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
        // A link that leads to a place inside the layout is allowed.
        std::fs::remove_file(layout.blob_path(&digest)).unwrap();
        std::fs::write(root.join("elsewhere"), "secret").unwrap();
        symlink("../../elsewhere", layout.blob_path(&digest)).unwrap();
        assert_eq!(layout.blob(&digest).unwrap().unwrap().size, 6);
        assert!(layout.open_blob(&digest).is_ok());
    }

    #[test]
    fn a_layout_must_be_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(LayoutDirectory::open(&file).unwrap(), None);
        assert_eq!(
            LayoutDirectory::open(&dir.path().join("none")).unwrap(),
            None
        );
        assert!(LayoutDirectory::open(dir.path()).unwrap().is_some());
        assert!(matches!(
            LayoutDirectory::create(&file),
            Err(LayoutError::NoDirectory { .. })
        ));
    }
}
