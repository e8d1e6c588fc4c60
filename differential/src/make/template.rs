//! Templates: the insides of quoted texts, and heredocs.

use super::document::{escape, escape_introducers};
use super::expression::{Kind, Maker};
use super::words;

impl Maker {
    /// The inside of a quoted template.
    pub(super) fn template(&mut self, depth: usize) -> String {
        let mut out = String::new();
        for _ in 0..self.random.between(1, 3) {
            match self.random.weighted(&[4, 6, 2, 1]) {
                0 => out += &escape(self.pick_of(words::TEXTS)),
                1 => {
                    let inside = self.interpolated(depth);
                    out += &inside;
                }
                2 => {
                    let directive = self.directive(depth);
                    out += &directive;
                }
                _ => {
                    out += *self.random.pick(&[
                        "\\n", "\\t", "\\\"", "$${", "%%{", "\\u00e9", "$", "%", "}", "{",
                    ]);
                }
            }
        }
        out
    }

    fn interpolated(&mut self, depth: usize) -> String {
        let (open, close) = *self.random.pick(&[
            ("${", "}"),
            ("${", "}"),
            ("${ ", " }"),
            ("${~ ", " ~}"),
            ("${\n", "\n}"),
        ]);
        let value = self.text(depth);
        format!("{open}{value}{close}")
    }

    fn directive(&mut self, depth: usize) -> String {
        let (open, close) =
            *self
                .random
                .pick(&[("%{ ", " }"), ("%{", "}"), ("%{~ ", " ~}"), ("%{ ", " ~}")]);
        match self.random.below(3) {
            0 => {
                let (condition, yes) = (self.bool(depth), escape(self.pick_of(words::TEXTS)));
                format!("{open}if {condition}{close}{yes}{open}endif{close}")
            }
            1 => {
                let condition = self.bool(depth);
                let (yes, no) = (escape(self.pick_of(words::TEXTS)), self.text(depth));
                format!(
                    "{open}if {condition}{close} {yes} {open}else{close}${{{no}}}{open}endif{close}"
                )
            }
            _ => {
                let (list, body) = (
                    self.texts(depth),
                    self.within(&[("item", Kind::Text)], Kind::Text, depth),
                );
                format!("{open}for item in {list}{close} ${{{body}}},{open}endfor{close}")
            }
        }
    }

    /// A heredoc, which ends with its marker at the end of a line.
    pub(super) fn heredoc(&mut self, depth: usize) -> String {
        let flush = self.random.percent(50);
        let marker = *self.random.pick(&["EOT", "EOF", "_x", "É"]);
        let mut out = format!("<<{}{marker}\n", if flush { "-" } else { "" });
        for _ in 0..self.random.below(5) {
            out += *self.random.pick(&["", "  ", "    ", "\t", "      "]);
            match self.random.below(6) {
                0 => {
                    let value = self.interpolated(depth);
                    out += &value;
                }
                1 => {
                    let value = self.directive(depth);
                    out += &value;
                }
                2 => {
                    out += *self.random.pick(&[
                        "$${x}",
                        "%%{y}",
                        "\\n",
                        "\"q\"",
                        "RUN echo $HOME",
                        "$$",
                        "#c",
                        "EOTX",
                        "a EOT",
                    ]);
                }
                3 => {}
                _ => {
                    out += &escape_introducers(
                        &self.random.pick(words::TEXTS).replace(['\n', '\r'], " "),
                    );
                }
            }
            out.push('\n');
        }
        let indent = if self.random.percent(40) { "  " } else { "" };
        out + indent + marker
    }
}
