//! Caches whose list of steps is larger than BuildKit imports.

use std::fmt::Write as _;

use crate::support::bakers::{Baker, Bakers};
use crate::support::buildkitd::Buildkitd;
use crate::support::distribution::RegistryContents;
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};
use crate::support::steps::BuildSteps;

const SOURCES: usize = 100;
const TARGETS: usize = 13;
const STEPS: usize = 10;
const IMPORT_LIMIT: u64 = 1 << 20;

/// Targets whose steps each read from many small stages, as in a repository with many packages. Such a step needs the
/// records of all of them.
fn project(from: &str, to: &str) -> TestProject {
    let mut dockerfile = String::new();
    let mut mounts = String::new();
    let mut files = TestProject::new().env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1");
    for source in 0..SOURCES {
        files = files.file(&format!("f{source}"), format!("{source}"));
        writeln!(dockerfile, "FROM scratch AS m{source}\nCOPY f{source} /f").unwrap();
        write!(
            mounts,
            "--mount=type=bind,from=m{source},target=/m/{source} "
        )
        .unwrap();
    }
    let mut definition = String::new();
    let mut names = Vec::new();
    for target in 0..TARGETS {
        writeln!(dockerfile, "FROM busybox AS t{target}").unwrap();
        for step in 0..STEPS {
            writeln!(dockerfile, "RUN {mounts} echo {target} {step} > /x{step}").unwrap();
        }
        names.push(format!("t{target}"));
        writeln!(
            definition,
            "target \"t{target}\" {{\n  target = \"t{target}\"\n  cache-from = [\"{from}\"]\n  cache-to = [\"{to},mode=max\"]\n}}"
        )
        .unwrap();
    }
    writeln!(
        definition,
        "group \"default\" {{\n  targets = {names:?}\n}}"
    )
    .unwrap();
    files
        .file("Dockerfile", dockerfile)
        .file("docker-bake.hcl", definition)
}

/// The steps that were executed, and the number of those that were found in the cache.
fn steps(output: &CommandOutput) -> (Vec<&str>, usize) {
    let steps = output.stderr.lines();
    let steps = steps.filter(|line| line.contains("] RUN ") || line.contains("] COPY "));
    let (cached, other): (Vec<_>, Vec<_>) = steps.partition(|line| line.contains("CACHED"));
    let ran = other
        .into_iter()
        .filter(|line| line.contains("DONE"))
        .collect();
    (ran, cached.len())
}

/// Builds all targets, and then `targets`, one after the other, on an empty builder.
async fn every_step_is_cached(
    project: TestProject,
    targets: std::ops::Range<usize>,
) -> TestProject {
    let first = Buildkitd::start_with_images().await;
    let project = project.env("BUILDKIT_HOST", first.endpoint());
    let output = project.rbake(&[]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(!output.stderr.contains("run::cache"), "{output}");
    drop(first);
    let mut project = project;
    let mut ran = Vec::new();
    // See `each_target_is_cached_alone`.
    for _ in 0..2 {
        let empty = Buildkitd::start_with_images().await;
        project = project.env("BUILDKIT_HOST", empty.endpoint());
        ran.clear();
        for target in targets.clone() {
            let output = project.rbake(&[&format!("t{target}"), "--set", "*.cache-to="]);
            assert_eq!(output.code, Some(0), "{output}");
            let (executed, cached) = steps(&output);
            assert_eq!(executed.len() + cached, STEPS + SOURCES, "{output}");
            ran.extend(executed.into_iter().map(str::to_owned));
        }
        if ran.is_empty() {
            break;
        }
    }
    assert_eq!(ran, [""; 0]);
    project
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_large_cache_in_a_registry_is_split_and_every_step_is_imported() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let name = format!("large-{}", std::process::id());
    let cache = format!("type=registry,ref={registry}/{name}:c");
    let project = project(&cache, &cache);
    let project = every_step_is_cached(project, 0..TARGETS).await;
    let contents = RegistryContents::of(&registry);
    assert_eq!(contents.tags(&name).await, ["c", "c.part-2"]);
    let first = contents.json(&name, "c").await.unwrap();
    let second = contents.json(&name, "c.part-2").await.unwrap();
    let size = |manifest: &serde_json::Value| manifest["config"]["size"].as_u64().unwrap();
    let sizes = [size(&first), size(&second)];
    eprintln!("parts of {sizes:?} bytes");
    assert!(sizes.iter().all(|size| *size <= IMPORT_LIMIT), "{sizes:?}");
    assert!(sizes.iter().sum::<u64>() > IMPORT_LIMIT, "{sizes:?}");
    let digest = contents.digest(&name, "c.part-2").await.unwrap();
    let listed = &first["annotations"]["vnd.rbake.cache.parts"];
    assert_eq!(listed, &format!("c.part-2@{digest}"));
    assert_eq!(second["annotations"]["vnd.rbake.cache.part-of"], "c");
    contents.assert_whole(&name, "c").await;
    contents.assert_whole(&name, "c.part-2").await;
    buildx_imports_the_first_part(&project).await;
}

/// buildx knows nothing of the parts: it finds all steps of a target in the first one, and none of a target in another. Of a
/// cache that is not split, it would find no step.
async fn buildx_imports_the_first_part(project: &TestProject) {
    let (mut whole, mut missing) = (Vec::new(), Vec::new());
    for target in 0..TARGETS {
        let empty = Buildkitd::start_with_images().await;
        let bakers = Bakers::on(&empty.endpoint().to_string());
        let target = format!("t{target}");
        let words = [&target, "--progress=rawjson", "--set", "*.cache-to="];
        let output = bakers.bake(Baker::Buildx, project, &words);
        assert_eq!(output.code, Some(0), "{output}");
        let steps = BuildSteps::of(&output);
        if steps.executed.is_empty() {
            whole.push(target);
        } else {
            missing.push(target);
        }
        if !whole.is_empty() && !missing.is_empty() {
            return;
        }
    }
    panic!("buildx found all steps of {whole:?}, and not of {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_large_cache_in_a_directory_is_split_and_every_step_is_imported() {
    let project = project("type=local,src=cache", "type=local,dest=cache");
    let _ = every_step_is_cached(project, 0..2).await;
}
