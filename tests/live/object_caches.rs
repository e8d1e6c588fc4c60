//! What holds for caches in S3 and in Azure Blob Storage.

use crate::support::bakers::{Baker, Bakers};
use crate::support::buildkitd::Buildkitd;
use crate::support::project::{CommandOutput, TestProject};
use crate::support::steps::BuildSteps;

use super::cache::{each_target_is_cached_alone, four_targets, succeeds};
use super::salvage;

/// A storage. Its caches are in a place of their own for each test.
#[derive(Clone, Copy)]
pub(super) struct Storage {
    /// The attributes of a cache with these more.
    pub(super) cache: fn(&str) -> String,
    /// Adds what the programs need to write there.
    pub(super) with_keys: fn(TestProject) -> TestProject,
}

/// Two stages, of which the result has only the second one's files.
const TWO_STAGES: &str = "FROM busybox AS b
RUN date +%N > /stamp
FROM busybox
COPY --from=b /stamp /stamp
RUN date +%N > /other
";

pub(super) fn project(definition: &str) -> TestProject {
    TestProject::new()
        .file("Dockerfile", TWO_STAGES)
        .file("docker-bake.hcl", definition)
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
}

impl Storage {
    fn unique(self, name: &str, more: &str) -> String {
        (self.cache)(&format!("name={name}-{}{more}", std::process::id()))
    }

    /// A target whose cache is exported with `more`.
    fn one_target(self, name: &str, more: &str) -> TestProject {
        let (from, to) = (self.unique(name, ""), self.unique(name, more));
        (self.with_keys)(project(&format!(
            "target \"default\" {{\n  output = [\"type=cacheonly\"]\n  cache-from = [\"{from}\"]\n  cache-to = [\"{to}\"]\n}}\n"
        )))
    }
}

/// The steps of a build with one of the programs on a builder that has nothing.
async fn on_an_empty_builder(baker: Baker, project: &TestProject, words: &[&str]) -> BuildSteps {
    let daemon = Buildkitd::start_with_images().await;
    let bakers = Bakers::on(&daemon.endpoint().to_string());
    let words = [&["--progress=rawjson"], words].concat();
    let output = bakers.bake(baker, project, &words);
    assert_eq!(output.code, Some(0), "{baker:?}: {output}");
    let steps = BuildSteps::of(&output);
    assert_eq!(steps.len(), 3, "{baker:?}: {output}");
    steps
}

/// What one program has exported, the other finds: all steps with `mode=max`, and with `mode=min` as well, because
/// nothing has changed.
pub(super) async fn each_program_finds_the_steps_of_the_other(storage: Storage) {
    for mode in ["max", "min"] {
        for (writer, reader) in [(Baker::Rbake, Baker::Buildx), (Baker::Buildx, Baker::Rbake)] {
            let name = format!("{writer:?}-{mode}").to_lowercase();
            let project = storage.one_target(&name, &format!(",mode={mode}"));
            let steps = on_an_empty_builder(writer, &project, &[]).await;
            assert_eq!(steps.executed.len(), 3, "{steps:?}");
            let words = ["--set", "*.cache-to="];
            let steps = on_an_empty_builder(reader, &project, &words).await;
            assert_eq!(steps.executed, [""; 0], "{writer:?} {mode}");
        }
    }
}

/// One name holds the steps of four targets.
pub(super) async fn one_name_serves_four_targets(storage: Storage) {
    let cache = storage.unique("shared", "");
    each_target_is_cached_alone((storage.with_keys)(four_targets(&cache, &cache))).await;
}

/// Of targets that share only one of their names, that name holds both, and each other name its own.
pub(super) async fn a_shared_name_holds_both_targets_and_each_other_name_its_own(storage: Storage) {
    let target = |name: &str| {
        let id = std::process::id();
        let to = (storage.cache)(&format!("name=main-{id};{name}-{id},mode=max"));
        format!(
            "target \"{name}\" {{\n  dockerfile-inline = \"FROM busybox\\nRUN date +%N > /{name}\\n\"\n  output = [\"type=cacheonly\"]\n  cache-to = [\"{to}\"]\n}}\n"
        )
    };
    let group = "group \"default\" {\n  targets = [\"a\", \"b\"]\n}\n";
    let project = (storage.with_keys)(project(&[group, &target("a"), &target("b")].concat()));
    let first = Buildkitd::start_with_images().await;
    let project = project.env("BUILDKIT_HOST", first.endpoint());
    let output = succeeds(project.rbake(&[]));
    assert!(!output.stderr.contains("shared-cache"), "{output}");
    assert!(output.stderr.contains("steps of 2 targets"), "{output}");
    let second = Buildkitd::start_with_images().await;
    let mut project = project.env("BUILDKIT_HOST", second.endpoint());
    for (target, name, cached) in [
        ("a", "main", "1/1 cached"),
        ("b", "main", "1/1 cached"),
        ("a", "b", "0/1 cached"),
    ] {
        let empty = Buildkitd::start_with_images().await;
        project = project.env("BUILDKIT_HOST", empty.endpoint());
        let from = storage.unique(name, "");
        let words = [
            target,
            "--set",
            &format!("*.cache-from={from}"),
            "--set",
            "*.cache-to=",
        ];
        let output = succeeds(project.rbake(&words));
        assert!(output.stderr.contains(cached), "{target} {name}: {output}");
    }
}

/// The steps of a target that failed are exported as well. `shown` is what rbake calls the place before the name.
pub(super) async fn the_finished_steps_of_a_failed_target_are_kept(storage: Storage, shown: &str) {
    let cache = storage.unique("failed", "");
    let project = (storage.with_keys)(salvage::one_target(&cache, &cache));
    let place = format!("{shown}failed-{}", std::process::id());
    salvage::only_the_mended_step_runs(project, &place).await;
}

/// Builds with a cache that cannot be written, first as an error and then as a warning, and returns both outputs.
pub(super) async fn an_export_that_fails_does_not_fail_the_image(
    project: impl Fn(&str) -> TestProject,
) -> [CommandOutput; 2] {
    let builder = Buildkitd::start_with_images().await;
    let bake = |more: &str, code: i32, severity: &str| {
        let project = project(more).env("BUILDKIT_HOST", builder.endpoint());
        let output = project.rbake(&[]);
        assert_eq!(output.code, Some(code), "{output}");
        let words = format!("{severity}[run::cache-export]: cannot export the cache of `default`");
        assert!(output.stderr.contains(&words), "{output}");
        assert!(output.stderr.contains("1 target built"), "{output}");
        output
    };
    [
        bake("", 1, "error"),
        bake(",ignore-error=true", 0, "warning"),
    ]
}
