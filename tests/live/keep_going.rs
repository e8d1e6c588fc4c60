//! `--keep-going`: what becomes of the other targets, their tags and their answers when targets fail.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::buildkitd::Buildkitd;
use crate::support::interrupted::{Run, SLACK};
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

/// A parent with two children, of which one has a child, and targets beside them. The arguments make steps fail or last.
const DEFINITION: &str = r#"
variable "REPOSITORY" { default = "localhost:1" }
variable "BASE" { default = "true" }
variable "TOP" { default = "true" }
variable "OTHER" { default = "true" }
group "default" { targets = ["base", "top", "other", "beside"] }
target "base" {
  args              = { DO = BASE }
  dockerfile-inline = "FROM busybox\nARG DO\nRUN eval \"$DO\"\n"
  output            = ["type=local,dest=out/base"]
}
target "mid" {
  contexts          = { base = "target:base" }
  dockerfile-inline = "FROM base\nRUN true\n"
}
target "top" {
  contexts          = { mid = "target:mid" }
  args              = { DO = TOP }
  dockerfile-inline = "FROM mid\nARG DO\nRUN eval \"$DO\"\n"
}
target "other" {
  args              = { DO = OTHER }
  dockerfile-inline = "FROM busybox\nARG DO\nRUN eval \"$DO\"\n"
}
target "beside" {
  dockerfile-inline = "FROM busybox\nRUN sleep 1; echo done > /beside\n"
  output            = ["type=local,dest=out/beside"]
}
target "pushed" {
  dockerfile-inline = "FROM busybox\nRUN sleep 1\n"
  tags              = ["${REPOSITORY}/pushed:v1.0.0", "${REPOSITORY}/pushed:latest"]
  output            = ["type=registry"]
}
"#;

async fn project() -> (Buildkitd, TestProject) {
    let daemon = Buildkitd::start_with_images().await;
    let project = TestProject::new()
        .file("docker-bake.hcl", DEFINITION)
        .file("rbake.toml", "[publish]\nimmutable = [\"v*\"]\n")
        .env("BUILDKIT_HOST", daemon.endpoint());
    (daemon, project)
}

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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn only_targets_that_link_to_a_failed_one_are_stopped_and_the_end_lists_all_failures() {
    let (daemon, project) = project().await;
    for jobs in ["8", "1"] {
        let output = project.rbake(&[
            "--keep-going",
            "--progress=plain",
            "--no-cache",
            "--jobs",
            jobs,
            "--var",
            "BASE=exit 3",
            "--var",
            "OTHER=exit 4",
        ]);
        assert_eq!(output.code, Some(1), "{output}");
        let because = "SKIPPED, because `base` was not built";
        assert_ends(
            &output,
            &[
                ("base", "FAILED"),
                ("mid", because),
                ("top", because),
                ("other", "FAILED"),
                ("beside", "BUILT"),
            ],
        );
        let last: Vec<&str> = output.stderr.lines().rev().take(3).collect();
        assert_eq!(last[2], "2 of 5 targets failed:", "{output}");
        assert!(last[1].contains("base") && last[1].ends_with("exit code 3"));
        assert!(last[0].contains("other") && last[0].ends_with("exit code 4"));
        let skipped = "(they need `base`, which was not built)";
        assert!(output.stderr.contains(skipped), "{output}");
        let built = project.path().join("out/beside/beside");
        std::fs::remove_file(built).unwrap();
    }
    daemon.await_idle(Duration::from_secs(10)).await;
    assert!(daemon.is_alive());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_target_is_stopped_if_the_output_of_one_that_it_links_to_fails() {
    let (daemon, project) = project().await;
    // Nothing listens there.
    let push = "base.output=type=registry,name=127.0.0.1:1/base";
    let started = Instant::now();
    let output = project.rbake(&[
        "--keep-going",
        "--progress=plain",
        "--publish=buildx",
        "--set",
        push,
        "--var",
        "TOP=sleep 300",
    ]);
    assert!(started.elapsed() < Duration::from_secs(60), "{output}");
    assert_eq!(output.code, Some(1), "{output}");
    let because = "SKIPPED, because `base` was not built";
    assert_ends(
        &output,
        &[("base", "FAILED"), ("top", because), ("beside", "BUILT")],
    );
    daemon.await_idle(Duration::from_secs(10)).await;
}

/// Whether a registry has an image.
fn has(image: &str) -> bool {
    let mut crane = Command::new(peers::program("RBAKE_TEST_CRANE"));
    let output = crane.args(["manifest", "--insecure", image]).output();
    output.unwrap().status.success()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn mutable_tags_do_not_move_if_a_target_has_failed_and_others_were_built_after_it() {
    let (_daemon, project) = project().await;
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let repository = format!("{registry}/keep-going-{}", std::process::id());
    let project = project.env("REPOSITORY", &repository);
    let words = ["--keep-going", "pushed", "other", "--metadata-file=m.json"];
    let failed = project.rbake(&[&words[..], &["--var", "OTHER=exit 4"]].concat());
    assert_eq!(failed.code, Some(1), "{failed}");
    let [immutable, mutable] =
        ["v1.0.0", "latest"].map(|tag| has(&format!("{repository}/pushed:{tag}")));
    assert_eq!((immutable, mutable), (true, false), "{failed}");
    let metadata = std::fs::read_to_string(project.path().join("m.json")).unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    assert!(metadata["pushed"]["containerimage.digest"].is_string());
    assert!(metadata.get("other").is_none(), "{metadata}");
    // A failed run has nothing to finish; it can be taken back.
    let resumed = project.rbake(&["resume", "--yes"]);
    assert!(!has(&format!("{repository}/pushed:latest")), "{resumed}");

    let done = project.rbake(&words);
    assert_eq!(done.code, Some(0), "{done}");
    assert!(has(&format!("{repository}/pushed:latest")), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_answers_of_frontends_are_printed_although_others_fail() {
    let (_daemon, project) = project().await;
    let project = project.file(
        "check.hcl",
        "group \"default\" { targets = [\"bad\", \"worse\", \"good\"] }\ntarget \"good\" { dockerfile-inline = \"FROM scratch as x\\n\" }\ntarget \"bad\" { dockerfile-inline = \"BOGUS\" }\ntarget \"worse\" { dockerfile = \"no\" }\n",
    ).file("no", "FROM scratch\nBOGUS\n");
    let words = ["-f", "check.hcl", "--call=outline"];
    let stopped = project.rbake(&words);
    assert_eq!((stopped.code, &*stopped.stdout), (Some(1), ""), "{stopped}");
    let output = project.rbake(&[&words[..], &["--keep-going"]].concat());
    assert_eq!(output.code, Some(1), "{output}");
    assert!(!output.stdout.is_empty(), "{output}");
    assert!(output.stderr.contains("2 of "), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_interrupt_ends_a_run_that_keeps_going() {
    let (daemon, project) = project().await;
    let words = [
        "--keep-going",
        "--progress=plain",
        "--var",
        "BASE=exit 3",
        "--var",
        "OTHER=sleep 600",
    ];
    let mut run = Run::start(&project.command(&words));
    let started = Instant::now();
    while !run.stderr().contains("FAILED") || !run.listens_to(Signal::INT) {
        assert!(!run.has_ended(), "{}", run.stderr());
        assert!(started.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = Instant::now();
    run.signal(Signal::INT);
    while !run.has_ended() {
        let limit = Duration::from_secs(2) + SLACK;
        assert!(asked.elapsed() < limit, "{}", run.stderr());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(run.stderr().contains("cancelled: "), "{}", run.stderr());
    daemon.await_idle(Duration::from_secs(10)).await;
}
