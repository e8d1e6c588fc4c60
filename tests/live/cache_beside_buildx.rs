//! One cache of several targets, with rbake and with buildx: each exports the targets to one place in one run. Then the
//! daemon is emptied, and each target is built alone.
//!
//! With buildx, each target replaces the cache of the one before it. If a test fails because buildx has found all steps,
//! it has changed.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::bakers::{Baker, Bakers};
use crate::support::buildkitd::Buildkitd;
use crate::support::peers;
use crate::support::project::{self, CommandOutput, TestProject};
use crate::support::steps::BuildSteps;

/// How long the daemon may hold what it has built after the end of a build.
const PATIENCE: Duration = Duration::from_secs(30);

/// The steps of one target, built alone.
struct TargetSteps {
    target: &'static str,
    rbake: BuildSteps,
    buildx: BuildSteps,
}

/// Removes everything that the daemon has. It keeps for a moment what a build has held, and after concurrent exports by
/// buildx it never removes the image that the build began with.
async fn empty(daemon: &Buildkitd) {
    let address = daemon.endpoint().to_string();
    let buildctl = |words: &[&str]| {
        let mut buildctl = Command::new(peers::program("RBAKE_TEST_BUILDCTL"));
        let output = buildctl.args(["--addr", &address]).args(words).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let started = Instant::now();
    loop {
        buildctl(&["prune", "--all"]);
        let left = buildctl(&["du", "--format={{range .}}{{println .Description}}{{end}}"]);
        if left
            .trim()
            .lines()
            .all(|record| record.starts_with("pulled from "))
        {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{left}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How often a target is built alone until all its steps are found. Once in some forty builds, the daemon runs a step that
/// only a COPY reads, while it still looks for that COPY in the cache. A step that is not in the cache runs in every build.
const ATTEMPTS: usize = 4;

/// A project, its definition, and the targets that share a cache.
struct Shared {
    project: TestProject,
    file: &'static str,
    targets: &'static [&'static str],
    more: &'static [&'static str],
}

impl Shared {
    fn bake(&self, baker: Baker, daemon: &Buildkitd, words: &[&str]) -> CommandOutput {
        let bakers = Bakers::on(&daemon.endpoint().to_string());
        let words = [&["-f", self.file, "--progress=rawjson"], words, self.more].concat();
        let output = bakers.bake(baker, &self.project, &words);
        assert_eq!(output.code, Some(0), "{output}");
        output
    }

    /// Exports all targets to `cache` in one run.
    fn export(&self, baker: Baker, daemon: &Buildkitd, cache: &str) {
        let to = format!("*.cache-to={cache}");
        let words = [self.targets, &["--set", "*.cache-from=", "--set", &to]].concat();
        let output = self.bake(baker, daemon, &words);
        assert!(!BuildSteps::of(&output).executed.is_empty(), "{output}");
    }

    /// Builds each target alone on the emptied daemon, with `cache` imported, and returns its steps: those of the attempt
    /// that found most of them.
    async fn build_each_alone(
        &self,
        baker: Baker,
        daemon: &Buildkitd,
        cache: &str,
        attempts: usize,
    ) -> Vec<BuildSteps> {
        let mut found = Vec::new();
        let from = cache.split(",mode=").next().unwrap();
        let from = format!("*.cache-from={from}");
        for target in self.targets {
            let mut steps = BuildSteps::default();
            for _ in 0..attempts {
                empty(daemon).await;
                let words = [target, "--set", &from, "--set", "*.cache-to="];
                let output = self.bake(baker, daemon, &words);
                let found = BuildSteps::of(&output);
                assert!(found.len() > 0, "{output}");
                if found.cached.len() >= steps.cached.len() {
                    steps = found;
                }
                if steps.executed.is_empty() {
                    break;
                }
            }
            found.push(steps);
        }
        found
    }
}

/// Exports and builds with both programs, and prints the table.
#[expect(
    clippy::print_stderr,
    reason = "the table is for those who read the output of the tests"
)]
async fn beside(shared: &Shared, cache: impl Fn(Baker) -> String) -> Vec<TargetSteps> {
    let mut all = Vec::new();
    for (baker, attempts) in [
        (Baker::Rbake, ATTEMPTS),
        // Of the steps that buildx's cache lacks, some take long.
        (Baker::Buildx, 1),
    ] {
        let daemon = Buildkitd::start_with_images().await;
        let cache = cache(baker);
        shared.export(baker, &daemon, &cache);
        let built = shared.build_each_alone(baker, &daemon, &cache, attempts);
        all.push(built.await);
    }
    let buildx = all.pop().unwrap();
    let rows = shared.targets.iter().zip(all.pop().unwrap()).zip(buildx);
    let rows: Vec<TargetSteps> = rows
        .map(|((target, rbake), buildx)| TargetSteps {
            target,
            rbake,
            buildx,
        })
        .collect();
    let mut table = "target      steps  cached with rbake  cached with buildx\n".to_owned();
    for row in &rows {
        let (rbake, buildx) = (row.rbake.cached.len(), row.buildx.cached.len());
        let (target, all) = (row.target, row.rbake.len());
        writeln!(table, "{target:<10} {all:>6} {rbake:>18} {buildx:>19}").unwrap();
    }
    eprintln!("{}", table.trim_end());
    rows
}

/// Checks that rbake's cache has every step of every target, and that buildx's does not.
fn only_rbakes_is_whole(rows: &[TargetSteps]) {
    for row in rows {
        assert_eq!(row.rbake.executed, [""; 0], "{}", row.target);
        assert_eq!(row.rbake.len(), row.buildx.len(), "{}", row.target);
    }
    let missing = rows.iter().any(|row| !row.buildx.executed.is_empty());
    assert!(missing, "buildx found all steps of all targets");
}

fn site() -> Shared {
    // The stand-in for Python's image is there only beside a Docker Engine.
    peers::peer("RBAKE_TEST_DOCKER_HOST");
    let project = TestProject::new();
    for folder in ["bake", "dockerfiles", "examples/site"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        project::copy(&from, &project.path().join(folder));
    }
    Shared {
        project: project.env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1"),
        file: "bake/docker-bake.hcl",
        targets: &["web", "celery", "check"],
        // What takes long.
        more: &[
            "--set=web.args.SKIP_CHROMIUM=1",
            "--set=web.args.SKIP_JS_BUILD=1",
        ],
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_services_of_the_site_and_their_check_share_a_cache_only_with_rbake() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let cache = |baker| {
        format!(
            "type=registry,ref={registry}/beside-site-{}:{baker:?},mode=max",
            std::process::id()
        )
    };
    let rows = beside(&site(), cache).await;
    only_rbakes_is_whole(&rows);
}

/// Four targets of one Dockerfile. Several of them need some of its stages, and only one of them needs others.
fn eleven_stages() -> Shared {
    let project = TestProject::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eleven-stages");
    project::copy(&from, &project.path());
    Shared {
        project: project.env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1"),
        file: "docker-bake.hcl",
        targets: &["web", "worker", "test", "lint"],
        more: &[],
    }
}

async fn eleven_stages_share_a_cache(mode: &str) {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let cache = |baker| {
        format!(
            "type=registry,ref={registry}/beside-stages-{}:{baker:?}-{mode},mode={mode}",
            std::process::id()
        )
    };
    let rows = beside(&eleven_stages(), cache).await;
    only_rbakes_is_whole(&rows);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn four_targets_of_eleven_stages_share_a_cache_only_with_rbake() {
    eleven_stages_share_a_cache("max").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn four_targets_of_eleven_stages_share_a_minimal_cache_only_with_rbake() {
    eleven_stages_share_a_cache("min").await;
}

// A team does not switch all its machines at once.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn buildx_finds_all_steps_of_a_cache_that_rbake_exported() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let cache = format!(
        "type=registry,ref={registry}/beside-importers-{}:c,mode=max",
        std::process::id()
    );
    let shared = eleven_stages();
    let daemon = Buildkitd::start_with_images().await;
    shared.export(Baker::Rbake, &daemon, &cache);
    let built = shared.build_each_alone(Baker::Buildx, &daemon, &cache, ATTEMPTS);
    for (target, steps) in shared.targets.iter().zip(built.await) {
        assert_eq!(steps.executed, [""; 0], "{target}");
    }
}

// BuildKit v0.17 does not find all steps of a cache that v0.32 has written, also if it holds one target and buildx has
// exported it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_older_builder_finds_as_many_steps_in_a_shared_cache_as_in_one_of_its_own() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let cache = |name: &str| {
        format!(
            "type=registry,ref={registry}/beside-older-{}:{name},mode=max",
            std::process::id()
        )
    };
    let shared = eleven_stages();
    let newer = Buildkitd::start_with_images().await;
    shared.export(Baker::Rbake, &newer, &cache("shared"));
    let old = peers::program("RBAKE_TEST_BUILDKITD_OLD");
    let older = Buildkitd::start_program_with_images(&old).await;
    let all = cache("shared");
    let built = shared.build_each_alone(Baker::Rbake, &older, &all, ATTEMPTS);
    for (target, steps) in shared.targets.iter().zip(built.await) {
        let one = Shared {
            targets: std::slice::from_ref(target),
            ..eleven_stages()
        };
        let own = cache(target);
        empty(&newer).await;
        one.export(Baker::Buildx, &newer, &own);
        let alone = one.build_each_alone(Baker::Rbake, &older, &own, ATTEMPTS);
        assert_eq!(steps, alone.await[0], "{target}");
        assert!(steps.cached.len() >= steps.executed.len(), "{steps:?}");
    }
}
