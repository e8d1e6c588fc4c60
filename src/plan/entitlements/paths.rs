//! Where paths really lead, and whether what is allowed covers them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::definition::model::Text;
use crate::types::hash::HashSet;

/// A path cannot be followed.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell where `{path}` leads")]
pub(super) struct PathError {
    path: String,
    #[source]
    source: io::Error,
}

impl PathError {
    /// Why, for messages.
    pub(super) fn reason(&self) -> String {
        format!("{self}: {}", self.source)
    }
}

/// As many links as one path may go through.
const MOST_LINKS: usize = 255;

/// Follows `path`, relative to `base`, through all symbolic links to the deepest part that exists; what comes after that
/// is the second value.
pub(super) fn follow(base: &Path, path: &str) -> Result<(PathBuf, PathBuf), PathError> {
    follow_path(base, Path::new(path)).map_err(|source| PathError {
        path: path.to_owned(),
        source,
    })
}

fn follow_path(base: &Path, path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    // Parts of the path by their text alone, as long as no link has been followed.
    let mut waiting: Vec<OsString> = parts(&clean(&base.join(path)));
    waiting.reverse();
    let mut reached = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = waiting.pop() {
        if part == ".." {
            reached.pop();
            continue;
        }
        let next = reached.join(&part);
        let metadata = match next.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut rest = PathBuf::from(part);
                rest.extend(waiting.iter().rev());
                return Ok((reached, rest));
            }
            Err(error) => return Err(error),
        };
        if !metadata.is_symlink() {
            if !metadata.is_dir() && !waiting.is_empty() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            reached = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(io::Error::other("too many symbolic links"));
        }
        let target = next.read_link()?;
        if target.is_absolute() {
            reached = PathBuf::from("/");
        }
        waiting.extend(parts(&target).into_iter().rev());
    }
    Ok((reached, PathBuf::new()))
}

fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(part) => Some(part.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

// An absolute path without `..`, by its text alone.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in parts(path) {
        if part == ".." {
            clean.pop();
        } else {
            clean.push(part);
        }
    }
    clean
}

/// Those of `wanted` that `allowed` does not cover, resolved, without those below others, sorted.
///
/// What is allowed may not exist; what is wanted counts as the deepest part of it that does.
pub(super) fn uncovered(
    base: &Path,
    allowed: &BTreeSet<Text>,
    wanted: &BTreeSet<String>,
) -> Result<Vec<PathBuf>, PathError> {
    if allowed.contains("*") {
        return Ok(Vec::new());
    }
    let mut covered = HashSet::default();
    // The working directory is always allowed.
    for path in allowed.iter().map(|path| &**path).chain(["."]) {
        let (existing, rest) = follow(base, path)?;
        covered.insert(if rest.as_os_str().is_empty() {
            existing
        } else {
            existing.join(rest)
        });
    }
    let mut resolved = BTreeSet::new();
    for path in wanted {
        resolved.insert(follow(base, path)?.0);
    }
    let mut kept: BTreeSet<PathBuf> = BTreeSet::new();
    // Parents sort before what is below them.
    for path in resolved {
        let mut up = path.ancestors();
        if !up.any(|above| covered.contains(above) || kept.contains(above)) {
            kept.insert(path);
        }
    }
    Ok(kept.into_iter().collect())
}

/// `path` as seen from `base`, unless that takes more than one step up.
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
        symlink("loop", root.join("work/loop")).unwrap();
        (dir, root)
    }

    fn missing(root: &Path, allowed: &[&str], wanted: &[&str]) -> Vec<String> {
        let allowed = allowed.iter().map(|path| Text::from(*path)).collect();
        let wanted = wanted.iter().map(ToString::to_string).collect();
        let work = root.join("work");
        let found = uncovered(&work, &allowed, &wanted).unwrap();
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
    fn what_does_not_exist_needs_its_parent() {
        let (_dir, root) = tree();
        assert_eq!(missing(&root, &[], &["../outside/new"]), ["../outside"]);
        assert_eq!(
            missing(&root, &["../outside/new"], &["../outside/new"]),
            ["../outside"]
        );
        assert_eq!(
            missing(&root, &["../outside"], &["../outside/new"]),
            [""; 0]
        );
    }

    #[test]
    fn broken_paths_are_errors() {
        let (_dir, root) = tree();
        let wanted = |path: &str| [path.to_owned()].into();
        let work = root.join("work");
        for path in ["loop", "../outside/file/below"] {
            assert!(
                uncovered(&work, &BTreeSet::new(), &wanted(path)).is_err(),
                "{path}"
            );
        }
    }

    #[test]
    fn paths_are_shown_from_here() {
        let shown = |path: &str| from_dir(Path::new("/a/b"), Path::new(path));
        assert_eq!(shown("/a/b"), Path::new("."));
        assert_eq!(shown("/a/b/c"), Path::new("c"));
        assert_eq!(shown("/a/c/d"), Path::new("../c/d"));
        assert_eq!(shown("/x"), Path::new("/x"));
    }
}
