//! Exports of targets whose frontend is old.
//!
//! A job that exports a cache asks the frontend for several targets. Each has sessions of its own, whose ids the frontend
//! gets as `local-sessionid:NAME` (`frontend/dockerui/config.go`). Frontends before version 1.7 and daemons before v0.13
//! ignore them, and read all directories from the session of the job. So that session serves them, if no name means two
//! directories. Otherwise such a job fails, and there is one for each group of targets that agree.

use super::work::ExportedSolve;
use crate::engine::session::filesync::FileSync;
use crate::outcome::{FailureKind, SolveFailure};
use crate::run::directories::Directories;

/// What the daemon says if the session serves no directories (`session/filesync/filesync.go`).
const NO_DIRECTORIES: &str = "no local sources enabled";

/// Whether the job failed because the frontend asked its session for a directory.
pub(super) fn are_needed(failure: &SolveFailure) -> bool {
    failure.kind == FailureKind::Build && failure.message.contains(NO_DIRECTORIES)
}

/// Adds to a failure of this kind what the user can do.
pub(super) fn explained(mut failure: SolveFailure) -> SolveFailure {
    failure.help.push(
        "the Dockerfile frontend is too old to read different directories in one job: use `# syntax=docker/dockerfile:1` and BuildKit v0.13 or newer, or a cache of its own for each target"
            .to_owned(),
    );
    failure
}

/// The service for a session that answers for all of `services`, which have keys, and its key. `None` if a name means two
/// directories.
pub(super) fn for_one_session<'s>(
    services: impl Iterator<Item = &'s (FileSync, String)> + Clone,
) -> Option<(FileSync, String)> {
    let (_, key) = services.clone().next()?;
    let together = FileSync::together(services.map(|(service, _)| service))?;
    Some((together, key.clone()))
}

/// Divides `solves` into groups whose directories one session can serve. The order stays.
pub(super) async fn of<'w, 's>(
    solves: &'w [ExportedSolve<'s>],
    directories: &Directories,
) -> Vec<Vec<&'w ExportedSolve<'s>>> {
    let mut groups: Vec<(FileSync, Vec<&ExportedSolve<'_>>)> = Vec::new();
    let mut without = Vec::new();
    for solve in solves {
        let (planned, places) = (&solve.ready.planned, &solve.ready.places);
        let Some((files, _)) = directories.wanted(planned, places).await.own else {
            without.push(solve);
            continue;
        };
        let found = groups.iter_mut().find_map(|(known, members)| {
            let together = FileSync::together([&*known, &files])?;
            Some((known, members, together))
        });
        match found {
            Some((known, members, together)) => {
                *known = together;
                members.push(solve);
            }
            None => groups.push((files, vec![solve])),
        }
    }
    let groups = groups.into_iter().map(|(_, members)| members);
    groups
        .chain((!without.is_empty()).then_some(without))
        .collect()
}
