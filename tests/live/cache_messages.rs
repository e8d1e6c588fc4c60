//! What users read of caches that cannot be read or written.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

use crate::support::buildkitd::Buildkitd;
use crate::support::distribution::{DistributionRegistry, RegistryContents, Version};
use crate::support::peers;
use crate::support::private_registry::PrivateRegistry;
use crate::support::project::{CommandOutput, TestProject};
use crate::support::pty::Terminal;

fn project(builder: &Buildkitd, from: &str, to: &str) -> TestProject {
    TestProject::new()
        .file("Dockerfile", "FROM busybox\nRUN date > /stamp\n")
        .file(
            "docker-bake.hcl",
            format!("target \"default\" {{\n  cache-from = [{from}]\n  cache-to = [{to}]\n}}\n"),
        )
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
        .env("BUILDKIT_HOST", builder.endpoint())
}

#[track_caller]
fn says(output: &CommandOutput, words: &[&str]) {
    for words in words {
        assert!(output.stderr.contains(words), "{words}: {output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_wrong_password_is_named_with_its_account_and_place_in_every_view() {
    let private = PrivateRegistry::start();
    let builder = Buildkitd::start_with_images().await;
    let host = &private.address;
    let entry = format!("\"type=registry,ref={host}/a:c\"");
    let wrong = BASE64_STANDARD.encode("keeper:wrong");
    let config = format!(r#"{{"auths":{{"{host}":{{"auth":"{wrong}"}}}}}}"#);
    let project = project(&builder, &entry, &entry).docker_config(&config);
    let import = format!("no cache is imported from `{host}/a:c`: ");
    let export =
        format!("error[run::cache-export]: cannot export the cache of `default` to `{host}/a:c`: ");
    let login = format!(
        "`{host}`: rbake used the credential in the entry `{host}` of `[home]/.docker/config.json` (account `kee…`)"
    );
    for mode in ["plain", "quiet", "rawjson"] {
        let output = project.rbake(&["--progress", mode]);
        assert_eq!(output.code, Some(1), "{output}");
        says(&output, &[&export, &login, "401 Unauthorized"]);
        if mode == "rawjson" {
            let short = BASE64_STANDARD.encode(format!("run::cache-import: {import}"));
            // The end of the text is encoded together with what follows it.
            says(&output, &[&short[..short.len() - 8], r#""warnings":["#]);
        } else {
            says(&output, &["warning[run::cache-import]: ", &import]);
            says(&output, &["steps that are only in this cache run again"]);
            assert_eq!(output.stderr.matches(&login).count(), 2, "{output}");
        }
    }
    let command = project.command(&["--progress", "tty"]);
    let program = std::path::Path::new(command.get_program());
    let shown = Terminal::start(program, &command).read_to_end();
    let shown = String::from_utf8_lossy(&shown);
    for words in [
        "no cache is imported from",
        "cannot export the cache of",
        "account `kee…`",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains('✘'), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_registry_without_a_login_says_that_none_is_configured() {
    let private = PrivateRegistry::start();
    let builder = Buildkitd::start_with_images().await;
    let host = &private.address;
    let entry = format!("\"type=registry,ref={host}/a:c\"");
    let project = project(&builder, &entry, &entry);
    let output = project.rbake(&[]);
    assert_eq!(output.code, Some(1), "{output}");
    let none = format!("`{host}`: no credential is configured for it");
    assert_eq!(output.stderr.matches(&none).count(), 2, "{output}");
    says(
        &output,
        &[&format!("`docker login {host}` stores another credential")],
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn images_without_a_cache_are_named_and_those_with_one_are_imported() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let builder = Buildkitd::start_with_images().await;
    let image = format!("{registry}/library/busybox:latest");
    let inline = format!("{registry}/with-inline-{}:1", std::process::id());
    let from = format!("\"type=registry,ref={image}\", \"type=registry,ref={inline}\"");
    let project = project(&builder, &from, "\"type=inline\"");
    let tag = format!("*.tags={inline}");
    let first = project.rbake(&["--push", "--set", &tag]);
    assert_eq!(first.code, Some(0), "{first}");
    let output = project.rbake(&["--progress", "quiet", "--no-cache"]);
    assert_eq!(output.code, Some(0), "{output}");
    let told = format!("no cache is imported from `{image}`: it is an image without a cache");
    says(
        &output,
        &["warning[run::cache-import]: ", &told, "type=inline"],
    );
    assert!(!output.stderr.contains(&inline), "{output}");
}

/// Writes a cache whose configuration is `config`.
async fn put_cache(registry: &RegistryContents, repository: &str, config: Bytes) {
    let size = config.len();
    let digest = registry.put_blob(repository, config).await;
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.buildkit.cacheconfig.v0", "digest": digest, "size": size},
        "layers": [],
    });
    registry
        .put(repository, "c", manifest.to_string().into())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn corrupted_and_oversized_caches_are_reported_and_the_build_goes_on() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let contents = RegistryContents::of(&registry);
    let builder = Buildkitd::start_with_images().await;
    let named = |name: &str| format!("cache-{name}-{}", std::process::id());
    let (corrupted, large) = (named("corrupted"), named("large"));
    put_cache(
        &contents,
        &corrupted,
        Bytes::from_static(b"{\"records\":7}"),
    )
    .await;
    let text = format!("{{\"records\":[],\"x\":\"{}\"}}", "x".repeat(1 << 20));
    put_cache(&contents, &large, text.into()).await;
    let entry = |name: &str| format!("\"type=registry,ref={registry}/{name}:c\"");
    let from = format!("{}, {}", entry(&corrupted), entry(&large));
    let output = project(&builder, &from, "").rbake(&[]);
    assert_eq!(output.code, Some(0), "{output}");
    let told = |name: &str| {
        format!("warning[run::cache-import]: no cache is imported from `{registry}/{name}:c`: ")
    };
    says(&output, &[&told(&corrupted), &told(&large)]);
    says(
        &output,
        &[
            "cannot unmarshal",
            "is too large (",
            "at most 1 MiB",
            "let rbake export the cache",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_cache_directory_that_does_not_exist_yet_is_a_note_and_a_broken_one_a_warning() {
    let builder = Buildkitd::start_with_images().await;
    let from = "\"type=local,src=none\", \"type=local,src=broken\"";
    let project = project(&builder, from, "").file("broken/index.json", "{}");
    let output = project.rbake(&[]);
    assert_eq!(output.code, Some(0), "{output}");
    says(
        &output,
        &[
            "note[run::no-local-cache]: target `default`: no cache is imported from `[project]/none`",
            "warning[run::no-local-cache]: target `default`: no cache is imported from `[project]/broken`",
        ],
    );
    let quiet = project.rbake(&["--progress", "quiet"]);
    assert!(quiet.stderr.contains("[project]/broken"), "{quiet}");
    assert!(!quiet.stderr.contains("[project]/none"), "{quiet}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_registry_that_refuses_the_form_of_a_cache_is_explained() {
    let registry = DistributionRegistry::start(Version::V3);
    let builder = Buildkitd::start_with_images().await;
    let entry = |form: &str| format!("\"type=registry,ref={}/a:c{form}\"", registry.address);
    let output = project(&builder, "", &entry(",image-manifest=false")).rbake(&[]);
    assert_eq!(output.code, Some(1), "{output}");
    says(
        &output,
        &["blob unknown to registry", "remove this attribute"],
    );
    let output = project(&builder, "", &entry("")).rbake(&[]);
    assert_eq!(output.code, Some(0), "{output}");
    // The older version accepts it.
    let older = DistributionRegistry::start(Version::V2);
    let entry = entry(",image-manifest=false").replace(&registry.address, &older.address);
    let output = project(&builder, "", &entry).rbake(&[]);
    assert_eq!(output.code, Some(0), "{output}");
}
