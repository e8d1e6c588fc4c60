//! Gates, from the command line: mutable tags move only if a target or a command that tests the images succeeds.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::support::buildkitd::Buildkitd;
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

const DEFINITION: &str = r#"
variable "REPOSITORY" {}
variable "SHA" {}

target "default" {
  name   = service
  matrix = { service = ["web", "worker"] }
  target = service
  tags   = [for tag in [SHA, "latest"] : "${REPOSITORY}/${service}:${tag}"]
}

target "check" {
  target = "check"
}

target "test" {
  target = "test"
  tags   = ["${REPOSITORY}/test:latest"]
}
"#;

const DOCKERFILE: &str = r#"FROM busybox AS base
COPY code /code

FROM base AS web
COPY web /web

FROM base AS worker
COPY worker /worker

FROM base AS check
RUN grep -q good /code || { sleep 2; echo "the code is bad"; exit 3; }

FROM base AS test
CMD ["cat", "/code"]
"#;

/// A project in a git repository, and where it pushes.
struct Gated {
    project: TestProject,
    repository: String,
    _builder: Buildkitd,
}

impl Gated {
    async fn new(name: &str) -> Self {
        let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
        let builder = Buildkitd::start_with_images().await;
        let repository = format!("{registry}/{name}-{}", std::process::id());
        let project = TestProject::new()
            .file("docker-bake.hcl", DEFINITION)
            .file("Dockerfile", DOCKERFILE)
            .file("web", "web\n")
            .file("worker", "worker\n")
            .env("REPOSITORY", &repository)
            .env("BUILDKIT_HOST", builder.endpoint());
        git(&project.path(), &["init", "-q"]);
        Self {
            project,
            repository,
            _builder: builder,
        }
    }

    // Commits this code and returns the commit.
    fn commit(&self, code: &str) -> String {
        let dir = self.project.path();
        std::fs::write(dir.join("code"), code).unwrap();
        git(&dir, &["add", "-A"]);
        git(&dir, &["commit", "-q", "-m", code]);
        git(&dir, &["rev-parse", "HEAD"])
    }

    fn rbake(&self, commit: &str, arguments: &[&str]) -> CommandOutput {
        let mut command = self.project.command(arguments);
        command.env("SHA", commit);
        self.project.read(&command.output().unwrap())
    }

    // The digest to which a tag points. `None` if it does not exist.
    fn digest(&self, image: &str) -> Option<String> {
        let output = Command::new(peers::program("RBAKE_TEST_CRANE"))
            .args([
                "digest",
                "--insecure",
                &format!("{}/{image}", self.repository),
            ])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        output.status.success().then(|| text.trim().to_owned())
    }

    fn latest(&self) -> [Option<String>; 2] {
        ["web:latest", "worker:latest"].map(|image| self.digest(image))
    }
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_gate_target_decides_whether_mutable_tags_move() {
    let gated = Gated::new("gate").await;
    let good = gated.commit("good 1");
    let output = gated.rbake(&good, &["default", "--push", "--gate", "check"]);
    assert_eq!(output.code, Some(0), "{output}");
    let released = gated.latest();
    assert_eq!(released[0], gated.digest(&format!("web:{good}")));

    let bad = gated.commit("bad");
    let output = gated.rbake(&bad, &["default", "--push", "--gate", "check"]);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stderr.contains("the code is bad"), "{output}");
    assert_eq!(gated.latest(), released);
    // The gate leaves nothing behind.
    assert_eq!(gated.digest("check:latest"), None);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_command_gets_the_images_by_digest_and_decides_whether_mutable_tags_move() {
    let gated = Gated::new("gate-run").await;
    let good = gated.commit("good 1");
    let run = "echo \"$RBAKE_IMAGE_TEST\" > image; echo \"$RBAKE_IMAGES\" > images; echo tested";
    let arguments = [
        "default",
        "--push",
        "--gate-image",
        "test",
        "--gate-run",
        run,
    ];
    let output = gated.rbake(&good, &arguments);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("tested"), "{output}");
    let released = gated.latest();
    assert!(released.iter().all(Option::is_some), "{output}");
    let read = |name: &str| std::fs::read_to_string(gated.project.path().join(name)).unwrap();
    let image = read("image");
    let (repository, digest) = image.trim().split_once('@').unwrap();
    assert_eq!(repository, format!("{}/test", gated.repository));
    assert_eq!(
        gated.digest(&format!("test@{digest}")).as_deref(),
        Some(digest)
    );
    assert_eq!(gated.digest("test:latest"), None, "it has no tag");
    let images: serde_json::Value = serde_json::from_str(&read("images")).unwrap();
    let names: BTreeSet<&String> = images.as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 3, "{images}");
    let web = format!("{}/web@{}", gated.repository, released[0].as_ref().unwrap());
    assert_eq!(images["web"], web);

    let next = gated.commit("good 2");
    let fails = [
        "default",
        "--push",
        "--gate-run",
        "echo not good enough; exit 4",
    ];
    let output = gated.rbake(&next, &fails);
    assert_eq!(output.code, Some(1), "{output}");
    let end: Vec<&str> = output.stderr.lines().rev().take(12).collect();
    assert!(
        end.iter().any(|line| line.contains("not good enough")),
        "{output}"
    );
    assert_eq!(gated.latest(), released);
    // The immutable tag stays.
    assert!(gated.digest(&format!("web:{next}")).is_some());

    let last = gated.commit("good 3");
    let untag = [&fails[..], &["--on-failure=untag"]].concat();
    let output = gated.rbake(&last, &untag);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stderr.contains("are taken back"), "{output}");
    assert_eq!(gated.digest(&format!("web:{last}")), None, "{output}");
    assert_eq!(gated.latest(), released);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_interrupt_ends_the_command_and_no_mutable_tag_moves() {
    let gated = Gated::new("gate-interrupt").await;
    let good = gated.commit("good 1");
    let run = "touch begun; sleep 100; touch ended";
    let arguments = ["default", "--push", "--gate-run", run];
    let mut command = gated.project.command(&arguments);
    let mut child = command.env("SHA", &good).spawn().unwrap();
    let begun = gated.project.path().join("begun");
    while !begun.exists() {
        assert!(child.try_wait().unwrap().is_none());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(gated.latest(), [None, None]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_gate_that_proves_nothing_or_gates_nothing_is_an_error_before_the_build() {
    let gated = Gated::new("no-gate").await;
    let good = gated.commit("good 1");
    for (arguments, code, words) in [
        (&["--push", "--gate", "test"][..], 3, "--gate-run"),
        (&["--gate", "check"], 2, "--push"),
        (
            &["--push", "--publish=buildx", "--gate", "check"],
            2,
            "--publish=buildx",
        ),
        (&["--push", "--gate-image", "test"], 2, "--gate-run"),
        (&["--push", "--gate", "missing"], 3, "missing"),
        (
            &["--push", "--on-failure=drop", "--gate", "check"],
            2,
            "untag",
        ),
    ] {
        let output = gated.rbake(&good, arguments);
        assert_eq!(output.code, Some(code), "{arguments:?}: {output}");
        assert!(output.stderr.contains(words), "{arguments:?}: {output}");
        assert_eq!(gated.digest(&format!("web:{good}")), None, "{arguments:?}");
    }
}
