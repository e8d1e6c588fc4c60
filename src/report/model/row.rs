//! A row: one thing in the display. It shows a vertex, or a group of vertices that the frontend wants shown as
//! one.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::busy::Busy;
use super::ids::TargetSet;
use super::log::Tail;
use super::name::{WorkKind, shorten_digests};
use crate::event;
use crate::report::text;
use crate::types::Digest;

/// The most parts that are kept of a row.
const MAX_PROGRESS: usize = 512;
/// The most bytes of a part's name.
const MAX_NAME: usize = 256;

/// The state of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum State {
    /// Known, but not started.
    Pending,
    /// Being worked on now.
    Running,
    /// Worked on and done.
    Done,
    /// The result came from the cache.
    Cached,
    /// Failed.
    Failed,
    /// Stopped before it was done.
    Cancelled,
}

impl State {
    /// Whether it is neither waiting nor running. Sources may start again later.
    pub(crate) const fn is_over(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }

    /// Whether there is a result.
    pub(crate) const fn is_success(self) -> bool {
        matches!(self, Self::Done | Self::Cached)
    }
}

/// Progress of a part of a row, such as a layer that is pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowProgress {
    /// What is being done, without control characters.
    pub(crate) name: Arc<str>,
    /// The amount done, usually in bytes.
    pub(crate) current: u64,
    /// The whole amount in the same unit; 0 if unknown.
    pub(crate) total: u64,
    /// When the first event about it arrived, as time since the run began.
    pub(crate) since: Duration,
    /// How long it took; `None` until it is done.
    pub(crate) took: Option<Duration>,
}

/// The sums over the parts of a row. If the size of some parts is known, only those are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    /// The amount done, usually in bytes.
    pub(crate) current: u64,
    /// The whole amount; 0 if no part has a known size.
    pub(crate) total: u64,
    /// The number of parts that are done.
    pub(crate) parts_done: usize,
    /// The number of parts.
    pub(crate) parts: usize,
}

/// A vertex, or a group of vertices that is shown as one thing.
#[derive(Debug)]
pub struct Row {
    /// The name on one line, without control characters.
    pub(crate) name: Arc<str>,
    /// The kind of work, judging by the name.
    pub(crate) kind: WorkKind,
    /// The targets whose solves report it.
    pub(crate) targets: TargetSet,
    /// The digest of the vertex. For a group, of the vertex that was reported first.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests use it"))]
    pub(crate) digest: Digest,
    /// The current state.
    pub(crate) state: State,
    /// When it entered this state, as time since the run began.
    pub(crate) since: Duration,
    /// Why it failed or was cancelled. `None` in other states.
    pub(crate) error: Option<Arc<str>>,
    /// The limit at which the builder left out a part of the output, as the builder writes it, such as `2.0MB` or `200kB/s`. `None` if
    /// nothing was left out.
    pub(crate) clipped: Option<Arc<str>>,
    /// When it last wrote output, as time since the run began.
    pub(crate) last_output: Option<Duration>,
    pub(super) busy: Busy,
    /// How long it had been running when its last solve ended, if the builder did not report its end.
    pub(super) left_open: Duration,
    pub(super) tail: Tail,
    /// The unfinished last line of output, as it looks now.
    pub(super) partial: Option<Arc<str>>,
    /// The vertices that the row shows, as indices of the model's table.
    pub(super) members: Vec<u32>,
    /// The parts by their vertex and their id, in the order in which they were reported.
    progress: IndexMap<(Digest, String), RowProgress>,
}

impl Row {
    pub(super) fn new(name: Arc<str>, digest: Digest) -> Self {
        Self {
            kind: WorkKind::of(&name),
            name,
            targets: TargetSet::default(),
            digest,
            state: State::Pending,
            since: Duration::ZERO,
            error: None,
            clipped: None,
            last_output: None,
            busy: Busy::default(),
            left_open: Duration::ZERO,
            tail: Tail::default(),
            partial: None,
            members: Vec::new(),
            progress: IndexMap::new(),
        }
    }

    /// Returns the time that was spent on it, by the daemon's clock. If it is running, this is at least the time
    /// since the event that reported its start.
    pub(crate) fn elapsed(&self, now: Duration) -> Duration {
        let worked = self.busy.total();
        if self.state == State::Running {
            worked.max(now.saturating_sub(self.since))
        } else {
            worked.max(self.left_open)
        }
    }

    /// The last lines of its output.
    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The unfinished last line of its output.
    pub(crate) fn partial_line(&self) -> Option<&str> {
        self.partial.as_deref()
    }

    /// Returns the part at `index`, in the order in which parts were first reported.
    pub(crate) fn progress_at(&self, index: usize) -> Option<&RowProgress> {
        self.progress.get_index(index).map(|(_, progress)| progress)
    }

    /// Returns the sums over its parts, or `None` if it has no parts with an amount.
    pub(crate) fn amount(&self) -> Option<Amount> {
        let mut amount = Amount::default();
        let sized = || self.progress.values().filter(|p| p.total > 0);
        if sized().next().is_some() {
            for part in sized() {
                amount.current = amount.current.saturating_add(part.current.min(part.total));
                amount.total = amount.total.saturating_add(part.total);
                amount.parts_done += usize::from(part.took.is_some() || part.current >= part.total);
                amount.parts += 1;
            }
            return Some(amount);
        }
        let moved = self.progress.values().filter(|p| p.current > 0);
        for part in moved {
            amount.current = amount.current.saturating_add(part.current);
            amount.parts_done += usize::from(part.took.is_some());
            amount.parts += 1;
        }
        (amount.parts > 0).then_some(amount)
    }

    /// Applies progress of a part. Returns the part's position if this update says that it is done.
    pub(super) fn update_progress(
        &mut self,
        update: &event::VertexProgress,
        now: Duration,
    ) -> Option<usize> {
        let key = (update.vertex.clone(), update.id.clone());
        let done = update.completed.is_some();
        if self.progress.len() >= MAX_PROGRESS && !self.progress.contains_key(&key) {
            return None;
        }
        let entry = self.progress.entry(key);
        let index = entry.index();
        let part = entry.or_insert_with(|| RowProgress {
            name: shorten_digests(&text::clean_name(&update.id, MAX_NAME)).into(),
            current: 0,
            total: 0,
            since: now,
            took: None,
        });
        // Updates may arrive in any order. Amounts never shrink, and a part that is done stays done.
        part.current = part.current.max(amount_of(update.current));
        part.total = part.total.max(amount_of(update.total));
        if !done || part.took.is_some() {
            return None;
        }
        let worked = update.completed.zip(update.started);
        let worked = worked.and_then(|(end, start)| end.duration_since(start).ok());
        part.took = Some(worked.unwrap_or_else(|| now.saturating_sub(part.since)));
        Some(index)
    }
}

/// Converts an amount. The daemon may send a negative one, which counts as 0.
fn amount_of(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(id: &str, current: i64, total: i64, done: bool) -> event::VertexProgress {
        let at = std::time::SystemTime::UNIX_EPOCH;
        event::VertexProgress {
            id: id.into(),
            vertex: Digest::sha256(b"v"),
            name: "downloading".into(),
            current,
            total,
            timestamp: Some(at),
            started: Some(at),
            completed: done.then(|| at + Duration::from_secs(2)),
        }
    }

    #[test]
    fn amounts_of_parts_add_up() {
        let mut row = Row::new("[1/2] FROM x".into(), Digest::sha256(b"v"));
        assert_eq!(row.amount(), None);
        let mut tell = |id, current, total, done| {
            row.update_progress(&progress(id, current, total, done), Duration::ZERO)
        };
        assert_eq!(tell("sha256:a", 5, 10, false), None);
        assert_eq!(tell("sha256:b", 20, 20, true), Some(1));
        assert_eq!(tell("sha256:b", 3, 20, false), None, "late");
        assert_eq!(tell("sha256:b", 20, 20, true), None, "twice");
        assert_eq!(tell("resolve", 0, 0, false), None);
        assert_eq!(tell("sha256:c", -5, i64::MIN, false), None);
        let amount = Amount {
            current: 25,
            total: 30,
            parts_done: 1,
            parts: 2,
        };
        assert_eq!(row.amount(), Some(amount));
        assert_eq!(
            row.progress_at(1).unwrap().took,
            Some(Duration::from_secs(2))
        );
    }
}
