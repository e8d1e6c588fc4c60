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
        Self::with_builder(name, Buildkitd::start_with_images().await)
    }

    fn with_builder(name: &str, builder: Buildkitd) -> Self {
        let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
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
    // The registry knows that the run does not go on.
    let releases = gated.rbake(&good, &["releases", "--json"]);
    assert!(
        releases.stdout.contains("\"status\": \"failed\""),
        "{releases}"
    );
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

/// A gate that writes reports and then succeeds or fails. Among them is a link out of the directory.
const REPORTS: &str = r#"FROM busybox AS base
COPY code /code

FROM base AS web
COPY web /web

FROM base AS worker
COPY worker /worker

FROM base AS check
RUN mkdir -p /out/html/css /out/empty && echo "<tests/>" > /out/unit.xml && echo page > /out/html/index.html \
 && echo style > /out/html/css/site.css && ln -s /etc/passwd /out/link.xml && mkfifo /out/pipe.xml \
 && dd if=/dev/zero of=/out/large.xml bs=1M count=20 && cp /code /out/code.xml && echo no > /out/notes.txt \
 && grep -q good /code || { echo "the code is bad"; exit 3; }
"#;

const SAVE: &str = "[gate]\nsave-to = \"reports\"\n[gate.save]\ncheck = [\"/out/*.xml\", \"/out/html\", \"/out/missing.xml\"]\n";

/// The files below a directory, with their contents.
fn files_below(dir: &Path) -> std::collections::BTreeMap<String, String> {
    let mut found = std::collections::BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().display().to_string();
                found.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn expected_files(code: &str) -> std::collections::BTreeMap<String, String> {
    let expected = [
        ("check/out/code.xml", code),
        ("check/out/html/css/site.css", "style\n"),
        ("check/out/html/index.html", "page\n"),
        ("check/out/unit.xml", "<tests/>\n"),
    ];
    expected
        .into_iter()
        .map(|(name, content)| (name.to_owned(), content.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn files_of_a_gate_are_saved_whether_it_succeeds_or_fails() {
    let gated = Gated::new("gate-files").await;
    let dir = gated.project.path();
    std::fs::write(dir.join("Dockerfile"), REPORTS).unwrap();
    std::fs::write(dir.join("rbake.toml"), SAVE).unwrap();
    std::fs::write(dir.join(".dockerignore"), "reports*\n").unwrap();
    let arguments = ["default", "--push", "--gate", "check"];
    let good = gated.commit("good");
    let output = gated.rbake(&good, &arguments);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(files_below(&dir.join("reports")), expected_files("good"));
    assert!(
        output
            .stderr
            .contains("4 files of the gate `check` saved in `reports/check`"),
        "{output}"
    );
    assert!(
        output
            .stderr
            .contains("the gate `check` has no file `/out/missing.xml`"),
        "{output}"
    );
    // The link, the pipe and the large file.
    assert!(
        output
            .stderr
            .contains("files of the gate `check` that are not saved: 3"),
        "{output}"
    );
    let released = gated.latest();

    let bad = gated.commit("bad");
    let output = gated.rbake(&bad, &arguments);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stderr.contains("the code is bad"), "{output}");
    assert_eq!(files_below(&dir.join("reports")), expected_files("bad"));
    assert_eq!(gated.latest(), released);

    // A gate whose steps are in the cache has its files, too.
    std::fs::remove_dir_all(dir.join("reports")).unwrap();
    gated.commit("good");
    let again = gated.rbake(
        &good,
        &[&arguments[..], &["--gate-save-to=reports-again"]].concat(),
    );
    assert_eq!(again.code, Some(0), "{again}");
    assert!(!dir.join("reports").exists());
    assert_eq!(
        files_below(&dir.join("reports-again")),
        expected_files("good")
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_old_builder_gives_the_files_of_a_gate_only_if_it_succeeds() {
    let old = peers::program("RBAKE_TEST_BUILDKITD_OLD");
    let builder = Buildkitd::start_program_with_images(&old).await;
    let gated = Gated::with_builder("gate-files-old", builder);
    let dir = gated.project.path();
    std::fs::write(dir.join("Dockerfile"), REPORTS).unwrap();
    std::fs::write(dir.join("rbake.toml"), SAVE).unwrap();
    std::fs::write(dir.join(".dockerignore"), "reports*\n").unwrap();
    let arguments = ["default", "--push", "--gate", "check"];
    let output = gated.rbake(&gated.commit("good"), &arguments);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(files_below(&dir.join("reports")), expected_files("good"));
    std::fs::remove_dir_all(dir.join("reports")).unwrap();

    let output = gated.rbake(&gated.commit("bad"), &arguments);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(
        output
            .stderr
            .contains("files of the gate `check` are not saved: the builder is too old"),
        "{output}"
    );
    assert!(!dir.join("reports").exists());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn gates_of_the_settings_apply_to_each_run_that_pushes() {
    let gated = Gated::new("gate-settings").await;
    let dir = gated.project.path();
    std::fs::write(
        dir.join("rbake.toml"),
        "[gate]\ntargets = [\"check\"]\nimages = [\"test\"]\nrun = \"echo ran; test -n \\\"$RBAKE_IMAGE_TEST\\\"\"\n",
    )
    .unwrap();
    let good = gated.commit("good");
    // Without consent, nothing is built.
    let output = gated.rbake(&good, &["default", "--push"]);
    assert_eq!(output.code, Some(2), "{output}");
    assert!(output.stderr.contains("--allow=gate.run"), "{output}");
    assert!(output.stderr.contains("rbake.toml:4:7"), "{output}");
    assert_eq!(gated.digest(&format!("web:{good}")), None);

    let output = gated.rbake(&good, &["default", "--push", "--allow=gate.run"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("ran"), "{output}");
    let released = gated.latest();
    assert!(released.iter().all(Option::is_some), "{output}");

    // A command on the command line needs no consent, and the target is still a gate.
    let bad = gated.commit("bad");
    let output = gated.rbake(&bad, &["default", "--push", "--gate-run=echo mine"]);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stderr.contains("the code is bad"), "{output}");
    assert_eq!(gated.latest(), released);
    // Runs that do not push have no gates.
    let output = gated.rbake(&bad, &["default"]);
    assert_eq!(output.code, Some(0), "{output}");
    let output = gated.rbake(&bad, &["default", "--push", "--publish=buildx"]);
    assert_eq!(output.code, Some(2), "{output}");
    let output = gated.rbake(&bad, &["default", "--push", "--no-gates"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(gated.latest()[0], gated.digest(&format!("web:{bad}")));
}
