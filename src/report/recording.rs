//! Reads recorded events of a run, one JSON object a line, so that the run can be shown again.
//!
//! The tests replay recordings of real runs. `examples/replay.rs` draws one at its original pace. The feature
//! `recording` adds this module; the program itself does not contain it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::status_json::{SolveStatus, StatusJsonError};
use crate::diag::Diagnostic;
use crate::event::{Event, EventKind, LocalWork, Transfer};
use crate::outcome::{Outcome, TargetOutcome};
use crate::types::TargetName;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A line is not JSON, or not of the expected form.
    #[error("line {line} of the recording is damaged")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// The error of the JSON parser.
        #[source]
        source: serde_json::Error,
    },
    /// The progress in a line is invalid.
    #[error("line {line} of the recording is not valid progress")]
    Status {
        /// The number of the line, from 1.
        line: usize,
        /// The field that is invalid.
        #[source]
        source: StatusJsonError,
    },
}

#[derive(Debug, Deserialize)]
struct Line {
    /// Seconds since the run began.
    at: f64,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum What {
    Run {
        builder: String,
        driver: String,
        targets: Vec<TargetName>,
    },
    Queued {
        target: TargetName,
        limit: NonZeroU32,
    },
    Started {
        target: TargetName,
    },
    Status {
        target: TargetName,
        status: SolveStatus,
    },
    Local(LocalWork),
    Transfer(Transfer),
    Finished {
        target: TargetName,
        #[serde(flatten)]
        end: TargetOutcome,
    },
    Notice {
        message: String,
        #[serde(default)]
        help: Vec<String>,
    },
    Stopping {
        reason: String,
    },
    Over,
}

/// Returns the events that `text` records.
pub fn read(text: &str) -> Result<Vec<Event>, RecordingError> {
    let lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| event_of(number, line)).collect()
}

/// Returns how the run of `events` ended.
pub fn outcome_of(events: &[Event]) -> Outcome {
    let mut outcome = Outcome::default();
    for event in events {
        outcome.elapsed = outcome.elapsed.max(event.at);
        if let EventKind::TargetFinished {
            target,
            outcome: end,
        } = &event.kind
        {
            outcome.targets.push((target.clone(), end.clone()));
        }
    }
    outcome
}

fn event_of(line: usize, text: &str) -> Result<Event, RecordingError> {
    let Line { at, what } =
        serde_json::from_str(text).map_err(|source| RecordingError::Line { line, source })?;
    let at = Duration::try_from_secs_f64(at).unwrap_or_default();
    let kind = match what {
        What::Run {
            builder,
            driver,
            targets,
        } => EventKind::RunStarted {
            builder,
            driver,
            targets,
        },
        What::Queued { target, limit } => EventKind::TargetQueued { target, limit },
        What::Started { target } => EventKind::TargetStarted { target },
        What::Status { target, status } => EventKind::Progress {
            target,
            update: Arc::new(
                status
                    .into_update()
                    .map_err(|source| RecordingError::Status { line, source })?,
            ),
        },
        What::Local(work) => EventKind::Local(work),
        What::Transfer(transfer) => EventKind::Transfer(transfer),
        What::Finished { target, mut end } => {
            // In a recording, all solves begin when the run begins.
            if let TargetOutcome::Succeeded(solved) = &mut end {
                solved.elapsed = at;
            }
            EventKind::TargetFinished {
                target,
                outcome: Arc::new(end),
            }
        }
        What::Notice { message, help } => EventKind::Notice(Diagnostic {
            help,
            ..Diagnostic::warning("", message)
        }),
        What::Stopping { reason } => EventKind::Stopping { reason },
        What::Over => EventKind::RunFinished,
    };
    Ok(Event { at, kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{CancelReason, FailureKind};

    #[test]
    fn a_recorded_failure_is_read_with_all_its_parts() {
        let events = read(include_str!("../../tests/fixtures/status/failure.jsonl")).unwrap();
        assert!(events.len() > 50);
        let ends = outcome_of(&events).targets;
        let [(_, test), (_, celery), (_, web)] = &*ends else {
            panic!("{ends:?}")
        };
        let TargetOutcome::Failed(failure) = &**test else {
            panic!("{test:?}")
        };
        assert_eq!(failure.kind, FailureKind::Build);
        assert_eq!(failure.exit_code, Some(3));
        assert!(failure.vertex.is_some() && !failure.sources[0].lines.is_empty());
        let because: TargetName = "test".parse().unwrap();
        for end in [celery, web] {
            let TargetOutcome::Cancelled(CancelReason::FirstFailure(target)) = &**end else {
                panic!("{end:?}")
            };
            assert_eq!(*target, because);
        }
    }

    #[test]
    fn damage_is_reported_with_its_line() {
        let error = read("{\"at\":0,\"event\":\"over\"}\n\n{\"at\":1}").unwrap_err();
        assert_eq!(error.to_string(), "line 3 of the recording is damaged");
        let error = read("{\"at\":0,\"event\":\"started\",\"target\":\"a b\"}").unwrap_err();
        let error = crate::types::causes::in_one_line(&error);
        assert!(error.contains("`a b` is not a valid name"), "{error}");
    }
}
