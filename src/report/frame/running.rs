//! The lines of what is running: rows, work on this machine and transfers, with amounts, times and the last lines
//! of output.

use std::time::Duration;

use crate::report::model::{Local, Model, Row, TargetSet, TimedTransfer};
use crate::report::style::{Look, StyledLine, TextRole};
use crate::report::{format, signs, text};

/// Housekeeping is shown only once it has taken longer than this, so that the view does not flicker.
const HOUSEKEEPING_DELAY: Duration = Duration::from_secs(1);
/// Transfers and local work are shown only once they have taken longer than this.
const TRANSFER_DELAY: Duration = Duration::from_millis(300);
/// The columns of a progress bar.
const BAR: usize = 12;

/// Something that is running.
pub(super) enum Item<'a> {
    Row(&'a Row),
    Local(&'a Local),
    Transfer(&'a TimedTransfer),
}

/// Returns what is running at the time `now` and is shown, ordered by start, earliest first.
pub(super) fn items(model: &Model, now: Duration) -> Vec<Item<'_>> {
    let transfers = model
        .transfers()
        .filter(|state| state.ended.is_none() && state.elapsed(now) > TRANSFER_DELAY);
    let locals = model
        .local()
        .filter(|local| local.ended.is_none() && local.elapsed(now) > TRANSFER_DELAY);
    let mut items: Vec<Item<'_>> = transfers
        .map(Item::Transfer)
        .chain(locals.map(Item::Local))
        .collect();
    let rows = model.running().iter().filter_map(|id| model.row(*id));
    let rows =
        rows.filter(|row| !row.kind.is_housekeeping() || row.elapsed(now) > HOUSEKEEPING_DELAY);
    items.extend(rows.map(Item::Row));
    items.sort_by_key(Item::since);
    items
}

impl Item<'_> {
    fn since(&self) -> Duration {
        match self {
            Self::Row(row) => row.since,
            Self::Local(local) => local.since,
            Self::Transfer(state) => state.since,
        }
    }

    /// The number of lines of output that could be shown, including an unfinished line.
    fn output(&self) -> usize {
        match self {
            Self::Row(row) => row.tail().len() + usize::from(row.partial_line().is_some()),
            Self::Local(_) | Self::Transfer(_) => 0,
        }
    }
}

/// Returns the lines of `items`, at most `room`.
pub(super) fn lines(
    model: &Model,
    items: &[Item<'_>],
    now: Duration,
    columns: usize,
    room: usize,
    look: &Look,
) -> Vec<StyledLine> {
    let shown = if items.len() > room {
        room.saturating_sub(1)
    } else {
        items.len()
    };
    let output = share(
        &items[..shown],
        room.saturating_sub(items.len().min(room)),
        look.log_lines,
    );
    let mut lines = Vec::new();
    for (item, output) in items.iter().zip(output) {
        lines.push(line(model, item, now, columns, look));
        if let Item::Row(row) = item {
            lines.extend(output_lines(row, output, look));
        }
    }
    if shown < items.len() && room > 0 {
        let more = items.len() - shown;
        lines.push(StyledLine::new().with(TextRole::Quiet, format!("  … {more} more running")));
    }
    lines
}

/// Returns how many lines of output each item gets. Lines are given to the items in turn, until the room or the
/// output is used up.
fn share(items: &[Item<'_>], mut room: usize, most: usize) -> Vec<usize> {
    let wanted: Vec<usize> = items.iter().map(|item| item.output().min(most)).collect();
    let mut given = vec![0; items.len()];
    while room > 0 {
        let before = room;
        for (given, wanted) in given.iter_mut().zip(&wanted) {
            if *given < *wanted && room > 0 {
                *given += 1;
                room -= 1;
            }
        }
        if room == before {
            break;
        }
    }
    given
}

/// Returns the last `count` lines of a row's output. An unfinished line counts as one.
fn output_lines<'a>(
    row: &'a Row,
    count: usize,
    look: &'a Look,
) -> impl Iterator<Item = StyledLine> + 'a {
    let partial = row.partial_line().filter(|_| count > 0);
    let finished = row.tail().last(count - usize::from(partial.is_some()));
    let texts = finished.map(|line| &*line.text).chain(partial);
    texts.map(move |text| {
        StyledLine::new().with(
            TextRole::Quiet,
            format!("   {} {text}", signs::output(look)),
        )
    })
}

fn line(model: &Model, item: &Item<'_>, now: Duration, columns: usize, look: &Look) -> StyledLine {
    let mut left = StyledLine::new();
    left.push(
        TextRole::Running,
        format!(" {} ", signs::spinner(now, look)),
    );
    let mut right = StyledLine::new();
    let elapsed = match item {
        Item::Row(row) => {
            left.push(TextRole::Plain, &*row.name);
            if columns >= 60 {
                right.push(TextRole::Quiet, target_names(model, &row.targets));
            }
            if let Some(amount) = row.amount() {
                push_amount(&mut right, amount.current, amount.total, columns, look);
            }
            row.elapsed(now)
        }
        Item::Local(local) => {
            left.push(TextRole::Plain, text::clean_name(&local.work.name, 200));
            push_amount(
                &mut right,
                local.work.current,
                local.work.total.unwrap_or(0),
                columns,
                look,
            );
            local.elapsed(now)
        }
        Item::Transfer(state) => {
            let transfer = &state.transfer;
            let (what, name) = format::transferred(transfer);
            left.push(TextRole::Plain, format!("sending {what}"));
            if let Some(name) = name.filter(|name| name != "context") {
                left.push(TextRole::Quiet, format!(" ({name})"));
            }
            let files = usize::try_from(transfer.files).unwrap_or(usize::MAX);
            if columns >= 60 {
                right.push(TextRole::Quiet, format::count(files, "file"));
            }
            push_amount(&mut right, transfer.bytes, 0, columns, look);
            state.elapsed(now)
        }
    };
    right.push(TextRole::Plain, format!("{:>8}", format::duration(elapsed)));
    left.with_right(right, columns)
}

/// Adds an amount to a line. `total` is 0 if it is unknown. Narrow terminals get fewer details.
fn push_amount(line: &mut StyledLine, current: u64, total: u64, columns: usize, look: &Look) {
    if current == 0 && total == 0 {
        return;
    }
    let Some(percent) = format::percent(current, total) else {
        line.push(TextRole::Plain, format!("  {}", format::bytes(current)));
        return;
    };
    if columns < 60 {
        line.push(TextRole::Plain, format!("  {percent}%"));
        return;
    }
    line.push(
        TextRole::Plain,
        format!("  {} / {}", format::bytes(current), format::bytes(total)),
    );
    if columns >= 80 {
        let (full, empty) = signs::bar(percent, BAR, look);
        line.push(TextRole::Plain, "  ");
        line.push(TextRole::Running, full);
        line.push(TextRole::Quiet, empty);
    }
}

/// Returns `web`, `web, celery` or `web, celery +3`. Empty if the run has only one target.
pub(in crate::report) fn target_names(model: &Model, targets: &TargetSet) -> String {
    const SHOWN: usize = 2;
    if model.targets().len() <= 1 {
        return String::new();
    }
    let names = targets.iter().filter_map(|id| model.target(id));
    let names: Vec<&str> = names
        .take(SHOWN)
        .map(|target| target.name.as_str())
        .collect();
    let names = text::fit(&names.join(", "), 32).into_owned();
    match targets.len().saturating_sub(SHOWN) {
        0 => names,
        more => format!("{names} +{more}"),
    }
}
