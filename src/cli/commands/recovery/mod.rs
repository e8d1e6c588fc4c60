//! `rbake resume` and `rbake undo`: finish a run that was interrupted while it published, or take a run back.
//!
//! The doc comments of flags are their help texts.

mod find;
mod text;

use std::io::IsTerminal as _;

use clap::{Args, CommandFactory as _, Parser};
use tokio_util::sync::CancellationToken;

use find::Places;

use crate::cli::args;
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::cli::{docker_config, logs, usage};
use crate::credential::{Provider, ProviderOptions};
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::publish::journal::{Journal, RunId, RunStatus};
use crate::publisher::{PublishError, PublishForce, Publisher, RecoveryWish};
use crate::registry::{Registries, RegistrySecurity};
use crate::run;
use crate::types::causes::in_one_line;
use crate::types::{Clock, Environment};

/// The flags of all verbs that recover a run.
#[derive(Debug, Args)]
struct RecoveryArgs {
    /// The run, such as `20261128T223000Z-0a1b2c3d`. Default: the only one that was interrupted
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// Look for the record of the run in this repository, if it is not on this machine; may be repeated. Default: the
    /// repositories of the definition
    #[arg(long, value_name = "REPOSITORY")]
    from: Vec<String>,
    /// Read this definition file; may be repeated
    #[arg(long = "file", short = 'f', value_name = "FILE")]
    files: Vec<String>,
    /// Accept any certificate, and plain HTTP if the registry does not speak TLS
    #[arg(long)]
    insecure: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print what is to be done as JSON
    #[arg(long)]
    json: bool,
    /// Write a log of what is done to this file; `RBAKE_LOG` sets its filter, as in `RBAKE_LOG=trace`
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    log_file: Option<String>,
    // These two flags of building may stand before the verb.
    #[arg(long, hide = true, allow_hyphen_values = true)]
    builder: Option<String>,
    #[arg(long, short = 'D', hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = args::go_bool())]
    debug: Option<bool>,
}

/// Finishes a run that was interrupted while it moved tags.
#[derive(Debug, Parser)]
#[command(
    name = "rbake resume",
    about = "Finish a run that was interrupted while it published",
    long_about = "Finish a run that was interrupted while it published. If all its images are in the registry, the tags that it has not moved yet are moved. Otherwise, its tags are taken back.",
    max_term_width = 100
)]
struct ResumeArgs {
    #[command(flatten)]
    shared: RecoveryArgs,
}

/// Takes back the tags of a run.
#[derive(Debug, Parser)]
#[command(
    name = "rbake undo",
    about = "Take back the tags of a run",
    long_about = "Take back the tags of a run: those that it moved point where they did before, and those that it made are removed. A tag that somebody else has moved since then stays.",
    max_term_width = 100
)]
struct UndoArgs {
    #[command(flatten)]
    shared: RecoveryArgs,
    /// Do it without asking
    #[arg(long, short = 'y')]
    yes: bool,
}

/// The clap commands, for help and completion.
pub(in crate::cli) fn resume_command() -> clap::Command {
    ResumeArgs::command()
}

/// See [`resume_command`].
pub(in crate::cli) fn undo_command() -> clap::Command {
    UndoArgs::command()
}

/// Runs `rbake resume`.
pub(in crate::cli) fn resume(
    program: &str,
    words: &[String],
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    match parse::<ResumeArgs>(program, "resume", words) {
        Ok(args) => run_verb(
            RecoveryWish::Resume,
            true,
            &args.shared,
            environment,
            screen,
        ),
        Err(error) => usage(&error, screen),
    }
}

/// Runs `rbake undo`.
pub(in crate::cli) fn undo(
    program: &str,
    words: &[String],
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    match parse::<UndoArgs>(program, "undo", words) {
        Ok(args) => run_verb(
            RecoveryWish::Undo,
            args.yes,
            &args.shared,
            environment,
            screen,
        ),
        Err(error) => usage(&error, screen),
    }
}

fn parse<A: Parser>(program: &str, verb: &str, words: &[String]) -> Result<A, clap::Error> {
    let name = format!("{program} {verb}");
    let command = A::command().bin_name(name.clone());
    let words = std::iter::once(name.as_str()).chain(words.iter().map(String::as_str));
    A::from_arg_matches(&command.try_get_matches_from(words)?)
}

fn run_verb(
    wish: RecoveryWish,
    agreed: bool,
    args: &RecoveryArgs,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let file = args.log_file.as_deref().filter(|file| !file.is_empty());
    let log = match logs::start(file, false, environment) {
        Ok(log) => log,
        Err(problem) => return screen.diagnostics(&problem.into()),
    };
    let exit = match recover(wish, agreed, args, environment, screen) {
        Ok(exit) => exit,
        Err(problems) => screen.diagnostics(&problems),
    };
    log.tell(exit, false, screen);
    exit
}

fn recover(
    wish: RecoveryWish,
    agreed: bool,
    args: &RecoveryArgs,
    environment: &Environment,
    screen: &mut Screen,
) -> Result<Exit, Diagnostics> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| internal(&format!("cannot start the runtime: {error}")))?;
    let credentials = provider(environment);
    for warning in credentials
        .configurations()
        .filter_map(docker_config::warning)
    {
        screen.diagnostic(&warning);
    }
    let clock = Clock::system();
    let registries = Registries::new(credentials, clock, CancellationToken::new());
    let security = if args.insecure {
        RegistrySecurity::Waived
    } else {
        RegistrySecurity::Required
    };
    let recovering = async {
        let place = Places {
            registries: &registries,
            security,
            args,
            environment,
        };
        let record = place.find(wish).await?;
        let Some(journal) = record.journal() else {
            return Err(internal("the record of the run is empty").into());
        };
        let revision = journal.header.revision.clone();
        let history = run::history(environment).await;
        let force = PublishForce::default();
        let publisher = Publisher::new(registries.clone(), record, revision, history, force);
        let planned = publisher.plan_recovery(wish, security).await;
        let planned = planned.map_err(|error| failed(&journal.header.run, &error))?;
        let Some(recovery) = planned else {
            screen.note(&nothing_left(&journal));
            return Ok(Exit::Success);
        };
        if args.json {
            screen.data(&format!("{:#}\n", text::as_json(&journal, &recovery)));
        } else {
            screen.message(&text::as_text(&journal, &recovery));
        }
        if args.dry_run {
            return Ok(Exit::Success);
        }
        if !recovery.changes.is_empty() && !agreed && !agreed_on_terminal(screen)? {
            screen.note("nothing was changed");
            return Ok(Exit::Usage);
        }
        let recovered = publisher.recover(&recovery, security).await;
        let recovered = recovered.map_err(|error| failed(&journal.header.run, &error))?;
        screen.message(&text::done_as_text(&journal, &recovery, &recovered));
        Ok(Exit::Success)
    };
    runtime.block_on(recovering)
}

fn provider(environment: &Environment) -> Provider {
    Provider::new(ProviderOptions {
        environment,
        clock: Clock::system(),
        withheld: std::collections::BTreeSet::new(),
        notices: Box::new(|_| {}),
    })
}

/// Asks the user. Without a terminal, it is an error.
fn agreed_on_terminal(screen: &mut Screen) -> Result<bool, Diagnostic> {
    if !screen.streams().err_is_terminal || !std::io::stdin().is_terminal() {
        let message = "nobody can be asked whether these changes should be made";
        return Err(
            Diagnostic::error(Class::Usage, "publish::not-confirmed", message)
                .help("`--yes` makes them without asking, `--dry-run` only shows them"),
        );
    }
    screen.message("make these changes? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn nothing_left(journal: &Journal) -> String {
    let run = &journal.header.run;
    match journal.status {
        RunStatus::Held => format!("run {run} is held; `rbake promote {run}` moves its tags"),
        _ => format!("nothing is left to do for run {run}"),
    }
}

fn failed(run: &RunId, error: &PublishError) -> Diagnostic {
    let message = format!("run {run}: {}", in_one_line(error));
    Diagnostic::error(Class::Publish, "publish::failed", message)
        .help("the same command continues where it stopped")
}

fn internal(message: &str) -> Diagnostic {
    Diagnostic::error(Class::Internal, "cli::internal", message)
}
