//! Labels, annotations and attestations of images that rbake pushes, beside those of images that buildx pushes.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::bakers::{Baker, Bakers};
use crate::support::distribution::RegistryContents;
use crate::support::project::{CommandOutput, TestProject};
use crate::support::{peers, predicates};

const ANNOTATIONS: &str = r#"annotations = ["index:a=1", "index-descriptor:b=2", "manifest:c=3", "manifest-descriptor:d=4", "manifest[linux/arm64]:e=5", "index,manifest:f=6"]"#;

fn project(attributes: &str) -> TestProject {
    let args = if attributes.contains("args = ") {
        ""
    } else {
        "args = { SOURCE_DATE_EPOCH = \"0\" }"
    };
    let definition = format!(
        "variable \"NAME\" {{}}\ntarget \"default\" {{\n  tags = [NAME]\n  output = [\"type=registry\"]\n  {args}\n{attributes}\n}}\n"
    );
    TestProject::new()
        .file("docker-bake.hcl", definition)
        .file(
            "Dockerfile",
            "FROM scratch AS base\nCOPY file /\nFROM base\nCOPY file /again\n",
        )
        .file("file", "content")
}

// Bakes `project` with both programs, each into its own repository below `name`. Returns what the registry then has.
async fn pushed(
    name: &str,
    words: &[&str],
    project: impl Fn() -> TestProject,
) -> [(Value, CommandOutput); 2] {
    let (bakers, address) = (
        Bakers::on_the_shared_daemon(),
        peers::peer("RBAKE_TEST_REGISTRY_ADDR"),
    );
    let contents = RegistryContents::of(&address);
    let mut found = Vec::new();
    for baker in Baker::ALL {
        let program = format!("{baker:?}").to_lowercase();
        let repository = format!("attestations/{name}-{program}");
        let project = project().env("NAME", format!("{address}/{repository}:1"));
        let output = bakers.bake(baker, &project, words);
        assert_eq!(output.code, Some(0), "{name} {output}");
        let mut image = described(&contents, &repository, "1").await;
        // rbake notes the commit that it publishes on the index (docs/publishing.md).
        let top = image.as_object_mut().unwrap();
        if let Some(Value::Object(annotations)) = top.get_mut("annotations") {
            annotations.shift_remove("org.opencontainers.image.revision");
            if annotations.is_empty() {
                top.shift_remove("annotations");
            }
        }
        let text = image.to_string().replace(&repository, "repository");
        found.push((serde_json::from_str(&text).unwrap(), output));
    }
    found.try_into().unwrap_or_else(|_| unreachable!())
}

// The manifests, configurations and statements of an image, without what differs from build to build.
pub(super) async fn described(contents: &RegistryContents, repository: &str, name: &str) -> Value {
    let mut manifest = contents.json(repository, name).await.expect("a manifest");
    if let Some(config) = manifest["config"]["digest"].as_str() {
        let config = contents.json_blob(repository, config).await.unwrap();
        manifest["config"] = json!({"config": config["config"], "history": config["history"]});
    }
    if let Some(layers) = manifest["layers"].as_array_mut() {
        for layer in layers {
            let digest = layer["digest"].as_str().unwrap().to_owned();
            if layer["mediaType"] == "application/vnd.in-toto+json" {
                layer["statement"] = contents.json_blob(repository, &digest).await.unwrap();
                layer["statement"]["subject"]
                    .as_array_mut()
                    .unwrap()
                    .retain(|subject| {
                        // The digest of an image that has attestations depends on them.
                        subject["name"].is_string()
                    });
                for subject in layer["statement"]["subject"].as_array_mut().unwrap() {
                    subject["digest"].take();
                }
            }
        }
    }
    if let Some(children) = manifest["manifests"].as_array_mut() {
        for child in children {
            let digest = child["digest"].as_str().unwrap().to_owned();
            child["content"] = Box::pin(described(contents, repository, &digest)).await;
        }
    }
    predicates::normalize(&mut manifest);
    manifest
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn images_have_the_annotations_and_attestations_of_buildx() {
    let annotated = format!("platforms = [\"linux/amd64\", \"linux/arm64\"]\n{ANNOTATIONS}");
    let cases: [(&str, &str, &[&str], &[&str]); 9] = [
        ("plain", "", &[], &["https://slsa.dev/provenance/"]),
        (
            "none",
            "attest = [\"type=provenance,disabled=true\"]",
            &[],
            &[],
        ),
        (
            "annotated",
            &annotated,
            &[],
            &[
                "\"a\":\"1\"",
                "\"c\":\"3\"",
                "\"d\":\"4\"",
                "\"e\":\"5\"",
                "\"f\":\"6\"",
            ],
        ),
        (
            "min",
            "attest = [\"type=provenance,mode=min\"]",
            &[],
            &["https://slsa.dev/provenance/"],
        ),
        (
            "max",
            "attest = [\"type=provenance,mode=max\"]",
            &[],
            &["llbDefinition"],
        ),
        (
            "old",
            "attest = [\"type=provenance,mode=max,version=v0.2\"]",
            &[],
            &["https://slsa.dev/provenance/v0.2"],
        ),
        (
            "sbom",
            "attest = [\"type=sbom\"]",
            &[],
            &["https://spdx.dev/Document", "./again"],
        ),
        (
            "scanner",
            "attest = [\"type=sbom,generator=docker/buildkit-syft-scanner:latest\"]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]",
            &[],
            &["https://spdx.dev/Document"],
        ),
        (
            "flags",
            "",
            &["--sbom=true", "--provenance=mode=max"],
            &["https://spdx.dev/Document", "llbDefinition"],
        ),
    ];
    for (name, attributes, words, expected) in cases {
        let [rbake, buildx] = pushed(name, words, || project(attributes)).await;
        assert_eq!(rbake.0, buildx.0, "{name}\n{}", rbake.1);
        let text = rbake.0.to_string();
        for part in expected {
            assert!(text.contains(part), "{name} lacks {part}: {text}");
        }
        let has_attestations = text.contains("application/vnd.in-toto+json");
        assert_eq!(has_attestations, name != "none", "{name}: {text}");
    }
}

fn git(dir: &Path, words: &[&str]) {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir);
    command.args(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
    let status = command.args(words).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "git {words:?}");
}

// A repository with one commit, whose context is in a directory of its own.
fn repository(attributes: &str, remote: &str) -> TestProject {
    let project = project(attributes);
    let dir = project.path();
    git(&dir, &["init", "-q"]);
    git(&dir, &["add", "."]);
    let date = "2020-01-01T00:00:00Z";
    let mut commit = Command::new("git");
    commit
        .arg("-C")
        .arg(&dir)
        .args(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
    commit.args(["commit", "-q", "-m", "x"]);
    commit
        .env("GIT_AUTHOR_DATE", date)
        .env("GIT_COMMITTER_DATE", date);
    assert!(commit.status().unwrap().success());
    if !remote.is_empty() {
        git(&dir, &["remote", "add", "origin", remote]);
    }
    project
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn labels_and_facts_of_git_are_those_of_buildx() {
    const REMOTE: &str = "https://user:secret@example.com/r.git";
    type Variables = &'static [(&'static str, &'static str)];
    const LABEL: (&str, &str) = ("BUILDX_GIT_LABELS", "1");
    const LABELS: Variables = &[LABEL];
    const DIRTY: (&str, &str) = ("BUILDX_GIT_CHECK_DIRTY", "true");
    let own = "labels = { \"org.opencontainers.image.revision\" = \"own\", other = \"kept\" }";
    let inline = "dockerfile-inline = \"FROM scratch\\nCOPY file /\\n\"";
    let cases: [(&str, &str, &str, Variables, usize); 12] = [
        ("nothing", "", REMOTE, &[], 0),
        ("labels", "", REMOTE, LABELS, 3),
        ("full", "", REMOTE, &[("BUILDX_GIT_LABELS", "full")], 3),
        ("false", "", REMOTE, &[("BUILDX_GIT_LABELS", "0")], 0),
        ("strange", "", REMOTE, &[("BUILDX_GIT_LABELS", "yes")], 0),
        (
            "only-labels",
            "",
            REMOTE,
            &[LABEL, ("BUILDX_GIT_INFO", "0")],
            3,
        ),
        ("no-info", "", REMOTE, &[("BUILDX_GIT_INFO", "false")], 0),
        ("dirty", "", REMOTE, &[LABEL, DIRTY], 3),
        ("only-dirty", "", REMOTE, &[DIRTY], 0),
        ("no-remote", "", "", LABELS, 2),
        ("own", own, REMOTE, LABELS, 4),
        ("inline", inline, REMOTE, LABELS, 3),
    ];
    for (name, attributes, remote, variables, count) in cases {
        let make = || {
            let mut project = repository(attributes, remote);
            if name.contains("dirty") {
                project = project.file("new", "untracked");
            }
            for (key, value) in variables {
                project = project.env(key, value);
            }
            project
        };
        let [rbake, buildx] =
            pushed(&format!("git-{name}"), &["--provenance=mode=min"], make).await;
        assert_eq!(rbake.0, buildx.0, "{name}\n{}", rbake.1);
        let image = &rbake.0["manifests"][0]["content"]["config"]["config"];
        let labels = image["Labels"].as_object().map_or(0, serde_json::Map::len);
        assert_eq!(labels, count, "{name}: {image}");
        let text = rbake.0.to_string();
        assert!(!text.contains("secret"), "{name}: {text}");
        assert_eq!(
            text.contains("-dirty\""),
            name.contains("dirty"),
            "{name}: {text}"
        );
    }
}

// What the Dockerfile frontend that was named made of the Dockerfile, as a step's name shows it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn frontends_that_are_images_build_what_they_build_with_buildx() {
    let cases: [(&str, &str, &str); 4] = [
        (
            "line",
            "# syntax=docker/dockerfile:1\nFROM scratch\nCOPY file /\n",
            "",
        ),
        (
            "argument",
            "FROM scratch\nCOPY file /\n",
            "args = { SOURCE_DATE_EPOCH = \"0\", BUILDKIT_SYNTAX = \"docker/dockerfile:1.7\" }",
        ),
        (
            "both",
            "# syntax=example.invalid/none:1\nFROM scratch\nCOPY file /\n",
            "args = { SOURCE_DATE_EPOCH = \"0\", BUILDKIT_SYNTAX = \"docker/dockerfile:1\" }",
        ),
        (
            "context",
            "# syntax=docker/dockerfile:1\nFROM scratch\nCOPY --from=more file /\n",
            "contexts = { more = \".\" }",
        ),
    ];
    for (name, dockerfile, attributes) in cases {
        let make = || project(attributes).file("Dockerfile", dockerfile);
        let [rbake, buildx] =
            pushed(&format!("syntax-{name}"), &["--provenance=mode=max"], make).await;
        assert_eq!(rbake.0, buildx.0, "{name}\n{}", rbake.1);
        assert!(
            rbake.0.to_string().contains("docker/dockerfile"),
            "{name}: {}",
            rbake.0
        );
    }
}

#[test]
#[ignore = "needs live peers"]
fn a_frontend_that_does_not_exist_is_named_in_the_error() {
    let bakers = Bakers::on_the_shared_daemon();
    for (dockerfile, attributes) in [
        ("# syntax=docker/nosuch:1\nFROM scratch\n", ""),
        (
            "FROM scratch\n",
            "args = { BUILDKIT_SYNTAX = \"docker/nosuch:1\" }",
        ),
    ] {
        for baker in Baker::ALL {
            let project = project(attributes)
                .file("Dockerfile", dockerfile)
                .env("NAME", "x.example/y");
            let words = ["--set", "*.output=type=cacheonly"];
            let output = bakers.bake(baker, &project, &words);
            assert_eq!(output.code, Some(1), "{output}");
            assert!(output.stderr.contains("docker/nosuch:1"), "{output}");
        }
    }
}
