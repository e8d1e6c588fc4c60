//! Caches that are not in a registry: directories, the image itself, GitHub's service.

use std::time::Duration;

use rustix::process::Signal;
use test_case::test_case;

use crate::support::buildkitd::Buildkitd;
use crate::support::distribution::RegistryContents;
use crate::support::github_cache::GithubCache;
use crate::support::interrupted::Run;
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

fn project() -> TestProject {
    TestProject::new()
        .file(
            "Dockerfile",
            "FROM busybox AS b\nRUN date +%N > /stamp\nFROM busybox\nCOPY --from=b /stamp /stamp\n",
        )
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
}

#[track_caller]
pub(super) fn succeeds(output: CommandOutput) -> CommandOutput {
    assert_eq!(output.code, Some(0), "{output}");
    output
}

// Builds on one builder, and then on an empty one, which shares nothing with the first except the cache.
async fn survives_a_wipe(project: TestProject, arguments: &[&str]) {
    let first = Buildkitd::start_with_images().await;
    let project = project.env("BUILDKIT_HOST", first.endpoint());
    let output = succeeds(project.rbake(arguments));
    assert!(output.stderr.contains("(0%)"), "{output}");
    drop(first);
    let empty = Buildkitd::start_with_images().await;
    let output = succeeds(
        project
            .env("BUILDKIT_HOST", empty.endpoint())
            .rbake(arguments),
    );
    let run: Vec<&str> = output
        .stderr
        .lines()
        .filter(|line| line.contains("RUN date"))
        .collect();
    assert!(run.iter().any(|line| line.contains("CACHED")), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_directory_keeps_a_cache() {
    let project = project().file(
        "docker-bake.hcl",
        "target \"default\" {\n  cache-from = [\"type=local,src=cache\"]\n  cache-to = [\"type=local,dest=cache,mode=max\"]\n}\n",
    );
    survives_a_wipe(project, &[]).await;
}

// The name of the store is sent in a header, which may hold printable ASCII only.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_directory_of_any_name_keeps_a_cache() {
    let project = project().file(
        "docker-bake.hcl",
        "target \"default\" {\n  cache-from = [\"type=local,src=é 100%/cache\"]\n  cache-to = [\"type=local,dest=é 100%/cache,mode=max\"]\n}\n",
    );
    survives_a_wipe(project, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_image_keeps_its_own_cache() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let name = format!("{registry}/inline-{}:1", std::process::id());
    let project = project().file(
        "docker-bake.hcl",
        format!("target \"default\" {{\n  tags = [\"{name}\"]\n  cache-from = [\"{name}\"]\n  cache-to = [\"type=inline,mode=max\"]\n}}\n"),
    );
    survives_a_wipe(project, &["--push"]).await;
}

#[test_case(GithubCache::V1; "version 1")]
#[test_case(GithubCache::V2; "version 2")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_service_of_github_keeps_a_cache(service: GithubCache) {
    let scope = format!("test-{}", std::process::id());
    let project = project()
        .file(
            "docker-bake.hcl",
            format!("target \"default\" {{\n  cache-from = [\"type=gha,scope={scope}\"]\n  cache-to = [\"type=gha,scope={scope},mode=max\"]\n}}\n"),
        );
    survives_a_wipe(service.with(project), &[]).await;
}

#[test]
#[ignore = "needs live peers"]
fn a_missing_cache_does_not_fail_the_build() {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let project = project()
        .file(
            "docker-bake.hcl",
            "target \"default\" { cache-from = [\"type=local,src=nowhere\"] }\n",
        )
        .env("BUILDKIT_HOST", address);
    let output = succeeds(project.rbake(&[]));
    assert!(
        output.stderr.contains("no cache is imported from"),
        "{output}"
    );
    assert!(
        !project.path().join("nowhere").exists(),
        "an import makes no directory"
    );
}

#[test]
#[ignore = "needs live peers"]
fn githubs_cache_is_left_out_with_a_message_if_its_credentials_are_missing() {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let project = project()
        .file(
            "docker-bake.hcl",
            "target \"default\" { cache-from = [\"type=gha\"] }\n",
        )
        .env("GITHUB_ACTIONS", "true")
        .env("BUILDKIT_HOST", address);
    let output = succeeds(project.rbake(&[]));
    assert!(output.stderr.contains("not to `run:` steps"), "{output}");
}

/// The builder exports the image once more for the push. Not all images may have their caches from the first time.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn images_that_the_builder_pushes_have_their_own_cache() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let builder = Buildkitd::start_with_images().await;
    let team = format!("inline-pushed-{}", std::process::id());
    let target = |name: &str, more: &str| {
        format!(
            "target \"{name}\" {{\n  dockerfile-inline = \"FROM busybox\\nRUN echo {name} > /x\\n\"\n  tags = [\"{registry}/{team}/{name}:1\"]\n{more}\n}}\n"
        )
    };
    let definition = format!(
        "group \"default\" {{\n  targets = [\"a\", \"b\"]\n}}\n{}{}",
        target("a", "  cache-to = [\"type=inline\"]"),
        target("b", "  args = { BUILDKIT_INLINE_CACHE = \"1\" }")
    );
    let project = TestProject::new()
        .file("docker-bake.hcl", definition)
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("RBAKE_UPLOAD", "builder")
        .env("BUILDKIT_HOST", builder.endpoint());
    let contents = RegistryContents::of(&registry);
    let _ = succeeds(project.rbake(&["--push"]));
    for name in ["a", "b"] {
        let path = format!("{team}/{name}");
        let image = contents.json(&path, "1").await.unwrap();
        let config = image["config"]["digest"].as_str().unwrap();
        let config = contents.json_blob(&path, config).await.unwrap();
        assert!(
            config["moby.buildkit.cache.v0"].is_string(),
            "{name}: {config}"
        );
    }
}

// Eleven stages, of which each of four targets reaches some that the others do not.
const ELEVEN_STAGES: &str = "FROM busybox AS base
WORKDIR /w
RUN date +%N > base
FROM base AS s1
RUN date +%N > s1
FROM base AS s2
RUN date +%N > s2
FROM s1 AS s3
RUN date +%N > s3
FROM s2 AS s4
COPY --from=s3 /w/s3 .
FROM base AS tools
RUN date +%N > tools
FROM s3 AS web
COPY --from=tools /w/tools .
COPY app .
FROM s4 AS celery
RUN date +%N > celery
FROM celery AS beat
RUN --mount=type=secret,id=key test -s /run/secrets/key && date +%N > beat
FROM tools AS flower
RUN --network=none date +%N > flower
FROM base AS unused
RUN date +%N > unused
";

pub(super) fn four_targets(from: &str, to: &str) -> TestProject {
    let target = |name: &str, more: &str| {
        format!(
            "target \"{name}\" {{\n  target = \"{name}\"\n  cache-from = [\"{from}\"]\n  cache-to = [\"{to},mode=max\"]\n{more}}}\n"
        )
    };
    let definition = [
        "group \"default\" {\n  targets = [\"web\", \"celery\", \"beat\", \"flower\"]\n}\n"
            .to_owned(),
        target("web", ""),
        target("celery", ""),
        target("beat", "  secret = [\"id=key,src=key\"]\n"),
        // Only in this target: if others shared the stage, each would have another result of it.
        target("flower", "  no-cache-filter = [\"flower\"]\n"),
    ];
    TestProject::new()
        .file("Dockerfile", ELEVEN_STAGES)
        .file("app", "1")
        .file("key", "s3cret")
        .file("docker-bake.hcl", definition.concat())
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
}

/// Builds all targets on one builder, then each one alone on an empty builder of its own, and checks that each RUN, COPY
/// and WORKDIR step comes from the shared cache.
pub(super) async fn each_target_is_cached_alone(project: TestProject) {
    let first = Buildkitd::start_with_images().await;
    let mut project = project.env("BUILDKIT_HOST", first.endpoint());
    let output = succeeds(project.rbake(&[]));
    assert!(!output.stderr.contains("shared-cache"), "{output}");
    drop(first);
    for target in ["web", "celery", "beat", "flower"] {
        let mut ran = Vec::new();
        // Once in some forty builds, the daemon runs a step that only a COPY reads, while it still looks for that COPY in
        // the cache. A step that is missing in the cache runs in every build.
        for _ in 0..4 {
            let empty = Buildkitd::start_with_images().await;
            project = project.env("BUILDKIT_HOST", empty.endpoint());
            let arguments = [
                target,
                "--set",
                "*.no-cache-filter=",
                "--set",
                "*.cache-to=",
            ];
            let output = succeeds(project.rbake(&arguments));
            assert!(output.stderr.contains("CACHED"), "{output}");
            let steps = output.stderr.lines().filter(|line| {
                ["RUN ", "COPY ", "WORKDIR "]
                    .iter()
                    .any(|word| line.contains(word))
                    && line.contains("DONE")
            });
            ran = steps.map(str::to_owned).collect();
            if ran.is_empty() {
                break;
            }
        }
        assert_eq!(ran, [""; 0], "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn one_registry_cache_serves_four_targets() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let cache = format!(
        "type=registry,ref={registry}/shared-{}:cache",
        std::process::id()
    );
    each_target_is_cached_alone(four_targets(&cache, &cache)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn one_directory_serves_four_targets() {
    let project = four_targets("type=local,src=cache", "type=local,dest=cache");
    each_target_is_cached_alone(project).await;
}

#[test_case(GithubCache::V1; "version 1")]
#[test_case(GithubCache::V2; "version 2")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn one_scope_of_githubs_cache_serves_four_targets(service: GithubCache) {
    let cache = format!("type=gha,scope=shared-{}", std::process::id());
    each_target_is_cached_alone(service.with(four_targets(&cache, &cache))).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_shared_cache_that_cannot_be_written_fails_the_run_after_the_images() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let builder = Buildkitd::start_with_images().await;
    let image = format!("{registry}/shared-failed-{}", std::process::id());
    let definition = |more: &str| {
        let target = |name: &str| {
            format!(
                "target \"{name}\" {{\n  tags = [\"{image}:{name}\"]\n  cache-to = [\"type=registry,ref=127.0.0.1:1/cache{more}\"]\n}}\n"
            )
        };
        format!(
            "group \"default\" {{\n  targets = [\"a\", \"b\"]\n}}\n{}{}",
            target("a"),
            target("b")
        )
    };
    let project = TestProject::new()
        .file("Dockerfile", "FROM busybox\nRUN date > /stamp\n")
        .file("docker-bake.hcl", definition(""))
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", builder.endpoint());
    let output = project.rbake(&["--push"]);
    assert_eq!(output.code, Some(1), "{output}");
    for words in [
        "2 targets built",
        "error[run::cache-export]: cannot export the cache of `a` and `b` to `127.0.0.1:1/cache`",
        "the results of the targets are not affected",
        "pushed",
    ] {
        assert!(output.stderr.contains(words), "{words}: {output}");
    }
    let ignored = project.file("docker-bake.hcl", definition(",ignore-error=true"));
    let output = ignored.rbake(&["--push"]);
    assert_eq!(output.code, Some(0), "{output}");
    // The builder itself would not say that nothing was written.
    let warned = "warning[run::cache-export]: cannot export the cache of `a` and `b`";
    assert!(output.stderr.contains(warned), "{output}");
    assert!(!output.stderr.contains("steps of 2 targets"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_cache_of_one_target_that_cannot_be_written_does_not_fail_the_image() {
    let builder = Buildkitd::start_with_images().await;
    let mut project = GithubCache::V1
        .with(project())
        .env("ACTIONS_CACHE_URL", "http://127.0.0.1:1/")
        .env("BUILDKIT_HOST", builder.endpoint())
        .file("file", "");
    let github = "[run::cache-export]: cannot export the cache of `default` to scope `x` of GitHub's cache: ";
    let directory =
        "[run::cache-export]: cannot export the cache of `default` to `[project]/file`: ";
    for (ignored, severity, code) in [("", "error", 1), (",ignore-error=true", "warning", 0)] {
        let definition = format!(
            "target \"default\" {{\n  cache-to = [\"type=gha,scope=x{ignored}\", \"type=local,dest=file{ignored}\"]\n}}\n"
        );
        project = project.file("docker-bake.hcl", definition);
        for mode in ["plain", "quiet"] {
            let output = project.rbake(&["--progress", mode]);
            assert_eq!(output.code, Some(code), "{output}");
            for words in [github, directory] {
                let words = format!("{severity}{words}");
                assert!(output.stderr.contains(&words), "{words}: {output}");
            }
            let built = output.stderr.contains("1 target built");
            assert_eq!(built, mode == "plain", "{output}");
        }
    }
}

// The attributes differ, so that there cannot be one cache for both.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn of_caches_at_one_place_that_cannot_be_merged_the_last_one_stays_with_its_own_annotations()
{
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let builder = Buildkitd::start_with_images().await;
    let name = format!("not-merged-{}", std::process::id());
    let target = |target: &str, compression: &str| {
        format!(
            "target \"{target}\" {{\n  dockerfile-inline = \"FROM busybox\\nRUN echo {target} > /x\\n\"\n  output = [\"type=cacheonly\"]\n  cache-to = [\"type=registry,ref={registry}/{name}:c,mode=max,compression={compression}\"]\n}}\n"
        )
    };
    let definition = format!(
        "group \"default\" {{\n  targets = [\"a\", \"b\"]\n}}\n{}{}",
        target("a", "zstd"),
        target("b", "gzip")
    );
    let mut project = project()
        .file("docker-bake.hcl", definition)
        .env("BUILDKIT_HOST", builder.endpoint());
    let output = succeeds(project.rbake(&[]));
    assert!(output.stderr.contains("plan::shared-cache"), "{output}");
    let contents = RegistryContents::of(&registry);
    let manifest = contents.json(&name, "c").await.unwrap();
    assert_eq!(manifest["annotations"]["vnd.rbake.cache.target"], "b");
    let empty = Buildkitd::start_with_images().await;
    project = project.env("BUILDKIT_HOST", empty.endpoint());
    let from = format!("*.cache-from=type=registry,ref={registry}/{name}:c");
    let output = succeeds(project.rbake(&["b", "--set", &from, "--set", "*.cache-to="]));
    assert!(output.stderr.contains("1/1 cached"), "{output}");
}

// A build without a step has nothing that a cache could hold.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_cache_is_left_as_it_is_if_there_is_nothing_to_export() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let builder = Buildkitd::start_with_images().await;
    let name = format!("nothing-to-export-{}", std::process::id());
    let cache = format!("type=registry,ref={registry}/{name}:c,mode=max");
    let project = project()
        .file(
            "docker-bake.hcl",
            format!("target \"default\" {{\n  output = [\"type=image\"]\n  cache-to = [\"{cache}\"]\n}}\n"),
        )
        .env("BUILDKIT_HOST", builder.endpoint());
    let output = succeeds(project.rbake(&[]));
    assert!(output.stderr.contains("steps of 1 target"), "{output}");
    let contents = RegistryContents::of(&registry);
    let before = contents.manifest(&name, "c").await.unwrap();
    let project = project.file("Dockerfile", "FROM busybox\nLABEL a=b\n");
    let output = succeeds(project.rbake(&[]));
    assert!(!output.stderr.contains("steps of 1 target"), "{output}");
    let after = contents.manifest(&name, "c").await.unwrap();
    assert_eq!(after, before, "{output}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn caches_that_are_not_imported_are_reported_once_with_the_reason() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let builder = Buildkitd::start_with_images().await;
    let missing = format!("{registry}/never-exported:cache");
    let project = TestProject::new()
        .file("Dockerfile", "FROM busybox\nRUN true\n")
        .file(
            "docker-bake.hcl",
            format!(
                "group \"default\" {{\n  targets = [\"a\", \"b\"]\n}}\ntarget \"a\" {{\n  cache-from = [\"{missing}\", \"127.0.0.1:1/cache\"]\n}}\ntarget \"b\" {{\n  inherits = [\"a\"]\n}}\n"
            ),
        )
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", builder.endpoint());
    let output = succeeds(project.rbake(&["--no-cache"]));
    let count = |words: &str| output.stderr.matches(words).count();
    let absent = format!("note[run::no-cache]: there is no cache at `{missing}` yet");
    let refused = "warning[run::cache-import]: no cache is imported from `127.0.0.1:1/cache`: ";
    assert_eq!((count(&absent), count(refused)), (1, 1), "{output}");
    assert!(output.stderr.contains("connection refused"), "{output}");
    assert!(!output.stderr.contains("ERROR"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_interrupt_during_the_export_of_a_shared_cache_ends_the_run() {
    // A registry that accepts connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cache = format!("{}/cache", silent.local_addr().unwrap());
    let builder = Buildkitd::start_with_images().await;
    let project = TestProject::new()
        .file("Dockerfile", "FROM busybox\nRUN date > /stamp\n")
        .file(
            "docker-bake.hcl",
            format!(
                "group \"default\" {{\n  targets = [\"a\", \"b\"]\n}}\ntarget \"a\" {{\n  cache-to = [\"type=registry,ref={cache}\"]\n}}\ntarget \"b\" {{\n  inherits = [\"a\"]\n}}\n"
            ),
        )
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", builder.endpoint());
    let run = Run::start(&project.command(&["--progress", "plain"]));
    let accepted = tokio::time::timeout(Duration::from_secs(40), silent.accept());
    let _connection = accepted.await.unwrap().unwrap();
    let ended = run.interrupt(Signal::INT).await;
    let output = &ended.stderr;
    for words in ["2 targets built", "was not exported to", "interrupted"] {
        assert!(output.contains(words), "{words}: {output}");
    }
}
