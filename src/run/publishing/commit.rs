//! The commit that a run publishes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::builder::Notice;
use crate::event::EventSink;
use crate::publish::revision::CommitState;
use crate::publish::revision::git::GitHistory;
use crate::publisher::RunHistory;
use crate::run::vcs;
use crate::types::Environment;

/// The most time that git may take. Publishing works without the answer.
const GIT_TIMEOUT: Duration = Duration::from_secs(20);

/// The commit of the working directory, in which the bake file is.
#[derive(Debug, Clone, Default)]
pub(in crate::run) struct PublishedCommit {
    /// The commit. `None` outside of repositories, and if git does not answer.
    pub(in crate::run) state: Option<CommitState>,
    root: Option<PathBuf>,
    withheld: BTreeSet<String>,
}

impl PublishedCommit {
    /// The history of the commit.
    pub(super) fn history(&self) -> RunHistory {
        match &self.root {
            Some(root) => RunHistory::of(GitHistory::new(root.clone(), self.withheld.clone())),
            None => RunHistory::Unknown,
        }
    }
}

/// Asks git for the commit of the working directory. The variables `withheld`, which hold secrets, are removed from
/// git's environment.
pub(in crate::run) async fn published_commit(
    environment: &Environment,
    withheld: BTreeSet<String>,
    events: &EventSink,
) -> PublishedCommit {
    if !vcs::GitUses::of(environment).provenance {
        return PublishedCommit::default();
    }
    let notice = Notice::begin(events, "git-publish", "ask git for the commit to publish");
    let asked = ask(environment.current_dir().to_owned(), withheld);
    let found = tokio::time::timeout(GIT_TIMEOUT, asked).await;
    notice.end(None);
    found.unwrap_or_default()
}

/// The history of the repository in the working directory, for commands that do not build.
pub(crate) async fn history(environment: &Environment) -> RunHistory {
    for_command(environment).await.history()
}

/// The commit of the working directory, for commands that do not build. `None` as in [`PublishedCommit`].
pub(crate) async fn current_commit(environment: &Environment) -> Option<CommitState> {
    for_command(environment).await.state
}

async fn for_command(environment: &Environment) -> PublishedCommit {
    if !vcs::GitUses::of(environment).provenance {
        return PublishedCommit::default();
    }
    let asked = ask(environment.current_dir().to_owned(), BTreeSet::new());
    let found = tokio::time::timeout(GIT_TIMEOUT, asked).await;
    found.unwrap_or_default()
}

async fn ask(dir: PathBuf, withheld: BTreeSet<String>) -> PublishedCommit {
    // On a dead network mount, this may block for any time, so it is not waited for in `unblock`.
    let find = move || vcs::top(&dir.canonicalize().ok()?).map(PathBuf::from);
    let Ok(Some(root)) = tokio::task::spawn_blocking(find).await else {
        return PublishedCommit::default();
    };
    let state = match vcs::commit(&root, &withheld).await {
        Some((commit, dirty)) => commit.parse().ok().map(|id| CommitState { id, dirty }),
        None => None,
    };
    PublishedCommit {
        state,
        root: Some(root),
        withheld,
    }
}
