//! What users read about publishing.

use std::collections::BTreeMap;
use std::path::Path;

use super::Publication;
use crate::credential::Provider;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::outcome::{FailureKind, SolveFailure};
use crate::publish::compare::REVISION;
use crate::publish::journal::file::{self, FoundJournal};
use crate::publish::journal::{Journal, RunId, RunStatus};
use crate::publisher::{
    ImageToPublish, MovedTags, PublishError, Record, Standing, TagEnd, TagReport,
};
use crate::registry::RegistryError;
use crate::run::{phrase, refusal};
use crate::types::TargetName;
use crate::types::causes::in_one_line;
use crate::types::terminal::visible;

/// The most interrupted runs that are reported.
const OPEN_RUNS: usize = 3;

/// Reports the repositories to which rbake may not push, each once. `looked` has what was found for each image of a target.
pub(super) fn denied<'a>(
    looked: impl Iterator<Item = (&'a TargetName, &'a ImageToPublish, &'a Standing)>,
    credentials: &Provider,
) -> Diagnostics {
    let mut problems = Diagnostics::default();
    let mut known = Vec::new();
    for (target, image, standing) in looked {
        let reason = match standing {
            Standing::Denied { reason } => reason,
            Standing::Failing(error) => {
                problems.push(failing(target, error));
                continue;
            }
            Standing::Free | Standing::Taken { .. } | Standing::Unreachable(_) => continue,
        };
        if known.contains(&&image.repository) {
            continue;
        }
        known.push(&image.repository);
        let message = format!(
            "target `{target}`: cannot push to `{}`: {reason}",
            image.repository.familiar()
        );
        let mut failure = SolveFailure::new(FailureKind::Build, message);
        refusal::advise(&mut failure, &credentials.origins());
        let problem = Diagnostic::error(Class::Build, "publish::denied", failure.message);
        let help = failure.help.into_iter();
        problems.push(help.fold(problem, Diagnostic::help));
    }
    problems
}

/// The error for a registry that does not answer as it should.
fn failing(target: &TargetName, error: &RegistryError) -> Diagnostic {
    let message = format!(
        "target `{target}` cannot be published: {}",
        in_one_line(error)
    );
    let help = if error.fault.is_about_credentials() {
        "log in again, or correct the credential helper that Docker's configuration names"
    } else {
        "try again when the registry answers"
    };
    Diagnostic::error(Class::Publish, "publish::failed", message)
        .note("nothing was built, and no tag has moved")
        .help(help)
}

/// The warnings that the builder sets tags, because rbake does not reach a registry: one for each registry.
pub(super) fn unseen(
    standings: &BTreeMap<TargetName, Vec<Standing>>,
    publications: &BTreeMap<TargetName, Publication>,
) -> Vec<Diagnostic> {
    let mut found: BTreeMap<&str, (&RegistryError, Vec<&TargetName>)> = BTreeMap::new();
    for (target, publication) in publications {
        let standings = standings.get(target).map_or(&[][..], Vec::as_slice);
        for (image, standing) in publication.images.iter().zip(standings) {
            if let Standing::Unreachable(error) = standing {
                let registry = image.repository.domain();
                let (_, targets) = found.entry(registry).or_insert((error, Vec::new()));
                targets.push(target);
                targets.dedup();
            }
        }
    }
    let warning = |(registry, (error, targets)): (&str, (&RegistryError, Vec<&TargetName>))| {
        let message = format!(
            "the builder sets the tags of {}, because rbake does not reach `{registry}`: {}",
            phrase::names(targets),
            in_one_line(error)
        );
        guarantees_off(Diagnostic::warning("publish::by-builder", message))
    };
    found.into_iter().map(warning).collect()
}

/// The warning that the builder has pushed to another registry than the one that rbake reaches.
pub(super) fn elsewhere(target: &TargetName) -> Diagnostic {
    let message = format!(
        "the builder sets the tags of `{target}`, because it reaches another registry under this name than rbake does"
    );
    guarantees_off(Diagnostic::warning("publish::by-builder", message))
}

/// The warning that the builder pushes a target as it is asked.
pub(in crate::run) fn by_outputs(target: &TargetName) -> Diagnostic {
    let message = format!(
        "the builder sets the tags of `{target}` as soon as it is built, because its outputs can be pushed only in that way"
    );
    Diagnostic::warning("publish::by-builder", message)
        .note("its mutable tags do not wait for the other targets, and the run cannot be undone")
        .help("`--publish=buildx` pushes all targets in this way, without a warning")
}

/// The error of tags that the builder or a Docker Engine was to set after all targets.
pub(super) fn late(target: &TargetName, failure: SolveFailure) -> Diagnostic {
    let message = format!("cannot set the tags of `{target}`: {}", failure.message);
    let problem = Diagnostic::error(Class::Publish, "publish::failed", message);
    let help = failure.help.into_iter();
    help.fold(problem, Diagnostic::help)
        .note("some of its tags may have been set")
        .help("run the same command again; what was built comes from the cache")
}

/// The note that the image of `target` gets another revision than the commit that is published.
pub(in crate::run) fn other_revision(target: &TargetName, given: &str) -> Diagnostic {
    let message = format!(
        "the annotation `{REVISION}` of target `{target}` is `{}`, and not the commit that is published",
        visible(given)
    );
    Diagnostic::information("publish::revision", message)
        .note("later runs compare their commit with it before they move mutable tags")
}

/// What a run that ends before the build has found.
pub(super) fn preflight(
    publications: &BTreeMap<TargetName, Publication>,
    standings: &BTreeMap<TargetName, Vec<Standing>>,
) -> Diagnostic {
    let unseen = standings.values().flatten();
    let unseen = unseen
        .filter(|standing| matches!(standing, Standing::Unreachable(_) | Standing::Failing(_)));
    let message = match unseen.count() {
        0 => "nothing prevents this run from publishing",
        _ => {
            "nothing that rbake can see prevents this run from publishing, but it could not look at all registries"
        }
    };
    let mut notice = Diagnostic::information("publish::preflight", message);
    for (target, publication) in publications {
        let standings = standings.get(target).map_or(&[][..], Vec::as_slice);
        for (image, standing) in publication.images.iter().zip(standings) {
            let name = image.repository.familiar();
            let found = match standing {
                Standing::Free => "the image will be pushed".to_owned(),
                Standing::Taken { tag, manifest } => format!(
                    "`{tag}` is {}, with which the image will be compared",
                    manifest.digest()
                ),
                Standing::Unreachable(error) | Standing::Failing(error) => {
                    format!("the builder pushes it: {}", in_one_line(error))
                }
                Standing::Denied { reason } => reason.clone(),
            };
            notice = notice.note(format!("`{target}` in `{name}`: {found}"));
        }
    }
    notice
}

/// What a run that ends before the build and pushes nothing has found.
pub(in crate::run) fn nothing_to_publish() -> Diagnostic {
    let message = "nothing prevents this run from building; no target is pushed by rbake";
    Diagnostic::information("publish::preflight", message)
}

/// The error of a run with gates that publishes nothing.
pub(in crate::run) fn nothing_to_gate() -> Diagnostic {
    let message =
        "a gate decides whether tags move, but this run moves none: no target is pushed by rbake";
    Diagnostic::error(Class::Usage, "publish::ungated", message)
        .help("push with `--push`, and not with `--publish=buildx`; `--no-gates` ignores the gates of `rbake.toml`")
}

/// The failure of a target of a run with gates that the builder has pushed to another registry.
pub(super) fn ungated_elsewhere(target: &TargetName) -> SolveFailure {
    let message = format!(
        "`{target}` cannot be published behind a gate: the builder reaches another registry under this name than rbake does"
    );
    SolveFailure::new(FailureKind::Build, message)
}

/// The note that a failed run has no tags any more.
pub(super) fn untagged(run: &RunId) -> Diagnostic {
    let message = format!("the tags of run {run} are taken back");
    Diagnostic::information("publish::untagged", message)
}

/// The error of a failed run whose tags could not be taken back.
pub(super) fn not_untagged(run: &RunId, error: &PublishError) -> Diagnostic {
    let message = format!(
        "the tags of run {run} could not be taken back: {}",
        in_one_line(error)
    );
    let problem = Diagnostic::error(Class::Publish, "publish::failed", message);
    let problem = match error.help() {
        Some(help) => problem.help(help),
        None => problem,
    };
    problem.help(format!("`rbake undo {run}` tries it again"))
}

fn guarantees_off(problem: Diagnostic) -> Diagnostic {
    problem
        .note("tags are set after all targets have succeeded, but also if a newer commit holds them, not all or none, and the run cannot be undone")
        .help("let rbake reach the registry under the same name")
        .help("`--publish=buildx` lets the builder set each target's tags at once, without a warning")
}

/// What users should know about the tags of a run.
pub(super) fn about(reports: &[TagReport]) -> Vec<Diagnostic> {
    let mut notices = Vec::new();
    // The reports are in the order in which images became whole, which differs from run to run.
    let mut sorted: Vec<&TagReport> = reports.iter().collect();
    sorted.sort_by_key(|report| &report.tag);
    for report in sorted {
        let tag = report.tag.familiar();
        match &report.end {
            TagEnd::Set {
                note: Some(note), ..
            } => notices.push(Diagnostic::information(
                "publish::moved",
                format!("`{tag}` moves, but {}", note.as_str()),
            )),
            TagEnd::KeptByNewer { newer } => notices.push(
                Diagnostic::information(
                    "publish::kept",
                    format!("`{tag}` stays, because the newer commit {newer} holds it"),
                )
                .help("`--force-backwards` moves it to the older commit"),
            ),
            TagEnd::KeptComplete { is } => notices.push(
                Diagnostic::information(
                    "publish::kept",
                    format!("`{tag}` stays at {is}: it is immutable, and was published before"),
                )
                .help("`--replace` moves it to the image of this run"),
            ),
            TagEnd::Set { .. } | TagEnd::Stayed | TagEnd::Held { .. } => {}
        }
    }
    notices.extend(held(reports));
    notices
}

/// The notice that the run is held. `None` if it is not.
fn held(reports: &[TagReport]) -> Option<Diagnostic> {
    let mut waiting = reports.iter().filter_map(|report| match &report.end {
        TagEnd::Held { run } => Some(run),
        _ => None,
    });
    let run = waiting.next()?;
    let (tags, wait, them) = match waiting.count() {
        0 => ("1 tag".to_owned(), "waits", "it"),
        more => (format!("{} tags", more + 1), "wait", "them"),
    };
    let message = format!("run {run} is held: {tags} {wait} to be moved");
    let notice = Diagnostic::information("publish::held", message);
    Some(
        notice
            .help(format!("`rbake promote {run}` moves {them}"))
            .help(format!("`rbake untag {run}` takes the run back")),
    )
}

/// What could not be done although all tags are right.
pub(super) fn incomplete(moved: &MovedTags) -> Vec<Diagnostic> {
    let mut notices = Vec::new();
    if let Some(error) = &moved.blind {
        let message = format!(
            "runs that move the same tags at the same time cannot be seen: {}",
            in_one_line(error)
        );
        notices.push(Diagnostic::warning("publish::alone", message));
    }
    if let Some(error) = &moved.unrecorded {
        let message = format!(
            "all tags are set, but the end of the run is not recorded in the registry: {}",
            in_one_line(error)
        );
        notices.push(Diagnostic::warning("publish::record", message));
    }
    notices
}

/// Warnings about runs on this machine that were killed while they published.
pub(super) fn open_runs(directory: &Path) -> Vec<Diagnostic> {
    let found = file::unfinished(directory);
    let killed = found.into_iter().filter(|found| !found.in_use);
    let notice = |found: FoundJournal| {
        let run = &found.run;
        let problem = match &found.journal {
            Ok(journal) => Diagnostic::warning(
                "publish::open-run",
                format!(
                    "run {run} was interrupted while it published {}",
                    tags_of(journal)
                ),
            ),
            Err(error) => Diagnostic::warning("publish::journal", in_one_line(error)),
        };
        problem
            .help(format!("`rbake resume {run}` finishes it"))
            .help(format!("`rbake undo {run}` takes it back"))
    };
    killed.take(OPEN_RUNS).map(notice).collect()
}

/// The first tag of a run, and how many others there are.
fn tags_of(journal: &Journal) -> String {
    let mut tags = journal.entries.keys();
    match (tags.next(), tags.len()) {
        (None, _) => "nothing yet".to_owned(),
        (Some(tag), 0) => format!("`{}`", tag.familiar()),
        (Some(tag), 1) => format!("`{}` and another tag", tag.familiar()),
        (Some(tag), more) => format!("`{}` and {more} other tags", tag.familiar()),
    }
}

/// Warnings about the record of a run.
pub(super) fn about_records(record: &Record) -> Vec<Diagnostic> {
    let on_this_machine = record.problem().map(|problem| {
        Diagnostic::warning(
            "publish::record",
            format!("the changes of tags are not recorded on this machine: {problem}"),
        )
        .help("set `XDG_STATE_HOME` to a directory that rbake may write to")
    });
    let in_registry = record.refusal().map(|refusal| {
        Diagnostic::warning(
            "publish::record",
            format!("the changes of tags are not recorded in the registry: {refusal}"),
        )
        .note("the run can be resumed and undone only on this machine")
    });
    on_this_machine.into_iter().chain(in_registry).collect()
}

/// The failure of a target whose image cannot be published.
pub(super) fn failure(target: &TargetName, error: &PublishError) -> SolveFailure {
    let message = format!(
        "cannot publish the image of `{target}`: {}",
        in_one_line(error)
    );
    let kind = match error {
        PublishError::Registry(error) if error.is_stop() => FailureKind::Cancelled,
        _ => FailureKind::Build,
    };
    SolveFailure::new(kind, message)
}

/// The error of a run whose images are all whole, but whose mutable tags did not move.
pub(super) fn failed(error: &PublishError, record: &Record) -> Diagnostic {
    let message = format!("cannot move the tags: {}", in_one_line(error));
    let problem = Diagnostic::error(Class::Publish, "publish::failed", message);
    let Some(run) = record.run() else {
        return problem.note("no tag has moved");
    };
    match record.status() {
        Some(RunStatus::Moving) => problem
            .note("some tags may have moved")
            .help(format!("`rbake resume {run}` moves the others"))
            .help(format!("`rbake undo {run}` takes back what has moved")),
        Some(RunStatus::Held) => problem
            .note("no mutable tag has moved")
            .help(format!("`rbake promote {run}` moves them"))
            .help(format!("`rbake untag {run}` takes the run back")),
        _ => {
            let problem = problem.note("no mutable tag has moved");
            error.help().into_iter().fold(problem, Diagnostic::help)
        }
    }
}
