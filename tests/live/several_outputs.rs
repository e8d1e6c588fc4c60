//! Outputs in all forms, and several of them at once, beside buildx: the same images, names, platforms and attestations.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::bakers::{Baker, Bakers};
use crate::support::layout::{blob, described, entries, unpack};
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

const BOTH: &str = r#"platforms = ["linux/amd64", "linux/arm64"]"#;

#[track_caller]
fn passes(output: &CommandOutput) {
    assert_eq!(output.code, Some(0), "{output}");
}

fn project(attributes: &str) -> TestProject {
    TestProject::new()
        .file(
            "docker-bake.hcl",
            format!("target \"a\" {{\n{attributes}\n}}\n"),
        )
        .file(
            "Dockerfile",
            "FROM scratch\nARG WORD=one\nCOPY f /\nLABEL word=$WORD\n",
        )
        .file("f", "f")
}

fn unique(what: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{what}{}x{count}", std::process::id())
}

// What `bakers` make of `project` in the layout `out`, which is removed afterwards.
fn layouts(bakers: &Bakers, project: &TestProject, runs: &[&[&str]]) -> [Value; 2] {
    Baker::ALL.map(|baker| {
        for arguments in runs {
            passes(&bakers.bake(baker, project, arguments));
        }
        let out = project.path().join("out");
        let layout = std::fs::read_to_string(out.join("oci-layout")).unwrap();
        assert_eq!(layout, r#"{"imageLayoutVersion":"1.0.0"}"#);
        assert!(!out.join("index.json.lock").exists());
        let described = described(&out);
        std::fs::remove_dir_all(out).unwrap();
        described
    })
}

#[test]
#[ignore = "needs live peers"]
fn images_as_directories_are_those_of_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let named = r#"tags = ["a:1", "example.com:5000/b/c:2"]"#;
    let attested = r#"attest = ["type=provenance,mode=max"]"#;
    let annotated = r#"annotations = ["index,manifest,manifest-descriptor,index-descriptor:k=v"]"#;
    let oci = r#"output = ["type=oci,dest=out,tar=false"]"#;
    for attributes in [
        format!("{oci}\n{named}"),
        format!("{oci}\n{named}\n{BOTH}\n{attested}\n{annotated}"),
        format!("{oci}\n{attested}"),
        r#"output = ["type=oci,dest=out,tar=0,name=x,compression=zstd,force-compression=true"]"#
            .to_owned(),
        format!("output = [\"type=docker,dest=d.tar\", \"type=oci,dest=out,tar=false\"]\n{named}"),
    ] {
        let project = project(&attributes);
        let [ours, theirs] = layouts(&bakers, &project, &[&["a"]]);
        assert_eq!(ours, theirs, "{attributes}");
        assert!(!ours.as_array().unwrap().is_empty(), "{attributes}");
    }
    // buildx loads such an image into Docker, which conflicts with the directory.
    let project = project(r#"output = ["type=docker,dest=out,tar=false,name=x:1"]"#);
    let [ours, theirs] = Baker::ALL.map(|baker| bakers.bake(baker, &project, &["a"]));
    passes(&ours);
    assert_ne!(theirs.code, Some(0), "{theirs}");
    let made = described(&project.path().join("out"));
    assert_eq!(
        made[0]["annotations"]["io.containerd.image.name"],
        "docker.io/library/x:1"
    );
}

#[test]
#[ignore = "needs live peers"]
fn an_image_joins_those_that_its_directory_has() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = project("tags = [\"a:1\"]\noutput = [\"type=oci,dest=out,tar=false\"]");
    let runs: [&[&str]; 3] = [
        &["a"],
        &["a", "--set=a.tags=a:2", "--set=a.args.WORD=two"],
        &["a", "--set=a.args.WORD=three"],
    ];
    let [ours, theirs] = layouts(&bakers, &project, &runs);
    assert_eq!(ours, theirs);
    let words = ours.as_array().unwrap().iter().map(|image| {
        let word = &image["config"]["config"]["Labels"]["word"];
        (
            image["annotations"]["org.opencontainers.image.ref.name"].clone(),
            word.clone(),
        )
    });
    let words: Vec<_> = words.collect();
    assert_eq!(
        words,
        [("2".into(), "two".into()), ("1".into(), "three".into())]
    );

    // A build that fails leaves the index as it is, and no file that is not whole.
    passes(&bakers.bake(Baker::Rbake, &project, &["a"]));
    let out = project.path().join("out");
    let before = std::fs::read(out.join("index.json")).unwrap();
    let project = project.file("Dockerfile", "FROM scratch\nCOPY f /\nCOPY missing /\n");
    let failed = bakers.bake(Baker::Rbake, &project, &["a"]);
    assert_eq!(failed.code, Some(1), "{failed}");
    assert_eq!(std::fs::read(out.join("index.json")).unwrap(), before);
    assert_eq!(std::fs::read_dir(out.join("ingest")).unwrap().count(), 0);
    // What one target has written, another one can use.
    let used = project.file(
        "docker-bake.hcl",
        "target \"b\" {\n contexts = { a = \"oci-layout://out:1\" }\n dockerfile-inline = \"FROM a\"\n output = [\"type=local,dest=files\"]\n}\n",
    );
    passes(&bakers.bake(Baker::Rbake, &used, &["b"]));
    assert!(used.path().join("files/f").is_file());
}

#[test]
#[ignore = "needs live peers"]
fn two_images_as_directories_are_refused_as_by_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let project =
        project(r#"output = ["type=oci,dest=out,tar=false", "type=docker,dest=other,tar=false"]"#);
    let [ours, theirs] = Baker::ALL.map(|baker| bakers.bake(baker, &project, &["a"]));
    assert_ne!(theirs.code, Some(0), "{theirs}");
    assert_eq!(ours.code, Some(3), "{ours}");
    assert!(
        ours.stderr.contains("only one image as a directory"),
        "{ours}"
    );
}

// What `name` is in the registry, as a layout below `dir`.
#[track_caller]
fn pulled(name: &str, dir: &Path) -> Value {
    let crane = peers::program("RBAKE_TEST_CRANE");
    let layout = dir.join("pulled");
    let output = Command::new(crane)
        .args(["pull", "--insecure", "--format=oci", name])
        .arg(&layout)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    let found = described(&layout);
    let digest = entries(&layout)[0]["digest"].clone();
    std::fs::remove_dir_all(layout).unwrap();
    serde_json::json!({"digest": digest, "images": found[0]["images"], "config": found[0]["config"], "layers": found[0]["layers"]})
}

// The names in a Docker archive, and its configuration.
fn archived(archive: &Path) -> Value {
    let dir = archive.with_extension("unpacked");
    unpack(archive, &dir);
    let text = std::fs::read(dir.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&text).unwrap();
    let images = described(&dir);
    std::fs::remove_dir_all(dir).unwrap();
    serde_json::json!([manifest, images])
}

#[test]
#[ignore = "needs live peers"]
fn several_outputs_of_one_build_are_those_of_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let results = Baker::ALL.map(|baker| {
        let name = format!("{registry}/{}", unique("several"));
        let attributes = format!(
            r#"output = [
              "type=image,name={name}:1,push=true",
              "type=oci,dest=oci.tar",
              "type=local,dest=files",
              "type=tar,dest=files.tar",
              "type=oci,dest=layout,tar=false,name=layout:1",
              "type=docker,dest=docker.tar,name=archive:1",
            ]"#
        );
        let project = project(&attributes);
        let arguments = ["a", "--metadata-file=m.json"];
        let output = bakers.bake(baker, &project, &arguments);
        passes(&output);
        let at = |name: &str| project.path().join(name);
        let mut pushed = pulled(&format!("{name}:1"), &project.path());
        if baker == Baker::Rbake {
            // The digest is that of the pushed image, not of the Docker archive, which has no attestations.
            let metadata = std::fs::read_to_string(at("m.json")).unwrap();
            let metadata: Value = serde_json::from_str(&metadata).unwrap();
            assert_eq!(
                metadata["a"]["containerimage.digest"], pushed["digest"],
                "{output}"
            );
        }
        unpack(&at("oci.tar"), &at("oci"));
        unpack(&at("files.tar"), &at("unpacked"));
        for file in ["files/f", "unpacked/f"] {
            assert_eq!(std::fs::read_to_string(at(file)).unwrap(), "f");
        }
        pushed["digest"] = Value::Null;
        let oci = described(&at("oci"));
        if baker == Baker::Rbake {
            // buildx enters the image of the last output, under its name.
            let mut layout = described(&at("layout"));
            let named = &layout[0]["annotations"]["io.containerd.image.name"];
            assert_eq!(named, "docker.io/library/layout:1");
            layout[0]["annotations"] = oci[0]["annotations"].clone();
            assert_eq!(layout[0]["images"], oci[0]["images"]);
        }
        (pushed, archived(&at("docker.tar")), oci)
    });
    assert_eq!(results[0], results[1]);
}

#[test]
#[ignore = "needs live peers"]
fn images_of_two_platforms_are_pushed_with_their_attestations_as_by_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let results = Baker::ALL.map(|baker| {
        let name = format!("{registry}/{}:1", unique("platforms"));
        let attributes = format!(
            "{BOTH}\ntags = [\"{name}\"]\nattest = [\"type=provenance,mode=max\"]\nannotations = [\"manifest-descriptor:k=v\"]"
        );
        let project = project(&attributes);
        passes(&bakers.bake(baker, &project, &["a", "--push"]));
        let mut pushed = pulled(&name, &project.path());
        pushed["digest"] = Value::Null;
        pushed
    });
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0]["images"].as_array().unwrap().len(), 4);
}

#[test]
#[ignore = "needs live peers"]
fn archives_on_standard_output_are_those_of_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    for attributes in [
        format!("output = [\"type=oci,dest=-\"]\ntags = [\"x:1\"]\n{BOTH}"),
        "output = [\"type=docker,dest=-\"]\ntags = [\"x:1\"]".to_owned(),
    ] {
        let project = project(&attributes);
        let results = Baker::ALL.map(|baker| {
            let mut command = bakers.command(baker, &project, &["a"]);
            let archive = project.path().join("stdout.tar");
            let file = std::fs::File::create(&archive).unwrap();
            let output = command.stdout(Stdio::from(file)).output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let dir = project.path().join("unpacked");
            unpack(&archive, &dir);
            let found = described(&dir);
            std::fs::remove_dir_all(dir).unwrap();
            found
        });
        assert_eq!(results[0], results[1], "{attributes}");
    }
}

// The names of all files below `dir`.
fn names(dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(at) = waiting.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                names.push(path.strip_prefix(dir).unwrap().display().to_string());
            }
        }
    }
    names.sort();
    names
}

#[test]
#[ignore = "needs live peers"]
fn files_of_two_platforms_and_their_attestations_are_those_of_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    for (output, archive) in [
        ("type=local,dest=files", None),
        (
            "type=local,dest=files,mode=copy,attestation-prefix=p-",
            None,
        ),
        ("type=tar,dest=files.tar", Some("files.tar")),
    ] {
        let attributes =
            format!("{BOTH}\nattest = [\"type=provenance,mode=max\"]\noutput = [\"{output}\"]");
        let project = project(&attributes);
        let results = Baker::ALL.map(|baker| {
            passes(&bakers.bake(baker, &project, &["a"]));
            let files = project.path().join("files");
            if let Some(archive) = archive {
                unpack(&project.path().join(archive), &files);
            }
            let names = names(&files);
            std::fs::remove_dir_all(files).unwrap();
            names
        });
        assert_eq!(results[0], results[1], "{output}");
        assert_eq!(results[0].len(), 4, "{results:?}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn attestations_have_the_form_of_buildx_with_and_without_artifacts() {
    let bakers = Bakers::on_the_shared_daemon();
    let types = [false, true].map(|is_off| {
        let attributes =
            "output = [\"type=oci,dest=out,tar=false\"]\nattest = [\"type=provenance\"]";
        let project = project(attributes).env("BUILDX_NO_DEFAULT_OCI_ARTIFACT", is_off);
        let results = Baker::ALL.map(|baker| {
            passes(&bakers.bake(baker, &project, &["a"]));
            let out = project.path().join("out");
            let index = blob(&out, entries(&out)[0]["digest"].as_str().unwrap());
            let attestation = blob(&out, index["manifests"][1]["digest"].as_str().unwrap());
            std::fs::remove_dir_all(out).unwrap();
            let config = &attestation["config"]["mediaType"];
            (attestation["artifactType"].clone(), config.clone())
        });
        assert_eq!(results[0], results[1], "{is_off}");
        results[0].clone()
    });
    assert_ne!(types[0], types[1]);
}

#[test]
#[ignore = "needs live peers"]
fn targets_without_an_output_are_reported_as_by_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = project("").file(
        "docker-bake.hcl",
        "group \"default\" { targets = [\"a\", \"b\", \"c\"] }\ntarget \"a\" {}\ntarget \"b\" { call = \"build\" }\ntarget \"c\" { output = [\"out\"] }\n",
    );
    for baker in Baker::ALL {
        let output = bakers.bake(baker, &project, &[]);
        passes(&output);
        let text = output.stderr.to_lowercase();
        let told = text
            .lines()
            .find(|line| line.contains("no output specified for"));
        let told = told.unwrap_or_else(|| panic!("{baker:?}: {output}"));
        let names = told
            .split("for ")
            .nth(1)
            .unwrap()
            .split(" target")
            .next()
            .unwrap();
        let mut names: Vec<&str> = names.split(',').map(str::trim).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b"], "{output}");
    }
}
