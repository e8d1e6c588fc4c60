//! Files and names that the builder could not use or ask for: an error before any work.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::project::{TestProject, assert_session};

fn project() -> TestProject {
    TestProject::new()
        .file("Dockerfile", "FROM scratch\nCOPY . /\n")
        .file(
            "docker-bake.hcl",
            "variable \"V\" { default = \"\" }\ntarget \"default\" {\n  args = { A = V }\n}\n",
        )
        .file("secret", "s3cret")
        .env("BUILDKIT_HOST", "unix:///nowhere/at/all")
}

#[test]
fn an_ignore_file_that_leads_out_of_the_context_is_an_error_with_a_fix() {
    let project = project();
    std::fs::write(project.path().join("../shared"), "secret\n").unwrap();
    let link = project.path().join(".dockerignore");
    symlink("../shared", &link).unwrap();
    assert_session!(project.session(&[""]));
    // The suggested command fixes the problem.
    let command = "cp .dockerignore .dockerignore.copy && mv .dockerignore.copy .dockerignore";
    let output = project.rbake(&[]);
    assert!(output.stderr.contains(command), "{output}");
    let mut shell = std::process::Command::new("sh");
    let mended = shell.args(["-c", command]).current_dir(project.path());
    assert!(mended.status().unwrap().success());
    let output = project.rbake(&[]);
    assert!(!output.stderr.contains("ignore"), "{output}");
}

#[test]
fn an_ignore_file_that_is_not_a_file_is_an_error() {
    let session = |make: fn(&Path)| {
        let project = project();
        make(&project.path().join("Dockerfile.dockerignore"));
        project.session(&[""])
    };
    let dangling = session(|path| symlink("nowhere", path).unwrap());
    let directory = session(|path| std::fs::create_dir(path).unwrap());
    let pipe = session(|path| {
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR).unwrap();
    });
    assert_session!(dangling + &directory + &pipe);
}

#[test]
fn a_bad_pattern_is_shown_with_its_file_and_line() {
    let project = project().file(".dockerignore", "a\n# comment\n[b\n");
    assert_session!(project.session(&[""]));
}

// The Dockerfile uses no file of the context, so rbake does not read the ignore file.
#[test]
fn an_ignore_file_does_not_matter_if_no_file_is_sent() {
    let project = project()
        .file("Dockerfile", "FROM scratch\n")
        .file(".dockerignore", "[b\n");
    assert_eq!(project.rbake(&[]).code, Some(4));
}

#[test]
fn a_source_with_a_line_break_is_shown_by_its_line() {
    let project = project().file("Dockerfile", "FROM scratch\n\nCOPY [\"a\\nb\", \"/\"]\n");
    assert_session!(project.session(&[""]));
}

#[test]
fn a_dockerfile_that_the_daemon_would_not_find_is_an_error() {
    let project = project()
        .file(
            "docker-bake.hcl",
            "target \"default\" {\n  context = \"app\"\n}\n",
        )
        .file("app/main", "");
    std::fs::rename(
        project.path().join("Dockerfile"),
        project.path().join("Shared"),
    )
    .unwrap();
    symlink("../Shared", project.path().join("app/Dockerfile")).unwrap();
    assert_session!(project.session(&[""]));
}

#[test]
fn arguments_and_variables_that_are_not_utf8_are_an_error() {
    let bad = OsStr::from_bytes(b"bad\xff");
    let project = project();
    let mut command = project.command(&["--print", "-f"]);
    let output = command.arg(bad).output().unwrap();
    let mut session = format!(
        "$ rbake --print -f BAD\n{}\n",
        project.read(&output).session()
    );
    for name in ["V", "DOCKER_HOST", "BUILDX_BAKE_FILE", "OTHER", "HOME"] {
        let mut command = project.command(&["--print"]);
        let output = command.env(name, bad).output().unwrap();
        let output = project.read(&output).session();
        let _ = writeln!(session, "$ {name}=BAD rbake --print\n{output}");
    }
    assert_session!(session);
}

#[test]
fn a_variable_that_is_not_utf8_is_not_replaced_by_a_default() {
    let compose = "services:\n  web:\n    build: .\n    image: example.com/web:${V}\n";
    let project = TestProject::new()
        .file("docker-compose.yml", compose)
        .file(".env", "V=default\n")
        .file("Dockerfile", "FROM scratch\n");
    let bad = OsStr::from_bytes(b"bad\xff");
    let mut command = project.command(&["-f", "docker-compose.yml", "--print"]);
    let output = command.env("V", bad).output().unwrap();
    let refused = format!(
        "$ V=BAD rbake -f docker-compose.yml --print\n{}\n",
        project.read(&output).session()
    );
    assert_session!(refused + &project.session(&["-f docker-compose.yml --print"]));
}
