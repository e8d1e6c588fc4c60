//! Decides whether the paths that the user allows cover the paths that the plan needs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::definition::model::SharedText;
use crate::files::{PathError, Resolved, Resolver};
use crate::types::hash::HashSet;

/// The paths that the user allows for reading or for writing, with symbolic links resolved.
pub(super) struct Covered(HashSet<PathBuf>);

impl Covered {
    /// Resolves the paths of `allowed`, which need not exist. Returns `None` if everything is allowed.
    pub(super) fn by(
        allowed: &BTreeSet<SharedText>,
        paths: &Resolver,
    ) -> Result<Option<Self>, PathError> {
        if allowed.contains("*") {
            return Ok(None);
        }
        let mut covered = HashSet::default();
        // The working directory is always allowed.
        for path in allowed.iter().map(|path| &**path).chain(["."]) {
            covered.insert(paths.resolve(path)?.path().to_owned());
        }
        Ok(Some(Self(covered)))
    }

    /// Whether the path, or a directory above it, is allowed.
    pub(super) fn covers(&self, place: &Resolved) -> bool {
        place.path().ancestors().any(|above| self.0.contains(above))
    }
}

/// Returns the paths of `wanted` that `allowed` does not cover, sorted. A path below another one in the result is
/// left out.
///
/// Neither the allowed nor the wanted paths need to exist.
pub(super) fn uncovered(
    paths: &Resolver,
    allowed: &BTreeSet<SharedText>,
    wanted: &[Resolved],
) -> Result<Vec<PathBuf>, PathError> {
    let Some(covered) = Covered::by(allowed, paths)? else {
        return Ok(Vec::new());
    };
    let missing = wanted.iter().filter(|place| !covered.covers(place));
    // A directory sorts before the paths below it.
    let sorted: BTreeSet<&Path> = missing.map(Resolved::path).collect();
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in sorted {
        if !kept.iter().any(|above| path.starts_with(above)) {
            kept.push(path.to_owned());
        }
    }
    Ok(kept)
}

/// `path` relative to `base`, if it is below `base` or directly beside it. Otherwise `path` unchanged.
pub(super) fn from_dir(base: &Path, path: &Path) -> PathBuf {
    if let Ok(below) = path.strip_prefix(base) {
        return if below.as_os_str().is_empty() {
            PathBuf::from(".")
        } else {
            below.to_owned()
        };
    }
    match base.parent().map(|parent| path.strip_prefix(parent)) {
        Some(Ok(beside)) if beside.as_os_str().is_empty() => PathBuf::from(".."),
        Some(Ok(beside)) => Path::new("..").join(beside),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn tree() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["work/sub", "work/sub2", "outside"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::write(root.join("outside/file"), "").unwrap();
        symlink(root.join("outside"), root.join("work/escape")).unwrap();
        symlink("../outside/../work/sub", root.join("work/within")).unwrap();
        (dir, root)
    }

    fn missing(root: &Path, allowed: &[&str], wanted: &[&str]) -> Vec<String> {
        let work = root.join("work");
        let paths = Resolver::new(&work);
        let allowed = allowed.iter().map(|path| SharedText::from(*path)).collect();
        let wanted: Vec<Resolved> = wanted
            .iter()
            .map(|path| paths.resolve(path).unwrap())
            .collect();
        let found = uncovered(&paths, &allowed, &wanted).unwrap();
        found
            .iter()
            .map(|path| from_dir(&work, path).display().to_string())
            .collect()
    }

    #[test]
    fn the_working_directory_is_allowed_and_links_are_followed() {
        let (_dir, root) = tree();
        assert_eq!(
            missing(&root, &[], &["sub", "within", "sub/new/dir", "."]),
            [""; 0]
        );
        assert_eq!(missing(&root, &[], &["escape/file"]), ["../outside/file"]);
        assert_eq!(
            missing(&root, &[], &["escape", "escape/file"]),
            ["../outside"]
        );
        assert_eq!(missing(&root, &["../outside"], &["escape/file"]), [""; 0]);
        for all in ["/", "*"] {
            assert_eq!(missing(&root, &[all], &["escape/file", "/etc"]), [""; 0]);
        }
    }

    #[test]
    fn a_path_that_does_not_exist_can_be_allowed() {
        let (_dir, root) = tree();
        for wanted in ["../outside/new", "../new", "../new/a/b", "/nowhere/at/all"] {
            let needed = missing(&root, &[], &[wanted]);
            assert_eq!(needed, [wanted]);
            assert_eq!(missing(&root, &[wanted], &[wanted]), [""; 0]);
        }
        assert_eq!(missing(&root, &["../new"], &["../new/a"]), [""; 0]);
        assert_eq!(missing(&root, &[".."], &["../new/a"]), [""; 0]);
        assert_eq!(missing(&root, &["../new/a"], &["../new/b"]), ["../new/b"]);
        assert_eq!(missing(&root, &["../new"], &["../newer"]), ["../newer"]);
    }

    #[test]
    fn links_are_followed_before_dot_dot_is_applied() {
        let (_dir, root) = tree();
        std::fs::create_dir(root.join("outside/deep")).unwrap();
        symlink("../outside/deep", root.join("work/up")).unwrap();
        assert_eq!(missing(&root, &[], &["up/../file"]), ["../outside/file"]);
        assert_eq!(missing(&root, &[], &["up/../ssh"]), ["../outside/ssh"]);
        assert_eq!(
            missing(&root, &["up/../file"], &["../outside/file"]),
            [""; 0]
        );
        assert_eq!(missing(&root, &["up/.."], &["up/../ssh"]), [""; 0]);
    }

    #[test]
    fn paths_are_shown_relative_to_the_working_directory() {
        let shown = |path: &str| from_dir(Path::new("/a/b"), Path::new(path));
        assert_eq!(shown("/a/b"), Path::new("."));
        assert_eq!(shown("/a/b/c"), Path::new("c"));
        assert_eq!(shown("/a/c/d"), Path::new("../c/d"));
        assert_eq!(shown("/x"), Path::new("/x"));
    }
}
