//! Draws diagnostics as text, in the form that rustc's messages have.
//!
//! The only file that names the drawing crate. It must cope with untrusted input: spans outside their file or
//! inside a character, control characters in messages, and files with megabytes in one line. Start at [`render`].

use std::borrow::Cow;
use std::fmt::Write as _;

use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use super::excerpt::{Window, windows};
use super::{Diagnostic, Diagnostics, Label, Severity, SourceFile, SourceId, SourceMap};
use crate::types::secret::redact_urls;
use crate::types::terminal;

/// The most labels that are drawn of one diagnostic. A note tells how many more there are.
const MAX_LABELS: usize = 32;
/// The most bytes that are shown of a message, a note or a help line.
const MAX_TEXT: usize = 16 * 1024;
/// The most notes, and the most help lines, that are shown.
const MAX_LINES: usize = 64;
/// The widths that are allowed; others are clamped. Source lines are cut to the width, so a very small one would
/// show nothing.
const WIDTHS: std::ops::RangeInclusive<u16> = 40..=400;

/// How a diagnostic is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colours are used. Colour never carries a meaning that the text lacks.
    pub color: bool,
    /// The number of terminal columns that source lines may take.
    pub width: u16,
}

impl Default for Style {
    /// Returns no colour and 100 columns.
    fn default() -> Self {
        Self {
            color: false,
            width: 100,
        }
    }
}

/// Draws one diagnostic. The text ends with a newline.
pub(crate) fn render(diagnostic: &Diagnostic, sources: &SourceMap, style: Style) -> String {
    let renderer = if style.color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let width = style.width.clamp(*WIDTHS.start(), *WIDTHS.end());
    let renderer = renderer.term_width(usize::from(width));

    let message = clip(&diagnostic.message);
    let title = level(diagnostic.severity).primary_title(message);
    let title = if diagnostic.code.is_empty() {
        title
    } else {
        title.id(diagnostic.code)
    };
    let mut group = Group::with_title(title);
    let windows: Vec<(&SourceFile, Window<'_>)> = by_file(diagnostic, sources)
        .into_iter()
        .flat_map(|(file, labels)| {
            windows(file, &labels)
                .into_iter()
                .map(move |window| (file, window))
        })
        .collect();
    for (file, window) in &windows {
        group = add_window(group, file, window);
    }
    let lost = diagnostic.labels.len().saturating_sub(MAX_LABELS);
    if lost > 0 {
        group = group.element(Level::NOTE.message(format!("{lost} more places are not shown")));
    }
    for text in diagnostic.notes.iter().take(MAX_LINES) {
        group = group.element(Level::NOTE.message(clip(text)));
    }
    for text in diagnostic.help.iter().take(MAX_LINES) {
        group = group.element(Level::HELP.message(clip(text)));
    }
    let mut text = renderer.render(&[group]);
    for (file, window) in &windows {
        correct_column(&mut text, &file.name, window);
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Draws all of `diagnostics` with an empty line between them. If there are several errors, the last line counts
/// them.
pub fn render_all(diagnostics: &Diagnostics, sources: &SourceMap, style: Style) -> String {
    let mut text = String::new();
    for diagnostic in &diagnostics.0 {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&render(diagnostic, sources, style));
    }
    let errors = diagnostics.errors().count();
    if errors > 1 {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{errors} errors");
    }
    text
}

const fn level<'a>(severity: Severity) -> Level<'a> {
    match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    }
}

/// Groups the labels by file. The file of the first primary label comes first, the others in the order of their
/// labels.
fn by_file<'a>(
    diagnostic: &'a Diagnostic,
    sources: &'a SourceMap,
) -> Vec<(&'a SourceFile, Vec<&'a Label>)> {
    let labels = || diagnostic.labels.iter().take(MAX_LABELS);
    let first = labels().find(|label| label.primary);
    let mut files: Vec<(SourceId, Vec<&Label>)> = Vec::new();
    for label in first.into_iter().chain(labels()) {
        let known = files.iter_mut().find(|(id, _)| *id == label.span.source);
        match known {
            Some((_, labels)) if labels.iter().any(|known| std::ptr::eq(*known, label)) => {}
            Some((_, labels)) => labels.push(label),
            None => files.push((label.span.source, vec![label])),
        }
    }
    files
        .into_iter()
        .filter_map(|(id, labels)| Some((sources.get(id)?, labels)))
        .collect()
}

fn add_window<'a>(group: Group<'a>, file: &'a SourceFile, window: &Window<'a>) -> Group<'a> {
    let annotations = window.marks.iter().map(|mark| -> Annotation<'a> {
        let kind = if mark.primary {
            AnnotationKind::Primary
        } else {
            AnnotationKind::Context
        };
        let label = (!mark.text.is_empty()).then(|| clip(mark.text));
        kind.span(mark.span.clone()).label(label)
    });
    if window.text.trim().is_empty() {
        // The crate draws nothing for an empty file, not even its name.
        let (line, column) = window.position();
        let origin = Origin::path(terminal::visible(&file.name));
        return group.element(origin.line(line).char_column(column));
    }
    let snippet = Snippet::source(rest_masked(window.text))
        .line_start(window.first_line)
        .path(terminal::visible(&file.name))
        .annotations(annotations);
    group.element(snippet)
}

/// Corrects the column in the position line. The crate counts columns in the text that it got, which lacks the
/// start of a line that was cut.
fn correct_column(text: &mut String, name: &str, window: &Window<'_>) {
    let (line, column) = window.position();
    if window.cut == 0 || line != window.first_line {
        return;
    }
    let name = terminal::visible(name);
    let wrong = format!("{name}:{line}:{}", column - window.cut);
    if let Some(at) = text.find(&wrong) {
        let right = format!("{name}:{line}:{column}");
        text.replace_range(at..at + wrong.len(), &right);
    }
}

/// Returns `text` of a diagnostic as every output form shows it: without passwords in addresses, without error
/// numbers of the system, and with empty names made visible.
pub(crate) fn readable(text: &str) -> Cow<'_, str> {
    let numberless = without_error_numbers(text);
    let redacted = redact_urls(&numberless);
    let shown = empty_names_shown(&redacted);
    if shown == text {
        return Cow::Borrowed(text);
    }
    Cow::Owned(shown.into_owned())
}

/// Removes the error numbers that the standard library appends to the system's message, as in `No space left on
/// device (os error 28)`.
fn without_error_numbers(text: &str) -> Cow<'_, str> {
    const BEGIN: &str = " (os error ";
    let mut rest = text;
    let mut kept = String::new();
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        kept.push_str(before);
        rest = match after[digits..].strip_prefix(')') {
            Some(after) if digits > 0 => after,
            _ => {
                kept.push_str(BEGIN);
                after
            }
        };
    }
    if rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// Returns `text` as it is drawn: readable, without control characters, and at most [`MAX_TEXT`] bytes long.
fn clip(text: &str) -> String {
    let text = readable(text);
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut clipped = rest_masked(&normalize_untrusted_str(&text[..end])).into_owned();
    if end < text.len() {
        clipped.push('…');
    }
    clipped
}

/// Replaces control characters that are not ASCII. The crate replaces the ASCII ones.
fn rest_masked(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    terminal::masked_beyond_ascii(text)
}

/// Writes two backticks with nothing between them as `""`. Names, paths and addresses that users give may be
/// empty, in every message.
fn empty_names_shown(text: &str) -> Cow<'_, str> {
    if !text.contains("``") {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        let (before, ticks) = rest.split_at(start);
        let after = ticks.trim_start_matches('`');
        let run = &ticks[..ticks.len() - after.len()];
        shown.push_str(before);
        shown.push_str(if run == "``" { "`\"\"`" } else { run });
        rest = after;
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::super::{Class, Span};
    use super::*;
    use proptest::prelude::*;

    fn web() -> (SourceMap, SourceId, SourceId) {
        let mut map = SourceMap::default();
        let a = map.add(
            "docker-bake.hcl",
            "group \"default\" {\n  # all of it\n  targets = [\"web-app\", \"db\"]\n}\n\ntarget \"db\" {\n  tags = [nope]\n}\n",
        );
        let b = map.add(
            "override.hcl",
            "target \"webapp\" {\n  inherits = [\"base\"]\n}\n",
        );
        (map, a, b)
    }

    #[test]
    fn empty_backticks_are_shown_as_an_empty_text() {
        let shown = |text| empty_names_shown(text).into_owned();
        assert_eq!(
            shown("target `` is not defined"),
            "target `\"\"` is not defined"
        );
        assert_eq!(shown("``, `a`, ``"), "`\"\"`, `a`, `\"\"`");
        assert_eq!(shown("```sh"), "```sh");
        assert_eq!(shown("`a` and `b`"), "`a` and `b`");
        let empty = Diagnostic::warning("a::b", "no `` here")
            .note("``")
            .help("``");
        let text = render(&empty, &SourceMap::default(), Style::default());
        assert!(!text.contains("``"), "{text}");
        let json = crate::diag::to_json(&empty, &SourceMap::default()).to_string();
        assert!(!json.contains("``"), "{json}");
    }

    #[test]
    fn one_label_with_help() {
        let (map, a, _) = web();
        let diagnostic = Diagnostic::error(
            Class::Definition,
            "plan::unknown-target",
            "target `web-app` is not defined",
        )
        .at(Span::new(a, 45..54), "no such target or group")
        .did_you_mean("a target", "web-app", ["webapp", "db"]);
        insta::assert_snapshot!(render(&diagnostic, &map, Style::default()), @r#"
        error[plan::unknown-target]: target `web-app` is not defined
         --> docker-bake.hcl:3:14
          |
        3 |   targets = ["web-app", "db"]
          |              ^^^^^^^^^ no such target or group
          |
          = note: there are `webapp` and `db`
          = help: a target with a similar name exists: `webapp`
        "#);
    }

    #[test]
    fn labels_in_two_files() {
        let (map, a, b) = web();
        let diagnostic =
            Diagnostic::error(Class::Definition, "plan::no-base", "nothing to inherit")
                .context(Span::new(a, 68..72), "used here")
                .at(Span::new(b, 30..36), "not defined")
                .note("the first fact\nin two lines")
                .help("define it");
        insta::assert_snapshot!(render(&diagnostic, &map, Style::default()), @r#"
        error[plan::no-base]: nothing to inherit
         --> override.hcl:2:13
          |
        2 |   inherits = ["base"]
          |             ^^^^^^ not defined
          |
         ::: docker-bake.hcl:6:4
          |
        6 | target "db" {
          |    ---- used here
          |
          = note: the first fact
                  in two lines
          = help: define it
        "#);
    }

    #[test]
    fn a_long_line_is_cut_to_the_width() {
        let mut map = SourceMap::default();
        let id = map.add(
            "min.json",
            format!(
                "{{{}BAD{}}}",
                "\"a\":1,".repeat(100_000),
                ",\"b\":2".repeat(100_000)
            ),
        );
        let diagnostic = Diagnostic::error(Class::Definition, "x::y", "bad")
            .at(Span::new(id, 600_001..600_004), "here");
        insta::assert_snapshot!(render(&diagnostic, &map, Style { color: false, width: 60 }), @r#"
        error[x::y]: bad
         --> min.json:1:600002
          |
        1 | ...:1,"a":1,"a":1,"a":1,BAD,"b":2,"b":2,"b":2,"b":2,"...
          |                         ^^^ here
        "#);
    }

    #[test]
    fn a_diagnostic_without_label_and_code_is_rendered() {
        let diagnostic =
            Diagnostic::error(Class::Engine, "", "the builder is \u{1b}[31mgone").help("start it");
        insta::assert_snapshot!(render(&diagnostic, &SourceMap::default(), Style::default()), @r#"
        error: the builder is ␛[31mgone
         |
         = help: start it
        "#);
    }

    #[test]
    fn no_control_characters_are_drawn() {
        let hostile =
            "a\u{9b}2Jb\u{85}c\u{61c}d\u{200e}e\u{2028}f\u{feff}g\u{e0041}h\u{1b}i\u{202e}j";
        let mut map = SourceMap::default();
        let id = map.add(format!("f{hostile}.hcl"), format!("{hostile} BAD\n"));
        let start = hostile.len() + 1;
        let diagnostic = Diagnostic::error(Class::Definition, "x::y", hostile)
            .at(Span::new(id, start..start + 3), hostile)
            .note(hostile)
            .help(hostile);
        let text = render(&diagnostic, &map, Style::default());
        let acts = |c: char| terminal::is_unsafe(c) && c != '\n';
        assert!(!text.contains(acts), "{text:?}");
        assert!(text.contains("BAD"), "{text}");
    }

    #[test]
    fn a_label_in_an_empty_file_shows_its_name() {
        let mut map = SourceMap::default();
        let id = map.add("empty.hcl", "");
        let diagnostic = Diagnostic::error(Class::Definition, "x::y", "nothing in it")
            .at(Span::new(id, 0..0), "");
        insta::assert_snapshot!(render(&diagnostic, &map, Style::default()), @r#"
        error[x::y]: nothing in it
        --> empty.hcl:1:1
        "#);
    }

    #[test]
    fn colour_is_optional_and_errors_are_counted() {
        let one = Diagnostic::error(Class::Usage, "a::b", "first");
        let all = Diagnostics(vec![
            one.clone(),
            Diagnostic::error(Class::Usage, "a::c", "second"),
        ]);
        let plain = render_all(&all, &SourceMap::default(), Style::default());
        assert!(!plain.contains('\u{1b}'));
        assert!(plain.ends_with("\n2 errors\n"), "{plain}");
        let style = Style {
            color: true,
            width: 80,
        };
        assert!(render(&one, &SourceMap::default(), style).contains("\u{1b}["));
    }

    #[test]
    fn a_file_of_ten_megabytes_is_rendered_briefly() {
        let mut map = SourceMap::default();
        let id = map.add(
            "big.hcl",
            "variable \"x\" { default = \"y\" }\n".repeat(320_000),
        );
        let mut diagnostic = Diagnostic::error(Class::Definition, "x::y", "many");
        for n in 0..100 {
            diagnostic = diagnostic.at(Span::new(id, n * 100_000..n * 100_000 + 8), "here");
        }
        let text = render(&diagnostic, &map, Style::default());
        assert!(
            text.len() < 20_000 && text.contains("68 more places"),
            "{}",
            text.len()
        );
    }

    proptest! {
        // Whatever the spans and the text are, something is drawn.
        #[test]
        fn invalid_spans_never_panic(
            text in "(\\PC|\n|\t|\r|\u{1b}|ä|漢|\u{200d}|\u{0}){0,80}",
            spans in prop::collection::vec((0u32..200, 0u32..200, any::<bool>(), "\\PC{0,8}"), 0..5),
            width in any::<u16>(),
            color in any::<bool>(),
        ) {
            let mut map = SourceMap::default();
            let id = map.add("f.hcl", text);
            let mut diagnostic = Diagnostic::error(Class::Definition, "a::b", "message");
            for (start, end, primary, label) in spans {
                let mut span = Span::new(id, 0..0);
                (span.start, span.end) = (start, end);
                diagnostic = if primary { diagnostic.at(span, label) } else { diagnostic.context(span, label) };
            }
            let text = render(&diagnostic, &map, Style { color, width });
            prop_assert!(text.contains("message"));
        }
    }
}
