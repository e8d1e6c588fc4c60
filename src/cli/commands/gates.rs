//! The plan of a run with gates: gate targets are built, but leave nothing, and images for the command of a gate are
//! pushed without their tags.

use std::collections::BTreeSet;

use crate::cli::args::BakeArgs;
use crate::definition::model::Definition;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::plan::{self, Plan, PlanRequest, TargetOverride};
use crate::run::GateWishes;
use crate::types::TargetName;

/// Makes the plan of `request` with the gates of `args`.
pub(super) fn plan(
    definition: &Definition,
    request: &PlanRequest<'_>,
    args: &BakeArgs,
) -> Result<(Plan, GateWishes), Diagnostics> {
    let command = args.gate_run.clone();
    if !args.gate_images.is_empty() && command.is_none() {
        let message =
            "`--gate-image` makes an image for the command of `--gate-run`, which is not given";
        return Err(usage(message).into());
    }
    let untags = match args.on_failure.as_deref() {
        None | Some("keep") => false,
        Some("untag") => true,
        Some(other) => {
            let message = format!("`--on-failure {other}` is neither `keep` nor `untag`");
            return Err(usage(&message)
                .did_you_mean("a value", other, ["keep", "untag"])
                .into());
        }
    };
    if args.gates.is_empty() && args.gate_images.is_empty() {
        let wishes = GateWishes {
            command,
            untags,
            ..GateWishes::default()
        };
        return Ok((plan::build(definition, request)?, wishes));
    }
    let names = |targets: &[String]| {
        if targets.is_empty() {
            return Ok(BTreeSet::new());
        }
        let plan = plan::build(
            definition,
            &PlanRequest {
                targets,
                ..*request
            },
        )?;
        Ok::<_, Diagnostics>(own(&plan))
    };
    let main = own(&plan::build(definition, request)?);
    let gates = names(&args.gates)?;
    let images: BTreeSet<TargetName> = &names(&args.gate_images)? - &main;
    let mut overrides = request.overrides.to_vec();
    let only_gates = gates
        .difference(&main)
        .filter(|name| !images.contains(*name));
    let outputs = only_gates
        .map(|name| (name, "type=cacheonly"))
        .chain(images.iter().map(|name| (name, "type=image,push=true")));
    for (name, output) in outputs {
        let text = format!("{name}.output={output}");
        let change = TargetOverride::parse(&text, request.environment)?;
        overrides.push(change);
    }
    let mut targets = request.targets.to_vec();
    if targets.is_empty() {
        targets.push("default".to_owned());
    }
    targets.extend(args.gates.iter().chain(&args.gate_images).cloned());
    let plan = plan::build(
        definition,
        &PlanRequest {
            targets: &targets,
            overrides: &overrides,
            ..*request
        },
    )?;
    let wishes = GateWishes {
        targets: gates,
        images,
        command,
        untags,
    };
    Ok((plan, wishes))
}

/// The targets of `plan` that were asked for, without those that they link to.
fn own(plan: &Plan) -> BTreeSet<TargetName> {
    let targets = plan.targets.values();
    let own = targets.filter(|target| !target.is_linked());
    own.map(|target| target.name.clone()).collect()
}

fn usage(message: &str) -> Diagnostic {
    Diagnostic::error(Class::Usage, "cli::usage", message)
}
