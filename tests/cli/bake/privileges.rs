//! What rbake must not do without permission: what it prints, and how the user grants it.
//!
//! Nothing listens on the builder's address: a run that gets so far ends with another exit code.

use std::path::Path;

use crate::support::project::{CommandOutput, TestProject, assert_session};
use crate::support::pty::Terminal;

const PRIVILEGES: i32 = 2;

fn project(targets: &str) -> TestProject {
    TestProject::new()
        .file("docker-bake.hcl", targets)
        .file("Dockerfile", "FROM scratch\n")
        .env("BUILDKIT_HOST", "tcp://127.0.0.1:1")
}

#[track_caller]
fn asked(output: &CommandOutput, flag: &str) {
    assert_eq!(output.code, Some(PRIVILEGES), "{output}");
    assert!(output.stderr.contains(flag), "{output}");
    assert!(
        output.stderr.contains("additional privileges requested"),
        "{output}"
    );
}

#[track_caller]
fn went_on(output: &CommandOutput) {
    assert_ne!(output.code, Some(PRIVILEGES), "{output}");
    assert_ne!(output.code, Some(0), "{output}");
    assert!(
        !output.stderr.contains("additional privileges requested"),
        "{output}"
    );
}

#[test]
fn missing_privileges_are_printed_with_the_command_that_grants_them() {
    let project = project(
        r#"target "a" {
  context      = "/usr"
  entitlements = ["security.insecure"]
}
target "b" {
  network = "host"
  output  = ["type=local,dest=/usr/out"]
}
"#,
    );
    assert_session!(project.session(&["a b --set '*.args.X=a b'"]));
}

#[test]
fn privileges_of_every_target_are_required() {
    let project = project(
        r#"target "a" { context = "/usr" }
target "b" {}
target "c" { output = ["type=local,dest=/usr/out"] }
"#,
    );
    for _ in 0..4 {
        let output = project.rbake(&["a", "b", "c"]);
        asked(&output, "--allow=fs.read=/usr");
        asked(&output, "--allow=fs.write=/usr/out");
    }
    went_on(&project.rbake(&["a", "b", "c", "--allow=fs=/usr"]));
}

#[test]
fn a_device_that_is_allowed_is_not_asked_for() {
    let project = project("target \"a\" { entitlements = [\"device=foo\"] }\n");
    asked(&project.rbake(&["a"]), "--allow=device=foo");
    went_on(&project.rbake(&["a", "--allow", "device=foo"]));
    went_on(&project.rbake(&["a", "--allow", "device"]));
}

const HOSTILE: &str =
    "gpu\\u001b[2J\\u001b[H\\r\\n - nothing at all\\u202e $(touch ran) `touch ran` '; touch ran #";

#[test]
fn control_characters_in_a_privilege_are_escaped() {
    let project = project(&format!(
        "target \"a\" {{ entitlements = [\"device={HOSTILE}\"] }}\n"
    ));
    let output = project.rbake(&["a", "--set", "a.args.X=\u{1b}]0;title\u{7}"]);
    asked(&output, "--allow=");
    let hidden = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!output.stderr.contains(hidden), "{:?}", output.stderr);
    assert!(!output.stderr.contains("\n - nothing at all"), "{output}");

    // The command that is offered does what it says and nothing else.
    let mut lines = output.stderr.lines();
    lines.find(|line| line.starts_with("Your full command"));
    let command = lines.nth(1).unwrap();
    let again = std::process::Command::new("bash")
        .args(["-c", command])
        .current_dir(project.path())
        .env("BUILDKIT_HOST", "tcp://127.0.0.1:1")
        .output()
        .unwrap();
    went_on(&project.read(&again));
    assert!(!project.path().join("ran").exists());
}

#[test]
fn a_terminal_shows_control_characters_of_definitions_escaped() {
    let project = project(
        r#"target "a" {
  description = "\u001b[2J\u202ehi\u009b"
  args        = { X = "\u009b2J\u202e" }
}
"#,
    );
    let program = Path::new(env!("CARGO_BIN_EXE_rbake"));
    for (arguments, shown) in [
        (&["--list=targets"][..], "\\u001b[2J\\u202ehi\\u009b"),
        (&["--list=type=targets,format=json"], "[2J\\u202ehi\\u009b"),
        (&["--print", "a"], "\\u009b2J\\u202e"),
    ] {
        let mut terminal = Terminal::start(program, &project.command(arguments));
        terminal.wait_for(shown);
        // The same in a log, which may be shown in a terminal later. A program that parses the JSON gets the original text.
        let piped = project.rbake(arguments);
        assert!(
            !piped.stdout.contains(['\u{1b}', '\u{9b}', '\u{202e}']),
            "{piped}"
        );
        if let Ok(json) = serde_json::from_str::<serde_json::Value>(&piped.stdout) {
            assert!(json.to_string().contains('\u{202e}'), "{json}");
        }
    }
}

#[test]
fn machine_readable_progress_grants_nothing() {
    let project = project(
        r#"target "host" { network = "host" }
target "files" { context = "/usr" }
"#,
    );
    assert_session!(project.session(&["host --progress=rawjson", "files --progress=rawjson"]));
}

#[test]
fn only_files_can_be_waived() {
    let files =
        project("target \"a\" { context = \"/usr\" }\n").env("BUILDX_BAKE_ENTITLEMENTS_FS", 0);
    let output = files.rbake(&["a"]);
    went_on(&output);
    assert!(
        output.stderr.contains("Read access to path /usr"),
        "{output}"
    );
    let host =
        project("target \"a\" { network = \"host\" }\n").env("BUILDX_BAKE_ENTITLEMENTS_FS", 0);
    asked(&host.rbake(&["a"]), "--allow=network.host");
}

#[test]
fn the_flag_for_deleting_files_takes_no_value() {
    let project = project("target \"a\" {}\n");
    assert_session!(project.session(&["a --allow buildx.local.delete=true"]));
}

#[test]
fn a_user_at_a_terminal_is_asked() {
    let project = project("target \"a\" {\n  network = \"host\"\n}\n");
    let program = Path::new(env!("CARGO_BIN_EXE_rbake"));
    for (answer, then) in [
        ("n\n", "additional privileges requested"),
        ("\n", "additional privileges requested"),
        // Nothing listens on the builder's address.
        ("y\n", "127.0.0.1:1"),
    ] {
        let mut terminal = Terminal::start(program, &project.command(&["a"]));
        let asked = terminal.wait_for("[y/N]");
        assert!(asked.contains("in the future pass"), "{asked}");
        terminal.type_in(answer);
        terminal.wait_for(then);
    }
}
