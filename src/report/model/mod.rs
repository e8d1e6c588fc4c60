//! The state of a run, computed from its events by a pure reducer.
//!
//! Events may arrive unordered or twice, and from a daemon that is not honest. None of this may cause a panic, and
//! all tables have a maximum size. Vertices are identified by their digest, so work that several targets share is
//! one row with several targets. The duration of finished work comes from the daemon's clock. The duration of
//! running work is measured on this machine from its first event, so that the clocks of both machines need not
//! agree. Start at [`Model::apply`].

mod at_stop;
mod busy;
mod change;
mod ids;
mod local;
mod log;
pub(crate) mod name;
mod progress;
mod row;
mod silence;
mod target;
mod totals;
mod vertex;

#[cfg(test)]
pub(in crate::report) mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use crate::diag::Diagnostic;
use crate::event::{Event, EventKind, SourceExcerpt};
use crate::outcome::TargetOutcome;
use crate::types::{Digest, TargetName};

pub(crate) use at_stop::{AtStop, TargetAtStop};
pub(crate) use change::ModelChange;
pub(crate) use ids::{RowId, TargetId, TargetSet};
pub(crate) use local::{Local, TimedTransfer};
pub(crate) use log::LogLine;
pub(crate) use row::{Row, State};
pub(crate) use target::{StepCount, TargetModel, TargetState};
use vertex::VertexState;

/// The most targets that are kept. No real definition has so many.
const MAX_TARGETS: usize = 16 * 1024;
/// The most vertices that are kept. A hostile daemon could invent more.
const MAX_VERTICES: usize = 50_000;
/// The most pairs of a vertex and a target that are kept.
const MAX_SHARES: usize = 500_000;
/// The most warnings, and the most notices, that are kept.
const MAX_MESSAGES: usize = 1000;
/// The most bytes of output that are kept for all rows together.
const MAX_TAILS: usize = 16 * 1024 * 1024;

/// A warning of the frontend. Targets that share the warning have one entry.
#[derive(Debug, Clone)]
pub(crate) struct Warning {
    /// The targets whose solves reported it.
    pub(crate) targets: TargetSet,
    /// The vertex that it belongs to, as the first solve reported it.
    pub(crate) vertex: Digest,
    /// The warning in one line, without control characters.
    pub(crate) short: String,
    /// Further lines, without control characters.
    pub(crate) detail: Vec<String>,
    /// The address of a page that describes the check.
    pub(crate) url: String,
    /// The severity as the daemon sends it: 1 for the warning of a Dockerfile check.
    pub(crate) level: i64,
    /// The source lines that it is about, if the daemon named them.
    pub(crate) source: Option<SourceExcerpt>,
}

/// The state of a run, as far as events have reported it.
#[derive(Debug, Default)]
pub struct Model {
    builder: String,
    driver: String,
    targets: Vec<TargetModel>,
    by_name: HashMap<TargetName, TargetId>,
    rows: Vec<Row>,
    vertices: Vec<VertexState>,
    by_digest: HashMap<Digest, u32>,
    /// The row of each group, by the group's id.
    groups: HashMap<String, RowId>,
    /// The names of rows, so that equal names share their memory.
    names: HashSet<Arc<str>>,
    running: Vec<RowId>,
    local: IndexMap<String, Local>,
    transfers: IndexMap<u64, TimedTransfer>,
    warnings: Vec<Warning>,
    notices: Vec<Diagnostic>,
    stopping: Option<String>,
    at_stop: Option<AtStop>,
    over: bool,
    now: Duration,
    /// The number of pairs of a vertex and a target, for [`MAX_SHARES`].
    shares: usize,
    /// The number of things that were dropped because a table was full.
    lost: u64,
    /// The bytes of output that are kept for all rows, for [`MAX_TAILS`].
    tail_bytes: usize,
    /// Rows with output, in the order in which they began to write. The output of the first ones is dropped first.
    with_tail: VecDeque<RowId>,
}

impl Model {
    /// Makes the model of a run of which nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies an event and returns what it changed.
    pub fn apply(&mut self, event: &Event) -> Vec<ModelChange> {
        self.now = self.now.max(event.at);
        let mut changes = Vec::new();
        match &event.kind {
            EventKind::RunStarted {
                builder,
                driver,
                targets,
            } => {
                self.builder.clone_from(builder);
                self.driver.clone_from(driver);
                for name in targets {
                    self.target_id(name);
                }
                changes.push(ModelChange::RunStarted);
            }
            EventKind::TargetQueued { target, limit } => {
                self.queue_target(target, *limit, &mut changes);
            }
            EventKind::TargetStarted { target } => self.start_target(target, &mut changes),
            EventKind::Progress { target, update } => {
                self.take_update(target, update, &mut changes);
            }
            EventKind::Local(work) => self.take_local(work, &mut changes),
            EventKind::Transfer(transfer) => self.take_transfer(transfer, &mut changes),
            EventKind::TargetFinished { target, outcome } => {
                self.end_target(target, outcome, &mut changes);
            }
            EventKind::Notice(notice) => {
                if self.notices.len() < MAX_MESSAGES {
                    self.notices.push(notice.clone());
                    changes.push(ModelChange::Notice(self.notices.len() - 1));
                }
            }
            EventKind::Stopping { reason } => {
                if self.stopping.is_none() {
                    changes.push(ModelChange::Stopping);
                    self.at_stop = Some(AtStop::of(self));
                }
                self.stopping = Some(reason.clone());
            }
            EventKind::RunFinished => {
                self.over = true;
                changes.push(ModelChange::RunEnded);
            }
        }
        changes
    }

    /// The builder's name or address; empty before it is known.
    pub fn builder(&self) -> &str {
        &self.builder
    }

    /// How the builder is reached, such as `docker-container`; empty before it is known.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// The targets, in the order of the plan.
    pub fn targets(&self) -> &[TargetModel] {
        &self.targets
    }

    /// Returns the target with `id`, which must come from this model.
    pub fn target(&self, id: TargetId) -> Option<&TargetModel> {
        self.targets.get(id.index())
    }

    /// Returns the target called `name`.
    pub(crate) fn target_named(&self, name: &TargetName) -> Option<&TargetModel> {
        self.target(*self.by_name.get(name)?)
    }

    /// All rows, in the order in which they were first reported.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Returns the row with `id`, which must come from this model.
    pub(crate) fn row(&self, id: RowId) -> Option<&Row> {
        self.rows.get(id.index())
    }

    /// Returns the row that shows the vertex `digest`.
    pub(crate) fn row_of(&self, digest: &Digest) -> Option<RowId> {
        let vertex = *self.by_digest.get(digest)?;
        Some(self.vertices.get(vertex as usize)?.row)
    }

    /// The rows that are running, in the order in which they started.
    pub(crate) fn running(&self) -> &[RowId] {
        &self.running
    }

    /// Work on this machine, in the order of its first events.
    pub fn local(&self) -> impl ExactSizeIterator<Item = &Local> {
        self.local.values()
    }

    /// Directory transfers, in the order of their first events.
    pub fn transfers(&self) -> impl ExactSizeIterator<Item = &TimedTransfer> {
        self.transfers.values()
    }

    /// Returns the local work at a position from a [`ModelChange`].
    pub(crate) fn local_at(&self, index: usize) -> Option<&Local> {
        self.local.get_index(index).map(|(_, local)| local)
    }

    /// Returns the transfer at a position from a [`ModelChange`].
    pub(crate) fn transfer_at(&self, index: usize) -> Option<&TimedTransfer> {
        self.transfers
            .get_index(index)
            .map(|(_, transfer)| transfer)
    }

    /// Warnings of the frontend, each once, in the order in which they arrived.
    pub(crate) fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Notices of the run, in the order in which they arrived.
    pub fn notices(&self) -> &[Diagnostic] {
        &self.notices
    }

    /// Why the run is being stopped. `None` if it is not.
    pub(crate) fn stopping(&self) -> Option<&str> {
        self.stopping.as_deref()
    }

    /// What was running when the run began to stop. `None` if it is not being stopped.
    pub(crate) const fn at_stop(&self) -> Option<&AtStop> {
        self.at_stop.as_ref()
    }

    /// Whether the run is over.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// The time of the latest event, as time since the run began.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// The number of vertices, warnings and other things that were dropped because a table was full.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns the id of the target called `name`, and adds the target if it is new. `None` if the table is full.
    fn target_id(&mut self, name: &TargetName) -> Option<TargetId> {
        if let Some(id) = self.by_name.get(name) {
            return Some(*id);
        }
        let id = TargetId(u32::try_from(self.targets.len()).ok()?);
        if self.targets.len() >= MAX_TARGETS {
            return None;
        }
        self.targets.push(TargetModel::new(name.clone()));
        self.by_name.insert(name.clone(), id);
        Some(id)
    }

    /// Records that a target was started. A target that has ended cannot start again.
    fn start_target(&mut self, name: &TargetName, changes: &mut Vec<ModelChange>) {
        let Some(id) = self.target_id(name) else {
            return;
        };
        let now = self.now;
        let target = &mut self.targets[id.index()];
        target.queued = None;
        target.heard = now;
        if target.state == TargetState::Waiting {
            target.state = TargetState::Running;
            target.started = Some(now);
            changes.push(ModelChange::TargetStarted(id));
        }
    }

    /// Records that a target waits because `limit` targets are being solved.
    fn queue_target(
        &mut self,
        name: &TargetName,
        limit: NonZeroU32,
        changes: &mut Vec<ModelChange>,
    ) {
        let Some(id) = self.target_id(name) else {
            return;
        };
        let now = self.now;
        let target = &mut self.targets[id.index()];
        if !target.state.is_over() && target.queued.is_none() {
            target.queued = Some(limit);
            target.queued_since = Some(now);
            changes.push(ModelChange::TargetQueued(id));
        }
    }

    /// Records how a target ended. Only its first end counts.
    fn end_target(
        &mut self,
        name: &TargetName,
        outcome: &Arc<TargetOutcome>,
        changes: &mut Vec<ModelChange>,
    ) {
        let Some(id) = self.target_id(name) else {
            return;
        };
        let now = self.now;
        let target = &mut self.targets[id.index()];
        if target.state.is_over() {
            return;
        }
        target.state = match **outcome {
            TargetOutcome::Succeeded(_) => TargetState::Succeeded,
            TargetOutcome::Failed(_) => TargetState::Failed,
            TargetOutcome::Skipped { .. } => TargetState::Skipped,
            TargetOutcome::Cancelled(_) => TargetState::Cancelled,
        };
        target.ended = Some(now);
        target.queued = None;
        target.outcome = Some(outcome.clone());
        let broken = target.state != TargetState::Succeeded;
        self.close_rows(id, broken, changes);
        changes.push(ModelChange::TargetEnded(id));
    }
}
