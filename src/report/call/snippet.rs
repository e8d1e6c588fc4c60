//! Prints the lines of a source that a warning is about, as `BuildKit`'s `errdefs.Source` does.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

/// The most ranges of one warning whose lines are marked. Frontends send one or two.
const MAX_RANGES: usize = 1000;

/// A source that an answer refers to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AnswerSource {
    pub(super) filename: String,
    data: String,
}

impl AnswerSource {
    /// The text of the source.
    pub(super) fn text(&self) -> String {
        let data = BASE64_STANDARD.decode(&self.data).unwrap_or_default();
        String::from_utf8_lossy(&data).into_owned()
    }
}

/// A place in one of the sources.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AnswerLocation {
    /// The index of the source. Negative if there is none.
    #[serde(rename = "sourceIndex")]
    pub(super) source: i64,
    ranges: Option<Vec<LineRange>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LineRange {
    start: Option<LinePosition>,
    end: Option<LinePosition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LinePosition {
    line: i64,
}

impl LineRange {
    /// The first and the last line, counted from 1.
    fn lines(&self) -> (i64, i64) {
        let line = |position: &Option<LinePosition>| position.as_ref().map_or(0, |at| at.line);
        let start = line(&self.start);
        (start, line(&self.end).max(start))
    }
}

impl AnswerLocation {
    fn ranges(&self) -> impl Iterator<Item = (i64, i64)> {
        self.ranges.iter().flatten().map(LineRange::lines)
    }

    /// The first line of the first range. `None` if there are no ranges.
    pub(super) fn first_line(&self) -> Option<i64> {
        self.ranges().next().map(|(start, _)| start)
    }

    /// The first and the last line of all ranges. `None` if there are no ranges.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        let start = self.ranges().map(|(start, _)| start).min()?;
        // BuildKit begins with 0 for the end.
        Some((start, self.ranges().map(|(_, end)| end).max()?.max(0)))
    }

    /// The lines around the place in the source of `lines`, called `name`. Empty if there is no such place.
    pub(super) fn snippet(&self, name: &str, lines: &[&str]) -> String {
        let mut text = String::new();
        let Some((first, last)) = self.span() else {
            return text;
        };
        let count = i64::try_from(lines.len()).unwrap_or(i64::MAX);
        if first > count || first < 1 {
            return text;
        }
        let (mut start, mut end) = (first, last.min(count));
        // One line gets two lines around it, and several get one.
        let pad = if end == start { 4 } else { 2 };
        let mut added = 0;
        while added < pad {
            if start > 1 {
                start -= 1;
                added += 1;
            }
            if end != count {
                end += 1;
                added += 1;
            }
            added += 1;
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{name}:{first}\n--------------------\n");
        let ranges: Vec<(i64, i64)> = self.ranges().take(MAX_RANGES).collect();
        let shown = usize::try_from(start - 1).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
        for (number, line) in (start..).zip(lines.get(shown).unwrap_or_default()) {
            let is_meant = ranges.iter().any(|(a, b)| (*a..=*b).contains(&number));
            let mark = if is_meant { ">>>" } else { "   " };
            let _ = writeln!(text, " {number:>3} | {mark} {line}");
        }
        text.push_str("--------------------\n");
        text
    }
}
