//! The view for programs: progress as BuildKit's `client.SolveStatus`, one JSON object a line.
//!
//! As in buildx, the names of vertices begin with the name of their target if a run has several targets. Work on
//! this machine is written as additional vertices.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::model::{Model, ModelChange};
use super::status_json::SolveStatus;
use super::view::{Out, View};
use crate::diag::{Diagnostic, Severity};
use crate::event::{
    Event, EventKind, INLINE_DOCKERFILE, LocalWork, StatusUpdate, Vertex, VertexProgress,
    VertexWarning,
};
use crate::types::{Clock, Digest, TargetName, terminal};

/// What a source is called that was read from standard input.
const STANDARD_INPUT: &str = "-";

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
            EventKind::Progress { target, update } => (Some(target), as_sent(update)),
            EventKind::Notice(notice) if notice.severity == Severity::Warning => {
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

/// The update as the builder has sent it: for people, rbake says which target an inline Dockerfile belongs to.
fn as_sent(update: &Arc<StatusUpdate>) -> Arc<StatusUpdate> {
    let is_inline = |warning: &VertexWarning| {
        let source = warning.source.as_ref();
        source.is_some_and(|source| source.filename.starts_with(INLINE_DOCKERFILE))
    };
    if !update.warnings.iter().any(is_inline) {
        return Arc::clone(update);
    }
    let mut update = StatusUpdate::clone(update);
    for warning in &mut update.warnings {
        if is_inline(warning)
            && let Some(source) = &mut warning.source
        {
            "Dockerfile".clone_into(&mut source.filename);
        }
    }
    Arc::new(update)
}

/// The lines that say that the files of a definition were read, from `started` to `completed`: a vertex, and a status for each file with
/// its name and size in bytes. `is_remote` says whether they were fetched. The names are those of buildx (v0.36), which writes these
/// lines first.
pub(crate) fn definition_read<'f>(
    files: impl Iterator<Item = (&'f str, usize)>,
    is_remote: bool,
    (started, completed): (SystemTime, SystemTime),
) -> String {
    let place = if is_remote { "remote" } else { "local" };
    let vertex = Vertex {
        digest: Digest::sha256(b"load bake definitions"),
        inputs: Vec::new(),
        name: format!("[internal] load {place} bake definitions"),
        cached: false,
        started: Some(started),
        completed: None,
        error: String::new(),
        group: None,
    };
    let begun = StatusUpdate {
        vertices: vec![vertex.clone()],
        ..StatusUpdate::default()
    };
    let read = files.map(|(name, size)| {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        let part = VertexProgress {
            id: match name {
                STANDARD_INPUT => "reading from stdin".to_owned(),
                name => format!("reading {name}"),
            },
            vertex: vertex.digest.clone(),
            name: String::new(),
            current: size,
            total: size,
            timestamp: None,
            started: Some(started),
            completed: Some(completed),
        };
        StatusUpdate {
            progress: vec![part],
            ..StatusUpdate::default()
        }
    });
    let ended = StatusUpdate {
        vertices: vec![Vertex {
            completed: Some(completed),
            ..vertex.clone()
        }],
        ..StatusUpdate::default()
    };
    let updates = std::iter::once(begun).chain(read).chain([ended]);
    let lines = updates.filter_map(|update| {
        let status = SolveStatus::of(&update, str::to_owned);
        serde_json::to_string(&status).ok()
    });
    let lines = lines.map(|line| line + "\n");
    lines.collect()
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
    fn the_files_of_the_definition_are_parts_of_a_vertex() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let files = [("docker-bake.hcl", 315), ("-", 7)];
        let lines = definition_read(files.into_iter(), false, (at(1), at(2)));
        insta::assert_snapshot!(lines, @r#"
        {"vertexes":[{"digest":"sha256:1dd4f9a57310ccee32c840d1a28f3cbbc174c2d8ea6bc58647bdb2eda0a4c1d4","name":"[internal] load local bake definitions","started":"1970-01-01T00:00:01Z"}]}
        {"statuses":[{"id":"reading docker-bake.hcl","vertex":"sha256:1dd4f9a57310ccee32c840d1a28f3cbbc174c2d8ea6bc58647bdb2eda0a4c1d4","total":315,"current":315,"timestamp":"0001-01-01T00:00:00Z","started":"1970-01-01T00:00:01Z","completed":"1970-01-01T00:00:02Z"}]}
        {"statuses":[{"id":"reading from stdin","vertex":"sha256:1dd4f9a57310ccee32c840d1a28f3cbbc174c2d8ea6bc58647bdb2eda0a4c1d4","total":7,"current":7,"timestamp":"0001-01-01T00:00:00Z","started":"1970-01-01T00:00:01Z","completed":"1970-01-01T00:00:02Z"}]}
        {"vertexes":[{"digest":"sha256:1dd4f9a57310ccee32c840d1a28f3cbbc174c2d8ea6bc58647bdb2eda0a4c1d4","name":"[internal] load local bake definitions","started":"1970-01-01T00:00:01Z","completed":"1970-01-01T00:00:02Z"}]}
        "#);
    }

    #[test]
    fn warnings_have_the_names_of_files_that_the_builder_sent() {
        let text = include_str!("../../tests/fixtures/status/lint.jsonl");
        let inline = text.replace(
            r#""filename":"Dockerfile""#,
            &format!(r#""filename":"{INLINE_DOCKERFILE}lint""#),
        );
        assert_ne!(inline, text);
        assert_eq!(written(&inline), written(text));
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
