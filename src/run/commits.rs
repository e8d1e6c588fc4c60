//! What git knows of the directories a run reads, asked once for each.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::locate::Places;
use super::{Ready, vcs};
use crate::diag::Diagnostic;
use crate::engine::spec::VcsFacts;
use crate::types::Environment;

/// What git knows of every directory the targets read.
pub(super) struct Commits {
    by_dir: HashMap<PathBuf, vcs::Answer>,
}

/// Asks git about the contexts of `targets`.
pub(super) async fn commits(targets: &[Ready], environment: &Environment) -> Commits {
    let mut dirs: Vec<PathBuf> = targets
        .iter()
        .filter_map(|ready| ready.places.context_dir().map(Path::to_owned))
        .collect();
    dirs.sort();
    dirs.dedup();
    let asked = dirs.into_iter().map(|dir| async {
        let answer = vcs::ask(&dir, environment).await;
        (dir, answer)
    });
    Commits {
        by_dir: futures_util::future::join_all(asked)
            .await
            .into_iter()
            .collect(),
    }
}

impl Commits {
    /// What is told of a target that reads `places`.
    pub(super) fn of(&self, places: &Places) -> VcsFacts {
        let Some(vcs::Answer::Known(repository)) =
            places.context_dir().and_then(|dir| self.by_dir.get(dir))
        else {
            return VcsFacts::default();
        };
        let local_dirs = places
            .local_dirs()
            .into_iter()
            .filter_map(|(name, dir)| Some((name, repository.relative(dir)?)))
            .collect();
        VcsFacts {
            source: repository.source.clone(),
            revision: repository.revision.clone(),
            local_dirs,
        }
    }

    /// What the user should know.
    pub(super) fn notices(&self) -> impl Iterator<Item = Diagnostic> {
        self.by_dir.iter().filter_map(|(dir, answer)| match answer {
            vcs::Answer::Failed(reason) => Some(
                Diagnostic::warning(
                    "run::no-commit",
                    "current commit information was not captured by the build",
                )
                .note(format!("git in `{}`: {reason}", dir.display())),
            ),
            vcs::Answer::Known(_) | vcs::Answer::None => None,
        })
    }
}
