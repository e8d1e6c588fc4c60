//! What every view is to the reporter, and what several of them need.

use std::io;
use std::time::Duration;

use super::model::{Model, ModelChange, RowId, State};
use crate::event::Event;

/// Where a view writes.
pub(super) type Out<'a> = &'a mut dyn io::Write;

/// A way of showing a run while it goes on.
pub(super) trait View: Send {
    /// Shows an event that `model` has taken in, with what it changed.
    fn event(
        &mut self,
        event: &Event,
        changes: &[ModelChange],
        model: &Model,
        out: Out<'_>,
    ) -> io::Result<()>;

    /// Shows what time alone changes; `now` is time since the run began.
    fn tick(&mut self, model: &Model, now: Duration, out: Out<'_>) -> io::Result<()>;

    /// Longest time between ticks while something goes on.
    fn interval(&self) -> Duration;

    /// Ends the view; what is written next starts on a line of its own.
    fn close(&mut self, model: &Model, now: Duration, out: Out<'_>) -> io::Result<()>;
}

/// Rows that are over, until it is clear that they stay so.
///
/// The daemon works on a source several times with little between; a line for each would tell nothing.
#[derive(Debug, Default)]
pub(super) struct Settling {
    rows: Vec<(RowId, Duration)>,
}

/// How long a row must have been over.
const SETTLED: Duration = Duration::from_millis(300);

impl Settling {
    /// Takes note that a row is over.
    pub(super) fn ended(&mut self, row: RowId, now: Duration) {
        if !self.rows.iter().any(|(known, _)| *known == row) {
            self.rows.push((row, now));
        }
    }

    /// Takes note that a row began again.
    pub(super) fn started(&mut self, row: RowId) {
        self.rows.retain(|(known, _)| *known != row);
    }

    /// The rows that are settled at `now`, in the order in which they ended.
    pub(super) fn due(&mut self, now: Duration) -> Vec<RowId> {
        self.take(|_, since| now.saturating_sub(since) >= SETTLED)
    }

    /// The rows for which nothing more will come: all of their targets are over.
    pub(super) fn of_ended_targets(&mut self, model: &Model) -> Vec<RowId> {
        self.take(|row, _| {
            let row = model.row(row);
            row.is_none_or(|row| {
                let mut targets = row.targets.iter().filter_map(|id| model.target(id));
                targets.all(|target| target.state.is_over())
            })
        })
    }

    /// All rows.
    pub(super) fn all(&mut self) -> Vec<RowId> {
        self.take(|_, _| true)
    }

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

/// Whether a row that is over now can only stay so: steps are worked on once, and what failed is not tried again.
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
    fn rows_settle() {
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
