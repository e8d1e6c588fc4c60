//! Why a run failed: the last thing that is told.
//!
//! A failure is told once, however many targets it hit, with the last output of the step that failed, the lines of the
//! Dockerfile and the exit code; the one that came first comes last, nearest to the prompt. Targets that were stopped because
//! of it are one line above.

use super::model::name::split;
use super::model::{Model, Row, State};
use super::style::{Look, Role, StyledLine};
use super::{signs, text};
use crate::diag::{self, Class, Diagnostic, SourceMap, Span};
use crate::event::SourceExcerpt;
use crate::outcome::{CancelReason, FailureKind, Outcome, SolveFailure, TargetOutcome};
use crate::types::TargetName;

/// Lines of output that are told again.
const OUTPUT: usize = 20;
/// Bytes of a message's first line.
const MAX_TITLE: usize = 1000;
/// Bytes of the rest of a message.
const MAX_REST: usize = 8 * 1024;
/// Columns of a step's name within a sentence.
const STEP: std::ops::RangeInclusive<usize> = 24..=80;
/// Columns of that sentence besides the names in it.
const SENTENCE: usize = "error[build::step-failed]:  failed: `` ended with exit code 127".len();
/// Different failures that are told in full.
const MAX_FAILURES: usize = 10;

/// One failure and the targets it hit, in the order of the plan.
struct Failure<'a> {
    targets: Vec<&'a TargetName>,
    failure: &'a SolveFailure,
}

/// The text that tells why the run failed; empty if it did not. `debug` adds stack traces.
pub fn text(model: &Model, outcome: &Outcome, columns: u16, look: &Look, debug: bool) -> String {
    let mut told = String::new();
    for line in bystanders(model, outcome) {
        told.push_str(&line.paint(look));
        told.push('\n');
    }
    let failures = failures(model, outcome);
    let hidden = failures.len().saturating_sub(MAX_FAILURES);
    if hidden > 0 {
        let line =
            StyledLine::new().with(Role::Error, format!("{hidden} more failures are not shown"));
        told.push_str(&line.paint(look));
        told.push('\n');
    }
    for failure in failures.iter().take(MAX_FAILURES).rev() {
        if !told.is_empty() {
            told.push('\n');
        }
        for line in output(model, failure, usize::from(columns), look) {
            told.push_str(&line.paint(look));
            told.push('\n');
        }
        let (diagnostic, sources) = diagnostic(model, failure, columns, debug);
        let style = diag::Style {
            color: look.color,
            width: columns,
        };
        told.push_str(&diag::render(&diagnostic, &sources, style));
    }
    told
}

/// The diagnostics of all failures, the first failure first, each with the sources its places are in;
/// sentences are cut to about `columns`.
pub fn diagnostics(
    model: &Model,
    outcome: &Outcome,
    columns: u16,
    debug: bool,
) -> Vec<(Diagnostic, SourceMap)> {
    let failures = failures(model, outcome);
    failures
        .iter()
        .map(|failure| diagnostic(model, failure, columns, debug))
        .collect()
}

// The failures, equal ones joined, in the order in which they came.
fn failures<'a>(model: &Model, outcome: &'a Outcome) -> Vec<Failure<'a>> {
    let ended = |name: &TargetName| model.target_named(name).and_then(|target| target.ended);
    let mut order: Vec<(&TargetName, &SolveFailure)> = Vec::new();
    for (name, end) in &outcome.targets {
        if let TargetOutcome::Failed(failure) = &**end {
            order.push((name, failure));
        }
    }
    // Where something really failed, what the daemon stopped because of it is no news.
    if order
        .iter()
        .any(|(_, failure)| failure.kind != FailureKind::Cancelled)
    {
        order.retain(|(_, failure)| failure.kind != FailureKind::Cancelled);
    }
    order.sort_by_key(|(name, _)| ended(name).unwrap_or(std::time::Duration::MAX));
    let first = first_failure(outcome);
    order.sort_by_key(|(name, _)| first != Some(*name));

    let mut joined: Vec<Failure<'a>> = Vec::new();
    for (name, failure) in order {
        let same = |known: &&mut Failure<'_>| {
            let vertex = known.failure.vertex == failure.vertex && failure.vertex.is_some();
            known.failure.kind == failure.kind
                && (vertex || known.failure.message == failure.message)
        };
        match joined.iter_mut().find(same) {
            Some(known) => known.targets.push(name),
            None => joined.push(Failure {
                targets: vec![name],
                failure,
            }),
        }
    }
    joined
}

// The target whose failure stopped the others.
fn first_failure(outcome: &Outcome) -> Option<&TargetName> {
    outcome.targets.iter().find_map(|(_, end)| match &**end {
        TargetOutcome::Cancelled(CancelReason::FirstFailure(target)) => Some(target),
        _ => None,
    })
}

// The targets that were not built without having failed.
fn bystanders(model: &Model, outcome: &Outcome) -> Vec<StyledLine> {
    let any_failed = outcome.targets.iter().any(
        |(_, end)| matches!(&**end, TargetOutcome::Failed(f) if f.kind != FailureKind::Cancelled),
    );
    let (mut cancelled, mut skipped) = (Vec::new(), Vec::new());
    for (name, end) in &outcome.targets {
        match &**end {
            TargetOutcome::Cancelled(_) => cancelled.push(name.as_str()),
            TargetOutcome::Failed(failure)
                if any_failed && failure.kind == FailureKind::Cancelled =>
            {
                cancelled.push(name.as_str());
            }
            TargetOutcome::Skipped { .. } => skipped.push(name.as_str()),
            TargetOutcome::Succeeded(_) | TargetOutcome::Failed(_) => {}
        }
    }
    let line = |word: &str, names: Vec<&str>, because: &str| {
        (!names.is_empty()).then(|| {
            let names = text::fit(&names.join(", "), 400).into_owned();
            StyledLine::new()
                .with(Role::Cancelled, word)
                .with(Role::Plain, format!(": {names}"))
                .with(Role::Quiet, because)
        })
    };
    let because = match (first_failure(outcome), model.stopping()) {
        (Some(target), _) => format!(" (after `{target}` failed)"),
        (None, Some(reason)) => format!(" ({})", text::clean_name(reason, 100)),
        (None, None) => String::new(),
    };
    let needs = " (they need a target that was not built)";
    [
        line("cancelled", cancelled, &because),
        line("not started", skipped, needs),
    ]
    .into_iter()
    .flatten()
    .collect()
}

// The row that failed: the one that the failure names, else one that failed in one of its targets.
fn failed_row<'a>(model: &'a Model, failure: &Failure<'_>) -> Option<&'a Row> {
    let named = failure
        .failure
        .vertex
        .as_ref()
        .and_then(|digest| model.row(model.row_of(digest)?));
    named.or_else(|| {
        let targets = failure
            .targets
            .iter()
            .filter_map(|name| model.target_named(name));
        let mut rows = targets
            .flat_map(|target| &target.rows)
            .filter_map(|id| model.row(*id));
        rows.find(|row| row.state == State::Failed)
    })
}

fn output(model: &Model, failure: &Failure<'_>, columns: usize, look: &Look) -> Vec<StyledLine> {
    let Some(row) = failed_row(model, failure).filter(|row| !row.tail().is_empty()) else {
        return Vec::new();
    };
    let seen = row.tail().seen();
    let shown = row.tail().len().min(OUTPUT);
    let which = if seen > shown as u64 {
        format!("last {shown} of {seen} lines")
    } else {
        "output".to_owned()
    };
    let mut lines = vec![
        StyledLine::new()
            .with(Role::Strong, format!("{which} of "))
            .with(Role::Plain, &*row.name)
            .fit(columns),
    ];
    let sign = signs::output(look);
    // Not cut to the width: this is what one searches for.
    lines.extend(row.tail().last(OUTPUT).map(|line| {
        StyledLine::new()
            .with(Role::Quiet, format!(" {sign} "))
            .with(Role::Plain, &*line.text)
    }));
    lines.push(StyledLine::new());
    lines
}

fn diagnostic(
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
    let (first, rest) = message.split_once('\n').unwrap_or((&message, ""));
    let what = match (solve.exit_code, row) {
        (Some(code), Some(row)) => {
            let others = SENTENCE + text::width(&names(&failure.targets));
            let columns = usize::from(columns).saturating_sub(others);
            let columns = columns.clamp(*STEP.start(), *STEP.end());
            let step = text::fit(split(&row.name).1, columns).into_owned();
            format!("`{step}` ended with exit code {code}")
        }
        _ => text::clean_name(first, MAX_TITLE),
    };
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
    for line in rest.lines().take(20).filter(|line| !line.trim().is_empty()) {
        diagnostic = diagnostic.note(line);
    }
    if let Some(note) = solve.exit_code.and_then(meaning) {
        diagnostic = diagnostic.note(note);
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

// `a`, `a` and `b`, `a`, `b` and 3 more.
fn names(targets: &[&TargetName]) -> String {
    match targets {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [one, two] => format!("`{one}` and `{two}`"),
        [one, two, rest @ ..] => format!("`{one}`, `{two}` and {} more", rest.len()),
    }
}

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

// Bytes of the lines `first` to `last`, both from 1, without the indent of the first and the end of the last.
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

// What an exit code is known for.
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

fn default_help(failure: &SolveFailure) -> Option<&'static str> {
    if !failure.help.is_empty() {
        return None;
    }
    match failure.kind {
        FailureKind::Engine => Some(
            "`rbake builder status` tells which builder was used and whether it answers; running the command again resumes from its cache",
        ),
        FailureKind::Entitlement => {
            Some("pass `--allow` with the privilege, if the build may have it")
        }
        FailureKind::Exhausted => Some("free disk space or memory where the builder runs"),
        FailureKind::Internal => Some("the builder's log may say more"),
        FailureKind::Build | FailureKind::Cancelled => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::recording;

    fn told(text: &str, change: impl Fn(&mut Outcome)) -> String {
        let events = recording::read(text).unwrap();
        let mut model = Model::new();
        for event in &events {
            model.apply(event);
        }
        let mut outcome = recording::outcome_of(&events);
        change(&mut outcome);
        super::text(&model, &outcome, 100, &Look::default(), false)
    }

    const FAILURE: &str = include_str!("../../tests/fixtures/status/failure.jsonl");

    #[test]
    fn a_failed_step_and_its_siblings() {
        insta::assert_snapshot!(told(FAILURE, |_| ()), @r#"
        cancelled: celery, web (after `test` failed)

        output of [test 2/2] RUN echo "Found 42 test(s)."; sleep 0.8; echo "System check identified no issu…
         │ Found 42 test(s).
         │ System check identified no issues (0 silenced).
         │ AssertionError: 500 != 200
         │ FAIL: test_home (site.tests.HomeTest)
         │ Ran 42 tests in 1.204s
         │ FAILED (failures=1)

        error[build::step-failed]: `test` failed: `RUN echo "Found 42 test(s)."; …` ended with exit code 3
          --> Dockerfile:36:1
           |
        36 | RUN echo "Found 42 test(s)."; s...o "FAILED (failures=1)"; exit 3
           | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^...^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ exit code 3
        "#);
    }

    fn failed(name: &str, failure: SolveFailure) -> (TargetName, std::sync::Arc<TargetOutcome>) {
        (name.parse().unwrap(), TargetOutcome::Failed(failure).into())
    }

    #[test]
    fn equal_failures_are_told_once_and_a_lost_engine_with_a_way_out() {
        let lost = || {
            SolveFailure::new(
                FailureKind::Engine,
                "the session with `tcp://127.0.0.1:1234` ended\nconnection reset by peer",
            )
        };
        let text = told("", |outcome| {
            outcome.targets = vec![
                failed("web", lost()),
                failed("celery", lost()),
                failed("flower", lost()),
            ];
        });
        insta::assert_snapshot!(text, @r#"
        error[engine::lost]: `web`, `celery` and 1 more failed: the session with `tcp://127.0.0.1:1234` ended
         |
         = note: connection reset by peer
         = help: `rbake builder status` tells which builder was used and whether it answers; running the command again resumes from its cache
        "#);
    }

    #[test]
    fn several_failures_end_with_the_first() {
        let text = told(FAILURE, |outcome| {
            outcome.targets.retain(|(name, _)| name.as_str() != "web");
            outcome.targets.push(failed(
                "web",
                SolveFailure::new(FailureKind::Build, "registry refused the push"),
            ));
        });
        let web = text
            .find("error[build::failed]: `web` failed: registry refused")
            .unwrap();
        let test = text
            .find("error[build::step-failed]: `test` failed")
            .unwrap();
        assert!(web < test, "{text}");
        assert!(
            text.contains("cancelled: celery (after `test` failed)"),
            "{text}"
        );
    }

    #[test]
    fn an_interrupted_run_has_no_failure() {
        let text = told(
            r#"{"at":1,"event":"stopping","reason":"interrupted"}"#,
            |outcome| {
                let end = TargetOutcome::Cancelled(CancelReason::Signal(2));
                outcome.targets = vec![("web".parse().unwrap(), end.into())];
            },
        );
        assert_eq!(text, "cancelled: web (interrupted)\n");
    }

    #[test]
    fn a_successful_run_tells_nothing() {
        assert_eq!(
            told(
                include_str!("../../tests/fixtures/status/cold.jsonl"),
                |_| ()
            ),
            ""
        );
    }

    #[test]
    fn lines_that_are_not_there_do_no_harm() {
        for (first, last) in [(0, 0), (1, 1), (2, 9), (9, 9), (3, 1), (u32::MAX, u32::MAX)] {
            let range = line_range("FROM a\n  RUN b\n", first, last);
            assert!("FROM a\n  RUN b\n".get(range).is_some(), "{first} {last}");
        }
        assert_eq!(line_range("FROM a\n  RUN b\n", 2, 2), 9..14);
    }
}
