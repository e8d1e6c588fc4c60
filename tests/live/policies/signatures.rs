//! Signatures of commits, tags and downloads. The objects and keys are those of tests/parity/policies.json.

use serde_json::Value;

use super::{both, file_server, target};
use crate::support::bakers::{Baker, Bakers};
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

/// The case of a download `name`: its keys, its signature and its content.
fn download(vectors: &Value, name: &str) -> [String; 3] {
    let cases = vectors["decisions"].as_array().unwrap();
    let mut cases = cases.iter();
    let case = cases.find(|case| case["name"] == format!("download: {name}"));
    let case = case.unwrap_or_else(|| panic!("no case {name}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    [
        text(&case["files"]["keys.asc"]),
        text(&case["files"]["file.asc"]),
        text(&case["known"]["content"]),
    ]
}

/// A project whose only step downloads `content`, with a policy that has the rule `allow`.
fn downloading(content: &str, allow: &str) -> TestProject {
    let host = file_server(content);
    let policy = format!(
        "package docker\n\ndefault allow := false\n\nallow if not input.http\n\nallow if {{\n\t{allow}\n}}\n\ndecision := {{\"allow\": allow}}\n"
    );
    TestProject::new()
        .file("docker-bake.hcl", target("a", ""))
        .file(
            "Dockerfile",
            format!("FROM scratch\nADD http://{host}/file /added\n"),
        )
        .file("Dockerfile.rego", policy)
}

const SIGNED: &str = "verify_http_pgp_signature(input.http, \"file.asc\", \"keys.asc\")";

#[test]
#[ignore = "needs live peers"]
fn signatures_of_downloads_are_checked_as_with_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    for (name, builds) in [
        ("rsa2048", true),
        ("ed25519", true),
        ("nistp384", true),
        ("a key that was revoked later, as it is superseded", true),
        ("another key", false),
        ("another file", false),
        ("a digest of SHA1", false),
        ("a wrong signature", false),
    ] {
        let [keys, signature, content] = download(&vectors, name);
        let project = downloading(&content, SIGNED)
            .file("keys.asc", keys)
            .file("file.asc", signature);
        let said = both(&bakers, &project, &["a"], builds);
        let denied = said.contains("not allowed by policy: action DENY");
        assert_eq!(denied, !builds, "{name}: {said}");
    }
}

/// The daemon tells one digest at a time, so buildx asks by turns until the daemon refuses.
#[test]
#[ignore = "needs live peers"]
fn a_download_may_need_two_signatures() {
    let bakers = Bakers::on_the_shared_daemon();
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let [first_keys, first, content] = download(&vectors, "ed25519");
    let [second_keys, second, same] = download(&vectors, "rsa2048");
    assert_eq!(content, same);
    let both = format!(
        "{SIGNED}\n\tverify_http_pgp_signature(input.http, \"second.asc\", \"second-keys.asc\")"
    );
    let project = |signature: &str| {
        downloading(&content, &both)
            .file("keys.asc", &first_keys)
            .file("file.asc", &first)
            .file("second-keys.asc", &second_keys)
            .file("second.asc", signature)
    };
    let output = bakers.bake(Baker::Rbake, &project(&second), &["a"]);
    assert_eq!(output.code, Some(0), "{output}");
    let output = bakers.bake(Baker::Buildx, &project(&second), &["a"]);
    assert!(
        output.stderr.contains("too many policy requests"),
        "{output}"
    );
    let [_, wrong, _] = download(&vectors, "another key");
    let output = bakers.bake(Baker::Rbake, &project(&wrong), &["a"]);
    assert!(
        output.stderr.contains("not allowed by policy: action DENY"),
        "{output}"
    );
}
