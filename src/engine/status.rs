//! Progress of a solve: converts the daemon's status stream to events.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rbake_proto::control::{self, StatusRequest, StatusResponse};
use rbake_proto::pb;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::connection::{Connection, is_from_peer};
use super::id::BuildRef;
use super::messages::Messages;
use crate::diag::Diagnostic;
use crate::event::{
    EventKind, EventSink, ProgressGroup, SourceExcerpt, StatusUpdate, Vertex, VertexLog,
    VertexProgress, VertexWarning,
};
use crate::types::secret::redact_urls;
use crate::types::{Digest, TargetName};

const STATUS: &str = "/moby.buildkit.v1.Control/Status";

/// BuildKit sends the last updates after `Solve` has returned. Like its own clients, we read on until the stream has
/// been silent for this long.
const SILENCE: Duration = Duration::from_secs(5);
/// The same if no update has come yet. A solve that failed before the daemon created its job has no status, and the
/// daemon would keep the call waiting for that job.
const UNANSWERED: Duration = Duration::from_millis(500);
/// How often we ask. The daemon waits six seconds for a job before it reports that there is none, and the job may be
/// created later still.
const ATTEMPTS: u32 = 20;
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

// A builder that reports nothing for this long in the middle of a solve is worth a line in the log.
const GAP: Duration = Duration::from_secs(5);

/// Sends progress of `build_ref` to `events` until the stream ends. Once `finished` is cancelled, a silence also ends
/// it.
pub(super) async fn follow(
    connection: Arc<Connection>,
    build_ref: BuildRef,
    target: TargetName,
    events: EventSink,
    finished: CancellationToken,
) {
    for _ in 0..ATTEMPTS {
        match follow_once(&connection, &build_ref, &target, &events, &finished).await {
            Outcome::Ended => return,
            Outcome::NoJob if finished.is_cancelled() => return,
            Outcome::NoJob => {
                tracing::debug!("retry: no status of this solve yet");
                tokio::time::sleep(PAUSE).await;
            }
            Outcome::Broken(status) => {
                tracing::warn!(code = ?status.code(), "status stream interrupted");
                // If the connection was lost, the solve itself reports it.
                if is_from_peer(&status) && !finished.is_cancelled() {
                    events.send(EventKind::Notice(broken(&target, &status)));
                }
                return;
            }
        }
    }
}

fn broken(target: &TargetName, status: &Status) -> Diagnostic {
    Diagnostic::warning(
        "engine::progress-lost",
        format!("the builder stopped reporting progress for target `{target}`; the build goes on"),
    )
    .note(super::failure::clean(status.message()))
}

enum Outcome {
    Ended,
    NoJob,
    Broken(Status),
}

/// Makes one status call and sends its updates until it ends.
async fn follow_once(
    connection: &Connection,
    build_ref: &BuildRef,
    target: &TargetName,
    events: &EventSink,
    finished: &CancellationToken,
) -> Outcome {
    let request = StatusRequest {
        r#ref: build_ref.to_string(),
    };
    let mut received = false;
    let called = Messages::<StatusResponse>::call(connection.channel(), STATUS, &request);
    let Some(called) = until_silent(called, finished, received).await else {
        return Outcome::Ended;
    };
    let mut messages = match called {
        Ok(messages) => messages,
        Err(status) if is_from_peer(&status) => return Outcome::NoJob,
        Err(status) => return Outcome::Broken(status),
    };
    let mut heard = Instant::now();
    while let Some(next) = until_silent(messages.next(), finished, received).await {
        let silent = std::mem::replace(&mut heard, Instant::now()).elapsed();
        if silent >= GAP {
            tracing::debug!(milliseconds = silent.as_millis(), "gap in status");
        }
        match next {
            Ok(Some(message)) => {
                received = true;
                tracing::trace!(
                    vertices = message.vertexes.len(),
                    progress = message.statuses.len(),
                    logs = message.logs.len(),
                    "status"
                );
                let update = update(message);
                if !is_empty(&update) {
                    events.send(EventKind::Progress {
                        target: target.clone(),
                        update: Arc::new(update),
                    });
                }
            }
            Ok(None) => break,
            Err(status) if !received && is_from_peer(&status) => return Outcome::NoJob,
            Err(status) => return Outcome::Broken(status),
        }
    }
    Outcome::Ended
}

/// Returns the next message, or `None` if the solve has finished and no more messages come.
async fn until_silent<T>(
    next: impl Future<Output = T>,
    finished: &CancellationToken,
    received: bool,
) -> Option<T> {
    let silence = async {
        finished.cancelled().await;
        tokio::time::sleep(if received { SILENCE } else { UNANSWERED }).await;
    };
    tokio::select! {
        next = next => Some(next),
        () = silence => None,
    }
}

fn is_empty(update: &StatusUpdate) -> bool {
    update.vertices.is_empty()
        && update.progress.is_empty()
        && update.logs.is_empty()
        && update.warnings.is_empty()
}

/// Converts one message. Parts that do not name a vertex by a valid digest are left out, because nothing could be
/// done with them.
fn update(message: StatusResponse) -> StatusUpdate {
    StatusUpdate {
        vertices: message.vertexes.into_iter().filter_map(vertex).collect(),
        progress: message.statuses.into_iter().filter_map(progress).collect(),
        logs: message.logs.into_iter().filter_map(log).collect(),
        warnings: message.warnings.into_iter().filter_map(warning).collect(),
    }
}

fn digest(text: &str) -> Option<Digest> {
    text.parse().ok()
}

/// Returns `None` for Go's zero time and for everything else before 1970: these mean "not set".
fn time(timestamp: Option<prost_types::Timestamp>) -> Option<SystemTime> {
    let timestamp = timestamp.filter(|timestamp| timestamp.seconds > 0)?;
    SystemTime::try_from(timestamp).ok()
}

/// Removes passwords from URLs: BuildKit names a step by the address that it fetches, including the password.
fn shown(text: String) -> String {
    match redact_urls(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(redacted) => redacted,
    }
}

fn vertex(from: control::Vertex) -> Option<Vertex> {
    Some(Vertex {
        digest: digest(&from.digest)?,
        inputs: from
            .inputs
            .iter()
            .filter_map(|input| digest(input))
            .collect(),
        name: shown(from.name),
        cached: from.cached,
        started: time(from.started),
        completed: time(from.completed),
        error: shown(from.error),
        group: from.progress_group.map(|group| ProgressGroup {
            id: group.id,
            name: shown(group.name),
            weak: group.weak,
        }),
    })
}

fn progress(from: control::VertexStatus) -> Option<VertexProgress> {
    Some(VertexProgress {
        vertex: digest(&from.vertex)?,
        id: shown(from.id),
        name: shown(from.name),
        current: from.current,
        total: from.total,
        timestamp: time(from.timestamp),
        started: time(from.started),
        completed: time(from.completed),
    })
}

fn log(from: control::VertexLog) -> Option<VertexLog> {
    Some(VertexLog {
        vertex: digest(&from.vertex)?,
        timestamp: time(from.timestamp),
        stream: from.stream,
        data: from.msg,
    })
}

fn warning(from: control::VertexWarning) -> Option<VertexWarning> {
    let text = |bytes: &[u8]| shown(String::from_utf8_lossy(bytes).into_owned());
    Some(VertexWarning {
        vertex: digest(&from.vertex)?,
        level: from.level,
        short: text(&from.short),
        detail: from.detail.iter().map(|line| text(line)).collect(),
        url: from.url,
        source: from.info.map(|info| SourceExcerpt {
            filename: info.filename,
            text: String::from_utf8_lossy(&info.data).into(),
            lines: from.ranges.iter().filter_map(lines).collect(),
        }),
    })
}

/// The first and the last line. `None` if the range has no valid first line.
fn lines(range: &pb::Range) -> Option<(u32, u32)> {
    let line = |position: &Option<pb::Position>| {
        let line = position.as_ref()?.line;
        u32::try_from(line).ok().filter(|line| *line > 0)
    };
    let start = line(&range.start)?;
    Some((start, line(&range.end).unwrap_or(start).max(start)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn range(start: i32, end: i32) -> pb::Range {
        let at = |line| Some(pb::Position { line, character: 0 });
        pb::Range {
            start: at(start),
            end: at(end),
        }
    }

    #[test]
    fn a_batch_is_converted_and_parts_without_an_id_are_left_out() {
        let message = StatusResponse {
            vertexes: vec![
                control::Vertex {
                    digest: DIGEST.to_owned(),
                    inputs: vec![DIGEST.to_owned(), "junk".to_owned()],
                    name: "[1/2] RUN x".to_owned(),
                    started: Some(prost_types::Timestamp {
                        seconds: 1,
                        nanos: 500,
                    }),
                    completed: Some(prost_types::Timestamp {
                        seconds: -62_135_596_800,
                        nanos: 0,
                    }),
                    ..control::Vertex::default()
                },
                control::Vertex::default(),
            ],
            warnings: vec![control::VertexWarning {
                vertex: DIGEST.to_owned(),
                short: bytes::Bytes::from_static(b"bad \xff"),
                info: Some(pb::SourceInfo {
                    filename: "Dockerfile".to_owned(),
                    ..pb::SourceInfo::default()
                }),
                ranges: vec![range(3, 1), range(-1, 2)],
                ..control::VertexWarning::default()
            }],
            ..StatusResponse::default()
        };
        let update = update(message);
        assert_eq!(update.vertices.len(), 1);
        let vertex = &update.vertices[0];
        assert_eq!(vertex.inputs.len(), 1);
        assert_eq!(
            vertex.started,
            Some(SystemTime::UNIX_EPOCH + Duration::new(1, 500))
        );
        assert_eq!(vertex.completed, None);
        let warning = &update.warnings[0];
        assert_eq!(warning.short, "bad \u{fffd}");
        assert_eq!(
            warning.source.as_ref().map(|s| s.lines.clone()),
            Some(vec![(3, 3)])
        );
    }

    proptest! {
        #[test]
        fn any_time_can_be_converted(seconds in any::<i64>(), nanos in any::<i32>()) {
            let _ = time(Some(prost_types::Timestamp { seconds, nanos }));
        }

        #[test]
        fn any_range_can_be_converted(start in any::<i32>(), end in any::<i32>()) {
            if let Some((from, to)) = lines(&range(start, end)) {
                prop_assert!(from >= 1 && to >= from);
            }
        }
    }
}
