//! Draws the live view as a pure function of the model, the time and the terminal's size.
//!
//! From top to bottom: a header, a line for each target, and what is running, with its last lines of output. If
//! there is not enough room, targets that are finished or waiting are folded into one line, and output is shown as
//! far as it fits. [`history`] makes the lines that stay in the terminal's scrollback.

mod header;
pub(crate) mod history;
mod running;
mod targets;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub(super) use running::target_names;

use super::model::Model;
use super::style::{Look, StyledLine};

/// The view is made for at least this many columns. On a narrower terminal, its lines are cut.
const MIN_COLUMNS: usize = 20;

/// Returns the lines of the live view at the time `now`: at most `rows` lines of at most `cols` columns.
pub fn frame(model: &Model, now: Duration, cols: u16, rows: u16, look: &Look) -> Vec<StyledLine> {
    let columns = usize::from(cols).max(MIN_COLUMNS);
    let mut room = usize::from(rows);
    let mut lines = Vec::new();
    if room == 0 {
        return lines;
    }
    lines.push(header::line(model, now, columns, look));
    room -= 1;

    let items = running::items(model, now);
    // Each running item needs a line, and room for some output. The targets get at least half of the room.
    let wanted = items.len() * 2 + usize::from(!items.is_empty());
    let for_targets = room.saturating_sub(wanted).max(room / 2).max(room.min(1));
    let shown = targets::lines(model, now, columns, for_targets, look);
    room -= shown.len();
    lines.extend(shown);

    if room >= 3 && !items.is_empty() {
        lines.push(StyledLine::new());
        room -= 1;
    }
    lines.extend(running::lines(model, &items, now, columns, room, look));
    lines
        .into_iter()
        .map(|line| line.fit(usize::from(cols)))
        .collect()
}
