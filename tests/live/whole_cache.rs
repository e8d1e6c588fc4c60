//! Caches of which BuildKit would lose steps: of several targets with common inputs, and of several platforms.

use std::fmt::Write as _;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::cache::succeeds;
use test_case::test_case;

use crate::support::buildkitd::Buildkitd;
use crate::support::github_cache::GithubCache;
use crate::support::peers;
use crate::support::project::TestProject;
use crate::support::registry_proxy::{ProxiedRequest, RegistryProxy, Verdict};

// BuildKit loses links of such a cache unless it has one last record.
async fn steps_that_share_several_inputs_are_cached_alone(
    from: &str,
    to: &str,
    environment: impl FnOnce(TestProject) -> TestProject,
) {
    let mounts = "--mount=type=bind,from=m0,target=/m0 --mount=type=bind,from=m1,target=/m1";
    let mut dockerfile =
        "FROM scratch AS m0\nCOPY f0 /\nFROM scratch AS m1\nCOPY f1 /\n".to_owned();
    let mut definition =
        "group \"default\" {\n  targets = [\"t0\", \"t1\", \"t2\"]\n}\n".to_owned();
    for target in ["t0", "t1", "t2"] {
        writeln!(dockerfile, "FROM busybox AS {target}").unwrap();
        for step in 0..3 {
            writeln!(dockerfile, "RUN {mounts} echo {target} > /x{step}").unwrap();
        }
        write!(definition, "target \"{target}\" {{\n  target = \"{target}\"\n  cache-from = [\"{from}\"]\n  cache-to = [\"{to},mode=max\"]\n}}\n").unwrap();
    }
    let first = Buildkitd::start_with_images().await;
    let project = TestProject::new()
        .file("Dockerfile", dockerfile)
        .file("docker-bake.hcl", definition)
        .file("f0", "0")
        .file("f1", "1")
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", first.endpoint());
    let mut project = environment(project);
    let _ = succeeds(project.rbake(&[]));
    drop(first);
    for _ in 0..2 {
        for target in ["t0", "t1", "t2"] {
            let empty = Buildkitd::start_with_images().await;
            project = project.env("BUILDKIT_HOST", empty.endpoint());
            let output = succeeds(project.rbake(&[target, "--set", "*.cache-to="]));
            assert!(output.stderr.contains("5/5 cached"), "{output}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn targets_whose_steps_share_several_inputs_are_cached_alone() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let name = format!("shared-inputs-{}", std::process::id());
    let cache = format!("type=registry,ref={registry}/{name}:c");
    steps_that_share_several_inputs_are_cached_alone(&cache, &cache, |project| project).await;
}

#[test_case(GithubCache::V1; "version 1")]
#[test_case(GithubCache::V2; "version 2")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn targets_whose_steps_share_several_inputs_are_cached_alone_by_github(service: GithubCache) {
    let cache = format!("type=gha,scope=shared-inputs-{}", std::process::id());
    steps_that_share_several_inputs_are_cached_alone(&cache, &cache, |project| {
        service.with(project)
    })
    .await;
}

// rbake cannot change what the builder has written.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn targets_whose_steps_share_several_inputs_are_cached_alone_if_only_the_builder_reaches_the_registry()
 {
    let proxy = RegistryProxy::start(&peers::peer("RBAKE_TEST_REGISTRY_ADDR")).await;
    let only_the_builder = |_, request: ProxiedRequest| {
        let is_from_rbake = request.is_from_rbake();
        let verdict = async move {
            if is_from_rbake {
                Verdict::Reset
            } else {
                Verdict::Pass
            }
        };
        Box::pin(verdict) as BoxFuture<'static, Verdict>
    };
    proxy.set_hook(Some(Arc::new(only_the_builder)));
    let name = format!("shared-inputs-unseen-{}", std::process::id());
    let cache = format!("type=registry,ref={}/{name}:c", proxy.address());
    steps_that_share_several_inputs_are_cached_alone(&cache, &cache, |project| project).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn targets_whose_steps_share_several_inputs_are_cached_alone_in_a_directory() {
    let (from, to) = ("type=local,src=cache", "type=local,dest=cache");
    steps_that_share_several_inputs_are_cached_alone(from, to, |project| project).await;
}

/// One target for two platforms. The image is that of one platform for both, so that no emulation is needed.
fn two_platforms(from: &str, to: &str) -> TestProject {
    let mounts = "--mount=type=bind,from=m0,target=/m0 --mount=type=bind,from=m1,target=/m1";
    let dockerfile = format!(
        "FROM scratch AS m0\nCOPY f0 /\nFROM scratch AS m1\nCOPY f1 /\nFROM --platform=$BUILDPLATFORM busybox\nARG TARGETARCH\nRUN {mounts} echo $TARGETARCH > /x0\nRUN {mounts} echo 1 > /x1\nRUN {mounts} date > /x2\n"
    );
    TestProject::new()
        .file("Dockerfile", dockerfile)
        .file("f0", "0")
        .file("f1", "1")
        .file(
            "docker-bake.hcl",
            format!("target \"default\" {{\n  platforms = [\"linux/amd64\", \"linux/arm64\"]\n  cache-from = [\"{from}\"]\n  cache-to = [\"{to},mode=max\"]\n}}\n"),
        )
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
}

/// Builds on one builder, and then several times on an empty one, and checks that no step runs again.
async fn both_platforms_are_cached(project: TestProject) {
    let first = Buildkitd::start_with_images().await;
    let mut project = project.env("BUILDKIT_HOST", first.endpoint());
    let output = succeeds(project.rbake(&[]));
    assert!(output.stderr.contains("steps of 1 target"), "{output}");
    drop(first);
    // Which steps BuildKit would lose changes from import to import.
    for _ in 0..4 {
        let empty = Buildkitd::start_with_images().await;
        project = project.env("BUILDKIT_HOST", empty.endpoint());
        let output = succeeds(project.rbake(&["--set", "*.cache-to="]));
        assert!(output.stderr.contains("(100%)"), "{output}");
    }
}

#[test_case(GithubCache::V1; "version 1")]
#[test_case(GithubCache::V2; "version 2")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn githubs_cache_serves_all_platforms_of_a_target(service: GithubCache) {
    let cache = format!("type=gha,scope=platforms-{}", std::process::id());
    both_platforms_are_cached(service.with(two_platforms(&cache, &cache))).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_directory_serves_all_platforms_of_a_target() {
    both_platforms_are_cached(two_platforms(
        "type=local,src=cache",
        "type=local,dest=cache",
    ))
    .await;
}
