//! Caches that are not in a registry: directories, the image itself, GitHub's service.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::buildkitd::Buildkitd;
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
fn succeeds(output: CommandOutput) -> CommandOutput {
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_service_of_github_keeps_a_cache() {
    let url = peers::peer("RBAKE_TEST_GHA_CACHE_URL");
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims =
        r#"{"nbf":0,"exp":4102444800,"ac":"[{\"Scope\":\"refs/heads/main\",\"Permission\":3}]"}"#;
    let token = format!(
        "{}.{}.",
        part(r#"{"alg":"none","typ":"JWT"}"#),
        part(claims)
    );
    let scope = format!("test-{}", std::process::id());
    let project = project()
        .file(
            "docker-bake.hcl",
            format!("target \"default\" {{\n  cache-from = [\"type=gha,scope={scope}\"]\n  cache-to = [\"type=gha,scope={scope},mode=max\"]\n}}\n"),
        )
        .env("ACTIONS_CACHE_URL", format!("{}/", url.trim_end_matches('/')))
        .env("ACTIONS_RUNTIME_TOKEN", token);
    survives_a_wipe(project, &[]).await;
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
