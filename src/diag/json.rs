//! Diagnostics for machines: one JSON object each. Positions have line and column, so a reader needs no source
//! text.
//!
//! The fields are a stable interface: later versions may add fields, but do not remove one or change what it
//! means.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::render::readable;
use super::{Class, Diagnostic, Label, Severity, SourceMap};

/// Returns `diagnostic` as JSON.
///
/// Labels carry the file's name, byte offsets from 0, and lines and columns from 1. Columns count characters. A
/// label whose file is unknown is left out.
pub fn to_json(diagnostic: &Diagnostic, sources: &SourceMap) -> Value {
    let labels: Vec<Value> = diagnostic
        .labels
        .iter()
        .filter_map(|label| label_to_json(label, sources))
        .collect();
    json!({
        "severity": severity(diagnostic.severity),
        "code": diagnostic.code,
        "class": class(diagnostic.class),
        "message": readable(&diagnostic.message),
        "labels": labels,
        "notes": lines(&diagnostic.notes),
        "help": lines(&diagnostic.help),
    })
}

fn lines(lines: &[String]) -> Vec<Cow<'_, str>> {
    lines.iter().map(|line| readable(line)).collect()
}

/// Returns `None` if the label's file is unknown.
fn label_to_json(label: &Label, sources: &SourceMap) -> Option<Value> {
    let span = label.span;
    let file = sources.get(span.source)?;
    let position = |offset: u32| {
        let (line, column) = sources.position(span.source, offset)?;
        Some(json!({ "offset": offset, "line": line, "column": column }))
    };
    Some(json!({
        "file": file.name,
        "start": position(span.start)?,
        "end": position(span.end)?,
        "text": readable(&label.text),
        "primary": label.primary,
    }))
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    }
}

const fn class(class: Class) -> &'static str {
    match class {
        Class::Usage => "usage",
        Class::Definition => "definition",
        Class::Engine => "engine",
        Class::Build => "build",
        Class::Publish => "publish",
        Class::Internal => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Span;
    use super::*;

    #[test]
    fn positions_are_given_without_the_source() {
        let mut map = SourceMap::default();
        let id = map.add("a.hcl", "ä = 1\nb = x\n");
        let diagnostic = Diagnostic::error(Class::Definition, "definition::undefined", "no `x`")
            .at(Span::new(id, 11..12), "here")
            .help("define it");
        insta::assert_snapshot!(to_json(&diagnostic, &map), @r#"
        {"severity":"error","code":"definition::undefined","class":"definition","message":"no `x`","labels":[{"file":"a.hcl","start":{"offset":11,"line":2,"column":5},"end":{"offset":12,"line":2,"column":6},"text":"here","primary":true}],"notes":[],"help":["define it"]}
        "#);
    }

    #[test]
    fn a_label_of_another_source_map_is_left_out() {
        let mut map = SourceMap::default();
        let id = map.add("a.hcl", "");
        let diagnostic = Diagnostic::warning("a::b", "m").at(Span::new(id, 0..0), "");
        let value = to_json(&diagnostic, &SourceMap::default());
        assert_eq!(value["labels"], json!([]));
        assert_eq!(value["severity"], "warning");
    }
}
