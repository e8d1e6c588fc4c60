//! Shared code of the fuzz targets: `rbake --print` from text to text, without files, clock or environment.
//!
//! A target fails on a panic, a hang, too much memory, or if one of the assertions in [`print`] fails.

use std::time::SystemTime;

use rbake::definition::source::DefinitionSources;
use rbake::definition::{self, decode};
use rbake::diag::{self, Diagnostics, SourceMap, Style};
use rbake::plan::list::{ListSpec, list};
use rbake::plan::{self, TargetOverride, PlanRequest, Surroundings};
use rbake::types::{Environment, Platform};

/// Prints the plan of `targets` in `sources`, or draws its problems.
///
/// Checks that printed plans are JSON, and that problems can be drawn: every span lies in its file.
pub fn print(mut sources: DefinitionSources, targets: &[&str], sets: &[&str]) -> Option<String> {
    // A directory that does not exist, so that nothing of this machine is read.
    let environment = Environment::of([("HOME", "/nonexistent"), ("A", "env")], "/nonexistent");
    match plan(&mut sources, targets, sets, &environment) {
        Ok(text) => {
            serde_json::from_str::<serde_json::Value>(&text).expect("a printed plan is JSON");
            Some(text)
        }
        Err(problems) => {
            assert!(!problems.0.is_empty(), "a failure reports a problem");
            draw(&problems, &sources.map);
            None
        }
    }
}

fn draw(problems: &Diagnostics, map: &SourceMap) {
    let style = Style {
        color: false,
        width: 80,
    };
    // Thousands of problems of one text are all alike; drawing them would take most of the time.
    let some = Diagnostics(problems.0.iter().take(20).cloned().collect());
    let drawn = diag::render_all(&some, map, style);
    assert!(!drawn.contains('\u{1b}'), "the text of a definition reaches the terminal: {drawn:?}");
    for problem in &some.0 {
        assert!(!problem.message.is_empty(), "a problem has a message");
        let _ = diag::to_json(problem, map).to_string();
    }
}

fn plan(
    sources: &mut DefinitionSources,
    targets: &[&str],
    sets: &[&str],
    environment: &Environment,
) -> Result<String, Diagnostics> {
    let inputs = definition::EvaluationInputs {
        environment,
        vars: &[],
        command_context: None,
        local_platform: &Platform::local(),
        now: SystemTime::UNIX_EPOCH,
        readable: None,
    };
    let evaluated = definition::evaluate(sources, &inputs)?;
    let options = decode::DecodeOptions::from_environment(environment)?;
    let definition = decode::decode(evaluated, options)?;
    for spec in ["targets,format=json", "type=variables,format=json", "variables"] {
        if let Ok(spec) = ListSpec::parse(spec) {
            let _ = list(&definition, spec);
        }
    }
    let mut overrides = Vec::new();
    for set in sets {
        overrides.push(TargetOverride::parse(set, environment)?);
    }
    let targets: Vec<String> = targets.iter().map(|name| (*name).to_owned()).collect();
    let plan = plan::build(
        &definition,
        &PlanRequest {
            targets: &targets,
            overrides: &overrides,
            policies_disabled: false,
            environment,
        },
    )?;
    let surroundings = Surroundings {
        environment,
        stdout_is_terminal: false,
    };
    let problems = plan::check_print(&plan, surroundings);
    if problems.has_errors() {
        return Err(problems);
    }
    Ok(plan::print(&plan))
}
