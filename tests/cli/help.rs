//! The whole output of `--help`.

use super::project;
use crate::support::project::assert_session;

#[test]
fn of_a_bake() {
    assert_session!(project().session(&["--help"]));
}

#[test]
fn of_the_verbs() {
    assert_session!(project().session(&[
        "builder --help",
        "builder status --help",
        "builder ls --help",
        "builder inspect --help",
        "builder create --help",
        "builder use --help",
        "builder rm --help",
        "builder start --help",
        "builder du --help",
        "builder prune --help",
        "builder logs --help",
        "builder install --help",
        "builder serve --help",
        "builder stop --help",
        "completion --help",
        "digest --help",
        "promote --help",
        "prune --help",
        "prune images --help",
        "prune cache --help",
        "releases --help",
        "resume --help",
        "rollback --help",
        "undo --help",
        "untag --help",
    ]));
}

#[test]
fn the_verb_bake_has_the_same_help_as_no_verb() {
    let project = project();
    let usage = |output: String| output.replace("rbake bake [", "rbake [");
    let (with, without) = (
        project.rbake(&["bake", "--help"]),
        project.rbake(&["--help"]),
    );
    assert_eq!(with.code, Some(0), "{with}");
    let (with, without) = (usage(with.stdout), usage(without.stdout));
    let options = |text: &str| text[text.find("Options:").unwrap()..].to_owned();
    assert_eq!(options(&with), options(&without));
}
