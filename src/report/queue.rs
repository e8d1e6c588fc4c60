//! The queue between the parts of the program that send events and the thread that draws them.
//!
//! Sending never waits, because a slow terminal must not slow down a build. If the reader is behind, new progress
//! of a target is joined with its progress in the queue, so the size of the queue is bounded by the number of
//! vertices. Events about targets and the run are never dropped. A daemon can send any amount of output; output
//! beyond [`MAX_WAITING_OUTPUT`] is dropped, and a line says so.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::event::{
    Event, EventKind, LocalWork, StatusUpdate, Transfer, Vertex, VertexLog, VertexProgress,
};
use crate::types::TargetName;

/// The number of waiting events from which on progress is joined.
const JOIN_FROM: usize = 256;
/// The most bytes of output that may wait.
const MAX_WAITING_OUTPUT: usize = 32 * 1024 * 1024;
/// For one target, the most states of vertices, the most states of parts, and the most warnings that may wait.
const MAX_WAITING_STATES: usize = 20_000;
/// The memory of a piece of output besides its bytes, estimated.
const LOG_COST: usize = 128;
/// The text that replaces dropped output.
const LEFT_OUT: &[u8] = b"\n[output left out: it came faster than it could be shown]\n";

/// The waiting events, with a signal for the reader.
#[derive(Debug, Default)]
pub(super) struct EventQueue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// The number of events that were taken so far, which is the position of `events[0]` among all events.
    taken: u64,
    /// For each target, the position among all events of its last progress that is still waiting.
    progress: HashMap<TargetName, u64>,
    /// The bytes of output that are waiting.
    output: usize,
    /// Whether output was dropped since the reader last took events, so that only one line says so.
    leaving_out: bool,
    closed: bool,
}

impl EventQueue {
    /// Adds an event. Does nothing after [`Self::close`].
    pub(super) fn push(&self, event: Event) {
        let mut waiting = self.lock();
        if waiting.closed {
            return;
        }
        waiting.push(event);
        drop(waiting);
        self.changed.notify_one();
    }

    /// Ends the queue. Events that are pushed later are dropped.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits until there are events or the queue is closed, at most `patience`. Returns whether it is closed.
    pub(super) fn wait(&self, patience: Duration) -> bool {
        let idle = |waiting: &mut Waiting| waiting.events.is_empty() && !waiting.closed;
        let guard = self.lock();
        let result = self.changed.wait_timeout_while(guard, patience, idle);
        let (waiting, _) = result.unwrap_or_else(PoisonError::into_inner);
        waiting.closed
    }

    /// Waits for `patience` so that more events arrive, or until the queue is closed.
    pub(super) fn gather(&self, patience: Duration) {
        let guard = self.lock();
        let result = self
            .changed
            .wait_timeout_while(guard, patience, |waiting| !waiting.closed);
        drop(result);
    }

    /// Takes all waiting events.
    pub(super) fn take(&self) -> VecDeque<Event> {
        let mut waiting = self.lock();
        waiting.taken += waiting.events.len() as u64;
        waiting.progress.clear();
        waiting.output = 0;
        waiting.leaving_out = false;
        std::mem::take(&mut waiting.events)
    }

    /// Locks the queue. A panic of another thread does not matter, because every change is complete before the
    /// lock is released.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, mut event: Event) {
        let position = self.taken + self.events.len() as u64;
        match &mut event.kind {
            EventKind::Progress { target, update } => {
                self.bound_output(update);
                if self.join(target, update) {
                    return;
                }
                self.progress.insert(target.clone(), position);
            }
            EventKind::TargetQueued { target, .. }
            | EventKind::TargetStarted { target }
            | EventKind::TargetFinished { target, .. } => {
                // Later progress must not be joined with progress before this event.
                self.progress.remove(target);
            }
            EventKind::Local(work) if self.join_local(work) => return,
            EventKind::Transfer(transfer) if self.join_transfer(transfer) => return,
            EventKind::Local(_)
            | EventKind::Transfer(_)
            | EventKind::RunStarted { .. }
            | EventKind::Notice(_)
            | EventKind::Stopping { .. }
            | EventKind::RunFinished => {}
        }
        self.events.push_back(event);
    }

    /// Drops the output of `update` if too much output is waiting.
    fn bound_output(&mut self, update: &mut Arc<StatusUpdate>) {
        let bytes: usize = update
            .logs
            .iter()
            .map(|log| log.data.len() + LOG_COST)
            .sum();
        if self.output + bytes <= MAX_WAITING_OUTPUT {
            self.output += bytes;
            return;
        }
        let update = Arc::make_mut(update);
        let first = update.logs.drain(..).next();
        if !std::mem::replace(&mut self.leaving_out, true)
            && let Some(log) = first
        {
            update.logs.push(VertexLog {
                data: Bytes::from_static(LEFT_OUT),
                ..log
            });
        }
    }

    /// Replaces a waiting event about the same local work if many events wait. Returns whether it did.
    fn join_local(&mut self, work: &LocalWork) -> bool {
        if self.events.len() <= JOIN_FROM {
            return false;
        }
        let known = self
            .events
            .iter_mut()
            .rev()
            .find_map(|event| match &mut event.kind {
                EventKind::Local(known) if known.id == work.id && !known.done => Some(known),
                _ => None,
            });
        known.map(|known| known.clone_from(work)).is_some()
    }

    /// Joins an event with a waiting one about the same transfer if many events wait. Returns whether it did.
    fn join_transfer(&mut self, transfer: &Transfer) -> bool {
        if self.events.len() <= JOIN_FROM {
            return false;
        }
        let known = self
            .events
            .iter_mut()
            .rev()
            .find_map(|event| match &mut event.kind {
                EventKind::Transfer(known) if known.id == transfer.id && !known.done => Some(known),
                _ => None,
            });
        known.map(|known| known.join(transfer)).is_some()
    }

    /// Joins progress with waiting progress of the same target if many events wait. Returns whether it did.
    fn join(&mut self, target: &TargetName, update: &Arc<StatusUpdate>) -> bool {
        if self.events.len() <= JOIN_FROM {
            return false;
        }
        let Some(position) = self.progress.get(target) else {
            return false;
        };
        let at = usize::try_from(position - self.taken).unwrap_or(usize::MAX);
        let Some(EventKind::Progress { update: known, .. }) =
            self.events.get_mut(at).map(|event| &mut event.kind)
        else {
            return false;
        };
        join_updates(Arc::make_mut(known), update);
        true
    }
}

/// Joins two updates so that the reader learns the same as from both. Only states that a later update makes
/// superfluous are replaced.
fn join_updates(known: &mut StatusUpdate, new: &StatusUpdate) {
    for vertex in &new.vertices {
        let superfluous = |k: &&mut Vertex| {
            k.digest == vertex.digest
                && k.started == vertex.started
                && k.completed.is_none()
                && !k.cached
        };
        let room = known.vertices.len() < MAX_WAITING_STATES;
        match known.vertices.iter_mut().rev().find(superfluous) {
            Some(superfluous) => *superfluous = vertex.clone(),
            None if room => known.vertices.push(vertex.clone()),
            None => {}
        }
    }
    for progress in &new.progress {
        let same = |k: &&mut VertexProgress| k.vertex == progress.vertex && k.id == progress.id;
        let room = known.progress.len() < MAX_WAITING_STATES;
        match known.progress.iter_mut().rev().find(same) {
            Some(same) => {
                let (current, total) = (
                    same.current.max(progress.current),
                    same.total.max(progress.total),
                );
                if same.completed.is_none() {
                    same.clone_from(progress);
                }
                (same.current, same.total) = (current, total);
            }
            None if room => known.progress.push(progress.clone()),
            None => {}
        }
    }
    known.logs.extend_from_slice(&new.logs);
    for warning in &new.warnings {
        if !known.warnings.contains(warning) && known.warnings.len() < MAX_WAITING_STATES {
            known.warnings.push(warning.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::{Model, tests::any_event};
    use crate::types::Digest;
    use proptest::prelude::*;

    fn progress(target: &str, update: StatusUpdate) -> Event {
        Event {
            at: Duration::ZERO,
            kind: EventKind::Progress {
                target: target.parse().unwrap(),
                update: Arc::new(update),
            },
        }
    }

    fn output(bytes: usize) -> StatusUpdate {
        let log = VertexLog {
            vertex: Digest::sha256(b"v"),
            timestamp: None,
            stream: 1,
            data: vec![b'x'; bytes].into(),
        };
        StatusUpdate {
            logs: vec![log],
            ..StatusUpdate::default()
        }
    }

    #[test]
    fn a_reader_that_hangs_costs_limited_memory() {
        let queue = EventQueue::default();
        for n in 0..10_000i64 {
            let part = VertexProgress {
                id: "sha256:layer".into(),
                vertex: Digest::sha256(b"v"),
                name: String::new(),
                current: n,
                total: 10_000,
                timestamp: None,
                started: None,
                completed: None,
            };
            queue.push(progress(
                "web",
                StatusUpdate {
                    progress: vec![part],
                    ..StatusUpdate::default()
                },
            ));
        }
        let events = queue.take();
        assert!(events.len() <= JOIN_FROM + 2, "{}", events.len());
        let Some(EventKind::Progress { update, .. }) = events.back().map(|event| &event.kind)
        else {
            panic!("progress comes last");
        };
        assert_eq!(update.progress.len(), 1);
        assert_eq!(update.progress[0].current, 9999);

        for _ in 0..1000 {
            queue.push(progress("web", output(1024 * 1024)));
        }
        let events = queue.take();
        let logs = events.iter().flat_map(|event| match &event.kind {
            EventKind::Progress { update, .. } => update.logs.clone(),
            _ => Vec::new(),
        });
        let bytes: usize = logs.clone().map(|log| log.data.len()).sum();
        assert!(bytes <= MAX_WAITING_OUTPUT + LEFT_OUT.len());
        assert_eq!(logs.filter(|log| &*log.data == LEFT_OUT).count(), 1);
    }

    #[test]
    fn progress_never_moves_past_the_end_of_its_target() {
        let queue = EventQueue::default();
        for _ in 0..JOIN_FROM + 10 {
            queue.push(progress("web", output(1)));
        }
        let end = crate::outcome::TargetOutcome::Cancelled(crate::outcome::CancelReason::Signal(2));
        let kind = EventKind::TargetFinished {
            target: "web".parse().unwrap(),
            outcome: end.into(),
        };
        queue.push(Event {
            at: Duration::ZERO,
            kind,
        });
        queue.push(progress("web", output(1)));
        let events = queue.take();
        let last: Vec<bool> = events
            .iter()
            .rev()
            .take(2)
            .map(|event| matches!(event.kind, EventKind::Progress { .. }))
            .collect();
        assert_eq!(last, [true, false]);
    }

    #[test]
    fn waiting_ends_at_an_event_or_at_the_end_of_the_queue() {
        let queue = EventQueue::default();
        assert!(!queue.wait(Duration::ZERO));
        queue.push(progress("web", output(1)));
        assert!(!queue.wait(Duration::from_secs(600)));
        queue.close();
        assert!(queue.wait(Duration::from_secs(600)));
        queue.gather(Duration::from_secs(600));
        queue.push(progress("web", output(1)));
        assert_eq!(queue.take().len(), 1);
    }

    proptest! {
        // Joined or not, events lead to the same model.
        #[test]
        fn joining_events_does_not_change_the_model(mut events in prop::collection::vec(any_event(), 0..60)) {
            // A vertex has the same name in all events: if there were several names, only the first would count.
            for event in &mut events {
                if let EventKind::Progress { update, .. } = &mut event.kind {
                    for vertex in &mut Arc::make_mut(update).vertices {
                        vertex.name = format!("[1/2] RUN {}", vertex.digest);
                        vertex.group = None;
                    }
                }
            }
            let mut direct = Model::new();
            let queue = EventQueue::default();
            // Enough events that everything that can be joined is joined.
            for _ in 0..=JOIN_FROM {
                queue.push(Event { at: Duration::ZERO, kind: EventKind::RunStarted { builder: String::new(), driver: String::new(), targets: Vec::new() } });
            }
            for event in &events {
                direct.apply(event);
                queue.push(event.clone());
            }
            let mut joined = Model::new();
            let taken = queue.take();
            for event in &taken {
                joined.apply(event);
            }
            prop_assert_eq!(direct.totals(), joined.totals());
            let names = |model: &Model| model.targets().iter().map(|t| (t.name.clone(), t.state, t.steps())).collect::<Vec<_>>();
            let (mut a, mut b) = (names(&direct), names(&joined));
            a.sort_by(|a, b| a.0.cmp(&b.0));
            b.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(a, b);
            let output = |events: &mut dyn Iterator<Item = &Event>| events.filter_map(|event| match &event.kind {
                EventKind::Progress { update, .. } => Some(update.logs.iter().map(|log| log.data.len()).sum::<usize>()),
                _ => None,
            }).sum::<usize>();
            prop_assert_eq!(output(&mut events.iter()), output(&mut taken.iter()));
        }
    }
}
