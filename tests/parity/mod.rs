//! Plans and lists against buildx: what it printed is stored beside each case, and rbake must print the same.
//!
//! Output is compared as JSON with its order, lists as text; of failures only that they are failures.

mod cases;

use std::path::Path;
use std::time::SystemTime;

use clap::Parser as _;
use rbake::cli::args::BakeArgs;
use rbake::definition::{self, decode, source};
use rbake::diag::Diagnostics;
use rbake::plan::list::{ListSpec, list};
use rbake::plan::{self, Override, Request, Surroundings};
use rbake::types::{Environment, Platform};
use serde_json::Value;

use cases::Run;

#[test]
fn plans_and_lists_are_buildxs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/cases");
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in cases::all(&root).unwrap() {
        let expected = read(&case.dir.join("expected.json"));
        let differences = match case.dir.join("differences.json") {
            path if path.exists() => read(&path),
            _ => Value::Null,
        };
        for run in &case.runs {
            count += 1;
            let stored = &expected["runs"][&run.name];
            let wanted = match &differences["runs"][&run.name] {
                Value::Null => stored,
                difference => {
                    let place = format!("{}/{}", case.name, run.name);
                    assert!(difference["why"].is_string(), "{place}: no reason");
                    // Where buildx's answer changes from run to run, it may have been the right one.
                    let same = answer(difference) == answer(stored);
                    let random = difference.get("random").is_some();
                    assert!(random || !same, "{place}: no difference");
                    difference
                }
            };
            let found = ours(&case.dir, run);
            if answer(wanted) != answer(&found) {
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

fn read(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `cargo xtask parity update` makes it",
            path.display()
        )
    });
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// What counts of an answer, as text, so that the order of fields counts as well.
fn answer(stored: &Value) -> String {
    if stored.get("fails").is_some() {
        return "fails".to_owned();
    }
    stored["output"].to_string()
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
    let sources = source::read(&request, &mut std::io::empty())?;
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
    let evaluated = definition::evaluate(&sources, &inputs)?;
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
    overrides.extend(args.call.as_deref().map(Override::call));
    overrides.extend(args.no_cache.map(Override::no_cache));
    overrides.extend(args.pull.map(Override::pull));
    for (kind, value) in [("sbom", &args.sbom), ("provenance", &args.provenance)] {
        if let Some(value) = value {
            overrides.extend(Override::attest(kind, value)?);
        }
    }
    for policy in &args.policy {
        overrides.push(Override::policy(policy)?);
    }
    Ok(overrides)
}
