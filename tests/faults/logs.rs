//! The log of runs that failed, were killed or were interrupted.

use std::time::Duration;

use rustix::process::Signal;

use super::silence::sleeper;
use crate::support::buildkitd::Buildkitd;
use crate::support::interrupted::Run;

/// The first line of `log` that contains `event`.
#[track_caller]
fn line<'a>(log: &'a str, event: &str) -> &'a str {
    let found = log.lines().find(|line| line.contains(event));
    found.unwrap_or_else(|| panic!("`{event}` is not in\n{log}"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_log_shows_what_a_run_lost_when_its_daemon_was_killed() {
    let daemon = Buildkitd::start_with_images().await;
    let project = sleeper(daemon.endpoint(), 60).env("RBAKE_LOG", "debug");
    let mut run = Run::start(&project.command(&["--progress", "plain", "-D"]));
    run.writes("begun-42").await;
    daemon.signal("KILL");
    let ended = run.ended(Duration::from_secs(20)).await;
    let log = &ended.stderr;
    assert_eq!(ended.status.code(), Some(4), "{log}");
    let lost = line(log, "connection lost");
    assert!(
        lost.contains(&format!("endpoint={}", daemon.endpoint())),
        "{lost}"
    );
    assert!(
        lost.contains(" ERROR ") && lost.contains("reason="),
        "{lost}"
    );
    let session = line(log, "session lost cause=");
    assert!(
        session.contains("target{name=default}:session{id="),
        "{session}"
    );
    let solve = line(log, "solve interrupted");
    assert!(solve.contains("was lost ("), "{solve}");
    // The log also has the events before that, in their order.
    let order = [
        "stream open",
        "greeting",
        "builder chosen",
        "bake begins",
        "lowering ended",
        "target begins",
        "session open",
        "solve sent",
        "transfer begins",
        "transfer ended",
        "connection lost",
        "target failed",
    ];
    let places: Vec<_> = order.iter().map(|event| log.find(event)).collect();
    assert!(
        places.is_sorted() && places[0].is_some(),
        "{places:?}\n{log}"
    );
}

// Each line is written to the log at once, not at the end of the run.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_killed_run_leaves_its_log() {
    let daemon = Buildkitd::start_with_images().await;
    let project = sleeper(daemon.endpoint(), 5);
    let file = project.path().join("log");
    let mut run = Run::start(&project.command(&["--progress", "plain", "--log-file", "log"]));
    run.writes("begun-42").await;
    run.signal(Signal::KILL);
    run.ended(Duration::from_secs(10)).await;
    let log = std::fs::read_to_string(file).unwrap();
    line(&log, "solve sent");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_log_says_that_an_interrupt_cancelled_the_solves() {
    let daemon = Buildkitd::start_with_images().await;
    let project = sleeper(daemon.endpoint(), 60);
    let mut run = Run::start(&project.command(&["--progress", "plain", "--log-file", "log"]));
    run.writes("begun-42").await;
    run.interrupt(Signal::INT).await;
    let log = std::fs::read_to_string(project.path().join("log")).unwrap();
    line(&log, "cancel reason=Signal(2)");
    line(&log, "solve cancelled");
    assert!(!log.contains(" ERROR "), "{log}");
}
