//! Named contexts that are images: in layouts on this machine, and pinned by digest.

use std::path::Path;

use serde_json::Value;

use crate::support::bakers::{Baker, Bakers};
use crate::support::buildkitd::Buildkitd;
use crate::support::layout::{blob, described, entries, unpack};
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

const BOTH: &str = r#"platforms = ["linux/amd64", "linux/arm64"]"#;

#[track_caller]
fn passes(output: &CommandOutput) {
    assert_eq!(output.code, Some(0), "{output}");
}

// A project with the layout `layouts/base`, which has the image `example.com/base:1.0` for two platforms, and the target `app`
// with that image as its context `base`.
fn project(bakers: &Bakers, context: &str) -> TestProject {
    let definition = format!(
        r#"
        target "base" {{
          dockerfile-inline = "FROM scratch\nCOPY mark /mark\nENV FROM_BASE=yes\n"
          tags   = ["example.com/base:1.0"]
          output = ["type=oci,dest=base.tar"]
          {BOTH}
        }}
        target "app" {{
          contexts = {{ base = "{context}" }}
          output   = ["type=oci,dest=app.tar"]
          attest   = ["type=provenance,mode=max"]
          {BOTH}
        }}
        "#
    );
    let project = TestProject::new()
        .file("docker-bake.hcl", definition)
        .file("Dockerfile", "FROM base\nCOPY own /own\n")
        .file("mark", "mark")
        .file("own", "own")
        .env("BUILDX_NO_DEFAULT_ATTESTATIONS", 1);
    passes(&bakers.bake(Baker::Rbake, &project, &["base"]));
    let layout = project.path().join("layouts/base");
    unpack(&project.path().join("base.tar"), &layout);
    project
}

// The images in the archive `app.tar`, and the materials in their provenance.
#[track_caller]
fn made(project: &TestProject) -> (Value, Vec<String>) {
    let dir = project.path().join("unpacked");
    let archive = project.path().join("app.tar");
    unpack(&archive, &dir);
    let made = (described(&dir), materials(&dir));
    std::fs::remove_dir_all(dir).unwrap();
    std::fs::remove_file(archive).unwrap();
    made
}

// The sources that the provenance of the only image in the layout `dir` names.
fn materials(dir: &Path) -> Vec<String> {
    let index = blob(dir, entries(dir)[0]["digest"].as_str().unwrap());
    let manifests = index["manifests"].as_array().unwrap();
    let attested = manifests
        .iter()
        .filter(|one| one["annotations"]["vnd.docker.reference.type"] == "attestation-manifest");
    let mut materials = Vec::new();
    for manifest in attested {
        let manifest = blob(dir, manifest["digest"].as_str().unwrap());
        let statement = blob(dir, manifest["layers"][0]["digest"].as_str().unwrap());
        let found = &statement["predicate"]["buildDefinition"]["resolvedDependencies"];
        materials.push(found.to_string());
    }
    materials
}

#[test]
#[ignore = "needs live peers"]
fn images_in_layouts_are_the_same_base_for_rbake_and_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let first = project(&bakers, "oci-layout://layouts/base");
    let digest = entries(&first.path().join("layouts/base"))[0]["digest"].clone();
    let digest = digest.as_str().unwrap().to_owned();
    let mut seen = Vec::new();
    for context in [
        "oci-layout://layouts/base".to_owned(),
        "oci-layout://./layouts/../layouts/base/:1.0".to_owned(),
        "oci-layout://layouts/base:another".to_owned(),
        format!("oci-layout://layouts/base@{digest}"),
        format!("oci-layout://layouts/base:1.0@{digest}"),
    ] {
        let project = project(&bakers, &context);
        let results = Baker::ALL.map(|baker| {
            passes(&bakers.bake(baker, &project, &["app"]));
            made(&project)
        });
        assert_eq!(results[0], results[1], "{context}");
        let [(images, materials), _] = results;
        assert_eq!(images[0]["images"].as_array().unwrap().len(), 4, "{images}");
        let config = &images[0]["images"][1]["config"];
        assert_eq!(config["architecture"], "arm64", "{config}");
        assert!(config.to_string().contains("FROM_BASE=yes"), "{config}");
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
        assert!(materials[0].contains(&digest[7..]), "{materials:?}");
        seen.push(images);
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
}

#[test]
#[ignore = "needs live peers"]
fn layouts_without_the_image_are_refused_before_the_build_with_what_they_have() {
    let bakers = Bakers::on_the_shared_daemon();
    let absent = format!("sha256:{}", "a".repeat(64));
    let at_absent = format!("oci-layout://layouts/base@{absent}");
    for (context, code, said) in [
        (
            "oci-layout://layouts/bose",
            "run::context-missing",
            "`base`",
        ),
        (
            "oci-layout://own",
            "run::context-no-directory",
            "not a directory",
        ),
        (
            "oci-layout://layouts",
            "run::layout",
            "it is not an image layout",
        ),
        (
            "oci-layout://layouts/two:3.0",
            "run::layout",
            "it has no tag `3.0`; there are `1.0` and `2.0`",
        ),
        (
            "oci-layout://layouts/two",
            "run::layout",
            "it has no tag `latest`",
        ),
        (&at_absent, "run::layout", "it has no blob sha256:aaaa"),
    ] {
        let project = project(&bakers, context);
        let layout = project.path().join("layouts/base");
        let two = project.path().join("layouts/two");
        crate::support::project::copy(&layout, &two);
        let index = std::fs::read_to_string(two.join("index.json")).unwrap();
        let mut index: Value = serde_json::from_str(&index).unwrap();
        let mut second = index["manifests"][0].clone();
        second["annotations"]["org.opencontainers.image.ref.name"] = "2.0".into();
        index["manifests"].as_array_mut().unwrap().push(second);
        std::fs::write(two.join("index.json"), index.to_string()).unwrap();
        let [ours, theirs] = Baker::ALL.map(|baker| bakers.bake(baker, &project, &["app"]));
        assert_eq!(ours.code, Some(3), "{ours}");
        assert!(theirs.code != Some(0), "{context}: {theirs}");
        let text = ours.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(code) && text.contains(said), "{ours}");
        assert!(text.contains("docker-bake.hcl:9"), "{ours}");
    }
}

// Each solve has a session, and each session must serve the layout: those of two targets, and that of the job that exports
// their cache. On the second builder, everything comes from the cache but the layers of the layout.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn layouts_are_served_to_several_targets_to_caches_and_to_pushes() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let (first, second) = (Buildkitd::start(&[]).await, Buildkitd::start(&[]).await);
    let bakers = Bakers::on(&first.endpoint().to_string());
    let project = project(&bakers, "oci-layout://layouts/base");
    let name = format!("{registry}/layouts{}", std::process::id());
    let definition = format!(
        r#"
        target "_all" {{
          contexts   = {{ base = "oci-layout://layouts/base" }}
          cache-from = ["type=local,src=cache"]
          cache-to   = ["type=local,dest=cache,mode=max"]
        }}
        target "a" {{
          inherits = ["_all"]
          dockerfile-inline = "FROM base\nCOPY own /a\n"
          tags   = ["{name}/a:latest"]
          output = ["type=image,push=true"]
        }}
        target "b" {{
          inherits = ["_all"]
          dockerfile-inline = "FROM base\nCOPY own /b\n"
          tags   = ["{name}/b:latest"]
          output = ["type=image,push=true"]
        }}
        target "check" {{
          contexts = {{ a = "docker-image://{name}/a:latest" }}
          dockerfile-inline = "FROM a"
          output = ["type=local,dest=out"]
        }}
        "#
    );
    let project = project.file("docker-bake.hcl", definition);
    passes(&bakers.bake(Baker::Rbake, &project, &["a", "b"]));
    let others = Bakers::on(&second.endpoint().to_string());
    let again = others.bake(Baker::Rbake, &project, &["a", "b", "--progress=plain"]);
    passes(&again);
    let copies = again
        .stderr
        .lines()
        .filter(|line| line.contains("COPY own"));
    let cached = again.stderr.matches("CACHED").count();
    assert!(copies.count() >= 2 && cached >= 2, "{again}");
    passes(&others.bake(Baker::Rbake, &project, &["check"]));
    for file in ["mark", "a"] {
        assert!(project.path().join("out").join(file).is_file(), "{file}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn images_pinned_by_digest_are_the_same_base_for_rbake_and_buildx() {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let bakers = Bakers::on_the_shared_daemon();
    let name = format!("{registry}/pinned{}", std::process::id());
    let pushed = project(&bakers, "docker-image://scratch");
    let set = format!("base.output=type=image,name={name}:1,push=true");
    let arguments = [
        "base",
        "--metadata-file=m.json",
        "--set=base.tags=",
        "--set",
        &set,
    ];
    passes(&bakers.bake(Baker::Rbake, &pushed, &arguments));
    let metadata = std::fs::read_to_string(pushed.path().join("m.json")).unwrap();
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let digest = metadata["base"]["containerimage.digest"].as_str().unwrap();
    for context in [
        format!("docker-image://{name}@{digest}"),
        format!("docker-image://{name}:moved@{digest}"),
    ] {
        let project = project(&bakers, &context);
        let results = Baker::ALL.map(|baker| {
            passes(&bakers.bake(baker, &project, &["app"]));
            made(&project)
        });
        assert_eq!(results[0], results[1], "{context}");
        let [(images, materials), _] = results;
        assert!(images.to_string().contains("FROM_BASE=yes"), "{images}");
        assert!(materials[1].contains(&digest[7..]), "{materials:?}");
    }
}

// The new content of a blob; none if it becomes a link out of the layout.
type Change<'a> = &'a dyn Fn(&[u8]) -> Option<Vec<u8>>;

// What a layout claims is checked by the builder, which gets nothing but blobs. Each case has its own builder, because one
// keeps a part of a layer that it could not read to its end, and then fails with the whole layer, too.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn broken_and_hostile_layouts_fail_the_build_and_reveal_nothing() {
    let project = project(&Bakers::on_the_shared_daemon(), "oci-layout://layouts/base");
    let layout = project.path().join("layouts/base");
    let image = blob(&layout, entries(&layout)[0]["digest"].as_str().unwrap());
    let manifest = blob(&layout, image["manifests"][0]["digest"].as_str().unwrap());
    let place = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        layout.join("blobs").join(digest.replace(':', "/"))
    };
    let layer = place(&manifest["layers"][0]);
    let config = place(&manifest["config"]);
    let inner = place(&image["manifests"][0]);
    let secret = project.path().join("secret");
    std::fs::write(&secret, "a secret outside of the layout").unwrap();
    let cut = |content: &[u8]| Some(content[1..].to_vec());
    let longer = |content: &[u8]| Some([content, b"\n"].concat());
    let cases: [(&Path, Change<'_>, bool); 6] = [
        (&layer, &cut, false),
        (&layer, &longer, false),
        (&layer, &|_| None, true),
        (&config, &|_| None, true),
        (&config, &cut, false),
        (&inner, &longer, false),
    ];
    for (path, change, is_link) in cases {
        let daemon = Buildkitd::start(&[]).await;
        let bakers = Bakers::on(&daemon.endpoint().to_string());
        let content = std::fs::read(path).unwrap();
        std::fs::remove_file(path).unwrap();
        match change(&content) {
            Some(changed) => std::fs::write(path, changed).unwrap(),
            None => std::os::unix::fs::symlink(&secret, path).unwrap(),
        }
        let output = bakers.bake(Baker::Rbake, &project, &["app", "--progress=plain"]);
        assert_eq!(output.code, Some(1), "{}: {output}", path.display());
        assert!(!output.stderr.contains("a secret"), "{output}");
        let said = output.stderr.contains("leads out of the directory");
        assert_eq!(said, is_link, "{output}");
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let daemon = Buildkitd::start(&[]).await;
    let bakers = Bakers::on(&daemon.endpoint().to_string());
    passes(&bakers.bake(Baker::Rbake, &project, &["app"]));
}
