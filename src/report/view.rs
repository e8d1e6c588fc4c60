//! The interface between the reporter and its views, and helpers that several views need.

use std::io;
use std::time::Duration;

use super::model::{Model, ModelChange, RowId, State};
use crate::diag::{Diagnostic, Severity};
use crate::event::Event;

/// The output that a view writes to.
pub(super) type Out<'a> = &'a mut dyn io::Write;

/// A way of showing a run while it is running.
pub(super) trait View: Send {
    /// Shows an event. `model` has applied it already, and `changes` are what it changed.
    fn event(
        &mut self,
        event: &Event,
        changes: &[ModelChange],
        model: &Model,
        out: Out<'_>,
    ) -> io::Result<()>;

    /// Shows what changes with time only, such as elapsed times. `now` is the time since the run began.
    fn tick(&mut self, model: &Model, now: Duration, out: Out<'_>) -> io::Result<()>;

    /// Returns the longest time between two ticks.
    fn interval(&self) -> Duration;

    /// Ends the view. What is written after it must start on a new line.
    fn close(&mut self, model: &Model, now: Duration, out: Out<'_>) -> io::Result<()>;
}

/// Whether a warning is about the result, or about a cache. Every view shows these: they say that an image may not be what it should
/// be, or explain a build that is slow.
pub(super) fn concerns_result(notice: &Diagnostic) -> bool {
    const CODES: [&str; 6] = [
        "run::context-changed",
        "run::cache-export",
        "run::cache-import",
        "run::cache-salvage",
        "run::cache-size",
        "run::no-local-cache",
    ];
    notice.severity == Severity::Warning && CODES.contains(&notice.code)
}

/// Rows that have ended, kept until it is clear that they do not start again.
///
/// The daemon works on a source several times with short breaks; a line for each would be useless.
#[derive(Debug, Default)]
pub(super) struct Settling {
    rows: Vec<(RowId, Duration)>,
}

/// How long a row must have been over before it is shown as ended.
const SETTLED: Duration = Duration::from_millis(300);

impl Settling {
    /// Records that a row ended at `now`.
    pub(super) fn ended(&mut self, row: RowId, now: Duration) {
        if !self.rows.iter().any(|(known, _)| *known == row) {
            self.rows.push((row, now));
        }
    }

    /// Records that a row began again.
    pub(super) fn started(&mut self, row: RowId) {
        self.rows.retain(|(known, _)| *known != row);
    }

    /// Removes and returns the rows that have been over for long enough, in the order in which they ended.
    pub(super) fn due(&mut self, now: Duration) -> Vec<RowId> {
        self.take(|_, since| now.saturating_sub(since) >= SETTLED)
    }

    /// Removes and returns the rows of which all targets are over, so that nothing more can happen.
    pub(super) fn of_ended_targets(&mut self, model: &Model) -> Vec<RowId> {
        self.take(|row, _| {
            let row = model.row(row);
            row.is_none_or(|row| {
                let mut targets = row.targets.iter().filter_map(|id| model.target(id));
                targets.all(|target| target.state.is_over())
            })
        })
    }

    /// Removes and returns all rows.
    pub(super) fn all(&mut self) -> Vec<RowId> {
        self.take(|_, _| true)
    }

    /// Removes and returns the rows for which `due` is true.
    fn take(&mut self, due: impl Fn(RowId, Duration) -> bool) -> Vec<RowId> {
        let mut taken = Vec::new();
        self.rows.retain(|(row, since)| {
            let due = due(*row, *since);
            if due {
                taken.push(*row);
            }
            !due
        });
        taken
    }
}

/// Whether a row that has ended cannot start again: steps run only once, and what failed is not tried again.
pub(super) fn is_final(model: &Model, row: RowId) -> bool {
    model.row(row).is_some_and(|row| {
        row.kind == super::model::name::WorkKind::Step
            || matches!(row.state, State::Failed | State::Cancelled)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_due_some_time_after_its_end() {
        let mut settling = Settling::default();
        let rows: Vec<RowId> = crate::report::model::tests::row_ids(3);
        let at = Duration::from_millis;
        settling.ended(rows[0], at(0));
        settling.ended(rows[1], at(100));
        settling.ended(rows[0], at(200));
        settling.started(rows[1]);
        settling.ended(rows[1], at(250));
        assert_eq!(settling.due(at(300)), [rows[0]]);
        assert_eq!(settling.due(at(400)), []);
        settling.ended(rows[2], at(420));
        assert_eq!(settling.all(), [rows[1], rows[2]]);
    }
}
