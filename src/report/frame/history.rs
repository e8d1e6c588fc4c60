//! Lines that stay in the terminal's scrollback when something ends, so that the user can read later what
//! happened.

use std::time::Duration;

use super::running::target_names;
use crate::report::model::name::WorkKind;
use crate::report::model::{Model, Row, State, TargetModel, TargetState};
use crate::report::style::{Look, StyledLine, TextRole};
use crate::report::{format, signs};

/// Housekeeping, sources and exports leave a line only if they took longer than this.
const NOTEWORTHY: Duration = Duration::from_secs(1);

/// Returns the line that a row leaves behind. `None` if the row is not worth a line, such as a cached step.
pub(crate) fn row(
    model: &Model,
    row: &Row,
    now: Duration,
    columns: usize,
    look: &Look,
) -> Option<StyledLine> {
    let elapsed = row.elapsed(now);
    match row.state {
        State::Pending | State::Running | State::Cached => return None,
        State::Done if row.kind != WorkKind::Step && elapsed < NOTEWORTHY => return None,
        State::Done | State::Failed | State::Cancelled => {}
    }
    let (sign, role) = signs::row(row.state, now, look);
    let left = StyledLine::new()
        .with(role, format!(" {sign} "))
        .with(TextRole::Plain, &*row.name);
    let mut right = StyledLine::new();
    if columns >= 60 {
        right.push(TextRole::Quiet, target_names(model, &row.targets));
    }
    if let Some(amount) = row.amount().filter(|amount| amount.total > 0) {
        right.push(
            TextRole::Quiet,
            format!("  {}", format::bytes(amount.total)),
        );
    }
    right.push(TextRole::Quiet, format!("{:>8}", format::duration(elapsed)));
    Some(left.with_right(right, columns))
}

/// Returns the line that a target leaves behind.
pub(crate) fn target(target: &TargetModel, now: Duration, look: &Look) -> StyledLine {
    let (sign, role) = signs::target(target.state, now, look);
    let mut line = StyledLine::new()
        .with(role, format!(" {sign} "))
        .with(TextRole::Strong, target.name.as_str());
    let steps = target.steps();
    let (words, after) = match target.state {
        TargetState::Waiting | TargetState::Running => ("", "for"),
        TargetState::Succeeded => (" built", "in"),
        TargetState::Failed => (" failed", "after"),
        TargetState::Skipped => (" skipped", "after"),
        TargetState::Cancelled => (" cancelled", "after"),
    };
    line.push(role, words);
    if target.started.is_some() {
        let elapsed = format::duration(target.elapsed(now));
        line.push(TextRole::Quiet, format!(" {after} {elapsed}"));
    }
    if target.state == TargetState::Succeeded && steps.ended > 0 {
        line.push(
            TextRole::Quiet,
            format!(", {}/{} steps cached", steps.cached, steps.ended),
        );
    }
    line
}
