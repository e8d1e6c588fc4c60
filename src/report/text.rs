//! Cleans text from other sources for a terminal's line: no control characters, a known width.
//!
//! Output of steps is raw bytes with carriage returns, colours and cursor movements, and names come from
//! Dockerfiles. None of that may move the cursor of the user's terminal or imitate messages of rbake.

use std::borrow::Cow;

use unicode_width::UnicodeWidthChar;

use crate::types::terminal::is_unsafe;

/// The number of columns between tab stops.
const TAB: usize = 8;

/// Returns a line of output as it would look on a terminal: overwritten text, colours and control characters are
/// removed.
///
/// Bytes that are not UTF-8 become replacement characters.
pub(crate) fn clean_line(bytes: &[u8]) -> String {
    // A shortcut for plain text, which is by far the most common.
    if bytes.is_ascii() && bytes.iter().all(|b| (b' '..=b'~').contains(b)) {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::with_capacity(text.len());
    let mut column = 0;
    let mut overwrite = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                if escape(&mut chars).clears() {
                    (column, overwrite) = (0, false);
                    line.clear();
                }
            }
            // The next text overwrites the line. At the end of a line, a carriage return is only part of the
            // line's end.
            '\r' => overwrite = true,
            '\u{8}' => {
                column -= line.pop().map_or(0, char_width).min(column);
            }
            c if is_unsafe(c) && c != '\t' => {}
            c => {
                if std::mem::take(&mut overwrite) {
                    column = 0;
                    line.clear();
                }
                if c == '\t' {
                    let spaces = TAB - column % TAB;
                    line.extend(std::iter::repeat_n(' ', spaces));
                    column += spaces;
                } else {
                    line.push(c);
                    column += char_width(c);
                }
            }
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// Returns a name on one line: white space becomes single spaces, control characters are removed, and at most
/// `limit` bytes are kept.
pub(crate) fn clean_name(text: &str, limit: usize) -> String {
    let mut name = String::with_capacity(text.len().min(limit));
    let mut space = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            escape(&mut chars);
        } else if c.is_whitespace() {
            space = !name.is_empty();
        } else if !is_unsafe(c) {
            if name.len() + c.len_utf8() + usize::from(space) > limit {
                name.push('…');
                return name;
            }
            if std::mem::take(&mut space) {
                name.push(' ');
            }
            name.push(c);
        }
    }
    name
}

/// Returns text of several lines, each cleaned, joined by newlines. At most `limit` bytes of `text` are used.
pub(crate) fn clean_text(text: &str, limit: usize) -> String {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let lines: Vec<String> = text[..end]
        .lines()
        .map(|line| clean_line(line.as_bytes()))
        .collect();
    let mut clean = lines.join("\n");
    if end < text.len() {
        clean.push('…');
    }
    clean
}

/// What an escape sequence does to its line.
#[derive(PartialEq, Eq)]
enum Effect {
    None,
    ClearLine,
}

impl Effect {
    fn clears(&self) -> bool {
        *self == Self::ClearLine
    }
}

/// Reads the rest of an escape sequence whose ESC was read.
fn escape(chars: &mut std::str::Chars<'_>) -> Effect {
    match chars.next() {
        Some('[') => control_sequence(chars),
        // Operating system commands and other strings end with BEL or `ESC \`.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' {
                    break;
                }
                if c == '\u{1b}' {
                    chars.next();
                    break;
                }
            }
            Effect::None
        }
        // Intermediate characters, then one final character.
        Some(c) if (' '..='/').contains(&c) => {
            chars.find(|c| !(' '..='/').contains(c));
            Effect::None
        }
        _ => Effect::None,
    }
}

/// Reads the rest of a control sequence after `ESC [`.
fn control_sequence(chars: &mut std::str::Chars<'_>) -> Effect {
    let mut parameters = String::new();
    for c in chars {
        match c {
            '@'..='~' => {
                let clears = match c {
                    // Moves to the first column. Progress bars do that before they draw themselves again.
                    'G' => matches!(parameters.as_str(), "" | "0" | "1"),
                    // Erases the whole line.
                    'K' => parameters == "2",
                    _ => false,
                };
                return if clears {
                    Effect::ClearLine
                } else {
                    Effect::None
                };
            }
            ' '..='?' if parameters.len() < 32 => parameters.push(c),
            ' '..='?' => {}
            // Not a valid control sequence.
            _ => return Effect::None,
        }
    }
    Effect::None
}

/// Returns the number of columns that `c` takes.
///
/// Characters are counted one by one. Terminals differ in how they show joined emoji, and overestimating the width
/// of a line does no harm.
pub(crate) fn char_width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// Returns the number of columns that `text` takes.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.chars().map(char_width).sum()
}

/// Returns `text` cut to `columns`. If it was wider, it ends with an ellipsis.
pub(crate) fn fit(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    match columns.checked_sub(1) {
        Some(room) => Cow::Owned(format!("{}…", prefix(text, room))),
        None => Cow::Borrowed(""),
    }
}

/// Returns the longest start of `text` that takes at most `columns`.
pub(crate) fn prefix(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += char_width(c);
        if used > columns {
            return &text[..at];
        }
    }
    text
}

/// Returns `text` padded with spaces to `columns`, or cut if it is wider.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    let missing = columns.saturating_sub(width(&text));
    format!("{text}{:missing$}", "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use test_case::test_case;

    #[test_case(b"plain", "plain"; "plain text")]
    #[test_case(b"10%\r 50%\r100%\r", "100%"; "what was overwritten")]
    #[test_case(b"\x1b[38;5;70mgreen\x1b[0m", "green"; "colours")]
    #[test_case(b"old\x1b[2K\x1b[1Gnew", "new"; "cursor to the first column")]
    #[test_case(b"a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c", "abc"; "window titles and links")]
    #[test_case(b"a\tb", "a       b"; "tab")]
    #[test_case("a\u{202e}b\u{9b}31mc\u{7f}".as_bytes(), "ab31mc"; "reordering and C1")]
    #[test_case(b"\xff\xfe ok", "\u{fffd}\u{fffd} ok"; "not UTF-8")]
    #[test_case(b"abc\x08\x08X", "aX"; "backspace")]
    #[test_case(b"cut\x1b[38;5", "cut"; "sequence without an end")]
    #[test_case(b"\x1b(B\x1b[mx\x1b=", "x"; "character sets")]
    fn lines_look_as_they_would_on_a_terminal(bytes: &[u8], line: &str) {
        assert_eq!(clean_line(bytes), line);
    }

    #[test]
    fn names_are_one_line() {
        assert_eq!(
            clean_name("RUN a &&  \\\n\t b\u{1b}[31m", 100),
            "RUN a && \\ b"
        );
        assert_eq!(clean_name("ääää", 4), "ää…");
    }

    #[test]
    fn wide_characters_are_not_split() {
        assert_eq!(fit("漢字漢字", 5), "漢字…");
        assert_eq!(fit("漢字", 4), "漢字");
        assert_eq!(fit("abc", 0), "");
        assert_eq!(pad("漢", 4), "漢  ");
    }

    proptest! {
        #[test]
        fn unsafe_characters_are_removed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let line = clean_line(&bytes);
            prop_assert!(!line.chars().any(is_unsafe), "{:?}", line);
        }

        #[test]
        fn fitted_text_fits(text in "\\PC{0,40}", columns in 0usize..60) {
            prop_assert!(width(&fit(&text, columns)) <= columns);
            prop_assert_eq!(width(&pad(&text, columns)), columns);
        }
    }
}
