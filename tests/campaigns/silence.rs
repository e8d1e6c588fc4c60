//! Builds that write nothing for long: none is ever taken for a builder that does not answer.

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

// A step that writes nothing for much longer than the builder may be silent. In long runs for more than the five minutes after
// which BuildKit's server would take an HTTP/2 ping for an attack, with the usual time; else with a short one, so that it is
// asked as often.
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
async fn a_silent_build_is_never_taken_for_a_silent_daemon() {
    let program = peers::program("RBAKE_TEST_BUILDKITD");
    silent_build_with(&program).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_silent_build_is_never_taken_for_a_silent_daemon_by_an_old_one() {
    let program = peers::program("RBAKE_TEST_BUILDKITD_OLD");
    silent_build_with(&program).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_silent_build_is_never_taken_for_a_silent_docker_engine() {
    let host = peers::peer("RBAKE_TEST_DOCKER_HOST");
    silent_build(silent(seconds()).env("DOCKER_HOST", host)).await;
}
