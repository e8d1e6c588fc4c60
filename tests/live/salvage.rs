//! Caches of builds that fail: the next build runs only what did not finish.

use rustix::process::Signal;
use test_case::test_case;

use crate::support::buildkitd::Buildkitd;
use crate::support::github_cache::GithubCache;
use crate::support::interrupted::Run;
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

/// Two stages and a context; the last step fails for as long as the argument says so.
const LAST_FAILS: &str = "FROM busybox AS tools
RUN date +%N > /tools
FROM busybox
WORKDIR /w
COPY app .
COPY --from=tools /tools .
RUN date +%N > made
RUN --mount=type=secret,id=key test -s /run/secrets/key && date +%N > secret
ARG FAIL
RUN test -z \"$FAIL\"
";

pub(super) fn one_target(from: &str, to: &str) -> TestProject {
    TestProject::new()
        .file("Dockerfile", LAST_FAILS)
        .file("app", "1")
        .file("key", "s3cret")
        .file(
            "docker-bake.hcl",
            format!(
                "variable \"FAIL\" {{\n  default = \"\"\n}}\ntarget \"default\" {{\n  args = {{ FAIL = FAIL }}\n  secret = [\"id=key,src=key\"]\n  cache-from = [\"{from}\"]\n  cache-to = [\"{to},mode=max\"]\n}}\n"
            ),
        )
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
}

/// The steps that were executed, without those whose names have one of `except`.
fn executed<'o>(output: &'o CommandOutput, except: &[&str]) -> Vec<&'o str> {
    let is_step = |line: &&str| {
        ["RUN ", "COPY ", "WORKDIR "]
            .iter()
            .any(|word| line.contains(word))
            && line.contains("DONE")
    };
    let steps = output.stderr.lines().filter(is_step);
    steps
        .filter(|line| !except.iter().any(|word| line.contains(word)))
        .collect()
}

/// Fails at the last step, mends it, and builds on an empty builder: only that step runs.
pub(super) async fn only_the_mended_step_runs(project: TestProject, place: &str) {
    let first = Buildkitd::start_with_images().await;
    let project = project.env("BUILDKIT_HOST", first.endpoint());
    let failed = project.rbake(&["--var", "FAIL=1"]);
    assert_eq!(failed.code, Some(1), "{failed}");
    let told = format!("{place}  finished steps of 1 target");
    assert!(failed.stderr.contains(&told), "{told}: {failed}");
    drop(first);
    let mut ran = Vec::new();
    let mut project = project;
    // See `each_target_is_cached_alone`.
    for _ in 0..4 {
        let empty = Buildkitd::start_with_images().await;
        project = project.env("BUILDKIT_HOST", empty.endpoint());
        let mended = project.rbake(&["--set", "*.cache-to="]);
        assert_eq!(mended.code, Some(0), "{mended}");
        assert!(mended.stderr.contains("RUN test -z"), "{mended}");
        ran = executed(&mended, &["RUN test -z"])
            .into_iter()
            .map(str::to_owned)
            .collect();
        if ran.is_empty() {
            break;
        }
    }
    assert_eq!(ran, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
pub(super) async fn only_the_mended_step_runs_with_a_cache_in_a_registry() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let place = format!("{registry}/salvage-{}:cache", std::process::id());
    let cache = format!("type=registry,ref={place}");
    only_the_mended_step_runs(one_target(&cache, &cache), &place).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
pub(super) async fn only_the_mended_step_runs_with_a_cache_in_a_directory() {
    let project = one_target("type=local,src=cache", "type=local,dest=cache");
    only_the_mended_step_runs(project, "[project]/cache").await;
}

#[test_case(GithubCache::V1; "version 1")]
#[test_case(GithubCache::V2; "version 2")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn only_the_mended_step_runs_with_githubs_cache(service: GithubCache) {
    let scope = format!("salvage-{}", std::process::id());
    let cache = format!("type=gha,scope={scope}");
    let project = service.with(one_target(&cache, &cache));
    only_the_mended_step_runs(project, &format!("gha:{scope}")).await;
}

/// Targets of one Dockerfile: `good` succeeds, `bad` fails when `FAIL` is set, and `slow` is still busy then if `SLOW` is.
const THREE: &str = "FROM busybox AS base
RUN date +%N > /base
FROM base AS good
RUN date +%N > /good
FROM base AS bad
RUN date +%N > /bad
ARG FAIL
RUN sleep $FAIL0.1; test -z \"$FAIL\"
FROM base AS slow
RUN date +%N > /slow
ARG SLOW
RUN sleep ${SLOW:-0}; date +%N > /slower
RUN date +%N > /slowest
";

fn three_targets(from: &str, to: &str) -> TestProject {
    let target = |name: &str| {
        format!(
            "target \"{name}\" {{\n  target = \"{name}\"\n  args = {{ FAIL = FAIL, SLOW = SLOW }}\n  cache-from = [\"{from}\"]\n  cache-to = [\"{to},mode=max\"]\n}}\n"
        )
    };
    let variable = |name: &str| format!("variable \"{name}\" {{\n  default = \"\"\n}}\n");
    let names = ["good", "bad", "slow"];
    let definition = [
        variable("FAIL"),
        variable("SLOW"),
        format!("group \"default\" {{\n  targets = {names:?}\n}}\n"),
        names.map(target).concat(),
    ];
    TestProject::new()
        .file("Dockerfile", THREE)
        .file("docker-bake.hcl", definition.concat())
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
}

/// Builds all three targets on an empty builder, and returns which steps ran.
async fn ran_on_an_empty_builder(mut project: TestProject) -> (TestProject, Vec<String>) {
    let mut ran = Vec::new();
    for _ in 0..4 {
        let empty = Buildkitd::start_with_images().await;
        project = project.env("BUILDKIT_HOST", empty.endpoint());
        let output = project.rbake(&["--set", "*.cache-to="]);
        assert_eq!(output.code, Some(0), "{output}");
        let steps = executed(&output, &[]).into_iter();
        let steps: Vec<String> = steps
            .map(|line| line.split(']').nth(1).unwrap_or(line).trim().to_owned())
            .collect();
        if ran.is_empty() || steps.len() < ran.len() {
            ran = steps;
        }
    }
    ran.sort();
    (project, ran)
}

async fn finished_steps_of_all_targets_are_in_one_cache(project: TestProject) {
    let first = Buildkitd::start_with_images().await;
    let project = project.env("BUILDKIT_HOST", first.endpoint());
    let output = project.rbake(&["--var", "FAIL=3", "--var", "SLOW=60"]);
    assert_eq!(output.code, Some(1), "{output}");
    let told = "finished steps of 3 targets";
    assert!(output.stderr.contains(told), "{output}");
    drop(first);
    // The arguments are part of these steps, so they are others in this run.
    let (_, ran) = ran_on_an_empty_builder(project).await;
    let expected = [
        "RUN date +%N > /slowest",
        "RUN sleep $FAIL0.1; test -z \"\"",
        "RUN sleep 0; date +%N > /slower",
    ];
    assert_eq!(ran, expected);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_shared_cache_in_a_registry_holds_the_finished_steps_of_a_target_that_failed() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let cache = format!(
        "type=registry,ref={registry}/salvage-shared-{}:c",
        std::process::id()
    );
    finished_steps_of_all_targets_are_in_one_cache(three_targets(&cache, &cache)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_shared_directory_holds_the_finished_steps_of_a_target_that_failed() {
    let project = three_targets("type=local,src=cache", "type=local,dest=cache");
    finished_steps_of_all_targets_are_in_one_cache(project).await;
}

#[test_case(GithubCache::V1; "version 1")]
#[test_case(GithubCache::V2; "version 2")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_shared_scope_of_githubs_cache_holds_the_finished_steps_of_a_target_that_failed(
    service: GithubCache,
) {
    let cache = format!("type=gha,scope=salvage-shared-{}", std::process::id());
    let project = service.with(three_targets(&cache, &cache));
    finished_steps_of_all_targets_are_in_one_cache(project).await;
}

/// Builds everything, then fails on an empty builder with another step of `bad`, before `slow` has ended. Afterwards,
/// the cache has all steps of the first run.
async fn the_old_cache_is_kept(project: TestProject, told: &str) {
    let first = Buildkitd::start_with_images().await;
    let project = project.env("BUILDKIT_HOST", first.endpoint());
    let output = project.rbake(&[]);
    assert_eq!(output.code, Some(0), "{output}");
    drop(first);
    let second = Buildkitd::start_with_images().await;
    let project = project.env("BUILDKIT_HOST", second.endpoint());
    let output = project.rbake(&["--var", "FAIL=3", "--var", "SLOW=60"]);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stderr.contains(told), "{output}");
    drop(second);
    let (_, ran) = ran_on_an_empty_builder(project).await;
    assert_eq!(ran, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_cache_in_a_registry_keeps_the_steps_that_a_failed_run_did_not_reach() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let cache = format!(
        "type=registry,ref={registry}/salvage-kept-{}:c",
        std::process::id()
    );
    let project = three_targets(&cache, &cache);
    the_old_cache_is_kept(project, " ✔ cache").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_directory_keeps_the_steps_that_a_failed_run_did_not_reach() {
    let project = three_targets("type=local,src=cache", "type=local,dest=cache,reset=true");
    the_old_cache_is_kept(project, " ✔ cache").await;
}

#[test_case(GithubCache::V1; "version 1")]
#[test_case(GithubCache::V2; "version 2")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn githubs_cache_is_left_as_it_is_if_a_failed_run_did_not_reach_all_steps(
    service: GithubCache,
) {
    let scope = format!("salvage-kept-{}", std::process::id());
    let cache = format!("type=gha,scope={scope}");
    let project = service.with(three_targets(&cache, &cache));
    let told = format!(
        "note[run::cache-salvage]: the cache at scope `{scope}` of GitHub's cache was not replaced"
    );
    the_old_cache_is_kept(project, &told).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_failed_step_is_not_run_again_and_a_failed_salvage_is_a_note() {
    let builder = Buildkitd::start_with_images().await;
    let project = TestProject::new()
        .file(
            "Dockerfile",
            "FROM busybox\nARG FAIL\nRUN date > /x\nRUN --mount=type=cache,target=/c echo ran >>/c/log; test -z \"$FAIL\" || exit 3\nRUN --mount=type=cache,target=/c echo \"runs: $(wc -l </c/log)\"\n",
        )
        .file(
            "docker-bake.hcl",
            "variable \"FAIL\" {\n  default = \"\"\n}\ntarget \"default\" {\n  args = { FAIL = FAIL }\n  cache-to = [\"type=registry,ref=127.0.0.1:1/cache\"]\n}\n",
        )
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", builder.endpoint());
    let output = project.rbake(&["--var", "FAIL=1"]);
    assert_eq!(output.code, Some(1), "{output}");
    let note = "note[run::cache-salvage]: the finished steps of `default` were not exported to `127.0.0.1:1/cache`: ";
    assert!(output.stderr.contains(note), "{output}");
    assert!(
        !output.stderr.contains("error[run::cache-export]"),
        "{output}"
    );
    let output = project.rbake(&["--set", "*.cache-to="]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("runs: 2"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn nothing_is_salvaged_if_the_user_says_so_or_stops_the_run() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let builder = Buildkitd::start_with_images().await;
    let cache = format!(
        "type=registry,ref={registry}/salvage-off-{}:c",
        std::process::id()
    );
    let project = three_targets(&cache, &cache).env("BUILDKIT_HOST", builder.endpoint());
    let output = project.rbake(&["bad", "--var", "FAIL=1", "--salvage=false"]);
    assert_eq!(output.code, Some(1), "{output}");
    let project = project.env("RBAKE_SALVAGE", "0");
    let output = project.rbake(&["bad", "--var", "FAIL=1", "--no-cache"]);
    assert_eq!(output.code, Some(1), "{output}");
    let project = project
        .env("RBAKE_SALVAGE", "")
        .file("rbake.toml", "[cache]\nsalvage = false\n");
    let output = project.rbake(&["bad", "--var", "FAIL=1", "--no-cache"]);
    assert_eq!(output.code, Some(1), "{output}");
    let project = project.file("rbake.toml", "");
    let mut command = project.command(&[
        "slow",
        "--var",
        "SLOW=60",
        "--progress",
        "plain",
        "--no-cache",
    ]);
    command.env("RBAKE_SALVAGE", "1");
    let mut run = Run::start(&command);
    run.writes("/slow").await;
    let ended = run.interrupt(Signal::INT).await;
    assert!(!ended.stderr.contains("finished steps"), "{}", ended.stderr);
    let output = project.rbake(&["good", "--set", "*.cache-to="]);
    let none = format!("note[run::no-cache]: there is no cache at `{registry}/salvage-off-");
    assert!(output.stderr.contains(&none), "{output}");
}
