//! Plans and lists against buildx: what it printed is stored beside each case, and rbake must print the same.
//!
//! Output is compared as JSON with its order, lists as text; of failures only that they are failures. Which behaviour of
//! buildx each run shows is told by `checklist.toml`.

mod cases;
mod checklist;
mod rows;

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use clap::Parser as _;
use rbake::cli::args::BakeArgs;
use rbake::definition::{self, decode, source};
use rbake::diag::Diagnostics;
use rbake::plan::list::{ListSpec, list};
use rbake::plan::{self, Override, Request, Surroundings};
use rbake::types::{Environment, Platform};
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
            let found = if concerns_flags(run) {
                by_command(&case.dir, run)
            } else {
                ours(&case.dir, run)
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

// What is said of these flags is said before there is a plan.
fn concerns_flags(run: &Run) -> bool {
    let flags = ["--call", "--check", "--var", "--policy", "--allow"];
    let of_flags = |arg: &String| flags.iter().any(|flag| arg.starts_with(flag));
    run.args.iter().any(of_flags)
}

fn by_command(dir: &Path, run: &Run) -> Value {
    let print = if run.lists() { &[][..] } else { &["--print"] };
    let output = Command::new(env!("CARGO_BIN_EXE_rbake"))
        .args(print)
        .args(&run.args)
        .env_clear()
        .env("HOME", "/nonexistent")
        .envs(run.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(dir)
        .stdin(run.input(dir))
        .output()
        .unwrap();
    cases::answered(run, &output)
}

fn ours(dir: &Path, run: &Run) -> Value {
    match output(dir, run) {
        Ok(output) => serde_json::json!({ "output": output }),
        Err(problems) => {
            let messages: Vec<_> = problems.0.iter().map(|p| p.message.clone()).collect();
            serde_json::json!({ "fails": messages })
        }
    }
}

fn output(dir: &Path, run: &Run) -> Result<Value, Diagnostics> {
    let variables = run.environment.iter();
    let environment = Environment::new(
        variables.map(|(name, value)| (name.into(), value.into())),
        dir.to_owned(),
    );
    let words = std::iter::once("rbake").chain(run.args.iter().map(String::as_str));
    let args = BakeArgs::try_parse_from(words).unwrap();
    let request = source::Request {
        files: &args.files,
        remote: None,
        environment: &environment,
    };
    let mut sources = match &run.stdin {
        Some(file) => source::read(&request, &mut File::open(dir.join(file)).unwrap())?,
        None => source::read(&request, &mut std::io::empty())?,
    };
    let vars: Vec<(String, String)> = args
        .var
        .iter()
        .filter_map(|var| var.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let inputs = definition::Inputs {
        environment: &environment,
        vars: &vars,
        command_context: None,
        local_platform: &Platform::local(),
        now: SystemTime::UNIX_EPOCH,
    };
    let evaluated = definition::evaluate(&mut sources, &inputs)?;
    let options = decode::Options::from_environment(&environment)?;
    let definition = decode::decode(evaluated, options)?;
    if let Some(spec) = args.list.as_ref().filter(|_| run.lists()) {
        return Ok(list(&definition, ListSpec::parse(spec)?).into());
    }
    let plan = plan::build(
        &definition,
        &Request {
            targets: &args.targets,
            overrides: &overrides(&args, &environment)?,
            policies_disabled: false,
            environment: &environment,
        },
    )?;
    let surroundings = Surroundings {
        environment: &environment,
        stdout_is_terminal: false,
    };
    let problems = plan::check_print(&plan, surroundings);
    if problems.has_errors() {
        return Err(problems);
    }
    Ok(serde_json::from_str(&plan::print(&plan)).unwrap())
}

// The flags in the order in which buildx applies them.
fn overrides(args: &BakeArgs, environment: &Environment) -> Result<Vec<Override>, Diagnostics> {
    let mut overrides = Vec::new();
    for set in &args.set {
        overrides.extend(Override::parse(set, environment)?);
    }
    overrides.extend(args.push.filter(|on| *on).map(Override::push));
    overrides.extend(args.load.filter(|on| *on).map(Override::load));
    overrides.extend(args.no_cache.map(Override::no_cache));
    overrides.extend(args.pull.map(Override::pull));
    for (kind, value) in [("sbom", &args.sbom), ("provenance", &args.provenance)] {
        if let Some(value) = value {
            overrides.extend(Override::attest(kind, value)?);
        }
    }
    Ok(overrides)
}
