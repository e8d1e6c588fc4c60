//! Files in a context that an ordinary user may not read.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{Gid, Uid};

use super::*;
use crate::context::FilterSpec;
use crate::context::fixture::make;

// Runs `test` as an ordinary user, because permissions do not apply to root.
fn as_nobody<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    let lowered = move || {
        if rustix::process::geteuid().is_root() {
            // These calls change the current thread only.
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_gid(Gid::from_raw(65534)).unwrap();
            rustix::thread::set_thread_uid(Uid::from_raw(65534)).unwrap();
        }
        test()
    };
    let done = std::thread::scope(|scope| scope.spawn(lowered).join());
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

const TREE: &str = "\
d a 755
f a/a.whl 644 1
d locked 700
f locked/a.whl 644 2
d through 711
f through/a.whl 644 3
d named 744
f named/a.whl 644 4
l link locked/a.whl
f other 644 5
f secret 600 6
";

struct Denied(tempfile::TempDir);

impl Denied {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path(), TREE);
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(dir)
    }

    // The paths that are sent, or the error without the part of its path before the context's root.
    fn sent(&self, exclude: &[&str], follow: &[&str]) -> Result<Vec<String>, String> {
        let lines = |lines: &[&str]| lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        let spec = FilterSpec {
            include: Vec::new(),
            exclude: lines(exclude),
            follow: lines(follow),
        };
        as_nobody(|| paths(self.0.path(), &spec)).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let text = format!("{error}: {}", source.unwrap_or_default());
            text.replace(&format!("{}/", self.0.path().display()), "")
        })
    }
}

fn paths(root: &Path, spec: &FilterSpec) -> Result<Vec<String>, ContextError> {
    let context = Context::open(root)?;
    let mut paths = Vec::new();
    let _ = context.walk(&context.filter(spec)?, |entry| {
        paths.push(String::from_utf8_lossy(entry.path).into_owned());
        ControlFlow::Continue(())
    })?;
    Ok(paths)
}

fn denied(act: &str, path: &str) -> Result<Vec<String>, String> {
    Err(format!(
        "cannot {act} `{path}`: Permission denied (os error 13)"
    ))
}

#[test]
fn an_unreadable_directory_is_an_error_if_the_filter_may_need_its_files() {
    let denied_tree = Denied::new();
    let sent = |exclude: &[&str], follow: &[&str]| denied_tree.sent(exclude, follow);
    assert_eq!(sent(&[], &[]), denied("list", "locked"));
    assert_eq!(sent(&[], &["*/a*", "other"]), denied("list", "locked"));
    assert_eq!(sent(&[], &["l*/a.whl"]), denied("look at", "locked/a.whl"));
    assert_eq!(sent(&[], &["t*/a.whl"]), denied("list", "through"));
    assert_eq!(sent(&[], &["through/a.whl"]), denied("list", "through"));
    assert_eq!(sent(&[], &["n*/a*"]), denied("look at", "named/a.whl"));
    assert_eq!(
        sent(&[], &["named"]),
        denied("read the state of", "named/a.whl")
    );
    assert_eq!(sent(&[], &["link"]), denied("look at", "locked/a.whl"));
    let taken_back = ["**/locked", "through", "named", "!locked/a.whl"];
    assert_eq!(sent(&taken_back, &[]), denied("list", "locked"));
}

#[test]
fn an_unreadable_directory_is_skipped_if_the_filter_needs_no_file_in_it() {
    let denied_tree = Denied::new();
    let sent = |exclude: &[&str], follow: &[&str]| denied_tree.sent(exclude, follow).unwrap();
    let ignored = ["locked", "through", "named"];
    let wanted = ["a", "a/a.whl", "other"];
    assert_eq!(sent(&ignored, &["*/a*", "other"]), wanted);
    assert_eq!(sent(&[], &["a", "o*"]), ["a", "a/a.whl", "other"]);
    assert_eq!(sent(&ignored, &["link"]), ["link"]);
    let contents = ["locked/*", "through/**", "**/named/*", "secret"];
    let all = [
        "a", "a/a.whl", "link", "locked", "named", "other", "through",
    ];
    assert_eq!(sent(&contents, &[]), all);
    // The list of the directory does not have the name.
    assert_eq!(sent(&["locked", "through"], &["*/b*", "other"]), ["other"]);
    assert_eq!(
        sent(&["locked", "through"], &["named/b", "other"]),
        ["other"]
    );
    let elsewhere = ["locked", "through", "named", "!a*/x", "!other"];
    assert_eq!(sent(&elsewhere, &["a/a*"]), ["a", "a/a.whl"]);
}

// A file is reported without being read. Reading its content fails when the daemon asks for it.
#[test]
fn an_unreadable_file_is_listed_and_cannot_be_opened() {
    let denied_tree = Denied::new();
    let sent = denied_tree.sent(&["locked", "through", "named"], &["secret", "other"]);
    assert_eq!(sent.unwrap(), ["other", "secret"]);
    let opened = as_nobody(|| {
        Context::open(denied_tree.0.path())
            .unwrap()
            .open_file(b"secret")
    });
    assert_eq!(
        opened.unwrap_err().kind(),
        std::io::ErrorKind::PermissionDenied
    );
}

#[test]
fn a_link_to_an_impossible_name_or_to_itself_is_sent_alone() {
    let dir = tempfile::tempdir().unwrap();
    let long = "x".repeat(300);
    std::os::unix::fs::symlink(&long, dir.path().join("link")).unwrap();
    std::os::unix::fs::symlink("loop/loop", dir.path().join("loop")).unwrap();
    let follow = ["l*", &format!("{long}/*")].map(|path| path.as_bytes().to_vec());
    let spec = FilterSpec {
        follow: follow.into(),
        ..FilterSpec::default()
    };
    assert_eq!(paths(dir.path(), &spec).unwrap(), ["link", "loop"]);
}

#[test]
fn a_directory_that_is_replaced_during_the_walk_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), "f a 644 1\nd b 755\nf b/c 644 2\n");
    let context = Context::open(dir.path()).unwrap();
    let walked = context.walk(&Filter::default(), |entry| {
        if entry.path == b"b" {
            std::fs::remove_dir_all(dir.path().join("b")).unwrap();
            std::fs::write(dir.path().join("b"), "").unwrap();
        }
        ControlFlow::Continue(())
    });
    let error = walked.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot list ") && error.ends_with("/b`"),
        "{error}"
    );
}
