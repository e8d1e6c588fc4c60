//! The main use of rbake, from the command line, with real daemons: images arrive in a registry with their tags, and
//! a second run takes everything from the cache.

use std::process::Command;

use crate::support::buildkitd::Buildkitd;
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

const DEFINITION: &str = r#"
variable "REGISTRY" {}
variable "NAME" {}
variable "TAG" { default = "7" }
variable "SHA" { default = "0123456789abcdef0123456789abcdef01234567" }

function "tags" {
  params = [name]
  result = [for tag in ["build-${TAG}", SHA, "latest"] : "${REGISTRY}/${NAME}/${name}:${tag}"]
}

group "essential" {
  targets = ["web", "celery"]
}

target "_service" {
  args = { GREETING = "hello" }
}

target "web" {
  inherits   = ["_service"]
  target     = "web"
  tags       = tags("web")
  cache-from = ["type=registry,ref=${REGISTRY}/${NAME}/cache:web"]
  cache-to   = ["type=registry,ref=${REGISTRY}/${NAME}/cache:web,mode=max"]
}

target "celery" {
  inherits   = ["_service"]
  target     = "celery"
  tags       = tags("celery")
  cache-from = ["type=registry,ref=${REGISTRY}/${NAME}/cache:celery"]
  cache-to   = ["type=registry,ref=${REGISTRY}/${NAME}/cache:celery,mode=max"]
}
"#;

const DOCKERFILE: &str = "FROM busybox AS base
ARG GREETING
WORKDIR /app
RUN echo $GREETING > greeting

FROM base AS builder
COPY lib lib
RUN cat lib/* > built

FROM base AS web
COPY --from=builder /app/built .
COPY web.txt .
RUN wc -c web.txt > size

FROM base AS celery
COPY --from=builder /app/built .
";

fn project(registry: &str, name: &str) -> TestProject {
    TestProject::new()
        .file("docker-bake.hcl", DEFINITION)
        .file("Dockerfile", DOCKERFILE)
        .file("lib/a", "a\n")
        .file("lib/b", "b\n")
        .file("web.txt", "web\n")
        .env("REGISTRY", registry)
        .env("NAME", name)
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
}

// Returns a name that no other test uses in the shared registry.
fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

#[track_caller]
fn succeeds(output: CommandOutput) -> CommandOutput {
    assert_eq!(output.code, Some(0), "{output}");
    output
}

fn crane(crane: &std::path::Path, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(crane)
        .args(arguments)
        .arg("--insecure")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "crane {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    text.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn two_services_get_three_tags_each_and_an_empty_builder_uses_the_cache() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let tool = peers::program("RBAKE_TEST_CRANE");
    let builder = Buildkitd::start_with_images().await;
    let name = unique("tags");
    let project = project(&registry, &name).env("BUILDKIT_HOST", builder.endpoint());
    let first = succeeds(project.rbake(&["essential", "--push"]));
    assert!(first.stderr.contains("2 targets built"), "{first}");
    let service = first
        .stderr
        .lines()
        .find(|line| line.contains("web") && line.contains("pushed"));
    assert!(
        service.is_some_and(|line| line.contains(" MB")),
        "the summary shows the size: {first}"
    );
    for service in ["web", "celery"] {
        let repository = format!("{registry}/{name}/{service}");
        let mut tags = crane(&tool, &["ls", &repository]);
        // The record of the run has a tag of its own.
        tags.retain(|tag| !tag.starts_with("rbake-run-"));
        tags.sort();
        assert_eq!(
            tags,
            [
                "0123456789abcdef0123456789abcdef01234567",
                "build-7",
                "latest"
            ]
        );
        let digests: Vec<_> = tags
            .iter()
            .flat_map(|tag| crane(&tool, &["digest", &format!("{repository}:{tag}")]))
            .collect();
        assert!(
            digests.iter().all(|digest| *digest == digests[0]),
            "{digests:?}"
        );
        assert!(
            first.stderr.contains(&digests[0]),
            "the summary shows the digest: {first}"
        );
    }

    let empty = Buildkitd::start_with_images().await;
    let project = project.env("BUILDKIT_HOST", empty.endpoint());
    let second = succeeds(project.rbake(&["essential", "--push"]));
    assert!(second.stderr.contains("(100%)"), "{second}");
    for step in [
        "WORKDIR /app",
        "RUN echo",
        "COPY lib lib",
        "RUN cat",
        "COPY web.txt",
        "RUN wc",
    ] {
        let done: Vec<&str> = second
            .stderr
            .lines()
            .filter(|line| line.contains(step))
            .collect();
        assert!(
            done.iter().any(|line| line.contains("CACHED")),
            "{step}: {second}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_unchanged_context_is_not_sent_again_and_after_a_change_only_the_changed_file_is() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let builder = Buildkitd::start_with_images().await;
    let project = project(&registry, &unique("unchanged")).env("BUILDKIT_HOST", builder.endpoint());
    let sent = |output: &CommandOutput| -> Vec<String> {
        let context = output
            .stderr
            .lines()
            .filter(|line| line.contains("(context)"));
        context
            .filter(|line| line.contains("| sent ") && !line.contains("0 files"))
            .map(str::to_owned)
            .collect()
    };
    let first = succeeds(project.rbake(&["essential"]));
    assert!(
        !sent(&first).is_empty(),
        "the first run sends the context: {first}"
    );
    let second = succeeds(project.rbake(&["essential"]));
    assert_eq!(sent(&second), Vec::<String>::new(), "{second}");
    assert!(second.stderr.contains("(100%)"), "{second}");

    std::fs::write(project.path().join("web.txt"), "changed\n").unwrap();
    let third = succeeds(project.rbake(&["essential"]));
    let lines = sent(&third);
    assert_eq!(lines.len(), 1, "{third}");
    assert!(lines[0].contains("1 file, 8 B"), "{third}");
    let line = |step: &str| {
        let lines: Vec<&str> = third
            .stderr
            .lines()
            .filter(|line| line.contains(step))
            .collect();
        lines.join("\n")
    };
    assert!(line("COPY web.txt").contains("DONE"), "{third}");
    assert!(line("RUN wc").contains("DONE"), "{third}");
    assert!(line("RUN cat lib").contains("CACHED"), "{third}");
}

#[test]
#[ignore = "needs live peers"]
fn the_output_ends_with_the_cause_of_a_failed_step() {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let project = TestProject::new()
        .file("docker-bake.hcl", "group \"default\" { targets = [\"bad\", \"slow\"] }\ntarget \"bad\" { target = \"bad\" }\ntarget \"slow\" { target = \"slow\" }\n")
        .file(
            "Dockerfile",
            "FROM busybox AS bad\nRUN sleep 1; echo the reason; exit 7\nFROM busybox AS slow\nRUN sleep 100\n",
        )
        .env("BUILDKIT_HOST", address);
    let output = project.rbake(&[]);
    assert_eq!(output.code, Some(1), "{output}");
    let tail: Vec<&str> = output.stderr.lines().rev().take(16).collect();
    let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
    for expected in [
        "`bad`",
        "Dockerfile:2",
        "RUN sleep 1; echo the reason; exit 7",
        "the reason",
        "7",
        "slow",
    ] {
        assert!(
            tail.contains(expected),
            "`{expected}` is not in the last lines: {output}"
        );
    }
}

#[test]
#[ignore = "needs live peers"]
fn secrets_reach_their_step_but_never_the_output() {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let project = TestProject::new()
        .file("docker-bake.hcl", "target \"default\" {\n  secret = [\"id=file,src=token\", \"id=variable,env=PASSWORD\"]\n  output = [\"type=local,dest=out\"]\n}\n")
        .file(
            "Dockerfile",
            "FROM busybox AS b\nRUN --mount=type=secret,id=file --mount=type=secret,id=variable cat /run/secrets/file /run/secrets/variable | sha256sum > /sum\nFROM scratch\nCOPY --from=b /sum /sum\n",
        )
        .file("token", "hunter2")
        .env("PASSWORD", "swordfish")
        .env("BUILDKIT_HOST", address);
    let output = succeeds(project.rbake(&["--no-cache"]));
    assert!(
        !output.stderr.contains("hunter2") && !output.stderr.contains("swordfish"),
        "{output}"
    );
    let sum = std::fs::read_to_string(project.path().join("out/sum")).unwrap();
    assert_eq!(
        rbake::types::Digest::sha256(b"hunter2swordfish").hex(),
        &sum[..64]
    );
}

#[test]
#[ignore = "needs live peers"]
fn the_error_names_a_registry_that_is_down() {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let project = TestProject::new()
        .file(
            "docker-bake.hcl",
            "target \"default\" { tags = [\"127.0.0.1:9/x:y\"] }\n",
        )
        .file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
        .env("BUILDKIT_HOST", address);
    let output = project.rbake(&["--push"]);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stderr.contains("127.0.0.1:9"), "{output}");
}

#[test]
#[ignore = "needs live peers"]
fn standard_output_contains_only_the_archive() {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let project = TestProject::new()
        .file(
            "docker-bake.hcl",
            "target \"default\" { output = [\"type=tar\"] }\n",
        )
        .file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
        .env("BUILDKIT_HOST", address);
    let output = project.command(&[]).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut archive = tar::Archive::new(output.stdout.as_slice());
    let names: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().into_owned())
        .collect();
    assert_eq!(names, [std::path::PathBuf::from("Dockerfile")]);
}

#[test]
#[ignore = "needs live peers"]
fn images_are_loaded_into_docker_and_run() {
    let host = peers::peer("RBAKE_TEST_DOCKER_HOST");
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let docker = peers::program("RBAKE_TEST_DOCKER_CLI");
    for (way, builder) in [("loaded", Some(address)), ("built", None)] {
        let name = format!("rbake-test/{}:1", unique(way));
        let mut project = TestProject::new()
            .file(
                "docker-bake.hcl",
                format!("target \"default\" {{ tags = [\"{name}\"] }}\n"),
            )
            .file(
                "Dockerfile",
                "FROM busybox\nRUN echo built > /word\nCMD [\"cat\", \"/word\"]\n",
            )
            .env("DOCKER_HOST", &host);
        if let Some(builder) = builder {
            project = project.env("BUILDKIT_HOST", builder);
        }
        let output = succeeds(project.rbake(&["--load"]));
        let run = Command::new(&docker)
            .args(["-H", &host, "run", "--rm", &name])
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&run.stdout),
            "built\n",
            "{way}: {output}{}",
            String::from_utf8_lossy(&run.stderr)
        );
        let _ = Command::new(&docker)
            .args(["-H", &host, "rmi", "-f", &name])
            .output();
    }
}

#[test]
#[ignore = "needs live peers"]
fn the_error_names_a_registry_that_refuses_a_push_and_its_answer() {
    use std::io::{Read as _, Write as _};
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let registry = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(
                b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            );
        }
    });
    let project = TestProject::new()
        .file(
            "docker-bake.hcl",
            format!("target \"default\" {{ tags = [\"{registry}/x:y\"] }}\n"),
        )
        .file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
        .env("BUILDKIT_HOST", address);
    let output = project.rbake(&["--push"]);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(
        output.stderr.contains("403 Forbidden") && output.stderr.contains(&registry.to_string()),
        "{output}"
    );
}

#[test]
#[ignore = "needs live peers"]
fn the_error_names_an_output_on_a_full_disk() {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let project = TestProject::new()
        .file(
            "docker-bake.hcl",
            "target \"default\" { output = [\"type=tar,dest=/dev/full\"] }\n",
        )
        .file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
        .env("BUILDKIT_HOST", address);
    let output = project.rbake(&["--allow", "fs.write=/dev"]);
    // As with buildx.
    assert_eq!(output.code, Some(102), "{output}");
    assert!(
        output.stderr.contains("/dev/full") && output.stderr.contains("No space left"),
        "{output}"
    );
}
