//! What is found before the build, without a builder or a registry.

use crate::support::project::{TestProject, assert_session};

fn project(definition: &str) -> TestProject {
    TestProject::new()
        .file("docker-bake.hcl", definition)
        .file("Dockerfile", "FROM scratch\n")
        .env("BUILDKIT_HOST", "tcp://127.0.0.1:1")
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let project = project(
        r#"
target "web" {
  tags = ["localhost:1/shop:latest", "localhost:1/shop:feature/a"]
  cache-to = ["type=registry,ref=localhost:1/shop:latest"]
}
target "worker" {
  context = "missing"
  tags = ["localhost:1/shop:latest"]
}
target "test" {
  dockerfile = "Dockerfile.test"
  secret = ["id=token,src=token.txt"]
}
"#,
    );
    assert_session!(project.session(&["web worker test --push --preflight-only"]));
}

#[test]
fn a_cache_of_github_without_credentials_is_listed_with_the_rest() {
    let definition = r#"
target "web" {
  context = "missing"
  tags = ["localhost:1/shop:latest"]
  cache-to = ["type=gha,scope=web"]
}
"#;
    let project = project(definition).env("GITHUB_ACTIONS", "true");
    assert_session!(project.session(&["web --push --preflight-only"]));
    let project = project
        .env("ACTIONS_RUNTIME_TOKEN", "token")
        .env("ACTIONS_RESULTS_URL", "http://localhost:1/");
    let output = project.rbake(&["web", "--push", "--preflight-only"]);
    assert!(!output.stderr.contains("gha-without-token"), "{output}");
}

#[test]
fn a_misspelt_verb_is_suggested_unless_a_target_has_a_similar_name() {
    let project = project("target \"unto\" {}\n");
    assert_session!(project.session(&["promot", "undoo", "relases", "xyz"]));
}
