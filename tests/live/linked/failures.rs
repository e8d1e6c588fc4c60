//! Runs of linked targets that do not end well: each ends soon, says why, and leaves nothing behind.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use test_case::test_case;

use super::{Linked, assert_succeeds};
use crate::support::interrupted::{Run, SLACK};
use crate::support::project::CommandOutput;

/// A chain of three and a target beside it. The arguments make steps fail or last.
const DEFINITION: &str = r#"
variable "BASE" { default = "true" }
variable "MID" { default = "true" }
variable "WORD" { default = "RUN" }
group "default" { targets = ["top", "beside"] }
target "base" {
  args              = { DO = BASE }
  dockerfile-inline = "FROM busybox\nARG DO\nRUN eval \"$DO\"\n${WORD} true\nSTAMP\n"
}
target "mid" {
  contexts          = { base = "target:base" }
  args              = { DO = MID }
  dockerfile-inline = "FROM base\nARG DO\nRUN eval \"$DO\"\n"
}
target "top" {
  contexts          = { mid = "target:mid" }
  dockerfile-inline = "FROM scratch\nCOPY --from=mid /stamp /\n"
  output            = ["type=local,dest=out"]
}
target "beside" {
  dockerfile-inline = "FROM busybox\nRUN sleep 1\n"
}
"#;

/// The most time in which the daemon ends all jobs of a run.
const IDLE: Duration = Duration::from_secs(10);

#[track_caller]
fn assert_ends(output: &CommandOutput, ends: &[(&str, &str)]) {
    for (target, end) in ends {
        let line = output.stderr.lines().find(|line| {
            let mut words = line.split('|').map(str::trim);
            words.next() == Some(target) && words.next().is_some_and(|rest| rest.starts_with(end))
        });
        assert!(line.is_some(), "{target}: {end}: {output}");
    }
}

#[test_case("BASE=sleep 1; exit 3"; "a step")]
#[test_case("BASE=exit 3"; "the first step")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_target_that_fails_names_those_that_need_it(variable: &str) {
    let linked = Linked::new(DEFINITION).await;
    for _ in 0..3 {
        let output = linked.rbake(&["--progress=plain", "--var", variable]);
        assert_eq!(output.code, Some(1), "{output}");
        let because = "SKIPPED, because `base` was not built";
        assert_ends(
            &output,
            &[("base", "FAILED"), ("mid", because), ("top", because)],
        );
        assert!(output.stderr.contains("`base` failed: "), "{output}");
        assert!(output.stderr.contains("skipped: "), "{output}");
    }
    linked.daemon.await_idle(IDLE).await;
    linked.assert_daemon_is_well();
    // The daemon is not confused by what has failed.
    assert_succeeds(&linked.rbake(&[]));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn those_that_need_a_target_whose_dockerfile_is_wrong_do_not_begin() {
    let linked = Linked::new(DEFINITION).await;
    let output = linked.rbake(&["--progress=plain", "top", "--var", "WORD=BOGUS"]);
    assert_eq!(output.code, Some(1), "{output}");
    let because = "SKIPPED, because `base` was not built";
    assert_ends(
        &output,
        &[("base", "FAILED"), ("mid", because), ("top", because)],
    );
    assert!(output.stderr.contains("unknown instruction"), "{output}");
    assert!(!linked.project.path().join("out").exists(), "{output}");
    linked.daemon.await_idle(IDLE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_target_that_fails_does_not_blame_those_that_it_uses() {
    let linked = Linked::new(DEFINITION).await;
    let output = linked.rbake(&["--progress=plain", "--var", "MID=sleep 1; exit 4", "top"]);
    assert_eq!(output.code, Some(1), "{output}");
    let because = "SKIPPED, because `mid` was not built";
    assert_ends(
        &output,
        &[("base", "BUILT"), ("mid", "FAILED"), ("top", because)],
    );
    linked.daemon.await_idle(IDLE).await;
    linked.assert_daemon_is_well();
}

#[test_case("BASE=sleep 600"; "while all need the step of the first")]
#[test_case("MID=sleep 600"; "while the first is kept for the others")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_interrupt_ends_the_run_and_its_jobs(variable: &str) {
    let linked = Linked::new(DEFINITION).await;
    let mut command = linked
        .project
        .command(&["--progress=plain", "top", "--var", variable]);
    command.env("BUILDKIT_HOST", linked.address());
    let mut run = Run::start(&command);
    let started = Instant::now();
    while !run.stderr().contains("] RUN eval") || !run.listens_to(Signal::INT) {
        assert!(!run.has_ended(), "{}", run.stderr());
        assert!(started.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let asked = Instant::now();
    run.signal(Signal::INT);
    while !run.has_ended() {
        let limit = Duration::from_secs(2) + SLACK;
        assert!(asked.elapsed() < limit, "{}", run.stderr());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(run.stderr().contains("cancelled: "), "{}", run.stderr());
    linked.daemon.await_idle(IDLE).await;
    linked.assert_daemon_is_well();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_daemon_that_is_killed_ends_the_run() {
    let linked = Linked::new(DEFINITION).await;
    let mut command =
        linked
            .project
            .command(&["--progress=plain", "top", "--var", "MID=sleep 600"]);
    command.env("BUILDKIT_HOST", linked.address());
    let mut run = Run::start(&command);
    let started = Instant::now();
    while !run.stderr().contains("] RUN eval") {
        assert!(!run.has_ended(), "{}", run.stderr());
        assert!(started.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    linked.daemon.signal("KILL");
    let lost = Instant::now();
    while !run.has_ended() {
        assert!(lost.elapsed() < Duration::from_secs(20), "{}", run.stderr());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(run.stderr().contains("FAILED"), "{}", run.stderr());
}
