//! JSON as Go writes it: two spaces of indentation, `<`, `>`, `&`, U+2028 and U+2029 escaped.
//!
//! Writes straight into a string; nesting is the caller's business, commas and line breaks are handled here.

use std::fmt::Write as _;

/// A document being written.
#[derive(Debug, Default)]
pub(super) struct Json {
    out: String,
    depth: usize,
    /// Whether the innermost object or array has an element already.
    filled: bool,
}

impl Json {
    /// An empty document with room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            out: String::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// The finished document.
    pub(super) fn finish(self) -> String {
        self.out
    }

    /// Gives what is written so far to `sink`, if that is at least so many bytes; what `sink` says, else true.
    pub(super) fn hand_out(&mut self, bytes: usize, sink: &mut dyn FnMut(&str) -> bool) -> bool {
        if self.out.len() < bytes {
            return true;
        }
        let goes_on = sink(&self.out);
        self.out.clear();
        goes_on
    }

    // Starts a line, after a comma where `comma` says so.
    fn line(&mut self, comma: bool) {
        // A line break and more indentation than plans have: what is needed is a part of it, in one piece.
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

    /// An object whose fields `content` writes with [`Json::field`].
    pub(super) fn object(&mut self, content: impl FnOnce(&mut Self)) {
        self.nested(['{', '}'], content);
    }

    /// An array of what `each` writes of every item.
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

    /// A field of an object; `value` writes its value.
    pub(super) fn field(&mut self, name: &str, value: impl FnOnce(&mut Self)) {
        self.element();
        self.string(name);
        self.out.push_str(": ");
        value(self);
        self.filled = true;
    }

    /// A field whose name needs no escapes.
    pub(super) fn plain_field(&mut self, name: &'static str, value: impl FnOnce(&mut Self)) {
        self.element();
        self.out.push('"');
        self.out.push_str(name);
        self.out.push_str("\": ");
        value(self);
        self.filled = true;
    }

    /// A field that holds text.
    pub(super) fn text_field(&mut self, name: &str, value: &str) {
        self.field(name, |json| json.string(value));
    }

    /// `null`, `true`, `false` or a number.
    pub(super) fn word(&mut self, word: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.out, "{word}");
    }

    /// Text.
    pub(super) fn string(&mut self, text: &str) {
        quote(&mut self.out, text);
    }
}

/// Appends `text` as a JSON string.
pub(super) fn quote(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    let mut rest = text;
    if is_plain(text.as_bytes()) {
        out.push_str(text);
        rest = "";
    }
    while let Some(at) = rest.bytes().position(|byte| SUSPECT[usize::from(byte)]) {
        out.push_str(&rest[..at]);
        let mut chars = rest[at..].chars();
        match chars.next() {
            Some(c) if needs_escape(c) => escape(out, c),
            Some(c) => out.push(c),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn escape(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        c => {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        }
    }
}

// Whether nothing in `bytes` is to be escaped; some texts are taken for others. Sixteen bytes at a time are compared at once.
fn is_plain(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<16>();
    // Numbers rather than booleans, so that all comparisons are made and none is a branch.
    let suspect = |byte: u8| {
        let words = [
            byte < 0x20,
            byte >= 0x80,
            byte == b'"',
            byte == b'\\',
            byte == b'<',
            byte == b'>',
            byte == b'&',
        ];
        words
            .into_iter()
            .fold(0, |found, word| found | u8::from(word))
    };
    let clean = |chunk: &[u8; 16]| chunk.iter().fold(0, |found, byte| found | suspect(*byte)) == 0;
    chunks.iter().all(clean) && !rest.iter().any(|byte| SUSPECT[usize::from(*byte)])
}

// The bytes that characters to be escaped start with; beyond ASCII, other characters share theirs.
const SUSPECT: [bool; 256] = {
    let mut suspect = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        suspect[byte] = true;
        byte += 1;
    }
    let mut others = "\"\\<>&\u{2028}".as_bytes();
    while let [first, rest @ ..] = others {
        // Of U+2028 and U+2029, the first of three bytes; the others never start a character.
        if *first < 0x80 || *first == 0xe2 {
            suspect[*first as usize] = true;
        }
        others = rest;
    }
    suspect
};

fn needs_escape(c: char) -> bool {
    matches!(
        c,
        '"' | '\\' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_gos() {
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

    #[test]
    fn escapes_are_gos() {
        let mut json = Json::default();
        json.string("<x>&\u{2028}\u{2029}\"\\\n\r\t\u{8}\u{c}\u{1}\u{7f}é");
        assert_eq!(
            json.finish(),
            "\"\\u003cx\\u003e\\u0026\\u2028\\u2029\\\"\\\\\\n\\r\\t\\b\\f\\u0001\u{7f}é\""
        );
    }
}
