//! Progress in the JSON form of `BuildKit`'s `client.SolveStatus`, which `--progress=rawjson` writes and other tools read.
//!
//! Field names, and which fields are left out when empty, are those of Go's `encoding/json` over that type.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::event::{
    ProgressGroup, SourceExcerpt, StatusUpdate, Vertex, VertexLog, VertexProgress, VertexWarning,
};
use crate::types::Digest;

/// Why text is not the JSON form of progress.
#[derive(Debug, thiserror::Error)]
pub enum StatusJsonError {
    /// A field holds something else than it should.
    #[error("`{field}` holds `{value}`, which cannot be understood")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
}

/// `client.SolveStatus`.
#[derive(Debug, Default, Serialize, Deserialize)]
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

#[derive(Debug, Serialize, Deserialize)]
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

#[derive(Debug, Serialize, Deserialize)]
struct JsonGroup {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    weak: bool,
}

#[derive(Debug, Serialize, Deserialize)]
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

#[derive(Debug, Serialize, Deserialize)]
struct JsonLog {
    vertex: String,
    #[serde(default, skip_serializing_if = "is_default")]
    stream: i64,
    #[serde(default)]
    data: String,
    #[serde(default)]
    timestamp: String,
}

#[derive(Debug, Serialize, Deserialize)]
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

#[derive(Debug, Serialize, Deserialize)]
struct JsonSource {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    filename: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    data: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct JsonRange {
    start: JsonPosition,
    end: JsonPosition,
}

#[derive(Debug, Serialize, Deserialize)]
struct JsonPosition {
    #[serde(default, skip_serializing_if = "is_default")]
    line: u32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

// Go's zero time, which a field without `omitempty` shows.
const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

fn time_to_json(time: SystemTime) -> String {
    // A time that the calendar does not know can only come from a broken daemon.
    jiff::Timestamp::try_from(time).map_or_else(|_| ZERO_TIME.to_owned(), |time| time.to_string())
}

fn time_or_zero(time: Option<SystemTime>) -> String {
    time.map_or_else(|| ZERO_TIME.to_owned(), time_to_json)
}

fn time_from_json(
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<SystemTime>, StatusJsonError> {
    match text {
        None | Some("" | ZERO_TIME) => Ok(None),
        Some(text) => {
            let time = text.parse::<jiff::Timestamp>().ok();
            let time = time.and_then(|time| SystemTime::try_from(time).ok());
            time.map(Some).ok_or_else(|| wrong(field, text))
        }
    }
}

fn digest_from_json(field: &'static str, text: &str) -> Result<Digest, StatusJsonError> {
    text.parse().map_err(|_| wrong(field, text))
}

fn bytes_from_json(field: &'static str, text: &str) -> Result<Vec<u8>, StatusJsonError> {
    BASE64.decode(text).map_err(|_| wrong(field, text))
}

fn text_from_json(field: &'static str, text: &str) -> Result<String, StatusJsonError> {
    let bytes = bytes_from_json(field, text)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn wrong(field: &'static str, value: &str) -> StatusJsonError {
    StatusJsonError::Field {
        field,
        value: value.chars().take(80).collect(),
    }
}

impl SolveStatus {
    /// The JSON form of `update`; `name` gives the name to write for a vertex's own.
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

    /// The progress that this is the JSON form of.
    pub fn into_update(self) -> Result<StatusUpdate, StatusJsonError> {
        let collect_vertices = self.vertexes.into_iter().map(vertex_from_json);
        let collect_progress = self.statuses.into_iter().map(progress_from_json);
        let collect_logs = self.logs.iter().map(log_from_json);
        let collect_warnings = self.warnings.into_iter().map(warning_from_json);
        Ok(StatusUpdate {
            vertices: collect_vertices.collect::<Result<_, _>>()?,
            progress: collect_progress.collect::<Result<_, _>>()?,
            logs: collect_logs.collect::<Result<_, _>>()?,
            warnings: collect_warnings.collect::<Result<_, _>>()?,
        })
    }

    /// Whether there is nothing in it.
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

fn vertex_from_json(vertex: JsonVertex) -> Result<Vertex, StatusJsonError> {
    let inputs = vertex
        .inputs
        .iter()
        .map(|text| digest_from_json("inputs", text));
    Ok(Vertex {
        digest: digest_from_json("digest", &vertex.digest)?,
        inputs: inputs.collect::<Result<_, _>>()?,
        started: time_from_json("started", vertex.started.as_deref())?,
        completed: time_from_json("completed", vertex.completed.as_deref())?,
        name: vertex.name,
        cached: vertex.cached,
        error: vertex.error,
        group: vertex.group.map(|group| ProgressGroup {
            id: group.id,
            name: group.name,
            weak: group.weak,
        }),
    })
}

fn progress_from_json(progress: JsonProgress) -> Result<VertexProgress, StatusJsonError> {
    Ok(VertexProgress {
        vertex: digest_from_json("vertex", &progress.vertex)?,
        timestamp: time_from_json("timestamp", Some(&progress.timestamp))?,
        started: time_from_json("started", progress.started.as_deref())?,
        completed: time_from_json("completed", progress.completed.as_deref())?,
        id: progress.id,
        name: progress.name,
        current: progress.current,
        total: progress.total,
    })
}

fn log_from_json(log: &JsonLog) -> Result<VertexLog, StatusJsonError> {
    Ok(VertexLog {
        vertex: digest_from_json("vertex", &log.vertex)?,
        timestamp: time_from_json("timestamp", Some(&log.timestamp))?,
        stream: log.stream,
        data: bytes_from_json("data", &log.data)?.into(),
    })
}

fn warning_from_json(warning: JsonWarning) -> Result<VertexWarning, StatusJsonError> {
    let detail = warning
        .detail
        .iter()
        .map(|line| text_from_json("detail", line));
    let lines = warning
        .range
        .iter()
        .map(|range| (range.start.line, range.end.line))
        .collect();
    let source = match warning.source {
        Some(source) => Some(SourceExcerpt {
            text: Arc::from(text_from_json("data", &source.data)?),
            filename: source.filename,
            lines,
        }),
        None => None,
    };
    Ok(VertexWarning {
        vertex: digest_from_json("vertex", &warning.vertex)?,
        level: warning.level,
        short: text_from_json("short", &warning.short)?,
        detail: detail.collect::<Result<_, _>>()?,
        url: warning.url,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // What buildctl v0.32.2 wrote, shortened.
    const RECORDED: &str = r#"{"vertexes":[{"digest":"sha256:efce7944242002a929a327ba316d36af3101197b8f8100b37971c5b016044cea","name":"[internal] load build definition from Dockerfile","started":"2026-11-24T05:55:06.217322251Z","completed":"2026-11-24T05:55:06.21733Z","cached":true}],"statuses":[{"id":"transferring dockerfile:","vertex":"sha256:dec34d2fd2c03ad2b2ffc4d595345e292657e6bbfd95876f8e2301240534eb12","name":"transferring","current":0,"timestamp":"2026-11-24T05:55:06.223528798Z","started":"2026-11-24T05:55:06.223528398Z"}],"logs":[{"vertex":"sha256:dec34d2fd2c03ad2b2ffc4d595345e292657e6bbfd95876f8e2301240534eb12","stream":1,"data":"R2V0OjEK","timestamp":"2026-11-24T05:55:06Z"}],"warnings":[{"vertex":"sha256:dec34d2fd2c03ad2b2ffc4d595345e292657e6bbfd95876f8e2301240534eb12","level":1,"short":"c2hvcnQ=","detail":["bW9yZQ=="],"url":"https://docs.docker.com/go/dockerfile/rule/from-as-casing/","sourceInfo":{"filename":"Dockerfile","data":"ZnJvbSBidXN5Ym94Cg=="},"range":[{"start":{"line":1},"end":{"line":1}}]}]}"#;

    #[test]
    fn what_buildkit_writes_is_read_and_written_equally() {
        let status: SolveStatus = serde_json::from_str(RECORDED).unwrap();
        let update = status.into_update().unwrap();
        assert_eq!(&*update.logs[0].data, b"Get:1\n");
        assert_eq!(update.warnings[0].source.as_ref().unwrap().lines, [(1, 1)]);
        let again = serde_json::to_string(&SolveStatus::of(&update, ToOwned::to_owned)).unwrap();
        assert_eq!(again, RECORDED);
    }

    #[test]
    fn damage_is_an_error() {
        let status: SolveStatus =
            serde_json::from_str(r#"{"vertexes":[{"digest":"nope"}]}"#).unwrap();
        let error = status.into_update().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`digest` holds `nope`, which cannot be understood"
        );
    }
}
