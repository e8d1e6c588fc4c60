//! Tells why a run failed. This is the last text that the user sees of a run.
//!
//! A failure is shown once, however many targets it affects, with the last output of the step, the lines of the
//! Dockerfile and the exit code. The first failure is printed last, so that it is nearest to the prompt. Targets
//! that were stopped because of it take one line above. If the run kept going, a list of all failures comes last.

mod diagnostic;
mod limit;
mod list;

use indexmap::IndexMap;

use super::model::{Model, Row, State};
use super::style::{Look, StyledLine, TextRole};
use super::{signs, text};
use crate::diag::{self, Diagnostic, SourceMap};
use crate::outcome::{CancelReason, FailureKind, Outcome, SolveFailure, TargetOutcome};
use crate::types::TargetName;
use diagnostic::diagnostic;

/// The most lines of output that are repeated.
const OUTPUT: usize = 20;
/// The most failures that are shown in full.
const MAX_FAILURES: usize = 10;

/// One failure and the targets that it affects, in the order of the plan.
struct Failure<'a> {
    targets: Vec<&'a TargetName>,
    failure: &'a SolveFailure,
}

/// Returns the text that tells why the run failed, or an empty text if it did not. `debug` adds stack traces.
pub(crate) fn text(
    model: &Model,
    outcome: &Outcome,
    columns: u16,
    look: &Look,
    debug: bool,
) -> String {
    let mut told = String::new();
    for line in bystanders(model, outcome) {
        told.push_str(&line.paint(look));
        told.push('\n');
    }
    let style = diag::Style {
        color: look.color,
        width: columns,
    };
    for problem in &outcome.problems {
        if !told.is_empty() {
            told.push('\n');
        }
        told.push_str(&diag::render(problem, &SourceMap::default(), style));
    }
    let failures = failures(model, outcome);
    let hidden = failures.len().saturating_sub(MAX_FAILURES);
    if hidden > 0 {
        let line = StyledLine::new().with(
            TextRole::Error,
            format!("{hidden} more failures are not shown"),
        );
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
        told.push_str(&diag::render(&diagnostic, &sources, style));
    }
    if let Some(problem) = limit::diagnostic(model, outcome) {
        if !told.is_empty() {
            told.push('\n');
        }
        told.push_str(&diag::render(&problem, &SourceMap::default(), style));
    }
    for line in list::lines(model, outcome, usize::from(columns), look) {
        told.push_str(&line.paint(look));
        told.push('\n');
    }
    told
}

/// Returns the diagnostics of all failures, the first failure first, each with the sources that its labels point
/// into, then the problems that came after the targets. Sentences of failures are cut to about `columns`.
pub(crate) fn diagnostics(
    model: &Model,
    outcome: &Outcome,
    columns: u16,
    debug: bool,
) -> Vec<(Diagnostic, SourceMap)> {
    let failures = failures(model, outcome);
    failures
        .iter()
        .map(|failure| diagnostic(model, failure, columns, debug))
        .chain(limit::diagnostic(model, outcome).map(|problem| (problem, SourceMap::default())))
        .chain(
            outcome
                .problems
                .iter()
                .map(|problem| (problem.clone(), SourceMap::default())),
        )
        .collect()
}

/// Returns the failures in the order in which they happened. Equal failures of several targets are merged.
fn failures<'a>(model: &Model, outcome: &'a Outcome) -> Vec<Failure<'a>> {
    let ended = |name: &TargetName| model.target_named(name).and_then(|target| target.ended);
    let mut order: Vec<(&TargetName, &SolveFailure)> = Vec::new();
    for (name, end) in &outcome.targets {
        if let TargetOutcome::Failed(failure) = &**end {
            order.push((name, failure));
        }
    }
    // If a target really failed, the daemon cancels other solves because of it. Those are not failures worth
    // showing.
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

/// Returns the target whose failure made the run stop the others, or `None` if nothing was stopped because of a
/// failure.
fn first_failure(outcome: &Outcome) -> Option<&TargetName> {
    outcome.targets.iter().find_map(|(_, end)| match &**end {
        TargetOutcome::Cancelled(CancelReason::FirstFailure(target)) => Some(target),
        _ => None,
    })
}

/// Returns lines that name the targets that were not built although they did not fail themselves.
fn bystanders(model: &Model, outcome: &Outcome) -> Vec<StyledLine> {
    let any_failed = outcome.targets.iter().any(
        |(_, end)| matches!(&**end, TargetOutcome::Failed(f) if f.kind != FailureKind::Cancelled),
    );
    let mut cancelled = Vec::new();
    let mut skipped: IndexMap<&TargetName, Vec<&str>> = IndexMap::new();
    for (name, end) in &outcome.targets {
        match &**end {
            TargetOutcome::Cancelled(_) => cancelled.push(name.as_str()),
            TargetOutcome::Failed(failure)
                if any_failed && failure.kind == FailureKind::Cancelled =>
            {
                cancelled.push(name.as_str());
            }
            TargetOutcome::Skipped { because } => {
                skipped.entry(because).or_default().push(name.as_str());
            }
            TargetOutcome::Succeeded(_) | TargetOutcome::Failed(_) => {}
        }
    }
    let line = |word: &str, names: Vec<&str>, because: &str| {
        (!names.is_empty()).then(|| {
            let names = text::fit(&names.join(", "), 400).into_owned();
            StyledLine::new()
                .with(TextRole::Cancelled, word)
                .with(TextRole::Plain, format!(": {names}"))
                .with(TextRole::Quiet, because)
        })
    };
    let because = match (first_failure(outcome), model.stopping()) {
        (Some(target), _) => format!(" (after `{target}` failed)"),
        (None, Some(reason)) => format!(" ({})", text::clean_name(reason, 100)),
        (None, None) => String::new(),
    };
    let skipped = skipped.into_iter().filter_map(|(because, names)| {
        let verb = if names.len() == 1 {
            "it needs"
        } else {
            "they need"
        };
        let why = format!(" ({verb} `{because}`, which was not built)");
        line("skipped", names, &why)
    });
    let cancelled = line("cancelled", cancelled, &because);
    cancelled.into_iter().chain(skipped).collect()
}

/// Returns the row that failed: the one whose vertex the failure names, or else the first failed row of its
/// targets.
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

/// Returns the last output of the failed step with a heading, or nothing if it wrote nothing.
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
            .with(TextRole::Strong, format!("{which} of "))
            .with(TextRole::Plain, &*row.name)
            .fit(columns),
    ];
    let sign = signs::output(look);
    // Not cut to the width, because users search for this text.
    lines.extend(row.tail().last(OUTPUT).map(|line| {
        StyledLine::new()
            .with(TextRole::Quiet, format!(" {sign} "))
            .with(TextRole::Plain, &*line.text)
    }));
    if let Some(limit) = &row.clipped {
        // When a step fails, BuildKit (v0.32) sends the last 256 KiB that it had left out.
        let said = format!(
            " {sign} (the builder left out a part: its limit of {} for the output of a step)",
            text::clean_name(limit, 40)
        );
        lines.push(StyledLine::new().with(TextRole::Quiet, said));
    }
    lines.push(StyledLine::new());
    lines
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

    const FAILURE: &str = include_str!("../../../tests/fixtures/status/failure.jsonl");

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
    fn equal_failures_are_shown_once_and_a_lost_builder_gets_help() {
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
         = help: `rbake builder status` shows which builder was used and whether it answers; if you run the command again, it continues from the cache
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
    fn a_run_that_kept_going_ends_with_a_list_of_all_failures() {
        let refused = || SolveFailure::new(FailureKind::Build, "registry refused the push");
        let text = told(FAILURE, |outcome| {
            outcome.kept_going = true;
            outcome.targets.retain(|(name, _)| name.as_str() == "test");
            outcome.targets.push(failed("web", refused()));
            for name in ["child", "grandchild"] {
                let because = "web".parse().unwrap();
                let end = TargetOutcome::Skipped { because };
                outcome.targets.push((name.parse().unwrap(), end.into()));
            }
            let because = "test".parse().unwrap();
            let end = TargetOutcome::Skipped { because };
            outcome.targets.push(("other".parse().unwrap(), end.into()));
        });
        let (start, end) = text.split_once("\n\n").unwrap();
        insta::assert_snapshot!(start, @r"
        skipped: child, grandchild (they need `web`, which was not built)
        skipped: other (it needs `test`, which was not built)
        ");
        let list = end.rsplit_once("\n\n").unwrap().1;
        let list: Vec<&str> = list.lines().collect();
        assert_eq!(list[0], "2 of 5 targets failed:");
        assert!(list[1].starts_with(" ✘ `test`  `RUN echo ") && list[1].ends_with("exit code 3"));
        assert_eq!(list[2..], [" ✘ `web`   registry refused the push"]);
        // Without the option, the first failure is the end.
        let text = told(FAILURE, |outcome| {
            outcome.targets.push(failed("more", refused()));
        });
        assert!(!text.contains("failed:\n"), "{text}");
    }

    #[test]
    fn a_failed_step_with_clipped_output_says_how_to_see_more() {
        let clip = "[output clipped, log limit 200KiB/s reached]";
        // The first line that the step has written is replaced: it is `Found 42 test(s).`.
        let line = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            format!("{clip}\n"),
        );
        let first = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            "Found 42 test(s).\n",
        );
        assert!(FAILURE.contains(&first));
        let text = told(&FAILURE.replace(&first, &line), |_| ());
        assert!(
            text.contains(
                " │ FAILED (failures=1)\n │ (the builder left out a part: its limit of 200KiB/s"
            ),
            "{text}"
        );
        assert!(
            text.contains(
                "note: the builder clipped the output of the step at its limit of 200KiB/s"
            ),
            "{text}"
        );
        assert!(
            text.contains("a higher `BUILDKIT_STEP_LOG_MAX_SPEED` (bytes per second)"),
            "{text}"
        );
        assert!(!told(FAILURE, |_| ()).contains("clipped"));
    }

    #[test]
    fn a_run_whose_time_was_up_says_what_was_running_and_for_how_long() {
        // The recording, up to the middle of the step that fails.
        let before = |line: &&str| {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            event["at"].as_f64().unwrap() < 6.0
        };
        let started: Vec<&str> = FAILURE.lines().take_while(before).collect();
        let started = started.join("\n");
        let stop = r#"{"at":60.25,"event":"stopping","reason":"it took too long"}"#;
        let text = told(&format!("{started}\n{stop}"), |outcome| {
            let reason = CancelReason::TimedOut(std::time::Duration::from_secs(60));
            let end = TargetOutcome::Cancelled(reason);
            outcome.targets = vec![("test".parse().unwrap(), end.into())];
        });
        let test = text.lines().find(|line| line.contains("`test` had been"));
        let test = test.unwrap_or_else(|| panic!("{text}"));
        assert!(
            test.contains("running for 1m00s: `[test 2/2] RUN"),
            "{text}"
        );
        assert!(
            text.contains("error[run::timeout]: the run did not end within 1m00s (`--timeout`)"),
            "{text}"
        );
        assert!(
            text.starts_with("cancelled: test (it took too long)"),
            "{text}"
        );
    }

    #[test]
    fn an_interrupted_run_reports_no_failure() {
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
    fn a_successful_run_prints_nothing() {
        assert_eq!(
            told(
                include_str!("../../../tests/fixtures/status/cold.jsonl"),
                |_| ()
            ),
            ""
        );
    }
}
