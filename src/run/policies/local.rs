//! Reads the files of policies on this machine.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::golang::path;
use crate::types::awaited;

/// What is before the name of a file in the working directory.
pub(super) const CWD: &str = "cwd://";

/// The directories in which policies may read.
#[derive(Debug, Clone)]
pub(super) struct LocalRoots {
    pub(super) cwd: PathBuf,
    /// The context. `None` if it is remote.
    pub(super) context: Option<PathBuf>,
}

impl LocalRoots {
    /// The directory and the path in it that `name` means. `None` if that is not on this machine.
    fn place<'n>(&self, name: &'n str) -> Option<(&Path, &'n str)> {
        match name.strip_prefix(CWD) {
            Some(rest) => Some((&self.cwd, rest)),
            None => self.context.as_deref().map(|context| (context, name)),
        }
    }

    /// Reads at most `limit` bytes of the file `name`. `None` if it is not on this machine.
    ///
    /// # Errors
    /// It cannot be read, or is outside of the directory, be it by a link.
    pub(super) fn read(&self, name: &str, limit: u64) -> Option<io::Result<Bytes>> {
        let (root, below) = self.place(name)?;
        Some(read_below(root, below, limit))
    }
}

fn read_below(root: &Path, below: &str, limit: u64) -> io::Result<Bytes> {
    let root = root.canonicalize()?;
    let below = match Path::new(below).strip_prefix(&root) {
        Ok(below) => below.to_string_lossy().into_owned(),
        Err(_) => below.to_owned(),
    };
    let clean = path::clean(&below);
    let outside = || io::Error::other("it is outside of the directory of the policy");
    if clean.starts_with('/') || clean == ".." || clean.starts_with("../") {
        return Err(outside());
    }
    let place = root.join(&clean);
    let _awaited = awaited::file(&place.to_string_lossy());
    let place = place.canonicalize()?;
    if !place.starts_with(&root) {
        return Err(outside());
    }
    read_file(&place, limit)
}

/// Reads at most `limit` bytes of the file at `place`.
pub(super) fn read_file(place: &Path, limit: u64) -> io::Result<Bytes> {
    // Opening a pipe would wait for a writer.
    if !place.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut content = Vec::new();
    File::open(place)?.take(limit).read_to_end(&mut content)?;
    Ok(content.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_of_the_directories_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let context = dir.path().join("context");
        std::fs::create_dir_all(context.join("sub")).unwrap();
        std::fs::write(dir.path().join("secret"), "no").unwrap();
        std::fs::write(context.join("sub/a"), "yes").unwrap();
        std::os::unix::fs::symlink("../secret", context.join("link")).unwrap();
        std::os::unix::fs::symlink("sub/a", context.join("inner")).unwrap();
        let roots = LocalRoots {
            cwd: dir.path().to_owned(),
            context: Some(context.clone()),
        };
        let absolute = context.join("sub/a").to_string_lossy().into_owned();
        for name in [
            "sub/a",
            "./x/../sub/a",
            "inner",
            "cwd://context/sub/a",
            &absolute,
        ] {
            assert_eq!(roots.read(name, 100).unwrap().unwrap(), "yes", "{name}");
        }
        let secret = dir.path().join("secret").to_string_lossy().into_owned();
        for name in [
            "../secret",
            "link",
            "cwd://../secret",
            "sub",
            "nope",
            &secret,
            "/etc/hostname",
        ] {
            assert!(roots.read(name, 100).unwrap().is_err(), "{name}");
        }
        assert_eq!(roots.read("sub/a", 2).unwrap().unwrap(), "ye");
        let remote = LocalRoots {
            context: None,
            ..roots
        };
        assert!(remote.read("sub/a", 100).is_none());
        assert!(remote.read("cwd://secret", 100).unwrap().is_ok());
    }
}
