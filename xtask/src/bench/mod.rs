//! `cargo xtask bench`: rbake and buildx side by side on one buildkitd.
//!
//! Both programs do the same work in turn, A B A B, so that a change of the machine's speed affects both; the results are
//! medians and their ratios. Wall time, CPU time and peak memory are the client's own, from the kernel; bytes are counted in a
//! separate pass, through a relay, so that the relay does not slow down a timed run. After each run, the daemon comes to rest, so that
//! no program pays for what the other one has left to do; all that the daemon has used until then is the run's.

mod daemon;
mod definitions;
mod growth;
mod measure;
mod relay;
mod scenario;
mod table;

use std::path::{Path, PathBuf};

use growth::Growth;
pub(crate) use measure::Measure;
use scenario::Scenario;

/// What to run, and with which programs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The rbake program
    #[arg(long, default_value = "target/release/rbake")]
    rbake: PathBuf,
    /// The buildx program
    #[arg(long, env = "RBAKE_TEST_BUILDX")]
    buildx: PathBuf,
    /// The address of the daemon, a unix socket; without it, only scenarios that need no daemon are run
    #[arg(long, env = "RBAKE_TEST_BUILDKIT_ADDR")]
    daemon: Option<String>,
    /// Counted runs of each program in each scenario, after one that is not counted
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// Only scenarios whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Files in the large context
    #[arg(long, default_value_t = 50_000)]
    files: usize,
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file or a process could not be handled.
    #[error("cannot {act}")]
    Io {
        /// What was tried.
        act: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A measured program failed.
    #[error("`{command}` ended with {code}:\n{output}")]
    Failed {
        /// The command line.
        command: String,
        /// Its exit code.
        code: i32,
        /// The end of what it printed.
        output: String,
    },
    /// The measuring process printed something other than a measurement.
    #[error("cannot measure `{0}`")]
    NoMeasurement(String),
    /// The daemon's address is of a kind that cannot be relayed.
    #[error("`{0}` is not a unix:// address")]
    Address(String),
}

pub(crate) fn io<T>(act: impl FnOnce() -> String, result: std::io::Result<T>) -> Result<T, Error> {
    result.map_err(|source| Error::Io { act: act(), source })
}

/// Runs every scenario and prints the table.
pub(crate) fn run(args: &Args) -> Result<(), Error> {
    let work = io(|| "make a working folder".into(), tempfile::tempdir())?;
    let clients = scenario::Clients::prepare(args, work.path())?;
    let mut rows = Vec::new();
    for scenario in Scenario::all(args.files)
        .iter()
        .filter(|scenario| scenario.name().contains(&args.only))
    {
        if scenario.needs_daemon() && args.daemon.is_none() {
            note(&format!(
                "{}: skipped, no daemon was given",
                scenario.name()
            ));
            continue;
        }
        note(&format!("{} …", scenario.name()));
        rows.push(scenario.run(&clients, &folder(work.path(), &scenario.name()), args.runs)?);
    }
    let mut growth = Vec::new();
    for many in definitions::Many::ALL {
        let name = Growth::name(many.0);
        if name.contains(&args.only) {
            note(&format!("{name} …"));
            growth.push(Growth::measure(
                &clients,
                &folder(work.path(), &name),
                many,
                args.runs,
            )?);
        }
    }
    let mut text = table::render(&rows, &clients.versions()?);
    if !growth.is_empty() {
        text.push_str(&growth::render(&growth));
    }
    print(&text);
    Ok(())
}

fn folder(work: &Path, name: &str) -> PathBuf {
    work.join(name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"))
}

#[expect(clippy::print_stderr, reason = "a task's output is its purpose")]
fn note(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::print_stdout, reason = "a task's output is its purpose")]
pub(crate) fn print(text: &str) {
    println!("{text}");
}
