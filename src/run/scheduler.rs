//! Owns the state of a run: which targets are running, how each ended, and whether the rest is being stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::task::{Id, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::AfterFailure;
use super::slots::Slots;
use crate::event::{EventKind, EventSink};
use crate::outcome::{CancelReason, FailureKind, SolveFailure, Solved, TargetOutcome};
use crate::plan::TargetGraph;
use crate::types::TargetName;
use crate::types::panics;
use crate::types::shutdown::TARGETS_TIMEOUT;

/// The work of one target. It must end soon after `halt` is cancelled.
pub(super) type Work = BoxFuture<'static, Result<Solved, NotBuilt>>;

/// Why a target was not built.
#[derive(Debug)]
pub(super) enum NotBuilt {
    /// It failed.
    Failed(SolveFailure),
    /// It needs a target that was not built.
    Skipped {
        /// The target that failed.
        because: TargetName,
    },
}

impl From<SolveFailure> for NotBuilt {
    fn from(failure: SolveFailure) -> Self {
        Self::Failed(failure)
    }
}

/// How each target ended, in the order in which the targets were given.
pub(super) type Ends = Vec<(TargetName, Arc<TargetOutcome>)>;

/// Lets other parts of the program ask the run to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    token: CancellationToken,
    /// Cancelled by [`Stop::insist`].
    haste: CancellationToken,
    reason: Arc<std::sync::OnceLock<CancelReason>>,
}

impl Stop {
    /// Asks the run to stop because of `reason`. Only the first reason is kept.
    pub(crate) fn request(&self, reason: CancelReason) {
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// Asks the run to stop without waiting for anything. Call it after [`Stop::request`].
    pub(crate) fn insist(&self) {
        self.haste.cancel();
    }

    /// Completes once [`Stop::insist`] was called.
    pub(crate) async fn insisted(&self) {
        self.haste.cancelled().await;
    }

    /// The reason, if [`Stop::request`] was called.
    pub(crate) fn reason(&self) -> Option<&CancelReason> {
        self.reason.get()
    }

    /// Completes once [`Stop::request`] was called, with the reason.
    pub(crate) async fn requested(&self) -> CancelReason {
        self.token.cancelled().await;
        self.reason
            .get()
            .cloned()
            .unwrap_or(CancelReason::Signal(2))
    }
}

/// The next thing that happens to a run.
enum Action {
    Ended(Id, Result<Solved, NotBuilt>),
    Stop(CancelReason),
    GiveUp,
    Done,
}

struct Run<'a> {
    tasks: JoinSet<Result<Solved, NotBuilt>>,
    names: BTreeMap<Id, usize>,
    targets: Vec<TargetName>,
    /// How each target ended, in the order of `targets`. `None` while it is running.
    ends: Vec<Option<Arc<TargetOutcome>>>,
    /// Cancels all solves. Not to be confused with [`Stop`], which is the user's wish.
    halt: CancellationToken,
    /// Why and when the run was stopped.
    stopped: Option<(CancelReason, Instant)>,
    rules: RunRules<'a>,
    events: &'a EventSink,
}

/// What the scheduler knows of the targets.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunRules<'a> {
    /// The links between the targets.
    pub(super) graph: &'a TargetGraph,
    /// How many targets are solved at once.
    pub(super) slots: &'a Slots,
    /// What happens when a target fails.
    pub(super) after_failure: AfterFailure,
}

/// Runs all of `work`; how many of them are solved at once, they learn from the slots of `rules`. The first failure, or `stop`, cancels `halt`, and with it all work that is still
/// running. Those that need the target that failed, by their links, are skipped.
///
/// Each piece of work must end by itself when `halt` is cancelled.
pub(super) async fn run(
    work: Vec<(TargetName, Work)>,
    halt: CancellationToken,
    stop: &Stop,
    rules: RunRules<'_>,
    events: &EventSink,
) -> Ends {
    let mut run = Run {
        tasks: JoinSet::new(),
        names: BTreeMap::new(),
        targets: Vec::with_capacity(work.len()),
        ends: vec![None; work.len()],
        halt,
        stopped: None,
        rules,
        events,
    };
    for (target, work) in work {
        if !rules.slots.are_limited() {
            events.send(EventKind::TargetStarted {
                target: target.clone(),
            });
        }
        let span = tracing::info_span!("target", name = %target);
        span.in_scope(|| tracing::info!("target begins"));
        let id = run.tasks.spawn(work.instrument(span)).id();
        run.names.insert(id, run.targets.len());
        run.targets.push(target);
    }
    loop {
        let action = run.select(stop).await;
        if !run.apply(action) {
            return run.finish();
        }
    }
}

impl Run<'_> {
    /// Waits for the next action. A stop takes precedence over a target that ends at the same time. Once the run
    /// is stopped, targets have [`TARGETS_TIMEOUT`] to end.
    async fn select(&mut self, stop: &Stop) -> Action {
        let deadline = self
            .stopped
            .as_ref()
            .map(|(_, since)| *since + TARGETS_TIMEOUT);
        let stopped = self.stopped.is_some();
        tokio::select! {
            biased;
            reason = stop.requested(), if !stopped => Action::Stop(reason),
            ended = self.tasks.join_next_with_id() => match ended {
                Some(Ok((id, result))) => Action::Ended(id, result),
                Some(Err(error)) => Action::Ended(error.id(), Err(broken(error).into())),
                None => Action::Done,
            },
            () = wait_until(deadline) => Action::GiveUp,
            () = stop.insisted(), if stopped => Action::GiveUp,
        }
    }

    /// Applies `action` and returns whether the run goes on.
    fn apply(&mut self, action: Action) -> bool {
        match action {
            Action::Ended(id, result) => {
                if let Some(&at) = self.names.get(&id) {
                    self.ended(at, result);
                }
                true
            }
            Action::Stop(reason) => {
                self.halt_because(reason);
                true
            }
            Action::GiveUp => {
                tracing::warn!(running = self.tasks.len(), "no longer waiting for targets");
                self.tasks.abort_all();
                false
            }
            Action::Done => false,
        }
    }

    /// Records how a target ended, and stops the others if it failed. While the run is stopping, a cancelled solve
    /// is not a failure.
    fn ended(&mut self, at: usize, result: Result<Solved, NotBuilt>) {
        let outcome = match result {
            Ok(solved) => TargetOutcome::Succeeded(solved),
            Err(NotBuilt::Skipped { because }) => TargetOutcome::Skipped { because },
            Err(NotBuilt::Failed(failure))
                if failure.kind == FailureKind::Cancelled && self.stopped.is_some() =>
            {
                self.not_ended(at)
            }
            Err(NotBuilt::Failed(failure)) => TargetOutcome::Failed(failure),
        };
        let stops_all = match &outcome {
            TargetOutcome::Failed(failure) => self.stops_all(failure),
            _ => false,
        };
        self.settle(at, outcome);
        if stops_all && self.stopped.is_none() {
            self.halt_because(CancelReason::FirstFailure(self.targets[at].clone()));
        }
        // After the run was stopped, so that no other target begins in the place of the one that failed.
        self.rules.slots.end(&self.targets[at]);
    }

    /// Whether the run ends because of this failure of a target.
    fn stops_all(&self, failure: &SolveFailure) -> bool {
        match self.rules.after_failure {
            AfterFailure::StopAll => true,
            // Without a builder, nothing can be built.
            AfterFailure::KeepGoing => failure.kind == FailureKind::Engine,
        }
    }

    fn halt_because(&mut self, reason: CancelReason) {
        tracing::info!(?reason, running = self.tasks.len(), "cancel");
        tell_of_stop(&reason, self.events);
        self.stopped = Some((reason, Instant::now()));
        self.halt.cancel();
        self.rules.slots.close();
    }

    /// The outcome of a target that the run did not let end.
    fn not_ended(&self, at: usize) -> TargetOutcome {
        match self.reason() {
            CancelReason::FirstFailure(because)
                if self.rules.graph.needs(&self.targets[at], &because) =>
            {
                TargetOutcome::Skipped { because }
            }
            reason => TargetOutcome::Cancelled(reason),
        }
    }

    fn reason(&self) -> CancelReason {
        self.stopped
            .as_ref()
            .map_or(CancelReason::ReporterBroken, |(reason, _)| reason.clone())
    }

    fn settle(&mut self, at: usize, outcome: TargetOutcome) {
        let name = &self.targets[at];
        match &outcome {
            TargetOutcome::Succeeded(_) => tracing::info!(target.name = %name, "target built"),
            TargetOutcome::Failed(failure) => {
                tracing::warn!(target.name = %name, kind = ?failure.kind, "target failed");
            }
            TargetOutcome::Skipped { .. } => tracing::info!(target.name = %name, "target skipped"),
            TargetOutcome::Cancelled(reason) => {
                tracing::info!(target.name = %name, ?reason, "target cancelled");
            }
        }
        let outcome = Arc::new(outcome);
        self.events.send(EventKind::TargetFinished {
            target: self.targets[at].clone(),
            outcome: Arc::clone(&outcome),
        });
        self.ends[at] = Some(outcome);
    }

    /// Returns how the targets ended. Those that did not end in time are recorded as cancelled.
    fn finish(mut self) -> Ends {
        for at in 0..self.ends.len() {
            if self.ends[at].is_none() {
                let outcome = self.not_ended(at);
                self.settle(at, outcome);
            }
        }
        self.targets
            .into_iter()
            .zip(self.ends.into_iter().flatten())
            .collect()
    }
}

/// Sends `Stopping` if the whole run is stopped by a signal or by the limit of its time.
pub(crate) fn tell_of_stop(reason: &CancelReason, events: &EventSink) {
    if let Some(fragment) = reason.as_fragment() {
        events.send(EventKind::Stopping {
            reason: fragment.to_owned(),
        });
    }
}

/// Waits until `deadline`, or forever if there is none.
async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Makes a failure of a task that panicked. Its message has no values, because they may be secrets.
fn broken(error: tokio::task::JoinError) -> SolveFailure {
    let panic = error.try_into_panic();
    let reason = match panic.as_deref().map(panics::message) {
        Ok("") | Err(_) => String::new(),
        Ok(message) => format!(": {message}"),
    };
    let mut failure = SolveFailure::new(
        FailureKind::Build,
        format!("rbake failed during the build{reason}"),
    );
    failure.help.push(
        "this is a bug in rbake: please report it with the lines that rbake printed first"
            .to_owned(),
    );
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn name(text: &str) -> TargetName {
        text.parse().unwrap()
    }

    fn works(result: Result<(), FailureKind>, after: u64) -> Work {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(after)).await;
            result
                .map(|()| Solved::default())
                .map_err(|kind| SolveFailure::new(kind, "x").into())
        })
    }

    // Ends when it is cancelled, as a solve does.
    fn obedient(halt: &CancellationToken) -> Work {
        let halt = halt.clone();
        Box::pin(async move {
            halt.cancelled().await;
            Err(SolveFailure::new(FailureKind::Cancelled, "cancelled").into())
        })
    }

    async fn run_all(
        work: Vec<(TargetName, Work)>,
        halt: CancellationToken,
        stop: &Stop,
        graph: &TargetGraph,
    ) -> Ends {
        let slots = Slots::new(None, graph, graph.order(), EventSink::none());
        let rules = RunRules {
            graph,
            slots: &slots,
            after_failure: AfterFailure::StopAll,
        };
        run(work, halt, stop, rules, &EventSink::none()).await
    }

    async fn keeping_going(work: Vec<(TargetName, Work)>, halt: CancellationToken) -> Ends {
        let graph = TargetGraph::default();
        let slots = Slots::new(None, &graph, graph.order(), EventSink::none());
        let rules = RunRules {
            graph: &graph,
            slots: &slots,
            after_failure: AfterFailure::KeepGoing,
        };
        run(work, halt, &Stop::default(), rules, &EventSink::none()).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_that_keeps_going_ends_the_other_targets() {
        let halt = CancellationToken::new();
        let work = vec![
            (name("bad"), works(Err(FailureKind::Build), 1)),
            (name("slow"), works(Ok(()), 10_000)),
            (name("worse"), works(Err(FailureKind::Exhausted), 5_000)),
        ];
        let ends = keeping_going(work, halt.clone()).await;
        let failed = |end: &TargetOutcome| matches!(end, TargetOutcome::Failed(_));
        let failed: Vec<bool> = ends.iter().map(|(_, end)| failed(end)).collect();
        assert_eq!(failed, [true, false, true], "{ends:?}");
        assert!(!halt.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_builder_ends_also_a_run_that_keeps_going() {
        let halt = CancellationToken::new();
        let work = vec![
            (name("slow"), obedient(&halt)),
            (name("lost"), works(Err(FailureKind::Engine), 10)),
        ];
        let ends = keeping_going(work, halt).await;
        assert!(
            matches!(&*ends[0].1, TargetOutcome::Cancelled(_)),
            "{ends:?}"
        );
    }

    async fn outcomes(
        work: Vec<(TargetName, Work)>,
        halt: CancellationToken,
        stop: &Stop,
    ) -> Vec<TargetOutcome> {
        let graph = TargetGraph::default();
        let ends = run_all(work, halt, stop, &graph).await;
        ends.into_iter().map(|(_, end)| (*end).clone()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_failure_stops_the_other_targets_which_count_as_cancelled() {
        let halt = CancellationToken::new();
        let work = vec![
            (name("slow"), obedient(&halt)),
            (name("bad"), works(Err(FailureKind::Build), 10)),
            (name("fine"), works(Ok(()), 1)),
        ];
        let ends = outcomes(work, halt, &Stop::default()).await;
        let first = CancelReason::FirstFailure(name("bad"));
        assert!(
            matches!(&ends[0], TargetOutcome::Cancelled(reason) if *reason == first),
            "{ends:?}"
        );
        assert!(matches!(&ends[1], TargetOutcome::Failed(_)));
        assert!(matches!(&ends[2], TargetOutcome::Succeeded(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_need_the_first_failure_are_skipped() {
        let halt = CancellationToken::new();
        let graph = TargetGraph::of(&[
            ("bad", &[]),
            ("user", &["bad"]),
            ("top", &["user"]),
            ("beside", &[]),
        ]);
        let skipped = NotBuilt::Skipped {
            because: name("bad"),
        };
        let work: Vec<(TargetName, Work)> = vec![
            (name("top"), Box::pin(async { Err(skipped) })),
            (name("user"), obedient(&halt)),
            (name("bad"), works(Err(FailureKind::Build), 10)),
            (name("beside"), obedient(&halt)),
        ];
        let ends = run_all(work, halt, &Stop::default(), &graph).await;
        for (_, end) in &ends[..2] {
            assert!(
                matches!(&**end, TargetOutcome::Skipped { because } if *because == name("bad")),
                "{ends:?}"
            );
        }
        assert!(matches!(&*ends[2].1, TargetOutcome::Failed(_)));
        assert!(matches!(&*ends[3].1, TargetOutcome::Cancelled(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_does_not_wait_long_for_a_stuck_daemon() {
        let halt = CancellationToken::new();
        let stop = Stop::default();
        stop.request(CancelReason::Signal(2));
        let start = Instant::now();
        let ends = outcomes(vec![(name("stuck"), works(Ok(()), 3_600_000))], halt, &stop).await;
        assert!(start.elapsed() < Duration::from_secs(2));
        assert!(matches!(
            ends[0],
            TargetOutcome::Cancelled(CancelReason::Signal(2))
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_to_stop_ends_all_waiting() {
        let halt = CancellationToken::new();
        let stop = Stop::default();
        stop.request(CancelReason::Signal(15));
        stop.request(CancelReason::Signal(2));
        stop.insist();
        let start = Instant::now();
        let work = vec![(name("stuck"), works(Ok(()), 3_600_000))];
        let ends = outcomes(work, halt, &stop).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(matches!(
            ends[0],
            TargetOutcome::Cancelled(CancelReason::Signal(15))
        ));
    }

    #[tokio::test]
    async fn a_bug_in_rbake_fails_only_its_target() {
        let work: Vec<(TargetName, Work)> = vec![(name("a"), Box::pin(async { panic!("oh") }))];
        let ends = outcomes(work, CancellationToken::new(), &Stop::default()).await;
        assert!(
            matches!(&ends[0], TargetOutcome::Failed(failure) if failure.help[0].contains("bug in rbake"))
        );
    }
}
