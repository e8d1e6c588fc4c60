//! The Dockerfiles of targets that may share a transfer, as they were when their frontends were asked what they read.
//!
//! The frontend reads the Dockerfile once more when the target is solved, which may be minutes later. If it had changed by then,
//! it would read paths that were not asked for, and steps would copy only a part of a directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::Bytes;

use super::served::read_alone;
use crate::types::blocking::unblock;

/// A Dockerfile: its directory, and its name in there.
pub(super) type DockerfileName = (PathBuf, String);

/// A Dockerfile and its own ignore file, by their names.
type Files = BTreeMap<String, Bytes>;

/// Dockerfiles that were read. Empty until [`read`](Self::read).
#[derive(Debug, Default)]
pub(super) struct FrozenDockerfiles(OnceLock<BTreeMap<DockerfileName, Files>>);

impl FrozenDockerfiles {
    /// Reads those of `names` that can be read. The others are served from the disk, which reports the reason.
    pub(super) async fn read(&self, names: Vec<DockerfileName>) {
        let reading = move || {
            let read = names.into_iter().filter_map(|(dir, filename)| {
                let files = read_alone(&dir, &filename).ok()?;
                Some(((dir, filename), files))
            });
            read.collect()
        };
        let read = unblock(reading).await;
        // It is set only here.
        let _ = self.0.set(read);
    }

    /// The Dockerfile `filename` of `dir`. `None` if it was not read.
    pub(super) fn get(&self, dir: &Path, filename: &str) -> Option<&Files> {
        let name = (dir.to_owned(), filename.to_owned());
        self.0.get()?.get(&name)
    }

    /// All Dockerfiles of `dir` that were read.
    pub(super) fn of_directory(&self, dir: &Path) -> Files {
        let all = self.0.get().into_iter().flatten();
        let here = all.filter(|((of, _), _)| of == dir);
        here.flat_map(|(_, files)| files.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dockerfile_stays_as_it_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["a", "b", "b.dockerignore"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        let frozen = FrozenDockerfiles::default();
        assert!(frozen.get(&root, "a").is_none());
        let names = ["a", "b", "missing"].map(|name| (root.clone(), name.to_owned()));
        frozen.read(names.into()).await;
        std::fs::write(root.join("a"), "changed").unwrap();
        assert_eq!(frozen.get(&root, "a").unwrap()["a"], "a");
        assert!(frozen.get(&root, "missing").is_none());
        let names: Vec<String> = frozen.of_directory(&root).into_keys().collect();
        assert_eq!(names, ["a", "b", "b.dockerignore"]);
        assert!(frozen.of_directory(Path::new("/")).is_empty());
    }
}
