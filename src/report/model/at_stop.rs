//! What was running when a run began to stop. Afterwards, targets and steps end because of the stop, and nobody could say any more
//! what had taken so long.

use std::sync::Arc;
use std::time::Duration;

use super::{Model, State, TargetState};
use crate::types::TargetName;

/// The most targets that are kept.
const MAX_TARGETS: usize = 20;
/// The most steps that are kept of a target.
const MAX_STEPS: usize = 3;
/// The most pieces of work on this machine that are kept.
const MAX_LOCAL: usize = 10;

/// A step or work on this machine, and how long it had been running.
pub(crate) type RunningFor = (Arc<str>, Duration);

/// What was running.
#[derive(Debug, Clone, Default)]
pub(crate) struct AtStop {
    /// The targets that were running, in the order of the plan. Limited.
    pub(crate) targets: Vec<TargetAtStop>,
    /// The number of running targets that are not in the list.
    pub(crate) further: usize,
    /// The number of targets that had not begun.
    pub(crate) waiting: usize,
    /// Work on this machine. Limited.
    pub(crate) local: Vec<RunningFor>,
}

/// A target that was running.
#[derive(Debug, Clone)]
pub(crate) struct TargetAtStop {
    /// Its name.
    pub(crate) name: TargetName,
    /// How long it had been running.
    pub(crate) elapsed: Duration,
    /// Its running steps, the longest first. Limited.
    pub(crate) steps: Vec<RunningFor>,
}

impl AtStop {
    /// What is running now.
    pub(super) fn of(model: &Model) -> Self {
        let now = model.now;
        let is = |wanted: TargetState| {
            let targets = model.targets.iter();
            targets.filter(move |target| target.state == wanted)
        };
        let targets = is(TargetState::Running).take(MAX_TARGETS).map(|target| {
            let rows = target.rows.iter().filter_map(|id| model.row(*id));
            let running = rows.filter(|row| row.state == State::Running);
            let steps = running.map(|row| (Arc::clone(&row.name), row.elapsed(now)));
            let mut steps: Vec<RunningFor> = steps.collect();
            steps.sort_by_key(|(_, elapsed)| std::cmp::Reverse(*elapsed));
            steps.truncate(MAX_STEPS);
            TargetAtStop {
                name: target.name.clone(),
                elapsed: target.elapsed(now),
                steps,
            }
        });
        let local = model.local.values().filter(|local| local.ended.is_none());
        let local = local.take(MAX_LOCAL);
        Self {
            targets: targets.collect(),
            further: is(TargetState::Running).count().saturating_sub(MAX_TARGETS),
            waiting: is(TargetState::Waiting).count(),
            local: local
                .map(|local| (local.work.name.as_str().into(), local.elapsed(now)))
                .collect(),
        }
    }
}
