//! `--preflight-only` lists everything that it finds at once, also what only registries know.

use test_case::test_case;

use crate::support::peers;
use crate::support::private_registry::PrivateRegistry;
use crate::support::project::TestProject;

fn project(attributes: &str) -> TestProject {
    TestProject::new()
        .file(
            "docker-bake.hcl",
            format!("target \"default\" {{\n{attributes}\n}}\n"),
        )
        .file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
        .env("BUILDKIT_HOST", peers::peer("RBAKE_TEST_BUILDKIT_ADDR"))
}

#[test]
#[ignore = "needs live peers"]
fn a_missing_login_is_listed_beside_a_missing_file() {
    let registry = PrivateRegistry::start();
    let missing = project(&format!(
        "tags = [\"{}/team/a:latest\"]\ndockerfile = \"missing\"",
        registry.address
    ));
    let output = missing.rbake(&["--push", "--preflight-only"]);
    for code in ["run::dockerfile-missing", "publish::denied"] {
        assert!(output.stderr.contains(code), "{output}");
    }
    // A run that builds does not make its user wait for registries, and nor does one that may not read its files.
    let built = missing.rbake(&["--push"]);
    assert!(built.stderr.contains("run::dockerfile-missing"), "{built}");
    assert!(!built.stderr.contains("publish::denied"), "{built}");
    let elsewhere = project(&format!(
        "tags = [\"{}/team/a:latest\"]\ncontext = \"/usr\"\ndockerfile = \"missing\"",
        registry.address
    ));
    let refused = elsewhere.rbake(&["--push", "--preflight-only"]);
    assert!(!refused.stderr.contains("publish::denied"), "{refused}");
    // With the login, only the file is missing.
    let config = registry.docker_config();
    let output = missing
        .docker_config(&config)
        .rbake(&["--push", "--preflight-only"]);
    assert_eq!(output.code, Some(3), "{output}");
    assert!(!output.stderr.contains("publish::denied"), "{output}");
}

#[test_case("0123456789012345678901234567890123456789", true; "another commit")]
#[test_case("HEAD", false; "the commit")]
#[ignore = "needs live peers"]
fn a_revision_of_the_definition_is_noted_if_it_is_another_one(revision: &str, noted: bool) {
    let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
    let project = project(&format!(
        "tags = [\"{registry}/revision/a:latest\"]\nannotations = [\"index:org.opencontainers.image.revision=${{REVISION}}\"]\n}}\nvariable \"REVISION\" {{\n  default = \"\""
    ));
    let git = |words: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        let words = [&identity, words].concat();
        let output = project
            .program(std::path::Path::new("git"), &words)
            .output();
        String::from_utf8(output.unwrap().stdout)
            .unwrap()
            .trim()
            .to_owned()
    };
    git(&["init", "--quiet"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "--message=one"]);
    let head = git(&["rev-parse", "HEAD"]);
    let revision = if revision == "HEAD" { &head } else { revision };
    let revision = format!("REVISION={revision}");
    let output = project.rbake(&["--push", "--var", &revision]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(
        output.stderr.contains("publish::revision"),
        noted,
        "{output}"
    );
}

#[test]
#[ignore = "needs live peers"]
fn a_registry_that_does_not_answer_is_not_called_ready() {
    let project = project("tags = [\"127.0.0.1:1/a:latest\"]");
    let output = project.rbake(&["--push", "--preflight-only"]);
    let text = "it could not look at all registries";
    assert!(output.stderr.contains(text), "{output}");
}
