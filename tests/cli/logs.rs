//! `RBAKE_LOG` and `--log-file`, without a builder.

use std::os::unix::fs::symlink;

use crate::cli::project;
use crate::support::project::{TestProject, assert_session};

const ENGINE: i32 = 4;

// Nothing listens on the builder's address.
fn without_builder() -> TestProject {
    project().env("BUILDKIT_HOST", "tcp://127.0.0.1:1")
}

fn log(project: &TestProject) -> String {
    std::fs::read_to_string(project.path().join("log")).unwrap()
}

#[test]
fn wrong_filters_are_refused_before_any_work() {
    for filter in ["debgu", "info,h2=trace", "rbake=loud"] {
        let output = project().env("RBAKE_LOG", filter).rbake(&["--print"]);
        assert_eq!(output.code, Some(2), "{output}");
        assert!(output.stderr.contains("[cli::log-filter]"), "{output}");
        assert_eq!(output.stdout, "", "{output}");
    }
}

#[test]
fn places_that_cannot_be_written() {
    let project = project();
    symlink("../home/elsewhere", project.path().join("link")).unwrap();
    assert_session!(project.session(&[
        "--log-file nowhere/log --print",
        "--log-file . --print",
        "--log-file link --print",
        "builder --log-file nowhere/log status",
    ]));
}

#[test]
fn a_log_that_is_incomplete_is_reported_and_fails_nothing() {
    let output = project().rbake(&["--print", "--log-file", "/dev/full"]);
    assert_eq!(output.code, Some(0), "{output}");
    let warning =
        "warning[cli::log-file]: the log `/dev/full` is incomplete: No space left on device";
    assert_eq!(output.stderr.matches(warning).count(), 1, "{output}");
}

#[test]
fn a_file_has_the_log_of_a_run_that_fails() {
    let project = without_builder().file("log", "of an earlier run\n");
    let output = project.rbake(&["--log-file", "log", "webapp"]);
    assert_eq!(output.code, Some(ENGINE), "{output}");
    assert!(!output.stderr.contains("the log is in"), "{output}");
    let log = log(&project);
    let first = log.lines().next().unwrap();
    let form = regex::Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z  INFO rbake::").unwrap();
    assert!(form.is_match(first), "{log}");
    assert!(log.contains("DEBUG"), "{log}");
    assert!(log.contains("tcp://127.0.0.1:1"), "{log}");
    assert!(log.contains("Connection refused"), "{log}");
    assert!(!log.contains("earlier"), "{log}");
}

#[test]
fn the_filter_applies_to_the_file() {
    let project = without_builder().env("RBAKE_LOG", "error");
    let output = project.rbake(&["--log-file=log", "webapp"]);
    assert_eq!(output.code, Some(ENGINE), "{output}");
    let log = log(&project);
    assert!(!log.contains("INFO") && !log.contains("DEBUG"), "{log}");
}

#[test]
fn without_a_file_the_log_goes_to_standard_error_only() {
    let project = project().env("RBAKE_LOG", "info");
    let output = project.rbake(&["--print"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("INFO rbake::cli"), "{output}");
    assert!(output.stdout.starts_with('{'), "{output}");
}

#[test]
fn the_log_goes_to_a_file_while_the_live_view_is_shown() {
    use crate::support::pty::Terminal;
    let project = without_builder().env("RBAKE_LOG", "debug");
    let command = project.command(&["--progress=tty", "webapp"]);
    let shown =
        Terminal::start(std::path::Path::new(command.get_program()), &command).read_to_end();
    let shown = String::from_utf8_lossy(&shown);
    let file = project.home().join(".local/state/rbake/rbake.log");
    assert!(!shown.contains("DEBUG"), "{shown}");
    assert!(shown.contains("note: the log is in `"), "{shown}");
    assert!(
        shown
            .replace("\r\n", "")
            .contains("/.local/state/rbake/rbake.log`"),
        "{shown}"
    );
    let log = std::fs::read_to_string(file).unwrap();
    assert!(log.contains("DEBUG"), "{log}");
}

#[test]
fn debugging_says_where_the_log_is_or_how_to_get_one() {
    let project = without_builder();
    let output = project.rbake(&["-D", "webapp"]);
    assert!(
        output.stderr.contains("note: `--log-file FILE` or"),
        "{output}"
    );
    let output = project.rbake(&["-D", "webapp", "--log-file", "log"]);
    assert!(
        output
            .stderr
            .contains("note: the log is in `[project]/log`"),
        "{output}"
    );
    let output = project.rbake(&["-D", "--progress=rawjson", "webapp"]);
    assert!(!output.stderr.contains("note: `--log-file"), "{output}");
}

#[test]
fn verbs_of_builders_take_the_flag_anywhere() {
    for arguments in [
        &["--log-file", "log", "builder", "status"],
        &["builder", "--log-file", "log", "status"],
        &["builder", "status", "--log-file", "log"],
    ] {
        let project = without_builder();
        let output = project.rbake(arguments);
        assert_eq!(output.code, Some(ENGINE), "{output}");
        assert!(log(&project).contains("rbake::"), "{arguments:?}");
    }
}

#[tokio::test]
async fn waiting_for_a_reader_of_a_pipe_is_reported_and_ends_at_a_signal() {
    use crate::support::interrupted::Run;
    let project = without_builder();
    let pipe = project.path().join("log");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let mut run = Run::start(&project.command(&["--log-file", "log", "webapp"]));
    run.writes("still opening the log").await;
    let ended = run.interrupt(rustix::process::Signal::INT).await;
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
}
