//! Applies the progress of solves to the model: vertices, their parts, their output, the frontend's warnings.

use std::sync::Arc;

use super::name::{WorkKind, shorten_digests};
use super::row::{Row, State};
use super::target::StepEnd;
use super::vertex::VertexState;
use super::{
    LogLine, MAX_MESSAGES, MAX_SHARES, MAX_TAILS, MAX_VERTICES, Model, ModelChange, RowId,
    TargetId, Warning,
};
use crate::event;
use crate::report::text;
use crate::types::TargetName;

/// The most bytes of a vertex's name.
const MAX_NAME: usize = 512;
/// The most bytes of the limit of a step's output. A real one has about eight.
const MAX_LIMIT: usize = 40;
/// The most bytes of each text of a warning.
const MAX_WARNING: usize = 4 * 1024;

/// The limit that a line of output names if BuildKit wrote the line to say that it leaves out what follows
/// (`util/progress/logs/logs.go`).
fn clip_limit(line: &str) -> Option<&str> {
    let limit = line.strip_prefix("[output clipped, log limit ")?;
    let limit = limit.strip_suffix(" reached]")?;
    (limit.len() <= MAX_LIMIT).then_some(limit)
}

impl Model {
    pub(super) fn take_update(
        &mut self,
        name: &TargetName,
        update: &event::StatusUpdate,
        changes: &mut Vec<ModelChange>,
    ) {
        let Some(target) = self.target_id(name) else {
            return;
        };
        self.targets[target.index()].heard = self.now;
        for vertex in &update.vertices {
            self.take_vertex(target, vertex, changes);
        }
        for progress in &update.progress {
            self.take_progress(progress, changes);
        }
        for log in &update.logs {
            self.take_log(target, log, changes);
        }
        for warning in &update.warnings {
            self.take_warning(target, warning, changes);
        }
    }

    /// Applies the state of a vertex, as the solve of `target` reports it, to the vertex and its row.
    fn take_vertex(
        &mut self,
        target: TargetId,
        update: &event::Vertex,
        changes: &mut Vec<ModelChange>,
    ) {
        let Some(vertex) = self.vertex_index(update) else {
            self.lost += 1;
            return;
        };
        let Some(share) = self.share_index(vertex, target, changes) else {
            self.lost += 1;
            return;
        };
        // An import that fails does not fail the build: the run reports it as a notice, with the reason.
        let ended;
        let update = if !update.error.is_empty() && WorkKind::of(&update.name) == WorkKind::Import {
            ended = event::Vertex {
                error: String::new(),
                ..update.clone()
            };
            &ended
        } else {
            update
        };
        let state = &mut self.vertices[vertex];
        let row = state.row;
        let before = state.shares[share].end();
        let worked = state.update(share, update);
        let after = state.shares[share].end();
        if let Some((start, end)) = worked {
            self.rows[row.index()].busy.add(start, end);
        }
        self.count_step(row, target, before, after);
        self.settle(row, changes);
    }

    /// Returns the index of the vertex in `update`, and adds the vertex if it is new. `None` if the table is full.
    fn vertex_index(&mut self, update: &event::Vertex) -> Option<usize> {
        if let Some(index) = self.by_digest.get(&update.digest) {
            return Some(*index as usize);
        }
        if self.vertices.len() >= MAX_VERTICES {
            return None;
        }
        let index = u32::try_from(self.vertices.len()).ok()?;
        let row = self.row_for(update)?;
        self.rows[row.index()].members.push(index);
        self.vertices.push(VertexState::new(row));
        self.by_digest.insert(update.digest.clone(), index);
        Some(index as usize)
    }

    /// Returns the row that shows a new vertex: the row of its group if it has one, or else a new row.
    fn row_for(&mut self, update: &event::Vertex) -> Option<RowId> {
        // The copy of a `COPY --link` is a weak member of its group, and the merge is a normal one; both belong to
        // the same row. Other clients do not show a group that has only weak members as one line. In practice such
        // a group has one member with the group's name, so the result is the same here.
        let group = update.group.as_ref();
        if let Some(row) = group.and_then(|group| self.groups.get(&group.id)) {
            return Some(*row);
        }
        let row = RowId(u32::try_from(self.rows.len()).ok()?);
        let name = self.intern(group.map_or(&update.name, |group| &group.name));
        self.rows.push(Row::new(name, update.digest.clone()));
        if let Some(group) = group {
            self.groups.insert(group.id.clone(), row);
        }
        Some(row)
    }

    /// Returns the cleaned name. Rows with the same name share one text in memory.
    fn intern(&mut self, name: &str) -> Arc<str> {
        let name = shorten_digests(&text::clean_name(name, MAX_NAME));
        if let Some(known) = self.names.get(name.as_str()) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.names.insert(name.clone());
        name
    }

    /// Returns the position of the share of `target` in the vertex, and adds the share if it is new. `None` if the
    /// table is full.
    fn share_index(
        &mut self,
        vertex: usize,
        target: TargetId,
        changes: &mut Vec<ModelChange>,
    ) -> Option<usize> {
        if let Some(share) = self.vertices[vertex].share(target) {
            return Some(share);
        }
        if self.shares >= MAX_SHARES {
            return None;
        }
        self.shares += 1;
        let share = self.vertices[vertex].add_share(target);
        let id = self.vertices[vertex].row;
        let row = &mut self.rows[id.index()];
        if row.targets.insert(target) {
            let target_state = &mut self.targets[target.index()];
            target_state.rows.push(id);
            if row.kind == WorkKind::Step {
                target_state.know_step(&row.name);
            }
            changes.push(ModelChange::RowJoined(id, target));
        }
        Some(share)
    }

    fn count_step(&mut self, row: RowId, target: TargetId, before: StepEnd, after: StepEnd) {
        let row = &self.rows[row.index()];
        if row.kind == WorkKind::Step && before != after {
            self.targets[target.index()].move_step(&row.name, before, after);
        }
    }

    /// Updates the state of a row from its vertices, and records what changed.
    fn settle(&mut self, id: RowId, changes: &mut Vec<ModelChange>) {
        let state = self.row_state(id);
        let row = &self.rows[id.index()];
        if state == row.state {
            return;
        }
        let ran = row.state == State::Running;
        if state.is_over() {
            self.flush_output(id, changes);
        }
        let error = self.row_error(id, state);
        let now = self.now;
        let row = &mut self.rows[id.index()];
        row.state = state;
        row.since = now;
        row.error = error;
        if state == State::Running {
            self.running.push(id);
            changes.push(ModelChange::RowStarted(id));
            return;
        }
        if ran {
            self.running.retain(|running| *running != id);
        }
        if state.is_over() {
            changes.push(ModelChange::RowEnded(id));
        }
        if state.is_success() {
            self.forget_tail(id);
        }
    }

    /// Drops the output of a row that succeeded: output is shown while a step runs, and again only if it fails.
    fn forget_tail(&mut self, id: RowId) {
        let tail = &mut self.rows[id.index()].tail;
        if !tail.is_empty() {
            self.tail_bytes = self.tail_bytes.saturating_sub(tail.clear());
            self.with_tail.retain(|with_tail| *with_tail != id);
        }
    }

    /// Computes the state of a row. A group is running if one of its vertices is, failed if one of them is, and
    /// cached only if all of them are.
    fn row_state(&self, id: RowId) -> State {
        let members = self.rows[id.index()].members.iter();
        let mut states = members
            .filter_map(|at| self.vertices.get(*at as usize))
            .map(VertexState::state);
        let mut state = states.next().unwrap_or(State::Pending);
        let weight = |state: State| match state {
            State::Pending => 0,
            State::Cached => 1,
            State::Done => 2,
            State::Cancelled => 3,
            State::Failed => 4,
            State::Running => 5,
        };
        for other in states {
            if weight(other) > weight(state) {
                state = other;
            }
        }
        state
    }

    /// Returns the error of the first member that is in the state of its row, if that is a failure or a
    /// cancellation.
    fn row_error(&self, id: RowId, state: State) -> Option<Arc<str>> {
        let members = self.rows[id.index()].members.iter();
        let mut vertices = members.filter_map(|at| self.vertices.get(*at as usize));
        let failed = vertices.find(|vertex| vertex.state() == state && vertex.error().is_some())?;
        matches!(state, State::Failed | State::Cancelled).then(|| failed.error().cloned())?
    }

    /// Turns the unfinished last line of a row's output into a line, because the row is over.
    fn flush_output(&mut self, id: RowId, changes: &mut Vec<ModelChange>) {
        let members = self.rows[id.index()].members.clone();
        for at in members {
            let Some(vertex) = self.vertices.get_mut(at as usize) else {
                continue;
            };
            for (text, stderr) in vertex.take_partial().into_iter().zip([false, true]) {
                if let Some(text) = text {
                    self.add_line(id, text, stderr, changes);
                }
            }
        }
        self.rows[id.index()].partial = None;
    }

    fn add_line(&mut self, id: RowId, text: String, stderr: bool, changes: &mut Vec<ModelChange>) {
        let line = LogLine {
            stderr,
            text: text.into(),
        };
        let row = &mut self.rows[id.index()];
        if row.clipped.is_none() {
            row.clipped = clip_limit(&line.text).map(Into::into);
        }
        row.last_output = Some(self.now);
        if row.state.is_success() {
            row.tail.count();
        } else {
            if row.tail.is_empty() {
                self.with_tail.push_back(id);
            }
            let grown = row.tail.push(line.clone());
            self.tail_bytes = self.tail_bytes.saturating_add_signed(grown);
            self.bound_tails();
        }
        changes.push(ModelChange::Line(id, line));
    }

    /// Drops the output of rows until the limit for all rows holds. Rows that wrote first lose it first, failed
    /// rows last.
    fn bound_tails(&mut self) {
        for keep_failed in [true, false] {
            let mut left = self.with_tail.len();
            while self.tail_bytes > MAX_TAILS && left > 1 {
                left -= 1;
                let Some(id) = self.with_tail.pop_front() else {
                    return;
                };
                let row = &mut self.rows[id.index()];
                if keep_failed && row.state == State::Failed {
                    self.with_tail.push_back(id);
                } else {
                    self.tail_bytes = self.tail_bytes.saturating_sub(row.tail.clear());
                }
            }
        }
    }

    /// Applies progress of a part. Progress of an unknown vertex is dropped.
    fn take_progress(&mut self, update: &event::VertexProgress, changes: &mut Vec<ModelChange>) {
        let Some(id) = self.row_of(&update.vertex) else {
            return;
        };
        if let Some(part) = self.rows[id.index()].update_progress(update, self.now) {
            changes.push(ModelChange::PartEnded(id, part));
        }
    }

    /// Adds output to the row of its vertex. Output of an unknown vertex is dropped.
    fn take_log(
        &mut self,
        target: TargetId,
        log: &event::VertexLog,
        changes: &mut Vec<ModelChange>,
    ) {
        let Some(at) = self.by_digest.get(&log.vertex).copied() else {
            return;
        };
        let Some(vertex) = self.vertices.get_mut(at as usize) else {
            return;
        };
        let id = vertex.row;
        let mut lines = Vec::new();
        vertex.log(target, log, |line| lines.push(line));
        let partial = vertex.partial();
        // If the vertex is over, no end of the line will come, so an unfinished line is complete.
        let late = vertex.state().is_over();
        for text in lines {
            self.add_line(id, text, log.stream == 2, changes);
        }
        if late {
            self.flush_output(id, changes);
        } else {
            let row = &mut self.rows[id.index()];
            if partial.is_some() {
                row.last_output = Some(self.now);
            }
            row.partial = partial.map(Into::into);
        }
    }

    /// Adds a warning. If another solve has reported the same one, only the target is added to it.
    fn take_warning(
        &mut self,
        target: TargetId,
        warning: &event::VertexWarning,
        changes: &mut Vec<ModelChange>,
    ) {
        let short = text::clean_name(&warning.short, MAX_WARNING);
        let url = text::clean_name(&warning.url, MAX_WARNING);
        let place = |source: &Option<event::SourceExcerpt>| {
            source
                .as_ref()
                .map(|source| (source.filename.clone(), source.lines.clone()))
        };
        let same = |known: &&mut Warning| {
            known.short == short
                && known.url == url
                && place(&known.source) == place(&warning.source)
        };
        if let Some(known) = self.warnings.iter_mut().find(same) {
            known.targets.insert(target);
            return;
        }
        if self.warnings.len() >= MAX_MESSAGES {
            self.lost += 1;
            return;
        }
        let mut targets = super::TargetSet::default();
        targets.insert(target);
        let detail = warning.detail.iter().take(32);
        self.warnings.push(Warning {
            targets,
            detail: detail
                .map(|line| text::clean_name(line, MAX_WARNING))
                .collect(),
            level: warning.level,
            vertex: warning.vertex.clone(),
            source: warning.source.clone(),
            short,
            url,
        });
        changes.push(ModelChange::Warning(self.warnings.len() - 1));
    }

    /// Ends all rows of `target` that are still running, because its solve is over. `broken` marks them as
    /// cancelled.
    pub(super) fn close_rows(
        &mut self,
        target: TargetId,
        broken: bool,
        changes: &mut Vec<ModelChange>,
    ) {
        let rows = self.targets[target.index()].rows.clone();
        for id in rows {
            let members = self.rows[id.index()].members.clone();
            let mut left_open = false;
            for at in members {
                if let Some(vertex) = self.vertices.get_mut(at as usize) {
                    left_open |= vertex.target_over(target, broken);
                }
            }
            if left_open {
                let row = &mut self.rows[id.index()];
                if row.state == State::Running {
                    row.left_open = self.now.saturating_sub(row.since);
                }
                self.settle(id, changes);
            }
        }
    }
}
