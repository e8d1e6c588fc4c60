//! Makes a plan from a definition: selects targets, resolves inheritance and links, applies overrides, and makes
//! the checks that need no builder.
//!
//! This module knows nothing about `BuildKit`; `run` turns a plan into solves. Start at [`build()`], which lists
//! the passes in order.

mod build_values;
mod call;
mod checks;
mod details;
pub(crate) mod entitlements;
mod graph;
mod inherit;
mod inputs;
mod json;
mod links;
pub mod list;
mod model;
pub(crate) mod overrides;
pub(crate) mod pattern;
mod print;
mod requirements;
mod select;
pub(crate) mod syntax;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod value_json;
mod written;

use std::sync::{Arc, OnceLock};

pub(crate) use call::{CallError, FrontendCall};
pub(crate) use checks::{SharedTags, check_build, check_files};
pub use checks::{Surroundings, check_print};
pub(crate) use graph::TargetGraph;
pub use model::Plan;
pub(crate) use model::{
    AnnotationEntry, ContextSource, DockerfileSource, NamedContext, OciLayout, PlannedTarget,
    TargetRole,
};
pub(crate) use overrides::Policies;
pub use overrides::TargetOverride;
pub use print::print;
pub(crate) use print::{PrintedAnswer, print_called, print_in_pieces};
pub(crate) use requirements::requirements;
pub(crate) use written::written_places;

use self::inherit::{InheritanceResolver, OverridesByTarget};
use self::links::Targets;
use self::pattern::TargetPattern;
use crate::definition::model::{
    Definition, Export, List, PolicyEntry, SharedText, Sink, Target, concerns,
};
use crate::definition::remote::RemoteTree;
use crate::diag::{Class, Diagnostic, Diagnostics, Spanned};
use crate::types::hash::{HashSet, IndexMap, RandomState};
use crate::types::{Environment, GroupName, TargetName};

/// The inputs of a plan other than the definition.
#[derive(Debug, Clone)]
pub struct PlanRequest<'a> {
    /// The names or patterns of the targets and groups to build. Empty means `default`.
    pub targets: &'a [String],
    /// The changes from the command line, in the order they were given.
    pub overrides: &'a [TargetOverride],
    /// Whether `--policy disabled=true` switches off all policies.
    pub policies_disabled: bool,
    /// The environment. Only `SOURCE_DATE_EPOCH` is read.
    pub environment: &'a Environment,
}

/// Makes the plan for `request`. On failure, reports all problems, not only the first.
pub fn build(definition: &Definition, request: &PlanRequest<'_>) -> Result<Plan, Diagnostics> {
    let mut problems = Diagnostics::default();
    let (overrides, doubts) = overrides_by_target(definition, request.overrides, &mut problems);
    let selection = select::select(definition, request.targets, &mut problems);

    let mut resolver = InheritanceResolver::new(definition, overrides);
    let mut targets =
        Targets::with_capacity_and_hasher(selection.targets.len(), RandomState::default());
    for name in &selection.targets {
        match resolver.resolve(&name.value) {
            Some(target) => {
                targets.insert(target.name.value.clone(), (target, TargetRole::Requested));
            }
            None => problems.push(unknown_target(definition, name)),
        }
    }
    let graph = links::follow(definition, &mut resolver, &mut targets);
    problems.0.append(&mut resolver.problems.0);
    let grants = std::mem::take(&mut resolver.grants);
    // Free the targets that were only resolved because others inherit from them. The remaining ones are then no
    // longer shared, so `finish` can change them without a copy.
    drop(resolver);

    let tree = definition.tree.as_ref();
    let mut planned = IndexMap::with_capacity_and_hasher(targets.len(), RandomState::default());
    for (name, (target, role)) in targets {
        let target = finish(target, role, (request, tree), &mut problems);
        planned.insert(name, target);
    }
    let is_used = |doubt: &Diagnostic| {
        let mut targets = planned.values();
        targets.any(|target| concerns(doubt, &target.attributes))
    };
    problems.0.extend(doubts.into_iter().filter(is_used));
    without_repetition(&mut problems);
    if problems.has_errors() {
        return Err(problems);
    }
    Ok(Plan {
        groups: selection.groups,
        targets: planned,
        graph,
        grants,
        warnings: problems,
    })
}

/// Removes repeated problems. A target that is reached in several ways can cause the same problem several times.
fn without_repetition(problems: &mut Diagnostics) {
    let mut seen = HashSet::with_capacity_and_hasher(problems.0.len(), RandomState::default());
    problems.0.retain(|problem| {
        let place = problem.labels.first().map(|label| label.span);
        seen.insert((problem.code, problem.message.clone(), place))
    });
}

/// Returns the overrides of each target, and warnings about suspicious texts in their values. Reports overrides
/// that match no target.
fn overrides_by_target<'a>(
    definition: &'a Definition,
    overrides: &'a [TargetOverride],
    problems: &mut Diagnostics,
) -> (OverridesByTarget<'a>, Vec<Diagnostic>) {
    let mut doubts = Vec::new();
    let mut sets = OverridesByTarget::default();
    for change in overrides {
        match matching(definition, &change.pattern) {
            Ok(names) if names.is_empty() => problems.push(unmatched(definition, change)),
            Ok(names) => {
                doubts.append(&mut change.doubts());
                for name in names {
                    sets.entry(name).or_default().push(change);
                }
            }
            Err(error) => problems.push(Diagnostic::error(
                Class::Usage,
                "plan::invalid-override",
                format!("`{}`: {error}", change.flag),
            )),
        }
    }
    (sets, doubts)
}

/// The targets that an override changes: the target with exactly that name, or else all that match the pattern.
fn matching<'d>(
    definition: &'d Definition,
    pattern: &str,
) -> Result<Vec<&'d TargetName>, pattern::InvalidPattern> {
    if let Some((name, _)) = definition.targets.get_key_value(pattern) {
        return Ok(vec![name]);
    }
    let pattern = TargetPattern::parse(pattern)?;
    let names = definition.targets.keys();
    Ok(names
        .filter(|name| pattern.matches(name.as_str()))
        .collect())
}

fn unmatched(definition: &Definition, change: &TargetOverride) -> Diagnostic {
    let wanted = &*change.pattern;
    let mut problem = Diagnostic::error(
        Class::Definition,
        "plan::unmatched-override",
        format!("`{}`: no target matches `{wanted}`", change.flag),
    );
    if definition.groups.contains_key(wanted) {
        problem = problem.note(format!(
            "`{wanted}` is a group, and overrides are for targets"
        ));
    }
    definition.explain_missing(wanted, problem).did_you_mean(
        "a target",
        wanted,
        definition.targets.keys().map(TargetName::as_str),
    )
}

fn unknown_target(definition: &Definition, name: &Spanned<SharedText>) -> Diagnostic {
    let wanted = &*name.value;
    let problem = Diagnostic::error(
        Class::Definition,
        "plan::unknown-target",
        format!("target `{wanted}` is not defined"),
    );
    let problem = match name.span {
        Some(span) => problem.at(span, "no such target or group"),
        None if definition.targets.is_empty() && definition.groups.is_empty() => {
            problem.note(select::known_names(definition))
        }
        None => problem,
    };
    let problem = if wanted.contains('/') {
        problem.help("arguments without a flag are targets or groups; use `-f` for a file, `--set '*.context=…'` for a context")
    } else if wanted == "help" {
        problem.help("`rbake --help` shows the flags")
    } else {
        problem
    };
    let problem = definition.explain_missing(wanted, problem);
    let groups = definition.groups.keys().map(GroupName::as_str);
    let targets = definition.targets.keys().map(TargetName::as_str);
    problem.did_you_mean("a target or group", wanted, groups.chain(targets))
}

/// Makes the final changes to a target, and parses its attributes.
fn finish(
    target: Arc<Target>,
    role: TargetRole,
    (request, tree): (&PlanRequest<'_>, Option<&Arc<RemoteTree>>),
    problems: &mut Diagnostics,
) -> PlannedTarget {
    const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
    let mut whole = target;
    // The target is no longer shared (see `build`), so this does not copy.
    let target = Arc::make_mut(&mut whole);
    let deferred = std::mem::take(&mut target.deferred).into_iter();
    let deferred = deferred.filter(|problem| concerns(problem, target));
    problems.0.extend(deferred);
    if request.policies_disabled {
        let disabled = PolicyEntry {
            disabled: true,
            ..PolicyEntry::default()
        };
        target.policy = List::of(vec![Spanned::without_span(disabled)]);
    }
    if let Some(epoch) = request.environment.get(SOURCE_DATE_EPOCH)
        && !epoch.is_empty()
        && target.args.get(SOURCE_DATE_EPOCH).is_none()
    {
        let epoch = Spanned::without_span(SharedText::from(epoch));
        target.args.insert(SOURCE_DATE_EPOCH.into(), epoch);
    }
    // An archive without a destination goes to standard output. buildx prints that as `dest=-`.
    let unplaced = |export: &Export| export.sink() == Sink::File && export.dest.is_none();
    if target.output.iter().any(|export| unplaced(&export.value)) {
        for export in target.output.make_mut() {
            if unplaced(&export.value) {
                export.value.dest = Some("-".into());
            }
        }
    }
    let inputs = inputs::resolve(target, tree, problems);
    let details = details::read(target, problems);
    PlannedTarget {
        name: target.name.value.clone(),
        role,
        attributes: whole,
        inputs,
        platforms: details.platforms,
        shm_size: details.shm_size,
        ulimits: details.ulimits,
        resources: details.resources,
        annotations: details.annotations,
        build: OnceLock::new(),
    }
}
