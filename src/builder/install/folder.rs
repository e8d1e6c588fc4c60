//! The folder of installed programs: complete versions side by side, and a symbolic link to the current one.
//!
//! ```text
//! programs/
//!   bin -> v0.32.2-0123abcd/bin     the current version; replaced atomically
//!   v0.32.2-0123abcd/
//!     bin/{buildkitd,buildctl,runc}
//!     installed.json                 digests; written last, so a folder without it is incomplete
//!   downloads/                       archives, complete or partial
//!   new-*/                           incomplete versions; removed when the next installation begins
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::files::{LIMIT, read_text};
use super::InstallMethod;
use super::download::digest_of;
use crate::types::blocking::unblock;

/// How many times to try to remove a folder to which another process may still be writing.
const REMOVALS: usize = 20;

const RECORD: &str = "installed.json";

/// What is installed, as recorded in `installed.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstallRecord {
    /// BuildKit's version.
    pub(crate) version: String,
    /// Where it came from. (`road` is the field's name in existing files.)
    #[serde(rename = "road")]
    pub(crate) method: InstallMethod,
    /// The SHA-256 of each program by its name.
    pub(crate) files: BTreeMap<String, String>,
}

/// A new folder for programs. Dropping it removes the folder, unless it was committed.
#[derive(Debug)]
pub(crate) struct NewFolder(PathBuf);

impl std::ops::Deref for NewFolder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        // After a commit, the folder has another name, so this removes nothing. A program that was killed a moment
        // ago may still finish creating a file, so that the folder is not empty when it is removed: try again.
        for _ in 0..REMOVALS {
            match std::fs::remove_dir_all(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                _ => break,
            }
        }
    }
}

/// The folder of installed programs.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    dir: PathBuf,
}

impl Folder {
    /// The folder at `dir`, which need not exist yet.
    pub(crate) fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The folder with the current programs.
    pub(crate) fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// The folder of archives, during and after their download.
    pub(crate) fn downloads(&self) -> PathBuf {
        self.dir.join("downloads")
    }

    /// The record of the current programs; `None` if nothing is installed. Does not check the files.
    pub(crate) async fn record(&self) -> Option<InstallRecord> {
        let target = tokio::fs::read_link(self.bin()).await.ok()?;
        let path = self.dir.join(target).parent()?.join(RECORD);
        let text = unblock(move || read_text(&path, LIMIT)).await.ok()??;
        serde_json::from_str(&text).ok()
    }

    /// The names of the current programs that are missing, or whose digest is not the recorded one. Empty if
    /// nothing is installed.
    pub(crate) async fn damaged(&self) -> Vec<String> {
        let Some(record) = self.record().await else {
            return Vec::new();
        };
        let mut damaged = Vec::new();
        for (name, digest) in record.files {
            let found = digest_of(&self.bin().join(&name)).await;
            if found.ok().as_ref() != Some(&digest) {
                damaged.push(name);
            }
        }
        damaged
    }

    /// Removes leftovers of interrupted installations, and creates a new folder to fill.
    ///
    /// The new folder is removed when the value is dropped, unless it was committed.
    pub(crate) async fn begin(&self) -> io::Result<NewFolder> {
        let folder = self.clone();
        unblock(move || folder.begin_now()).await
    }

    fn begin_now(&self) -> io::Result<NewFolder> {
        std::fs::create_dir_all(self.downloads())?;
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("new-") {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        let new = self.dir.join(format!("new-{}", std::process::id()));
        std::fs::create_dir_all(new.join("bin"))?;
        Ok(NewFolder(new))
    }

    /// Makes the programs in `new`, a folder from [`Self::begin`], the current ones.
    ///
    /// If this is interrupted at any point, either the old or the new programs are current, complete.
    pub(crate) async fn commit(
        &self,
        new: &Path,
        version: &str,
        method: InstallMethod,
    ) -> io::Result<InstallRecord> {
        let bin = new.join("bin");
        let names = unblock(move || {
            let entries = std::fs::read_dir(bin)?;
            let paths = entries.map(|entry| Ok(entry?.path()));
            let paths = paths.collect::<io::Result<Vec<PathBuf>>>()?;
            for path in &paths {
                make_executable_and_durable(path)?;
            }
            Ok::<_, io::Error>(paths)
        });
        let mut files = BTreeMap::new();
        for path in names.await? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            files.insert(name.into_owned(), digest_of(&path).await?);
        }
        let record = InstallRecord {
            version: version.to_owned(),
            method,
            files,
        };
        let (folder, new) = (self.clone(), new.to_owned());
        unblock(move || folder.commit_now(&new, record)).await
    }

    /// Writes the record, gives the folder its final name, and then switches the link `bin` to it.
    ///
    /// The link is replaced by a rename, because a symbolic link cannot be changed in place: there is always either
    /// the old one or the new one.
    fn commit_now(&self, new: &Path, record: InstallRecord) -> io::Result<InstallRecord> {
        let path = new.join(RECORD);
        std::fs::write(&path, serde_json::to_vec_pretty(&record)?)?;
        std::fs::File::open(&path)?.sync_all()?;

        let digest = record
            .files
            .get("buildkitd")
            .map_or("", |digest| &digest[..8]);
        let name = format!("{}-{digest}", record.version);
        let place = self.dir.join(&name);
        if place.exists() {
            std::fs::remove_dir_all(&place)?;
        }
        std::fs::rename(new, &place)?;
        let link = self.dir.join("bin.new");
        match std::fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::os::unix::fs::symlink(Path::new(&name).join("bin"), &link)?;
        std::fs::rename(&link, self.bin())?;
        std::fs::File::open(&self.dir)?.sync_all()?;
        self.sweep(&name);
        Ok(record)
    }

    /// Removes other versions and the archives. A running builder can keep using its deleted files, which it has
    /// open.
    fn sweep(&self, keep: &str) {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && name != keep {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn make_executable_and_durable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    std::fs::File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn install(folder: &Folder, version: &str, content: &str) -> InstallRecord {
        let new = folder.begin().await.unwrap();
        std::fs::write(new.join("bin/buildkitd"), content).unwrap();
        folder
            .commit(&new, version, InstallMethod::Release)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_version_replaces_another_as_a_whole_and_damage_is_detected() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path().join("programs"));
        assert_eq!(folder.record().await, None);
        assert!(folder.damaged().await.is_empty());
        let first = install(&folder, "v1", "one").await;
        assert_eq!(folder.record().await, Some(first));
        let second = install(&folder, "v2", "two").await;
        assert_eq!(folder.record().await, Some(second));
        assert_eq!(
            std::fs::read(folder.bin().join("buildkitd")).unwrap(),
            b"two"
        );
        assert!(folder.damaged().await.is_empty());
        std::fs::write(folder.bin().join("buildkitd"), "tw").unwrap();
        assert_eq!(folder.damaged().await, ["buildkitd"]);
        let again = install(&folder, "v2", "two").await;
        assert_eq!(again.version, "v2");
        assert!(folder.damaged().await.is_empty());
        let left: Vec<_> = std::fs::read_dir(dir.path().join("programs"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[tokio::test]
    async fn an_interrupted_installation_leaves_the_old_one_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path().to_owned());
        let first = install(&folder, "v1", "one").await;
        let new = folder.begin().await.unwrap();
        std::fs::write(new.join("bin/buildkitd"), "half").unwrap();
        assert_eq!(folder.record().await, Some(first));
        assert!(folder.damaged().await.is_empty());
        let path = new.to_owned();
        drop(new);
        assert!(!path.exists());
        // After SIGKILL the folder stays, until the next installation begins.
        std::fs::create_dir_all(path.join("bin")).unwrap();
        std::fs::write(path.join("bin/buildkitd"), "half").unwrap();
        drop(folder.begin().await.unwrap());
        assert!(!path.join("bin/buildkitd").exists());
    }
}
