//! The first line of the live view: the progress of the whole run.

use std::time::Duration;

use crate::report::model::{Model, TargetState};
use crate::report::style::{Look, StyledLine, TextRole};
use crate::report::{format, text};

/// Returns the header at the time `now`, `columns` wide.
pub(super) fn line(model: &Model, now: Duration, columns: usize, _look: &Look) -> StyledLine {
    let targets = model.targets();
    let over = targets
        .iter()
        .filter(|target| target.state.is_over())
        .count();
    let failed = targets
        .iter()
        .filter(|target| target.state == TargetState::Failed)
        .count();

    let mut left = StyledLine::new();
    match model.stopping() {
        Some(reason) => left.push(
            TextRole::Cancelled,
            format!("Stopping: {}", text::clean_name(reason, 100)),
        ),
        None if model.is_over() => left.push(TextRole::Strong, "Done"),
        None => left.push(TextRole::Strong, "Building"),
    }
    left.push(
        TextRole::Plain,
        format!(" {over}/{}", format::count(targets.len(), "target")),
    );
    if failed > 0 {
        left.push(TextRole::Error, format!(", {failed} failed"));
    }

    let (mut known, mut ended) = (0, 0);
    for target in targets {
        known += target.steps().known;
        ended += target.steps().ended;
    }
    let sent: u64 = model
        .transfers()
        .map(|state| state.transfer.bytes)
        .fold(0, u64::saturating_add);
    // If there is not enough room, the first of these is dropped first.
    let mut extras = Vec::new();
    if !model.builder().is_empty() {
        extras.push(text::clean_name(model.builder(), 40));
    }
    if sent > 0 {
        extras.push(format!("{} sent", format::bytes(sent)));
    }
    if known > 0 {
        extras.push(format!("{ended}/{known} steps"));
    }
    let elapsed = format::seconds(now);
    let needed = |extras: &[String]| {
        let widths = extras.iter().map(|extra| text::width(extra) + 3);
        left.width() + 1 + widths.sum::<usize>() + elapsed.len()
    };
    let first = (0..=extras.len()).find(|from| needed(&extras[*from..]) <= columns);
    let mut right = StyledLine::new();
    for extra in &extras[first.unwrap_or(extras.len())..] {
        right.push(TextRole::Quiet, format!("{extra} · "));
    }
    right.push(TextRole::Strong, elapsed);
    left.with_right(right, columns)
}
