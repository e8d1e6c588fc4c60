//! How rbake distinguishes verbs, targets and addresses.

use super::project;
use crate::support::project::{TestProject, assert_session};

fn with_a_target_called_version() -> TestProject {
    TestProject::new()
        .file(
            "docker-bake.hcl",
            "target \"version\" { tags = [\"x:1\"] }\n",
        )
        .file("Dockerfile", "FROM scratch\n")
}

#[test]
fn a_target_takes_precedence_over_a_verb_with_a_note() {
    assert_session!(with_a_target_called_version().session(&[
        "version --print",
        "--print version",
        "+version",
    ]));
}

#[test]
fn words_after_two_dashes_or_a_flag_are_not_verbs() {
    assert_session!(project().session(&["-- version", "--builder version --print db"]));
}

#[test]
fn the_verb_bake_changes_nothing() {
    let project = project();
    assert_eq!(
        project.rbake(&["--print", "bake"]).stdout,
        project.rbake(&["--print"]).stdout
    );
}

// The same words are addresses as in buildx. The builder fetches them, so rbake looks for it at once.
#[test]
fn addresses_are_not_targets() {
    for address in [
        "https://example.com/x.git",
        "http://example.com/bake.hcl",
        "github.com/a/b",
        "git@example.com:a/b.git",
        "ssh://git@example.com/a.git",
        "git://example.com/a",
    ] {
        let project = project().env("BUILDX_BUILDER", "nope");
        let output = project.rbake(&["--print", address, "webapp"]);
        assert_eq!(output.code, Some(4), "{address}: {output}");
        assert!(
            output.stderr.contains("builder::unknown"),
            "{address}: {output}"
        );
    }
}

#[test]
fn targets_may_look_like_addresses() {
    assert_session!(project().session(&[
        "--print ./github.com/a",
        "--print ../x@y:z",
        "--print ftp://example.com/a.git",
        "--print a.git",
        // Only the first word is a definition's address.
        "--print webapp https://example.com/x.git",
    ]));
}
