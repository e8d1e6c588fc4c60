//! Two runs that need the same step at the same time.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::buildkitd::Buildkitd;
use crate::support::interrupted::Run;
use crate::support::project::TestProject;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_step_goes_on_for_one_run_if_the_other_is_cancelled() {
    let daemon = Buildkitd::start_with_images().await;
    let project = TestProject::new()
        .file(
            "Dockerfile",
            "FROM busybox\nRUN --mount=type=cache,target=/c echo begun >>/c/log; echo is-busy; sleep 5; echo \"times=$(wc -l </c/log)\"\n",
        )
        .file("docker-bake.hcl", "target \"default\" {}\n")
        .env("BUILDKIT_HOST", daemon.endpoint());
    let start = async || {
        let mut run = Run::start(&project.command(&["--progress=plain"]));
        run.writes("is-busy").await;
        run
    };
    let first = start().await;
    let second = start().await;
    let ended = first.interrupt(Signal::INT).await;
    assert!(!ended.stderr.contains("times=1"), "{}", ended.stderr);
    let ended = second.ended(Duration::from_secs(60)).await;
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("times=1"), "{}", ended.stderr);
    assert!(daemon.is_alive());
}
