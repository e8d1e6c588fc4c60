//! Reads progress from its JSON form, for recordings of runs.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;

use super::{BASE64, JsonLog, JsonProgress, JsonVertex, JsonWarning, SolveStatus, ZERO_TIME};
use crate::event::{
    ProgressGroup, SourceExcerpt, StatusUpdate, Vertex, VertexLog, VertexProgress, VertexWarning,
};
use crate::types::Digest;

/// Why a JSON text is not valid progress.
#[derive(Debug, thiserror::Error)]
pub enum StatusJsonError {
    /// The value of a field is invalid.
    #[error("`{field}` is `{value}`, which is not valid")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// Its value, cut to 80 characters.
        value: String,
    },
}

impl SolveStatus {
    /// Converts the JSON form back to progress.
    pub(crate) fn into_update(self) -> Result<StatusUpdate, StatusJsonError> {
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

    // Written by buildctl v0.32.2, shortened.
    const RECORDED: &str = r#"{"vertexes":[{"digest":"sha256:efce7944242002a929a327ba316d36af3101197b8f8100b37971c5b016044cea","name":"[internal] load build definition from Dockerfile","started":"2026-11-24T05:55:06.217322251Z","completed":"2026-11-24T05:55:06.21733Z","cached":true}],"statuses":[{"id":"transferring dockerfile:","vertex":"sha256:dec34d2fd2c03ad2b2ffc4d595345e292657e6bbfd95876f8e2301240534eb12","name":"transferring","current":0,"timestamp":"2026-11-24T05:55:06.223528798Z","started":"2026-11-24T05:55:06.223528398Z"}],"logs":[{"vertex":"sha256:dec34d2fd2c03ad2b2ffc4d595345e292657e6bbfd95876f8e2301240534eb12","stream":1,"data":"R2V0OjEK","timestamp":"2026-11-24T05:55:06Z"}],"warnings":[{"vertex":"sha256:dec34d2fd2c03ad2b2ffc4d595345e292657e6bbfd95876f8e2301240534eb12","level":1,"short":"c2hvcnQ=","detail":["bW9yZQ=="],"url":"https://docs.docker.com/go/dockerfile/rule/from-as-casing/","sourceInfo":{"filename":"Dockerfile","data":"ZnJvbSBidXN5Ym94Cg=="},"range":[{"start":{"line":1},"end":{"line":1}}]}]}"#;

    #[test]
    fn output_of_buildkit_is_read_and_written_unchanged() {
        let status: SolveStatus = serde_json::from_str(RECORDED).unwrap();
        let update = status.into_update().unwrap();
        assert_eq!(&*update.logs[0].data, b"Get:1\n");
        assert_eq!(update.warnings[0].source.as_ref().unwrap().lines, [(1, 1)]);
        let again = serde_json::to_string(&SolveStatus::of(&update, ToOwned::to_owned)).unwrap();
        assert_eq!(again, RECORDED);
    }

    #[test]
    fn an_invalid_digest_is_an_error() {
        let status: SolveStatus =
            serde_json::from_str(r#"{"vertexes":[{"digest":"nope"}]}"#).unwrap();
        let error = status.into_update().unwrap_err();
        assert_eq!(error.to_string(), "`digest` is `nope`, which is not valid");
    }
}
