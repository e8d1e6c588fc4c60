//! What of a cache is exported: the targets that succeeded, and the finished steps of those that did not.

use std::collections::BTreeMap;

use super::SharedCache;
use crate::engine::ReportedSteps;
use crate::engine::spec::SolveSpec;
use crate::outcome::{CancelReason, FailureKind, Solved, TargetOutcome};
use crate::run::Ready;
use crate::run::lower::{LocalCache, LoweredTarget};
use crate::run::ran_steps::RanSteps;
use crate::run::scheduler::Ends;
use crate::types::TargetName;

/// The solves of the targets that export caches, by target.
#[derive(Default)]
pub(in crate::run) struct CacheSolves(BTreeMap<TargetName, CacheSolve>);

struct CacheSolve {
    ready: Ready,
    spec: SolveSpec,
    local_caches: Vec<LocalCache>,
}

impl CacheSolves {
    /// Adds the solve of `ready`.
    pub(in crate::run) fn add(&mut self, ready: &Ready, lowered: &LoweredTarget) {
        let solve = CacheSolve {
            ready: ready.clone(),
            spec: lowered.spec.clone(),
            local_caches: lowered.local_caches.clone(),
        };
        self.0.insert(ready.planned.name.clone(), solve);
    }
}

/// A solve, and its steps if only those that finished are exported.
pub(super) struct ExportedSolve<'s> {
    pub(super) ready: &'s Ready,
    pub(super) spec: &'s SolveSpec,
    /// The directories of its caches.
    pub(super) local_caches: &'s [LocalCache],
    pub(super) steps: Option<ReportedSteps>,
}

/// The solves of one export.
pub(super) struct ExportWork<'s> {
    pub(super) solves: Vec<ExportedSolve<'s>>,
    /// The targets that succeeded.
    pub(super) built: Vec<(&'s TargetName, &'s Solved)>,
    /// Whether everything that the old cache may hold of this build is in the new one, too.
    pub(super) replaces_all: bool,
}

impl<'s> ExportWork<'s> {
    /// What is exported to `cache`. `None` if nothing is. With `salvages`, the steps of failed targets are, too.
    pub(super) fn of(
        cache: &SharedCache,
        solves: &'s CacheSolves,
        ends: &'s Ends,
        ran: &RanSteps,
        salvages: bool,
    ) -> Option<Self> {
        let mut work = Self {
            solves: Vec::new(),
            built: Vec::new(),
            replaces_all: true,
        };
        let mut salvaged = Vec::new();
        for (name, end) in ends {
            let found = solves.0.get(name);
            let Some(found) = found.filter(|_| cache.targets.contains(name)) else {
                continue;
            };
            let solve = |steps| ExportedSolve {
                ready: &found.ready,
                spec: &found.spec,
                local_caches: &found.local_caches,
                steps,
            };
            if let TargetOutcome::Succeeded(solved) = &**end {
                work.built.push((name, solved));
                work.solves.push(solve(None));
                continue;
            }
            let steps = ran.of(name);
            work.replaces_all &= steps.covers_all();
            if salvages && is_salvaged(end) {
                salvaged.push(solve(Some(steps)));
            }
        }
        // Without a new step, there is nothing that a cache does not have already.
        let has_new = |solve: &ExportedSolve<'_>| {
            let steps = solve.steps.as_ref();
            steps.is_some_and(ReportedSteps::has_executed)
        };
        if salvaged.iter().any(has_new) {
            work.solves.extend(salvaged);
        }
        work.replaces_all |= !ran.any_cached();
        (!work.solves.is_empty()).then_some(work)
    }

    /// Whether the export holds a whole target.
    pub(super) const fn has_built(&self) -> bool {
        !self.built.is_empty()
    }

    /// Whether the export holds steps of a target that did not succeed.
    pub(super) fn has_salvage(&self) -> bool {
        self.solves.iter().any(|solve| solve.steps.is_some())
    }

    /// The targets of the export.
    pub(super) fn targets(&self) -> impl Iterator<Item = &TargetName> {
        self.solves.iter().map(|solve| &solve.spec.target)
    }
}

/// Whether the steps of a target that ended in this way are exported: not if the user stopped the run, nor if the
/// builder was lost.
fn is_salvaged(end: &TargetOutcome) -> bool {
    match end {
        TargetOutcome::Failed(failure) => {
            !matches!(failure.kind, FailureKind::Engine | FailureKind::Cancelled)
        }
        TargetOutcome::Cancelled(reason) => matches!(reason, CancelReason::FirstFailure(_)),
        TargetOutcome::Succeeded(_) | TargetOutcome::Skipped { .. } => false,
    }
}
