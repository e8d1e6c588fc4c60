//! `--print` and `--list`: data goes to standard output, and nothing else does.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use crate::cli::project;
use crate::support::project::{TestProject, assert_session};

#[test]
fn print_is_data_and_nothing_else() {
    assert_session!(project().env("TAG", "7").session(&[
        "--print webapp",
        "--print",
        "bake --print db"
    ]));
}

#[test]
fn lists_name_targets_and_variables() {
    assert_session!(project().session(&[
        "--list=targets",
        "--list=variables",
        "--list type=variables,format=json",
    ]));
}

#[test]
fn the_definition_may_lie_in_bake() {
    let project = TestProject::new()
        .file(
            "bake/docker-bake.hcl",
            "target \"default\" { context = \"src\" }\n",
        )
        .file("src/Dockerfile", "FROM scratch\n");
    assert_session!(project.session(&["--print"]));
}

#[test]
fn standard_input_is_a_definition_too() {
    let project = TestProject::new();
    let mut child = project
        .command(&["-f", "-", "--print", "a"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"target \"a\" { tags = [\"x:1\"] }")
        .unwrap();
    let output = project.read(&child.wait_with_output().unwrap());
    assert_session!(output.session());
}

/// Pipes, such as those of `<(…)` in a shell, cannot be read again, also not to find out what the word `bake` means.
#[test]
fn definitions_in_pipes_are_read_once() {
    const DEFINITION: &[u8] = b"target \"a\" { tags = [\"x:1\"] }";
    for (words, variable) in [
        (&["bake", "-f", "/dev/stdin"][..], None),
        (&["+bake", "-f", "/dev/stdin"], None),
        (&["-f", "/dev/stdin"], None),
        (&["bake", "-f", "/dev/fd/0"], None),
        (&["bake", "-f", "-"], None),
        (&["bake"], Some("/dev/stdin")),
        (&["bake"], Some("-")),
        (&["releases", "--print"], Some("/dev/stdin")),
    ] {
        let project = TestProject::new();
        let (read, mut write) = std::io::pipe().unwrap();
        write.write_all(DEFINITION).unwrap();
        drop(write);
        let mut command = project.command(words);
        if words[0] != "releases" {
            command.args(["--print", "a"]);
        }
        command.stdin(OwnedFd::from(read));
        if let Some(file) = variable {
            command.env("BUILDX_BAKE_FILE", file);
        }
        let output = project.read(&command.output().unwrap());
        assert!(
            !output.stderr.contains("there is nothing in"),
            "{words:?}: {output}"
        );
        if words[0] != "releases" {
            assert_eq!(output.code, Some(0), "{words:?} {variable:?}: {output}");
            assert!(output.stdout.contains("x:1"), "{words:?}: {output}");
        }
    }
}

#[test]
fn a_definition_in_a_named_pipe_is_read_once() {
    let project = TestProject::new();
    let pipe = project.path().join("pipe");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    // Opening it waits for the reader.
    let writer = std::thread::spawn(move || {
        std::fs::write(&pipe, "target \"a\" { tags = [\"x:1\"] }").unwrap();
    });
    let output = project.rbake(&["bake", "-f", "pipe", "--print", "a"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.stdout.contains("x:1"), "{output}");
    writer.join().unwrap();
}

#[test]
fn a_reader_that_goes_away_is_an_error_without_a_panic() {
    let project = project();
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let output = project
        .command(&["--print"])
        .stdout(OwnedFd::from(write))
        .output()
        .unwrap();
    assert_session!(project.read(&output).session());
}

#[test]
fn a_full_disk_is_an_error() {
    let project = project();
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = project.command(&["--print"]).stdout(full).output().unwrap();
    assert_session!(project.read(&output).session());
}
