//! `rbake builder`: shows which builder a run would use, and manages rbake's own builder.
//!
//! The doc comments of verbs and flags are their help texts.

use std::future::Future;
use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::builder::embedded::{self, Idle, ServeOptions, Stopped};
use crate::builder::install::{self, InstallMethod, InstallOptions, Installed, Pins};
use crate::builder::{self, Survey};
use crate::cli::args::go_bool;
use crate::cli::exit::Exit;
use crate::cli::logs::{self, LogPlace};
use crate::cli::screen::Screen;
use crate::cli::{docker_config, progress, signals, usage};
use crate::credential::DockerConfig;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::event::EventSink;
use crate::report::{Mode, Reporter};
use crate::types::causes::in_one_line;
use crate::types::requirements::Requirements;
use crate::types::{Clock, Environment, terminal};

/// Looks after builders.
#[derive(Debug, Parser)]
#[command(
    name = "rbake builder",
    about = "Show which builder a run uses, and manage rbake's own builder",
    max_term_width = 100
)]
struct Args {
    // These two flags of building may stand before the verb.
    #[arg(long, hide = true, allow_hyphen_values = true)]
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
    /// Install the programs of the embedded builder
    Install {
        /// Install them only from this source
        #[arg(long, value_name = "PLACE", value_enum)]
        from: Option<From>,
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
    /// Stop the embedded builder
    Stop {
        /// Stop it even while runs use it
        #[arg(long)]
        force: bool,
    },
    /// Run buildkitd in place of this process, as a child of the supervisor with this process id
    #[command(hide = true)]
    RunBuildkitd {
        supervisor: i32,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum From {
    /// Programs in PATH
    Path,
    /// BuildKit's release archive
    Release,
    /// A build with the Go toolchain
    Go,
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
    if before.is_some() && !matches!(args.verb, Verb::Status { .. }) {
        let message = format!("`--builder` can only be used with `{name} status`");
        let told = Diagnostic::error(Class::Usage, "cli::usage", message)
            .help("the other verbs always act on the embedded builder");
        return screen.diagnostics(&told.into());
    }
    let log = match &args.verb {
        // buildkitd takes the place of this process.
        Verb::RunBuildkitd { .. } => Ok(LogPlace::Nowhere),
        verb => {
            let file = args.log_file.as_deref().filter(|file| !file.is_empty());
            let bars = matches!(verb, Verb::Install { .. } | Verb::Stop { .. });
            logs::start(file, bars && screen.streams().err_is_terminal, environment)
        }
    };
    let log = match log {
        Ok(log) => log,
        Err(problem) => return screen.diagnostics(&problem.into()),
    };
    let exit = run_verb(args.verb, before.as_deref(), environment, screen);
    log.tell(exit, false, screen);
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
            status(builder.as_deref().or(before), json, environment, screen)
        }
        Verb::Install { from, force } => install(from, force, environment, screen),
        Verb::Serve { idle, detached } => serve(idle, detached, environment, screen),
        Verb::Stop { force } => stop(force, environment, screen),
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let done = runtime.block_on(work);
            // Do not wait for tasks that were cancelled.
            runtime.shutdown_background();
            Ok(done)
        }
        Err(error) => {
            let message = format!("cannot start: {error}");
            let told = Diagnostic::error(Class::Internal, "cli::internal", message);
            Err(screen.diagnostics(&told.into()))
        }
    }
}

fn status(flag: Option<&str>, json: bool, environment: &Environment, screen: &mut Screen) -> Exit {
    // Docker's current context is one of the places where a builder is looked for, so report errors in Docker's
    // configuration.
    if let Some(warning) = docker_config::warning(&DockerConfig::load(environment)) {
        screen.diagnostic(&warning);
    }
    let requirements = Requirements::none();
    let survey = builder::survey(&requirements, flag, environment);
    let survey = match block_on(survey, screen) {
        Ok(survey) => survey,
        Err(exit) => return exit,
    };
    let text = if json {
        format!("{:#}\n", as_json(&survey))
    } else {
        as_text(&survey)
    };
    let written = screen.data(&text);
    screen.diagnostics(&Diagnostics(survey.warnings));
    match &survey.error {
        Some(error) => screen.diagnostics(&error.diagnostic().into()),
        None => written,
    }
}

fn as_text(survey: &Survey) -> String {
    let mut lines = Vec::new();
    if let Some(chosen) = &survey.chosen {
        lines.push(format!("builder  {}", chosen.name));
        lines.push(format!("driver   {}", chosen.driver));
        if let Some(endpoint) = &chosen.endpoint {
            lines.push(format!("address  {endpoint}"));
        }
        if let Some(version) = &chosen.version {
            lines.push(format!("buildkit {version}"));
        }
        lines.push(format!("state    {}", chosen.state));
        lines.push(format!("why      {}", chosen.why));
    } else {
        lines.push("builder  none".to_owned());
    }
    if !survey.others.is_empty() {
        lines.push(String::new());
        lines.push("not chosen".to_owned());
        for other in &survey.others {
            lines.push(format!(
                "  {}: {}",
                other.what.replace('`', ""),
                other.reason
            ));
        }
    }
    // Names of builders and contexts, addresses and reasons come from files and daemons, so they may contain
    // control characters.
    let lines: Vec<_> = lines.iter().map(|line| terminal::visible(line)).collect();
    lines.join("\n") + "\n"
}

fn as_json(survey: &Survey) -> serde_json::Value {
    let chosen = survey.chosen.as_ref().map(|chosen| {
        serde_json::json!({
            "name": chosen.name,
            "driver": chosen.driver.name(),
            "address": chosen.endpoint.as_ref().map(ToString::to_string),
            "buildkit": chosen.version,
            "state": chosen.state,
            "why": chosen.why,
        })
    });
    let others: Vec<_> = survey
        .others
        .iter()
        .map(|other| serde_json::json!({ "what": other.what, "reason": other.reason }))
        .collect();
    serde_json::json!({
        "builder": chosen,
        "notTaken": others,
        "error": survey.error.as_ref().map(|error| in_one_line(error)),
    })
}

fn install(
    from: Option<From>,
    force: bool,
    environment: &Environment,
    screen: &mut Screen,
) -> Exit {
    let pins = match Pins::of_this_release() {
        Ok(pins) => pins,
        Err(error) => {
            let message = in_one_line(&error);
            let told = Diagnostic::error(Class::Internal, "builder::pins", message);
            return screen.diagnostics(&told.into());
        }
    };
    let options = InstallOptions {
        pins,
        method: from.map(|from| match from {
            From::Path => InstallMethod::Path,
            From::Release => InstallMethod::Release,
            From::Go => InstallMethod::Go,
        }),
        force,
    };
    let (events, reporter) = bars(environment, screen);
    let work = async {
        tokio::select! {
            // `biased`: poll the signals first, so that their handlers exist before the installation begins.
            biased;
            signal = signals::first() => Err(Exit::for_signal(signal)),
            outcome = install::install(environment, &options, &events) => Ok(outcome),
        }
    };
    let outcome = block_on(work, screen).and_then(|outcome| outcome);
    drop(reporter);
    match outcome {
        Ok(Ok(installed)) => screen.data(&told(&installed)),
        Ok(Err(error)) => screen.diagnostics(&error.diagnostic().into()),
        Err(exit) => exit,
    }
}

/// Shows the progress of slow steps. If no thread can be started for that, the work is done without it.
fn bars(environment: &Environment, screen: &Screen) -> (EventSink, Option<Reporter>) {
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

fn told(installed: &Installed) -> String {
    match installed {
        Installed::Already(record) => format!(
            "BuildKit {} is installed already (from {})\n",
            record.version, record.method
        ),
        Installed::InPath {
            buildkitd,
            version,
            runc,
        } => format!(
            "nothing to install: BuildKit {version} is at `{}`, runc is at `{}`\n",
            buildkitd.display(),
            runc.display()
        ),
        Installed::Now {
            record,
            bin,
            passed_over,
        } => {
            let mut text = String::new();
            for method in passed_over {
                text.push_str(&format_line(&method.what, &method.reason));
            }
            text + &format!(
                "BuildKit {} (from {}) is installed in `{}`\n",
                record.version,
                record.method,
                bin.display()
            )
        }
    }
}

fn format_line(what: &str, reason: &str) -> String {
    format!("cannot use {what}: {reason}\n")
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

fn stop(force: bool, environment: &Environment, screen: &mut Screen) -> Exit {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Driver;
    use crate::builder::error::PassedOver;
    use crate::builder::survey::Surveyed;

    fn survey() -> Survey {
        Survey {
            chosen: Some(Surveyed {
                name: "embedded".into(),
                driver: Driver::Embedded,
                endpoint: None,
                version: Some("v0.32.2".into()),
                why: "no builder was named, and no other one is usable".into(),
                state: "not running; a run starts it".into(),
            }),
            error: None,
            warnings: Vec::new(),
            others: vec![PassedOver {
                what: "`BUILDKIT_HOST`".into(),
                reason: "not set".into(),
            }],
        }
    }

    #[test]
    fn the_commands_are_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_status_is_printed_as_text_and_as_json() {
        insta::assert_snapshot!(as_text(&survey()), @r"
        builder  embedded
        driver   embedded
        buildkit v0.32.2
        state    not running; a run starts it
        why      no builder was named, and no other one is usable

        not chosen
          BUILDKIT_HOST: not set
        ");
        let json = as_json(&survey());
        assert_eq!(json["builder"]["driver"], "embedded");
        assert_eq!(json["notTaken"][0]["reason"], "not set");
        assert_eq!(json["error"], serde_json::Value::Null);
    }
}
