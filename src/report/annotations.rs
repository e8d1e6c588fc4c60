//! Writes failures and warnings as GitHub Actions' workflow commands. GitHub shows them at their lines in a pull
//! request.

use std::fmt::Write as _;

use super::failure;
use super::model::Model;
use super::summary::place;
use crate::diag::{Diagnostic, SourceMap, readable};
use crate::event::INLINE_DOCKERFILE;
use crate::outcome::Outcome;
use crate::types::terminal::is_unsafe;

/// The most errors, and the most warnings, that are written. GitHub shows ten of each kind for a step.
pub(super) const MAX_ANNOTATIONS: usize = 10;

/// The width in columns to which failure sentences are cut.
const COLUMNS: u16 = 140;

/// Returns the lines to write, or an empty text if there is nothing to annotate.
pub(crate) fn text(model: &Model, outcome: &Outcome) -> String {
    let mut text = String::new();
    for (diagnostic, sources) in failure::diagnostics(model, outcome, COLUMNS, false)
        .iter()
        .take(MAX_ANNOTATIONS)
    {
        error(&mut text, diagnostic, sources);
    }
    for warning in model.warnings().iter().take(MAX_ANNOTATIONS) {
        let mut properties = Vec::new();
        let source = warning.source.as_ref();
        if let Some(source) = source.filter(|source| is_file(&source.filename)) {
            properties.push(("file", source.filename.clone()));
            if let Some((first, last)) = source.lines.first() {
                properties.push(("line", first.to_string()));
                properties.push(("endLine", last.to_string()));
            }
        }
        let place = place(warning).unwrap_or_default();
        command(
            &mut text,
            "warning",
            &properties,
            &format!("{}\n{place} {}", warning.short, warning.url),
        );
    }
    text
}

/// Adds the annotation of a failure, at its primary place if that is in a file of the repository.
fn error(text: &mut String, diagnostic: &Diagnostic, sources: &SourceMap) {
    let mut properties = vec![("title", diagnostic.code.to_owned())];
    if let Some(label) = diagnostic.labels.iter().find(|label| label.primary)
        && let Some(file) = sources.get(label.span.source)
        && is_file(&file.name)
        && let Some((line, _)) = sources.position(label.span.source, label.span.start)
    {
        properties.push(("file", file.name.clone()));
        properties.push(("line", line.to_string()));
    }
    command(text, "error", &properties, &readable(&diagnostic.message));
}

/// Whether `name` is a file of the repository, which is the only thing that GitHub can annotate. For an inline
/// Dockerfile, and for one at an address, the message names the place.
fn is_file(name: &str) -> bool {
    !name.starts_with(INLINE_DOCKERFILE) && !name.contains("://")
}

/// Adds one workflow command.
pub(super) fn command(text: &mut String, name: &str, properties: &[(&str, String)], message: &str) {
    let properties: Vec<String> = properties
        .iter()
        .map(|(key, value)| format!("{key}={}", escape(value, true)))
        .collect();
    let gap = if properties.is_empty() { "" } else { " " };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "::{name}{gap}{}::{}",
        properties.join(","),
        escape(message.trim(), false)
    );
}

/// Replaces characters that would end the command, or a property of it, by their percent codes. Other unsafe
/// characters are removed.
fn escape(text: &str, property: bool) -> String {
    let hidden = |c: &char| is_unsafe(*c) && !matches!(c, '\r' | '\n');
    let shown: String = text.chars().filter(|c| !hidden(c)).collect();
    let mut escaped = shown
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A");
    if property {
        escaped = escaped.replace(':', "%3A").replace(',', "%2C");
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::recording;

    fn annotated(recorded: &str) -> String {
        let events = recording::read(recorded).unwrap();
        let mut model = Model::new();
        for event in &events {
            model.apply(event);
        }
        text(&model, &recording::outcome_of(&events))
    }

    #[test]
    fn a_failure_points_at_its_line() {
        insta::assert_snapshot!(annotated(include_str!("../../tests/fixtures/status/failure.jsonl")), @r#"
        ::error title=build%3A%3Astep-failed,file=Dockerfile,line=36::`test` failed: `RUN echo "Found 42 test(s)."; sleep 0.8; echo "System check identified…` ended with exit code 3
        "#);
    }

    #[test]
    fn warnings_point_at_their_lines() {
        let text = annotated(include_str!("../../tests/fixtures/status/lint.jsonl"));
        assert!(
            text.starts_with("::warning file=Dockerfile,line=1,endLine=1::FromAsCasing: "),
            "{text}"
        );
    }

    #[test]
    fn annotations_do_not_point_at_inline_dockerfiles() {
        for recorded in [
            include_str!("../../tests/fixtures/status/failure.jsonl"),
            include_str!("../../tests/fixtures/status/lint.jsonl"),
        ] {
            let inline = recorded.replace(
                r#""filename":"Dockerfile""#,
                r#""filename":"dockerfile-inline of test""#,
            );
            assert_ne!(recorded, inline, "the recording names its Dockerfile");
            let text = annotated(&inline);
            assert!(!text.is_empty() && !text.contains("file="), "{text}");
        }
    }

    #[test]
    fn special_characters_do_not_end_a_workflow_command() {
        let mut text = String::new();
        command(
            &mut text,
            "error",
            &[("file", "a,b::c".into())],
            "50%\n::error::x",
        );
        assert_eq!(text, "::error file=a%2Cb%3A%3Ac::50%25%0A::error::x\n");
    }
}
