//! Output of vertices. It arrives as bytes that are split anywhere, and becomes lines, of which the last ones are
//! kept.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::report::text;

/// The most bytes of a line. A longer line becomes several lines.
const MAX_LINE: usize = 4 * 1024;
/// The most lines that are kept of a row.
const MAX_LINES: usize = 100;
/// The most bytes of lines that are kept of a row.
const MAX_BYTES: usize = 32 * 1024;

/// A line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Whether it came from standard error. Otherwise it came from standard output.
    pub(crate) stderr: bool,
    /// The line without its end, without control characters.
    pub(crate) text: Arc<str>,
}

/// Splits the bytes of one stream into lines.
#[derive(Debug, Clone, Default)]
pub(super) struct LineBuffer {
    partial: Vec<u8>,
    /// Whether the last byte was a carriage return. Then the next text overwrites the line, unless a newline
    /// follows.
    returned: bool,
}

impl LineBuffer {
    /// Adds bytes and calls `line` with each line that they complete.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(String)) {
        while let Some(at) = bytes.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            self.append(&bytes[..at], &mut line);
            if bytes[at] == b'\n' {
                line(text::clean_line(&self.partial));
                self.partial.clear();
                self.returned = false;
            } else {
                self.returned = true;
            }
            bytes = &bytes[at + 1..];
        }
        self.append(bytes, &mut line);
    }

    /// Returns the unfinished line as it looks now. `None` if it is empty.
    pub(super) fn partial(&self) -> Option<String> {
        let line = text::clean_line(&self.partial);
        (!line.is_empty()).then_some(line)
    }

    /// Removes and returns the unfinished line, because no more bytes will come.
    pub(super) fn take(&mut self) -> Option<String> {
        let line = self.partial();
        *self = Self::default();
        line
    }

    /// Adds bytes that contain no line ends.
    fn append(&mut self, mut bytes: &[u8], line: &mut impl FnMut(String)) {
        if bytes.is_empty() {
            return;
        }
        if std::mem::take(&mut self.returned) {
            self.partial.clear();
        }
        while self.partial.len() + bytes.len() > MAX_LINE {
            let room = MAX_LINE.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            // Cut before the last character if it may be incomplete, so that UTF-8 text stays valid.
            let start = self.partial.iter().rposition(|b| b & 0xc0 != 0x80);
            let cut = start.filter(|at| MAX_LINE - at < 4 && self.partial[*at] >= 0xc0);
            let rest = self.partial.split_off(cut.unwrap_or(self.partial.len()));
            line(text::clean_line(&self.partial));
            self.partial = rest;
        }
        self.partial.extend_from_slice(bytes);
    }
}

/// The last lines of a row's output.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tail {
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// The number of lines that are no longer kept.
    dropped: u64,
}

impl Tail {
    /// Adds a line. Returns the change in memory: the bytes of the new line minus the bytes of the lines that were
    /// dropped.
    pub(super) fn push(&mut self, line: LogLine) -> isize {
        let before = self.bytes;
        self.bytes += cost(&line);
        self.lines.push_back(line);
        while self.lines.len() > MAX_LINES || (self.bytes > MAX_BYTES && self.lines.len() > 1) {
            if let Some(old) = self.lines.pop_front() {
                self.bytes -= cost(&old);
                self.dropped += 1;
            }
        }
        self.bytes.cast_signed() - before.cast_signed()
    }

    /// Counts a line that is not kept.
    pub(super) fn count(&mut self) {
        self.dropped += 1;
    }

    /// Drops all lines but keeps their number. Returns the bytes that were freed.
    pub(super) fn clear(&mut self) -> usize {
        self.dropped += self.lines.len() as u64;
        self.lines = VecDeque::new();
        std::mem::take(&mut self.bytes)
    }

    /// Returns the last `count` lines, the oldest first.
    pub(crate) fn last(&self, count: usize) -> impl Iterator<Item = &LogLine> {
        self.lines
            .iter()
            .skip(self.lines.len().saturating_sub(count))
    }

    /// The number of lines that are kept.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether no lines are kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The number of lines that there were, including those that are no longer kept.
    pub(crate) fn seen(&self) -> u64 {
        self.dropped + self.lines.len() as u64
    }
}

/// The memory of a line, including its bookkeeping: a million empty lines take memory, too.
fn cost(line: &LogLine) -> usize {
    line.text.len() + 48
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]]) -> (Vec<String>, Option<String>) {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            buffer.push(chunk, |line| lines.push(line));
        }
        let rest = buffer.take();
        (lines, rest)
    }

    #[test]
    fn chunks_are_joined_into_lines() {
        let (done, rest) = lines(&[
            b"a",
            b"b\r",
            b"\nc\n\nd",
            "ä".as_bytes().get(..1).unwrap(),
            b"\xa4",
        ]);
        assert_eq!(done, ["ab", "c", ""]);
        assert_eq!(rest.as_deref(), Some("dä"));
    }

    #[test]
    fn of_a_progress_bar_only_the_last_state_is_kept() {
        let mut buffer = LineBuffer::default();
        for percent in 0..=100 {
            buffer.push(
                format!("\r{percent:3}% {}", "=".repeat(100)).as_bytes(),
                |_| panic!("no line yet"),
            );
        }
        assert!(buffer.partial.len() < 200);
        let mut last = None;
        buffer.push(b"\r\n", |line| last = Some(line));
        assert!(last.unwrap().starts_with("100% ==="));
    }

    #[test]
    fn a_line_without_end_is_cut_between_characters() {
        let (done, rest) = lines(&["漢".repeat(3000).as_bytes()]);
        let all = done.concat() + &rest.unwrap();
        assert_eq!(all, "漢".repeat(3000));
        assert!(done.iter().all(|line| line.len() <= MAX_LINE));
    }

    #[test]
    fn the_tail_is_limited() {
        let mut tail = Tail::default();
        let mut bytes = 0;
        for n in 0..1000 {
            let text = if n % 2 == 0 {
                "x".repeat(MAX_LINE)
            } else {
                n.to_string()
            };
            bytes += tail.push(LogLine {
                stderr: false,
                text: text.into(),
            });
        }
        assert_eq!(bytes, tail.bytes.cast_signed());
        assert!(tail.bytes <= MAX_BYTES && tail.len() <= MAX_LINES);
        assert_eq!(&*tail.last(1).next().unwrap().text, "999");
        assert_eq!(tail.seen(), 1000);
        assert_eq!(tail.clear(), bytes.unsigned_abs());
        assert_eq!(tail.seen(), 1000);
    }

    proptest! {
        // It makes no difference where the bytes are split.
        #[test]
        fn chunk_ends_do_not_matter(text in "(a|ä|\r|\n|\u{1b}\\[1m| ){0,60}", cuts in prop::collection::vec(0usize..120, 0..6)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(lines(&chunks), lines(&[bytes]));
        }
    }
}
