//! What of a cache is exported: the targets that succeeded, and the finished steps of those that did not.

use std::collections::BTreeMap;

use super::SharedCache;
use crate::engine::spec::SolveSpec;
use crate::engine::{ReportedSteps, SolvePart};
use crate::outcome::{CancelReason, FailureKind, Solved, TargetOutcome};
use crate::plan::TargetGraph;
use crate::run::Ready;
use crate::run::lower::{LocalCache, LoweredTarget};
use crate::run::ran_steps::RanSteps;
use crate::run::scheduler::Ends;
use crate::types::TargetName;

/// The solves of the targets that export caches and of those behind their links, by target.
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

impl CacheSolve {
    fn again(&self, part: SolvePart) -> ExportedSolve<'_> {
        ExportedSolve {
            ready: &self.ready,
            spec: &self.spec,
            local_caches: &self.local_caches,
            part,
        }
    }
}

/// A solve that the job asks for again.
#[derive(Clone)]
pub(super) struct ExportedSolve<'s> {
    pub(super) ready: &'s Ready,
    pub(super) spec: &'s SolveSpec,
    /// The directories of its caches.
    pub(super) local_caches: &'s [LocalCache],
    pub(super) part: SolvePart,
}

impl ExportedSolve<'_> {
    pub(super) const fn salvaged(&self) -> Option<&ReportedSteps> {
        match &self.part {
            SolvePart::Salvaged(steps) => Some(steps),
            SolvePart::Exported | SolvePart::Input => None,
        }
    }
}

/// The solves of one export.
pub(super) struct ExportWork<'s> {
    pub(super) solves: Vec<ExportedSolve<'s>>,
    /// All solves that may be asked for again.
    all: &'s CacheSolves,
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
            all: solves,
            built: Vec::new(),
            replaces_all: true,
        };
        let mut salvaged = Vec::new();
        for (name, end) in ends {
            let found = solves.0.get(name);
            let Some(found) = found.filter(|_| cache.targets.contains(name)) else {
                continue;
            };
            if let TargetOutcome::Succeeded(solved) = &**end {
                work.built.push((name, solved));
                work.solves.push(found.again(SolvePart::Exported));
                continue;
            }
            let steps = ran.of(name);
            work.replaces_all &= steps.covers_all();
            if salvages && is_salvaged(end, &steps) {
                salvaged.push(found.again(SolvePart::Salvaged(steps)));
            }
        }
        // Without a new step, there is nothing that a cache does not have already.
        let has_new =
            |solve: &ExportedSolve<'_>| solve.salvaged().is_some_and(ReportedSteps::has_executed);
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
        self.solves.iter().any(|solve| solve.salvaged().is_some())
    }

    /// `solves`, which are of this export, and those behind their links. Each comes after those that it links to.
    pub(super) fn with_inputs(
        &self,
        solves: &[&ExportedSolve<'s>],
        graph: &TargetGraph,
    ) -> Vec<ExportedSolve<'s>> {
        let mut wanted: BTreeMap<&TargetName, ExportedSolve<'s>> = BTreeMap::new();
        for solve in solves {
            for parent in graph.behind(&solve.spec.target) {
                if let Some(found) = self.all.0.get(parent) {
                    let input = || found.again(SolvePart::Input);
                    wanted.entry(parent).or_insert_with(input);
                }
            }
        }
        for solve in solves {
            wanted.insert(&solve.spec.target, (*solve).clone());
        }
        let ordered = graph.order();
        ordered.filter_map(|name| wanted.remove(name)).collect()
    }

    /// The targets of the export.
    pub(super) fn targets(&self) -> impl Iterator<Item = &TargetName> {
        self.solves.iter().map(|solve| &solve.spec.target)
    }
}

/// Whether the steps of a target that ended in this way are exported: not if the user stopped the run, nor if the
/// builder was lost.
fn is_salvaged(end: &TargetOutcome, steps: &ReportedSteps) -> bool {
    match end {
        TargetOutcome::Failed(failure) => {
            !matches!(failure.kind, FailureKind::Engine | FailureKind::Cancelled)
        }
        TargetOutcome::Cancelled(reason) => matches!(reason, CancelReason::FirstFailure(_)),
        // A target that failed together with one that it links to has run steps of its own.
        TargetOutcome::Skipped { .. } => steps.has_executed(),
        TargetOutcome::Succeeded(_) => false,
    }
}
