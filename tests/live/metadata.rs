//! The metadata file, beside that of buildx, and the notes by which `buildx history` finds a build.

use std::fs;
use std::process::Command;

use base64::Engine as _;
use rbake::types::Digest;
use serde_json::{Map, Value};

use crate::support::bakers::{Baker, Bakers};
use crate::support::peers;
use crate::support::predicates;
use crate::support::project::TestProject;

const DEFINITION: &str = r#"
variable "OUT" { default = "type=image" }

target "image" {
  args   = { SOURCE_DATE_EPOCH = "0", A = "1" }
  tags   = ["example.com/metadata:1"]
  output = [OUT]
}

target "both" {
  inherits  = ["image"]
  platforms = ["linux/amd64", "linux/arm64"]
}

target "files" {
  dockerfile-inline = "FROM scratch\nCOPY file /\n"
  output            = ["type=local,dest=out"]
}

target "cached" {
  output = ["type=cacheonly"]
  attest = ["type=provenance,disabled=true"]
}

target "warned" {
  matrix            = { item = ["one", "two"] }
  name              = "warned-${item}"
  dockerfile-inline = "FROM scratch as x\nCOPY file /\nmaintainer me\n"
  output            = ["type=cacheonly"]
}
"#;

fn project(bakers: &Bakers) -> TestProject {
    TestProject::new()
        .file("docker-bake.hcl", DEFINITION)
        .file("Dockerfile", "FROM scratch\nARG A\nCOPY file /\nENV A=$A\n")
        .file("file", "content")
        .env("BUILDX_CONFIG", bakers.buildx_dir().display())
}

// The metadata of a bake of `words` by one of the programs, both on buildx's builder `test`.
fn metadata(bakers: &Bakers, baker: Baker, project: &TestProject, words: &str) -> Value {
    let mut line = vec!["--builder", "test", "--metadata-file", "md.json"];
    line.extend(words.split(' '));
    let output = bakers.bake(baker, project, &line);
    assert_eq!(output.code, Some(0), "{output}");
    let text = fs::read_to_string(project.path().join("md.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

// Replaces what differs from run to run.
fn normalized(value: &mut Value) {
    predicates::normalize(value);
    for target in value.as_object_mut().unwrap().values_mut() {
        if let Some(Value::String(text)) = target.get_mut("buildx.build.ref") {
            let (node, _) = text.rsplit_once('/').unwrap();
            *text = format!("{node}/ref");
        }
    }
}

#[test]
#[ignore = "needs live peers"]
fn metadata_files_are_equal_in_keys_and_meaning() {
    let bakers = Bakers::on_the_shared_daemon();
    for (mode, words) in [
        ("", "image both files cached"),
        ("min", "image"),
        ("max", "image both"),
        ("disabled", "image files"),
        ("false", "both"),
    ] {
        let [rbake, buildx] = Baker::ALL.map(|baker| {
            let project = project(&bakers).env("BUILDX_METADATA_PROVENANCE", mode);
            let mut document = metadata(&bakers, baker, &project, words);
            let configs = document.clone();
            normalized(&mut document);
            (document, configs)
        });
        // Equal images have equal configurations.
        let config = |document: &Value| document["image"]["containerimage.config.digest"].clone();
        assert_eq!(config(&rbake.1), config(&buildx.1), "{mode}");
        for (target, expected) in buildx.0.as_object().unwrap() {
            let found = rbake.0[target].as_object().unwrap();
            for (key, value) in expected.as_object().unwrap() {
                assert_eq!(found.get(key), Some(value), "{mode} {target} {key}");
            }
            let keys = |fields: &Map<String, Value>| fields.keys().cloned().collect::<Vec<_>>();
            assert_eq!(
                keys(found),
                keys(expected.as_object().unwrap()),
                "{mode} {target}"
            );
        }
        let has_provenance = rbake.0.to_string().contains("\"buildx.build.provenance");
        assert_eq!(
            has_provenance,
            !matches!(mode, "disabled" | "false"),
            "{mode}"
        );
    }
}

/// The descriptor of the cache's manifest in the metadata of `target`, if it is there.
fn cache_manifest(document: &Value, target: &str) -> Option<Value> {
    let text = document[target].get("cache.manifest")?.as_str().unwrap();
    Some(serde_json::from_str(text).unwrap())
}

fn stored_manifest(reference: &str) -> Vec<u8> {
    let crane = peers::program("RBAKE_TEST_CRANE");
    let words = ["manifest", "--insecure", reference];
    let output = Command::new(crane).args(words).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
#[ignore = "needs live peers"]
fn the_manifests_of_caches_are_in_the_metadata() {
    let bakers = Bakers::on_the_shared_daemon();
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    for baker in Baker::ALL {
        let repository = format!("{registry}/metadata-cache/{baker:?}-{}", std::process::id());
        let repository = repository.to_lowercase();
        let target = |name: &str, more: &str| {
            format!(
                "target \"{name}\" {{\n  dockerfile-inline = \"FROM busybox\\nRUN echo {name} {baker:?} >/a\\n\"\n  output = [\"type=image\"]\n{more}\n}}\n"
            )
        };
        let definition = [
            target("files", "  cache-to = [\"type=local,dest=c\"]"),
            target(
                "registry",
                &format!("  cache-to = [\"type=registry,ref={repository}:a,mode=max\"]"),
            ),
            target("inline", "  cache-to = [\"type=inline\"]"),
            target("none", ""),
        ];
        let project = TestProject::new()
            .file("docker-bake.hcl", definition.concat())
            .env("BUILDX_CONFIG", bakers.buildx_dir().display());
        // The second run finds its cache in the registry.
        for _ in 0..2 {
            let document = metadata(&bakers, baker, &project, "files registry inline none");
            let index = fs::read_to_string(project.path().join("c/index.json")).unwrap();
            let index: Value = serde_json::from_str(&index).unwrap();
            let found = cache_manifest(&document, "files").unwrap();
            for key in ["digest", "size", "mediaType"] {
                assert_eq!(found[key], index["manifests"][0][key], "{baker:?} {key}");
            }
            let found = cache_manifest(&document, "registry").unwrap();
            let there = stored_manifest(&format!("{repository}:a"));
            let digest = Digest::sha256(&there);
            assert_eq!(found["digest"], digest.as_str(), "{baker:?}");
            assert_eq!(found["size"], there.len(), "{baker:?}");
            for target in ["inline", "none"] {
                assert_eq!(
                    cache_manifest(&document, target),
                    None,
                    "{baker:?} {target}"
                );
            }
        }
    }
}

// The texts of the warnings of a document, with their files and lines, sorted.
fn warnings(document: &Value) -> Vec<String> {
    let list = document["buildx.build.warnings"].as_array().cloned();
    let mut texts: Vec<String> = list
        .unwrap_or_default()
        .iter()
        .map(|warning| {
            let short = warning["short"].as_str().unwrap();
            let short = base64::prelude::BASE64_STANDARD.decode(short).unwrap();
            let short = String::from_utf8(short).unwrap();
            format!("{short} {} {}", warning["url"], warning["range"])
        })
        .collect();
    texts.sort();
    texts
}

#[test]
#[ignore = "needs live peers"]
fn warnings_are_in_the_metadata_on_request_and_once() {
    let bakers = Bakers::on_the_shared_daemon();
    for (value, count) in [("1", 3), ("true", 3), ("0", 0), ("maybe", 0), ("", 0)] {
        let [rbake, buildx] = Baker::ALL.map(|baker| {
            let project = project(&bakers).env("BUILDX_METADATA_WARNINGS", value);
            warnings(&metadata(&bakers, baker, &project, "warned"))
        });
        assert_eq!(rbake, buildx, "{value}");
        assert_eq!(rbake.len(), count, "{value}: {rbake:?}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn buildx_finds_the_builds_of_rbake_in_its_history() {
    let bakers = Bakers::on_the_shared_daemon();
    let shown = Baker::ALL.map(|baker| {
        let project = project(&bakers);
        let document = metadata(&bakers, baker, &project, "image files");
        ["image", "files"].map(|target| {
            let build_ref = document[target]["buildx.build.ref"].as_str().unwrap();
            let note = bakers.buildx_dir().join("refs").join(build_ref);
            let note: Value = serde_json::from_slice(&fs::read(note).unwrap()).unwrap();
            let group = note["GroupRef"].as_str().unwrap();
            let group = bakers.buildx_dir().join("refs/__group__").join(group);
            let group: Value = serde_json::from_slice(&fs::read(group).unwrap()).unwrap();
            let (_, id) = build_ref.rsplit_once('/').unwrap();
            assert!(group["Refs"].as_array().unwrap().contains(&Value::from(id)));
            assert_eq!(group["Targets"], serde_json::json!(["image", "files"]));
            let words = [
                "history",
                "inspect",
                "--builder",
                "test",
                "--format",
                "json",
                id,
            ];
            let output = bakers.buildx(&project, &words);
            assert_eq!(output.code, Some(0), "{output}");
            let inspected: Value = serde_json::from_str(&output.stdout).unwrap();
            let place = project.path().display().to_string();
            let field = |key: &str| inspected[key].to_string().replace(&place, "[project]");
            let noted = |key: &str| note[key].to_string().replace(&place, "[project]");
            let facts = [
                field("Name"),
                field("Context"),
                field("Dockerfile"),
                field("Status"),
            ];
            (
                facts,
                [noted("Target"), noted("LocalPath"), noted("DockerfilePath")],
            )
        })
    });
    assert_eq!(shown[0], shown[1]);
    assert!(shown[0][0].1[1].contains("[project]"), "{shown:?}");
}

// A folder that cannot be written is not a reason to fail.
#[test]
#[ignore = "needs live peers"]
fn a_folder_of_buildx_that_cannot_be_written_does_no_harm() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = project(&bakers);
    fs::write(bakers.buildx_dir().join("refs"), "not a folder").unwrap();
    let document = metadata(&bakers, Baker::Rbake, &project, "image");
    assert!(document["image"]["buildx.build.ref"].is_string());
}
