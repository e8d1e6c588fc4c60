//! `rbake builder use`, `rm`, `start` and `stop`.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;

use super::inspect::{Wanted, wanted};
use super::listing::{ANSWER_LIMIT, answer_limit};
use super::{bars, block_on, program, until_signal};
use crate::builder::ChooseError;
use crate::builder::embedded::{self, Launcher, Stopped};
use crate::builder::manage::{self, KeptParts, ManageError, RemovedBuilder, StoppedNodes};
use crate::builder::roster::{self, EntryOrigin};
use crate::cli::commands::recovery::confirm::says_yes;
use crate::cli::exit::Exit;
use crate::cli::screen::Screen;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::types::Environment;
use crate::types::blocking::unblock;

/// The flags of `rbake builder use`.
#[derive(Debug, Args)]
pub(super) struct UseArgs {
    /// The builder, or the current Docker context for its own builder
    #[arg(
        id = "builder_name",
        value_name = "NAME",
        required_unless_present = "builder"
    )]
    name: Option<String>,
    /// Use it with every Docker context
    #[arg(long)]
    global: bool,
    /// Use it again whenever the current Docker context is used again
    #[arg(long)]
    default: bool,
}

/// The flags of `rbake builder rm`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each flag of the command line is one of buildx's"
)]
pub(super) struct RemoveArgs {
    /// The builders. Default: the current one
    #[arg(
        id = "builder_name",
        value_name = "NAME",
        conflicts_with = "all_inactive"
    )]
    names: Vec<String>,
    /// Keep the volume with the state, for a builder of the same name
    #[arg(long)]
    keep_state: bool,
    /// Keep the container or the pods, and leave them running
    #[arg(long)]
    keep_daemon: bool,
    /// Remove all builders of which no node runs
    #[arg(long)]
    all_inactive: bool,
    /// Do not ask
    #[arg(long, short = 'f')]
    force: bool,
    /// Wait at most this long for the containers of a builder, such as `5s`
    #[arg(long, value_name = "TIME", value_parser = answer_limit, default_value = ANSWER_LIMIT)]
    timeout: Duration,
}

/// The flags of `rbake builder start`.
#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// The builder. Default: the one that a run would use
    #[arg(id = "builder_name", value_name = "NAME")]
    name: Option<String>,
}

/// The flags of `rbake builder stop`.
#[derive(Debug, Args)]
pub(super) struct StopArgs {
    /// The builder. Default: the current one if it is one of buildx's store, else the embedded builder
    #[arg(id = "builder_name", value_name = "NAME")]
    name: Option<String>,
    /// Stop the embedded builder even while runs use it
    #[arg(long)]
    force: bool,
}

pub(super) fn make_current(
    args: &UseArgs,
    before: Option<&str>,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let name = args.name.as_deref().or(before).unwrap_or_default();
    let work = manage::make_current(name, args.global, args.default, environment);
    match block_on(until_signal(work), screen).and_then(|outcome| outcome) {
        Ok(Ok(())) => {
            if let Some(variable) = overriding(environment) {
                screen.note(&format!(
                    "`{variable}` is set, and names another builder than `{name}` for each run"
                ));
            }
            Exit::Success
        }
        Ok(Err(error)) => screen.diagnostics(&error.diagnostic().into()),
        Err(exit) => exit,
    }
}

/// A variable that takes precedence over the current builder.
fn overriding(environment: &Environment) -> Option<&'static str> {
    ["BUILDX_BUILDER", "BUILDKIT_HOST"]
        .into_iter()
        .find(|name| environment.get(name).is_some_and(|value| !value.is_empty()))
}

pub(super) fn remove(
    args: &RemoveArgs,
    before: Option<&str>,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let kept = match (args.keep_daemon, args.keep_state) {
        (true, _) => KeptParts::Daemon,
        (false, true) => KeptParts::State,
        (false, false) => KeptParts::Nothing,
    };
    if args.all_inactive && !args.force {
        if !screen.streams().err_is_terminal || !std::io::stdin().is_terminal() {
            let message = "nobody can be asked whether all inactive builders should be removed";
            let told = Diagnostic::error(Class::Usage, "cli::not-confirmed", message)
                .help("`--force` removes them without asking");
            return screen.diagnostics(&told.into());
        }
        if !says_yes("remove all builders of which no node runs?", screen) {
            screen.note("nothing was changed");
            return Exit::Usage;
        }
    }
    let mut names = args.names.clone();
    if names.is_empty() {
        names.extend(before.map(str::to_owned));
    }
    let work = async {
        if args.all_inactive {
            manage::remove_inactive(kept, args.timeout, environment).await
        } else {
            manage::remove(&names, kept, args.timeout, environment).await
        }
    };
    match block_on(until_signal(work), screen).and_then(|outcome| outcome) {
        Ok(Ok(removed)) => report_removed(&removed, screen),
        Ok(Err(error)) => screen.diagnostics(&error.diagnostic().into()),
        Err(exit) => exit,
    }
}

fn report_removed(removed: &[RemovedBuilder], screen: &mut Screen) -> Exit {
    let mut problems = Vec::new();
    let mut text = String::new();
    for builder in removed {
        let _ = writeln!(text, "{} removed", builder.name);
        if !builder.left.is_empty() {
            let message = format!("not all of the builder `{}` could be removed", builder.name);
            let told = Diagnostic::error(Class::Engine, "builder::left-over", message)
                .help("remove the rest with the `docker` or the `kubectl` command");
            let told = builder
                .left
                .iter()
                .fold(told, |told, why| told.note(why.clone()));
            problems.push(told);
        }
    }
    let written = screen.data(&text);
    if problems.is_empty() {
        return written;
    }
    screen.diagnostics(&Diagnostics(problems))
}

pub(super) fn start(
    args: &StartArgs,
    before: Option<&str>,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let name = args.name.as_deref().or(before);
    let (events, reporter) = bars(environment, screen);
    let work = async {
        let Wanted { entry, .. } = wanted(name, Duration::from_secs(20), environment).await?;
        let name = entry.name.clone();
        let launcher = Launcher { program: program() };
        let warnings = roster::boot(entry, environment, &launcher, &events).await?;
        Ok::<_, ChooseError>((name, warnings))
    };
    let outcome = block_on(until_signal(work), screen).and_then(|outcome| outcome);
    drop(reporter);
    match outcome {
        Ok(Ok((name, warnings))) => {
            screen.diagnostics(&Diagnostics(warnings));
            screen.data(&format!("the builder `{name}` runs\n"))
        }
        Ok(Err(error)) => screen.diagnostics(&error.diagnostic().into()),
        Err(exit) => exit,
    }
}

pub(super) fn stop(
    args: &StopArgs,
    before: Option<&str>,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let name = args.name.as_deref().or(before);
    let entry = match named_or_stored(name, environment, screen) {
        Ok(entry) => entry,
        Err(exit) => return exit,
    };
    let entry = match entry {
        Some(entry) if entry.origin != EntryOrigin::Embedded => entry,
        _ => return stop_embedded(args.force, environment, screen),
    };
    if entry.origin == EntryOrigin::Context {
        let error = ManageError::Context {
            name: entry.name,
            act: "stop",
        };
        return screen.diagnostics(&error.diagnostic().into());
    }
    let outcome = block_on(until_signal(manage::stop_nodes(&entry)), screen);
    match outcome.and_then(|outcome| outcome) {
        Ok(Ok(StoppedNodes::Stopped)) => {
            screen.data(&format!("the builder `{}` has stopped\n", entry.name))
        }
        Ok(Ok(StoppedNodes::NotRunning)) => {
            screen.data(&format!("the builder `{}` is not running\n", entry.name))
        }
        Ok(Ok(StoppedNodes::Kept)) => {
            screen.note(&format!(
                "Kubernetes keeps the pods of the builder `{0}` running; `rbake builder rm {0}` removes them",
                entry.name
            ));
            Exit::Success
        }
        Ok(Err(error)) => screen.diagnostics(&error.diagnostic().into()),
        Err(exit) => exit,
    }
}

/// The builder called `name`; without a name, the current one if it is one of buildx's store.
fn named_or_stored(
    name: Option<&str>,
    environment: &Environment,
    screen: &mut Screen,
) -> Result<Option<roster::BuilderEntry>, Exit> {
    let (name, asked) = (name.map(str::to_owned), environment.clone());
    let find = unblock(move || match name.as_deref() {
        Some(name) => roster::BuilderEntry::named(name, "the command line", &asked).map(Some),
        // Whatever is wrong with the settings, the embedded builder can be stopped.
        None => Ok(roster::current_by_settings(None, &asked)
            .ok()
            .flatten()
            .map(|(entry, _)| entry)
            .filter(|entry| entry.origin == EntryOrigin::Store)),
    });
    match block_on(find, screen)? {
        Ok(found) => Ok(found),
        Err(error) => Err(screen.diagnostics(&error.diagnostic().into())),
    }
}

fn stop_embedded(force: bool, environment: &Environment, screen: &mut Screen) -> Exit {
    let (events, reporter) = bars(environment, screen);
    let outcome = block_on(embedded::stop(environment, force, &events), screen);
    drop(reporter);
    match outcome {
        Ok(Ok(Stopped::Stopped)) => screen.data("the embedded builder has stopped\n"),
        Ok(Ok(Stopped::NotRunning)) => screen.data("the embedded builder is not running\n"),
        Ok(Ok(Stopped::Busy { clients })) => {
            let runs = if clients == 1 { "run uses" } else { "runs use" };
            let told = Diagnostic::error(
                Class::Engine,
                "builder::busy",
                format!("the embedded builder keeps running: {clients} {runs} it"),
            )
            .help("`rbake builder stop --force` stops it and interrupts them");
            screen.diagnostics(&told.into())
        }
        Ok(Err(error)) => screen.diagnostics(&error.diagnostic().into()),
        Err(exit) => exit,
    }
}
