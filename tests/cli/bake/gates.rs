//! Gates of `rbake.toml`, and what rbake refuses of them before any work.
//!
//! Nothing listens on the builder's address: a run that gets so far ends with another exit code.

use std::path::Path;

use crate::support::project::{TestProject, assert_session};
use crate::support::pty::Terminal;

const DEFINITION: &str = "target \"web\" { tags = [\"localhost:1/web:latest\"] }\ntarget \"check\" { target = \"check\" }\n";
const DOCKERFILE: &str = "FROM scratch AS check\nRUN test\nFROM scratch\n";
/// The code of a run that found no builder.
const NO_BUILDER: i32 = 4;

fn project(settings: &str) -> TestProject {
    TestProject::new()
        .file("docker-bake.hcl", DEFINITION)
        .file("Dockerfile", DOCKERFILE)
        .file("rbake.toml", settings)
        .env("BUILDKIT_HOST", "tcp://127.0.0.1:1")
}

#[test]
fn a_command_of_the_settings_needs_consent() {
    let project = project("[gate]\nrun = \"make test\"\n");
    assert_session!(project.session(&["web --push", "web --push --allow=gate.rn"]));
    for words in [
        &["web", "--push", "--allow=gate.run"][..],
        &["web", "--push", "--gate-run=mine"],
        &["web", "--push", "--no-gates"],
        &["web"],
    ] {
        let output = project.rbake(words);
        assert_eq!(output.code, Some(NO_BUILDER), "{words:?}: {output}");
    }
    assert_eq!(project.rbake(&["web", "--push", "--print"]).code, Some(0));
}

#[test]
fn an_empty_command_is_not_a_gate() {
    assert_session!(project("").session(&[
        "web --push --gate-run ''",
        "web --push --no-gates --gate-run ' '",
        "web --push --gate ''",
    ]));
    let output = project("[gate]\nrun = \"\"\n").rbake(&["web", "--push"]);
    assert_eq!(output.code, Some(3), "{output}");
}

#[test]
fn a_terminal_asks_whether_the_command_may_run() {
    let project = project("[gate]\nrun = \"make \\u001b[2Jtest\"\n");
    let program = Path::new(env!("CARGO_BIN_EXE_rbake"));
    for (answer, then) in [
        ("n\n", "which you have not allowed"),
        // Nothing listens on the builder's address.
        ("y\n", "127.0.0.1:1"),
    ] {
        let mut terminal = Terminal::start(program, &project.command(&["web", "--push"]));
        let asked = terminal.wait_for("[y/N]");
        assert!(
            asked.contains("make") && asked.contains("--allow=gate.run"),
            "{asked}"
        );
        terminal.type_in(answer);
        terminal.wait_for(then);
    }
}

#[test]
fn mistakes_in_gates_are_shown_at_their_places() {
    let misspelt = project("[gate]\ntragets = [\"check\"]\nrun = 7\n");
    let unknown = project(
        "[gate]\ntargets = [\"chekc\"]\nimages = [\"web\"]\n[gate.save]\nchec = [\"/tmp/*.xml\"]\n",
    );
    let relative = project("[gate.save]\ncheck = [\"reports/*.xml\", \"/a/../b\", \"/**\"]\n");
    assert_session!(
        misspelt.session(&["web --push"])
            + &unknown.session(&["web --push"])
            + &relative.session(&["web --push"])
    );
}

#[test]
fn files_of_gates_stay_in_the_working_directory_unless_the_user_says_otherwise() {
    let settings = |to: &str| {
        format!(
            "[gate]\ntargets = [\"check\"]\nsave-to = \"{to}\"\n[gate.save]\ncheck = [\"/tmp/x\"]\n"
        )
    };
    let outside = project(&settings("/usr/reports"));
    let file = project(&settings("Dockerfile"));
    assert_session!(outside.session(&["web --push"]) + &file.session(&["web --push"]));
    for flag in [
        "--allow=fs.write=/usr/reports",
        "--gate-save-to=/usr/reports",
    ] {
        let output = outside.rbake(&["web", "--push", flag]);
        assert_eq!(output.code, Some(NO_BUILDER), "{flag}: {output}");
    }
    let link = project(&settings("link/reports"));
    std::os::unix::fs::symlink("/usr", link.path().join("link")).unwrap();
    let output = link.rbake(&["web", "--push"]);
    assert_eq!(output.code, Some(2), "{output}");
}
