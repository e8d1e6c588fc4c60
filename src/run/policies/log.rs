//! What policies log, shown as a step of the target.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;

use crate::definition::model::LogLevel;
use crate::event::{EventKind, EventSink, StatusUpdate, Vertex, VertexLog};
use crate::policy::PolicyLogLine;
use crate::types::terminal::visible;
use crate::types::{Digest, TargetName};

/// The step with the lines that policies log. It begins with the first line.
pub(super) struct PolicyLog {
    events: EventSink,
    target: TargetName,
    digest: Digest,
    name: String,
    started: Mutex<Option<SystemTime>>,
}

impl PolicyLog {
    /// The step for the policies in the files `names`.
    pub(super) fn new(events: EventSink, target: TargetName, names: &[&str]) -> Self {
        let name = format!("loading policies {}", names.join(", "));
        let digest = Digest::sha256(format!("{target} {name}").as_bytes());
        Self {
            events,
            target,
            digest,
            name,
            started: Mutex::default(),
        }
    }

    /// Shows those of `lines` that `level` includes.
    pub(super) fn add(&self, lines: Vec<PolicyLogLine>, level: LogLevel) {
        for line in lines {
            if rank(line.level) <= rank(level) {
                self.line(&line.text);
            }
        }
    }

    /// Shows `text`.
    pub(super) fn line(&self, text: &str) {
        let now = SystemTime::now();
        let mut update = StatusUpdate::default();
        {
            let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
            if started.is_none() {
                *started = Some(now);
                update
                    .vertices
                    .push(self.vertex(Some(now), None, String::new()));
            }
        }
        let mut data = String::new();
        for line in text.lines() {
            data.push_str(&visible(line));
            data.push('\n');
        }
        update.logs.push(VertexLog {
            vertex: self.digest.clone(),
            timestamp: Some(now),
            stream: 1,
            data: Bytes::from(data),
        });
        self.send(update);
    }

    /// Ends the step. `error` is why the policies have ended the target.
    pub(super) fn end(&self, error: Option<&str>) {
        let started = *self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if started.is_some() {
            let error = error.unwrap_or_default().to_owned();
            let vertex = self.vertex(started, Some(SystemTime::now()), error);
            self.send(StatusUpdate {
                vertices: vec![vertex],
                ..StatusUpdate::default()
            });
        }
    }

    fn vertex(
        &self,
        started: Option<SystemTime>,
        completed: Option<SystemTime>,
        error: String,
    ) -> Vertex {
        Vertex {
            digest: self.digest.clone(),
            inputs: Vec::new(),
            name: self.name.clone(),
            cached: false,
            started,
            completed,
            error,
            group: None,
        }
    }

    fn send(&self, update: StatusUpdate) {
        self.events.send(EventKind::Progress {
            target: self.target.clone(),
            update: Arc::new(update),
        });
    }
}

/// How much a level includes: all levels with a lower number.
const fn rank(level: LogLevel) -> u8 {
    match level {
        LogLevel::Panic => 0,
        LogLevel::Fatal => 1,
        LogLevel::Error => 2,
        LogLevel::Warning => 3,
        LogLevel::Info => 4,
        LogLevel::Debug => 5,
        LogLevel::Trace => 6,
    }
}
