//! Tells what was running when the time of a run was up (`--timeout`).

use std::time::Duration;

use crate::diag::{Class, Diagnostic};
use crate::outcome::{CancelReason, Outcome, TargetOutcome};
use crate::report::model::{Model, TargetAtStop};
use crate::report::{format, text};

/// The most characters of a step's name.
const STEP: usize = 100;

/// Returns the error of a run whose time was up. `None` for every other run.
pub(super) fn diagnostic(model: &Model, outcome: &Outcome) -> Option<Diagnostic> {
    let limit = limit(outcome)?;
    let limit = format::duration(limit);
    let message = format!("the run did not end within {limit} (`--timeout`)");
    let mut problem = Diagnostic::error(Class::Build, "run::timeout", message);
    if let Some(running) = model.at_stop() {
        for target in &running.targets {
            problem = problem.note(said_of(target));
        }
        if running.further > 0 {
            let more = format::count(running.further, "more target");
            problem = problem.note(format!("{more} running"));
        }
        for (work, elapsed) in &running.local {
            let work = text::clean_name(work, STEP);
            let elapsed = format::duration(*elapsed);
            problem = problem.note(format!("running for {elapsed}: {work}"));
        }
        if running.waiting > 0 {
            let targets = format::count(running.waiting, "target");
            problem = problem.note(format!("{targets} had not begun"));
        }
    }
    Some(problem.help(
        "if this is not a hang, allow more time; if you run the command again, it continues from the cache",
    ))
}

/// The limit of a run that was stopped because of it.
fn limit(outcome: &Outcome) -> Option<Duration> {
    let ends = outcome.targets.iter().filter_map(|(_, end)| match &**end {
        TargetOutcome::Cancelled(reason) => Some(reason),
        _ => None,
    });
    ends.chain(&outcome.interrupted)
        .find_map(|reason| match reason {
            CancelReason::TimedOut(limit) => Some(*limit),
            _ => None,
        })
}

fn said_of(target: &TargetAtStop) -> String {
    let elapsed = format::duration(target.elapsed);
    let steps: Vec<String> = target
        .steps
        .iter()
        .map(|(name, elapsed)| {
            let name = text::fit(name, STEP);
            format!("`{name}` for {}", format::duration(*elapsed))
        })
        .collect();
    let steps = if steps.is_empty() {
        "none of its steps was running".to_owned()
    } else {
        steps.join(", ")
    };
    format!("`{}` had been running for {elapsed}: {steps}", target.name)
}
