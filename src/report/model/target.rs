//! A target in the display: its state, its rows, and how many of its steps were cached.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::ids::RowId;
use crate::outcome::TargetOutcome;
use crate::types::TargetName;

/// The state of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TargetState {
    /// The solve was not sent yet.
    Waiting,
    /// The solve was sent and has not ended.
    Running,
    /// The target was built.
    Succeeded,
    /// The solve, or something that it needed, failed.
    Failed,
    /// The target was not built, because a target that it needs did not succeed.
    Skipped,
    /// The target was stopped.
    Cancelled,
}

impl TargetState {
    /// Whether nothing more will happen to it.
    pub(crate) const fn is_over(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

/// The number of steps and how they ended.
///
/// Steps are the work that a Dockerfile asks for. Images that it starts from, the frontend's housekeeping and
/// exports are not counted. A step may have several digests in one target: solves that share work report the
/// shared vertex, and also their own vertex, as cached. Steps are counted by name, so such a step counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StepCount {
    /// Steps that are known so far.
    pub(crate) known: usize,
    /// Steps that have ended.
    pub(crate) ended: usize,
    /// Steps whose result came from the cache.
    pub(crate) cached: usize,
}

/// How a step ended in one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepEnd {
    Open,
    Ran,
    Cached,
}

/// How many vertices with the same name ended in which way.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    ran: u32,
    cached: u32,
}

impl Tally {
    fn of(&mut self, end: StepEnd) -> Option<&mut u32> {
        match end {
            StepEnd::Open => None,
            StepEnd::Ran => Some(&mut self.ran),
            StepEnd::Cached => Some(&mut self.cached),
        }
    }
}

/// A target of the run.
#[derive(Debug)]
pub struct TargetModel {
    /// The name of the target.
    pub(crate) name: TargetName,
    /// The current state.
    pub(crate) state: TargetState,
    /// When its solve was sent, as time since the run began.
    pub(crate) started: Option<Duration>,
    /// The most targets that are solved at once, if it waits because of that.
    pub(crate) queued: Option<NonZeroU32>,
    /// When it began to wait last, as time since the run began. `None` if it never did.
    pub(crate) queued_since: Option<Duration>,
    /// When it ended, as time since the run began.
    pub(crate) ended: Option<Duration>,
    /// When the builder last reported anything of it, or it was started, as time since the run began.
    pub(crate) heard: Duration,
    /// How it ended; `None` until then.
    pub(crate) outcome: Option<Arc<TargetOutcome>>,
    /// Its rows, in the order in which its solve first reported them.
    pub(crate) rows: Vec<RowId>,
    /// The steps by name.
    tallies: HashMap<Arc<str>, Tally>,
    steps: StepCount,
}

impl TargetModel {
    pub(super) fn new(name: TargetName) -> Self {
        Self {
            name,
            state: TargetState::Waiting,
            started: None,
            queued: None,
            queued_since: None,
            ended: None,
            heard: Duration::ZERO,
            outcome: None,
            rows: Vec::new(),
            tallies: HashMap::new(),
            steps: StepCount::default(),
        }
    }

    /// Returns the counts of its steps. If the target was built, steps that never started were not needed and are
    /// not counted.
    pub(crate) fn steps(&self) -> StepCount {
        let mut steps = self.steps;
        if self.state == TargetState::Succeeded {
            steps.known = steps.ended;
        }
        steps
    }

    /// Returns the time from sending its solve to its end, or to `now` if it is still running. Zero if it was not
    /// started.
    pub(crate) fn elapsed(&self, now: Duration) -> Duration {
        self.started.map_or(Duration::ZERO, |started| {
            self.ended.unwrap_or(now).saturating_sub(started)
        })
    }

    /// Records that a step called `name` exists.
    pub(super) fn know_step(&mut self, name: &Arc<str>) {
        if !self.tallies.contains_key(name) {
            self.tallies.insert(name.clone(), Tally::default());
            self.steps.known += 1;
        }
    }

    /// Records that a vertex called `name` changed from `before` to `after`.
    pub(super) fn move_step(&mut self, name: &Arc<str>, before: StepEnd, after: StepEnd) {
        self.know_step(name);
        let Some(tally) = self.tallies.get_mut(name) else {
            return;
        };
        let (was_ended, was_cached) = (
            tally.ran + tally.cached > 0,
            tally.ran == 0 && tally.cached > 0,
        );
        if let Some(count) = tally.of(before) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = tally.of(after) {
            *count += 1;
        }
        let (is_ended, is_cached) = (
            tally.ran + tally.cached > 0,
            tally.ran == 0 && tally.cached > 0,
        );
        self.steps.ended = self.steps.ended + usize::from(is_ended) - usize::from(was_ended);
        self.steps.cached = self.steps.cached + usize::from(is_cached) - usize::from(was_cached);
    }

    /// Whether a step called `name` was executed for this target, not only taken from the cache.
    pub(super) fn ran(&self, name: &str) -> bool {
        self.tallies.get(name).is_some_and(|tally| tally.ran > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_with_two_digests_counts_once() {
        let mut target = TargetModel::new("web".parse().unwrap());
        let name: Arc<str> = "[2/2] RUN make".into();
        target.know_step(&name);
        assert_eq!(
            target.steps(),
            StepCount {
                known: 1,
                ended: 0,
                cached: 0
            }
        );
        target.move_step(&name, StepEnd::Open, StepEnd::Cached);
        assert_eq!(
            target.steps(),
            StepCount {
                known: 1,
                ended: 1,
                cached: 1
            }
        );
        target.move_step(&name, StepEnd::Open, StepEnd::Ran);
        assert_eq!(
            target.steps(),
            StepCount {
                known: 1,
                ended: 1,
                cached: 0
            }
        );
        target.move_step(&name, StepEnd::Ran, StepEnd::Open);
        assert_eq!(
            target.steps(),
            StepCount {
                known: 1,
                ended: 1,
                cached: 1
            }
        );
    }
}
