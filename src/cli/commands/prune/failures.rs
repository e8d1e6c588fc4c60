//! What can prevent a prune, as messages for the user.

use crate::diag::{Class, Diagnostic};
use crate::prune::graph::ClosedReason;
use crate::prune::plan::TooManyDeletions;
use crate::pruner::{DeletionObstacle, PruneError, PruneStop, RepositoryRead, Verification};
use crate::publish::journal::RunId;
use crate::registry::DeletionSettingError;
use crate::types::causes::in_one_line;
use crate::types::reference::DOCKER_HUB;
use crate::types::{Digest, ImageRepository};

/// The most items that a message lists.
const LISTED: usize = 10;

/// A plan was not made.
pub(super) enum PlanFailure {
    /// Not everything in the repository can be read.
    Closed(RepositoryRead),
    /// The repository cannot be read.
    Unread {
        error: PruneError,
        /// What a login needs.
        login: &'static str,
    },
    /// Something else.
    Error(PruneError),
}

impl From<PruneError> for PlanFailure {
    fn from(error: PruneError) -> Self {
        Self::Error(error)
    }
}

pub(super) fn of_plan(repository: &ImageRepository, failure: PlanFailure) -> Diagnostic {
    match failure {
        PlanFailure::Closed(read) => closed(repository, &read),
        PlanFailure::Error(error) => failed(repository, &error),
        PlanFailure::Unread { error, login } => match &error {
            PruneError::Registry(denied) if denied.is_denied_by_api() => {
                failed_with(repository, &error).help(login)
            }
            _ => failed(repository, &error),
        },
    }
}

/// Nothing is deleted, because not everything can be read.
fn closed(repository: &ImageRepository, read: &RepositoryRead) -> Diagnostic {
    let message = format!(
        "nothing is deleted from `{}`, because not everything in it can be read",
        repository.familiar()
    );
    let mut problem = Diagnostic::error(Class::Publish, "prune::closed", message);
    let reasons = read.state.closed();
    for reason in reasons.iter().take(LISTED) {
        let why = match reason {
            ClosedReason::Unreadable(digest, _) => read.problems.get(digest),
            _ => None,
        };
        let reason = in_one_line(reason);
        problem = problem.note(why.map_or(reason.clone(), |why| format!("{reason}: {why}")));
    }
    if reasons.len() > LISTED {
        problem = problem.note(format!("and {} more", reasons.len() - LISTED));
    }
    problem.help(
        "what cannot be read may need what would be deleted; remove it, or push it again, and repeat the command",
    )
}

/// A variable has a value that makes no sense.
pub(super) fn of_settings(error: &DeletionSettingError) -> Diagnostic {
    Diagnostic::error(Class::Usage, "prune::settings", in_one_line(error))
        .help("nothing was deleted; see `docs/pruning.md` for the variables")
}

fn failed(repository: &ImageRepository, error: &PruneError) -> Diagnostic {
    if let PruneError::Setting(error) = error {
        return of_settings(error);
    }
    let problem = failed_with(repository, error);
    match error {
        PruneError::NoRepository => problem.help(
            "check the name and the login: without one, a private repository looks as if it did not exist",
        ),
        PruneError::Registry(error) if error.fault.is_denial() => {
            let login = match repository.domain() {
                DOCKER_HUB => "docker login".to_owned(),
                domain => format!("docker login {domain}"),
            };
            problem.help(format!("`{login}` tells rbake who you are"))
        }
        PruneError::Registry(error) if error.is_unreachable() => {
            problem.help("check the network and the name of the registry, and repeat the command")
        }
        _ => problem.help("the same command tries again"),
    }
}

/// The message about `error`, without help.
fn failed_with(repository: &ImageRepository, error: &PruneError) -> Diagnostic {
    let message = format!("{}: {}", repository.familiar(), in_one_line(error));
    Diagnostic::error(Class::Publish, "prune::failed", message)
        .note("nothing was deleted from this repository")
}

pub(super) fn of_begin(repository: &ImageRepository, error: &PruneError) -> Diagnostic {
    let message = format!("{}: {}", repository.familiar(), in_one_line(error));
    match error {
        PruneError::Stale(_) => Diagnostic::error(Class::Publish, "prune::changed", message)
            .help("nothing was deleted; look at the new plan"),
        PruneError::Leased { .. } => Diagnostic::error(Class::Publish, "prune::leased", message)
            .help("nothing was deleted; wait until the other prune has ended"),
        _ => failed(repository, error),
    }
}

pub(super) fn no_deletion(
    repository: &ImageRepository,
    obstacle: &DeletionObstacle,
    warns: bool,
) -> Diagnostic {
    let message = format!(
        "the registry does not let rbake delete from `{}`: {}",
        repository.familiar(),
        obstacle.reason
    );
    let problem = if warns {
        Diagnostic::warning("prune::no-deletion", message)
    } else {
        Diagnostic::error(Class::Publish, "prune::no-deletion", message)
    };
    problem.help(obstacle.help)
}

pub(super) fn too_many(
    repository: &ImageRepository,
    error: &TooManyDeletions,
    warns: bool,
) -> Diagnostic {
    let message = format!("{}: {error}", repository.familiar());
    if warns {
        Diagnostic::warning("prune::too-many", message)
    } else {
        Diagnostic::error(Class::Usage, "prune::too-many", message)
    }
}

pub(super) fn other_plan(wanted: &Digest, digest: &Digest) -> Diagnostic {
    let message = format!("the plan is not `{wanted}`, but `{digest}`");
    Diagnostic::error(Class::Publish, "prune::changed", message).help(
        "nothing was deleted; the repository or the rules have changed, so look at the new plan",
    )
}

pub(super) fn no_record() -> Diagnostic {
    let message = in_one_line(&PruneError::NoRecordDirectory);
    Diagnostic::error(Class::Publish, "prune::failed", message).help("nothing was deleted")
}

/// Not all steps were made.
pub(super) fn partial(repository: &ImageRepository, run: &RunId, end: &PruneStop) -> Diagnostic {
    let name = repository.familiar();
    let message = match end {
        PruneStop::Error(error) => {
            format!(
                "the prune {run} of `{name}` stopped: {}",
                in_one_line(error)
            )
        }
        PruneStop::Interrupted => format!("the prune {run} of `{name}` was interrupted"),
        PruneStop::End => format!("the prune {run} of `{name}` could not delete everything"),
    };
    Diagnostic::error(Class::Publish, "prune::partial", message)
        .help("what was not deleted is whole; the same command goes on")
}

/// Something is gone that should have stayed.
pub(super) fn lost(repository: &ImageRepository, run: &RunId, found: &Verification) -> Diagnostic {
    let name = repository.familiar();
    let message = format!("something that should have stayed is gone from `{name}`");
    let mut problem = Diagnostic::error(Class::Publish, "prune::lost", message);
    let losses = found.losses.iter().map(ToString::to_string);
    let blobs = found
        .blobs
        .iter()
        .map(|blob| format!("the blob `{blob}` is gone"));
    for loss in losses.chain(blobs).take(LISTED) {
        problem = problem.note(loss);
    }
    problem
        .help("somebody else may have deleted it, or the registry deletes more than it is asked to")
        .help(format!(
            "`rbake undo {run}` puts back what the registry still has"
        ))
}

pub(super) fn unverified(repository: &ImageRepository, error: &PruneError) -> Diagnostic {
    let message = format!(
        "what stays in `{}` could not be checked: {}",
        repository.familiar(),
        in_one_line(error)
    );
    Diagnostic::error(Class::Publish, "prune::partial", message)
}
