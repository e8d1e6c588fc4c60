//! `rbake builder`: shows builders and which of them a run would use, and manages them.
//!
//! The doc comments of verbs and flags are their help texts. This file has the verbs and those that are about rbake's own
//! builder only; each other one has a file.

mod create;
mod filters;
mod inspect;
mod install;
mod listing;
mod logs;
mod manage;
mod prune;
mod report_json;
mod status;
mod text;
mod usage;

use std::future::Future;
use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::builder::embedded::{self, Idle, ServeOptions};
use crate::cli::args::go_bool;
use crate::cli::exit::Exit;
use crate::cli::logs::{self as log_file, LogPlace};
use crate::cli::screen::Screen;
use crate::cli::{progress, signals, usage};
use crate::diag::{Class, Diagnostic};
use crate::event::EventSink;
use crate::report::{Mode, Reporter};
use crate::types::{Clock, Environment};
use create::CreateArgs;
use inspect::InspectArgs;
use listing::ListArgs;
use logs::LogsArgs;
use manage::{RemoveArgs, StartArgs, StopArgs, UseArgs};
use prune::PruneCacheArgs;
use usage::UsageArgs;

/// Looks after builders.
#[derive(Debug, Parser)]
#[command(
    name = "rbake builder",
    about = "Show and manage builders: buildx's, Docker's, and rbake's own",
    max_term_width = 100
)]
struct Args {
    // These two flags of building may stand before the verb; the first one, as in buildx, also behind it.
    #[arg(long, global = true, hide = true, allow_hyphen_values = true)]
    builder: Option<String>,
    #[arg(long, short = 'D', hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = go_bool())]
    debug: Option<bool>,
    /// Write a log of what is done to this file; `RBAKE_LOG` sets its filter, as in `RBAKE_LOG=trace`
    #[arg(long, global = true, value_name = "FILE", allow_hyphen_values = true)]
    log_file: Option<String>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show which builder a run would use, why, and why not the others
    Status {
        /// Show the choice for a run with this flag
        #[arg(long, value_name = "NAME")]
        builder: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List all builders and their nodes
    Ls(ListArgs),
    /// Show a builder, its nodes, and what they report
    Inspect(InspectArgs),
    /// Create a builder in buildx's store, or change one
    Create(CreateArgs),
    /// Make a builder the current one
    Use(UseArgs),
    /// Remove builders from buildx's store, with their containers and state
    Rm(RemoveArgs),
    /// Start a builder, and make its container if there is none
    Start(StartArgs),
    /// Stop a builder
    Stop(StopArgs),
    /// Show what is in the cache of a builder
    Du(UsageArgs),
    /// Delete from the cache of a builder
    Prune(PruneCacheArgs),
    /// Show what the buildkitd of a builder writes
    Logs(LogsArgs),
    /// Install the programs of the embedded builder
    Install {
        /// Install them only from this source
        #[arg(long, value_name = "PLACE", value_enum)]
        from: Option<install::From>,
        /// Install them even if they are installed already
        #[arg(long)]
        force: bool,
    },
    /// Run the embedded builder until it is idle; a run that needs it starts it automatically
    Serve {
        /// Stop after this time without a run, such as `10m`, or `never`
        #[arg(long, value_name = "TIME")]
        idle: Option<Idle>,
        /// Detach from the terminal and close the files of the calling process
        #[arg(long)]
        detached: bool,
    },
    /// Run buildkitd in place of this process, as a child of the supervisor with this process id
    #[command(hide = true)]
    RunBuildkitd {
        supervisor: i32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
}

impl Verb {
    /// Whether it acts on a builder that `--builder` may name.
    fn takes_builder(&self) -> bool {
        matches!(
            self,
            Self::Status { .. }
                | Self::Ls(_)
                | Self::Inspect(_)
                | Self::Use(_)
                | Self::Rm(_)
                | Self::Start(_)
                | Self::Stop(_)
                | Self::Du(_)
                | Self::Prune(_)
                | Self::Logs(_)
        )
    }

    /// Whether it shows the progress of slow steps.
    fn has_bars(&self) -> bool {
        matches!(
            self,
            Self::Install { .. }
                | Self::Create(_)
                | Self::Inspect(_)
                | Self::Start(_)
                | Self::Stop(_)
        )
    }
}

/// The clap command, for help and completion.
pub(in crate::cli) fn command() -> clap::Command {
    Args::command()
}

pub(in crate::cli) fn run(
    program: &str,
    words: &[String],
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let name = format!("{program} builder");
    let command = command().bin_name(name.clone());
    let words = std::iter::once(name.as_str()).chain(words.iter().map(String::as_str));
    let matches = command.try_get_matches_from(words);
    let args = match matches.and_then(|matches| Args::from_arg_matches(&matches)) {
        Ok(args) => args,
        Err(error) => return usage(&error, screen),
    };
    let before = args.builder.filter(|name| !name.is_empty());
    if before.is_some() && !args.verb.takes_builder() {
        let message = format!("`--builder` cannot be used with this verb of `{name}`");
        let told = Diagnostic::error(Class::Usage, "cli::usage", message)
            .help("it does not act on a builder that is named in this way");
        return screen.diagnostics(&told.into());
    }
    let log = match &args.verb {
        // buildkitd takes the place of this process.
        Verb::RunBuildkitd { .. } => Ok(LogPlace::Nowhere),
        verb => {
            let file = args.log_file.as_deref().filter(|file| !file.is_empty());
            let bars = verb.has_bars();
            log_file::start(file, bars && screen.streams().err_is_terminal, environment)
        }
    };
    let log = match log {
        Ok(log) => log,
        Err(problem) => return screen.diagnostics(&problem.into()),
    };
    let exit = run_verb(args.verb, before.as_deref(), environment, screen);
    log.tell(exit, false, screen);
    log.warn_if_incomplete(screen);
    exit
}

fn run_verb(
    verb: Verb,
    before: Option<&str>,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    match verb {
        Verb::Status { builder, json } => {
            status::status(builder.as_deref().or(before), json, environment, screen)
        }
        Verb::Ls(args) => listing::list(&args, before, environment, screen),
        Verb::Inspect(args) => inspect::inspect(&args, before, environment, screen),
        Verb::Install { from, force } => install::install(from, force, environment, screen),
        Verb::Serve { idle, detached } => serve(idle, detached, environment, screen),
        Verb::Create(args) => create::create(&args, environment, screen),
        Verb::Use(args) => manage::make_current(&args, before, environment, screen),
        Verb::Rm(args) => manage::remove(&args, before, environment, screen),
        Verb::Start(args) => manage::start(&args, before, environment, screen),
        Verb::Stop(args) => manage::stop(&args, before, environment, screen),
        Verb::Du(args) => usage::disk_usage(&args, before, environment, screen),
        Verb::Prune(args) => prune::prune(&args, before, environment, screen),
        Verb::Logs(args) => logs::logs(&args, before, environment, screen),
        Verb::RunBuildkitd {
            supervisor,
            command,
        } => {
            let error = embedded::become_child(supervisor, &command);
            screen.message(&format!("rbake: cannot run buildkitd: {error}\n"));
            Exit::Engine
        }
    }
}

/// The path of this program, with which the supervisor is started.
pub(super) fn program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"))
}

/// Runs `work` on a runtime with a single thread, which is enough for these verbs.
fn block_on<T>(work: impl Future<Output = T>, screen: &mut Screen) -> Result<T, Exit> {
    let runtime = runtime(screen)?;
    let done = runtime.block_on(work);
    // Do not wait for tasks that were cancelled.
    runtime.shutdown_background();
    Ok(done)
}

/// A runtime with a single thread.
fn runtime(screen: &mut Screen) -> Result<tokio::runtime::Runtime, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(|error| {
        let message = format!("cannot start: {error}");
        let told = Diagnostic::error(Class::Internal, "cli::internal", message);
        screen.diagnostics(&told.into())
    })
}

/// Does `work` until it is done or a signal ends it.
async fn until_signal<T>(work: impl Future<Output = T>) -> Result<T, Exit> {
    tokio::select! {
        // `biased`: poll the signals first, so that their handlers exist before the work begins.
        biased;
        signal = signals::first() => Err(Exit::for_signal(signal)),
        done = work => Ok(done),
    }
}

/// Shows the progress of slow steps. If no thread can be started for that, the work is done without it.
pub(super) fn bars(environment: &Environment, screen: &Screen) -> (EventSink, Option<Reporter>) {
    let reporter = Reporter::start(
        progress::options(Mode::Bars, environment, screen, Clock::system()),
        Box::new(std::io::stderr()),
        Box::new(|| ()),
    );
    match reporter {
        Ok((events, reporter)) => (events, Some(reporter)),
        Err(_) => (EventSink::none(), None),
    }
}

fn serve(
    idle: Option<Idle>,
    detached: bool,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    if detached {
        detach();
    }
    let options = ServeOptions {
        program: program(),
        idle,
    };
    match block_on(embedded::serve(environment, &options), screen) {
        Ok(Ok(())) => Exit::Success,
        Ok(Err(error)) => screen.diagnostics(&error.diagnostic().into()),
        Err(exit) => exit,
    }
}

/// Detaches from the terminal, so that its signals do not arrive here, and closes the files that the parent had
/// open: above all locks, which would otherwise be held for as long as the builder lives.
fn detach() {
    // This fails only for the leader of a process group, and nobody makes this process one.
    let _ = rustix::process::setsid();
    let inherited: Vec<i32> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in inherited {
        // The descriptor of the directory listing is in the list, too, but is closed by now, so an error is fine.
        let _ = nix::unistd::close(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Args::command().debug_assert();
    }
}
