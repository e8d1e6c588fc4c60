//! Builds that write nothing for a long time. rbake must not mistake them for a builder that does not answer.

use std::path::Path;
use std::time::Duration;

use super::is_long;
use crate::support::buildkitd::Buildkitd;
use crate::support::interrupted::Run;
use crate::support::peers;
use crate::support::project::TestProject;

fn silent(seconds: u64) -> TestProject {
    let rand = rbake::engine::BuildRef::new();
    let dockerfile = format!("FROM busybox\nRUN : {rand}; sleep {seconds}; echo over-$((40+2))\n");
    TestProject::new()
        .file("docker-bake.hcl", "target \"default\" {}\n")
        .file("Dockerfile", dockerfile)
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
}

// Runs a step that writes nothing for much longer than the builder may be silent. A long test run uses the default timeout, and
// the step takes more than five minutes, because BuildKit's server treats HTTP/2 pings at shorter intervals as an attack.
// Otherwise the timeout is short, so that rbake checks the builder as often.
async fn silent_build(project: TestProject) {
    let (project, patience) = if is_long() {
        (project, Duration::from_secs(600))
    } else {
        let project = project.env("RBAKE_BUILDER_TIMEOUT", "4s");
        (project, Duration::from_secs(120))
    };
    let run = Run::start(&project.command(&["--progress", "plain"]));
    let ended = run.ended(patience).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("over-42"), "{}", ended.stderr);
    assert!(
        !ended.stderr.contains("does not answer"),
        "{}",
        ended.stderr
    );
}

fn seconds() -> u64 {
    if is_long() { 400 } else { 16 }
}

async fn silent_build_with(program: &Path) {
    let daemon = Buildkitd::start_program_with_images(program).await;
    silent_build(silent(seconds()).env("BUILDKIT_HOST", daemon.endpoint())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_silent_build_is_not_mistaken_for_a_silent_daemon() {
    let program = peers::program("RBAKE_TEST_BUILDKITD");
    silent_build_with(&program).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_silent_build_on_an_old_daemon_is_not_mistaken_for_a_silent_daemon() {
    let program = peers::program("RBAKE_TEST_BUILDKITD_OLD");
    silent_build_with(&program).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_silent_build_on_a_docker_engine_is_not_mistaken_for_a_silent_engine() {
    let host = peers::peer("RBAKE_TEST_DOCKER_HOST");
    silent_build(silent(seconds()).env("DOCKER_HOST", host)).await;
}
