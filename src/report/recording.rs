//! A run's events as text, one JSON object a line, so that a run can be looked at again.
//!
//! Recordings of real runs are what the tests replay; `examples/replay.rs` draws one at the pace it happened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::status_json::{SolveStatus, StatusJsonError};
use crate::diag::Diagnostic;
use crate::event::{Event, EventKind, LocalWork, SourceExcerpt, Transfer};
use crate::outcome::{
    CancelReason, FailureKind, Outcome, SolveFailure, Solved, SpecialFiles, TargetOutcome,
};
use crate::types::TargetName;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A line is no JSON, or not of the expected form.
    #[error("line {line} of the recording is damaged")]
    Line {
        /// Line number from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A line's progress cannot be understood.
    #[error("line {line} of the recording holds no progress")]
    Status {
        /// Line number from 1.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: StatusJsonError,
    },
    /// A line names something that is no target.
    #[error("line {line} of the recording names `{name}`, which is no target's name")]
    Target {
        /// Line number from 1.
        line: usize,
        /// The name.
        name: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    // Seconds since the run began.
    at: f64,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum What {
    Run {
        builder: String,
        driver: String,
        targets: Vec<String>,
    },
    Started {
        target: String,
    },
    Status {
        target: String,
        status: SolveStatus,
    },
    Local {
        id: String,
        target: Option<String>,
        name: String,
        current: u64,
        total: Option<u64>,
        done: bool,
        error: Option<String>,
    },
    Transfer {
        id: u64,
        local: String,
        dir: String,
        entries: u64,
        files: u64,
        bytes: u64,
        done: bool,
    },
    Finished {
        target: String,
        #[serde(flatten)]
        end: End,
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

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "lowercase")]
enum End {
    Succeeded {
        #[serde(default)]
        response: BTreeMap<String, String>,
    },
    Failed {
        kind: Failure,
        message: String,
        vertex: Option<String>,
        #[serde(default)]
        sources: Vec<Source>,
        exit_code: Option<i32>,
        #[serde(default)]
        help: Vec<String>,
    },
    Skipped {
        because: String,
    },
    Cancelled {
        // The target that failed first; none for another reason.
        because: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Failure {
    Build,
    Engine,
    Entitlement,
    Internal,
    Exhausted,
    Cancelled,
}

#[derive(Debug, Serialize, Deserialize)]
struct Source {
    filename: String,
    text: String,
    lines: Vec<(u32, u32)>,
}

/// The line that records `event`, without its end.
pub fn line_of(event: &Event) -> String {
    let what = match &event.kind {
        EventKind::RunStarted {
            builder,
            driver,
            targets,
        } => What::Run {
            builder: builder.clone(),
            driver: driver.clone(),
            targets: targets.iter().map(ToString::to_string).collect(),
        },
        EventKind::TargetStarted { target } => What::Started {
            target: target.to_string(),
        },
        EventKind::Progress { target, update } => What::Status {
            target: target.to_string(),
            status: SolveStatus::of(update, ToOwned::to_owned),
        },
        EventKind::Local(work) => What::Local {
            id: work.id.clone(),
            target: work.target.as_ref().map(ToString::to_string),
            name: work.name.clone(),
            current: work.current,
            total: work.total,
            done: work.done,
            error: work.error.clone(),
        },
        EventKind::Transfer(transfer) => What::Transfer {
            id: transfer.id,
            local: transfer.local.clone(),
            dir: transfer.dir.to_string_lossy().into_owned(),
            entries: transfer.entries,
            files: transfer.files,
            bytes: transfer.bytes,
            done: transfer.done,
        },
        EventKind::TargetFinished { target, outcome } => What::Finished {
            target: target.to_string(),
            end: end_of(outcome),
        },
        EventKind::Notice(notice) => What::Notice {
            message: notice.message.clone(),
            help: notice.help.clone(),
        },
        EventKind::Stopping { reason } => What::Stopping {
            reason: reason.clone(),
        },
        EventKind::RunFinished => What::Over,
    };
    let line = Line {
        at: event.at.as_secs_f64(),
        what,
    };
    // Maps with text keys, text and numbers: there is nothing that JSON cannot hold.
    serde_json::to_string(&line).unwrap_or_default()
}

fn end_of(outcome: &TargetOutcome) -> End {
    match outcome {
        TargetOutcome::Succeeded(solved) => End::Succeeded {
            response: solved.response.clone(),
        },
        TargetOutcome::Failed(failure) => End::Failed {
            kind: match failure.kind {
                FailureKind::Build => Failure::Build,
                FailureKind::Engine => Failure::Engine,
                FailureKind::Entitlement => Failure::Entitlement,
                FailureKind::Internal => Failure::Internal,
                FailureKind::Exhausted => Failure::Exhausted,
                FailureKind::Cancelled => Failure::Cancelled,
            },
            message: failure.message.clone(),
            vertex: failure.vertex.as_ref().map(ToString::to_string),
            sources: failure
                .sources
                .iter()
                .map(|source| Source {
                    filename: source.filename.clone(),
                    text: source.text.to_string(),
                    lines: source.lines.clone(),
                })
                .collect(),
            exit_code: failure.exit_code,
            help: failure.help.clone(),
        },
        TargetOutcome::Skipped { because } => End::Skipped {
            because: because.to_string(),
        },
        TargetOutcome::Cancelled(reason) => End::Cancelled {
            because: match reason {
                CancelReason::FirstFailure(target) => Some(target.to_string()),
                CancelReason::Signal(_) | CancelReason::ReporterBroken => None,
            },
        },
    }
}

/// The events that `text` records.
pub fn read(text: &str) -> Result<Vec<Event>, RecordingError> {
    let lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| event_of(number, line)).collect()
}

/// How the run that `events` tell of ended.
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
    let name = |name: String| {
        name.parse::<TargetName>()
            .map_err(|_| RecordingError::Target { line, name })
    };
    let kind = match what {
        What::Run {
            builder,
            driver,
            targets,
        } => EventKind::RunStarted {
            builder,
            driver,
            targets: targets.into_iter().map(name).collect::<Result<_, _>>()?,
        },
        What::Started { target } => EventKind::TargetStarted {
            target: name(target)?,
        },
        What::Status { target, status } => EventKind::Progress {
            target: name(target)?,
            update: Arc::new(
                status
                    .into_update()
                    .map_err(|source| RecordingError::Status { line, source })?,
            ),
        },
        What::Local {
            id,
            target,
            name: work,
            current,
            total,
            done,
            error,
        } => EventKind::Local(LocalWork {
            id,
            target: target.map(name).transpose()?,
            name: work,
            current,
            total,
            done,
            error,
        }),
        What::Transfer {
            id,
            local,
            dir,
            entries,
            files,
            bytes,
            done,
        } => EventKind::Transfer(Transfer {
            id,
            local,
            dir: dir.into(),
            entries,
            files,
            bytes,
            done,
        }),
        What::Finished { target, end } => {
            let elapsed = Duration::try_from_secs_f64(at).unwrap_or_default();
            EventKind::TargetFinished {
                target: name(target)?,
                outcome: Arc::new(outcome_from(end, elapsed, name)?),
            }
        }
        What::Notice { message, help } => EventKind::Notice(Diagnostic {
            help,
            ..Diagnostic::warning("", message)
        }),
        What::Stopping { reason } => EventKind::Stopping { reason },
        What::Over => EventKind::RunFinished,
    };
    Ok(Event {
        at: Duration::try_from_secs_f64(at).unwrap_or_default(),
        kind,
    })
}

fn outcome_from(
    end: End,
    elapsed: Duration,
    name: impl Fn(String) -> Result<TargetName, RecordingError>,
) -> Result<TargetOutcome, RecordingError> {
    Ok(match end {
        End::Succeeded { response } => TargetOutcome::Succeeded(Solved {
            response,
            build_ref: String::new(),
            elapsed,
            size: None,
            special: SpecialFiles::default(),
        }),
        End::Failed {
            kind,
            message,
            vertex,
            sources,
            exit_code,
            help,
        } => {
            let kind = match kind {
                Failure::Build => FailureKind::Build,
                Failure::Engine => FailureKind::Engine,
                Failure::Entitlement => FailureKind::Entitlement,
                Failure::Internal => FailureKind::Internal,
                Failure::Exhausted => FailureKind::Exhausted,
                Failure::Cancelled => FailureKind::Cancelled,
            };
            let source = |source: Source| SourceExcerpt {
                filename: source.filename,
                text: source.text.into(),
                lines: source.lines,
            };
            TargetOutcome::Failed(SolveFailure {
                vertex: vertex.and_then(|digest| digest.parse().ok()),
                sources: sources.into_iter().map(source).collect(),
                exit_code,
                help,
                ..SolveFailure::new(kind, message)
            })
        }
        End::Skipped { because } => TargetOutcome::Skipped {
            because: name(because)?,
        },
        End::Cancelled { because } => TargetOutcome::Cancelled(match because {
            Some(because) => CancelReason::FirstFailure(name(because)?),
            None => CancelReason::Signal(2),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_of_a_recording_is_the_same() {
        let text = include_str!("../../tests/fixtures/status/failure.jsonl");
        let events = read(text).unwrap();
        assert!(events.len() > 50);
        let again: Vec<String> = events.iter().map(line_of).collect();
        let events_again = read(&again.join("\n")).unwrap();
        assert_eq!(format!("{events:?}"), format!("{events_again:?}"));
    }

    #[test]
    fn damage_is_told_with_its_line() {
        let error = read("{\"at\":0,\"event\":\"over\"}\n\n{\"at\":1}").unwrap_err();
        assert_eq!(error.to_string(), "line 3 of the recording is damaged");
        let error = read("{\"at\":0,\"event\":\"started\",\"target\":\"a b\"}").unwrap_err();
        assert!(error.to_string().contains("`a b`"), "{error}");
    }
}
