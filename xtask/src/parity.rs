//! `cargo xtask parity`: buildx's answers to the parity cases, the checklist, and random definitions.

#[path = "../../tests/parity/cases.rs"]
pub(crate) mod cases;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

use cases::{Case, Run};

/// The tasks around the parity cases.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Task {
    /// Runs buildx on every case and stores what it prints
    Update {
        /// The buildx binary
        #[arg(long, value_name = "PATH")]
        buildx: PathBuf,
        /// Only the cases with these names
        cases: Vec<String>,
    },
    /// Runs rbake and buildx on random definitions and compares
    Random(crate::random::Args),
    /// Evaluates the expressions in `tests/parity/functions.json` with buildx again
    Expressions {
        /// The buildx binary
        #[arg(long, value_name = "PATH")]
        buildx: PathBuf,
    },
    /// Runs what `tests/parity/checklist.toml` names, and prints which behaviours of buildx rbake shares
    Checklist,
}

/// Why a task failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read the cases: {0}")]
    Cases(String),
    #[error("cannot evaluate the stored expressions")]
    Expressions(#[source] crate::expressions::Error),
    #[error("the checklist failed")]
    Checklist(#[source] crate::checklist::Error),
    #[error("the comparison of random definitions failed")]
    Random(#[source] crate::random::Error),
    #[error("cannot run `{program}`")]
    Run {
        program: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write `{path}`")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

pub(crate) fn run(task: Task, root: &Path) -> Result<(), Error> {
    let (buildx, cases) = match task {
        Task::Update { buildx, cases } => (buildx, cases),
        Task::Random(args) => return crate::random::run(&args, root).map_err(Error::Random),
        Task::Expressions { buildx } => {
            return crate::expressions::run(&buildx, root).map_err(Error::Expressions);
        }
        Task::Checklist => return crate::checklist::run(root).map_err(Error::Checklist),
    };
    let version = version(&buildx)?;
    let all = cases::all(&root.join("tests/parity/cases")).map_err(Error::Cases)?;
    for case in all {
        if cases.is_empty() || cases.contains(&case.name) {
            update(&buildx, &version, &case)?;
        }
    }
    Ok(())
}

fn version(buildx: &Path) -> Result<String, Error> {
    let output = command(buildx).arg("version").output();
    let output = output.map_err(|source| Error::Run {
        program: buildx.to_owned(),
        source,
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().find(|word| word.starts_with('v'));
    Ok(version.unwrap_or("unknown").to_owned())
}

// Without this machine's configuration.
fn command(buildx: &Path) -> Command {
    let mut command = Command::new(buildx);
    command
        .env_clear()
        .env("HOME", "/nonexistent")
        // buildx would make a directory, which is impossible there.
        .env("BUILDX_CONFIG", "/proc/nonexistent");
    command
}

fn update(buildx: &Path, version: &str, case: &Case) -> Result<(), Error> {
    let mut runs = Map::new();
    for run in &case.runs {
        runs.insert(run.name.clone(), answer(buildx, case, run)?);
    }
    let text = format!("{:#}\n", json!({ "buildx": version, "runs": runs }));
    let path = case.dir.join("expected.json");
    std::fs::write(&path, text).map_err(|source| Error::Write { path, source })
}

fn answer(buildx: &Path, case: &Case, run: &Run) -> Result<Value, Error> {
    let mut command = command(buildx);
    let output = command
        .arg("bake")
        .args(run.command_line())
        .envs(run.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&case.dir)
        .stdin(run.input(&case.dir))
        .output()
        .map_err(|source| Error::Run {
            program: buildx.to_owned(),
            source,
        })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let error = text.lines().rev().find(|line| line.starts_with("ERROR: "));
        return Ok(json!({ "fails": error.unwrap_or("without a message") }));
    }
    Ok(cases::answered(run, &output))
}
