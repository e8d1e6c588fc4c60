//! What `rbake --push` has published, with its attestations, caches and records.

use serde_json::Value;
use test_case::test_case;

use super::site::{assert_done, run_of};
use crate::support::distribution::{DistributionRegistry, Version};
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

const IMAGES: [&str; 2] = ["site/web", "site/api"];
const CACHE: &str = "site/cache";

fn project(address: &str) -> TestProject {
    let bake = format!(
        r#"
        variable "SHA" {{ default = "none" }}
        variable "REF" {{ default = "main" }}
        group "default" {{ targets = ["web", "api"] }}
        target "web" {{
          dockerfile-inline = "FROM scratch\nCOPY hello /web\nCOPY hello /more"
          tags = ["{address}/site/web:sha-${{SHA}}", "{address}/site/web:latest"]
          cache-to = ["type=registry,ref={address}/site/cache:${{REF}},mode=max"]
        }}
        target "api" {{
          dockerfile-inline = "FROM scratch\nCOPY hello /api"
          tags = ["{address}/site/api:sha-${{SHA}}", "{address}/site/api:latest"]
          cache-to = ["type=registry,ref={address}/site/cache:${{REF}},mode=max"]
        }}
        "#
    );
    let project = TestProject::new()
        .file("docker-bake.hcl", bake)
        .file(".gitignore", "")
        .env("BUILDKIT_HOST", peers::peer("RBAKE_TEST_BUILDKIT_ADDR"));
    git(&project, &["init", "-q", "-b", "main"]);
    project
}

fn git(project: &TestProject, words: &[&str]) -> String {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
    let words = [&identity, words].concat();
    let mut command = project.program(std::path::Path::new("git"), &words);
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Commits `content` and builds it. Returns the tag of the commit.
fn build(project: &TestProject, content: &str, words: &[&str], ci: &[(&str, &str)]) -> String {
    std::fs::write(project.path().join("hello"), content).unwrap();
    git(project, &["add", "."]);
    git(project, &["commit", "-q", "-m", content]);
    let commit = git(project, &["rev-parse", "--short=12", "HEAD"]);
    let sha = format!("SHA={commit}");
    let words = [&["--progress=plain", "--var", &sha], words].concat();
    let mut command = project.command(&words);
    command.envs(ci.iter().copied());
    let output = project.read(&command.output().unwrap());
    assert_eq!(output.code, Some(0), "{output}");
    format!("sha-{commit}")
}

#[track_caller]
fn succeeds(output: CommandOutput) -> CommandOutput {
    assert_eq!(output.code, Some(0), "{output}");
    output
}

/// Shows the plan, carries it out, and returns it with the output.
fn prune(project: &TestProject, words: &[&str]) -> (Value, CommandOutput) {
    let words = [&["prune"], words].concat();
    let shown = succeeds(project.rbake(&[words.as_slice(), &["--json"]].concat()));
    let plan = serde_json::from_str(&shown.stdout).unwrap();
    let made = succeeds(project.rbake(&[words.as_slice(), &["--yes"]].concat()));
    (plan, made)
}

#[test_case(Version::V2; "distribution 2")]
#[test_case(Version::V3; "distribution 3")]
#[ignore = "needs live peers"]
#[tokio::test]
async fn releases_caches_and_records_that_stay_are_whole_after_the_garbage_collection(
    version: Version,
) {
    let registry = DistributionRegistry::start(version);
    let contents = registry.contents();
    let project = project(&registry.address);
    let main = [
        ("GITHUB_REF", "refs/heads/main"),
        ("GITHUB_REF_NAME", "main"),
    ];
    let tags: Vec<String> = (1..=5)
        .map(|number| build(&project, &format!("release {number}"), &["--push"], &main))
        .collect();
    for number in 1..=3 {
        let reference = format!("refs/pull/{number}/merge");
        let name = format!("{number}/merge");
        let ci = [
            ("GITHUB_REF", reference.as_str()),
            ("GITHUB_REF_NAME", &name),
        ];
        let cache = format!("REF=pr-{number}");
        build(
            &project,
            &format!("change {number}"),
            &["--var", &cache],
            &ci,
        );
    }
    assert_eq!(contents.tags(CACHE).await, ["main", "pr-1", "pr-2", "pr-3"]);
    let index = contents.json(IMAGES[0], &tags[0]).await.unwrap();
    assert!(
        index.to_string().contains("attestation-manifest"),
        "{index}"
    );

    // The repositories are those of the definition.
    let rules = [
        "images",
        "--keep-newest",
        "sha-*=2",
        "--keep-runs",
        "2",
        "--keep-runs-for",
        "0s",
        "--grace",
        "0s",
        "--max-delete",
        "100",
    ];
    let (images, made) = prune(&project, &rules);
    let rules = [
        "cache",
        "--keep-pull-requests",
        "1",
        "--grace",
        "0s",
        "--max-delete",
        "100",
    ];
    let (caches, _) = prune(&project, &rules);
    registry.collect_garbage();

    for plan in images["repositories"].as_array().unwrap() {
        let repository = plan["repository"].as_str().unwrap();
        let (_, repository) = repository.split_once('/').unwrap();
        assert_done(&contents, repository, plan).await;
    }
    assert_eq!(images["repositories"].as_array().unwrap().len(), 2);
    for image in IMAGES {
        let left = contents.tags(image).await;
        let names: Vec<&String> = left
            .iter()
            .filter(|tag| !tag.starts_with("rbake-"))
            .collect();
        let mut expected = vec!["latest", &tags[3], &tags[4]];
        expected.sort_unstable();
        assert_eq!(names, expected, "{made}");
        assert_eq!(left.len(), names.len() + 2, "{left:?}");
    }
    assert_done(&contents, CACHE, &caches["repositories"][0]).await;
    assert_eq!(contents.tags(CACHE).await, ["main", "pr-3"]);

    // A record that stays can still be taken back.
    let run = project.rbake(&["releases", "--json"]);
    let runs: Value = serde_json::from_str(&run.stdout).unwrap();
    let newest = runs[0]["run"].as_str().unwrap();
    let before = contents.digest(IMAGES[0], &tags[3]).await;
    let undone = project.rbake(&["undo", newest, "--yes"]);
    assert_eq!(undone.code, Some(0), "{undone}");
    assert_eq!(contents.digest(IMAGES[0], "latest").await, before);
    contents.assert_whole(IMAGES[0], "latest").await;
    assert!(!run_of(&made).is_empty());
}
