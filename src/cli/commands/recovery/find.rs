//! Finds the record of the run that the user means: on this machine, or in a registry.

use std::path::PathBuf;

use clap::Parser as _;

use super::{RecoveryArgs, failed};
use crate::cli::args::BakeArgs;
use crate::cli::commands::definition;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::publish::journal::file::{self, JournalFile, JournalFileError};
use crate::publish::journal::{InvalidRunId, Journal, RunId};
use crate::publisher::{PublishError, Record, RecoveryWish, recorded_run, recorded_runs};
use crate::registry::{Registries, RegistrySecurity};
use crate::types::causes::in_one_line;
use crate::types::terminal::visible;
use crate::types::{Environment, ImageRepository, Reference};

/// Where records of runs may be.
pub(super) struct Places<'a> {
    pub(super) registries: &'a Registries,
    pub(super) security: RegistrySecurity,
    pub(super) args: &'a RecoveryArgs,
    pub(super) environment: &'a Environment,
}

impl Places<'_> {
    /// Finds the run that the user means.
    pub(super) async fn find(&self, wish: RecoveryWish) -> Result<Record, Diagnostics> {
        let directory = file::directory(self.environment);
        let run = match &self.args.run {
            Some(text) => text.parse().map_err(|error: InvalidRunId| {
                let message = format!("`{}`: {error}", visible(text));
                Diagnostic::error(Class::Usage, "publish::run", message)
            })?,
            None => match self.only_open(directory.as_ref(), wish).await? {
                Ok(run) => run,
                Err(record) => return Ok(record),
            },
        };
        if self.args.from.is_empty()
            && let Some(directory) = &directory
        {
            match JournalFile::reopen(directory, &run) {
                Ok(journal) => return Ok(Record::of_file(journal)),
                Err(JournalFileError::Read { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(unusable(&error).into()),
            }
        }
        let repositories = self.repositories()?;
        let found = recorded_run(self.registries, &repositories, self.security, &run).await;
        match found.map_err(|error| failed(&run, &error))? {
            Some(journal) => Ok(Record::of_journal(journal)),
            None => Err(not_found(&run, &repositories).into()),
        }
    }

    /// The only run that was interrupted: on this machine, or else in the repositories.
    async fn only_open(
        &self,
        directory: Option<&PathBuf>,
        wish: RecoveryWish,
    ) -> Result<Result<RunId, Record>, Diagnostics> {
        if self.args.from.is_empty()
            && let Some(directory) = directory
        {
            let open = file::unfinished(directory);
            let open = open.into_iter().filter(|found| !found.in_use);
            let runs: Vec<RunId> = open.map(|found| found.run).collect();
            match &runs[..] {
                [] => {}
                [run] => return Ok(Ok(run.clone())),
                _ => return Err(several(&runs).into()),
            }
        }
        let repositories = self.repositories()?;
        let found = recorded_runs(self.registries, &repositories, self.security).await;
        let found = found.map_err(|error| cannot_look(&error))?;
        let mut open: Vec<Journal> = found
            .into_iter()
            .filter(|journal| journal.status.is_open())
            .collect();
        match (open.pop(), open.is_empty()) {
            (Some(journal), true) => Ok(Err(Record::of_journal(journal))),
            (Some(last), false) => {
                let runs = open.iter().chain([&last]);
                let runs: Vec<RunId> = runs.map(|journal| journal.header.run.clone()).collect();
                Err(several(&runs).into())
            }
            (None, _) => Err(none_open(wish, &repositories).into()),
        }
    }

    /// The repositories in which the record of a run may be.
    fn repositories(&self) -> Result<Vec<ImageRepository>, Diagnostics> {
        if self.args.from.is_empty() {
            return of_definition(&self.args.files, self.environment);
        }
        let mut repositories = Vec::new();
        for text in &self.args.from {
            let reference: Reference = text.parse().map_err(|error| {
                let message = format!("`--from {}`: {error}", visible(text));
                Diagnostic::error(Class::Usage, "cli::usage", message)
            })?;
            repositories.push(ImageRepository::of(&reference));
        }
        Ok(repositories)
    }
}

/// The repositories of all tags in the definition of the working directory.
fn of_definition(
    files: &[String],
    environment: &Environment,
) -> Result<Vec<ImageRepository>, Diagnostics> {
    let args = BakeArgs {
        files: files.to_vec(),
        ..BakeArgs::parse_from(["rbake"])
    };
    let loaded = definition::load(&args, environment).map_err(|unreadable| {
        let mut problems = unreadable.problems;
        for problem in &mut problems.0 {
            *problem = problem
                .clone()
                .help("`--from REPOSITORY` says where the record of the run is");
        }
        problems
    })?;
    let targets = loaded.definition.targets.values();
    let tags = targets.flat_map(|target| target.tags.iter());
    let mut repositories: Vec<ImageRepository> = tags
        .filter_map(|tag| tag.value.parse().ok())
        .map(|reference: Reference| ImageRepository::of(&reference))
        .collect();
    repositories.sort();
    repositories.dedup();
    Ok(repositories)
}

fn cannot_look(error: &PublishError) -> Diagnostic {
    let message = format!("cannot look for runs: {}", in_one_line(error));
    Diagnostic::error(Class::Publish, "publish::failed", message)
}

fn unusable(error: &JournalFileError) -> Diagnostic {
    let problem = Diagnostic::error(Class::Publish, "publish::journal", in_one_line(error));
    match error {
        JournalFileError::InUse(_) => problem.help("wait until the run has ended"),
        _ => problem.help("`--from REPOSITORY` uses the record in the registry"),
    }
}

fn not_found(run: &RunId, repositories: &[ImageRepository]) -> Diagnostic {
    let message = format!("there is no record of run {run}");
    Diagnostic::error(Class::Usage, "publish::run", message)
        .note(looked_in(repositories))
        .help("`--from REPOSITORY` says where the record of the run is")
}

fn none_open(wish: RecoveryWish, repositories: &[ImageRepository]) -> Diagnostic {
    let problem = Diagnostic::error(Class::Usage, "publish::run", "no run was interrupted")
        .note(looked_in(repositories));
    match wish {
        RecoveryWish::Undo => problem.help("name the run to undo a finished one"),
        RecoveryWish::Resume => problem,
    }
}

fn looked_in(repositories: &[ImageRepository]) -> String {
    let names: Vec<&str> = repositories.iter().map(ImageRepository::familiar).collect();
    if names.is_empty() {
        return "rbake looked on this machine; the definition names no repository".to_owned();
    }
    format!("rbake looked on this machine and in {}", names.join(", "))
}

fn several(runs: &[RunId]) -> Diagnostic {
    let names: Vec<&str> = runs.iter().map(RunId::as_str).collect();
    let message = format!("several runs were interrupted: {}", names.join(", "));
    Diagnostic::error(Class::Usage, "publish::run", message).help("name the one that you mean")
}
