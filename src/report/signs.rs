//! The small signs that show states, so that colour is not needed to tell them apart.

use std::time::Duration;

use super::model::{State, TargetState};
use super::style::{Look, TextRole};

const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const ASCII_SPINNER: [&str; 4] = ["|", "/", "-", "\\"];
/// The milliseconds for which one picture of the spinner is shown.
const SPIN: u128 = 100;

/// Returns the spinner's picture at the time `now`.
pub(super) fn spinner(now: Duration, look: &Look) -> &'static str {
    let pictures: &[&str] = if look.unicode {
        &SPINNER
    } else {
        &ASCII_SPINNER
    };
    let at = now.as_millis() / SPIN % pictures.len() as u128;
    usize::try_from(at)
        .ok()
        .and_then(|at| pictures.get(at))
        .copied()
        .unwrap_or("*")
}

/// Returns the sign of a target's state, and its role.
pub(super) fn target(state: TargetState, now: Duration, look: &Look) -> (&'static str, TextRole) {
    match state {
        TargetState::Waiting => (pick(look, "·", "."), TextRole::Quiet),
        TargetState::Running => (spinner(now, look), TextRole::Running),
        TargetState::Succeeded => (pick(look, "✔", "+"), TextRole::Done),
        TargetState::Failed => (pick(look, "✘", "x"), TextRole::Error),
        TargetState::Skipped | TargetState::Cancelled => {
            (pick(look, "⊘", "-"), TextRole::Cancelled)
        }
    }
}

/// Returns the sign of a row's state, and its role.
pub(super) fn row(state: State, now: Duration, look: &Look) -> (&'static str, TextRole) {
    match state {
        State::Pending => (pick(look, "·", "."), TextRole::Quiet),
        State::Running => (spinner(now, look), TextRole::Running),
        State::Done => (pick(look, "✔", "+"), TextRole::Done),
        State::Cached => (pick(look, "=", "="), TextRole::Quiet),
        State::Failed => (pick(look, "✘", "x"), TextRole::Error),
        State::Cancelled => (pick(look, "⊘", "-"), TextRole::Cancelled),
    }
}

/// Returns the vertical line that is drawn in front of output.
pub(super) fn output(look: &Look) -> &'static str {
    pick(look, "│", "|")
}

/// Returns the filled and the empty part of a bar that has `columns` in all.
pub(super) fn bar(percent: u64, columns: usize, look: &Look) -> (String, String) {
    let filled = usize::try_from(percent.min(100)).unwrap_or(0) * columns / 100;
    let (full, empty) = (pick(look, "━", "="), pick(look, "╌", "-"));
    (full.repeat(filled), empty.repeat(columns - filled))
}

const fn pick(look: &Look, unicode: &'static str, ascii: &'static str) -> &'static str {
    if look.unicode { unicode } else { ascii }
}
