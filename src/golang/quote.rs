//! Quoted text in the format of Go's `%q`.

use std::fmt::Write as _;
use std::sync::LazyLock;

use regex::Regex;

/// Returns `text` in double quotes. Quotes, backslashes and all characters that do not print are escaped.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(char),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            _ if is_printable(char) => out.push(char),
            _ => {
                let code = u32::from(char);
                // Writing to a `String` cannot fail.
                let _ = match code {
                    0..0x80 => write!(out, "\\x{code:02x}"),
                    0x80..0x1_0000 => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
        }
    }
    out.push('"');
    out
}

/// Whether Go prints `char` unescaped in a quoted string (`strconv.IsPrint`): letters, marks, numbers, punctuation,
/// symbols and the ASCII space.
fn is_printable(char: char) -> bool {
    static PRINTABLE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$").ok());
    let mut buffer = [0; 4];
    PRINTABLE
        .as_ref()
        .is_some_and(|printable| printable.is_match(char.encode_utf8(&mut buffer)))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn unprintable_characters_are_escaped() {
        assert_eq!(quote("a\"b\\c\n\u{1}"), r#""a\"b\\c\n\x01""#);
        assert_eq!(
            quote("é👍\u{200b}\u{a0}\u{e0001}"),
            "\"é👍\\u200b\\u00a0\\U000e0001\""
        );
    }
}
