//! `--jobs`: how many targets are solved at once, and in which order.

use test_case::test_case;

use crate::support::buildkitd::Buildkitd;
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

/// A chain, a diamond, a matrix and a target beside them. The order of the names is not that of the links.
const DEFINITION: &str = r#"
variable "CACHE" { default = "" }
group "default" { targets = ["all", "base", "side", "cell"] }
target "_stamped" {
  cache-from = CACHE == "" ? [] : ["type=registry,ref=${CACHE}"]
  cache-to   = CACHE == "" ? [] : ["type=registry,ref=${CACHE},mode=max"]
}
target "all" {
  inherits          = ["_stamped"]
  contexts          = { left = "target:left", right = "target:right" }
  dockerfile-inline = "FROM left\nCOPY --from=right /right /right\nRUN cat /left /right > /all\n"
  output            = ["type=local,dest=out/all"]
}
target "left" {
  inherits          = ["_stamped"]
  contexts          = { base = "target:base" }
  dockerfile-inline = "FROM base\nRUN date +%N > /left\n"
}
target "right" {
  contexts          = { base = "target:base" }
  dockerfile-inline = "FROM base\nRUN date +%N > /right\n"
  output            = ["type=local,dest=out/right"]
}
target "base" {
  inherits          = ["_stamped"]
  dockerfile-inline = "FROM busybox\nRUN date +%N > /stamp\n"
  output            = ["type=local,dest=out/base"]
}
target "side" {
  dockerfile-inline = "FROM busybox\nRUN sleep 0.3\n"
}
target "cell" {
  name              = "cell-${n}"
  matrix            = { n = ["1", "2", "3"] }
  contexts          = { base = "target:base" }
  args              = { N = n }
  dockerfile-inline = "FROM base\nARG N\nRUN echo $N > /cell\n"
}
"#;

async fn project() -> (Buildkitd, TestProject) {
    let daemon = Buildkitd::start_with_images().await;
    let project = TestProject::new()
        .file("docker-bake.hcl", DEFINITION)
        .env("BUILDKIT_HOST", daemon.endpoint());
    (daemon, project)
}

/// What the steps have written that write something else each time.
fn stamps(project: &TestProject) -> [String; 3] {
    ["all/stamp", "all/left", "base/stamp"]
        .map(|path| std::fs::read_to_string(project.path().join("out").join(path)).unwrap())
}

/// The targets in the order in which they began or ended, `+` for a begin and `-` for an end.
fn course(output: &CommandOutput) -> Vec<String> {
    let event = |line: &str| {
        let (target, text) = line.split_once(" | ")?;
        let sign = match text {
            text if text.starts_with("begins") => "+",
            text if text.starts_with("BUILT") => "-",
            _ => return None,
        };
        Some(format!("{sign}{}", target.trim()))
    };
    output.stderr.lines().filter_map(event).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn one_target_after_the_other_is_built_parents_first() {
    let (_daemon, project) = project().await;
    let output = project.rbake(&["-j", "1", "--progress=plain"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(
        output.stderr.contains("at most 1 target at once"),
        "{output}"
    );
    // `base` did not have to wait, so only its end is a line.
    let course = course(&output);
    let ends: Vec<&String> = course.iter().filter(|end| end.starts_with('-')).collect();
    let begins: Vec<&String> = course.iter().filter(|end| end.starts_with('+')).collect();
    assert_eq!((ends.len(), begins.len()), (8, 7), "{output}");
    assert_eq!(course[0], "-base", "{output}");
    for pair in course[1..].chunks(2) {
        assert_eq!(pair[0].replace('+', "-"), pair[1], "{output}");
    }
    // The second time, everything is cached, and the order is the same.
    let again = project.rbake(&["-j1", "--progress=plain"]);
    assert_eq!(again.code, Some(0), "{again}");
    assert_eq!(self::course(&again), course, "{again}");
}

#[test_case("1")]
#[test_case("2")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn linked_targets_with_one_merged_cache_end_and_find_it_whatever_the_limit(jobs: &str) {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let (_daemon, project) = project().await;
    let cache = format!("{registry}/jobs-{}-{jobs}:cache", std::process::id());
    let project = project.env("CACHE", cache).env("RBAKE_JOBS", jobs);
    let first = project.rbake(&["--progress=plain"]);
    assert_eq!(first.code, Some(0), "{first}");
    let before = stamps(&project);
    assert_eq!(before[0], before[2]);

    let other = Buildkitd::start_with_images().await;
    let project = project.env("BUILDKIT_HOST", other.endpoint());
    let second = project.rbake(&["--progress=plain", "all", "base"]);
    assert_eq!(second.code, Some(0), "{second}");
    assert_eq!(stamps(&project), before, "{second}");
}
