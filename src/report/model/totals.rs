//! Counts steps and transferred files of the whole run.

use super::name::WorkKind;
use super::target::StepEnd;
use super::{Model, Row, State, StepCount};

/// Numbers of the whole run, for the summary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// The steps. A step that several targets share is counted once.
    pub(crate) steps: StepCount,
    /// The bytes of file content that were sent.
    pub(crate) bytes_sent: u64,
    /// The number of files whose content was sent.
    pub(crate) files_sent: u64,
    /// The number of files and directories that were listed to the engine.
    pub(crate) entries: u64,
}

impl Model {
    /// Computes the numbers of the whole run. Looks at every row, so do not call it for each event.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for row in self.rows.iter().filter(|row| row.kind == WorkKind::Step) {
            self.count_row(row, &mut totals.steps);
        }
        for state in self.transfers.values() {
            totals.bytes_sent = totals.bytes_sent.saturating_add(state.transfer.bytes);
            totals.files_sent = totals.files_sent.saturating_add(state.transfer.files);
            totals.entries = totals.entries.saturating_add(state.transfer.entries);
        }
        totals
    }

    /// Adds a row to the counts of steps, unless it repeats another row or was not needed.
    fn count_row(&self, row: &Row, steps: &mut StepCount) {
        let members = || {
            row.members
                .iter()
                .filter_map(|at| self.vertices.get(*at as usize))
        };
        let ends = || {
            members()
                .flat_map(|vertex| &vertex.shares)
                .map(|share| (share.target, share.end()))
        };
        let ran = ends().any(|(_, end)| end == StepEnd::Ran);
        let cached = !ran && ends().any(|(_, end)| end == StepEnd::Cached);
        // If another vertex did the work of this step for the target, the target reports that vertex, and its own
        // one as cached. It is one step, so the cached one is not counted.
        if cached
            && ends().any(|(id, _)| self.target(id).is_some_and(|target| target.ran(&row.name)))
        {
            return;
        }
        // A step that never started, and whose targets are all over, was not needed.
        let open = !ran && !cached;
        let alive = |(id, _)| {
            self.target(id)
                .is_some_and(|target| !target.state.is_over())
        };
        if open && !ends().any(alive) {
            return;
        }
        steps.known += 1;
        steps.ended += usize::from(!open);
        steps.cached += usize::from(cached);
    }

    /// Whether a row only repeats a step: the work was done in another row with the same name for the same
    /// targets, and this row reports the result as cached.
    pub(crate) fn is_echo(&self, row: &Row) -> bool {
        row.kind == WorkKind::Step
            && row.state == State::Cached
            && row
                .targets
                .iter()
                .all(|id| self.target(id).is_some_and(|target| target.ran(&row.name)))
    }

    /// Returns the `count` rows that took longest, the longest first. Only rows that are done or failed, none from
    /// the cache.
    pub(crate) fn slowest(&self, count: usize) -> Vec<&Row> {
        let over = |row: &&Row| matches!(row.state, State::Done | State::Failed);
        let mut rows: Vec<&Row> = self.rows.iter().filter(over).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.busy.total()));
        rows.truncate(count);
        rows
    }
}
