//! `cargo xtask parity checklist`: which behaviours of buildx rbake is shown to share, and what is missing.
//!
//! The parity runs go through the command `rbake`, the tests through `cargo test`; both are built first.

#[path = "../../tests/parity/checklist.rs"]
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::parity::cases::{self, Case, Run, comparable};
use rows::{Mark, Row, Shown};

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read the checklist: {0}")]
    Checklist(String),
    #[error("cannot read the cases: {0}")]
    Cases(String),
    #[error("cannot run `{program}`")]
    Run {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot write the table")]
    Write(#[source] std::io::Error),
    #[error("`cargo {0}` failed")]
    Cargo(&'static str),
    #[error("some rows failed")]
    Fails,
}

/// The result of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// rbake does the same as buildx.
    Passed,
    /// rbake differs on purpose, in the way that is stored.
    Differs(String),
    /// A run or test that shows it failed, or was not run.
    Failed(String),
    /// It is not shown, or not in full.
    Later(String),
}

/// How many rows are in which state.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    passed: usize,
    differs: usize,
    failed: usize,
    later: usize,
}

impl Tally {
    fn add(&mut self, row: &Row, state: &State) {
        let field = match state {
            State::Passed => &mut self.passed,
            State::Differs(_) => &mut self.differs,
            State::Failed(_) => &mut self.failed,
            State::Later(_) => &mut self.later,
        };
        *field += row.count;
    }

    fn line(self, name: &str) -> String {
        let all = self.passed + self.differs + self.failed + self.later;
        let shown = self.passed + self.differs;
        format!(
            "{name:<52} {shown:>4} of {all:>4}   as in buildx {:>4}, different on purpose {:>3}, failed {:>3}, later {:>3}",
            self.passed, self.differs, self.failed, self.later
        )
    }
}

pub(crate) fn run(root: &Path) -> Result<(), Error> {
    let rows = rows::read(root).map_err(Error::Checklist)?;
    let cases = cases::all(&root.join("tests/parity/cases")).map_err(Error::Cases)?;
    let rbake = build(root)?;
    let runs = runs(&rbake, &cases, &rows)?;
    let tests = tests(root, &rows)?;
    let states: Vec<State> = rows.iter().map(|row| state(row, &runs, &tests)).collect();
    let mut out = std::io::stdout().lock();
    table(&mut out, &rows, &states).map_err(Error::Write)?;
    let failed = states.iter().any(|state| matches!(state, State::Failed(_)));
    if failed { Err(Error::Fails) } else { Ok(()) }
}

fn build(root: &Path) -> Result<PathBuf, Error> {
    let mut cargo = Command::new("cargo");
    cargo.args([
        "build",
        "--quiet",
        "--bin",
        "rbake",
        "--message-format=json-render-diagnostics",
    ]);
    let output = cargo.current_dir(root).stderr(Stdio::inherit()).output();
    let output = output.map_err(failed_to_run("cargo"))?;
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .ok_or(Error::Cargo("build"))
}

fn failed_to_run(program: &str) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let program = program.to_owned();
    move |source| Error::Run { program, source }
}

// Whether each run of each case that a row names gives the expected answer.
fn runs(
    rbake: &Path,
    cases: &[Case],
    rows: &[Row],
) -> Result<BTreeMap<(String, String), bool>, Error> {
    let named: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| &row.shown)
        .filter_map(|shown| match shown {
            Shown::Run { case, .. } => Some(case.as_str()),
            Shown::Test(_) => None,
        })
        .collect();
    let mut results = BTreeMap::new();
    for case in cases
        .iter()
        .filter(|case| named.contains(case.name.as_str()))
    {
        for run in &case.runs {
            let wanted = case.wanted(run).map_err(Error::Cases)?;
            let same = comparable(&wanted) == comparable(&ours(rbake, case, run)?);
            results.insert((case.name.clone(), run.name.clone()), same);
        }
    }
    Ok(results)
}

fn ours(rbake: &Path, case: &Case, run: &Run) -> Result<Value, Error> {
    let mut command = Command::new(rbake);
    let output = command
        .args(run.command_line())
        .env_clear()
        .env("HOME", "/nonexistent")
        .envs(run.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&case.dir)
        .stdin(run.input(&case.dir))
        .output()
        .map_err(failed_to_run("rbake"))?;
    Ok(cases::answered(run, &output))
}

// The result in `cargo test` of each test that a row names.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests find their peers through the environment"
)]
fn tests(root: &Path, rows: &[Row]) -> Result<BTreeMap<String, String>, Error> {
    let names: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| &row.shown)
        .filter_map(|shown| match shown {
            Shown::Test(name) => Some(name.as_str()),
            Shown::Run { .. } => None,
        })
        .collect();
    let suite: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_prefix("suite::"))
        .collect();
    let own: Vec<&str> = names
        .iter()
        .filter(|name| !name.starts_with("suite::"))
        .copied()
        .collect();
    let mut results = BTreeMap::new();
    for (prefix, target, names) in [
        ("", &["--lib"][..], own),
        ("suite::", &["--test", "suite"], suite),
    ] {
        if names.is_empty() {
            continue;
        }
        let mut cargo = Command::new("cargo");
        cargo
            .args(["test", "--quiet"])
            .args(target)
            .args(["--", "--format=pretty"]);
        // Tests that need a daemon run if the caller has named one; else they are reported as ignored.
        if std::env::var_os("RBAKE_TEST_BUILDKIT_ADDR").is_some() {
            cargo.arg("--include-ignored");
        }
        cargo.args(names);
        let output = cargo.current_dir(root).stderr(Stdio::inherit()).output();
        let output = output.map_err(failed_to_run("cargo"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !text.contains("test result: ") {
            return Err(Error::Cargo("test"));
        }
        for line in text.lines() {
            let result = line
                .strip_prefix("test ")
                .and_then(|line| line.split_once(" ... "));
            if let Some((name, result)) = result {
                results.insert(format!("{prefix}{name}"), result.to_owned());
            }
        }
    }
    Ok(results)
}

fn state(
    row: &Row,
    runs: &BTreeMap<(String, String), bool>,
    tests: &BTreeMap<String, String>,
) -> State {
    let mut wrong = Vec::new();
    let mut waiting = false;
    for shown in &row.shown {
        match shown {
            Shown::Run { case, run } => {
                let meant: Vec<_> = runs
                    .iter()
                    .filter(|((in_case, name), _)| in_case == case && (run == "*" || run == name))
                    .collect();
                if meant.is_empty() {
                    wrong.push(format!("{case}/{run} does not exist"));
                }
                let different = meant.into_iter().filter(|(_, same)| !**same);
                wrong.extend(different.map(|((case, run), _)| format!("{case}/{run} differs")));
            }
            Shown::Test(name) => {
                // A test with several cases is a module with one test per case.
                let cases = format!("{name}::");
                let meant: Vec<_> = tests
                    .iter()
                    .filter(|(found, _)| *found == name || found.starts_with(&cases))
                    .collect();
                if meant.is_empty() {
                    wrong.push(format!("{name} does not exist"));
                }
                for (name, result) in meant {
                    match result.as_str() {
                        "ok" => {}
                        // A build that could not run shows nothing.
                        result if result.starts_with("ignored") && row.mark == Mark::Build => {
                            waiting = true;
                        }
                        result => wrong.push(format!("{name}: {result}")),
                    }
                }
            }
        }
    }
    if !wrong.is_empty() {
        return State::Failed(wrong.join(", "));
    }
    if waiting && row.later.is_none() {
        return State::Later("the peers that its test needs are missing".to_owned());
    }
    match (&row.later, &row.differs) {
        (Some(why), _) => State::Later(why.clone()),
        (None, Some(how)) => State::Differs(how.clone()),
        (None, None) => State::Passed,
    }
}

fn table(out: &mut impl Write, rows: &[Row], states: &[State]) -> std::io::Result<()> {
    let mut sections: Vec<(&str, Tally)> = Vec::new();
    let mut marks: BTreeMap<Mark, Tally> = BTreeMap::new();
    let mut total = Tally::default();
    for (row, state) in rows.iter().zip(states) {
        if sections.last().is_none_or(|(name, _)| *name != row.section) {
            sections.push((&row.section, Tally::default()));
        }
        if let Some((_, tally)) = sections.last_mut() {
            tally.add(row, state);
        }
        marks.entry(row.mark).or_default().add(row, state);
        total.add(row, state);
    }
    for (row, state) in rows.iter().zip(states) {
        let (word, why) = match state {
            State::Passed => continue,
            State::Differs(how) => ("on purpose", how),
            State::Failed(what) => ("FAILED", what),
            State::Later(why) => ("later", why),
        };
        writeln!(
            out,
            "{:<5} {:<7} {word:<10} {}: {why}",
            row.id,
            name(row.mark),
            row.subject
        )?;
    }
    writeln!(out)?;
    for (section, tally) in sections {
        writeln!(out, "{}", tally.line(section))?;
    }
    writeln!(out)?;
    for (mark, tally) in marks {
        writeln!(out, "{}", tally.line(name(mark)))?;
    }
    writeln!(out, "{}", total.line("all"))
}

fn name(mark: Mark) -> &'static str {
    match mark {
        Mark::Print => "print",
        Mark::Cli => "cli",
        Mark::Build => "build",
    }
}
