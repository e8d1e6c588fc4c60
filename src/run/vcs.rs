//! Asks git about a context: the commit, the remote, and the context's path in the repository.
//!
//! Runs the `git` program, as buildx does (`build/git.go`), so that both give the same answers, but once for each
//! repository instead of once for each target. Nothing here fails a build: facts that git does not know are left
//! out.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tokio::process::Command;

use crate::types::secret::redact_url;
use crate::types::{Environment, processes};

/// What git knows about a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repository {
    /// The top of the work tree, without links.
    pub(crate) root: PathBuf,
    /// The commit, 40 hexadecimal digits. It ends with `-dirty` if `BUILDX_GIT_CHECK_DIRTY` asks for that and
    /// there are changes. `None` before the first commit.
    pub(crate) revision: Option<String>,
    /// The address of the remote, without credentials.
    pub(crate) source: Option<String>,
}

/// The answer of git, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GitAnswer {
    /// The directory belongs to this repository.
    Known(Repository),
    /// There is a repository, but git could not read it, for this reason.
    Failed(String),
}

impl Repository {
    /// Returns `dir` relative to the root, `.` for the root itself, or `None` if it is outside. `dir` must have no
    /// links.
    pub(crate) fn relative(&self, dir: &Path) -> Option<String> {
        let relative = dir.strip_prefix(&self.root).ok()?;
        let text = relative.to_str()?;
        Some(if text.is_empty() {
            ".".to_owned()
        } else {
            text.to_owned()
        })
    }
}

/// What the facts of git are used for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct GitUses {
    /// For provenance. `BUILDX_GIT_INFO` can disable it.
    pub(super) provenance: bool,
    /// For labels of the image. `BUILDX_GIT_LABELS` enables it; `full` is an old word for true.
    pub(super) labels: bool,
}

impl GitUses {
    pub(super) fn of(environment: &Environment) -> Self {
        const LABELS: &str = "BUILDX_GIT_LABELS";
        Self {
            provenance: flag(environment, "BUILDX_GIT_INFO") != Some(false),
            labels: environment.get(LABELS) == Some("full")
                || flag(environment, LABELS) == Some(true),
        }
    }
}

/// Returns the directory at or above `dir` that looks like the top of a work tree. `dir` must have no links.
/// Blocking.
///
/// Asking git costs a process. This check avoids it for most directories outside of repositories.
pub(crate) fn top(dir: &Path) -> Option<&Path> {
    dir.ancestors()
        .find(|ancestor| ancestor.join(".git").exists())
}

/// Asks git about the repository whose work tree seems to begin at `top`.
///
/// The variables `withheld`, which hold secrets of the run, are removed from git's environment.
pub(crate) async fn ask(
    top: &Path,
    environment: &Environment,
    withheld: &BTreeSet<String>,
) -> GitAnswer {
    let git = Git { dir: top, withheld };
    let (root, commit, branch) = match git.head().await {
        Ok(head) => head,
        Err(reason) => return GitAnswer::Failed(reason),
    };
    let check_dirty = flag(environment, "BUILDX_GIT_CHECK_DIRTY") == Some(true);
    let source = git.source(&branch).await;
    let dirty = commit.is_some() && check_dirty && git.is_dirty().await;
    let revision = commit.map(|commit| format!("{commit}{}", if dirty { "-dirty" } else { "" }));
    GitAnswer::Known(Repository {
        root,
        revision,
        source,
    })
}

/// The commit of the work tree that begins at `top`, and whether files of the commit have changed, as `git describe
/// --dirty` sees it: files that git does not track do not count. `None` if git does not know the commit.
pub(super) async fn commit(top: &Path, withheld: &BTreeSet<String>) -> Option<(String, bool)> {
    let git = Git { dir: top, withheld };
    let status = ["status", "--porcelain", "--untracked-files=no"];
    let (commit, changes) = futures_util::join!(
        git.run(&["rev-parse", "--verify", "HEAD"]),
        git.run(&status)
    );
    let is_dirty = changes.map_or(true, |changes| !changes.is_empty());
    Some((commit.ok()?, is_dirty))
}

fn flag(environment: &Environment, name: &str) -> Option<bool> {
    crate::golang::strconv::parse_bool(environment.non_empty(name)?)
}

struct Git<'a> {
    dir: &'a Path,
    withheld: &'a BTreeSet<String>,
}

impl Git<'_> {
    /// Runs git in the repository. `GIT_OPTIONAL_LOCKS=0` keeps `git status` from writing to the repository.
    async fn output(&self, args: &[&str]) -> Result<Output, String> {
        let mut command = Command::new("git");
        for name in self.withheld {
            command.env_remove(name);
        }
        command
            .arg("-C")
            .arg(self.dir)
            .args(args)
            .env("GIT_OPTIONAL_LOCKS", "0")
            // The messages are parsed, so they must not be translated.
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = processes::output(&mut command).await;
        output.map_err(|error| format!("cannot run git: {error}"))
    }

    /// Runs git and returns what it printed, without the final newline. The error is git's message.
    async fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = self.output(args).await?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout)
                .trim_end()
                .to_owned())
        } else {
            Err(reason(&output))
        }
    }

    /// Returns the top of the work tree, the commit if there is one, and the full name of the branch, which may be
    /// empty.
    async fn head(&self) -> Result<(PathBuf, Option<String>, String), String> {
        let output = self
            .output(&[
                "rev-parse",
                "--show-toplevel",
                "HEAD",
                "--symbolic-full-name",
                "HEAD",
            ])
            .await?;
        let mut lines = output.stdout.split(|byte| *byte == b'\n');
        let root = lines.next().filter(|line| !line.is_empty());
        let root = root.map(|line| PathBuf::from(OsStr::from_bytes(line)));
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let has_no_commit =
                stderr.contains("unknown revision") || stderr.contains("bad revision");
            let Some(root) = root.filter(|_| has_no_commit) else {
                return Err(reason(&output));
            };
            let branch = self.run(&["symbolic-ref", "-q", "HEAD"]).await;
            return Ok((real(root).await?, None, branch.unwrap_or_default()));
        }
        let mut text = || String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let (commit, branch) = (text(), text());
        match root {
            Some(root) if !commit.is_empty() => Ok((real(root).await?, Some(commit), branch)),
            _ => Err("git printed no commit".to_owned()),
        }
    }

    /// Returns the address of the remote that the branch tracks, or else of `origin`, or else of `upstream`.
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

    /// Whether the work tree has changes, including ignored files. If git cannot tell, it counts as changed.
    async fn is_dirty(&self) -> bool {
        self.run(&["status", "--porcelain", "--ignored"])
            .await
            .map_or(true, |text| !text.is_empty())
    }
}

async fn real(path: PathBuf) -> Result<PathBuf, String> {
    let real = tokio::fs::canonicalize(&path).await;
    real.map_err(|error| format!("cannot find `{}`: {error}", path.display()))
}

/// Returns the error message of git. It may come after warnings.
fn reason(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let line = stderr
        .lines()
        .find(|line| line.starts_with("fatal:") || line.starts_with("error:"))
        .or_else(|| stderr.lines().find(|line| !line.trim().is_empty()));
    line.map_or_else(
        || format!("git ended without a message ({})", output.status),
        ToOwned::to_owned,
    )
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
    async fn commit_remote_and_place_are_found() {
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

        let below = below.canonicalize().unwrap();
        let root = dir.path().canonicalize().unwrap();
        assert_eq!(top(&below), Some(root.as_path()));
        let GitAnswer::Known(repository) = ask(&root, &environment([]), &BTreeSet::new()).await
        else {
            panic!("no repository")
        };
        assert_eq!(
            repository.source.as_deref(),
            Some("https://xxxxx:xxxxx@example.com/r.git")
        );
        assert_eq!(repository.revision.as_ref().map(String::len), Some(40));
        assert_eq!(repository.relative(&below).as_deref(), Some("a/b"));
        assert_eq!(repository.relative(&root).as_deref(), Some("."));
        assert_eq!(repository.relative(Path::new("/")), None);
    }

    #[tokio::test]
    async fn dirty_trees_are_reported_on_request_only() {
        let dir = tempfile::tempdir().unwrap();
        git(dir.path(), &["init", "-q"]);
        git(dir.path(), &["commit", "-q", "--allow-empty", "-m", "x"]);
        std::fs::write(dir.path().join("new"), "").unwrap();
        let revision =
            async |environment| match ask(dir.path(), &environment, &BTreeSet::new()).await {
                GitAnswer::Known(repository) => repository.revision.unwrap(),
                GitAnswer::Failed(reason) => panic!("{reason}"),
            };
        assert!(!revision(environment([])).await.ends_with("-dirty"));
        assert!(
            revision(environment([("BUILDX_GIT_CHECK_DIRTY", "1")]))
                .await
                .ends_with("-dirty")
        );
    }

    #[tokio::test]
    async fn a_repository_without_a_commit_keeps_its_other_facts() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        git(&root, &["init", "-q"]);
        git(&root, &["remote", "add", "origin", "https://example.com/r"]);
        let answer = ask(
            &root,
            &environment([("BUILDX_GIT_CHECK_DIRTY", "1")]),
            &BTreeSet::new(),
        )
        .await;
        let expected = Repository {
            root,
            revision: None,
            source: Some("https://example.com/r".to_owned()),
        };
        assert_eq!(answer, GitAnswer::Known(expected));
    }

    #[tokio::test]
    async fn a_broken_repository_gives_the_message_of_git() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".git"), "gitdir: /nonexistent\n").unwrap();
        let GitAnswer::Failed(reason) = ask(dir.path(), &environment([]), &BTreeSet::new()).await
        else {
            panic!("there is no repository")
        };
        assert!(reason.contains("/nonexistent"), "{reason}");
    }
}
