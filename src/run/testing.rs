//! Planned targets for tests.

use std::path::Path;
use std::time::SystemTime;

use crate::definition::{Inputs, decode, evaluate, source::Sources};
use crate::plan::{self, PlannedTarget};
use crate::types::{Environment, Platform};

/// The target `t` with the attributes `body`, planned in an empty environment.
pub(super) fn planned(body: &str) -> PlannedTarget {
    planned_in(body, &Environment::of([], Path::new("/")))
}

/// The same in `environment`.
pub(super) fn planned_in(body: &str, environment: &Environment) -> PlannedTarget {
    let text = format!("target \"t\" {{\n{body}\n}}\n");
    let mut sources = Sources::of([("docker-bake.hcl", text.as_str())]);
    let inputs = Inputs {
        environment,
        vars: &[],
        command_context: None,
        local_platform: &Platform::local(),
        now: SystemTime::UNIX_EPOCH,
    };
    let evaluated = evaluate(&mut sources, &inputs).unwrap();
    let definition = decode::decode(evaluated, decode::Options::default()).unwrap();
    let request = plan::Request {
        targets: &["t".to_owned()],
        overrides: &[],
        policies_disabled: false,
        environment,
    };
    plan::build(&definition, &request)
        .unwrap()
        .targets
        .swap_remove("t")
        .unwrap()
}
