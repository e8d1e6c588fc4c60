//! Targets of which nothing is running and nothing is heard: what a user would take for a hang.

use std::time::Duration;

use super::{Model, Row, State, TargetModel, TargetState};

impl Model {
    /// The running targets of which the builder has reported nothing for `patience`, although none of their steps is running, with the
    /// time since the last report. Empty while this machine does something for the run, which is shown, too.
    pub(crate) fn silent(
        &self,
        now: Duration,
        patience: Duration,
    ) -> Vec<(&TargetModel, Duration)> {
        let is_busy = self.local().any(|local| local.ended.is_none())
            || self.transfers().any(|transfer| transfer.ended.is_none());
        if is_busy {
            return Vec::new();
        }
        let targets = self.targets.iter().filter_map(|target| {
            let silence = self.silence_of(target, now)?;
            (silence >= patience).then_some((target, silence))
        });
        targets.collect()
    }

    /// How long the builder has reported nothing of a running target of which no step is running. `None` for every other target.
    pub(crate) fn silence_of(&self, target: &TargetModel, now: Duration) -> Option<Duration> {
        let waits = target.state == TargetState::Running && target.queued.is_none();
        let mut rows = target.rows.iter().filter_map(|id| self.row(*id));
        let is_working = rows.any(|row| row.state == State::Running);
        (waits && !is_working).then(|| now.saturating_sub(target.heard))
    }

    /// The step of a target that ended last.
    pub(crate) fn last_step(&self, target: &TargetModel) -> Option<&Row> {
        let rows = target.rows.iter().filter_map(|id| self.row(*id));
        let over = rows.filter(|row| row.state.is_over() && !row.kind.is_housekeeping());
        over.max_by_key(|row| row.since)
    }
}
