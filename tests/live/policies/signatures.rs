//! Signatures of commits and tags. The objects and keys are those of tests/parity/policies.json.

use serde_json::Value;

use super::{both, target};
use crate::support::bakers::Bakers;
use crate::support::git_server::GitServer;
use crate::support::project::TestProject;

const VECTORS: &str = include_str!("../../parity/policies.json");

/// The case `name`: its keys, its commit and its tag.
fn case(vectors: &Value, name: &str) -> [String; 3] {
    let cases = vectors["decisions"].as_array().unwrap();
    let mut cases = cases.iter();
    let case = cases.find(|case| case["name"] == format!("OpenPGP: {name}"));
    let case = case.unwrap_or_else(|| panic!("no case {name}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let known = &case["known"];
    [
        text(&case["files"]["keys.asc"]),
        text(&known["commitObject"]),
        text(&known["tagObject"]),
    ]
}

#[test]
#[ignore = "needs live peers"]
fn signatures_of_openpgp_are_checked_as_with_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    for (name, object, builds) in [
        ("rsa2048", "commit", true),
        ("ed25519", "commit", true),
        ("nistp384", "commit", true),
        ("a subkey beside another", "commit", true),
        ("a key that has expired since", "commit", true),
        ("another key", "commit", false),
        ("another object", "commit", false),
        ("a digest of SHA1", "commit", false),
        (
            "a key that was revoked later, as it is superseded",
            "commit",
            false,
        ),
        ("a tag with a key of rsa2048", "tag", true),
        ("another tag with a key of rsa2048", "tag", false),
    ] {
        let [keys, commit, tag] = case(&vectors, name);
        let server = GitServer::serving(&[("file", "text")], None);
        server.store("commit", &commit, "refs/heads/signed");
        let reference = if tag.is_empty() {
            "signed"
        } else {
            server.store("tag", &tag, "refs/tags/v1");
            "v1"
        };
        let url = server.url();
        let policy = format!(
            "package docker\n\ndefault allow := false\n\nallow if not input.git\n\nallow if verify_git_signature(input.git.{object}, \"keys.asc\")\n\ndecision := {{\"allow\": allow}}\n"
        );
        let project = TestProject::new()
            .file("docker-bake.hcl", target("a", ""))
            .file(
                "Dockerfile",
                format!("FROM scratch\nADD {url}#{reference} /added\n"),
            )
            .file("Dockerfile.rego", policy)
            .file("keys.asc", keys);
        let said = both(&bakers, &project, &["a"], builds);
        let denied = said.contains("not allowed by policy: action DENY");
        assert_eq!(denied, !builds, "{name}: {said}");
    }
}
