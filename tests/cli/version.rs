//! `rbake version`.

use super::project;
use crate::support::project::{TestProject, assert_session};

#[test]
fn the_version_is_printed_under_each_spelling() {
    assert_session!(project().session(&["version", "+version", "--version"]));
}

#[test]
fn it_takes_no_arguments() {
    assert_session!(project().session(&[
        "version --json",
        "+version x",
        "--print version",
        "version --help"
    ]));
}

#[test]
fn it_needs_no_definition() {
    let broken = TestProject::new().file("docker-bake.hcl", "target {{{");
    assert_session!(
        [TestProject::new(), broken]
            .map(|project| project.session(&["version"]))
            .concat()
    );
}
