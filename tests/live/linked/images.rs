//! What linked targets make, beside buildx on the same daemon.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use test_case::test_case;

use super::{Linked, assert_succeeds};
use crate::support::bakers::Baker;

/// An archive of an image, unpacked.
struct Archive {
    dir: PathBuf,
}

/// An image or an attestation manifest of an archive.
struct Part {
    config: Value,
    layers: Vec<String>,
}

impl Part {
    fn is_image(&self) -> bool {
        let architecture = self.config["architecture"].as_str();
        architecture.is_some_and(|architecture| architecture != "unknown")
    }
}

impl Archive {
    fn unpack(path: &Path) -> Self {
        let dir = path.with_extension("unpacked");
        std::fs::create_dir_all(&dir).unwrap();
        let tar = Command::new("tar")
            .arg("-xf")
            .arg(path)
            .arg("-C")
            .arg(&dir)
            .status();
        assert!(tar.unwrap().success(), "{}", path.display());
        Self { dir }
    }

    fn json(&self, digest: &Value) -> Value {
        let digest = digest.as_str().unwrap().replace(':', "/");
        let content = std::fs::read(self.dir.join("blobs").join(digest)).unwrap();
        serde_json::from_slice(&content).unwrap()
    }

    fn parts(&self) -> Vec<Part> {
        let index = std::fs::read(self.dir.join("index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let mut open = index["manifests"].as_array().unwrap().clone();
        let mut parts = Vec::new();
        while let Some(descriptor) = open.pop() {
            let manifest = self.json(&descriptor["digest"]);
            if let Some(more) = manifest["manifests"].as_array() {
                open.extend(more.iter().rev().cloned());
                continue;
            }
            let layers = manifest["layers"].as_array().unwrap().iter();
            parts.push(Part {
                config: self.json(&manifest["config"]["digest"]),
                layers: layers
                    .map(|layer| layer["digest"].as_str().unwrap().to_owned())
                    .collect(),
            });
        }
        parts
    }

    /// Each image: its configuration and its layers.
    fn images(&self) -> Vec<(Value, Vec<String>)> {
        let images = self.parts().into_iter();
        let images = images.filter(Part::is_image);
        images.map(|part| (part.config, part.layers)).collect()
    }

    /// The provenance of each image, without what differs in each run.
    fn provenances(&self) -> Vec<Value> {
        let parts = self.parts().into_iter();
        let attestations = parts.filter(|part| !part.is_image());
        attestations
            .flat_map(|part| part.layers)
            .map(|layer| comparable(&self.json(&json!(layer))["predicate"]))
            .collect()
    }
}

/// Removes ids, times, and what contains the ids of sessions.
fn comparable(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let differs = |key: &str| {
                // The key of a local context has the id of the machine, which each program keeps in its own directory.
                ["local-sessionid:", "sharedkey:"]
                    .iter()
                    .any(|start| key.starts_with(start))
                    || [
                        "digestMapping",
                        "finishedOn",
                        "invocationId",
                        "local.session",
                        "local.sharedkeyhint",
                        "resourceUsage",
                        "startedOn",
                        "sysUsage",
                    ]
                    .contains(&key)
            };
            let kept = fields.iter().filter(|(key, _)| !differs(key));
            kept.map(|(key, value)| (key.clone(), comparable(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(comparable).collect(),
        other => other.clone(),
    }
}

/// Removes the requests of inputs, at every depth.
fn without_inputs(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let is_request = fields.contains_key("frontend");
            let kept = fields
                .iter()
                .filter(|(key, _)| !is_request || *key != "inputs");
            kept.map(|(key, value)| (key.clone(), without_inputs(value)))
                .collect()
        }
        Value::Array(items) => items.iter().map(without_inputs).collect(),
        other => other.clone(),
    }
}

/// A chain of four, a diamond over it, results of a matrix, and two platforms. `base` and `left` are only used, and read the same
/// file: it is one step of the targets that use both.
const DEFINITION: &str = r#"
variable "MODE" { default = "min" }
variable "DIR" {}
group "default" { targets = ["mid", "right", "top", "on-one", "on-two", "both", "one-for-both"] }
target "_all" {
  attest = ["type=provenance,mode=${MODE}"]
  args   = { SOURCE_DATE_EPOCH = "0" }
}
target "base" {
  inherits          = ["_all"]
  dockerfile-inline = "FROM busybox\nSTAMP\nCOPY a /a\nENV X=1\nLABEL made=yes\nWORKDIR /w\n"
}
target "mid" {
  inherits          = ["_all"]
  contexts          = { base = "target:base" }
  dockerfile-inline = "FROM base\nRUN echo mid > mid\nCOPY b /b\n"
  output            = ["type=oci,dest=${DIR}/mid.tar"]
}
target "left" {
  inherits          = ["_all"]
  contexts          = { mid = "target:mid" }
  dockerfile-inline = "FROM mid\nCOPY a /of-left\nRUN cp /stamp /left\n"
}
target "right" {
  inherits          = ["_all"]
  contexts          = { mid = "target:mid", more = "sub" }
  dockerfile-inline = "FROM mid\nCOPY --from=more c /c\nRUN cp /stamp /right\n"
  output            = ["type=oci,dest=${DIR}/right.tar"]
}
target "top" {
  inherits          = ["_all"]
  contexts          = { left = "target:left", right = "target:right" }
  dockerfile-inline = "FROM left\nCOPY --from=right /right /c /\nUSER 1\n"
  output            = ["type=oci,dest=${DIR}/top.tar"]
}
target "part" {
  name              = "part-${number}"
  matrix            = { number = ["one", "two"] }
  inherits          = ["_all"]
  args              = { NUMBER = number }
  dockerfile-inline = "FROM busybox\nARG NUMBER\nRUN echo $NUMBER > /number\n"
}
target "on" {
  name              = "on-${number}"
  matrix            = { number = ["one", "two"] }
  inherits          = ["_all"]
  contexts          = { part = "target:part-${number}" }
  dockerfile-inline = "FROM scratch\nCOPY --from=part /number /\n"
  output            = ["type=oci,dest=${DIR}/on-${number}.tar"]
}
target "platforms" {
  inherits          = ["_all"]
  platforms         = ["linux/amd64", "linux/arm64"]
  dockerfile-inline = "FROM scratch\nARG TARGETARCH\nCOPY a /a-$TARGETARCH\nENV P=$TARGETARCH\n"
}
target "both" {
  inherits          = ["_all"]
  contexts          = { platforms = "target:platforms" }
  platforms         = ["linux/amd64", "linux/arm64"]
  dockerfile-inline = "FROM platforms\nCOPY b /b\n"
  output            = ["type=oci,dest=${DIR}/both.tar"]
}
target "one-for-both" {
  inherits          = ["_all"]
  contexts          = { mid = "target:mid" }
  platforms         = ["linux/amd64", "linux/arm64"]
  dockerfile-inline = "FROM scratch\nCOPY --from=mid /stamp /\n"
  output            = ["type=oci,dest=${DIR}/one-for-both.tar"]
}
"#;

const IMAGES: [&str; 7] = [
    "mid",
    "right",
    "top",
    "on-one",
    "on-two",
    "both",
    "one-for-both",
];

#[test_case("min")]
#[test_case("max")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn linked_targets_give_the_images_and_attestations_of_buildx(mode: &str) {
    let linked = Linked::new(DEFINITION).await;
    for baker in Baker::ALL {
        let dir = format!("{baker:?}");
        let mode = format!("MODE={mode}");
        let place = format!("DIR={dir}");
        std::fs::create_dir(linked.project.path().join(&dir)).unwrap();
        assert_succeeds(&linked.bake(baker, &["--var", &mode, "--var", &place]));
    }
    linked.assert_daemon_is_well();
    for image in IMAGES {
        let [ours, theirs] = Baker::ALL.map(|baker| {
            let archive = format!("{baker:?}/{image}.tar");
            Archive::unpack(&linked.project.path().join(archive))
        });
        assert!(!ours.images().is_empty());
        assert_eq!(ours.images(), theirs.images(), "{image}");
        let (ours, theirs) = (ours.provenances(), theirs.provenances());
        assert_eq!(ours.len(), theirs.len(), "{image}");
        assert!(!ours.is_empty(), "{image}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            let request = &ours["buildDefinition"]["externalParameters"]["request"];
            // `mid` and all that use others have the request of what they use, and that of its inputs.
            assert!(request["inputs"].is_object(), "{image}: {ours:#}");
            // In buildx, they are missing if the other target ends before this one.
            assert_eq!(
                without_inputs(ours),
                without_inputs(theirs),
                "{image}: rbake, buildx"
            );
        }
    }
}

/// A target that must not come from the cache, with children and a grandchild. `base` is exported as well.
///
/// The argument is another one in each run: BuildKit takes a step from the cache although what it uses has just run again.
const ONCE: &str = r#"
variable "RUN" {}
group "default" { targets = ["base", "one", "two", "three"] }
target "base" {
  no-cache          = true
  dockerfile-inline = "FROM busybox\nSTAMP\n"
  output            = ["type=local,dest=out/base"]
}
target "one" {
  contexts          = { base = "target:base" }
  args              = { RUN = RUN }
  dockerfile-inline = "FROM base\nARG RUN\nRUN sleep 2; cp /stamp /one\n"
  output            = ["type=local,dest=out/one"]
}
target "two" {
  contexts          = { base = "target:base" }
  dockerfile-inline = "FROM scratch\nCOPY --from=base /stamp /stamp\n"
  output            = ["type=local,dest=out/two"]
}
target "three" {
  contexts          = { one = "target:one" }
  dockerfile-inline = "FROM one\nRUN cp /stamp /three\n"
  output            = ["type=local,dest=out/three"]
}
"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_steps_of_a_target_run_once_for_all_that_use_it() {
    let linked = Linked::new(ONCE).await;
    let stamps = [
        "out/base/stamp",
        "out/one/stamp",
        "out/one/one",
        "out/two/stamp",
        "out/three/three",
    ];
    let mut seen = std::collections::BTreeSet::new();
    for run in 0..3 {
        assert_succeeds(&linked.rbake(&["--var", &format!("RUN={run}")]));
        let texts = linked.texts(&stamps);
        assert_eq!(texts.len(), 1, "run {run}: {texts:?}");
        seen.extend(texts);
    }
    // It was not taken from the cache, either.
    assert_eq!(seen.len(), 3, "{seen:?}");
    linked.assert_daemon_is_well();
}

/// Targets without any file: only their settings are used.
const EMPTY: &str = r#"
target "empty" {
  name              = "empty-${several ? "several" : "one"}"
  matrix            = { several = [true, false] }
  platforms         = several ? ["linux/amd64", "linux/arm64"] : []
  dockerfile-inline = "FROM scratch\nENV E=1\nENTRYPOINT [\"/x\"]\n"
}
target "on" {
  name              = "on-${several ? "several" : "one"}"
  matrix            = { several = [true, false] }
  contexts          = { empty = "target:empty-${several ? "several" : "one"}" }
  platforms         = several ? ["linux/amd64", "linux/arm64"] : []
  dockerfile-inline = "FROM empty\nCOPY a /x\n"
  output            = ["type=oci,dest=${several ? "several" : "one"}.tar"]
}
"#;

#[test_case("one", 1)]
#[test_case("several", 2)]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_target_without_files_passes_on_its_settings(which: &str, platforms: usize) {
    let linked = Linked::new(EMPTY).await;
    let target = format!("on-{which}");
    // If this changes, docs/differences.md does, too.
    let output = linked.bake(Baker::Buildx, &[&target]);
    assert_eq!(output.code, Some(1), "{output}");
    assert_succeeds(&linked.rbake(&[&target]));
    let archive = format!("{which}.tar");
    let images = Archive::unpack(&linked.project.path().join(archive)).images();
    assert_eq!(images.len(), platforms);
    for (config, layers) in images {
        assert_eq!(config["config"]["Entrypoint"], json!(["/x"]));
        let variables = config["config"]["Env"].as_array().unwrap();
        assert!(variables.contains(&json!("E=1")), "{config}");
        assert_eq!(layers.len(), 1, "{config}");
    }
    linked.assert_daemon_is_well();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_step_that_needs_a_secret_of_its_target_runs_also_for_its_users() {
    let definition = r#"
        target "base" {
          secret            = ["id=key,src=a"]
          dockerfile-inline = "FROM busybox\nRUN --mount=type=secret,id=key,required=true cp /run/secrets/key /key\n"
        }
        target "app" {
          contexts          = { base = "target:base" }
          dockerfile-inline = "FROM scratch\nCOPY --from=base /key /key\n"
          output            = ["type=local,dest=out"]
        }
    "#;
    let linked = Linked::new(definition).await;
    assert_succeeds(&linked.rbake(&["app"]));
    assert_eq!(linked.read("out/key"), "a\n");
    linked.assert_daemon_is_well();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_metadata_file_lists_linked_targets_as_with_buildx() {
    let linked = Linked::new(ONCE).await;
    let [ours, theirs] = Baker::ALL.map(|baker| {
        let file = format!("{baker:?}.json");
        let arguments = ["three", "--var", "RUN=1", "--metadata-file", &file];
        assert_succeeds(&linked.bake(baker, &arguments));
        let metadata: Value = serde_json::from_str(&linked.read(&file)).unwrap();
        let targets = metadata.as_object().unwrap().keys().cloned();
        targets.collect::<Vec<String>>()
    });
    assert_eq!(ours, ["base", "one", "three"]);
    assert_eq!(ours, theirs);
}
