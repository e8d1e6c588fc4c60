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

    fn line(&mut self) {
        self.out.push('\n');
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
    }

    fn element(&mut self) {
        if self.filled {
            self.out.push(',');
        }
        self.filled = true;
        self.line();
    }

    fn nested(&mut self, [open, close]: [char; 2], content: impl FnOnce(&mut Self)) {
        self.out.push(open);
        self.depth += 1;
        self.filled = false;
        content(self);
        self.depth -= 1;
        if self.filled {
            self.line();
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
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(needs_escape) {
        out.push_str(&rest[..at]);
        let mut chars = rest[at..].chars();
        if let Some(c) = chars.next() {
            escape(out, c);
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
