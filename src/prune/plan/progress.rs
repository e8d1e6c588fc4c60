//! How far a plan is carried out.

use super::{PrunePlan, PruneStep};

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepOutcome {
    /// The registry did it.
    Done,
    /// There was nothing to delete any more.
    AlreadyGone,
    /// The request failed.
    Failed,
    /// The check before the step failed.
    Refused,
    /// A step that must come first was not done.
    Blocked,
}

impl StepOutcome {
    const fn is_done(self) -> bool {
        matches!(self, Self::Done | Self::AlreadyGone)
    }
}

/// How many steps ended in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PruneTally {
    /// Steps that were done, or had nothing left to do.
    pub(crate) done: usize,
    /// Steps that failed.
    pub(crate) failed: usize,
    /// Steps that the check refused.
    pub(crate) refused: usize,
    /// Steps that were not tried, because an earlier one was not done.
    pub(crate) blocked: usize,
    /// Steps that were not reached.
    pub(crate) left: usize,
}

impl PruneTally {
    /// Whether all steps were done. One that failed is enough for the exit status of a failure.
    pub(crate) const fn is_success(self) -> bool {
        self.failed == 0 && self.refused == 0 && self.blocked == 0 && self.left == 0
    }
}

/// A plan that is being carried out, step by step.
///
/// If a step fails, the steps that need it are not made: the children of an index that is still there must stay. All
/// others are.
#[derive(Debug)]
pub(crate) struct PruneProgress<'p> {
    plan: &'p PrunePlan,
    outcomes: Vec<StepOutcome>,
}

impl<'p> PruneProgress<'p> {
    /// The progress of a plan of which nothing is done.
    pub(crate) const fn new(plan: &'p PrunePlan) -> Self {
        Self {
            plan,
            outcomes: Vec::new(),
        }
    }

    /// The next step. `None` if there is nothing left to do. The same step until [`Self::record`] is called.
    pub(crate) fn next_step(&mut self) -> Option<&'p PruneStep> {
        loop {
            let step = self.plan.steps().get(self.outcomes.len())?;
            let is_done = |need: &usize| {
                let outcome = self.outcomes.get(*need);
                outcome.is_some_and(|outcome| outcome.is_done())
            };
            if step.needs.iter().all(is_done) {
                return Some(step);
            }
            self.outcomes.push(StepOutcome::Blocked);
        }
    }

    /// Records how the step that [`Self::next_step`] returned has ended.
    pub(crate) fn record(&mut self, outcome: StepOutcome) {
        if self.outcomes.len() < self.plan.steps().len() {
            self.outcomes.push(outcome);
        }
    }

    /// The steps that were reached, and how they ended.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (&'p PruneStep, StepOutcome)> {
        self.plan.steps().iter().zip(self.outcomes.iter().copied())
    }

    /// How many steps ended in which way.
    pub(crate) fn tally(&self) -> PruneTally {
        let mut tally = PruneTally {
            left: self.plan.steps().len().saturating_sub(self.outcomes.len()),
            ..PruneTally::default()
        };
        for outcome in &self.outcomes {
            match outcome {
                StepOutcome::Done | StepOutcome::AlreadyGone => tally.done += 1,
                StepOutcome::Failed => tally.failed += 1,
                StepOutcome::Refused => tally.refused += 1,
                StepOutcome::Blocked => tally.blocked += 1,
            }
        }
        tally
    }
}
