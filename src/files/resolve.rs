//! Finds where a path leads: each symbolic link is followed before the `..` after it is applied, as in the kernel.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

/// A path that cannot be followed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot resolve the path `{path}`")]
pub(crate) struct PathError {
    path: String,
    #[source]
    source: Arc<io::Error>,
}

impl PathError {
    /// Returns the message and its cause in one line.
    pub(crate) fn reason(&self) -> String {
        format!("{self}: {}", self.source)
    }
}

/// The number of links that the kernel follows in one path.
const MOST_LINKS: usize = 40;

/// The place that a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolved {
    path: PathBuf,
    exists: bool,
    descriptor: Option<i32>,
}

impl Resolved {
    /// Makes one from an absolute path that is known to have no links and no `..`.
    pub(crate) fn of_path(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            exists: path.exists(),
            descriptor: None,
        }
    }

    /// Returns the absolute path, without links and `..`.
    ///
    /// A pipe or socket that this process has open has no path. For it, this is `/dev/fd/N`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether something existed there when the path was resolved.
    pub(crate) fn exists(&self) -> bool {
        self.exists
    }

    /// Returns the file descriptor of this process that the path names, as `/dev/stdout` and `/dev/fd/N` do.
    pub(crate) fn descriptor(&self) -> Option<i32> {
        self.descriptor
    }

    /// Whether the path names this process's standard output or standard error.
    pub(crate) fn is_standard_output(&self) -> bool {
        matches!(self.descriptor, Some(1 | 2))
    }
}

/// Follows the paths of one run, each path only once.
///
/// Asking for a path again returns the first answer, even if links have changed since. So the file that is opened
/// is the one that was checked. Clones share their answers.
#[derive(Debug, Clone)]
pub(crate) struct Resolver {
    base: Arc<Path>,
    known: Arc<Mutex<HashMap<String, Result<Resolved, PathError>>>>,
}

impl Resolver {
    /// Makes a resolver for paths relative to `base`, which must be absolute.
    pub(crate) fn new(base: &Path) -> Self {
        Self {
            base: base.into(),
            known: Arc::default(),
        }
    }

    /// Returns the directory that relative paths start at.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// Returns the place that `path` leads to.
    ///
    /// # Errors If links form a circle, a file is used as a directory, or a directory may not be searched.
    pub(crate) fn resolve(&self, path: &str) -> Result<Resolved, PathError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known.get(path) {
            return answer.clone();
        }
        let answer = resolve(&self.base, Path::new(path)).map_err(|source| PathError {
            path: path.to_owned(),
            source: Arc::new(source),
        });
        known.insert(path.to_owned(), answer.clone());
        answer
    }
}

/// Follows `path`, relative to `base`, through all symbolic links. Names that do not exist are kept as they are.
pub(crate) fn resolve(base: &Path, path: &Path) -> io::Result<Resolved> {
    let mut waiting = parts(&base.join(path));
    waiting.reverse();
    let mut reached = PathBuf::from("/");
    // The names below the deepest directory that exists. If these are created, they become plain directories, so a
    // `..` here only removes the name before it.
    let mut rest = PathBuf::new();
    let mut exists = true;
    let mut links = 0;
    while let Some(part) = waiting.pop() {
        if part == "." {
            continue;
        }
        if part == ".." {
            if !rest.pop() {
                reached.pop();
            }
            continue;
        }
        if !rest.as_os_str().is_empty() {
            rest.push(part);
            continue;
        }
        let next = reached.join(&part);
        let metadata = match next.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                exists = false;
                rest.push(part);
                continue;
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
            return Err(Errno::LOOP.into());
        }
        let target = next.read_link()?;
        match special::kind(&reached, &next, &target) {
            // `/dev/fd/N`: output goes to the descriptor itself, whatever file it leads to.
            special::LinkMeaning::Descriptor { number, by_path } if waiting.is_empty() => {
                let path = if by_path {
                    resolve(&reached, &target)?.path
                } else {
                    PathBuf::from(format!("/dev/fd/{number}"))
                };
                return Ok(Resolved {
                    path,
                    exists,
                    descriptor: Some(number),
                });
            }
            special::LinkMeaning::Opaque if waiting.is_empty() => {
                reached = next;
                continue;
            }
            special::LinkMeaning::Plain
            | special::LinkMeaning::Descriptor { by_path: true, .. } => {}
            special::LinkMeaning::Descriptor { .. } | special::LinkMeaning::Opaque => {
                return Err(io::Error::other("it leads through a file that has no path"));
            }
        }
        if target.is_absolute() {
            reached = PathBuf::from("/");
        }
        waiting.extend(parts(&target).into_iter().rev());
    }
    // Joining an empty path would append a slash.
    if !rest.as_os_str().is_empty() {
        reached.push(rest);
    }
    Ok(Resolved {
        path: reached,
        exists,
        descriptor: None,
    })
}

/// Splits `path` into names. A slash at the end requires a directory, as `/.` does, so it becomes the name `.`.
fn parts(path: &Path) -> Vec<OsString> {
    let bytes = path.as_os_str().as_bytes();
    let mut parts: Vec<OsString> = bytes
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty())
        .map(|part| OsStr::from_bytes(part).to_owned())
        .collect();
    if bytes.ends_with(b"/") && !parts.is_empty() {
        parts.push(".".into());
    }
    parts
}

/// Links in `/proc`. They lead to open files rather than to paths; their text is only for display.
#[cfg(target_os = "linux")]
pub(super) mod special {
    use std::fs::Metadata;
    use std::os::unix::fs::MetadataExt as _;

    use super::Path;

    /// What it means to follow a link.
    pub(in super::super) enum LinkMeaning {
        /// To follow its text, as for every normal link.
        Plain,
        /// To use this descriptor of our process. `by_path` if the text of the link is a path to the same file.
        Descriptor { number: i32, by_path: bool },
        /// To open something that has no path.
        Opaque,
    }

    /// Returns the meaning of the link `link` in the directory `dir`. `target` is the text of the link.
    pub(in super::super) fn kind(dir: &Path, link: &Path, target: &Path) -> LinkMeaning {
        if !is_proc(dir) {
            return LinkMeaning::Plain;
        }
        let Ok(leads_to) = link.metadata() else {
            // The link leads nowhere, or its target may not be looked at. Following its text reports which.
            return LinkMeaning::Plain;
        };
        let by_path = dir
            .join(target)
            .metadata()
            .is_ok_and(|there| same(&there, &leads_to));
        let number = link
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        match number {
            Some(number) if is_own_descriptors(dir) && !leads_to.is_dir() => {
                LinkMeaning::Descriptor { number, by_path }
            }
            _ if by_path => LinkMeaning::Plain,
            _ => LinkMeaning::Opaque,
        }
    }

    fn same(one: &Metadata, other: &Metadata) -> bool {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    }

    /// Whether `dir` is in the `proc` file system.
    pub(in super::super) fn is_proc(dir: &Path) -> bool {
        rustix::fs::statfs(dir).is_ok_and(|fs| fs.f_type == rustix::fs::PROC_SUPER_MAGIC)
    }

    /// Whether `dir` is `/proc/PID/fd` of this process, or the same directory of one of its threads.
    fn is_own_descriptors(dir: &Path) -> bool {
        let own = Path::new("/proc").join(std::process::id().to_string());
        match dir.strip_prefix(own) {
            Ok(below) => {
                below == Path::new("fd") || below.starts_with("task") && below.ends_with("fd")
            }
            Err(_) => false,
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) mod special {
    use super::Path;

    pub(in super::super) enum LinkMeaning {
        Plain,
        #[expect(dead_code, reason = "only Linux has such links")]
        Descriptor {
            number: i32,
            by_path: bool,
        },
        #[expect(dead_code, reason = "only Linux has such links")]
        Opaque,
    }

    pub(in super::super) fn kind(_: &Path, _: &Path, _: &Path) -> LinkMeaning {
        LinkMeaning::Plain
    }

    pub(in super::super) fn is_proc(_: &Path) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn tree() -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["work/sub", "elsewhere/deep"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::write(root.join("elsewhere/key"), "").unwrap();
        std::fs::write(root.join("work/key"), "").unwrap();
        let work = root.join("work");
        symlink("../elsewhere/deep", work.join("up")).unwrap();
        symlink(root.join("elsewhere/deep"), work.join("absolute")).unwrap();
        symlink("up/../../elsewhere/deep", work.join("twice")).unwrap();
        symlink("loop", work.join("loop")).unwrap();
        symlink("../elsewhere/new", work.join("dangling")).unwrap();
        (dir, root)
    }

    fn led(root: &Path, path: &str) -> (PathBuf, bool) {
        let resolved = resolve(&root.join("work"), Path::new(path)).unwrap();
        let below = resolved.path.strip_prefix(root).unwrap_or(&resolved.path);
        (below.to_owned(), resolved.exists)
    }

    #[test]
    fn links_are_followed_before_a_parent_step() {
        let (_dir, root) = tree();
        for (path, to) in [
            ("up/../key", "elsewhere/key"),
            ("absolute/../key", "elsewhere/key"),
            ("twice/../key", "elsewhere/key"),
            ("sub/../up/.././deep/../key", "elsewhere/key"),
            ("sub/../key", "work/key"),
            ("../work/./sub//", "work/sub"),
        ] {
            assert_eq!(led(&root, path), (to.into(), true), "{path}");
        }
        assert_eq!(led(&root, "/../../..").0, Path::new("/"));
    }

    #[test]
    fn the_resolved_path_is_the_one_that_the_kernel_opens() {
        let (_dir, root) = tree();
        let work = root.join("work");
        for path in [
            "up/../key",
            "twice/../key",
            "up/..",
            "absolute",
            "sub/../key",
            ".",
        ] {
            assert_eq!(
                resolve(&work, Path::new(path)).unwrap().path,
                work.join(path).canonicalize().unwrap(),
                "{path}"
            );
        }
    }

    #[test]
    fn a_missing_file_resolves_to_its_future_place() {
        let (_dir, root) = tree();
        for (path, to) in [
            ("dangling", "elsewhere/new"),
            ("dangling/x", "elsewhere/new/x"),
            ("up/../ssh/id", "elsewhere/ssh/id"),
            ("new/../key", "work/key"),
            ("new/../../elsewhere/key", "elsewhere/key"),
            ("new/up/../key", "work/new/key"),
        ] {
            assert_eq!(led(&root, path), (to.into(), false), "{path}");
        }
    }

    #[test]
    fn link_loops_and_files_used_as_directories_are_errors() {
        let (_dir, root) = tree();
        let work = root.join("work");
        for path in [
            "loop",
            "loop/x",
            "key/x",
            "key/..",
            "key/../key",
            "key/.",
            "key/",
        ] {
            assert!(resolve(&work, Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_resolver_gives_the_same_answer_twice() {
        let (_dir, root) = tree();
        let resolver = Resolver::new(&root.join("work"));
        let first = resolver.resolve("up/../key").unwrap();
        std::fs::remove_file(root.join("work/up")).unwrap();
        symlink("sub", root.join("work/up")).unwrap();
        assert_eq!(resolver.clone().resolve("up/../key").unwrap(), first);
        assert_ne!(
            Resolver::new(&root.join("work"))
                .resolve("up/../key")
                .unwrap(),
            first
        );
    }

    // A path of a few names, most of which exist.
    fn some_path() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            4 => prop::sample::select(vec!["a", "b", "c", "d"]),
            2 => Just(".."),
            1 => Just("."),
            1 => Just(""),
            1 => Just("none"),
        ];
        (any::<bool>(), prop::collection::vec(part, 1..5)).prop_map(|(absolute, parts)| {
            format!("{}{}", if absolute { "ROOT/" } else { "" }, parts.join("/"))
        })
    }

    proptest! {
        // Whatever links there are: if the kernel finds a file, it is the one that was found here; if it does not,
        // neither did we.
        #[test]
        fn resolved_paths_agree_with_the_kernel(
            made in prop::collection::vec((some_path(), some_path(), 0..4u8), 1..12),
            asked in prop::collection::vec(some_path(), 1..6),
        ) {
            let dir = TempDir::new().unwrap();
            let root = dir.path().canonicalize().unwrap();
            let inner = root.join("x/y/z");
            std::fs::create_dir_all(&inner).unwrap();
            let real = |path: &str| path.replace("ROOT", &inner.display().to_string());
            for (path, target, kind) in &made {
                let at = PathBuf::from(format!("{}/{}", inner.display(), path.replace("ROOT/", "")));
                // Paths and links lead upwards. Nothing may be made outside the test's own directory.
                let parent = at.parent().and_then(|parent| parent.canonicalize().ok());
                if !parent.is_some_and(|parent| parent.starts_with(&root)) {
                    continue;
                }
                let _ = match kind {
                    0 => std::fs::create_dir(at),
                    1 => std::fs::write(at, ""),
                    _ => symlink(real(target), at),
                };
            }
            for path in asked.iter().map(|path| real(path)) {
                let kernel = inner.join(&path).canonicalize();
                match (kernel, resolve(&inner, Path::new(&path))) {
                    (Ok(there), Ok(found)) => {
                        prop_assert_eq!(&found.path, &there);
                        prop_assert!(found.exists);
                    }
                    (Ok(there), Err(error)) => prop_assert!(false, "{path}: {there:?}, {error}"),
                    (Err(_), Ok(found)) => prop_assert!(!found.exists, "{path}: {found:?}"),
                    (Err(_), Err(_)) => {}
                }
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn descriptors_of_this_process_are_recognised() {
        use std::os::fd::AsRawFd as _;
        let (_dir, root) = tree();
        let (read, write) = io::pipe().unwrap();
        let number = write.as_raw_fd();
        for path in [
            format!("/dev/fd/{number}"),
            format!("/proc/self/fd/{number}"),
        ] {
            let resolved = resolve(&root, Path::new(&path)).unwrap();
            assert_eq!(resolved.descriptor, Some(number), "{path}");
            assert_eq!(
                resolved.path,
                Path::new(&format!("/dev/fd/{number}")),
                "{path}"
            );
            assert!(resolve(&root, &Path::new(&path).join("x")).is_err());
        }
        // A regular file is also found by its path.
        let file = std::fs::File::open(root.join("work/key")).unwrap();
        let path = format!("/dev/fd/{}", file.as_raw_fd());
        let resolved = resolve(&root, Path::new(&path)).unwrap();
        assert_eq!(resolved.path, root.join("work/key"));
        assert_eq!(resolved.descriptor, Some(file.as_raw_fd()));
        // For a directory, the path is followed.
        let dir = std::fs::File::open(root.join("work")).unwrap();
        let path = format!("/dev/fd/{}/key", dir.as_raw_fd());
        let resolved = resolve(&root, Path::new(&path)).unwrap();
        assert_eq!(
            (resolved.path, resolved.descriptor),
            (root.join("work/key"), None)
        );
        let here = resolve(&root, Path::new("/proc/self/cwd")).unwrap();
        assert_eq!(
            here.path,
            std::env::current_dir().unwrap().canonicalize().unwrap()
        );
        drop(read);
    }
}
