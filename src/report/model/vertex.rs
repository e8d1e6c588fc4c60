//! The state of one vertex. Updates arrive in any order and from several solves.

use std::sync::Arc;
use std::time::SystemTime;

use super::ids::{RowId, TargetId};
use super::log::LineBuffer;
use super::row::State;
use super::target::StepEnd;
use crate::event;

/// The most bytes that are kept of an error text.
const MAX_ERROR: usize = 8 * 1024;

/// What the solve of one target reports about a vertex.
#[derive(Debug)]
pub(super) struct TargetVertex {
    pub(super) target: TargetId,
    /// The start of the latest interval of work; `None` before the first.
    latest: Option<SystemTime>,
    /// Whether the latest interval has no end yet.
    open: bool,
    /// Whether an interval ended with a result from the cache.
    cached: bool,
    solve: Solve,
}

/// Whether the solve of a share has ended. If it has, no update will close an interval that is still open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Solve {
    GoesOn,
    Succeeded,
    /// Ended without success.
    Broken,
}

impl TargetVertex {
    /// Returns how the vertex ended in this solve.
    pub(super) fn end(&self) -> StepEnd {
        match (self.latest, self.open, self.cached) {
            (None, ..) | (_, true, _) => StepEnd::Open,
            (_, _, true) => StepEnd::Cached,
            (_, _, false) => StepEnd::Ran,
        }
    }
}

/// A vertex, with what each solve that shares it reports.
#[derive(Debug)]
pub(super) struct VertexState {
    pub(super) row: RowId,
    pub(super) shares: Vec<TargetVertex>,
    /// The error, with the start of the interval that ended with it.
    error: Option<(SystemTime, Arc<str>)>,
    /// The start of the latest interval that ended without an error.
    succeeded: Option<SystemTime>,
    log: LogSource,
    /// The unfinished lines of standard output and standard error.
    streams: [LineBuffer; 2],
}

/// Selects the solve whose output is used. Every solve that shares a vertex sends its whole output, with equal
/// times, so using all would repeat each line. The first solve is used. Another one takes over if it sends a chunk
/// that is newer than everything seen so far.
#[derive(Debug, Default)]
struct LogSource {
    target: Option<TargetId>,
    last: Option<SystemTime>,
}

impl LogSource {
    /// Whether a chunk of output from the solve of `target` is used.
    fn takes(&mut self, target: TargetId, timestamp: Option<SystemTime>) -> bool {
        let newer = timestamp > self.last;
        if self.target.is_some_and(|owner| owner != target) && !newer {
            return false;
        }
        self.target = Some(target);
        self.last = self.last.max(timestamp);
        true
    }
}

impl VertexState {
    pub(super) fn new(row: RowId) -> Self {
        Self {
            row,
            shares: Vec::new(),
            error: None,
            succeeded: None,
            log: LogSource::default(),
            streams: Default::default(),
        }
    }

    /// Returns the position of the share of `target`.
    pub(super) fn share(&self, target: TargetId) -> Option<usize> {
        self.shares.iter().position(|share| share.target == target)
    }

    /// Adds a share for `target` and returns its position.
    pub(super) fn add_share(&mut self, target: TargetId) -> usize {
        self.shares.push(TargetVertex {
            target,
            latest: None,
            open: false,
            cached: false,
            solve: Solve::GoesOn,
        });
        self.shares.len() - 1
    }

    /// Applies an update. Returns the interval that it closes, unless the result came from the cache.
    pub(super) fn update(
        &mut self,
        share: usize,
        vertex: &event::Vertex,
    ) -> Option<(SystemTime, SystemTime)> {
        let share = self.shares.get_mut(share)?;
        let start = vertex.started.or(vertex.completed)?;
        let order = share.latest.map(|latest| start.cmp(&latest));
        match order {
            None | Some(std::cmp::Ordering::Greater) => {
                share.latest = Some(start);
                share.open = vertex.completed.is_none();
            }
            // The two updates of one interval arrive in any order. The one that has an end is the later one.
            Some(std::cmp::Ordering::Equal) => {
                share.open &= vertex.completed.is_none();
            }
            Some(std::cmp::Ordering::Less) => {}
        }
        // After a result was found in the cache, the daemon may fetch and unpack its layers, which it reports as further
        // intervals of the same vertex. The step did not run. The updates arrive in any order.
        share.cached |= vertex.cached;
        let end = vertex.completed?;
        if vertex.error.is_empty() {
            self.succeeded = self.succeeded.max(Some(start));
        } else if self.error.as_ref().is_none_or(|(at, _)| *at <= start) {
            let text = crate::report::text::clean_text(&vertex.error, MAX_ERROR);
            self.error = Some((start, text.into()));
        }
        (!vertex.cached).then_some((start, end))
    }

    /// Records that the solve of `target` has ended. Returns whether that changes the state of this vertex,
    /// because it was still running there.
    pub(super) fn target_over(&mut self, target: TargetId, broken: bool) -> bool {
        let Some(at) = self.share(target) else {
            return false;
        };
        let share = &mut self.shares[at];
        share.solve = if broken {
            Solve::Broken
        } else {
            Solve::Succeeded
        };
        share.open
    }

    /// Computes the state from everything that is known.
    pub(super) fn state(&self) -> State {
        if self
            .shares
            .iter()
            .any(|share| share.open && share.solve == Solve::GoesOn)
        {
            return State::Running;
        }
        if let Some(text) = self.error() {
            return if is_cancellation(text) {
                State::Cancelled
            } else {
                State::Failed
            };
        }
        let ended = self.shares.iter().filter(|s| s.latest.is_some() && !s.open);
        match ended.max_by_key(|share| share.latest) {
            Some(share) if share.cached => State::Cached,
            Some(_) => State::Done,
            None => {
                let mut left_open = self.shares.iter().filter(|share| share.open).peekable();
                if left_open.peek().is_none() {
                    State::Pending
                } else if left_open.any(|share| share.solve == Solve::Broken) {
                    State::Cancelled
                } else {
                    State::Done
                }
            }
        }
    }

    /// Returns why it failed or was cancelled. `None` if it succeeded later.
    pub(super) fn error(&self) -> Option<&Arc<str>> {
        let (at, text) = self.error.as_ref()?;
        (self.succeeded <= Some(*at)).then_some(text)
    }

    /// Adds output, unless another solve has sent it already. Calls `line` with each line that it completes.
    pub(super) fn log(
        &mut self,
        target: TargetId,
        log: &event::VertexLog,
        line: impl FnMut(String),
    ) {
        if self.log.takes(target, log.timestamp) {
            self.streams[usize::from(log.stream == 2)].push(&log.data, line);
        }
    }

    /// Removes and returns the unfinished lines, standard output's first.
    pub(super) fn take_partial(&mut self) -> [Option<String>; 2] {
        let [out, err] = &mut self.streams;
        [out.take(), err.take()]
    }

    /// Returns the unfinished line as it looks now.
    pub(super) fn partial(&self) -> Option<String> {
        self.streams.iter().find_map(LineBuffer::partial)
    }
}

/// Whether an error text says that the work was cancelled, not that it failed. BuildKit sends no code for that,
/// only Go's message.
pub(super) fn is_cancellation(error: &str) -> bool {
    error.contains("context canceled")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(millis)
    }

    fn update(started: Option<u64>, completed: Option<u64>) -> event::Vertex {
        event::Vertex {
            digest: crate::types::Digest::sha256(b"v"),
            inputs: Vec::new(),
            name: String::new(),
            cached: false,
            started: started.map(at),
            completed: completed.map(at),
            error: String::new(),
            group: None,
        }
    }

    fn vertex() -> VertexState {
        let mut vertex = VertexState::new(RowId(0));
        vertex.add_share(TargetId(0));
        vertex.add_share(TargetId(1));
        vertex
    }

    #[test]
    fn the_end_may_be_reported_before_the_start() {
        let mut vertex = vertex();
        assert_eq!(vertex.state(), State::Pending);
        assert_eq!(
            vertex.update(0, &update(Some(5), Some(9))),
            Some((at(5), at(9)))
        );
        vertex.update(0, &update(Some(5), None));
        assert_eq!(vertex.state(), State::Done);
        vertex.update(0, &update(None, None));
        assert_eq!(vertex.state(), State::Done);
    }

    #[test]
    fn a_vertex_may_run_again() {
        let mut vertex = vertex();
        vertex.update(0, &update(Some(5), Some(6)));
        vertex.update(0, &update(Some(7), None));
        assert_eq!(vertex.state(), State::Running);
        vertex.update(0, &update(Some(7), Some(8)));
        assert_eq!(vertex.state(), State::Done);
    }

    #[test]
    fn a_cached_step_stays_cached_while_its_layers_are_unpacked() {
        let mut vertex = vertex();
        let mut found = update(Some(5), Some(5));
        found.cached = true;
        vertex.update(0, &found);
        vertex.update(0, &update(Some(7), None));
        assert_eq!(vertex.state(), State::Running);
        vertex.update(0, &update(Some(7), Some(8)));
        assert_eq!(vertex.state(), State::Cached);
        vertex.update(1, &update(Some(9), Some(10)));
        assert_eq!(vertex.state(), State::Done);
        vertex.update(1, &found);
        assert_eq!(vertex.state(), State::Cached, "an old update, late");
    }

    #[test]
    fn a_vertex_runs_while_any_solve_runs_it() {
        let mut vertex = vertex();
        vertex.update(0, &update(Some(5), None));
        vertex.update(1, &update(Some(5), None));
        vertex.update(1, &update(Some(5), Some(9)));
        assert_eq!(vertex.state(), State::Running);
        assert!(vertex.target_over(TargetId(0), true));
        assert_eq!(vertex.state(), State::Done);
    }

    #[test]
    fn steps_that_a_broken_target_leaves_open_count_as_cancelled() {
        let mut vertex = vertex();
        vertex.update(0, &update(Some(5), None));
        vertex.target_over(TargetId(0), true);
        assert_eq!(vertex.state(), State::Cancelled);
    }

    #[test]
    fn a_vertex_has_failed_until_a_later_success() {
        let mut vertex = vertex();
        let mut failed = update(Some(5), Some(6));
        failed.error = "process did not complete successfully: exit code: 2".into();
        vertex.update(0, &failed);
        assert_eq!(vertex.state(), State::Failed);
        vertex.update(0, &update(Some(7), Some(8)));
        assert_eq!(vertex.state(), State::Done);
        vertex.update(0, &failed);
        assert_eq!(vertex.state(), State::Done, "an old update, late");
        failed.started = Some(at(9));
        failed.error = "exit code: 137: context canceled: context canceled".into();
        vertex.update(1, &failed);
        assert_eq!(vertex.state(), State::Cancelled);
    }

    #[test]
    fn output_that_targets_share_is_taken_once() {
        let mut vertex = vertex();
        let mut lines = Vec::new();
        let log = |time: u64, data: &'static str| event::VertexLog {
            vertex: crate::types::Digest::sha256(b"v"),
            timestamp: Some(at(time)),
            stream: 1,
            data: bytes::Bytes::from_static(data.as_bytes()),
        };
        for (target, time, data) in [
            (0, 1, "a\n"),
            (0, 1, "b\n"),
            (1, 1, "a\n"),
            (1, 1, "b\n"),
            (1, 2, "c\n"),
            (0, 2, "c\n"),
            (0, 3, "d\n"),
            (1, 3, "d\n"),
        ] {
            vertex.log(TargetId(target), &log(time, data), |line| lines.push(line));
        }
        assert_eq!(lines, ["a", "b", "c", "d"]);
    }
}
