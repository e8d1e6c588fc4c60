//! The command of a gate. It is shown like a target that is built last.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use serde_json::{Map, Value};
use tokio::process::Command;
use tokio::time::Instant;

use crate::event::{EventKind, EventSink, StatusUpdate, Vertex, VertexLog};
use crate::outcome::{CancelReason, FailureKind, SolveFailure, Solved, TargetOutcome};
use crate::run::Stop;
use crate::types::processes::{self, OutputStream};
use crate::types::{Clock, Digest, Environment, TargetName};

/// The names under which the command is shown, the first of which no target has.
const NAMES: [&str; 3] = ["gate-run", "gate-run-command", "rbake-gate-run-command"];

/// The variable with the images of all targets, as JSON.
const ALL_IMAGES: &str = "RBAKE_IMAGES";
/// What the variable with the image of a target begins with.
const IMAGE: &str = "RBAKE_IMAGE_";

/// An image that the command gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct GateImage {
    /// The target.
    pub(in crate::run) target: TargetName,
    /// The repository and the digest: `repository@sha256:…`.
    pub(in crate::run) name: String,
}

/// A command that decides whether mutable tags move.
#[derive(Debug, Clone)]
pub(in crate::run) struct GateCommand {
    /// The name under which it is shown.
    pub(in crate::run) name: TargetName,
    text: String,
}

impl GateCommand {
    /// The command `text`, in a run that builds `targets`.
    pub(in crate::run) fn new(text: &str, targets: &[TargetName]) -> Option<Self> {
        let mut names = NAMES.iter().filter_map(|name| name.parse().ok());
        let name = names.find(|name| !targets.contains(name))?;
        Some(Self {
            name,
            text: text.to_owned(),
        })
    }

    /// Ends the command before it began.
    pub(in crate::run) fn cancelled(
        &self,
        reason: CancelReason,
        events: &EventSink,
    ) -> TargetOutcome {
        let outcome = TargetOutcome::Cancelled(reason);
        events.send(EventKind::TargetFinished {
            target: self.name.clone(),
            outcome: Arc::new(outcome.clone()),
        });
        outcome
    }

    /// Runs the command in a shell, in the working directory, until it ends or `stop` is requested.
    pub(in crate::run) async fn run(
        &self,
        images: &[GateImage],
        environment: &Environment,
        clock: &Clock,
        events: &EventSink,
        stop: &Stop,
    ) -> TargetOutcome {
        let target = self.name.clone();
        events.send(EventKind::TargetStarted {
            target: target.clone(),
        });
        let shown = Shown {
            target,
            vertex: Digest::sha256(self.text.as_bytes()),
            name: self.text.clone(),
            started: clock.now(),
            clock,
            events,
        };
        shown.vertex(None, "");
        let mut command = Command::new("sh");
        command
            .args(["-c", &self.text])
            .current_dir(environment.current_dir())
            .envs(variables(images))
            .stdin(Stdio::null());
        let began = Instant::now();
        let mut reason = None;
        let stopped = async { reason = Some(stop.requested().await) };
        let ended = processes::stream(&mut command, stopped, |stream, data| {
            shown.log(stream, data);
        })
        .await;
        let failure = match ended {
            Ok(Some(status)) if status.success() => None,
            Ok(Some(status)) => {
                let mut failure = SolveFailure::new(
                    FailureKind::Build,
                    format!("the command of the gate ended with {status}"),
                );
                failure.exit_code = status.code();
                Some(failure)
            }
            Ok(None) => {
                shown.vertex(Some(clock.now()), "interrupted");
                let reason = reason.unwrap_or(CancelReason::ReporterBroken);
                return shown.end(TargetOutcome::Cancelled(reason));
            }
            Err(error) => {
                let message = format!("cannot run the command of the gate: {error}");
                Some(SolveFailure::new(FailureKind::Build, message))
            }
        };
        let outcome = match failure {
            None => {
                shown.vertex(Some(clock.now()), "");
                TargetOutcome::Succeeded(Solved {
                    elapsed: began.elapsed(),
                    ..Solved::default()
                })
            }
            Some(mut failure) => {
                shown.vertex(Some(clock.now()), &failure.message);
                failure.vertex = Some(shown.vertex.clone());
                failure.help.push("no mutable tag has moved".to_owned());
                TargetOutcome::Failed(failure)
            }
        };
        shown.end(outcome)
    }
}

/// How the command is shown: as a target with one step.
struct Shown<'a> {
    target: TargetName,
    vertex: Digest,
    name: String,
    started: SystemTime,
    clock: &'a Clock,
    events: &'a EventSink,
}

impl Shown<'_> {
    fn send(&self, update: StatusUpdate) {
        self.events.send(EventKind::Progress {
            target: self.target.clone(),
            update: Arc::new(update),
        });
    }

    fn vertex(&self, completed: Option<SystemTime>, error: &str) {
        self.send(StatusUpdate {
            vertices: vec![Vertex {
                digest: self.vertex.clone(),
                inputs: Vec::new(),
                name: self.name.clone(),
                cached: false,
                started: Some(self.started),
                completed,
                error: error.to_owned(),
                group: None,
            }],
            ..StatusUpdate::default()
        });
    }

    fn log(&self, stream: OutputStream, data: Bytes) {
        self.send(StatusUpdate {
            logs: vec![VertexLog {
                vertex: self.vertex.clone(),
                timestamp: Some(self.clock.now()),
                stream: match stream {
                    OutputStream::Stdout => 1,
                    OutputStream::Stderr => 2,
                },
                data,
            }],
            ..StatusUpdate::default()
        });
    }

    fn end(&self, outcome: TargetOutcome) -> TargetOutcome {
        self.events.send(EventKind::TargetFinished {
            target: self.target.clone(),
            outcome: Arc::new(outcome.clone()),
        });
        outcome
    }
}

/// The variables of the command. In the name of a target's variable, its letters are upper case, and `-` is `_`.
fn variables(images: &[GateImage]) -> BTreeMap<String, String> {
    let mut all = Map::new();
    let mut variables = BTreeMap::new();
    // The order in which the targets ended is random.
    let mut images: Vec<&GateImage> = images.iter().collect();
    images.sort_by_key(|image| &image.target);
    for image in images {
        let name = image.target.as_str().to_ascii_uppercase().replace('-', "_");
        variables.insert(format!("{IMAGE}{name}"), image.name.clone());
        all.insert(image.target.to_string(), image.name.as_str().into());
    }
    variables.insert(ALL_IMAGES.to_owned(), Value::Object(all).to_string());
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_gets_the_images_by_their_digests() {
        let image = |target: &str, name: &str| GateImage {
            target: target.parse().unwrap(),
            name: name.to_owned(),
        };
        let found = variables(&[image("web", "r/web@sha256:1"), image("a-b", "r/a@sha256:2")]);
        let expected = [
            (
                "RBAKE_IMAGES",
                r#"{"a-b":"r/a@sha256:2","web":"r/web@sha256:1"}"#,
            ),
            ("RBAKE_IMAGE_A_B", "r/a@sha256:2"),
            ("RBAKE_IMAGE_WEB", "r/web@sha256:1"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found, BTreeMap::from(expected));
    }

    #[tokio::test]
    async fn the_command_is_shown_with_its_output_and_its_failure() {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let events = EventSink::new(Clock::system(), move |event| {
            if let EventKind::Progress { update, .. } = event.kind {
                let logs = update.logs.iter().map(|log| (log.stream, log.data.clone()));
                kept.lock().unwrap().extend(logs);
            }
        });
        let command = GateCommand::new("echo one; echo two >&2; exit 3", &[]).unwrap();
        let outcome = command
            .run(
                &[],
                &Environment::of([], "/"),
                &Clock::system(),
                &events,
                &Stop::default(),
            )
            .await;
        let TargetOutcome::Failed(failure) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(failure.exit_code, Some(3));
        let mut seen = seen.lock().unwrap().clone();
        seen.sort();
        assert_eq!(seen, [(1, "one\n".into()), (2, "two\n".into())]);
    }

    #[test]
    fn the_name_of_the_command_is_not_that_of_a_target() {
        let taken: TargetName = "gate-run".parse().unwrap();
        let command = GateCommand::new("x", &[taken]).unwrap();
        assert_eq!(command.name.as_str(), "gate-run-command");
    }
}
