//! Checks of a plan that only matter for a build, not for printing.

use std::collections::{BTreeMap, BTreeSet};

use super::{caches, problem, references};
use crate::definition::model::{ExportKind, Sink};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};
use crate::plan::model::{Plan, PlannedTarget};
use crate::types::{TargetName, own_tags};

/// What it means that several targets push to one tag.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SharedTags<'a> {
    /// An error, because rbake sets each tag once.
    Refused {
        /// The targets whose images are pushed without their tags.
        untagged: &'a BTreeSet<TargetName>,
    },
    /// The target that finishes last gets the tag, as with buildx.
    LastWins,
}

/// Reports the parts of `plan` that cannot be built, and warns about probable mistakes.
pub(crate) fn check_build(plan: &Plan, shared: SharedTags<'_>) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for target in plan.targets.values() {
        problems.0.extend(target.build().problems.0.iter().cloned());
        modes(target, &mut problems);
        layouts(target, &mut problems);
    }
    standard_output(plan, &mut problems);
    reserved_tags(plan, &mut problems);
    caches::check(plan, &mut problems);
    shared_names(plan, shared, &mut problems);
    problems
}

/// Reports an unknown `mode` of a local output.
fn modes(target: &PlannedTarget, problems: &mut Diagnostics) {
    const MODES: [&str; 2] = ["copy", "delete"];
    for export in &target.attributes.output {
        if export.kind == ExportKind::Local
            && let Err(mode) = export.local_mode()
        {
            let message = format!("`{mode}` is not a mode of `type=local`");
            problems.push(
                problem("plan::local-mode", target, export.span, message)
                    .did_you_mean("a mode", mode, MODES),
            );
        }
    }
}

/// Reports a second output of a target that is an image layout. BuildKit writes all of them to one store
/// (`exporter/oci/export.go`), so buildx refuses them, too.
fn layouts(target: &PlannedTarget, problems: &mut Diagnostics) {
    let outputs = target.attributes.output.iter();
    let mut layouts = outputs
        .filter(|export| export.kind != ExportKind::Local && export.sink() == Sink::Directory);
    if let (Some(_), Some(second)) = (layouts.next(), layouts.next()) {
        let message = "BuildKit can write only one image as a directory (`tar=false`)".to_owned();
        problems.push(
            problem("plan::output", target, second.span, message)
                .help("write the other one as an archive, or in another target"),
        );
    }
}

/// Reports several targets whose archives go to standard output: they would be mixed, since targets are built at the same time.
fn standard_output(plan: &Plan, problems: &mut Diagnostics) {
    let mut users: Vec<(&PlannedTarget, Option<Span>)> = Vec::new();
    for target in plan.targets.values() {
        let mut outputs = target.attributes.output.iter();
        let output = outputs.find(|export| {
            export.sink() == Sink::File && export.dest.as_deref().is_none_or(is_standard_output)
        });
        users.extend(output.map(|export| (target, export.span)));
    }
    let [(first, _), (second, _), ..] = users.as_slice() else {
        return;
    };
    let message = format!(
        "the outputs of {} targets go to standard output, such as those of `{}` and `{}`",
        users.len(),
        first.name,
        second.name
    );
    let mut problem = Diagnostic::error(Class::Definition, "plan::output", message)
        .help("write each to a file of its own (`dest`)");
    let mut spans: Vec<_> = users.iter().filter_map(|(_, span)| *span).collect();
    spans.dedup();
    for span in spans.into_iter().take(2) {
        problem = problem.at(span, "");
    }
    problems.push(problem);
}

/// Reports images that would replace what rbake itself keeps in a repository, such as the record of a run.
fn reserved_tags(plan: &Plan, problems: &mut Diagnostics) {
    let pushing = plan.targets.values();
    for target in pushing.filter(|target| references::pushes(target)) {
        for name in target.build().images.all() {
            let tag = name.reference().tag_or_latest();
            if tag.is_some_and(own_tags::is_own) {
                let message = format!(
                    "the tag of `{}` is one of those under which rbake keeps records",
                    name.reference()
                );
                problems.push(
                    problem("publish::reserved-tag", target, name.span, message)
                        .help("give the image a tag that does not begin with `rbake-run-` or `rbake-prune-`"),
                );
            }
        }
    }
}

fn is_standard_output(dest: &str) -> bool {
    ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"].contains(&dest)
}

/// Reports targets that push to the same tag.
fn shared_names(plan: &Plan, shared: SharedTags<'_>, problems: &mut Diagnostics) {
    let mut users: BTreeMap<String, Vec<(&TargetName, Option<Span>)>> = BTreeMap::new();
    let has_tags = |target: &&PlannedTarget| match shared {
        SharedTags::Refused { untagged } => !untagged.contains(&target.name),
        SharedTags::LastWins => true,
    };
    let pushing = plan.targets.values();
    let pushing = pushing.filter(|target| references::pushes(target));
    for target in pushing.filter(has_tags) {
        for name in target.build().images.all() {
            if let Some(tagged) = references::tagged(name) {
                let users = users.entry(tagged).or_default();
                if users.iter().all(|(user, _)| **user != target.name) {
                    users.push((&target.name, name.span));
                }
            }
        }
    }
    for (name, users) in users.into_iter().filter(|(_, users)| users.len() > 1) {
        let targets: Vec<String> = users
            .iter()
            .map(|(target, _)| format!("`{target}`"))
            .collect();
        let targets = targets.join(", ");
        let mut problem = match shared {
            SharedTags::Refused { .. } => Diagnostic::error(
                Class::Definition,
                "publish::claimed-twice",
                format!("targets {targets} claim the same tag, `{name}`"),
            )
            .note("a tag can name only one image")
            .help("give each target tags of its own; `--publish=buildx` leaves the tag to the target that finishes last"),
            SharedTags::LastWins => Diagnostic::warning(
                "plan::shared-image-name",
                format!("targets {targets} push to the same name, `{name}`"),
            )
            .note("the name will refer to the image of the target that finishes last"),
        };
        let mut spans: Vec<_> = users.iter().filter_map(|(_, span)| *span).collect();
        spans.dedup();
        for span in spans {
            problem = problem.at(span, "");
        }
        problems.push(problem);
    }
}
