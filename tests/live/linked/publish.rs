//! Linked targets whose images are published.

use std::process::Command;

use serde_json::Value;
use test_case::test_case;

use super::{Linked, assert_succeeds};
use crate::support::offline::without_network;
use crate::support::peers;

/// `base` and `app` are pushed; `check` is a gate that tests `app`, and `lib` is only used. `base` must not come from the cache.
const DEFINITION: &str = r#"
variable "REPOSITORY" {}
variable "GOOD" { default = "true" }
group "default" { targets = ["base", "app"] }
target "lib" {
  no-cache          = true
  dockerfile-inline = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /lib\n"
}
target "base" {
  no-cache          = true
  contexts          = { lib = "target:lib" }
  dockerfile-inline = "FROM lib\nSTAMP\n"
  tags              = ["${REPOSITORY}/base:v1.0.0", "${REPOSITORY}/base:latest"]
}
target "app" {
  contexts          = { base = "target:base" }
  dockerfile-inline = "FROM base\nCOPY a /a\nRUN cp /stamp /app\n"
  tags              = ["${REPOSITORY}/app:v1.0.0", "${REPOSITORY}/app:latest"]
}
target "check" {
  contexts          = { app = "target:app" }
  args              = { GOOD = GOOD }
  dockerfile-inline = "FROM app\nARG GOOD\nRUN sleep 1; cmp /stamp /app && $GOOD\n"
}
"#;

/// The text of a file of an image in a registry.
fn file_of(image: &str, path: &str) -> Option<String> {
    let mut crane = Command::new(peers::program("RBAKE_TEST_CRANE"));
    let output = crane.args(["export", "--insecure", image, "-"]).output();
    let output = output.unwrap();
    if !output.status.success() {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("image.tar");
    std::fs::write(&archive, output.stdout).unwrap();
    let mut tar = Command::new("tar");
    let tar = tar.arg("-xOf").arg(&archive).arg(path).output().unwrap();
    Some(String::from_utf8(tar.stdout).unwrap())
}

/// The requests of the inputs that the provenance of an image has.
fn inputs_of(image: &str) -> Value {
    let crane = |words: &[&str]| {
        let mut crane = Command::new(peers::program("RBAKE_TEST_CRANE"));
        let output = crane.args(words).arg("--insecure").output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let index = crane(&["manifest", image]);
    let repository = image.rsplit_once(':').unwrap().0;
    let of_attestation = |manifest: &&Value| {
        manifest["annotations"]["vnd.docker.reference.type"] == "attestation-manifest"
    };
    let manifests = index["manifests"].as_array().unwrap();
    let attestation = manifests.iter().find(of_attestation).unwrap();
    let attestation = format!("{repository}@{}", attestation["digest"].as_str().unwrap());
    let manifest = crane(&["manifest", &attestation]);
    let layer = manifest["layers"][0]["digest"].as_str().unwrap();
    let statement = crane(&["blob", &format!("{repository}@{layer}")]);
    statement["predicate"]["buildDefinition"]["externalParameters"]["request"]["inputs"].clone()
}

#[test_case("rbake"; "sent by rbake")]
#[test_case("builder"; "pushed by the builder in a second solve")]
#[test_case("unseen"; "tagged by the builder after all targets")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn published_images_have_the_same_steps_as_what_they_use(who: &str) {
    let linked = Linked::new(DEFINITION).await;
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let team = format!("linked-{who}-{}", std::process::id());
    let variable = format!("REPOSITORY={registry}/{team}");
    let upload = if who == "rbake" { "rbake" } else { "builder" };
    let mut command = linked
        .project
        .command(&["--push", "--progress=plain", "--var", &variable]);
    command
        .env("BUILDKIT_HOST", linked.address())
        .env("RBAKE_UPLOAD", upload);
    if who == "unseen" {
        command = without_network(&command);
    }
    let output = linked.project.read(&command.output().unwrap());
    assert_succeeds(&output);
    let image = |name: &str| format!("{registry}/{team}/{name}");
    let stamp = file_of(&image("base:v1.0.0"), "stamp");
    assert!(stamp.as_ref().is_some_and(|stamp| stamp.len() > 30));
    for (name, path) in [
        ("base:latest", "stamp"),
        ("app:v1.0.0", "stamp"),
        ("app:latest", "app"),
    ] {
        assert_eq!(file_of(&image(name), path), stamp, "{name}: {output}");
    }
    // The step of `lib` ran once, too.
    let lib = file_of(&image("base:latest"), "lib");
    assert_eq!(file_of(&image("app:latest"), "lib"), lib);
    let inputs = inputs_of(&image("app:latest"));
    assert!(
        inputs["0-base"]["request"]["inputs"]["0-lib"].is_object(),
        "{inputs:#}"
    );
    // `lib` has no output, `base` is published as it is without links.
    assert!(!output.stderr.contains("lib:latest"), "{output}");
    linked.assert_daemon_is_well();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_gate_that_uses_an_image_decides_about_its_mutable_tags() {
    let linked = Linked::new(DEFINITION).await;
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    for (good, code) in [("false", 1), ("true", 0)] {
        let team = format!("linked-gate-{good}-{}", std::process::id());
        let repository = format!("REPOSITORY={registry}/{team}");
        let good = format!("GOOD={good}");
        let arguments = [
            "--push",
            "--gate",
            "check",
            "--var",
            &repository,
            "--var",
            &good,
        ];
        let output = linked.rbake(&arguments);
        assert_eq!(output.code, Some(code), "{output}");
        let image = |name: &str| file_of(&format!("{registry}/{team}/{name}"), "app");
        assert_eq!(image("app:latest").is_some(), code == 0, "{output}");
    }
    linked.assert_daemon_is_well();
}
