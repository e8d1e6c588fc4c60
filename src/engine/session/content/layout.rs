//! A directory of blobs by digest, as the OCI image layout has it.
//!
//! `blobs/sha256/<hex>` holds complete blobs, `ingest/` what is being written. Blob names are made from checked digests, so
//! no request leads out of the directory. All of this blocks.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use crate::files;
use crate::types::temporary::{Temporary, sweep_at};
use crate::types::{Digest, descriptors};

/// A layout that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The disk does not do what was asked.
    #[error("cannot {act} `{}`", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// What is to hold the layout is no directory.
    #[error("`{}` is a file, and an image layout is a directory", path.display())]
    NoDirectory {
        /// What it is at.
        path: PathBuf,
    },
    /// A file of the layout does not say what it should.
    #[error("`{}` is not what an image layout has there ({reason})", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another program holds the lock of the index.
    #[error("`{}` is locked by another program", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// A blob has another content than its name says.
    #[error("a blob has the digest {actual} instead of {expected}")]
    WrongDigest {
        /// What was announced.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// A blob has another size than announced.
    #[error("a blob has {actual} bytes instead of {expected}")]
    WrongSize {
        /// What was announced.
        expected: u64,
        /// What came.
        actual: u64,
    },
}

impl LayoutError {
    pub(super) fn io(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { act, path, source }
    }
}

/// A directory in the OCI image layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutDirectory {
    root: PathBuf,
}

/// A blob that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlobInfo {
    /// Its size in bytes.
    pub(crate) size: u64,
    /// When it was written.
    pub(crate) modified: SystemTime,
}

impl LayoutDirectory {
    /// The layout at `root`, made where it is missing.
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
            made.and_then(|dir| files::open::dir_handle_or_make(&dir, 0o777))
                .map_err(failed)?;
        }
        for dir in [layout.root(), &layout.ingest()] {
            sweep_at(dir);
        }
        Ok(layout)
    }

    /// The layout at `root`; `None` where there is no such directory.
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

    // What the user has granted is this directory: a link in it may lead to another place in it, not out of it.
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

    fn check_links(&self) -> Result<(), LayoutError> {
        let files =
            ["index.json", "index.json.lock", "oci-layout"].map(|name| self.root.join(name));
        for path in files.into_iter().chain([self.blobs(), self.ingest()]) {
            self.inside(&path).map_err(LayoutError::io("use", &path))?;
        }
        Ok(())
    }

    /// Its directory.
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

    /// What is known of the blob `digest`; `None` where it is not there.
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
            // Other names are not ours.
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

    /// Begins a blob.
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

/// Writes `data` to `path` so that the file is either as before or complete, whatever happens.
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

/// A blob that is being written; dropped before it is complete, it is removed.
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

    /// Begins anew.
    pub(super) fn truncate(&mut self) -> Result<(), LayoutError> {
        *self = self.layout.ingest_blob()?;
        Ok(())
    }

    /// Puts the blob in its place, if it is what was announced. Returns its digest, and whether it was there already.
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
    fn a_blob_is_there_when_it_is_complete_and_right() {
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
    fn no_link_leads_out_of_a_layout() {
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
        // Inside, links are as good as what they lead to.
        std::fs::remove_file(layout.blob_path(&digest)).unwrap();
        std::fs::write(root.join("elsewhere"), "secret").unwrap();
        symlink("../../elsewhere", layout.blob_path(&digest)).unwrap();
        assert_eq!(layout.blob(&digest).unwrap().unwrap().size, 6);
        assert!(layout.open_blob(&digest).is_ok());
    }

    #[test]
    fn only_directories_are_layouts() {
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
