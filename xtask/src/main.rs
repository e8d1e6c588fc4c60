//! Development tasks: `cargo xtask <task>`.

mod bench;
mod checklist;
mod expressions;
mod man;
mod parity;
mod pins;
mod proto;
mod random;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

/// rbake's development tasks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Generates sources from `proto/proto`, or checks them.
    #[command(subcommand)]
    Proto(proto::Task),
    /// Compares plans with buildx's: stored answers, and random definitions.
    #[command(subcommand)]
    Parity(parity::Task),
    /// Measures rbake and buildx side by side on one daemon
    Bench(bench::Args),
    /// Updates the digests of BuildKit's release archives, for `rbake builder install`
    Pins(pins::Args),
    /// Prints what placement costs on several nodes, by the simulation, and writes it into docs/scale.md
    Placement,
    /// Writes the manual page
    Man,
    #[command(hide = true)]
    Measure(bench::Measure),
}

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let result: Result<(), Box<dyn std::error::Error>> = match Task::parse() {
        Task::Proto(task) => proto::run(task, &root).map_err(Into::into),
        Task::Parity(task) => parity::run(task, &root).map_err(Into::into),
        Task::Bench(args) => bench::run(&args).map_err(Into::into),
        Task::Pins(args) => pins::run(&args, &root).map_err(Into::into),
        Task::Placement => placement(&root).map_err(Into::into),
        Task::Man => man(&root).map_err(Into::into),
        Task::Measure(measure) => measure.run().map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Runs the simulation, which is a test: it uses the code of the program, which is not public.
fn placement(root: &Path) -> std::io::Result<()> {
    let filter =
        "placement::simulation::the_table_of_the_documentation_is_what_the_simulation_prints";
    let status = std::process::Command::new("cargo")
        .args([
            "test",
            "--quiet",
            "--package",
            "rbake",
            "--lib",
            "--",
            "--exact",
            filter,
            "--nocapture",
        ])
        .env("RBAKE_UPDATE_DOCS", "1")
        .current_dir(root)
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(std::io::Error::other("the simulation failed"))
    }
}

fn man(root: &Path) -> std::io::Result<()> {
    let path = root.join(man::PATH);
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(path, man::page()?)
}

#[expect(clippy::print_stderr, reason = "a task's output is its purpose")]
fn report(error: &dyn std::error::Error) {
    eprintln!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {error}");
        cause = error.source();
    }
}
