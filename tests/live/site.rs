//! The reference pipeline: the example site's own tests decide whether its tags move. Those that need no services run in
//! the target `check`, the others in containers beside postgres and redis, on a real Docker Engine.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::distribution::RegistryContents;
use crate::support::peers;
use crate::support::project::{self, CommandOutput, TestProject};

const COMPOSE: &str = "docker compose -f examples/site/compose.test.yaml run --rm test";

/// A copy of the pipeline and the site in a git repository, and where its images go.
struct Site {
    project: TestProject,
    docker: PathBuf,
    contents: RegistryContents,
    /// The path of the images at the registry.
    prefix: String,
}

impl Site {
    fn new() -> Self {
        let docker = peers::program("RBAKE_TEST_DOCKER_CLI");
        let compose = peers::program("RBAKE_TEST_COMPOSE");
        let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
        let prefix = format!("site-{}", std::process::id());
        let project = TestProject::new()
            .program_in_path("docker", &format!("exec {} \"$@\"", docker.display()))
            .env("DOCKER_HOST", peers::peer("RBAKE_TEST_DOCKER_HOST"))
            .env("BUILDKIT_HOST", peers::peer("RBAKE_TEST_BUILDKIT_ADDR"))
            .env("REGISTRY", format!("{registry}/{prefix}"));
        let plugins = project.home().join(".docker/cli-plugins");
        std::fs::create_dir_all(&plugins).unwrap();
        std::os::unix::fs::symlink(compose, plugins.join("docker-compose")).unwrap();
        for folder in ["bake", "dockerfiles", "examples/site"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            project::copy(&from, &project.path().join(folder));
        }
        let site = Self {
            project,
            docker,
            contents: RegistryContents::of(&registry),
            prefix,
        };
        site.git(&["init", "--quiet"]);
        site
    }

    fn git(&self, arguments: &[&str]) -> String {
        let words = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
        let words = [&words, arguments].concat();
        let output = self.project.program(Path::new("git"), &words).output();
        let output = output.unwrap();
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=a change"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Replaces `text`, which occurs once in the site's tests.
    fn change_tests(&self, text: &str, by: &str) {
        let path = self
            .project
            .path()
            .join("examples/site/tests/test_pages.py");
        let tests = std::fs::read_to_string(&path).unwrap();
        assert_eq!(tests.matches(text).count(), 1, "{text}");
        std::fs::write(path, tests.replace(text, by)).unwrap();
    }

    /// Publishes behind both gates, without the parts of `web` that take long and that no test looks at.
    fn publish(&self, commit: &str, build: &str) -> CommandOutput {
        let mut command = self.project.command(&[
            "essential",
            "--push",
            "--gate",
            "check",
            "--gate-image",
            "test",
            "--gate-run",
            COMPOSE,
            "--set=web.args.SKIP_CHROMIUM=1",
            "--set=web.args.SKIP_JS_BUILD=1",
        ]);
        command.env("GITHUB_SHA", commit).env("TAG", build);
        self.project.read(&command.output().unwrap())
    }

    async fn digest(&self, image: &str, tag: &str) -> Option<String> {
        let repository = format!("{}/{image}", self.prefix);
        self.contents.digest(&repository, tag).await
    }

    /// Where the mutable tags of both images point.
    async fn latest(&self) -> [Option<String>; 2] {
        [
            self.digest("web", "latest").await,
            self.digest("celery", "latest").await,
        ]
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let down = [
            "compose",
            "-f",
            "examples/site/compose.test.yaml",
            "down",
            "--volumes",
            "--remove-orphans",
            "--timeout=1",
        ];
        let mut down: Command = self.project.program(&self.docker, &down);
        let _ = down.output();
    }
}

/// The last lines of what a run printed, which is what a person sees first.
fn end(output: &CommandOutput) -> String {
    let lines: Vec<&str> = output.stderr.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_tests_of_the_site_decide_whether_its_tags_move() {
    let site = Site::new();
    let good = site.commit();
    let output = site.publish(&good, "1");
    assert_eq!(output.code, Some(0), "{output}");
    // Those that need services are not skipped.
    assert!(output.stderr.contains("Ran 9 tests"), "{output}");
    let tests = output.stderr.split("Ran 9 tests").last().unwrap();
    assert!(!tests.contains("skipped"), "{output}");
    // The target `check` has saved what its tests reported.
    let reports = site
        .project
        .path()
        .join("test-reports/check/tmp/test-reports");
    let saved = std::fs::read_dir(&reports).map_or(0, Iterator::count);
    assert!(saved > 0, "{output}");
    let released = site.latest().await;
    let images = ["web", "celery"];
    for (image, released) in images.iter().zip(&released) {
        assert!(released.is_some(), "{output}");
        assert_eq!(site.digest(image, &good).await, *released);
        assert_eq!(site.digest(image, "build-1").await, *released);
    }
    assert_eq!(site.digest("test", "latest").await, None);

    // This test runs only beside the services: the target `check` succeeds.
    site.change_tests(
        "cursor.fetchone()[0], \"off\"",
        "cursor.fetchone()[0], \"on\"",
    );
    let broken = site.commit();
    let output = site.publish(&broken, "2");
    assert_eq!(output.code, Some(1), "{output}");
    assert_eq!(site.latest().await, released, "{output}");
    let end_of_output = end(&output);
    for text in ["AssertionError: 'off' != 'on'", "FAILED (failures=1)"] {
        assert!(end_of_output.contains(text), "{output}");
    }
    for image in images {
        assert!(site.digest(image, &broken).await.is_some(), "{output}");
        assert_eq!(site.digest(image, "build-2").await, None, "{output}");
    }

    // A test without services fails while the target `check` is built, and the command does not run.
    site.change_tests("[1, 2]", "[1, 3]");
    let worse = site.commit();
    std::fs::remove_dir_all(&reports).unwrap();
    let output = site.publish(&worse, "3");
    assert_eq!(output.code, Some(1), "{output}");
    assert_eq!(site.latest().await, released, "{output}");
    assert!(end(&output).contains("FAILED (failures=1"), "{output}");
    let failures = std::fs::read_dir(&reports).unwrap().filter(|report| {
        let path = report.as_ref().unwrap().path();
        std::fs::read_to_string(path).unwrap().contains("<failure")
    });
    assert_eq!(failures.count(), 1, "{output}");
    assert!(
        output
            .stderr
            .contains("gate-run | CANCELLED, because `check` failed"),
        "{output}"
    );
}
