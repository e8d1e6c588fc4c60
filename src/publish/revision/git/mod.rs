//! Asks git whether a commit is an ancestor of another.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::OnceCell;

use super::{Ancestry, History, Revision};
use crate::types::processes;

/// The most time for one answer. git walks a history of a million commits in a few seconds.
const GIT_TIMEOUT: Duration = Duration::from_secs(20);

/// The history of a repository on this machine. It is never extended: git fetches nothing.
#[derive(Debug)]
pub(crate) struct GitHistory {
    root: PathBuf,
    withheld: BTreeSet<String>,
    /// Whether the whole history is here. Found when it is first needed.
    complete: OnceCell<bool>,
}

impl GitHistory {
    /// The history of the repository whose work tree begins at `root`. The variables `withheld`, which hold secrets
    /// of the run, are removed from git's environment.
    pub(crate) fn new(root: PathBuf, withheld: BTreeSet<String>) -> Self {
        Self {
            root,
            withheld,
            complete: OnceCell::new(),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        for name in &self.withheld {
            command.env_remove(name);
        }
        command
            // A replacement (`git replace`) is only on this machine, and would give another history.
            .arg("--no-replace-objects")
            .arg("-C")
            .arg(&self.root)
            .args(args)
            .env("GIT_OPTIONAL_LOCKS", "0")
            // In a partial clone, git fetches a missing commit when somebody asks for it. Versions before 2.45 do
            // not know the first variable; the second forbids all transports by allowing only one that does not
            // exist.
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Whether no commit lacks its parents. `false` if git does not say so.
    async fn is_complete(&self) -> bool {
        let ask = || async {
            let mut command = self.command(&["rev-parse", "--is-shallow-repository"]);
            command.stdout(Stdio::piped());
            let answer = tokio::time::timeout(GIT_TIMEOUT, processes::output(&mut command)).await;
            // Versions before 2.15 print the option itself.
            matches!(answer, Ok(Ok(output)) if output.status.success() && output.stdout.trim_ascii() == b"false")
        };
        *self.complete.get_or_init(ask).await
    }
}

impl History for GitHistory {
    async fn is_ancestor(&self, older: &Revision, newer: &Revision) -> Ancestry {
        // Ids of different lengths are of different repositories. git would look for a branch with such a name.
        if older.as_str().len() != newer.as_str().len() {
            return Ancestry::Unknown;
        }
        let mut command = self.command(&[
            "merge-base",
            "--is-ancestor",
            older.as_str(),
            newer.as_str(),
        ]);
        let answer = tokio::time::timeout(GIT_TIMEOUT, processes::output(&mut command)).await;
        let Ok(Ok(output)) = answer else {
            return Ancestry::Unknown;
        };
        match output.status.code() {
            Some(0) => Ancestry::Yes,
            // Where the history was cut off, git takes a commit for the first one, and does not find its ancestors.
            Some(1) if self.is_complete().await => Ancestry::No,
            _ => Ancestry::Unknown,
        }
    }
}

#[cfg(test)]
mod tests;
