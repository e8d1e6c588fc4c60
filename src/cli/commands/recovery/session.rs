//! What the verbs share: flags, the log, the runtime and the client of registries.

use std::cell::OnceCell;

use clap::{Args, Parser};
use tokio_util::sync::CancellationToken;

use super::find::Places;
use super::interruption::Interruption;
use crate::cli::args;
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::cli::{docker_config, logs};
use crate::credential::{Provider, ProviderOptions};
use crate::diag::{Class, Diagnostic, Diagnostics, Notices};
use crate::publish::journal::RunId;
use crate::publisher::PublishError;
use crate::registry::{Registries, RegistrySecurity};
use crate::types::causes::in_one_line;
use crate::types::{Clock, Environment};

/// The flags of the verbs that change what one run did.
#[derive(Debug, Args)]
pub(super) struct RecoveryArgs {
    /// The run, such as `20261128T223000Z-0a1b2c3d`, or at least 7 digits of its commit, which mean the newest run of this
    /// commit. Default: the only run to which the verb applies
    #[arg(value_name = "RUN|COMMIT")]
    pub(super) run: Option<String>,
    #[command(flatten)]
    pub(super) change: ChangeArgs,
}

/// The flags of the verbs that change tags.
#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    /// Look for the record of the run in this repository, if it is not on this machine; may be repeated. Default: the
    /// repositories of the definition
    #[arg(long, value_name = "REPOSITORY")]
    pub(super) from: Vec<String>,
    #[command(flatten)]
    pub(super) places: PlaceArgs,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Print what is to be done as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// How registries are reached, and the flags that every verb takes.
#[derive(Debug, Clone, Args)]
pub(in crate::cli::commands) struct PlaceArgs {
    /// Read this definition file; may be repeated
    #[arg(long = "file", short = 'f', value_name = "FILE")]
    pub(in crate::cli::commands) files: Vec<String>,
    /// Accept any certificate, and plain HTTP if the registry does not speak TLS
    #[arg(long)]
    insecure: bool,
    /// Write a log of what is done to this file; `RBAKE_LOG` sets its filter, as in `RBAKE_LOG=trace`
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    log_file: Option<String>,
    // These two flags of building may stand before the verb.
    #[arg(long, hide = true, allow_hyphen_values = true)]
    builder: Option<String>,
    #[arg(long, short = 'D', hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = args::go_bool())]
    debug: Option<bool>,
}

/// The repositories that the user names, in which records of runs are looked for.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli::commands) enum NamedRepositories<'a> {
    /// The verb has none.
    Never,
    /// Those of `--from`.
    Flag(&'a [String]),
    /// The arguments.
    Arguments(&'a [String]),
}

impl<'a> NamedRepositories<'a> {
    /// All of them. Empty if the user names none.
    pub(super) const fn all(self) -> &'a [String] {
        match self {
            Self::Never => &[],
            Self::Flag(all) | Self::Arguments(all) => all,
        }
    }

    /// What the user can do if the definition does not say.
    pub(super) const fn help(self) -> &'static str {
        match self {
            Self::Never => "name the image",
            Self::Flag(_) => "name the repository with `--from`",
            Self::Arguments(_) => "name the repository as an argument",
        }
    }
}

/// Parses the words after `verb`.
pub(in crate::cli::commands) fn parse<A: Parser>(
    program: &str,
    verb: &str,
    words: &[String],
) -> Result<A, clap::Error> {
    let name = format!("{program} {verb}");
    let command = A::command().bin_name(name.clone());
    let words = std::iter::once(name.as_str()).chain(words.iter().map(String::as_str));
    A::from_arg_matches(&command.try_get_matches_from(words)?)
}

/// Runs `work`, with a log if the user wants one. Records of runs are looked for in the repositories that the user has `named`, or
/// else in those of the definition.
pub(in crate::cli::commands) fn run_verb(
    args: &PlaceArgs,
    named: NamedRepositories<'_>,
    environment: &Environment,
    screen: &mut Screen,
    work: impl AsyncFnOnce(Places<'_>, &mut Screen) -> Result<Exit, Diagnostics>,
) -> Exit {
    let file = args.log_file.as_deref();
    let log = match logs::start(file.filter(|file| !file.is_empty()), false, environment) {
        Ok(log) => log,
        Err(problem) => return screen.diagnostics(&problem.into()),
    };
    let exit = match in_runtime(args, named, environment, screen, work) {
        Ok(exit) => exit,
        Err(problems) => screen.diagnostics(&problems),
    };
    log.tell(exit, false, screen);
    log.warn_if_incomplete(screen);
    exit
}

fn in_runtime(
    args: &PlaceArgs,
    named: NamedRepositories<'_>,
    environment: &Environment,
    screen: &mut Screen,
    work: impl AsyncFnOnce(Places<'_>, &mut Screen) -> Result<Exit, Diagnostics>,
) -> Result<Exit, Diagnostics> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| internal(&format!("cannot start the runtime: {error}")))?;
    let notices = Screen::notices_of_process(environment);
    let credentials = provider(environment, notices.clone());
    for warning in credentials
        .configurations()
        .filter_map(docker_config::warning)
    {
        screen.diagnostic(&warning);
    }
    let clock = Clock::system();
    let stop = CancellationToken::new();
    let registries = Registries::new(credentials, clock.clone(), stop.clone())
        .with_environment(environment)
        .with_notices(notices);
    let security = if args.insecure {
        RegistrySecurity::Waived
    } else {
        RegistrySecurity::Required
    };
    let interruption = Interruption::listen(&runtime, &stop);
    let definition = OnceCell::new();
    let places = Places {
        registries: &registries,
        security,
        args,
        named,
        definition: &definition,
        interruption: interruption.clone(),
        environment,
        clock,
        stop,
    };
    let done = runtime.block_on(work(places, screen));
    if let (Err(_), Some(Err(unreadable))) = (&done, definition.get()) {
        // The problems name places in these files.
        screen.set_sources(unreadable.sources.clone());
    }
    match interruption.exit() {
        Some(exit) => {
            if let Err(problems) = done {
                screen.diagnostics(&problems);
            }
            Ok(exit)
        }
        None => done,
    }
}

fn provider(environment: &Environment, notices: Notices) -> Provider {
    Provider::new(ProviderOptions {
        environment,
        clock: Clock::system(),
        withheld: std::collections::BTreeSet::new(),
        notices,
    })
}

/// The error of a command that was working on `run`.
pub(super) fn failed(run: &RunId, error: &PublishError) -> Diagnostic {
    let message = format!("run {run}: {}", in_one_line(error));
    let problem = Diagnostic::error(Class::Publish, "publish::failed", message);
    let problem = match error.help() {
        Some(help) => problem.help(help),
        None => problem,
    };
    match error {
        PublishError::TakenBack(_)
        | PublishError::BeingMoved { .. }
        | PublishError::ImmutableTaken { .. } => problem,
        PublishError::Missing { .. } => {
            problem.help("it was deleted; `rbake releases` lists other runs")
        }
        _ => problem.help("the same command continues where it stopped"),
    }
}

/// The error of a command that reads from a registry.
pub(super) fn cannot_look(error: &PublishError) -> Diagnostic {
    let message = format!("cannot look for runs: {}", in_one_line(error));
    Diagnostic::error(Class::Publish, "publish::failed", message)
}

pub(in crate::cli::commands) fn internal(message: &str) -> Diagnostic {
    Diagnostic::error(Class::Internal, "cli::internal", message)
}
