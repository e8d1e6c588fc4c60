//! Makes planned targets for tests.

use std::path::Path;
use std::time::SystemTime;

use crate::definition::{EvaluationInputs, decode, evaluate, source::DefinitionSources};
use crate::plan::{self, Plan, PlannedTarget};
use crate::types::{Environment, Platform};

/// Returns the target `t` with the attributes `body`, planned in an empty environment.
pub(super) fn planned(body: &str) -> PlannedTarget {
    planned_in(body, &Environment::of([], Path::new("/")))
}

/// Returns the plan for the target `t`, or for `default` if `body` defines that as well.
pub(super) fn plan(body: &str) -> Plan {
    let environment = Environment::of([], Path::new("/"));
    let name = if body.contains("\"default\"") {
        "default"
    } else {
        "t"
    };
    plan_of(body, name, &environment)
}

/// Does the same as [`planned`] in `environment`.
pub(super) fn planned_in(body: &str, environment: &Environment) -> PlannedTarget {
    plan_of(body, "t", environment)
        .targets
        .swap_remove("t")
        .unwrap()
}

fn plan_of(body: &str, name: &str, environment: &Environment) -> Plan {
    let text = format!("target \"t\" {{\n{body}\n}}\n");
    let mut sources = DefinitionSources::of([("docker-bake.hcl", text.as_str())]);
    let inputs = EvaluationInputs {
        environment,
        vars: &[],
        command_context: None,
        local_platform: &Platform::local(),
        now: SystemTime::UNIX_EPOCH,
        readable: None,
    };
    let evaluated = evaluate(&mut sources, &inputs).unwrap();
    let definition = decode::decode(evaluated, decode::DecodeOptions::default()).unwrap();
    let request = plan::PlanRequest {
        targets: &[name.to_owned()],
        overrides: &[],
        policies_disabled: false,
        environment,
    };
    plan::build(&definition, &request).unwrap()
}
