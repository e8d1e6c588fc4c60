//! A strict JSON parser (RFC 8259) that keeps what other parsers drop: positions, the text of numbers, repeated
//! keys.
//!
//! As in Go's `encoding/json`, an escape of half a surrogate pair without the other half means U+FFFD. Start at
//! [`read`].

use std::borrow::Cow;
use std::ops::Range;

/// The deepest nesting that is accepted. Go accepts 10,000 levels, but this parser recurses, and real files nest
/// far less.
const DEPTH_LIMIT: usize = 512;

/// A JSON value and its position.
#[derive(Debug)]
pub(crate) struct JsonNode<'t> {
    /// Byte range in the text.
    pub(crate) range: Range<usize>,
    /// The value.
    pub(crate) kind: NodeKind<'t>,
}

/// The content of a JSON value.
#[derive(Debug)]
pub(crate) enum NodeKind<'t> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// The text of a number; its digits are all kept.
    Number(&'t str),
    /// A string, escapes resolved.
    String(Cow<'t, str>),
    /// An array.
    Array(Vec<JsonNode<'t>>),
    /// An object: its members in the order of the text. Keys may repeat.
    Object(Vec<Member<'t>>),
}

impl NodeKind<'_> {
    /// The kind in words, with its article.
    pub(crate) const fn words(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// A member of an object.
#[derive(Debug)]
pub(crate) struct Member<'t> {
    /// The key, escapes resolved.
    pub(crate) key: Cow<'t, str>,
    /// Byte range of the key, quotes included.
    pub(crate) key_range: Range<usize>,
    /// The value.
    pub(crate) value: JsonNode<'t>,
}

/// Why a text is not JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SyntaxError {
    /// The problem, as a fragment.
    pub(crate) message: &'static str,
    /// Byte range that the message is about.
    pub(crate) range: Range<usize>,
}

/// Parses a text that must contain exactly one value.
pub(crate) fn read(text: &str) -> Result<JsonNode<'_>, SyntaxError> {
    let mut reader = Reader {
        text,
        at: 0,
        depth: 0,
    };
    let node = reader.value()?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.error("found text after the value"));
    }
    Ok(node)
}

/// A recursive descent parser. `at` is the byte offset of the next character.
struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// An error about the next character, or about the end of the text.
    fn error(&self, message: &'static str) -> SyntaxError {
        let length = self.text[self.at..]
            .chars()
            .next()
            .map_or(0, char::len_utf8);
        error_at(message, self.at..self.at + length)
    }

    fn value(&mut self) -> Result<JsonNode<'t>, SyntaxError> {
        self.space();
        let start = self.at;
        let kind = match self.peek() {
            None => return Err(self.error("expected a value, found the end")),
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'"') => NodeKind::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => NodeKind::Number(self.number()?),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => self.word()?,
            Some(b'\'') => return Err(self.error("strings must be in double quotes")),
            Some(b'/' | b'#') => return Err(self.error("JSON does not allow comments")),
            Some(_) => return Err(self.error("expected a value")),
        };
        Ok(JsonNode {
            range: start..self.at,
            kind,
        })
    }

    /// Runs `read` one level deeper, unless that exceeds [`DEPTH_LIMIT`].
    fn nested(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<NodeKind<'t>, SyntaxError>,
    ) -> Result<NodeKind<'t>, SyntaxError> {
        if self.depth == DEPTH_LIMIT {
            return Err(self.error("this is nested too deeply: more than 512 levels"));
        }
        self.depth += 1;
        let kind = read(self);
        self.depth -= 1;
        kind
    }

    /// Takes a whole bare word, so that the error about an unknown one covers all of it.
    fn word(&mut self) -> Result<NodeKind<'t>, SyntaxError> {
        let start = self.at;
        while matches!(
            self.peek(),
            Some(b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.')
        ) {
            self.at += 1;
        }
        match &self.text[start..self.at] {
            "null" => Ok(NodeKind::Null),
            "true" => Ok(NodeKind::Bool(true)),
            "false" => Ok(NodeKind::Bool(false)),
            _ => Err(error_at(
                "a bare word is not a value; write strings and expressions in quotes",
                start..self.at,
            )),
        }
    }

    /// Takes everything that looks like part of a number, so that the error about a malformed one covers all of it.
    fn number(&mut self) -> Result<&'t str, SyntaxError> {
        let start = self.at;
        while matches!(
            self.peek(),
            Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'+' | b'-')
        ) {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        if is_number(text) {
            Ok(text)
        } else {
            Err(error_at("this is not a valid JSON number", start..self.at))
        }
    }

    fn array(&mut self) -> Result<NodeKind<'t>, SyntaxError> {
        let open = self.at;
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some(b']') if items.is_empty() => break,
                Some(b']') => return Err(self.error("a comma must not be followed by `]`")),
                _ => items.push(self.value()?),
            }
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                None => return Err(error_at("this array is not closed", open..open + 1)),
                Some(_) => return Err(self.error("expected `,` or `]`")),
            }
        }
        self.at += 1;
        Ok(NodeKind::Array(items))
    }

    fn object(&mut self) -> Result<NodeKind<'t>, SyntaxError> {
        let open = self.at;
        self.at += 1;
        let mut members = Vec::new();
        loop {
            self.space();
            let start = self.at;
            match self.peek() {
                Some(b'}') if members.is_empty() => break,
                Some(b'}') => return Err(self.error("a comma must not be followed by `}`")),
                Some(b'"') => {}
                None => return Err(error_at("this object is not closed", open..open + 1)),
                Some(_) => return Err(self.error("expected a key in double quotes")),
            }
            let key = self.string()?;
            let key_range = start..self.at;
            self.space();
            if self.peek() != Some(b':') {
                return Err(self.error("expected `:` after the key"));
            }
            self.at += 1;
            members.push(Member {
                key,
                key_range,
                value: self.value()?,
            });
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                None => return Err(error_at("this object is not closed", open..open + 1)),
                Some(_) => return Err(self.error("expected `,` or `}`")),
            }
        }
        self.at += 1;
        Ok(NodeKind::Object(members))
    }

    fn string(&mut self) -> Result<Cow<'t, str>, SyntaxError> {
        let open = self.at;
        self.at += 1;
        let start = self.at;
        let mut owned: Option<String> = None;
        loop {
            let from = self.at;
            while !matches!(self.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            let piece = &self.text[from..self.at];
            match self.peek() {
                Some(b'"') => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(match owned {
                        None => Cow::Borrowed(&self.text[start..end]),
                        Some(mut text) => {
                            text.push_str(piece);
                            Cow::Owned(text)
                        }
                    });
                }
                Some(b'\\') => {
                    let text = owned.get_or_insert_default();
                    text.push_str(piece);
                    let (character, length) =
                        escape(&self.text[self.at..]).map_err(|(message, length)| {
                            error_at(message, self.at..self.at + length)
                        })?;
                    text.push(character);
                    self.at += length;
                }
                None | Some(b'\n' | b'\r') => {
                    return Err(error_at("this string is not closed", open..self.at));
                }
                Some(_) => return Err(self.error("write control characters as `\\u00XX`")),
            }
        }
    }
}

const fn error_at(message: &'static str, range: Range<usize>) -> SyntaxError {
    SyntaxError { message, range }
}

fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => {
            let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            (number, Some(exponent))
        }
        None => (text, None),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    digits(whole)
        && (whole.len() == 1 || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

/// Decodes the escape at the start of `text`. Returns its character and the escape's length in bytes; the error is
/// a message and the length of the wrong text.
fn escape(text: &str) -> Result<(char, usize), (&'static str, usize)> {
    let selector = text[1..].chars().next();
    let character = match selector {
        Some(c @ ('"' | '\\' | '/')) => c,
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => {
            let unit = hex(text, 2)?;
            if (0xd800..0xdc00).contains(&unit) && text[6..].starts_with("\\u") {
                let low = hex(text, 8)?;
                if (0xdc00..0xe000).contains(&low) {
                    let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                    return Ok((
                        char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER),
                        12,
                    ));
                }
            }
            return Ok((
                char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER),
                6,
            ));
        }
        other => {
            let length = 1 + other.map_or(0, char::len_utf8);
            return Err(("this escape sequence does not exist in JSON", length));
        }
    };
    Ok((character, 2))
}

/// Parses the four hexadecimal digits at byte `at` of `text`. The error is as for [`escape`].
fn hex(text: &str, at: usize) -> Result<u32, (&'static str, usize)> {
    text.get(at..at + 4)
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .ok_or(("`\\u` needs four hexadecimal digits", 2))
}

/// Maps the content of a string to the text it was written as: for each byte of the decoded string at `range` of
/// `text`, returns the offset in `text` of the character or escape that it comes from. One more entry gives the
/// offset of the closing quote.
pub(crate) fn offsets(text: &str, range: &Range<usize>) -> Vec<u32> {
    let clamp = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
    let end = range.end.saturating_sub(1);
    let mut offsets = Vec::new();
    let mut at = range.start + 1;
    while at < end {
        let rest = &text[at..end];
        let (character, length) = match rest.chars().next() {
            Some('\\') => escape(rest).unwrap_or(('\\', 1)),
            Some(other) => (other, other.len_utf8()),
            None => break,
        };
        let literal = character.len_utf8() == length;
        for byte in 0..character.len_utf8() {
            offsets.push(clamp(if literal { at + byte } else { at }));
        }
        at += length;
    }
    offsets.push(clamp(end));
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("{\"a\": [1, -2.50e+1, null], \"a\": true} \n")]
    #[test_case("\"\\u00e9\\ud83d\\ude00\\/\"")]
    #[test_case("[]")]
    fn valid_json_is_read(text: &str) {
        read(text).unwrap();
    }

    #[test_case("", 0 ; "nothing")]
    #[test_case("{\"a\": 1,}", 8; "comma in object")]
    #[test_case("[1,]", 3; "comma in array")]
    #[test_case("{a: 1}", 1; "bare key")]
    #[test_case("01", 0; "leading zero")]
    #[test_case("[.5]", 1; "no whole part")]
    #[test_case("[1.]", 1; "no fraction")]
    #[test_case("NaN", 0)]
    #[test_case("\"\\q\"", 1; "escape")]
    #[test_case("\"\\u12\"", 1; "short escape")]
    #[test_case("\"a\nb\"", 0; "line break in string")]
    #[test_case("[1, 2", 0; "open array")]
    #[test_case("{\"a\": 1", 0; "open object")]
    #[test_case("1 2", 2; "two values")]
    #[test_case("// x\n1", 0; "comment")]
    fn invalid_json_is_an_error_at_its_place(text: &str, at: usize) {
        assert_eq!(read(text).unwrap_err().range.start, at);
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = "[".repeat(100_000);
        assert_eq!(
            read(&deep).unwrap_err().message,
            "this is nested too deeply: more than 512 levels"
        );
    }

    #[test]
    fn offsets_point_to_the_source_of_each_byte() {
        let text = r#"["a\n\u00e9é"]"#;
        let decoded = "a\nééend".strip_suffix("end").unwrap();
        let offsets = offsets(text, &(1..text.len() - 1));
        assert_eq!(offsets, [2, 3, 5, 5, 11, 12, 13]);
        assert_eq!(offsets.len(), decoded.len() + 1);
    }
}
