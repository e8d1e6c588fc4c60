//! What the two image stores of Docker Engines accept, compared with buildx: annotations and caches.

use super::docker::{Engine, passes, unique};
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

/// What becomes of a build with an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is built.
    Built,
    /// It is built, but the annotation is lost.
    Lost,
    /// It is refused.
    Refused,
}

use Fate::{Built, Lost, Refused};

// The annotation, other attributes, arguments after `bake`, and what becomes of it in containerd's store and in the classic one.
const ANNOTATIONS: [(&str, &str, &[&str], [Fate; 2]); 7] = [
    ("index:rbake.test=marked", "", &["--load"], [Built, Refused]),
    (
        "index:rbake.test=marked",
        "",
        &["--set=*.output=type=docker"],
        [Built, Refused],
    ),
    (
        "index-descriptor:rbake.test=marked",
        "",
        &[],
        [Built, Refused],
    ),
    (
        "index:rbake.test=marked",
        "output = [\"type=registry,name=REGISTRY/MARK:1\"]",
        &[],
        [Built, Refused],
    ),
    (
        "index:rbake.test=marked",
        "attest = [\"type=provenance,disabled=true\"]",
        &["--load"],
        [Refused, Refused],
    ),
    (
        "index:rbake.test=marked",
        "output = [\"type=docker,attestation-inline=false\"]",
        &[],
        [Refused, Refused],
    ),
    ("manifest:rbake.test=marked", "", &["--load"], [Built, Lost]),
];

fn project(engine: &Engine, definition: &str) -> TestProject {
    let project = engine.project(definition);
    project
        .file("Dockerfile", "FROM scratch\nCOPY a /\n")
        .file("a", "a")
}

fn fate(output: &CommandOutput) -> Fate {
    let told = output.stderr.contains("[run::annotation]");
    match (output.code, told) {
        (Some(0), false) => Built,
        (Some(0), true) => Lost,
        (Some(3), true) => Refused,
        _ => panic!("{output}"),
    }
}

#[test]
#[ignore = "needs live peers"]
fn an_engine_gets_annotations_if_its_store_has_a_place_for_them() {
    for (number, engine) in Engine::each().iter().enumerate() {
        for (annotation, attributes, words, fates) in &ANNOTATIONS {
            let mark = unique("annotated");
            let attributes = attributes
                .replace("MARK", &mark)
                .replace("REGISTRY", &engine.registry);
            let definition = format!(
                "target \"default\" {{\ntags = [\"{mark}:1\"]\nannotations = [\"{annotation}\"]\n{attributes}\n}}\n"
            );
            // An output with a name of its own takes no tags.
            let definition = if attributes.contains("name=") {
                definition.replace(&format!("tags = [\"{mark}:1\"]\n"), "")
            } else {
                definition
            };
            let project = project(engine, &definition);
            let by_buildx = engine.buildx(&project, words);
            let is_refused = fates[number] == Refused;
            assert_eq!(
                by_buildx.code == Some(0),
                !is_refused,
                "{definition}: {by_buildx}"
            );
            let output = project.rbake(words);
            assert_eq!(fate(&output), fates[number], "{definition}: {output}");
            if fates[number] == Built
                && annotation.starts_with("index:")
                && engine.images(&mark).len() == 1
            {
                let (name, _) = &engine.images(&mark)[0];
                let saved = engine.saved(name, &project).to_string();
                assert!(saved.contains("rbake.test"), "{saved}");
            }
            engine.remove(&mark);
        }
    }
}

#[test]
#[ignore = "needs live peers"]
fn an_index_of_another_builder_keeps_its_annotations_in_containerds_store() {
    let [containerd, classic] = Engine::each();
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let built = |engine: &Engine, attributes: &str| {
        let mark = unique("indexed");
        let definition = format!(
            "target \"default\" {{\ntags = [\"{mark}:1\"]\nannotations = [\"index:rbake.test=marked\"]\n{attributes}\n}}\n"
        );
        let project = project(engine, &definition).env("BUILDKIT_HOST", &address);
        let output = project.rbake(&["--load"]);
        let fate = fate(&output);
        if fate == Built {
            let saved = engine.saved(&format!("{mark}:1"), &project).to_string();
            assert!(saved.contains("rbake.test"), "{saved}");
        }
        engine.remove(&mark);
        fate
    };
    let two = "platforms = [\"linux/amd64\", \"linux/arm64\"]";
    assert_eq!(built(&containerd, two), Built);
    assert_eq!(
        built(&containerd, "attest = [\"type=provenance,mode=max\"]"),
        Built
    );
    assert_eq!(built(&containerd, ""), Refused);
    assert_eq!(built(&classic, ""), Refused);
}

// Attributes, and what rbake says, if anything.
const CACHES: [(&str, &str); 4] = [
    (
        "cache-from = [\"type=local,src=missing\"]",
        "[run::no-local-cache]",
    ),
    (
        "cache-from = [\"type=gha\"]\ncache-to = [\"type=gha,mode=max\"]",
        "",
    ),
    (
        "cache-from = [\"type=s3,region=x,bucket=b\"]",
        "[run::cache-import]",
    ),
    (
        "cache-from = [\"type=registry,ref=REGISTRY/none\"]",
        "[run::no-cache]",
    ),
];

#[test]
#[ignore = "needs live peers"]
fn the_classic_store_builds_without_caches_that_it_cannot_import() {
    let [_, classic] = Engine::each();
    for (attributes, told) in CACHES {
        let mark = unique("cached");
        let attributes = attributes.replace("REGISTRY", &classic.registry);
        let definition =
            format!("target \"default\" {{\ntags = [\"{mark}:1\"]\n{attributes}\n}}\n");
        let project = project(&classic, &definition)
            .env("AWS_ACCESS_KEY_ID", "x")
            .env("AWS_SECRET_ACCESS_KEY", "x");
        passes(&classic.buildx(&project, &[]));
        let output = project.rbake(&[]);
        passes(&output);
        assert!(output.stderr.contains(told), "{attributes}: {output}");
        classic.remove(&mark);
    }
    // A cache that another builder has made is really imported.
    let mark = unique("cached");
    let definition = format!(
        "target \"default\" {{\ntags = [\"{mark}:1\"]\ndockerfile-inline = \"FROM busybox\\nRUN echo {mark} > /word\\n\"\ncache-to = [\"type=local,dest=lc,mode=max\"]\n}}\n"
    );
    let maker = project(&classic, &definition)
        .env("BUILDKIT_HOST", peers::peer("RBAKE_TEST_BUILDKIT_ADDR"));
    passes(&maker.rbake(&[]));
    let user = maker.env("BUILDKIT_HOST", "");
    let output = user.rbake(&[
        "--progress=plain",
        "--set=*.cache-to=",
        "--set=*.cache-from=type=local,src=lc",
    ]);
    passes(&output);
    assert!(output.stderr.contains("CACHED"), "{output}");
    classic.remove(&mark);
}
