//! Chooses the part of a source file that is shown around a set of labels.
//!
//! A file may have ten megabytes, and all of them may be one line, so the renderer never gets the whole file.
//! Labels that are close together share a [`Window`] of a few lines, and lines that are too long are cut around
//! their labels.

use std::ops::Range;

use super::{Label, SourceFile};

/// Lines that are shown before and after a label.
const MARGIN_LINES: usize = 2;
/// Labels that are more bytes apart than this are shown in separate windows.
const MAX_GAP: usize = 8 * 1024;
/// Bytes that are kept on each side of a label in a line that is too long.
const SIDE: usize = 512;
/// The lines of a window with more bytes than this are cut.
const MAX_WINDOW: usize = 32 * 1024;
/// A label with more bytes than this, or with more lines than [`MAX_LABEL_LINES`], points at its first line only.
const MAX_LABEL: usize = 2 * 1024;
/// See [`MAX_LABEL`].
const MAX_LABEL_LINES: usize = 6;

/// A label whose span is an offset range of its window's text, not of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark<'a> {
    /// Byte range within [`Window::text`], on character boundaries.
    pub(super) span: Range<usize>,
    /// The words shown at the span; may be empty.
    pub(super) text: &'a str,
    /// Whether the problem is here; otherwise the label points at a place that explains it.
    pub(super) primary: bool,
}

/// Consecutive lines of a file, with the labels that point into them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window<'a> {
    /// The lines, or only a part of them if they are too long.
    pub(super) text: &'a str,
    /// Line number, from 1, of the first line.
    pub(super) first_line: usize,
    /// The number of characters that were cut off the start of the first line; columns are counted from the uncut
    /// line.
    pub(super) cut: usize,
    /// The labels, in the order of their spans; never empty.
    pub(super) marks: Vec<Mark<'a>>,
}

impl Window<'_> {
    /// Returns the line and the column, both from 1, of the first primary mark, or of the first mark if none is
    /// primary.
    pub(super) fn position(&self) -> (usize, usize) {
        let mark = self.marks.iter().find(|m| m.primary);
        let at = mark.or(self.marks.first()).map_or(0, |m| m.span.start);
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let lines = before.bytes().filter(|b| *b == b'\n').count();
        let cut = if lines == 0 { self.cut } else { 0 };
        let column = before[line_start..].chars().count() + 1 + cut;
        (self.first_line + lines, column)
    }
}

/// Returns the windows of `file` that show `labels`, in the order of the file.
pub(super) fn windows<'a>(file: &'a SourceFile, labels: &[&'a Label]) -> Vec<Window<'a>> {
    let text = file.shown();
    let mut marks: Vec<Mark<'a>> = labels
        .iter()
        .map(|label| Mark {
            span: tidy(text, label.span.range()),
            text: &label.text,
            primary: label.primary,
        })
        .collect();
    marks.sort_by_key(|mark| (mark.span.start, mark.span.end));

    let mut windows = Vec::new();
    let mut line = Lines::new(text);
    let mut rest = marks.into_iter().peekable();
    while let Some(first) = rest.next() {
        let mut end = first.span.end;
        let start = first.span.start;
        let mut group = vec![first];
        while let Some(next) = rest
            .next_if(|next| next.span.start <= end + MAX_GAP && next.span.end - start < MAX_WINDOW)
        {
            end = end.max(next.span.end);
            group.push(next);
        }
        let range = around(text, start..end);
        let cut = text[line_start(text, range.start)..range.start]
            .chars()
            .count();
        for mark in &mut group {
            mark.span = mark.span.start - range.start..mark.span.end - range.start;
        }
        windows.push(Window {
            text: &text[range.clone()],
            first_line: line.of(range.start),
            cut,
            marks: group,
        });
    }
    windows
}

/// Counts lines up to ascending offsets in one pass over the text. An offset before the last one starts again.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
        }
    }

    fn of(&mut self, offset: usize) -> usize {
        if offset < self.at {
            (self.at, self.line) = (0, 1);
        }
        let passed = &self.text[self.at..offset];
        self.line += passed.bytes().filter(|b| *b == b'\n').count();
        self.at = offset;
        self.line
    }
}

/// Turns `span` into one that can be drawn: within the text, on character boundaries, not too long, and without
/// the line end that it may end with.
fn tidy(text: &str, span: Range<usize>) -> Range<usize> {
    let start = floor(text, span.start.min(text.len()));
    let mut end = ceil(text, span.end.clamp(start, text.len()));
    let lines = |range: &str| range.bytes().filter(|b| *b == b'\n').count();
    if end - start > MAX_LABEL || lines(&text[start..end]) > MAX_LABEL_LINES {
        let limit = floor(text, end.min(start + MAX_LABEL));
        end = text[start..limit].find('\n').map_or(limit, |at| start + at);
    }
    let trimmed = text[start..end].trim_end_matches(['\n', '\r']);
    start..start + trimmed.len()
}

/// Returns the range of the lines around `span`. If they are too long, it returns as much of them as fits.
fn around(text: &str, span: Range<usize>) -> Range<usize> {
    let mut start = line_start(text, span.start);
    let mut end = line_end(text, span.end);
    for _ in 0..MARGIN_LINES {
        start = line_start(text, start.saturating_sub(1));
        end = line_end(text, (end + 1).min(text.len()));
    }
    if end - start <= MAX_WINDOW {
        return start..end;
    }
    // Too long with the neighbouring lines: take only the lines of the label, and cut those on both sides if
    // needed.
    let near_start = floor(text, span.start.saturating_sub(SIDE));
    let near_end = ceil(text, (span.end + SIDE).min(text.len()));
    line_start(text, span.start).max(near_start)..line_end(text, span.end).min(near_end)
}

fn line_start(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset]
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1)
}

fn line_end(text: &str, offset: usize) -> usize {
    text.as_bytes()[offset..]
        .iter()
        .position(|b| *b == b'\n')
        .map_or(text.len(), |at| offset + at)
}

/// Moves `offset` back to a character boundary.
fn floor(text: &str, mut offset: usize) -> usize {
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// Moves `offset` forward to a character boundary.
fn ceil(text: &str, mut offset: usize) -> usize {
    while !text.is_char_boundary(offset) {
        offset += 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::super::{SourceMap, Span};
    use super::*;

    fn label(map: &SourceMap, range: Range<usize>) -> Label {
        let (id, _) = map.iter().next().expect("one file");
        Label {
            span: Span::new(id, range),
            text: String::new(),
            primary: true,
        }
    }

    fn map(text: &str) -> SourceMap {
        let mut map = SourceMap::default();
        map.add("f", text);
        map
    }

    fn file(map: &SourceMap) -> &SourceFile {
        map.iter().next().expect("one file").1
    }

    #[test]
    fn labels_close_together_share_a_window() {
        let text = "x = 1\n".repeat(10_000);
        let map = map(&text);
        let (a, b, c) = (
            label(&map, 60..61),
            label(&map, 72..73),
            label(&map, 50_000..50_001),
        );
        let found = windows(file(&map), &[&c, &a, &b]);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].first_line, found[0].marks.len()), (9, 2));
        assert_eq!(found[0].position(), (11, 1));
        assert_eq!(
            found[1].position(),
            map.position(map.iter().next().expect("one").0, 50_000)
                .expect("inside")
        );
    }

    #[test]
    fn a_very_long_line_is_cut_around_the_label() {
        let text = format!("{}BAD{}", "ä".repeat(1_000_000), "b".repeat(1_000_000));
        let map = map(&text);
        let label = label(&map, 2_000_000..2_000_003);
        let found = windows(file(&map), &[&label]);
        assert!(found[0].text.len() < 2048, "{}", found[0].text.len());
        assert_eq!(&found[0].text[found[0].marks[0].span.clone()], "BAD");
        assert_eq!(found[0].position(), (1, 1_000_001));
    }

    #[test]
    fn a_span_of_many_lines_points_at_its_first_line() {
        let text = "target \"web\" {\n".to_owned() + &"  a = 1\n".repeat(50) + "}\n";
        let map = map(&text);
        let label = label(&map, 0..text.len());
        let found = windows(file(&map), &[&label]);
        assert_eq!(
            &found[0].text[found[0].marks[0].span.clone()],
            "target \"web\" {"
        );
    }
}
