//! Verbs and targets of one name.

use super::project;
use crate::support::project::TestProject;

fn with_a_target_called_version() -> TestProject {
    TestProject::new()
        .file(
            "docker-bake.hcl",
            "target \"version\" { tags = [\"x:1\"] }\n",
        )
        .file("Dockerfile", "FROM scratch\n")
}

#[test]
fn a_verb_is_a_verb_where_no_target_has_its_name() {
    let output = project().rbake(&["version"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.stdout.starts_with("rbake "), "{output}");
}

#[test]
fn a_target_goes_before_a_verb_and_a_note_tells_the_way() {
    let output = with_a_target_called_version().rbake(&["version", "--print"]);
    assert!(output.stdout.contains("\"x:1\""), "{output}");
    assert!(
        output.stderr.contains("`rbake +version` reaches the verb"),
        "{output}"
    );
}

#[test]
fn one_spelling_always_reaches_the_verb() {
    let output = with_a_target_called_version().rbake(&["+version"]);
    assert!(output.stdout.starts_with("rbake "), "{output}");
}

#[test]
fn verbs_need_no_definition() {
    let output = TestProject::new().rbake(&["version"]);
    assert_eq!(output.code, Some(0), "{output}");
    let broken = TestProject::new()
        .file("docker-bake.hcl", "target {{{")
        .rbake(&["version"]);
    assert_eq!(broken.code, Some(0), "{broken}");
}

#[test]
fn flags_may_stand_before_a_verb() {
    for line in [
        &["--builder", "nowhere", "builder", "status"][..],
        &["--builder=nowhere", "+builder", "status"],
        &["-D", "--builder", "nowhere", "builder", "status", "--json"],
        &["builder", "--builder", "nowhere", "status"],
        &["builder", "status", "--builder", "nowhere"],
    ] {
        let output = project().rbake(line);
        assert_eq!(output.code, Some(4), "{line:?}: {output}");
        assert!(
            output
                .stderr
                .contains("`--builder` names the builder `nowhere`"),
            "{line:?}: {output}"
        );
    }
    let printed = project().rbake(&["--print", "bake"]);
    assert_eq!(
        printed.stdout,
        project().rbake(&["--print"]).stdout,
        "{printed}"
    );
    let output = project().rbake(&["--builder", "x", "builder", "stop"]);
    assert_eq!(output.code, Some(2), "{output}");
    assert!(output.stderr.contains("`--builder` goes with"), "{output}");
    for line in [
        &["--print", "builder", "status"][..],
        &["--print", "version"],
    ] {
        let output = project().rbake(line);
        assert_eq!(output.code, Some(2), "{output}");
        assert!(output.stderr.contains("--print"), "{output}");
    }
    // What follows `--`, and what a flag takes, is no verb.
    let output = project().rbake(&["--", "version"]);
    assert_eq!(output.code, Some(3), "{output}");
    let output = project().rbake(&["--builder", "version", "--print"]);
    assert_eq!(output.code, Some(0), "{output}");
}

#[test]
fn a_target_goes_before_a_verb_also_behind_flags() {
    let output = with_a_target_called_version().rbake(&["--print", "version"]);
    assert!(output.stdout.contains("\"x:1\""), "{output}");
}

#[test]
fn help_tells_flags_verbs_and_codes() {
    let output = project().rbake(&["--help"]);
    assert_eq!(output.code, Some(0), "{output}");
    for expected in ["--set", "--metadata-file", "builder", "Exit codes"] {
        assert!(output.stdout.contains(expected), "{expected}: {output}");
    }
}

// What counts as an address and what as a target is buildx's; an address is refused with what is missing.
#[test]
fn addresses_are_told_from_targets() {
    let project = project();
    for address in [
        "https://example.com/x.git",
        "http://example.com/bake.hcl",
        "github.com/a/b",
        "git@example.com:a/b.git",
        "ssh://git@example.com/a.git",
        "git://example.com/a",
    ] {
        let output = project.rbake(&["--print", address, "webapp"]);
        assert_eq!(output.code, Some(3), "{output}");
        assert!(
            output.stderr.contains("definition::remote-unsupported"),
            "{output}"
        );
    }
    for target in [
        "./github.com/a",
        "../x@y:z",
        "ftp://example.com/a.git",
        "a.git",
    ] {
        let output = project.rbake(&["--print", target]);
        assert_eq!(output.code, Some(3), "{output}");
        assert!(output.stderr.contains("plan::unknown-target"), "{output}");
    }
    // Only the first word is a definition's address.
    let output = project.rbake(&["--print", "webapp", "https://example.com/x.git"]);
    assert!(output.stderr.contains("plan::unknown-target"), "{output}");
}
