//! Progress in the JSON form of BuildKit's `client.SolveStatus`, which `--progress=rawjson` writes and other tools
//! read.
//!
//! The names of the fields, and which ones are left out when empty, are those of Go's `encoding/json` for that
//! type.

#[cfg(any(test, feature = "recording"))]
mod read;

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

#[cfg(any(test, feature = "recording"))]
pub(crate) use read::StatusJsonError;

use crate::event::{StatusUpdate, Vertex, VertexLog, VertexProgress, VertexWarning};

/// BuildKit's `client.SolveStatus`.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
pub struct SolveStatus {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    vertexes: Vec<JsonVertex>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<JsonProgress>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    logs: Vec<JsonLog>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<JsonWarning>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
struct JsonVertex {
    digest: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    completed: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    cached: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    error: String,
    #[serde(
        default,
        rename = "progressGroup",
        skip_serializing_if = "Option::is_none"
    )]
    group: Option<JsonGroup>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
struct JsonGroup {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    weak: bool,
}

#[derive(Debug, Serialize)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
struct JsonProgress {
    id: String,
    vertex: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    total: i64,
    #[serde(default)]
    current: i64,
    #[serde(default)]
    timestamp: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    completed: Option<String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
struct JsonLog {
    vertex: String,
    #[serde(default, skip_serializing_if = "is_default")]
    stream: i64,
    #[serde(default)]
    data: String,
    #[serde(default)]
    timestamp: String,
}

#[derive(Debug, Serialize)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
struct JsonWarning {
    vertex: String,
    #[serde(default, skip_serializing_if = "is_default")]
    level: i64,
    #[serde(default)]
    short: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    detail: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    url: String,
    #[serde(
        default,
        rename = "sourceInfo",
        skip_serializing_if = "Option::is_none"
    )]
    source: Option<JsonSource>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    range: Vec<JsonRange>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
struct JsonSource {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    filename: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    data: String,
}

#[derive(Debug, Serialize)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
struct JsonRange {
    start: JsonPosition,
    end: JsonPosition,
}

#[derive(Debug, Serialize)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
struct JsonPosition {
    #[serde(default, skip_serializing_if = "is_default")]
    line: u32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Go's zero time. Go writes it for a field without `omitempty` that was not set.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

fn time_to_json(time: SystemTime) -> String {
    // Only a broken daemon sends a time outside the calendar's range.
    jiff::Timestamp::try_from(time).map_or_else(|_| ZERO_TIME.to_owned(), |time| time.to_string())
}

fn time_or_zero(time: Option<SystemTime>) -> String {
    time.map_or_else(|| ZERO_TIME.to_owned(), time_to_json)
}

impl SolveStatus {
    /// Converts `update`. `name` maps the name of a vertex or group to the name that is written.
    pub fn of(update: &StatusUpdate, name: impl Fn(&str) -> String) -> Self {
        let vertex = |vertex: &Vertex| JsonVertex {
            digest: vertex.digest.to_string(),
            inputs: vertex.inputs.iter().map(ToString::to_string).collect(),
            name: name(&vertex.name),
            started: vertex.started.map(time_to_json),
            completed: vertex.completed.map(time_to_json),
            cached: vertex.cached,
            error: vertex.error.clone(),
            group: vertex.group.as_ref().map(|group| JsonGroup {
                id: group.id.clone(),
                name: name(&group.name),
                weak: group.weak,
            }),
        };
        Self {
            vertexes: update.vertices.iter().map(vertex).collect(),
            statuses: update.progress.iter().map(progress_to_json).collect(),
            logs: update.logs.iter().map(log_to_json).collect(),
            warnings: update.warnings.iter().map(warning_to_json).collect(),
        }
    }

    /// Whether it contains nothing, so that it need not be written.
    pub fn is_empty(&self) -> bool {
        self.vertexes.is_empty()
            && self.statuses.is_empty()
            && self.logs.is_empty()
            && self.warnings.is_empty()
    }
}

fn progress_to_json(progress: &VertexProgress) -> JsonProgress {
    JsonProgress {
        id: progress.id.clone(),
        vertex: progress.vertex.to_string(),
        name: progress.name.clone(),
        total: progress.total,
        current: progress.current,
        timestamp: time_or_zero(progress.timestamp),
        started: progress.started.map(time_to_json),
        completed: progress.completed.map(time_to_json),
    }
}

fn log_to_json(log: &VertexLog) -> JsonLog {
    JsonLog {
        vertex: log.vertex.to_string(),
        stream: log.stream,
        data: BASE64.encode(&log.data),
        timestamp: time_or_zero(log.timestamp),
    }
}

fn warning_to_json(warning: &VertexWarning) -> JsonWarning {
    let position = |line: u32| JsonPosition { line };
    let ranges = warning.source.iter().flat_map(|source| &source.lines);
    JsonWarning {
        vertex: warning.vertex.to_string(),
        level: warning.level,
        short: BASE64.encode(&warning.short),
        detail: warning
            .detail
            .iter()
            .map(|line| BASE64.encode(line))
            .collect(),
        url: warning.url.clone(),
        source: warning.source.as_ref().map(|source| JsonSource {
            filename: source.filename.clone(),
            data: BASE64.encode(source.text.as_bytes()),
        }),
        range: ranges
            .map(|(start, end)| JsonRange {
                start: position(*start),
                end: position(*end),
            })
            .collect(),
    }
}
