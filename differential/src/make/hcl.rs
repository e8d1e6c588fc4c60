//! Writing a document in the native syntax, with comments and blanks in odd places.

use super::document::{Attribute, Block, Document, Key, Value, quote};
use crate::Random;

/// The document as text.
pub(super) fn write(document: &Document, random: &mut Random) -> String {
    let mut writer = Writer {
        out: String::new(),
        random,
    };
    if writer.random.percent(3) {
        writer.out.push('\u{feff}');
    }
    for attribute in &document.attributes {
        writer.attribute(attribute, 0);
    }
    for block in &document.blocks {
        writer.block(block, 0);
    }
    if writer.random.percent(5) && !writer.out.trim_end().ends_with("EOT") {
        let length = writer.out.trim_end().len();
        writer.out.truncate(length);
    }
    if writer.random.percent(4) {
        return writer.out.replace('\n', "\r\n");
    }
    writer.out
}

struct Writer<'a> {
    out: String,
    random: &'a mut Random,
}

impl Writer<'_> {
    fn indent(&mut self, depth: usize) {
        self.out += &"  ".repeat(depth);
    }

    fn line_end(&mut self) {
        self.out += *self.random.pick(&[
            "\n",
            "\n",
            "\n",
            "\n",
            "\n",
            "\n",
            " # comment\n",
            " // é\n",
            " /* x */\n",
            "\n\n",
            "\n# }\n",
            "\n/* a\n b */\n",
            " \t\n",
        ]);
    }

    fn attribute(&mut self, attribute: &Attribute, depth: usize) {
        self.indent(depth);
        self.out += &attribute.name;
        self.out += *self.random.pick(&[" = ", " = ", " = ", "=", " /* = */ = "]);
        self.value(&attribute.value, depth);
        if heredoc(&attribute.value) {
            self.out.push('\n');
        } else {
            self.line_end();
        }
    }

    fn block(&mut self, block: &Block, depth: usize) {
        self.indent(depth);
        self.out += block.kind;
        if let Some(label) = &block.label {
            self.out.push(' ');
            let bare = !label.is_empty()
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                && !label.starts_with(|c: char| c.is_ascii_digit());
            if bare && self.random.percent(10) {
                self.out += label;
            } else {
                self.out += &quote(label);
            }
        }
        self.out += " {";
        match (block.attributes.as_slice(), block.blocks.is_empty()) {
            ([], true) if self.random.percent(50) => {}
            ([only], true) if !heredoc(&only.value) && self.random.percent(30) => {
                self.out.push(' ');
                self.out += &only.name;
                self.out += " = ";
                self.value(&only.value, depth);
                self.out.push(' ');
            }
            (attributes, _) => {
                self.line_end();
                for attribute in attributes {
                    self.attribute(attribute, depth + 1);
                }
                for block in &block.blocks {
                    self.block(block, depth + 1);
                }
                self.indent(depth);
            }
        }
        self.out.push('}');
        self.line_end();
    }

    fn value(&mut self, value: &Value, depth: usize) {
        match value {
            Value::List(elements) if !elements.is_empty() => {
                let lines = elements.iter().any(heredoc) || self.random.percent(25);
                self.out.push('[');
                for element in elements {
                    if lines {
                        self.line_end();
                        self.indent(depth + 1);
                    }
                    self.value(element, depth + 1);
                    // A comma cannot be on the line of a heredoc's marker.
                    self.out += if heredoc(element) { "\n," } else { "," };
                    if !lines {
                        self.out.push(' ');
                    }
                }
                if lines {
                    self.line_end();
                } else if self.random.percent(80) {
                    let length = self.out.trim_end_matches([',', ' ']).len();
                    self.out.truncate(length);
                }
                self.out.push(']');
            }
            Value::Object(entries) if !entries.is_empty() => {
                let lines =
                    entries.iter().any(|(_, value)| heredoc(value)) || self.random.percent(40);
                self.out.push('{');
                let count = entries.len();
                for (place, (key, value)) in entries.iter().enumerate() {
                    if lines {
                        self.line_end();
                        self.indent(depth + 1);
                    } else {
                        self.out.push(' ');
                    }
                    self.key(key);
                    self.out += *self.random.pick(&[" = ", " = ", "=", ": "]);
                    self.value(value, depth + 1);
                    let comma = if lines {
                        !heredoc(value) && self.random.percent(20)
                    } else {
                        place + 1 < count
                    };
                    if comma {
                        self.out.push(',');
                    }
                }
                if lines {
                    self.line_end();
                    self.indent(depth);
                } else {
                    self.out.push(' ');
                }
                self.out.push('}');
            }
            value => self.out += &value.expression(),
        }
    }

    fn key(&mut self, key: &Key) {
        match key {
            Key::Text(text)
                if !text.is_empty()
                    && text.chars().all(|c| c.is_ascii_alphabetic())
                    && self.random.percent(80) =>
            {
                self.out += text;
            }
            key => self.out += &key.expression(),
        }
    }
}

fn heredoc(value: &Value) -> bool {
    matches!(value, Value::Expression(text) if text.starts_with("<<"))
}
