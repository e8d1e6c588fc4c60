//! What git says of a context: the commit, where it came from, and where the context lies in the repository.
//!
//! Asked of the `git` program, as buildx does (`build/git.go`), so that both give the same answers. Nothing here ever fails a
//! build: what git does not know is left out.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::types::Environment;
use crate::types::secret::redact_url;

/// A repository as seen from one directory in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    /// The top of the work tree, with links resolved.
    pub(crate) root: PathBuf,
    /// The commit, 40 hexadecimal digits, with `-dirty` where that was asked for and is so.
    pub(crate) revision: Option<String>,
    /// The remote's address, without credentials.
    pub(crate) source: Option<String>,
}

/// What git said, or why it could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The directory belongs to this repository.
    Known(Repository),
    /// The directory belongs to none, or the user does not want to know.
    None,
    /// There is a repository, but git could not read it: the reason.
    Failed(String),
}

impl Repository {
    /// `dir` relative to the root, `.` for the root itself; none outside of it.
    pub(crate) fn relative(&self, dir: &Path) -> Option<String> {
        let dir = dir.canonicalize().ok()?;
        let relative = dir.strip_prefix(&self.root).ok()?;
        let text = relative.to_str()?;
        Some(if text.is_empty() {
            ".".to_owned()
        } else {
            text.to_owned()
        })
    }
}

/// Asks git about `dir`.
pub(crate) async fn ask(dir: &Path, environment: &Environment) -> Answer {
    if flag(environment, "BUILDX_GIT_INFO") == Some(false) || !inside_work_tree(dir) {
        return Answer::None;
    }
    let git = Git { dir };
    let head = match git
        .run(&[
            "rev-parse",
            "--show-toplevel",
            "HEAD",
            "--symbolic-full-name",
            "HEAD",
        ])
        .await
    {
        Ok(text) => text,
        Err(reason) => return Answer::Failed(reason),
    };
    let mut lines = head.lines();
    let root = lines
        .next()
        .map(PathBuf::from)
        .and_then(|root| root.canonicalize().ok());
    let (Some(root), Some(commit)) = (root, lines.next()) else {
        return Answer::Failed("git printed no commit".to_owned());
    };
    let branch = lines.next().unwrap_or_default();
    let check_dirty = flag(environment, "BUILDX_GIT_CHECK_DIRTY") == Some(true);
    let (source, dirty) = tokio::join!(git.source(branch), async {
        check_dirty && git.is_dirty().await
    });
    let revision = Some(format!("{commit}{}", if dirty { "-dirty" } else { "" }));
    Answer::Known(Repository {
        root,
        revision,
        source,
    })
}

fn flag(environment: &Environment, name: &str) -> Option<bool> {
    crate::types::go::parse_bool(environment.non_empty(name)?)
}

// Asking git costs a process; most directories outside of a repository are told apart without one.
fn inside_work_tree(dir: &Path) -> bool {
    let Ok(dir) = dir.canonicalize() else {
        return false;
    };
    dir.ancestors()
        .any(|ancestor| ancestor.join(".git").exists())
}

struct Git<'a> {
    dir: &'a Path,
}

impl Git<'_> {
    async fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("git")
            .arg("-C")
            .arg(self.dir)
            .args(args)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| format!("cannot run git: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout)
                .trim_end()
                .to_owned())
        } else {
            let stderr = String::from_utf8_lossy(&output.stderr);
            Err(stderr.lines().next().unwrap_or("git failed").to_owned())
        }
    }

    // The remote that the branch tracks, else `origin`, else `upstream`.
    async fn source(&self, branch: &str) -> Option<String> {
        let tracking = if branch.starts_with("refs/") {
            self.run(&["for-each-ref", "--format=%(upstream:remotename)", branch])
                .await
                .ok()
        } else {
            None
        };
        let tracking = tracking.filter(|name| !name.is_empty());
        for remote in tracking
            .as_deref()
            .into_iter()
            .chain(["origin", "upstream"])
        {
            if let Ok(url) = self.run(&["remote", "get-url", remote]).await {
                return Some(redact_url(&url)).filter(|url| !url.is_empty());
            }
        }
        None
    }

    async fn is_dirty(&self) -> bool {
        self.run(&["status", "--porcelain", "--ignored"])
            .await
            .map_or(true, |text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(dir: &Path, args: &[&str]) {
        let status = std::process::Command::new("git")
            .arg("-C")
            .arg(dir)
            .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
            .args(args)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "git {args:?}");
    }

    fn environment<const N: usize>(variables: [(&str, &str); N]) -> Environment {
        Environment::of(variables, "/")
    }

    #[tokio::test]
    async fn commit_remote_and_place_are_told() {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q"]);
        git(dir.path(), &["commit", "-q", "--allow-empty", "-m", "x"]);
        git(
            dir.path(),
            &[
                "remote",
                "add",
                "origin",
                "https://u:secret@example.com/r.git",
            ],
        );
        let below = dir.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();

        let Answer::Known(repository) = ask(&below, &environment([])).await else {
            panic!("no repository")
        };
        assert_eq!(
            repository.source.as_deref(),
            Some("https://xxxxx:xxxxx@example.com/r.git")
        );
        assert_eq!(repository.revision.as_ref().map(String::len), Some(40));
        assert_eq!(repository.relative(&below).as_deref(), Some("a/b"));
        assert_eq!(repository.relative(dir.path()).as_deref(), Some("."));
        assert_eq!(repository.relative(Path::new("/")), None);
    }

    #[tokio::test]
    async fn dirty_trees_are_told_on_request_only() {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q"]);
        git(dir.path(), &["commit", "-q", "--allow-empty", "-m", "x"]);
        std::fs::write(dir.path().join("new"), "").unwrap();
        let revision = async |environment| match ask(dir.path(), &environment).await {
            Answer::Known(repository) => repository.revision.unwrap(),
            other => panic!("{other:?}"),
        };
        assert!(!revision(environment([])).await.ends_with("-dirty"));
        assert!(
            revision(environment([("BUILDX_GIT_CHECK_DIRTY", "1")]))
                .await
                .ends_with("-dirty")
        );
    }

    #[tokio::test]
    async fn no_repository_no_commit_and_no_wish() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ask(dir.path(), &environment([])).await, Answer::None);
        git(dir.path(), &["init", "-q"]);
        assert!(matches!(
            ask(dir.path(), &environment([])).await,
            Answer::Failed(_)
        ));
        assert_eq!(
            ask(dir.path(), &environment([("BUILDX_GIT_INFO", "0")])).await,
            Answer::None
        );
    }
}
