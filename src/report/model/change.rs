//! What an event changed, for views that tell things one after the other.

use super::ids::{RowId, TargetId};
use super::log::LogLine;

/// A change of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelChange {
    /// The builder and the targets are known.
    RunStarted,
    /// A target's solve was sent.
    TargetStarted(TargetId),
    /// A target ended.
    TargetEnded(TargetId),
    /// A target's solve reports a row for the first time.
    RowJoined(RowId, TargetId),
    /// Work on a row began, or began again.
    RowStarted(RowId),
    /// A row is over, for all that is known now: sources may start again.
    RowEnded(RowId),
    /// A part of a row is done; its position in the row's progress.
    PartEnded(RowId, usize),
    /// A row wrote a line.
    Line(RowId, LogLine),
    /// A warning of the frontend that was not heard before; its position in the model's warnings.
    Warning(usize),
    /// A notice; its position in the model's notices.
    Notice(usize),
    /// Work of this machine began; its position in the model's local work.
    LocalStarted(usize),
    /// Work of this machine ended.
    LocalEnded(usize),
    /// A directory transfer ended; its position in the model's transfers.
    TransferEnded(usize),
    /// The user asked to stop.
    Stopping,
    /// All is over.
    RunEnded,
}
