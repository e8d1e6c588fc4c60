//! `rbake builder`, without a builder.

use super::project;
use crate::support::project::{TestProject, assert_session};

#[test]
fn flags_may_stand_before_the_verb() {
    assert_session!(project().session(&[
        "--builder nowhere builder status",
        "--builder=nowhere +builder status",
        "-D --builder nowhere builder status --json",
        "builder --builder nowhere status",
        "builder status --builder nowhere",
    ]));
}

#[test]
fn flags_of_a_bake_are_refused() {
    assert_session!(project().session(&["--builder x builder stop", "--print builder status"]));
}

#[test]
fn unknown_words_are_refused() {
    assert_session!(project().session(&[
        "builder nosuch",
        "builder install --from nosuch",
        "builder status x"
    ]));
}

#[test]
fn a_builder_that_does_not_run_is_stopped_already() {
    assert_session!(project().session(&["builder stop", "builder stop --force"]));
}

#[test]
fn status_warns_of_a_configuration_that_cannot_be_read() {
    let project = TestProject::new().docker_config("{\"currentContext\": hunter2}");
    assert_session!(project.session(&["--builder nowhere builder status"]));
}
