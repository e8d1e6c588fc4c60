//! Whether mutable tags can wait, for a gate or a promotion: rbake must set them, because the builder and Docker Engines
//! set all tags that they push.

use std::collections::BTreeMap;

use super::Publication;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::publish::class::TagClass;
use crate::publisher::Standing;
use crate::run::lower::LoweredTarget;
use crate::types::TargetName;
use crate::types::causes::in_one_line;

/// What mutable tags wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum TagsWait {
    /// A gate.
    ForGate,
    /// `rbake promote`.
    ForPromotion,
}

impl TagsWait {
    const fn code(self) -> &'static str {
        match self {
            Self::ForGate => "publish::ungated",
            Self::ForPromotion => "publish::hold",
        }
    }

    /// What cannot be done with a target.
    const fn refusal(self) -> &'static str {
        match self {
            Self::ForGate => "cannot wait for a gate",
            Self::ForPromotion => "cannot be held",
        }
    }
}

/// Checks that no target of `targets` is pushed with tags by the builder.
///
/// # Errors
/// Reports each target that the builder pushes.
pub(in crate::run) fn check_pushers(
    waits: TagsWait,
    targets: &[LoweredTarget],
) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::default();
    for target in targets.iter().filter(|target| pushes_tags(target)) {
        problems.push(by_builder(waits, &target.spec.target));
    }
    problems.into_result(())
}

/// Checks that `--hold` has an effect.
///
/// # Errors
/// Nothing is published.
pub(in crate::run) fn check_hold(
    waits: TagsWait,
    publications: &BTreeMap<TargetName, Publication>,
) -> Result<(), Diagnostics> {
    let mut problems = Diagnostics::default();
    if waits == TagsWait::ForPromotion && publications.is_empty() {
        let message = "`--hold` has no effect, because nothing is pushed to a registry";
        let problem = Diagnostic::error(Class::Usage, waits.code(), message);
        problems.push(problem.help("`--push` pushes the images"));
    }
    problems.into_result(())
}

/// Whether the builder, or the Docker Engine, sets tags as soon as `target` is built.
pub(in crate::run) fn pushes_tags(target: &LoweredTarget) -> bool {
    let mut exports = target.spec.exports.iter();
    !target.pushes.is_empty()
        || exports
            .any(|export| export.push == Some(true) && !super::publication::is_by_digest(export))
}

/// Reports targets whose registries rbake does not reach.
pub(super) fn check_reach(
    waits: TagsWait,
    standings: &BTreeMap<TargetName, Vec<Standing>>,
) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for (target, standings) in standings {
        for standing in standings {
            if let Standing::Unreachable(error) = standing {
                let why = in_one_line(error);
                problems.push(
                    set_by_builder(waits, target)
                        .note(format!("rbake does not reach the registry: {why}"))
                        .help("let rbake reach the registry under the same name"),
                );
            }
        }
    }
    problems
}

/// Reports targets that a Docker Engine can push only with a mutable tag.
pub(super) fn check_tags(
    waits: TagsWait,
    publications: &BTreeMap<TargetName, Publication>,
    standings: &BTreeMap<TargetName, Vec<Standing>>,
) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for (target, publication) in publications {
        if publication.engine().is_none() || !publication.has_tags() {
            continue;
        }
        let standings = standings.get(target).map_or(&[][..], Vec::as_slice);
        for (image, standing) in publication.images.iter().zip(standings) {
            if matches!(standing, Standing::Unreachable(_))
                || image.tags_of(TagClass::Immutable).next().is_some()
            {
                continue;
            }
            let message = format!(
                "target `{target}` {}: the Docker Engine can push it to `{}` only under a tag, and all its tags are mutable",
                waits.refusal(),
                image.repository.familiar()
            );
            problems.push(
                Diagnostic::error(Class::Usage, waits.code(), message)
                    .help("give the target a tag that names its commit, such as the commit's id")
                    .help("or build with another builder, which can push by digest: `--builder`"),
            );
        }
    }
    problems
}

/// The error that the builder would set the tags of a target, because of how its outputs push.
pub(super) fn by_builder(waits: TagsWait, target: &TargetName) -> Diagnostic {
    set_by_builder(waits, target)
        .help("push each target with one output, and not with `--publish=buildx`")
}

fn set_by_builder(waits: TagsWait, target: &TargetName) -> Diagnostic {
    let message = format!(
        "target `{target}` {}, because the builder sets its tags",
        waits.refusal()
    );
    Diagnostic::error(Class::Usage, waits.code(), message)
}
