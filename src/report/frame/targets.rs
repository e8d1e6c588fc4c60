//! The lines of the targets: one each, or as many as fit.

use std::time::Duration;

use crate::report::model::{Model, Row, RowId, State, TargetId, TargetModel, TargetState};
use crate::report::style::{Look, StyledLine, TextRole};
use crate::report::{format, signs, text};

/// After this time without a report of the builder, a target of which no step is running says so.
const SILENCE: Duration = Duration::from_secs(5);
/// The most columns that a name may take.
const MAX_NAME: usize = 28;

/// Returns the targets' lines at the time `now`, at most `room`.
pub(super) fn lines(
    model: &Model,
    now: Duration,
    columns: usize,
    room: usize,
    look: &Look,
) -> Vec<StyledLine> {
    let targets = model.targets();
    if room == 0 || targets.is_empty() {
        return Vec::new();
    }
    let all = targets.len() <= room;
    let shown = if all {
        (0..targets.len()).collect()
    } else {
        most_interesting(targets, room - 1)
    };
    let name_width = shown
        .iter()
        .map(|at| text::width(targets[*at].name.as_str()))
        .max()
        .unwrap_or(0);
    let name_width = name_width.min(MAX_NAME).min(columns / 3);
    let mut lines: Vec<StyledLine> = shown
        .iter()
        .map(|at| line(model, *at, name_width, now, columns, look))
        .collect();
    if !all {
        let hidden = (0..targets.len()).filter(|at| shown.binary_search(at).is_err());
        lines.push(fold(hidden.map(|at| targets[at].state)));
    }
    lines
}

/// Returns the positions of `count` targets to show, in the order of the plan. Failed targets are chosen first,
/// then running ones, waiting ones, stopped ones, and last the built ones, of which the most recent are preferred.
fn most_interesting(targets: &[TargetModel], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..targets.len()).collect();
    order.sort_by_key(|at| {
        let target = &targets[*at];
        match target.state {
            TargetState::Failed => (0, Duration::ZERO),
            TargetState::Running => (1, target.started.unwrap_or_default()),
            TargetState::Waiting => (2, Duration::ZERO),
            TargetState::Cancelled | TargetState::Skipped => (3, Duration::ZERO),
            TargetState::Succeeded => (
                4,
                Duration::MAX.saturating_sub(target.ended.unwrap_or_default()),
            ),
        }
    });
    order.truncate(count);
    order.sort_unstable();
    order
}

/// Returns the line that counts the targets that are not shown, by state.
fn fold(states: impl Iterator<Item = TargetState>) -> StyledLine {
    let mut counts = [0usize; 4];
    for state in states {
        counts[match state {
            TargetState::Running => 0,
            TargetState::Waiting => 1,
            TargetState::Succeeded => 2,
            TargetState::Failed | TargetState::Skipped | TargetState::Cancelled => 3,
        }] += 1;
    }
    let words = ["running", "waiting", "done", "not built"];
    let parts = counts.iter().zip(words).filter(|(count, _)| **count > 0);
    let parts: Vec<String> = parts
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    StyledLine::new().with(TextRole::Quiet, format!("  … {}", parts.join(", ")))
}

fn line(
    model: &Model,
    at: usize,
    name_width: usize,
    now: Duration,
    columns: usize,
    look: &Look,
) -> StyledLine {
    let target = &model.targets()[at];
    let (sign, role) = signs::target(target.state, now, look);
    let mut line = StyledLine::new();
    line.push(role, format!(" {sign} "));
    line.push(
        TextRole::Strong,
        text::pad(target.name.as_str(), name_width),
    );
    if target.started.is_none() && !target.state.is_over() {
        let waits = match target.queued {
            Some(limit) => format!("  waits: {limit} at once (--jobs)"),
            None => "  waiting".to_owned(),
        };
        line.push(TextRole::Quiet, waits);
        return line;
    }
    line.push(
        TextRole::Quiet,
        format!(" {:>6}", format::duration(target.elapsed(now))),
    );
    let steps = target.steps();
    if columns >= 36 {
        line.push(
            TextRole::Quiet,
            format!(
                " {:>7}",
                if steps.known == 0 {
                    String::new()
                } else {
                    format!("{}/{}", steps.ended, steps.known)
                }
            ),
        );
    }
    line.push(TextRole::Plain, "  ");
    match target.state {
        TargetState::Waiting => {}
        TargetState::Running => push_current(&mut line, model, target, now),
        TargetState::Succeeded => push_result(&mut line, target),
        TargetState::Failed => push_failed(&mut line, model, target),
        TargetState::Skipped => line.push(TextRole::Cancelled, "skipped"),
        TargetState::Cancelled => line.push(TextRole::Cancelled, "cancelled"),
    }
    line
}

/// Adds the name of the row that failed.
fn push_failed(line: &mut StyledLine, model: &Model, target: &TargetModel) {
    line.push(TextRole::Error, "failed");
    let mut rows = target.rows.iter().filter_map(|id| model.row(*id));
    if let Some(row) = rows.find(|row| row.state == State::Failed) {
        line.push(TextRole::Plain, format!(": {}", row.name));
    }
}

/// Adds what a running target is doing. Of its running rows, the one that started last is named.
fn push_current(line: &mut StyledLine, model: &Model, target: &TargetModel, now: Duration) {
    let Some(id) = model
        .targets()
        .iter()
        .position(|other| other.name == target.name)
    else {
        return;
    };
    let rows = || running_of(model, id);
    let main = rows().filter(|row| !row.kind.is_housekeeping()).last();
    let Some(row) = main.or_else(|| rows().last()) else {
        if let Some(limit) = target.queued {
            line.push(TextRole::Quiet, format!("waits: {limit} at once (--jobs)"));
        } else if let Some(silence) = model.silence_of(target, now)
            && silence >= SILENCE
        {
            let silence = format::seconds(silence);
            let text = format!("waits for the builder for {silence}");
            line.push(TextRole::Quiet, text);
        }
        return;
    };
    line.push(TextRole::Plain, &*row.name);
    let more = rows()
        .filter(|other| !other.kind.is_housekeeping())
        .count()
        .saturating_sub(1);
    if more > 0 && main.is_some() {
        line.push(TextRole::Quiet, format!(" +{more}"));
    }
}

fn running_of(model: &Model, at: usize) -> impl Iterator<Item = &Row> {
    let row = |id: &RowId| model.row(*id);
    let of_target = move |row: &&Row| row.targets.iter().any(|id: TargetId| id.index() == at);
    model.running().iter().filter_map(row).filter(of_target)
}

/// Adds the number of cached steps and the digest of a built target.
fn push_result(line: &mut StyledLine, target: &TargetModel) {
    let steps = target.steps();
    if steps.ended > 0 && steps.cached == steps.ended {
        line.push(TextRole::Quiet, "all cached");
    } else if steps.cached > 0 {
        line.push(TextRole::Quiet, format!("{} cached", steps.cached));
    }
    if let Some(crate::outcome::TargetOutcome::Succeeded(solved)) = target.outcome.as_deref()
        && let Some(digest) = solved.digest()
    {
        let gap = if steps.cached > 0 { "  " } else { "" };
        line.push(
            TextRole::Quiet,
            format!("{gap}{}:{}", digest.algorithm(), digest.short()),
        );
    }
}
