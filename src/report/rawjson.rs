//! The view for programs: progress as BuildKit's `client.SolveStatus`, one JSON object a line.
//!
//! As in buildx, the names of vertices begin with the name of their target if a run has several targets. Work on
//! this machine is written as additional vertices.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::model::{Model, ModelChange};
use super::status_json::SolveStatus;
use super::view::{self, Out, View};
use crate::diag::Diagnostic;
use crate::event::{
    Event, EventKind, LocalWork, StatusUpdate, Vertex, VertexProgress, VertexWarning,
};
use crate::types::{Clock, Digest, TargetName, terminal};

/// The view for programs, for `--progress=rawjson`.
pub(super) struct RawJson {
    clock: Clock,
}

impl RawJson {
    pub(super) const fn new(clock: Clock) -> Self {
        Self { clock }
    }

    /// Converts `at`, a time since the run began, to wall-clock time.
    fn wall(&self, at: Duration) -> SystemTime {
        let ago = self.clock.elapsed().saturating_sub(at);
        let now = self.clock.now();
        now.checked_sub(ago).unwrap_or(now)
    }

    /// Converts local work to a vertex. Its digest is made from the work's id, so that all its updates are about
    /// one vertex.
    fn local(&self, work: &LocalWork, model: &Model) -> StatusUpdate {
        let state = model.local().find(|local| local.work.id == work.id);
        let started = self.wall(state.map_or(model.now(), |local| local.since));
        let digest = Digest::sha256(format!("local {}", work.id).as_bytes());
        let now = self.wall(model.now());
        let vertex = Vertex {
            digest: digest.clone(),
            inputs: Vec::new(),
            name: work.name.clone(),
            cached: false,
            started: Some(started),
            completed: work.done.then_some(now),
            error: work.error.clone().unwrap_or_default(),
            group: None,
        };
        let mut update = StatusUpdate {
            vertices: vec![vertex],
            ..StatusUpdate::default()
        };
        if work.current > 0 {
            let number = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
            update.progress.push(VertexProgress {
                id: work.name.clone(),
                vertex: digest,
                name: String::new(),
                current: number(work.current),
                total: number(work.total.unwrap_or(0)),
                timestamp: Some(now),
                started: Some(started),
                completed: work.done.then_some(now),
            });
        }
        update
    }
}

impl View for RawJson {
    fn event(
        &mut self,
        event: &Event,
        _: &[ModelChange],
        model: &Model,
        out: Out<'_>,
    ) -> io::Result<()> {
        let (target, update) = match &event.kind {
            EventKind::Progress { target, update } => (Some(target), update.clone()),
            EventKind::Notice(notice) if view::concerns_cache(notice) => {
                (None, Arc::new(warning(notice)))
            }
            EventKind::Local(work) => (work.target.as_ref(), Arc::new(self.local(work, model))),
            _ => return Ok(()),
        };
        let target = target.filter(|_| model.targets().len() > 1);
        let status = SolveStatus::of(&update, |name| prefixed(name, target));
        if status.is_empty() {
            return Ok(());
        }
        let mut line = serde_json::to_string(&status)?;
        line.push('\n');
        out.write_all(terminal::visible_lines(&line).as_bytes())
    }

    fn tick(&mut self, _: &Model, _: Duration, out: Out<'_>) -> io::Result<()> {
        out.flush()
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn close(&mut self, _: &Model, _: Duration, out: Out<'_>) -> io::Result<()> {
        out.flush()
    }
}

/// A warning that does not belong to a vertex of the daemon, in the form of one that does.
fn warning(notice: &Diagnostic) -> StatusUpdate {
    let detail = notice.notes.iter().chain(&notice.help).cloned();
    StatusUpdate {
        warnings: vec![VertexWarning {
            vertex: Digest::sha256(format!("notice {}", notice.code).as_bytes()),
            level: 1,
            short: format!("{}: {}", notice.code, notice.message),
            detail: detail.collect(),
            url: String::new(),
            source: None,
        }],
        ..StatusUpdate::default()
    }
}

/// Adds the name of the target to a vertex's name, inside its brackets if it has some. buildx does the same.
fn prefixed(name: &str, target: Option<&TargetName>) -> String {
    match (target, name.strip_prefix('[')) {
        (None, _) => name.to_owned(),
        (Some(target), Some(rest)) => format!("[{target} {rest}"),
        (Some(target), None) => format!("[{target}] {name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::recording;

    fn written(text: &str) -> String {
        let mut model = Model::new();
        let mut out = Vec::new();
        let clock = Clock::fixed(SystemTime::UNIX_EPOCH + Duration::from_secs(1000));
        let mut view = RawJson::new(clock);
        for event in recording::read(text).unwrap() {
            let changes = model.apply(&event);
            view.event(&event, &changes, &model, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_has_the_format_of_buildkit() {
        let written = written(include_str!("../../tests/fixtures/status/cold.jsonl"));
        let mut names = Vec::new();
        for line in written.lines() {
            let status: SolveStatus = serde_json::from_str(line).unwrap();
            let update = status.into_update().unwrap();
            names.extend(update.vertices.into_iter().map(|vertex| vertex.name));
        }
        assert!(
            names
                .iter()
                .any(|name| name.starts_with("[web builder 2/2] RUN"))
        );
        assert!(
            names
                .iter()
                .any(|name| name == "[celery] exporting to image")
        );
    }

    #[test]
    fn names_have_no_prefix_if_there_is_one_target() {
        let written = written(include_str!("../../tests/fixtures/status/lint.jsonl"));
        assert!(written.contains(r#""name":"[internal] load build definition from Dockerfile""#));
        assert!(written.contains(r#""warnings":["#));
    }

    #[test]
    fn work_of_this_machine_is_written_as_a_vertex() {
        let written = written(concat!(
            r#"{"at":0,"event":"run","builder":"b","driver":"docker","targets":["web"]}"#,
            "\n",
            r#"{"at":1.5,"event":"local","id":"load","target":"web","name":"loading into docker","current":5,"total":10,"done":false,"error":null}"#,
            "\n",
            r#"{"at":2,"event":"local","id":"load","target":"web","name":"loading into docker","current":10,"total":10,"done":true,"error":"no space left"}"#,
        ));
        insta::assert_snapshot!(written, @r#"
        {"vertexes":[{"digest":"sha256:929498fe165f59998e7a13efc06ffd9ece1fa8f9847871e526233358eddc82a2","name":"loading into docker","started":"1970-01-01T00:00:01.5Z"}],"statuses":[{"id":"loading into docker","vertex":"sha256:929498fe165f59998e7a13efc06ffd9ece1fa8f9847871e526233358eddc82a2","total":10,"current":5,"timestamp":"1970-01-01T00:00:01.5Z","started":"1970-01-01T00:00:01.5Z"}]}
        {"vertexes":[{"digest":"sha256:929498fe165f59998e7a13efc06ffd9ece1fa8f9847871e526233358eddc82a2","name":"loading into docker","started":"1970-01-01T00:00:01.5Z","completed":"1970-01-01T00:00:02Z","error":"no space left"}],"statuses":[{"id":"loading into docker","vertex":"sha256:929498fe165f59998e7a13efc06ffd9ece1fa8f9847871e526233358eddc82a2","total":10,"current":10,"timestamp":"1970-01-01T00:00:02Z","started":"1970-01-01T00:00:01.5Z","completed":"1970-01-01T00:00:02Z"}]}
        "#);
    }
}
