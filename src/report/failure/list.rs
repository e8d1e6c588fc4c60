//! The failures of a run that kept going (`--keep-going`), one line for each target: the last lines of the run.

use std::time::Duration;

use super::Failure;
use super::diagnostic::{names, what};
use crate::outcome::{FailureKind, Outcome, TargetOutcome};
use crate::report::model::{Model, TargetState};
use crate::report::style::{Look, StyledLine, TextRole};
use crate::report::{format, signs, text};

/// The most columns that names are padded to.
const MAX_NAME: usize = 32;
/// The least columns for the name of a step.
const MIN_STEP: usize = 24;
/// The columns of a line beside the names of the target and of the step.
const BESIDE: usize = " x   `` ended with exit code 127".len();
/// The most targets that are listed.
const MAX_LINES: usize = 500;

/// Returns the lines, at most `columns` wide. Empty unless the run kept going and several targets failed: a single failure was
/// just shown.
pub(super) fn lines(
    model: &Model,
    outcome: &Outcome,
    columns: usize,
    look: &Look,
) -> Vec<StyledLine> {
    let targets = outcome.targets.iter();
    let failed: Vec<Failure<'_>> = targets
        .filter_map(|(name, end)| match &**end {
            TargetOutcome::Failed(failure) if failure.kind != FailureKind::Cancelled => {
                Some(Failure {
                    targets: vec![name],
                    failure,
                })
            }
            _ => None,
        })
        .collect();
    if !outcome.kept_going || failed.len() < 2 {
        return Vec::new();
    }
    let of = format::count(outcome.targets.len(), "target");
    let heading = format!("{} of {of} failed:", failed.len());
    let mut lines = vec![
        StyledLine::new(),
        StyledLine::new().with(TextRole::Error, heading),
    ];
    let widths = failed
        .iter()
        .map(|failure| text::width(&names(&failure.targets)));
    let width = widths.max().unwrap_or(0).min(MAX_NAME);
    let step = columns.saturating_sub(width + BESIDE).max(MIN_STEP);
    let (sign, role) = signs::target(TargetState::Failed, Duration::ZERO, look);
    lines.extend(failed.iter().take(MAX_LINES).map(|failure| {
        StyledLine::new()
            .with(role, format!(" {sign} "))
            .with(TextRole::Strong, text::pad(&names(&failure.targets), width))
            .with(TextRole::Plain, format!("  {}", what(model, failure, step)))
            .fit(columns)
    }));
    let hidden = failed.len().saturating_sub(MAX_LINES);
    if hidden > 0 {
        lines.push(StyledLine::new().with(TextRole::Quiet, format!("   … {hidden} more")));
    }
    lines
}
