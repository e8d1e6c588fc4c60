//! Daemons that end during a build.

use std::time::{Duration, Instant};

use rbake::engine::Engine;
use rbake::engine::failure::is_transient;
use rbake::outcome::{FailureKind, SolveFailure, Solved};
use tokio_util::sync::CancellationToken;

use crate::support::buildkitd::Buildkitd;
use crate::support::builds::build;
use crate::support::events::Events;

// Processes that a killed daemon leaves running end by themselves.
const WAITS: &str = "FROM busybox\nRUN echo serving && sleep 5\n";

// Solves, and sends `signal` to the daemon while the step is running.
async fn solve_and(signal: &str) -> (Result<Solved, SolveFailure>, Duration) {
    let daemon = Buildkitd::start_with_images().await;
    let engine = Engine::connect(daemon.endpoint()).await.unwrap();
    let events = Events::default();
    let build = build(&engine, WAITS, &[]).await;
    let signal_at = async {
        events
            .until(|events| events.logs().contains("serving"))
            .await;
        daemon.signal(signal);
        Instant::now()
    };
    let sink = events.sink();
    let cancel = CancellationToken::new();
    let solve = engine.solve(&build.spec, &build.sessions, &sink, &cancel);
    let (result, signal_at) = tokio::join!(solve, signal_at);
    (result, signal_at.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_daemon_that_dies_during_a_step_is_reported_at_once() {
    let (result, after) = solve_and("KILL").await;
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Engine, "{failure:?}");
    assert!(is_transient(&failure));
    assert!(failure.message.contains("was lost"), "{failure:?}");
    assert!(after < Duration::from_secs(8), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_daemon_that_gets_sigterm_finishes_its_build() {
    let (result, _) = solve_and("TERM").await;
    result.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn no_call_hangs_after_the_daemon_has_died() {
    let daemon = Buildkitd::start(&[]).await;
    let engine = Engine::connect(daemon.endpoint()).await.unwrap();
    let build = build(&engine, "FROM scratch\n", &[]).await;
    daemon.signal("KILL");
    let error = build.sessions.target.lost().await;
    assert!(error.to_string().contains("was lost"), "{error}");
    let started = Instant::now();
    let sink = Events::default().sink();
    let failure = engine
        .solve(
            &build.spec,
            &build.sessions,
            &sink,
            &CancellationToken::new(),
        )
        .await
        .unwrap_err();
    assert_eq!(failure.kind, FailureKind::Engine, "{failure:?}");
    engine.capabilities().await.unwrap_err();
    build.close().await;
    engine.close().await;
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
}
