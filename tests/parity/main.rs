//! Compares plans and lists with buildx: its answers are stored with each case, and rbake must give the same.
//!
//! Every run of every case is a test of its own, `parity::CASE::RUN`, made from the files when the tests start: a new case needs no
//! new code. Output is compared as JSON including its order, lists as text; all failures are equal. `checklist.toml`
//! says which behaviour of buildx each run shows.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot continue should fail at once"
)]

mod cases;
mod checklist;
mod protocol;
mod rows;

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Output};
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Trial};
use rbake::cli::{self, streams::Streams};
use serde_json::Value;
use similar::TextDiff;

use cases::{Case, Run, comparable};

/// Where the cases are, from the top of the checkout.
const CASES: &str = "tests/parity/cases";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut trials = rows::trials();
    trials.extend(protocol::trials());
    match cases::all(&root.join(CASES)) {
        Ok(cases) => trials.extend(cases.into_iter().flat_map(of_case)),
        Err(error) => trials.push(Trial::test("parity::cases", || Err(error.into()))),
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn of_case(case: Case) -> Vec<Trial> {
    let case = Arc::new(case);
    let test = |run: &Run| {
        let (case, run) = (Arc::clone(&case), run.clone());
        let name = format!("parity::{}::{}", case.name, run.name);
        Trial::test(name, move || same(&case, &run).map_err(Into::into))
    };
    case.runs.iter().map(test).collect()
}

/// Whether rbake answers `run` as it should; if not, how the answers differ.
fn same(case: &Case, run: &Run) -> Result<(), String> {
    let wanted = case.wanted(run)?;
    // Standard input is the process's.
    let found = if run.stdin.is_some() {
        by_command(&case.dir, run)
    } else {
        in_process(&case.dir, run)
    };
    if comparable(&wanted) == comparable(&found) {
        return Ok(());
    }
    Err(difference(case, run, &wanted, &found))
}

fn difference(case: &Case, run: &Run, wanted: &Value, found: &Value) -> String {
    let (wanted_text, found_text) = (answer(wanted), answer(found));
    let diff = TextDiff::from_lines(&wanted_text, &found_text);
    let stored = match wanted["why"].as_str() {
        Some(why) => format!("differences.json: {why}"),
        None => "buildx, by expected.json".to_owned(),
    };
    let diff = diff
        .unified_diff()
        .context_radius(3)
        .header(&stored, "rbake")
        .to_string();
    format!(
        "{CASES}/{}, run `{}`: {}\n{diff}",
        case.name,
        run.name,
        typed(run)
    )
}

/// The run as a user would type it, without the quotes.
fn typed(run: &Run) -> String {
    let variables = run.environment.iter();
    let mut words: Vec<String> = variables.map(|(k, v)| format!("{k}={v}")).collect();
    words.push("rbake".to_owned());
    words.extend(run.command_line());
    if let Some(file) = &run.stdin {
        words.extend(["<".to_owned(), file.clone()]);
    }
    words.join(" ")
}

/// An answer as lines.
fn answer(answer: &Value) -> String {
    match (&answer["fails"], &answer["output"]) {
        (Value::String(message), _) => format!("fails: {}\n", message.trim_end()),
        (_, Value::String(text)) => text.clone(),
        (_, document) => format!("{document:#}\n"),
    }
}

fn by_command(dir: &Path, run: &Run) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_rbake"))
        .args(run.command_line())
        .env_clear()
        .env("HOME", "/nonexistent")
        .envs(run.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(dir)
        .stdin(run.input(dir))
        .output()
        .unwrap();
    cases::answered(run, &output)
}

fn in_process(dir: &Path, run: &Run) -> Value {
    let words = std::iter::once("rbake".to_owned()).chain(run.command_line());
    let home = ("HOME".to_owned(), "/nonexistent".to_owned());
    let variables = std::iter::once(home).chain(run.environment.iter().cloned());
    let (out, err) = (Page::default(), Page::default());
    let exit = cli::run(
        words.map(Into::into),
        variables.map(|(name, value)| (name.into(), value.into())),
        dir.to_owned(),
        Streams::to(Box::new(out.clone()), Box::new(err.clone())),
    );
    let output = Output {
        status: ExitStatus::from_raw(i32::from(exit.code()) << 8),
        stdout: out.text(),
        stderr: err.text(),
    };
    cases::answered(run, &output)
}

/// What is written to a stream.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    fn text(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl std::io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
