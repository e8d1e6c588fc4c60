//! Splits the native syntax into tokens, outside of strings and heredocs.
//!
//! A token depends only on the text, the position, and whether newlines are tokens there. The rules are those of
//! `HashiCorp`'s scanner (hclsyntax `scan_tokens.rl`).

use std::ops::Range;

use unicode_normalization::char::is_combining_mark;

/// A token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    /// The kind of token.
    pub(super) kind: TokenKind,
    /// The offset of its first byte.
    pub(super) start: usize,
    /// The offset after its last byte.
    pub(super) end: usize,
}

impl Token {
    /// The token's bytes.
    pub(super) const fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// The kinds of token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// The end of the text.
    Eof,
    /// The end of a line, if newlines are tokens.
    Newline,
    /// An identifier or keyword.
    Ident,
    /// A number literal. It may still be malformed, such as `1..2`.
    Number,
    /// `"`, which begins a string. The rest of the string is read by the parser of templates.
    Quote,
    /// `<<WORD` or `<<-WORD` and the line break after it, which begin a heredoc.
    Heredoc,
    /// `{`
    OpenBrace,
    /// `}`
    CloseBrace,
    /// `~}`, which ends an interpolation or directive and trims the white space after it.
    TrimClose,
    /// `[`
    OpenBracket,
    /// `]`
    CloseBracket,
    /// `(`
    OpenParen,
    /// `)`
    CloseParen,
    /// `,`
    Comma,
    /// `.`
    Dot,
    /// `...`
    Ellipsis,
    /// `*`
    Star,
    /// `/`
    Slash,
    /// `%`
    Percent,
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `=`
    Equal,
    /// `==`
    EqualEqual,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `!`
    Bang,
    /// `?`
    Question,
    /// `:`
    Colon,
    /// `::`
    DoubleColon,
    /// `=>`
    FatArrow,
    /// A character that begins no token.
    Invalid,
    /// `/*` without `*/`: everything to the end of the text.
    OpenComment,
}

impl TokenKind {
    /// A label for this token in place of another: what is here. Empty if the marked text shows that.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Eof => "the file ends here",
            Self::Newline => "the line ends here",
            _ => "",
        }
    }
}

/// Returns the first token at or after byte `at` of `text`, after white space and comments. `newlines` says whether
/// line ends are tokens.
pub(super) fn token(text: &str, at: usize, newlines: bool) -> Token {
    let bytes = text.as_bytes();
    let mut start = at;
    loop {
        let rest = bytes.get(start..).unwrap_or_default();
        let skipped = match rest {
            [b' ' | b'\t', ..] => 1,
            [b'\n', ..] if !newlines => 1,
            [b'\r', b'\n', ..] if !newlines => 2,
            [b'#', ..] | [b'/', b'/', ..] => line_length(rest),
            [b'/', b'*', ..] => match find(rest, b"*/") {
                Some(end) => end + 2,
                None => break,
            },
            _ => break,
        };
        start += skipped;
    }
    let rest = bytes.get(start..).unwrap_or_default();
    let (kind, length) = classify(text, start, rest);
    Token {
        kind,
        start,
        end: start + length,
    }
}

/// The length of a line without its line break, so that a comment still ends its line.
fn line_length(rest: &[u8]) -> usize {
    match rest.iter().position(|byte| *byte == b'\n') {
        Some(end) if end > 0 && rest[end - 1] == b'\r' => end - 1,
        Some(end) => end,
        None => rest.len(),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn classify(text: &str, start: usize, rest: &[u8]) -> (TokenKind, usize) {
    match rest {
        [] => (TokenKind::Eof, 0),
        [b'\n', ..] => (TokenKind::Newline, 1),
        [b'\r', b'\n', ..] => (TokenKind::Newline, 2),
        [b'"', ..] => (TokenKind::Quote, 1),
        [b'0'..=b'9', ..] => (TokenKind::Number, number_length(rest)),
        [b'<', b'<', ..] => match heredoc_length(text, start) {
            Some(length) => (TokenKind::Heredoc, length),
            None => (TokenKind::Less, 1),
        },
        [b'.', b'.', b'.', ..] => (TokenKind::Ellipsis, 3),
        [b'=', b'=', ..] => (TokenKind::EqualEqual, 2),
        [b'=', b'>', ..] => (TokenKind::FatArrow, 2),
        [b'!', b'=', ..] => (TokenKind::NotEqual, 2),
        [b'<', b'=', ..] => (TokenKind::LessEqual, 2),
        [b'>', b'=', ..] => (TokenKind::GreaterEqual, 2),
        [b'&', b'&', ..] => (TokenKind::And, 2),
        [b'|', b'|', ..] => (TokenKind::Or, 2),
        [b':', b':', ..] => (TokenKind::DoubleColon, 2),
        [b'~', b'}', ..] => (TokenKind::TrimClose, 2),
        // It extends to the end, so that the rest of the text is not scanned again.
        [b'/', b'*', ..] => (TokenKind::OpenComment, rest.len()),
        [byte, ..] => {
            let kind = match byte {
                b'{' => TokenKind::OpenBrace,
                b'}' => TokenKind::CloseBrace,
                b'[' => TokenKind::OpenBracket,
                b']' => TokenKind::CloseBracket,
                b'(' => TokenKind::OpenParen,
                b')' => TokenKind::CloseParen,
                b',' => TokenKind::Comma,
                b'.' => TokenKind::Dot,
                b'*' => TokenKind::Star,
                b'/' => TokenKind::Slash,
                b'%' => TokenKind::Percent,
                b'+' => TokenKind::Plus,
                b'-' => TokenKind::Minus,
                b'=' => TokenKind::Equal,
                b'<' => TokenKind::Less,
                b'>' => TokenKind::Greater,
                b'!' => TokenKind::Bang,
                b'?' => TokenKind::Question,
                b':' => TokenKind::Colon,
                _ => return word(text, start),
            };
            (kind, 1)
        }
    }
}

fn word(text: &str, start: usize) -> (TokenKind, usize) {
    match ident_length(&text[start..]) {
        0 => {
            let length = text[start..].chars().next().map_or(1, char::len_utf8);
            (TokenKind::Invalid, length)
        }
        length => (TokenKind::Ident, length),
    }
}

/// The length of the identifier at the start of `text`, in bytes; 0 if it does not begin with one.
pub(super) fn ident_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    if matches!(bytes, [b'a'..=b'z' | b'A'..=b'Z' | b'_', ..]) {
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let end = bytes
            .iter()
            .position(|byte| !word(byte))
            .unwrap_or(bytes.len());
        // A character beyond ASCII may continue the word: decide by its Unicode class below.
        if bytes.get(end).is_none_or(u8::is_ascii) {
            return end;
        }
    }
    let starts = |c: char| c == '_' || c.is_alphabetic();
    let continues = |c: char| {
        c == '_' || c == '-' || c.is_alphanumeric() || (!c.is_ascii() && is_combining_mark(c))
    };
    if !text.starts_with(starts) {
        return 0;
    }
    text.find(|c| !continues(c)).unwrap_or(text.len())
}

/// The length of a number: digits, dots and an exponent. As in `HashiCorp`'s scanner, several dots are accepted
/// here, but none at the end.
fn number_length(rest: &[u8]) -> usize {
    let mut length = 1;
    let mut end = 1;
    while let Some(byte) = rest.get(length) {
        match byte {
            b'0'..=b'9' => {
                length += 1;
                end = length;
            }
            b'.' => length += 1,
            b'e' | b'E' => {
                let sign = usize::from(matches!(rest.get(length + 1), Some(b'+' | b'-')));
                if !matches!(rest.get(length + 1 + sign), Some(b'0'..=b'9')) {
                    break;
                }
                length += 2 + sign;
                end = length;
            }
            _ => break,
        }
    }
    end
}

/// The length of `<<WORD` or `<<-WORD` with its line break. `None` if anything else follows `<<` in the line.
fn heredoc_length(text: &str, start: usize) -> Option<usize> {
    let rest = text.get(start + 2..)?;
    let flush = rest.starts_with('-');
    let marker = rest.get(usize::from(flush)..)?;
    let length = ident_length(marker);
    let end = marker.get(length..)?;
    let newline = if end.starts_with('\n') {
        1
    } else if end.starts_with("\r\n") {
        2
    } else {
        return None;
    };
    (length > 0).then_some(2 + usize::from(flush) + length + newline)
}

/// Explains a token that is invalid everywhere: returns the message and the help. `None` for a valid token.
pub(super) fn complaint(text: &str, token: Token) -> Option<(&'static str, Option<&'static str>)> {
    let found = text.get(token.start..token.end).unwrap_or_default();
    match token.kind {
        TokenKind::OpenComment => Some(("this comment is not closed", Some("end it with `*/`"))),
        TokenKind::Invalid => Some(match found {
            "'" => (
                "a string cannot be in single quotes",
                Some("write strings in double quotes"),
            ),
            "&" | "|" => (
                "HCL has no bitwise operators",
                Some("write `&&` for a logical and, `||` for a logical or"),
            ),
            "`" => (
                "a string cannot be in backticks",
                Some("write strings in double quotes"),
            ),
            ";" => (
                "HCL does not use semicolons",
                Some("write each attribute on a line of its own"),
            ),
            "\u{201c}" | "\u{201d}" | "\u{2018}" | "\u{2019}" => (
                "a string cannot be in curly quotes",
                Some("write strings in straight double quotes"),
            ),
            "\u{a0}" => (
                "this is a no-break space, which does not count as white space",
                Some("replace it with a space"),
            ),
            _ => ("this character is not used in HCL", None),
        }),
        TokenKind::Less if text[token.start..].starts_with("<<") => Some((
            "a heredoc starts with `<<`, a word and the end of the line",
            Some("write `<<EOT`, and the text on the next lines"),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    fn kinds(text: &str, newlines: bool) -> Vec<(TokenKind, &str)> {
        let mut found = Vec::new();
        let mut at = 0;
        loop {
            let token = token(text, at, newlines);
            if token.kind == TokenKind::Eof {
                return found;
            }
            found.push((token.kind, &text[token.range()]));
            at = token.end;
        }
    }

    #[test]
    fn a_line_comment_does_not_include_the_line_break() {
        let text = "a # x\n// y\r\nb /* \n */ c";
        let with = kinds(text, true);
        let words: Vec<&str> = with.iter().map(|(_, text)| *text).collect();
        assert_eq!(words, ["a", "\n", "\r\n", "b", "c"]);
        assert_eq!(kinds(text, false).len(), 3);
    }

    #[test_case("1.5", &["1.5"])]
    #[test_case("1.", &["1", "."]; "a dot at the end is a token of its own")]
    #[test_case("1..2", &["1..2"]; "two dots in one token")]
    #[test_case("1e+5.x", &["1e+5", ".", "x"])]
    #[test_case("1e", &["1", "e"]; "no exponent")]
    #[test_case("0.name", &["0", ".", "name"])]
    fn numbers_are_recognised(text: &str, expected: &[&str]) {
        let words: Vec<&str> = kinds(text, true)
            .into_iter()
            .map(|(_, text)| text)
            .collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn a_heredoc_marker_must_end_its_line() {
        assert_eq!(kinds("<<-EOT\n", true)[0].0, TokenKind::Heredoc);
        assert_eq!(kinds("<<EOT x\n", true)[0].0, TokenKind::Less);
    }

    #[test]
    fn names_may_use_letters_of_any_script() {
        assert_eq!(kinds("größe-2 e\u{301}", true).len(), 2);
        assert_eq!(kinds("-a", true)[0].0, TokenKind::Minus);
    }
}
