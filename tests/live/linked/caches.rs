//! Caches of linked targets, which one job exports after all targets.

use test_case::test_case;

use super::{Linked, assert_succeeds};
use crate::support::buildkitd::Buildkitd;
use crate::support::peers;
use crate::support::project::CommandOutput;

/// `base` does not export a cache, but its steps are in those of the others.
const DEFINITION: &str = r#"
variable "CACHE" {}
variable "FAIL" { default = "" }
group "default" { targets = ["one", "two"] }
target "_cached" {
  cache-from = ["type=registry,ref=${CACHE}"]
  cache-to   = ["type=registry,ref=${CACHE},mode=max"]
}
target "base" {
  dockerfile-inline = "FROM busybox\nSTAMP\nCOPY a /a\nRUN cat /a /proc/sys/kernel/random/uuid > /second\n"
}
target "mid" {
  contexts          = { base = "target:base" }
  dockerfile-inline = "FROM base\nRUN cat /proc/sys/kernel/random/uuid > /third\n"
}
target "one" {
  inherits          = ["_cached"]
  contexts          = { mid = "target:mid" }
  dockerfile-inline = "FROM mid\nCOPY b /b\nRUN cat /b /proc/sys/kernel/random/uuid > /one\n"
  output            = ["type=local,dest=out/one"]
}
target "two" {
  inherits          = ["_cached"]
  contexts          = { base = "target:base" }
  args              = { FAIL = FAIL }
  dockerfile-inline = "FROM base\nRUN cat /proc/sys/kernel/random/uuid > /two\nARG FAIL\nRUN test -z \"$FAIL\"\n"
  output            = ["type=local,dest=out/two"]
}
"#;

/// The steps that were executed.
fn executed(output: &CommandOutput) -> Vec<&str> {
    let is_step = |line: &&str| {
        let words = ["RUN ", "COPY "];
        line.contains("DONE") && words.iter().any(|word| line.contains(word))
    };
    output.stderr.lines().filter(is_step).collect()
}

const STAMPS: [&str; 4] = ["stamp", "second", "third", "one"];

#[test_case(&[]; "from the cache")]
#[test_case(&["--set=base.no-cache=true"]; "with a target that must not come from the cache")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_empty_builder_finds_all_steps_of_linked_targets(more: &[&str]) {
    let mut linked = Linked::new(DEFINITION).await;
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let name = format!("linked-{}-{}", std::process::id(), more.len());
    linked.project = linked
        .project
        .env("CACHE", format!("{registry}/{name}:cache"));
    let output = linked.rbake(more);
    assert_succeeds(&output);
    assert!(output.stderr.contains(&name), "{output}");
    let paths = STAMPS.map(|stamp| format!("out/one/{stamp}"));
    let texts = |linked: &Linked| paths.clone().map(|path| linked.read(&path));
    let first = texts(&linked);
    let two = linked.read("out/two/two");

    for target in ["one", "two"] {
        linked.daemon = Buildkitd::start_with_images().await;
        let arguments = ["--progress=plain", target, "--set", "*.cache-to="];
        let output = linked.rbake(&arguments);
        assert_succeeds(&output);
        assert_eq!(executed(&output), [""; 0], "{output}");
    }
    assert_eq!(texts(&linked), first);
    assert_eq!(linked.read("out/two/two"), two);
    linked.assert_daemon_is_well();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_finished_steps_of_a_linked_target_that_fails_are_kept() {
    let mut linked = Linked::new(DEFINITION).await;
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let cache = format!("{registry}/linked-salvage-{}:cache", std::process::id());
    linked.project = linked.project.env("CACHE", cache);
    let output = linked.rbake(&["two", "--var", "FAIL=1"]);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(
        output.stderr.contains("finished steps of 1 target"),
        "{output}"
    );

    linked.daemon = Buildkitd::start_with_images().await;
    let output = linked.rbake(&["--progress=plain", "two"]);
    assert_succeeds(&output);
    let executed = executed(&output);
    assert!(
        executed.len() == 1 && executed[0].contains("RUN test"),
        "{output}"
    );
    linked.assert_daemon_is_well();
}
