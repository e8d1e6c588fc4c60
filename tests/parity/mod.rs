//! Plans and lists against buildx: what it printed is stored beside each case, and rbake must print the same.
//!
//! Output is compared as JSON with its order, lists as text; of failures only that they are failures. Which behaviour of
//! buildx each run shows is told by `checklist.toml`.

mod cases;
mod checklist;
mod random;
mod rows;

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus, Output};
use std::sync::{Arc, Mutex};

use rbake::cli::{self, streams::Streams};
use serde_json::Value;

use cases::{Run, comparable};

#[test]
fn plans_and_lists_are_buildxs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/cases");
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in cases::all(&root).unwrap() {
        for (run, wanted) in case.wanted().unwrap() {
            count += 1;
            // Standard input is the process's.
            let found = if run.stdin.is_some() {
                by_command(&case.dir, run)
            } else {
                in_process(&case.dir, run)
            };
            if comparable(&wanted) != comparable(&found) {
                wrong.push(format!(
                    "{}/{}\n--- wanted\n{wanted:#}\n--- found\n{found:#}",
                    case.name, run.name
                ));
            }
        }
    }
    assert!(count > 0, "no cases");
    assert!(
        wrong.is_empty(),
        "{} of {count} runs differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
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
