//! The provenance of images must not contain useless details of this machine.

use crate::support::buildkitd::Buildkitd;
use crate::support::project::TestProject;

const DEFINITION: &str = r#"
group "default" { targets = ["one", "two", "inline"] }
target "_all" {
  attest = ["type=provenance,mode=${MODE}"]
}
variable "MODE" { default = "min" }
target "one" {
  inherits = ["_all"]
  contexts = { extra = "extra" }
  args     = { A = "1" }
  output   = ["type=oci,dest=one.tar"]
}
target "two" {
  inherits = ["_all"]
  contexts = { extra = "extra" }
  args     = { A = "2" }
  output   = ["type=oci,dest=two.tar"]
}
target "inline" {
  inherits          = ["_all"]
  dockerfile-inline = "FROM scratch\nCOPY a /\n"
  output            = ["type=oci,dest=inline.tar"]
}
"#;

fn project() -> TestProject {
    TestProject::new()
        .file("docker-bake.hcl", DEFINITION)
        .file(
            "Dockerfile",
            "FROM scratch\nARG A\nCOPY a /\nCOPY --from=extra b /\n",
        )
        .file("a", "a")
        .file("extra/b", "b")
}

fn has(haystack: &[u8], needle: &str) -> bool {
    let needle = needle.as_bytes();
    haystack.windows(needle.len()).any(|found| found == needle)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn provenance_contains_no_session_id() {
    let daemon = Buildkitd::start(&[]).await;
    for mode in ["min", "max"] {
        let project = project()
            .env("BUILDKIT_HOST", daemon.endpoint())
            .env("MODE", mode);
        let output = project.rbake(&[]);
        assert_eq!(output.code, Some(0), "{output}");
        for name in ["one", "two", "inline"] {
            let image = std::fs::read(project.path().join(format!("{name}.tar"))).unwrap();
            assert!(has(&image, "externalParameters"), "{mode}: no provenance");
            // Even the smallest kind of provenance has the frontend's arguments.
            assert!(has(&image, "\"args\""), "{mode}: no arguments");
            assert!(!has(&image, "local-sessionid"), "{mode}, {name}: a session");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_directory_that_two_targets_read_is_sent_once_unless_it_is_tiny() {
    let daemon = Buildkitd::start(&[]).await;
    let project = project()
        .file("a", vec![b'x'; 300_000])
        .env("BUILDKIT_HOST", daemon.endpoint());
    let output = project.rbake(&["one", "two", "--progress=plain"]);
    assert_eq!(output.code, Some(0), "{output}");
    let large = output
        .stderr
        .lines()
        .filter(|line| line.contains("(context): ") && line.contains("300 kB"));
    assert_eq!(large.count(), 1, "{output}");
}

// The Dockerfiles name the directory in other ways, and one target uses the other.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_large_directory_that_is_read_as_a_whole_is_sent_once_for_all_dockerfiles() {
    let daemon = Buildkitd::start(&[]).await;
    let definition = r#"
target "parent" {
  contexts          = { src = "extra" }
  dockerfile-inline = "FROM scratch\nCOPY . /own\nCOPY --from=src . /src\n"
}
target "child" {
  contexts          = { src = "extra", parent = "target:parent" }
  dockerfile-inline = "FROM scratch\nCOPY a ./ /all/\nCOPY --from=src b ./ /more/\nCOPY --from=parent /own/a /\n"
}
"#;
    let project = TestProject::new()
        .file("docker-bake.hcl", definition)
        .file("a", vec![b'x'; 9 << 20])
        .file("extra/b", vec![b'y'; 6 << 20])
        .env("BUILDKIT_HOST", daemon.endpoint());
    let output = project.rbake(&["parent", "child", "--progress=plain"]);
    assert_eq!(output.code, Some(0), "{output}");
    for (context, size) in [("context", "MB"), ("src", "MB")] {
        let is_sent = |line: &&str| line.contains(&format!("({context}): ")) && line.contains(size);
        let sent: Vec<&str> = output.stderr.lines().filter(is_sent).collect();
        assert_eq!(sent.len(), 1, "{context}: {sent:#?}\n{output}");
    }
}
