//! The commits and remotes of the directories that a run reads. git is asked once for each repository.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;

use super::locate::TargetPlaces;
use super::vcs::GitUses;
use super::{Ready, local_state, secrets, vcs};
use crate::builder::Notice;
use crate::diag::Diagnostic;
use crate::engine::spec::VcsFacts;
use crate::event::{EventKind, EventSink};
use crate::types::Environment;

// The labels of `BUILDX_GIT_LABELS`.
const REVISION: &str = "org.opencontainers.image.revision";
const SOURCE: &str = "org.opencontainers.image.source";
const ENTRYPOINT: &str = "com.docker.image.source.entrypoint";

/// The number of repositories that git is asked about at the same time. Each needs a process and several file
/// descriptors.
const AT_ONCE: usize = 8;
/// The most time that git, and the file systems that it reads, may take. A build works without the answer.
const GIT_TIMEOUT: Duration = Duration::from_secs(20);

/// What git knows about the directories that the targets read.
#[derive(Default)]
pub(super) struct Commits {
    dirs: Dirs,
    /// The answers by the top directory of the work tree.
    answers: BTreeMap<PathBuf, vcs::GitAnswer>,
    /// The contexts, if their file system did not answer in time; otherwise empty.
    silent: BTreeSet<PathBuf>,
    /// What the answers are used for.
    uses: GitUses,
}

/// The real paths of directories.
#[derive(Debug, Default)]
struct Dirs {
    real: BTreeMap<PathBuf, PathBuf>,
    /// The top of the repository that a context seems to be in, by the path of the context in the target.
    tops: BTreeMap<PathBuf, PathBuf>,
}

/// Asks git about the contexts of `targets`. Reports on `events` if that takes long.
pub(super) async fn commits(
    targets: &[Ready],
    environment: &Environment,
    events: &EventSink,
) -> Commits {
    let uses = GitUses::of(environment);
    if uses == GitUses::default() {
        return Commits::default();
    }
    let contexts: BTreeSet<PathBuf> = targets
        .iter()
        .filter_map(|ready| ready.places.context_dir().map(Path::to_owned))
        .collect();
    if contexts.is_empty() {
        return Commits::default();
    }
    let all = targets.iter().flat_map(|ready| ready.places.local_dirs());
    let all = all.map(|(_, dir)| dir.to_owned()).collect();
    let notice = Notice::begin(events, "git", "ask git for the commit");
    let (asked, deadline) = (contexts.clone(), tokio::time::Instant::now() + GIT_TIMEOUT);
    // On a dead network mount, each of these calls may block for any time.
    let found = tokio::task::spawn_blocking(move || find(&asked, all));
    let commits = match tokio::time::timeout_at(deadline, found).await {
        Ok(Ok(dirs)) => {
            let attributes = targets.iter().map(|ready| &*ready.planned.attributes);
            let withheld = secrets::variables(attributes, environment);
            ask_all(dirs, environment, &withheld, deadline).await
        }
        // The thread panicked, so there are no results.
        Ok(Err(_)) => Commits::default(),
        Err(_) => Commits {
            silent: contexts,
            ..Commits::default()
        },
    };
    notice.end(None);
    Commits { uses, ..commits }
}

/// Finds the real paths of all directories, and the repositories of contexts. Blocking.
fn find(contexts: &BTreeSet<PathBuf>, all: BTreeSet<PathBuf>) -> Dirs {
    let mut dirs = Dirs::default();
    for dir in all.into_iter().chain(contexts.iter().cloned()) {
        if let Ok(real) = dir.canonicalize() {
            dirs.real.insert(dir, real);
        }
    }
    for context in contexts {
        let top = dirs.real.get(context).and_then(|real| vcs::top(real));
        if let Some(top) = top.map(Path::to_owned) {
            dirs.tops.insert(context.clone(), top);
        }
    }
    dirs
}

/// Asks git about all repositories, until `deadline`.
async fn ask_all(
    dirs: Dirs,
    environment: &Environment,
    withheld: &BTreeSet<String>,
    deadline: tokio::time::Instant,
) -> Commits {
    let tops: BTreeSet<PathBuf> = dirs.tops.values().cloned().collect();
    let asked = tops.into_iter().map(|top| async move {
        let answer = tokio::time::timeout_at(deadline, vcs::ask(&top, environment, withheld)).await;
        let answer = answer.unwrap_or_else(|_| {
            let reason = format!("git did not answer within {} s", GIT_TIMEOUT.as_secs());
            vcs::GitAnswer::Failed(reason)
        });
        (top, answer)
    });
    let asked = futures_util::stream::iter(asked).buffer_unordered(AT_ONCE);
    Commits {
        answers: asked.collect().await,
        dirs,
        ..Commits::default()
    }
}

impl Commits {
    /// Returns the facts that are sent with a target that reads `places`.
    pub(super) fn of(&self, places: &TargetPlaces) -> VcsFacts {
        let repository = self.repository(places).filter(|_| self.uses.provenance);
        let Some(repository) = repository else {
            return VcsFacts::default();
        };
        let local_dirs = places
            .local_dirs()
            .into_iter()
            .filter_map(|(name, dir)| {
                let real = self.dirs.real.get(dir)?;
                Some((name, repository.relative(real)?))
            })
            .collect();
        VcsFacts {
            source: repository.source.clone(),
            revision: repository.revision.clone(),
            local_dirs,
        }
    }

    /// The labels that the image of `ready` gets. As in buildx (`build/git.go`), they replace labels of the definition.
    /// Relative paths start at `base`.
    pub(super) fn labels(&self, ready: &Ready, base: &Path) -> BTreeMap<String, String> {
        let repository = self.repository(&ready.places);
        let Some(repository) = repository.filter(|_| self.uses.labels) else {
            return BTreeMap::new();
        };
        let dockerfile = local_state::dockerfile_path(ready, base);
        let dockerfile = repository.relative(Path::new(&dockerfile));
        let labels = [
            (REVISION, repository.revision.clone()),
            (SOURCE, repository.source.clone()),
            (ENTRYPOINT, dockerfile),
        ];
        let known = labels.into_iter();
        known
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect()
    }

    /// The repository of the context at `places`. `None` if there is none, or git cannot read it.
    fn repository(&self, places: &TargetPlaces) -> Option<&vcs::Repository> {
        let top = places
            .context_dir()
            .and_then(|dir| self.dirs.tops.get(dir))?;
        match self.answers.get(top)? {
            vcs::GitAnswer::Known(repository) => Some(repository),
            vcs::GitAnswer::Failed(_) => None,
        }
    }

    /// Sends the warnings about repositories that could not be read.
    pub(super) fn tell(&self, events: &EventSink) {
        for notice in self.notices() {
            events.send(EventKind::Notice(notice));
        }
    }

    fn notices(&self) -> impl Iterator<Item = Diagnostic> {
        let failed = self
            .answers
            .iter()
            .filter_map(|(top, answer)| match answer {
                vcs::GitAnswer::Failed(reason) => {
                    Some(format!("git in `{}`: {reason}", top.display()))
                }
                vcs::GitAnswer::Known(_) => None,
            });
        let silent = self.silent.iter().next().map(|dir| {
            format!(
                "the file system of `{}`, or of another context, did not answer within {} s",
                dir.display(),
                GIT_TIMEOUT.as_secs()
            )
        });
        failed.chain(silent).map(|note| {
            Diagnostic::warning(
                "run::no-commit",
                "current commit information was not captured by the build",
            )
            .note(note)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_is_asked_once_for_all_contexts_of_a_repository() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let mut contexts = BTreeSet::new();
        for name in ["one/.git", "two/.git"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["one/a", "one/b", "two/c", "none"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
            contexts.insert(root.join(name));
        }
        // For a link, the repository that it leads to counts.
        std::os::unix::fs::symlink("one/a", root.join("link")).unwrap();
        contexts.insert(root.join("link"));
        let dirs = find(&contexts, BTreeSet::new());
        let tops: BTreeSet<_> = dirs.tops.values().cloned().collect();
        assert_eq!(tops, BTreeSet::from([root.join("one"), root.join("two")]));
        assert_eq!(dirs.tops.get(&root.join("link")), Some(&root.join("one")));
        assert_eq!(dirs.tops.get(&root.join("none")), None);
    }
}
