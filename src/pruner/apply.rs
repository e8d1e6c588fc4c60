//! Makes the steps of a plan.
//!
//! Registries cannot delete something only if nothing needs it. So before each step, rbake lists the tags, and looks up
//! those of the step; if a tag is new or has moved, it reads the repository again. In any case, it does so after a second,
//! or after as long as the last reading took. A tag that another program moves within this time to what is being deleted
//! is not noticed; rbake's own runs are, because they write their record, which has a tag, before they move one.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::begin::Pruning;
use super::read::{ReferrersOf, digest_now};
use super::watch::PrunePhase;
use super::{PruneError, lease};
use crate::prune::plan::{
    DeniedDeletion, PruneAct, PruneProgress, PruneRecheck, PruneStep, PruneTally, StalePlan,
    StepOutcome,
};
use crate::prune::record::{PruneEvent, PruneStatus};
use crate::registry::{Deletion, Untagged};
use crate::types::causes::in_one_line;

/// How long a reading serves for further steps, at least.
const READING_LIFE: Duration = Duration::from_secs(1);

/// How old the last reading is.
#[derive(Debug, Default)]
pub(super) struct ReadingAge {
    ended: Option<(Instant, Duration)>,
}

impl ReadingAge {
    fn is_over(&self) -> bool {
        self.ended
            .is_none_or(|(ended, took)| ended.elapsed() >= took.max(READING_LIFE))
    }
}

/// A step that ended.
#[derive(Debug, Clone)]
pub(crate) struct EndedStep {
    /// The step.
    pub(crate) step: PruneStep,
    /// How it ended.
    pub(crate) outcome: StepOutcome,
    /// Why it was not made. `None` if it was, or if only an earlier step prevented it.
    pub(crate) why: Option<String>,
}

/// Why no further steps were made.
#[derive(Debug)]
pub(crate) enum PruneStop {
    /// All steps were reached.
    End,
    /// The user interrupted it.
    Interrupted,
    /// This prevents all further steps.
    Error(PruneError),
}

/// The result of a step.
struct StepEnd {
    outcome: StepOutcome,
    why: Option<String>,
}

impl Pruning {
    /// Makes the steps until all are reached, or `stop` is cancelled. A step that has begun is ended.
    ///
    /// The record has an outcome for each step that was reached.
    pub(crate) async fn carry_out(
        &mut self,
        stop: &CancellationToken,
    ) -> (Vec<EndedStep>, PruneTally, PruneStop) {
        let plan = self.plan.clone();
        let mut progress = PruneProgress::new(&plan);
        let mut recheck: Option<PruneRecheck<'_>> = None;
        let mut ended = Vec::new();
        let watch = self.reader.watch.clone();
        let end = loop {
            watch.begin(PrunePhase::Deleting, plan.steps().len());
            progress.outcomes().for_each(|_| watch.count());
            let Some(step) = progress.next_step() else {
                break PruneStop::End;
            };
            if stop.is_cancelled() {
                break PruneStop::Interrupted;
            }
            let end = match self.step(&plan, step, &mut recheck).await {
                Ok(end) => end,
                Err(error) => break PruneStop::Error(error),
            };
            let number = progress.outcomes().count();
            progress.record(end.outcome);
            ended.push(EndedStep {
                step: step.clone(),
                outcome: end.outcome,
                why: end.why,
            });
            let event = PruneEvent::Ended(number, end.outcome);
            if let Err(error) = self.record.write(vec![event]).await {
                break PruneStop::Error(error);
            }
        };
        let tally = progress.tally();
        let blocked = progress
            .outcomes()
            .filter(|(_, outcome)| *outcome == StepOutcome::Blocked);
        ended.extend(blocked.map(|(step, outcome)| EndedStep {
            step: step.clone(),
            outcome,
            why: None,
        }));
        let status = if tally.is_success() {
            PruneStatus::Complete
        } else {
            PruneStatus::Partial
        };
        let end = match (end, self.end(status).await) {
            (PruneStop::End, Err(error)) => PruneStop::Error(error),
            (end, _) => end,
        };
        (ended, tally, end)
    }

    /// Checks a step and makes it.
    ///
    /// # Errors
    /// No further step may be made.
    async fn step<'p>(
        &mut self,
        plan: &'p crate::prune::plan::PrunePlan,
        step: &PruneStep,
        recheck: &mut Option<PruneRecheck<'p>>,
    ) -> Result<StepEnd, PruneError> {
        self.lease.keep().await?;
        let is_current = match recheck {
            Some(recheck) => !self.age.is_over() && self.is_current(recheck, step).await?,
            None => false,
        };
        if !is_current {
            let began = Instant::now();
            let fresh = self
                .reader
                .read_again(ReferrersOf::One(&step.digest))
                .await?;
            *recheck = Some(plan.recheck(&fresh, &self.request.roots)?);
            self.age.ended = Some((Instant::now(), began.elapsed()));
            // A long reading may have used up the lease.
            self.lease.keep().await?;
        }
        let Some(recheck) = recheck else {
            return Err(StalePlan::Closed.into());
        };
        if let Err(stale) = recheck.allows(step) {
            return Ok(StepEnd {
                outcome: StepOutcome::Refused,
                why: Some(stale.to_string()),
            });
        }
        let end = self.perform(step).await?;
        if matches!(end.outcome, StepOutcome::Done | StepOutcome::AlreadyGone) {
            recheck.made(step);
            if step.act == PruneAct::DeleteManifest {
                self.reader.forget(&step.digest);
            }
        }
        Ok(end)
    }

    /// Whether the tags are those of `recheck`, as far as a list tells, and the tags of the step have not moved.
    async fn is_current(
        &self,
        recheck: &PruneRecheck<'_>,
        step: &PruneStep,
    ) -> Result<bool, PruneError> {
        let repository = &self.reader.repository;
        let tags = repository.tags().await?.unwrap_or_default();
        let mut ours = tags.iter().filter(|tag| lease::run_of(tag).is_none());
        if !ours.all(|tag| recheck.tags().contains_key(tag)) {
            return Ok(false);
        }
        for tag in step.tags.keys() {
            if digest_now(repository, tag).await?.as_ref() != Some(&step.digest) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn perform(&self, step: &PruneStep) -> Result<StepEnd, PruneError> {
        let deleter = &self.reader.deleter;
        let denies_all = deleter.traits().denied == DeniedDeletion::All;
        let made = match &step.act {
            PruneAct::RemoveTag(tag) => deleter
                .remove_tag(tag, &step.digest, self.reader.manifest(&step.digest))
                .await
                .map(|end| match end {
                    Untagged::Removed => StepEnd::done(),
                    Untagged::Gone => StepEnd::gone(),
                    Untagged::Moved { now } => StepEnd {
                        outcome: StepOutcome::Refused,
                        why: Some(format!("the tag `{tag}` points to `{now}` by now")),
                    },
                    Untagged::Unsupported => {
                        StepEnd::failed("the registry does not remove tags".to_owned())
                    }
                }),
            PruneAct::DeleteManifest => deleter.delete(&step.digest).await.map(|end| match end {
                Deletion::Deleted => StepEnd::done(),
                Deletion::NotFound => StepEnd::gone(),
                Deletion::Unsupported => {
                    StepEnd::failed("the registry does not delete manifests".to_owned())
                }
            }),
        };
        match made {
            Ok(end) => Ok(end),
            // All further requests would fail, too.
            Err(PruneError::Registry(error))
                if error.is_stop()
                    || error.is_unreachable()
                    || error.fault.is_denial() && denies_all =>
            {
                Err(error.into())
            }
            Err(error) => Ok(StepEnd::failed(in_one_line(&error))),
        }
    }
}

impl StepEnd {
    const fn done() -> Self {
        Self {
            outcome: StepOutcome::Done,
            why: None,
        }
    }

    const fn gone() -> Self {
        Self {
            outcome: StepOutcome::AlreadyGone,
            why: None,
        }
    }

    const fn failed(why: String) -> Self {
        Self {
            outcome: StepOutcome::Failed,
            why: Some(why),
        }
    }
}
