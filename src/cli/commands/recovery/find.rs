//! Finds the record of the run that the user means: on this machine, or in a registry.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Parser as _;
use tokio_util::sync::CancellationToken;

use super::interruption::Interruption;
use super::session::{NamedRepositories, PlaceArgs, cannot_look, failed};
use crate::cli::args::BakeArgs;
use crate::cli::commands::definition::{self, LoadedDefinition, Unreadable};
use crate::definition::model::Target;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::publish::journal::file::{self, FoundJournal, JournalFile, JournalFileError};
use crate::publish::journal::{Journal, RunId, RunOrigin, RunStatus};
use crate::publisher::{Record, catch_up, recorded_run, recorded_runs};
use crate::registry::{Registries, RegistrySecurity};
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;
use crate::types::terminal::visible;
use crate::types::{Clock, Environment, ImageRepository, Reference};

/// The fewest digits of a commit that name it.
const COMMIT_DIGITS: usize = 7;

/// The registries, and where records of runs may be.
pub(in crate::cli::commands) struct Places<'a> {
    pub(in crate::cli::commands) registries: &'a Registries,
    pub(in crate::cli::commands) security: RegistrySecurity,
    pub(super) args: &'a PlaceArgs,
    pub(super) named: NamedRepositories<'a>,
    /// The definition of the working directory, once it was needed.
    pub(super) definition: &'a OnceCell<Result<LoadedDefinition, Unreadable>>,
    pub(in crate::cli::commands) environment: &'a Environment,
    pub(in crate::cli::commands) clock: Clock,
    /// What signals mean.
    pub(in crate::cli::commands) interruption: Interruption,
    /// When it is cancelled, all requests fail at once.
    pub(in crate::cli::commands) stop: CancellationToken,
}

/// Which run a verb means.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunChoice {
    /// Whether the verb may mean a run although the user does not name it.
    pub(super) is_meant: fn(&Journal) -> bool,
    /// Whether it may also mean a run whose journal on this machine cannot be read.
    pub(super) takes_unreadable: bool,
    /// Whether a commit names only runs that built their images.
    pub(super) only_builds: bool,
    /// What is said if there is no such run.
    pub(super) none: &'static str,
    /// What is said if there are several.
    pub(super) several: &'static str,
    /// What the user can do if there is no such run.
    pub(super) help: Option<&'static str>,
}

/// The run that the user names.
enum NamedRun {
    Run(RunId),
    /// The first digits of a commit.
    Commit(String),
}

impl NamedRun {
    fn parse(text: &str) -> Result<Self, Diagnostic> {
        let error = match text.parse() {
            Ok(run) => return Ok(Self::Run(run)),
            Err(error) => error,
        };
        let commit = text.to_ascii_lowercase();
        if (COMMIT_DIGITS..=64).contains(&commit.len())
            && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Ok(Self::Commit(commit));
        }
        let message = format!(
            "`{}`: {error}, and not at least {COMMIT_DIGITS} digits of a commit",
            visible(text)
        );
        Err(Diagnostic::error(Class::Usage, "publish::run", message))
    }
}

impl Places<'_> {
    /// The directory of the journals of this machine. `None` if there is none, or the user wants others.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        let is_wanted = self.named.all().is_empty();
        file::directory(self.environment).filter(|_| is_wanted)
    }

    /// The journals of this machine on which no other process works, newest first.
    pub(super) async fn on_this_machine(&self) -> Vec<FoundJournal> {
        let Some(directory) = self.directory() else {
            return Vec::new();
        };
        let found = unblock(move || file::all(&directory)).await;
        found.into_iter().filter(|found| !found.in_use).collect()
    }

    /// Finds the run that the user means, who names it `run`.
    pub(super) async fn find(
        &self,
        run: Option<&str>,
        choice: &RunChoice,
    ) -> Result<Record, Diagnostics> {
        let named = run.map(NamedRun::parse).transpose()?;
        match named {
            Some(NamedRun::Run(run)) => self.record_of(&run).await,
            Some(NamedRun::Commit(commit)) => self.newest_of(&commit, choice).await,
            None => self.only(choice).await,
        }
    }

    /// The record of `run`: on this machine, or else in the repositories.
    async fn record_of(&self, run: &RunId) -> Result<Record, Diagnostics> {
        if let Some(record) = self.reopen(run).await? {
            return Ok(record);
        }
        let repositories = self.repositories()?;
        let found = recorded_run(self.registries, &repositories, self.security, run).await;
        match found.map_err(|error| failed(run, &error))? {
            Some(journal) => self.of_registry(journal).await,
            None => Err(self.not_found(run, &repositories).into()),
        }
    }

    /// The record of `run` on this machine. If it is held, another machine may have promoted it or taken it back in the
    /// meantime, so it is brought up to date first.
    async fn reopen(&self, run: &RunId) -> Result<Option<Record>, Diagnostics> {
        let Some(directory) = self.directory() else {
            return Ok(None);
        };
        match JournalFile::reopen(&directory, run) {
            Ok(journal) => {
                let record = Record::of_file(journal);
                self.catch_up(&record, run).await?;
                Ok(Some(record))
            }
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(unusable(&error).into()),
        }
    }

    /// Checks that the run of `record` is still as far as in `shown`, from which a plan was made: while the user was asked, another
    /// command may have promoted it or taken it back.
    ///
    /// # Errors
    /// It is not, or the registry does not say.
    pub(super) async fn check_unchanged(
        &self,
        record: &Record,
        shown: &Journal,
    ) -> Result<(), Diagnostics> {
        let run = &shown.header.run;
        self.catch_up(record, run).await?;
        match record.status() {
            Some(now) if now != shown.status => Err(changed(run, Some(now)).into()),
            _ => Ok(()),
        }
    }

    /// Brings the record of `run` up to date.
    pub(super) async fn catch_up(&self, record: &Record, run: &RunId) -> Result<(), Diagnostics> {
        let caught_up = catch_up(self.registries, self.security, record).await;
        caught_up.map_err(|error| failed(run, &error).into())
    }

    /// The newest run of the commit that begins with `digits`, wherever its record is.
    async fn newest_of(&self, digits: &str, choice: &RunChoice) -> Result<Record, Diagnostics> {
        let here = self.on_this_machine().await;
        let here = here.into_iter().filter_map(|found| found.journal.ok());
        let mut runs: Vec<Journal> = here.filter(|run| is_of(run, digits, choice)).collect();
        let elsewhere = self.recorded().await;
        match elsewhere {
            Ok(found) => runs.extend(found.into_iter().filter(|run| is_of(run, digits, choice))),
            // The user may be in another directory than that of the definition.
            Err(problems) if runs.is_empty() => return Err(problems),
            Err(problems) => {
                tracing::warn!(problems = problems.0.len(), "registries not looked at");
            }
        }
        let commits: BTreeSet<&str> = runs
            .iter()
            .filter_map(|run| Some(run.header.revision.as_ref()?.id.as_str()))
            .collect();
        if commits.len() > 1 {
            let commits: Vec<&str> = commits.into_iter().collect();
            let message = format!("`{digits}` names several commits: {}", commits.join(", "));
            return Err(Diagnostic::error(Class::Usage, "publish::run", message).into());
        }
        // One that is both here and there is taken from here.
        let mut newest: Option<Journal> = None;
        for run in runs {
            if newest
                .as_ref()
                .is_none_or(|newest| run.header.run > newest.header.run)
            {
                newest = Some(run);
            }
        }
        let Some(newest) = newest else {
            let message = format!("there is no record of a run of commit `{digits}`");
            return Err(Diagnostic::error(Class::Usage, "publish::run", message)
                .note(self.looked_in(&self.repositories()?))
                .help("`--from REPOSITORY` says where the record of the run is")
                .into());
        };
        match self.reopen(&newest.header.run).await? {
            Some(record) => Ok(record),
            None => self.of_registry(newest).await,
        }
    }

    /// The only run that `choice` means: on this machine, or else in the repositories.
    async fn only(&self, choice: &RunChoice) -> Result<Record, Diagnostics> {
        let mut here = Vec::new();
        let mut others = Vec::new();
        // Without a definition, the user means any run of this machine.
        let ours = self.repositories().ok();
        let is_other = |journal: &Journal| {
            let ours = ours.as_ref();
            ours.is_some_and(|ours| !is_in(journal, ours))
        };
        for found in self.on_this_machine().await {
            match &found.journal {
                Ok(journal) if !(choice.is_meant)(journal) => {}
                Ok(journal) if is_other(journal) => others.push(found.run),
                Ok(_) => {
                    // It may not be held any more.
                    let record = self.reopen(&found.run).await?;
                    let journal = record.as_ref().and_then(Record::journal);
                    if journal.is_some_and(|journal| (choice.is_meant)(&journal)) {
                        here.extend(record);
                    }
                }
                Err(error) if choice.takes_unreadable => return Err(unusable(error).into()),
                Err(_) => {}
            }
        }
        if here.len() > 1 {
            let runs: Vec<RunId> = here.iter().filter_map(Record::run).collect();
            return Err(several(choice, &runs).into());
        }
        if let Some(record) = here.pop() {
            return Ok(record);
        }
        let mut meant = self.recorded().await?;
        meant.retain(|journal| (choice.is_meant)(journal));
        let in_use = self.take_in_use(&mut meant).await;
        match (meant.pop(), meant.is_empty()) {
            (Some(journal), true) => self.of_registry(journal).await,
            (Some(last), false) => {
                let runs = meant.into_iter().chain([last]);
                Err(several(
                    choice,
                    &runs.map(|journal| journal.header.run).collect::<Vec<_>>(),
                )
                .into())
            }
            (None, _) => {
                if let Some(error) = in_use {
                    return Err(unusable(&error).into());
                }
                let problem = Diagnostic::error(Class::Usage, "publish::run", choice.none)
                    .note(self.looked_in(&self.repositories()?));
                let problem = match others.first() {
                    Some(other) => problem.note(format!(
                        "run {other} has no tag in these repositories; name it if you mean it"
                    )),
                    None => problem,
                };
                Err(choice
                    .help
                    .into_iter()
                    .fold(problem, Diagnostic::help)
                    .into())
            }
        }
    }

    /// The record of a run that was found in a registry. It has no lock of its own, so that of a journal of this run on
    /// this machine counts.
    async fn of_registry(&self, journal: Journal) -> Result<Record, Diagnostics> {
        match self.take_in_use(&mut vec![journal.clone()]).await {
            Some(error) => Err(unusable(&error).into()),
            None => Ok(Record::of_journal(journal)),
        }
    }

    /// Removes the runs on whose journals another process of this machine works from `runs`, also if the user wants records of
    /// registries. Returns the error of one of them.
    async fn take_in_use(&self, runs: &mut Vec<Journal>) -> Option<JournalFileError> {
        let directory = file::directory(self.environment)?;
        let ids: Vec<RunId> = runs.iter().map(|run| run.header.run.clone()).collect();
        let checked: BTreeMap<RunId, JournalFileError> = unblock(move || {
            let checks = ids.into_iter().filter_map(|run| {
                let error = file::check_free(&directory, &run).err()?;
                Some((run, error))
            });
            checks.collect()
        })
        .await;
        runs.retain(|run| !checked.contains_key(&run.header.run));
        checked.into_values().next()
    }

    /// The newest runs that are recorded in the repositories.
    pub(super) async fn recorded(&self) -> Result<Vec<Journal>, Diagnostics> {
        let repositories = self.repositories()?;
        let found = recorded_runs(self.registries, &repositories, self.security).await;
        found.map_err(|error| cannot_look(&error).into())
    }

    fn not_found(&self, run: &RunId, repositories: &[ImageRepository]) -> Diagnostic {
        let message = format!("there is no record of run {run}");
        Diagnostic::error(Class::Usage, "publish::run", message)
            .note(self.looked_in(repositories))
            .help("`--from REPOSITORY` says where the record of the run is")
    }

    fn looked_in(&self, repositories: &[ImageRepository]) -> String {
        let names: Vec<&str> = repositories.iter().map(ImageRepository::familiar).collect();
        let names = names.join(", ");
        // With `--from`, records of this machine do not count.
        match (self.named.all().is_empty(), names.is_empty()) {
            (true, true) => {
                "rbake looked on this machine; the definition names no repository".to_owned()
            }
            (true, false) => format!("rbake looked on this machine and in {names}"),
            (false, _) => format!("rbake looked in {names}"),
        }
    }

    /// The repositories in which the record of a run may be: those that the user names, or else those of all tags in the
    /// definition.
    pub(in crate::cli::commands) fn repositories(
        &self,
    ) -> Result<Vec<ImageRepository>, Diagnostics> {
        self.repositories_or(|target| {
            let tags = target.tags.iter();
            tags.map(|tag| tag.value.to_string()).collect()
        })
    }

    /// The repositories that the user names, or else those of the references that `of` finds in the targets of the
    /// definition.
    pub(in crate::cli::commands) fn repositories_or(
        &self,
        of: impl Fn(&Target) -> Vec<String>,
    ) -> Result<Vec<ImageRepository>, Diagnostics> {
        if self.named.all().is_empty() {
            return self.of_definition(of);
        }
        let mut repositories = Vec::new();
        for text in self.named.all() {
            let reference: Reference = text.parse().map_err(|error| {
                let message = format!("`{}`: {error}", visible(text));
                Diagnostic::error(Class::Usage, "cli::usage", message)
            })?;
            repositories.push(ImageRepository::of(&reference));
        }
        Ok(repositories)
    }

    /// The repositories of the references that `of` finds in the definition of the working directory.
    fn of_definition(
        &self,
        of: impl Fn(&Target) -> Vec<String>,
    ) -> Result<Vec<ImageRepository>, Diagnostics> {
        let loaded = self.definition.get_or_init(|| {
            let args = BakeArgs {
                files: self.args.files.clone(),
                ..BakeArgs::parse_from(["rbake"])
            };
            definition::load(&args, self.environment)
        });
        let loaded = loaded.as_ref().map_err(|unreadable| {
            let problems = unreadable.problems.0.iter().cloned();
            let help = self.named.help();
            Diagnostics(problems.map(|problem| problem.help(help)).collect())
        })?;
        let targets = loaded.definition.targets.values();
        let references = targets.flat_map(|target| of(target));
        let mut repositories: Vec<ImageRepository> = references
            .filter_map(|reference| reference.parse().ok())
            .map(|reference: Reference| ImageRepository::of(&reference))
            .collect();
        repositories.sort();
        repositories.dedup();
        Ok(repositories)
    }
}

/// The error that the plan for `run` is out of date. `now` is how far the run is, if that is why.
pub(super) fn changed(run: &RunId, now: Option<RunStatus>) -> Diagnostic {
    let why = match now {
        Some(RunStatus::Held) => ": it is held now",
        Some(RunStatus::Complete) => ": it is complete now",
        Some(RunStatus::Undoing) => ": another command takes it back",
        Some(RunStatus::Undone) => ": it was taken back",
        Some(RunStatus::Failed) => ": it has failed",
        Some(RunStatus::Open | RunStatus::Moving) | None => "",
    };
    let message = format!("run {run} has changed since its plan was shown{why}");
    Diagnostic::error(Class::Publish, "publish::changed", message)
        .note("nothing was changed")
        .help("the same command shows what can be done now")
}

fn unusable(error: &JournalFileError) -> Diagnostic {
    let problem = Diagnostic::error(Class::Publish, "publish::journal", in_one_line(error));
    match error {
        JournalFileError::InUse(_) => problem.help("wait until the run has ended"),
        _ => problem.help("`--from REPOSITORY` uses the record in the registry"),
    }
}

fn several(choice: &RunChoice, runs: &[RunId]) -> Diagnostic {
    let names: Vec<&str> = runs.iter().map(RunId::as_str).collect();
    let message = format!("{}: {}", choice.several, names.join(", "));
    Diagnostic::error(Class::Usage, "publish::run", message).help("name the one that you mean")
}

/// Whether `journal` is of a run with a tag in one of `repositories`, or of a copy from there.
fn is_in(journal: &Journal, repositories: &[ImageRepository]) -> bool {
    let mut tags = journal.entries.keys();
    let of_copy = match &journal.header.origin {
        RunOrigin::Copy(sources) => sources.values().any(|from| repositories.contains(from)),
        _ => false,
    };
    of_copy || tags.any(|tag| repositories.contains(tag.repository()))
}

/// Whether `journal` is of a run of the commit that begins with `digits`.
fn is_of(journal: &Journal, digits: &str, choice: &RunChoice) -> bool {
    let header = &journal.header;
    let revision = header.revision.as_ref();
    revision.is_some_and(|revision| revision.id.as_str().starts_with(digits))
        && (!choice.only_builds || header.origin == RunOrigin::Build)
}
