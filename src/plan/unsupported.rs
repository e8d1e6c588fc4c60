//! Features that a plan uses but rbake cannot build yet.
//!
//! rbake never ignores a setting silently: each of these features ends a build before any work, with an error that
//! names the target and the attribute. `--print` works for all of them. When a feature is implemented, its row is
//! removed.

use super::model::{Plan, PlannedTarget};
use crate::diag::{Class, Diagnostic, Diagnostics, Span};

/// One use of a feature: where it is, and how messages name it.
struct Found {
    attribute: String,
    span: Option<Span>,
    what: String,
}

/// A feature that cannot be built yet.
struct Gap {
    code: &'static str,
    find: fn(&PlannedTarget) -> Vec<Found>,
    way_out: &'static str,
}

const GAPS: &[Gap] = &[Gap {
    code: "plan::unsupported-policy",
    find: policies,
    way_out: "`--policy disabled=true` builds without policies, if that is what you want",
}];

/// All uses in `plan` of features that rbake cannot build yet.
pub(crate) fn unsupported(plan: &Plan) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for target in plan.targets.values() {
        problems.0.append(&mut unsupported_of(target).0);
    }
    problems
}

/// All uses in `target` of features that rbake cannot build yet.
fn unsupported_of(target: &PlannedTarget) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for gap in GAPS {
        for found in (gap.find)(target) {
            problems.push(problem(target, gap, &found));
        }
    }
    problems
}

fn problem(target: &PlannedTarget, gap: &Gap, found: &Found) -> Diagnostic {
    let problem = Diagnostic::error(
        Class::Definition,
        gap.code,
        format!(
            "`{}` of target `{}` asks for {}, which rbake does not support yet",
            found.attribute, target.name, found.what
        ),
    )
    .help(gap.way_out);
    problem.at(found.span.or_else(|| target.span()), "")
}

fn policies(target: &PlannedTarget) -> Vec<Found> {
    // A policy that is only switched off needs nothing from rbake.
    let policies = target.attributes.policy.iter();
    policies
        .filter(|policy| !policy.disabled || !policy.files.is_empty())
        .map(|policy| Found {
            attribute: "policy".to_owned(),
            span: policy.span,
            what: "a source policy".to_owned(),
        })
        .collect()
}
