//! Turns a failure into a diagnostic: what failed, where in the Dockerfile, what the exit code means, what to do.

use super::{Failure, failed_row};
use crate::diag::{Class, Diagnostic, SourceMap, Span};
use crate::event::SourceExcerpt;
use crate::outcome::{FailureKind, SolveFailure};
use crate::report::model::Model;
use crate::report::model::name::split;
use crate::report::{clipped, text};
use crate::types::TargetName;

/// The most bytes of a message's first line.
const MAX_TITLE: usize = 1000;
/// The most bytes of the rest of a message.
const MAX_REST: usize = 8 * 1024;
/// The least and the most columns of a step's name in the sentence.
const STEP: std::ops::RangeInclusive<usize> = 24..=80;
/// The columns of the rest of that sentence, without the names of the targets.
const SENTENCE: usize = "error[build::step-failed]:  failed: `` ended with exit code 127".len();

/// Returns the diagnostic of `failure`, and the sources that its labels point into. The step's name is cut so that
/// the sentence takes about `columns`.
pub(super) fn diagnostic(
    model: &Model,
    failure: &Failure<'_>,
    columns: u16,
    debug: bool,
) -> (Diagnostic, SourceMap) {
    let row = failed_row(model, failure);
    let solve = failure.failure;
    let (class, code) = match solve.kind {
        FailureKind::Build | FailureKind::Cancelled => (Class::Build, "build::failed"),
        FailureKind::Engine => (Class::Engine, "engine::lost"),
        FailureKind::Entitlement => (Class::Build, "build::not-entitled"),
        FailureKind::Internal => (Class::Build, "engine::internal"),
        FailureKind::Exhausted => (Class::Build, "engine::exhausted"),
    };
    let message = text::clean_text(&solve.message, MAX_TITLE + MAX_REST);
    let (_, rest) = sentence_and_notes(&message);
    let others = SENTENCE + text::width(&names(&failure.targets));
    let what = what(model, failure, usize::from(columns).saturating_sub(others));
    let code = if solve.exit_code.is_some() {
        "build::step-failed"
    } else {
        code
    };
    let mut diagnostic = Diagnostic::error(
        class,
        code,
        format!("{} failed: {what}", names(&failure.targets)),
    );
    let mut sources = SourceMap::default();
    for (at, excerpt) in solve.sources.iter().enumerate() {
        diagnostic = add_source(diagnostic, &mut sources, excerpt, at == 0, solve.exit_code);
    }
    // For some steps, such as an `ADD` of an address, the daemon sends no source place. Then a note names the
    // step.
    if let (true, None, Some(row)) = (solve.sources.is_empty(), solve.exit_code, row) {
        let step = text::clean_name(split(&row.name).1, MAX_TITLE);
        diagnostic = diagnostic.note(format!("the step is `{step}`"));
    }
    for line in rest.into_iter().take(20) {
        diagnostic = diagnostic.note(line);
    }
    if let Some(note) = solve.exit_code.and_then(meaning) {
        diagnostic = diagnostic.note(note);
    }
    if let Some(limit) = row.and_then(|row| row.clipped.as_deref()) {
        let limit_note = clipped::note(limit);
        diagnostic = diagnostic.note(limit_note).help(clipped::help(limit));
    }
    for line in solve
        .help
        .iter()
        .map(String::as_str)
        .chain(default_help(solve))
    {
        diagnostic = diagnostic.help(text::clean_name(line, MAX_TITLE));
    }
    if debug {
        for frame in solve.debug.iter().take(50) {
            diagnostic = diagnostic.note(text::clean_text(frame, MAX_REST));
        }
    }
    (diagnostic, sources)
}

/// What failed, as the end of a sentence: the step, whose name is cut to about `columns`, and its exit code; or else what the
/// failure says.
pub(super) fn what(model: &Model, failure: &Failure<'_>, columns: usize) -> String {
    let solve = failure.failure;
    if let (Some(code), Some(row)) = (solve.exit_code, failed_row(model, failure)) {
        let columns = columns.clamp(*STEP.start(), *STEP.end());
        let step = text::fit(split(&row.name).1, columns).into_owned();
        return format!("`{step}` ended with exit code {code}");
    }
    let message = text::clean_text(&solve.message, MAX_TITLE + MAX_REST);
    text::clean_name(&sentence_and_notes(&message).0, MAX_TITLE)
}

/// Splits a message into its first line and the other lines, which become notes.
///
/// For git, BuildKit puts the output of the program in the middle of its own sentence: `cannot fetch: git
/// stderr:`, then what git wrote, then `: exit status 128`.
fn sentence_and_notes(message: &str) -> (String, Vec<String>) {
    let (first, rest) = message.split_once('\n').unwrap_or((message, ""));
    let lines = rest.lines().map(str::trim_end);
    let lines = lines.filter(|line| !line.trim().is_empty());
    let program = first
        .strip_suffix(" stderr:")
        .and_then(|first| first.rsplit_once(": "));
    if let Some((first, program)) = program {
        let said = |line: &str| match line.strip_prefix(": ") {
            Some(end) => format!("{program} ended: {end}"),
            None => format!("{program}: {line}"),
        };
        return (first.to_owned(), lines.map(said).collect());
    }
    let notes = lines.map(|line| line.strip_prefix(": ").unwrap_or(line).to_owned());
    (first.to_owned(), notes.collect())
}

/// Returns `a`, or `a` and `b`, or `a`, `b` and 3 more.
pub(super) fn names(targets: &[&TargetName]) -> String {
    match targets {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [one, two] => format!("`{one}` and `{two}`"),
        [one, two, rest @ ..] => format!("`{one}`, `{two}` and {} more", rest.len()),
    }
}

/// Adds the lines of `excerpt` as labels. Without the text of the file, only a note can name the place.
fn add_source(
    diagnostic: Diagnostic,
    sources: &mut SourceMap,
    excerpt: &SourceExcerpt,
    primary: bool,
    exit_code: Option<i32>,
) -> Diagnostic {
    let name = text::clean_name(&excerpt.filename, 300);
    if excerpt.text.is_empty() {
        return match excerpt.lines.first() {
            Some((line, _)) => diagnostic.note(format!("at {name}:{line}")),
            None => diagnostic,
        };
    }
    let id = sources.add(name, excerpt.text.clone());
    let label = exit_code
        .filter(|_| primary)
        .map_or(String::new(), |code| format!("exit code {code}"));
    let mut labelled = diagnostic;
    for (at, (first, last)) in excerpt.lines.iter().take(8).enumerate() {
        let span = Span::new(id, line_range(&excerpt.text, *first, *last));
        let label = if at == 0 { label.as_str() } else { "" };
        labelled = if primary {
            labelled.at(span, label)
        } else {
            labelled.context(span, label)
        };
    }
    labelled
}

/// Returns the byte range of the lines `first` to `last`, both from 1, without the indentation of the first line
/// and the end of the last.
fn line_range(text: &str, first: u32, last: u32) -> std::ops::Range<usize> {
    let mut offset = 0;
    let mut start = text.len();
    let mut end = text.len();
    for (number, line) in (1u32..).zip(text.split_inclusive('\n')) {
        if number == first.max(1) {
            start = offset + (line.len() - line.trim_start().len());
        }
        if number == last.max(first).max(1) {
            end = offset + line.trim_end().len();
            break;
        }
        offset += line.len();
    }
    start.min(end)..end
}

/// Returns what an exit code usually means, or `None` if it has no usual meaning.
fn meaning(exit_code: i32) -> Option<&'static str> {
    Some(match exit_code {
        126 => "exit code 126: the command was found, but cannot be executed",
        127 => "exit code 127: the command was not found",
        137 => "exit code 137: the process was killed, which the kernel does when memory runs out",
        139 => "exit code 139: the process crashed (segmentation fault)",
        143 => "exit code 143: the process was asked to terminate",
        _ => return None,
    })
}

/// Returns help for the kind of failure, if the failure has no help yet.
fn default_help(failure: &SolveFailure) -> Option<&'static str> {
    if !failure.help.is_empty() {
        return None;
    }
    match failure.kind {
        FailureKind::Engine => Some(
            "`rbake builder status` shows which builder was used and whether it answers; if you run the command again, it continues from the cache",
        ),
        FailureKind::Entitlement => {
            Some("pass `--allow` with the privilege, if the build may have it")
        }
        FailureKind::Exhausted => Some("free disk space or memory where the builder runs"),
        FailureKind::Internal => Some("the builder's log may contain more details"),
        FailureKind::Build | FailureKind::Cancelled => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_of_git_becomes_notes_without_empty_lines() {
        let message = "failed to fetch remote https://h/x.git: git stderr:\nfatal: cannot\n\n: exit status 128";
        let (first, notes) = sentence_and_notes(message);
        assert_eq!(first, "failed to fetch remote https://h/x.git");
        assert_eq!(notes, ["git: fatal: cannot", "git ended: exit status 128"]);
        let (first, notes) = sentence_and_notes("it failed\n more\n: last");
        assert_eq!(
            (first.as_str(), notes),
            ("it failed", vec![" more".to_owned(), "last".to_owned()])
        );
        assert_eq!(
            sentence_and_notes("one line"),
            ("one line".to_owned(), vec![])
        );
    }

    #[test]
    fn line_numbers_outside_the_file_do_no_harm() {
        for (first, last) in [(0, 0), (1, 1), (2, 9), (9, 9), (3, 1), (u32::MAX, u32::MAX)] {
            let range = line_range("FROM a\n  RUN b\n", first, last);
            assert!("FROM a\n  RUN b\n".get(range).is_some(), "{first} {last}");
        }
        assert_eq!(line_range("FROM a\n  RUN b\n", 2, 2), 9..14);
    }
}
