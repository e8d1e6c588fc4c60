//! What an event changed in the model, for views that print one thing after the other.

use super::ids::{RowId, TargetId};
use super::log::LogLine;

/// A change of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelChange {
    /// The builder and the targets are known now.
    RunStarted,
    /// A target's solve was sent.
    TargetStarted(TargetId),
    /// A target waits for one of the slots that `--jobs` allows.
    TargetQueued(TargetId),
    /// A target ended.
    TargetEnded(TargetId),
    /// The solve of a target reports a row for the first time. Several targets may share a row.
    RowJoined(RowId, TargetId),
    /// Work on a row began, or began again.
    RowStarted(RowId),
    /// A row ended, as far as is known now. Sources may start again.
    RowEnded(RowId),
    /// A part of a row is done. The number is its position in the row's progress.
    PartEnded(RowId, usize),
    /// A row wrote a line of output.
    Line(RowId, LogLine),
    /// The frontend sent a warning that was not known before. The number is its position in the model's warnings.
    Warning(usize),
    /// A notice arrived. The number is its position in the model's notices.
    Notice(usize),
    /// Work on this machine began. The number is its position in the model's local work.
    LocalStarted(usize),
    /// Work on this machine ended. The number is the same as for its start.
    LocalEnded(usize),
    /// A directory transfer ended. The number is its position in the model's transfers.
    TransferEnded(usize),
    /// The user asked to stop.
    Stopping,
    /// The run is over.
    RunEnded,
}
