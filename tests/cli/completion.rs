//! `rbake completion`: the scripts are in `cli/completion/`, and `live::shells` runs them in the shells.

use super::project;
use crate::support::project::assert_session;

#[test]
fn a_shell_must_be_named() {
    assert_session!(project().session(&["completion", "completion fishy"]));
}

#[test]
fn each_script_is_printed_as_it_is() {
    let project = project();
    for (shell, script) in [
        ("bash", include_str!("../../src/cli/completion/rbake.bash")),
        ("zsh", include_str!("../../src/cli/completion/rbake.zsh")),
        ("fish", include_str!("../../src/cli/completion/rbake.fish")),
    ] {
        let output = project.rbake(&["completion", shell]);
        assert_eq!(output.code, Some(0), "{output}");
        assert_eq!(output.stdout, script);
        assert_eq!(output.stderr, "");
    }
}
