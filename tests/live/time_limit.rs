//! `--timeout`: a run that takes too long ends as an interrupt would end it, and says what took so long.

use std::time::{Duration, Instant};

use crate::support::buildkitd::Buildkitd;
use crate::support::interrupted::SLACK;
use crate::support::project::TestProject;

const DEFINITION: &str = r#"
group "default" { targets = ["slow", "later", "fast"] }
target "slow" {
  dockerfile-inline = "FROM busybox\nRUN echo begun && sleep 600\n"
  output            = ["type=tar,dest=out/slow.tar"]
}
target "later" {
  contexts          = { slow = "target:slow" }
  dockerfile-inline = "FROM busybox\nCOPY --from=slow /etc /etc\n"
}
target "fast" {
  dockerfile-inline = "FROM busybox\nRUN true\n"
  output            = ["type=tar,dest=out/fast.tar"]
}
"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_run_that_takes_too_long_ends_in_order_and_names_the_steps_that_were_running() {
    let daemon = Buildkitd::start_with_images().await;
    let project = TestProject::new()
        .file("docker-bake.hcl", DEFINITION)
        .env("BUILDKIT_HOST", daemon.endpoint());
    for mode in ["plain", "rawjson", "quiet"] {
        let progress = format!("--progress={mode}");
        let words = [&progress, "--timeout=4s", "--metadata-file=m.json"];
        let started = Instant::now();
        let output = project.rbake(&words);
        assert_eq!(output.code, Some(124), "{output}");
        let limit = Duration::from_secs(4 + 2) + SLACK;
        assert!(started.elapsed() < limit, "{:?}", started.elapsed());
        let told = "error[run::timeout]: the run did not end within 4.0s (`--timeout`)";
        assert!(output.stderr.contains(told), "{output}");
        let note = "`slow` had been running for ";
        let note = output.stderr.lines().find(|line| line.contains(note));
        let note = note.unwrap_or_else(|| panic!("{output}"));
        assert!(note.contains("RUN echo begun && sleep 600` for "), "{note}");
        // The target that ended in time is whole, and nothing else is left.
        let files = std::fs::read_dir(project.path().join("out")).unwrap();
        let files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, ["fast.tar"], "{output}");
        daemon.await_idle(Duration::from_secs(10)).await;
    }
    let output = project.rbake(&["--timeout=10m", "fast"]);
    assert_eq!(output.code, Some(0), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn targets_that_wait_for_a_slot_are_counted_when_the_time_is_up() {
    let daemon = Buildkitd::start_with_images().await;
    let project = TestProject::new()
        .file("docker-bake.hcl", DEFINITION)
        .env("BUILDKIT_HOST", daemon.endpoint());
    let output = project.rbake(&["-j1", "--progress=plain", "--keep-going", "--timeout=3s"]);
    assert_eq!(output.code, Some(124), "{output}");
    assert!(
        output.stderr.contains("2 targets had not begun"),
        "{output}"
    );
}
