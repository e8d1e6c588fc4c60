//! Whether a run can be held: rbake must push all images, because the builder pushes all tags at once.

use std::collections::BTreeMap;

use super::Publication;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::engine::SolveSpec;
use crate::publisher::Standing;
use crate::types::TargetName;
use crate::types::causes::in_one_line;

const CODE: &str = "publish::hold";

/// Checks that `--hold` has an effect on all that `specs` push.
///
/// # Errors
/// Nothing is pushed, or the builder pushes. Reports each target that the builder pushes.
pub(in crate::run) fn check_hold<'a>(
    specs: impl IntoIterator<Item = &'a SolveSpec>,
    publications: &BTreeMap<TargetName, Publication>,
) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::default();
    for spec in specs {
        if spec.exports.iter().any(|export| export.push == Some(true)) {
            problems.push(by_builder(&spec.target));
        }
    }
    if publications.is_empty() && problems.0.is_empty() {
        let message = "`--hold` has no effect, because nothing is pushed to a registry";
        let problem = Diagnostic::error(Class::Usage, CODE, message);
        problems.push(problem.help("`--push` pushes the images"));
    }
    problems.into_result(())
}

/// Checks that rbake reaches all registries to which it pushes.
pub(super) fn check_reach(
    standings: &BTreeMap<TargetName, Vec<Standing>>,
) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::default();
    for (target, standings) in standings {
        for standing in standings {
            if let Standing::Unreachable(error) = standing {
                let why = in_one_line(error);
                problems.push(
                    by_builder(target).note(format!("rbake does not reach the registry: {why}")),
                );
            }
        }
    }
    problems.into_result(())
}

/// The error that the builder would push all tags of a target.
pub(super) fn by_builder(target: &TargetName) -> Diagnostic {
    let message = format!(
        "target `{target}` cannot be held, because the builder pushes it with all tags at once"
    );
    Diagnostic::error(Class::Usage, CODE, message)
}
