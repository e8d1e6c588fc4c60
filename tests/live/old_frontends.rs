//! Dockerfiles with a line such as `# syntax=docker/dockerfile:1.4`, whose frontend does less than the newest one, and old
//! daemons, whose own frontend does.

use std::fmt::Write as _;

use test_case::test_case;

use super::cache::succeeds;
use crate::support::bakers::{Baker, Bakers};
use crate::support::buildkitd::Buildkitd;
use crate::support::peers;
use crate::support::project::TestProject;

const SYNTAX: &str = "# syntax=docker/dockerfile:1.4\n";

/// More than the size up to which each target gets a directory in its own session only.
fn large() -> Vec<u8> {
    vec![7; 6 << 20]
}

/// Two targets of one Dockerfile that copy different parts of one large directory.
fn one_context(syntax: &str) -> TestProject {
    let dockerfile = format!(
        "{syntax}FROM busybox AS t0\nCOPY large /large\nRUN date > /t0\nFROM busybox AS t1\nCOPY large small /\nRUN date > /t1\n"
    );
    TestProject::new()
        .file("Dockerfile", dockerfile)
        .file("large", large())
        .file("small", "small")
        .file(
            "docker-bake.hcl",
            r#"group "default" { targets = ["t0", "t1"] }
target "t0" {
  target = "t0"
  output = ["type=cacheonly"]
}
target "t1" {
  inherits = ["t0"]
  target = "t1"
}
"#,
        )
}

/// Two targets with a context and a Dockerfile each. The names of files are the same, and their content is not.
fn two_contexts(syntax: &str) -> TestProject {
    let mut project = TestProject::new();
    let mut definition = r#"group "default" { targets = ["t0", "t1"] }"#.to_owned();
    for target in ["t0", "t1"] {
        let dockerfile = format!(
            "{syntax}FROM busybox\nCOPY large file /\nRUN test $(cat /file) = {target} && date > /t\n"
        );
        project = project
            .file(&format!("{target}/Dockerfile"), dockerfile)
            .file(&format!("{target}/file"), target)
            .file(&format!("{target}/large"), large());
        write!(
            definition,
            "\ntarget \"{target}\" {{\n  context = \"{target}\"\n  output = [\"type=cacheonly\"]\n}}\n"
        )
        .unwrap();
    }
    project.file("docker-bake.hcl", definition)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn targets_of_an_old_frontend_share_a_large_context() {
    let bakers = Bakers::on_the_shared_daemon();
    for baker in Baker::ALL {
        let _ = succeeds(bakers.bake(baker, &one_context(SYNTAX), &[]));
    }
}

/// Which daemon and frontend are old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Old {
    Frontend,
    Daemon,
}

impl Old {
    async fn daemon(self) -> Buildkitd {
        match self {
            Self::Frontend => Buildkitd::start_with_images().await,
            Self::Daemon => {
                let program = peers::program("RBAKE_TEST_BUILDKITD_OLDEST");
                Buildkitd::start_program_with_images(&program).await
            }
        }
    }

    fn syntax(self) -> &'static str {
        match self {
            Self::Frontend => SYNTAX,
            Self::Daemon => "",
        }
    }
}

/// Exports the cache of both targets, and builds each alone on an empty daemon with it.
async fn each_target_is_cached(old: Old, project: TestProject, from: &str, to: &str) {
    let first = old.daemon().await;
    let mut project = project.env("BUILDKIT_HOST", first.endpoint());
    let to = format!("*.cache-to={to},mode=max,image-manifest=true,oci-mediatypes=true");
    let _ = succeeds(project.rbake(&["--set", &to]));
    drop(first);
    let from = format!("*.cache-from={from}");
    for target in ["t0", "t1"] {
        let empty = old.daemon().await;
        project = project.env("BUILDKIT_HOST", empty.endpoint());
        let output = succeeds(project.rbake(&[target, "--set", &from]));
        assert!(output.stderr.contains("2/2 cached"), "{output}");
        assert!(empty.is_alive());
    }
}

#[test_case(Old::Frontend, one_context; "an old frontend and one context")]
#[test_case(Old::Frontend, two_contexts; "an old frontend and two contexts")]
#[test_case(Old::Daemon, one_context; "an old daemon and one context")]
#[test_case(Old::Daemon, two_contexts; "an old daemon and two contexts")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn targets_of_an_old_frontend_share_a_cache_in_a_registry(
    old: Old,
    project: fn(&str) -> TestProject,
) {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let case = format!(
        "{old:?}-{}",
        project(old.syntax()).path().join("t0").exists()
    );
    let name = format!("old-{}-{}", case.to_lowercase(), std::process::id());
    let cache = format!("type=registry,ref={registry}/{name}:c");
    each_target_is_cached(old, project(old.syntax()), &cache, &cache).await;
}

#[test_case(Old::Frontend; "an old frontend")]
#[test_case(Old::Daemon; "an old daemon")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn targets_of_an_old_frontend_share_a_cache_in_a_directory(old: Old) {
    let project = two_contexts(old.syntax());
    each_target_is_cached(
        old,
        project,
        "type=local,src=cache",
        "type=local,dest=cache",
    )
    .await;
}
