//! Writes JSON in Go's format: an indentation of two spaces, and escapes for `<`, `>`, `&`, U+2028 and U+2029.
//!
//! Writes directly into a string. The caller nests objects and arrays; this module adds commas and line breaks.

use std::fmt::Write as _;

use serde_json::value::RawValue;

use crate::golang::json::quote;

/// A JSON document that is being written.
#[derive(Debug, Default)]
pub(super) struct Json {
    out: String,
    depth: usize,
    /// Whether the innermost object or array already has an element.
    filled: bool,
}

impl Json {
    /// An empty document with memory for `bytes` bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            out: String::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Returns the document, or what is left of it after [`Self::hand_out`].
    pub(super) fn finish(self) -> String {
        self.out
    }

    /// If at least `bytes` bytes are waiting, passes them to `sink` and returns its result: false means stop.
    /// Otherwise returns true.
    pub(super) fn hand_out(&mut self, bytes: usize, sink: &mut dyn FnMut(&str) -> bool) -> bool {
        if self.out.len() < bytes {
            return true;
        }
        let goes_on = sink(&self.out);
        self.out.clear();
        goes_on
    }

    /// Starts a new line, after a comma if `comma` is set.
    fn line(&mut self, comma: bool) {
        // Copy comma, line break and indentation in one piece, which is faster. Plans are rarely nested deeper
        // than this text.
        const BREAK: &str = ",\n                        ";
        let start = usize::from(!comma);
        let mut indentation = 2 * self.depth;
        let piece = indentation.min(BREAK.len() - 2);
        self.out.push_str(&BREAK[start..piece + 2]);
        indentation -= piece;
        for _ in 0..indentation {
            self.out.push(' ');
        }
    }

    fn element(&mut self) {
        self.line(self.filled);
        self.filled = true;
    }

    fn nested(&mut self, [open, close]: [char; 2], content: impl FnOnce(&mut Self)) {
        self.out.push(open);
        self.depth += 1;
        self.filled = false;
        content(self);
        self.depth -= 1;
        if self.filled {
            self.line(false);
        }
        self.out.push(close);
        self.filled = true;
    }

    /// Writes an object. `content` writes its fields with [`Json::field`].
    pub(super) fn object(&mut self, content: impl FnOnce(&mut Self)) {
        self.nested(['{', '}'], content);
    }

    /// Writes an array. `each` writes one item.
    pub(super) fn array<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        each: impl Fn(&mut Self, T),
    ) {
        self.nested(['[', ']'], |json| {
            for item in items {
                json.element();
                each(json, item);
                json.filled = true;
            }
        });
    }

    /// Writes a field of an object. `value` writes its value.
    pub(super) fn field(&mut self, name: &str, value: impl FnOnce(&mut Self)) {
        self.element();
        self.string(name);
        self.out.push_str(": ");
        value(self);
        self.filled = true;
    }

    /// Writes a field whose name must not need escapes.
    pub(super) fn plain_field(&mut self, name: &'static str, value: impl FnOnce(&mut Self)) {
        self.element();
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\": ");
        value(self);
        self.filled = true;
    }

    /// Writes a field with a string value.
    pub(super) fn text_field(&mut self, name: &str, value: &str) {
        self.field(name, |json| json.string(value));
    }

    /// Writes `null`, `true`, `false` or a number.
    pub(super) fn word(&mut self, word: impl std::fmt::Display) {
        // Writing to a `String` cannot fail.
        let _ = write!(self.out, "{word}");
    }

    /// Writes a value that is JSON already, in this layout. Its keys keep their order, and its numbers their form.
    pub(super) fn raw(&mut self, value: &RawValue) {
        let mut rest = value.get();
        let mut opened = false;
        while let Some(c) = rest.chars().next() {
            let (token, after) = rest.split_at(token_length(rest, c));
            rest = after;
            if c.is_ascii_whitespace() {
                continue;
            }
            let closes = matches!(c, '}' | ']');
            if opened && !closes {
                self.depth += 1;
                self.line(false);
            }
            if closes && !opened {
                self.depth -= 1;
                self.line(false);
            }
            opened = matches!(c, '{' | '[');
            match c {
                ',' => self.line(true),
                ':' => self.out.push_str(": "),
                _ => self.escaped(token),
            }
        }
        self.filled = true;
    }

    /// Writes `text`, in which Go's encoder escapes the characters that are special in HTML and JavaScript. Outside of
    /// strings, JSON has none of them.
    fn escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    let _ = write!(self.out, "\\u{:04x}", u32::from(c));
                }
                c => self.out.push(c),
            }
        }
    }

    /// Writes a string.
    pub(super) fn string(&mut self, text: &str) {
        quote(&mut self.out, text);
    }
}

/// The length of the token of JSON at the start of `text`, whose first character is `first`: that of a whole string, or of
/// one character.
fn token_length(text: &str, first: char) -> usize {
    if first != '"' {
        return first.len_utf8();
    }
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_json_keeps_its_values_and_gets_the_layout_of_go() {
        let text = r#"{"b":[ {}, [],1e3,-0.50,"a\"b\\", null], "a" : {"<":"&\u003e","c":true}, "b":[[1],[{"x":2}]]}"#;
        let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
        let mut json = Json::default();
        json.object(|json| {
            json.field("x", |json| json.raw(&raw));
            json.field("y", |json| json.word(1));
        });
        insta::assert_snapshot!(json.finish(), @r#"
        {
          "x": {
            "b": [
              {},
              [],
              1e3,
              -0.50,
              "a\"b\\",
              null
            ],
            "a": {
              "\u003c": "\u0026\u003e",
              "c": true
            },
            "b": [
              [
                1
              ],
              [
                {
                  "x": 2
                }
              ]
            ]
          },
          "y": 1
        }
        "#);
    }

    #[test]
    fn the_layout_is_that_of_go() {
        let mut json = Json::default();
        json.object(|json| {
            json.field("a", |json| json.array(["x", "y"], Json::string));
            json.field("b", |json| json.object(|_| {}));
            json.field("c", |json| json.array([0_u8; 0], Json::word));
            json.field("d", |json| {
                json.object(|json| json.field("e", |json| json.word(true)));
            });
            json.field("f", |json| json.word("null"));
        });
        let expected = "{\n  \"a\": [\n    \"x\",\n    \"y\"\n  ],\n  \"b\": {},\n  \"c\": [],\n  \"d\": {\n    \"e\": true\n  },\n  \"f\": null\n}";
        assert_eq!(json.finish(), expected);
    }
}
