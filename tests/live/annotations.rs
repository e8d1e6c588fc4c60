//! Compares rbake's messages about annotations before a build with what the daemon does with them.

use crate::support::buildkitd::Buildkitd;
use crate::support::peers;
use crate::support::project::TestProject;

/// What happens to an annotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is part of the result.
    Kept,
    /// The daemon rejects it.
    Refused,
    /// It is silently lost.
    Lost,
}

// Other attributes of the target, and what happens to the annotation `LEVEL:rbake.test=marked`.
const CASES: &[(&str, &str, Fate)] = &[
    ("index", "", Fate::Refused),
    (
        "index",
        "attest = [\"type=provenance,mode=min\"]",
        Fate::Kept,
    ),
    (
        "index",
        "args = { BUILDKIT_MULTI_PLATFORM = \"1\" }",
        Fate::Kept,
    ),
    ("index-descriptor", "", Fate::Refused),
    ("manifest", "", Fate::Kept),
    ("manifest-descriptor", "", Fate::Kept),
    (
        "manifest[linux/amd64]",
        "platforms = [\"linux/amd64\"]",
        Fate::Lost,
    ),
    (
        "manifest[linux/amd64]",
        "platforms = [\"linux/amd64\"]\nattest = [\"type=provenance,mode=min\"]",
        Fate::Kept,
    ),
    (
        "manifest[linux/arm64]",
        "platforms = [\"linux/amd64\"]\nattest = [\"type=provenance,mode=min\"]",
        Fate::Lost,
    ),
    (
        "manifest[linux/arm64]",
        "platforms = [\"linux/amd64\", \"linux/s390x\"]",
        Fate::Refused,
    ),
    (
        "index",
        "platforms = [\"linux/amd64\", \"linux/s390x\"]",
        Fate::Kept,
    ),
];

fn definition(level: &str, attributes: &str) -> String {
    format!(
        "target \"default\" {{\n  dockerfile-inline = \"FROM scratch\\nCOPY a /\"\n  annotations = \
         [\"{level}:rbake.test=marked\"]\n  output = [\"type=oci,dest=image.tar\"]\n  {attributes}\n}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn messages_about_annotations_match_what_the_daemon_does() {
    let buildx = peers::program("RBAKE_TEST_BUILDX");
    let daemon = Buildkitd::start(&[]).await;
    let address = daemon.endpoint().to_string();
    for (level, attributes, fate) in CASES {
        let text = definition(level, attributes);
        let project = TestProject::new()
            .file("docker-bake.hcl", &text)
            .file("a", "a")
            .env("BUILDKIT_HOST", &address);
        let home = project.path().join("../home");
        let run = |arguments: &[&str]| {
            let mut command = std::process::Command::new(&buildx);
            command.args(arguments).current_dir(project.path());
            command.env("HOME", &home).output().unwrap()
        };
        let made = run(&["create", "--driver", "remote", "--name", "real", &address]);
        assert!(made.status.success(), "{made:?}");
        let built = run(&["bake", "--builder", "real", "--progress=plain"]);
        let image = std::fs::read(project.path().join("image.tar")).unwrap_or_default();
        let marked = image.windows(10).any(|found| found == b"rbake.test");
        let real = match (built.status.success(), marked) {
            (false, _) => Fate::Refused,
            (true, true) => Fate::Kept,
            (true, false) => Fate::Lost,
        };
        assert_eq!(real, *fate, "the daemon, {level}: {text}\n{built:?}");

        let output = project.rbake(&[]);
        let told = output.stderr.contains("[run::annotation]");
        let said = match (output.code, told) {
            (Some(0), false) => Fate::Kept,
            (Some(0), true) => Fate::Lost,
            (Some(3), true) => Fate::Refused,
            _ => panic!("{level}: {output}"),
        };
        assert_eq!(said, *fate, "rbake, {level}: {text}\n{output}");
    }
}
