//! Builders that stop answering. `campaigns::silence` has builds that only write nothing for a long time.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::buildkitd::Buildkitd;
use crate::support::interrupted::{Run, SLACK};
use crate::support::project::TestProject;

pub(super) fn sleeper(builder: impl std::fmt::Display, seconds: u64) -> TestProject {
    let rand = rbake::engine::BuildRef::new();
    let dockerfile =
        format!("FROM busybox\nRUN : {rand}; echo begun-$((40+2)); sleep {seconds}; echo over\n");
    TestProject::new()
        .file("docker-bake.hcl", "target \"default\" {}\n")
        .file("Dockerfile", dockerfile)
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", builder)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_run_names_a_stopped_daemon_and_ends_after_the_builder_timeout() {
    let daemon = Buildkitd::start_with_images().await;
    let project = sleeper(daemon.endpoint(), 60).env("RBAKE_BUILDER_TIMEOUT", "12s");
    let mut run = Run::start(&project.command(&["--progress", "plain"]));
    run.writes("begun-42").await;
    daemon.signal("STOP");
    let stopped = Instant::now();
    let ended = run.ended(Duration::from_secs(60)).await;
    assert_eq!(ended.status.code(), Some(4), "{}", ended.stderr);
    let endpoint = daemon.endpoint().to_string();
    let expected = format!("`{endpoint}` stopped responding: no answer for 12 s");
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("RBAKE_BUILDER_TIMEOUT"),
        "{}",
        ended.stderr
    );
    let waited = format!("wait for `{endpoint}`, which does not answer");
    assert!(ended.stderr.contains(&waited), "{}", ended.stderr);
    let took = ended.at - stopped;
    assert!(
        Duration::from_secs(10) < took && took < Duration::from_secs(15) + SLACK,
        "{took:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn one_interrupt_ends_a_run_whose_daemon_is_stopped() {
    let daemon = Buildkitd::start_with_images().await;
    let project = sleeper(daemon.endpoint(), 60);
    let mut run = Run::start(&project.command(&["--progress", "plain"]));
    run.writes("begun-42").await;
    daemon.signal("STOP");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stderr = run.interrupt(Signal::INT).await.stderr;
    assert!(stderr.contains("0 of 1 target built"), "{stderr}");
}

// The daemon never answers. When the signal comes, rbake is still waiting for the answer to its first request.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn one_interrupt_ends_a_run_that_waits_for_its_first_answer() {
    let daemon = Buildkitd::start(&[]).await;
    daemon.signal("STOP");
    let project = sleeper(daemon.endpoint(), 60);
    let mut run = Run::start(&project.command(&["--progress", "plain"]));
    run.writes("wait for").await;
    run.interrupt(Signal::TERM).await;
}

#[test]
fn an_invalid_builder_timeout_is_an_error_before_any_work() {
    let project = sleeper("unix:///nonexistent", 0).env("RBAKE_BUILDER_TIMEOUT", "soon");
    let output = project.rbake(&[]);
    assert_eq!(output.code, Some(2), "{output}");
    assert!(output.stderr.contains("RBAKE_BUILDER_TIMEOUT"), "{output}");
}
