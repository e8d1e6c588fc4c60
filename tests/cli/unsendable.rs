//! Files and names that the builder could not use or ask for: told before any work.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

use crate::support::project::{CommandOutput, TestProject};

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

#[track_caller]
fn refused(output: &CommandOutput, parts: &[&str]) {
    assert_eq!(output.code, Some(3), "{output}");
    for part in parts {
        assert!(output.stderr.contains(part), "{output}");
    }
}

#[test]
fn an_ignore_file_that_leads_out_of_the_context_is_an_error_with_the_way_out() {
    let project = project();
    std::fs::write(project.path().join("../shared"), "secret\n").unwrap();
    let link = project.path().join(".dockerignore");
    symlink("../shared", &link).unwrap();
    let command = "cp .dockerignore .dockerignore.copy && mv .dockerignore.copy .dockerignore";
    let output = project.rbake(&[]);
    refused(
        &output,
        &[
            "error[run::ignore-file]: the ignore file `.dockerignore` leads out of its directory, to `../shared`",
            command,
        ],
    );
    // The way out leads on.
    let mut shell = std::process::Command::new("sh");
    assert!(
        shell
            .args(["-c", command])
            .current_dir(project.path())
            .status()
            .unwrap()
            .success()
    );
    let output = project.rbake(&[]);
    assert!(!output.stderr.contains("ignore"), "{output}");
}

#[test]
fn an_ignore_file_that_is_no_file_is_an_error() {
    for (kind, told) in [
        (
            "dangling",
            "leads to `[project]/nowhere`, which is not there",
        ),
        ("directory", "is a directory"),
        ("pipe", "is a pipe"),
    ] {
        let project = project();
        let path = project.path().join("Dockerfile.dockerignore");
        match kind {
            "dangling" => symlink("nowhere", &path).unwrap(),
            "directory" => std::fs::create_dir(&path).unwrap(),
            _ => rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap(),
        }
        let told = format!("the ignore file `Dockerfile.dockerignore` {told}");
        refused(&project.rbake(&[]), &[&told, "rm "]);
    }
}

#[test]
fn a_bad_pattern_is_told_by_file_and_line() {
    let project = project().file(".dockerignore", "a\n# comment\n[b\n");
    let told =
        "error[run::ignore-pattern]: line 3 of the ignore file `.dockerignore` cannot be used";
    refused(&project.rbake(&[]), &[told]);
}

// Nothing of the context is sent, so nothing can be left out of it.
#[test]
fn an_ignore_file_does_not_matter_where_nothing_is_read() {
    let project = project()
        .file("Dockerfile", "FROM scratch\n")
        .file(".dockerignore", "[b\n");
    assert_eq!(project.rbake(&[]).code, Some(4));
}

#[test]
fn a_source_with_a_line_break_is_told_by_its_line() {
    let project = project().file("Dockerfile", "FROM scratch\n\nCOPY [\"a\\nb\", \"/\"]\n");
    let told = "error[run::copy-source]: line 3 of `Dockerfile` reads `a\\nb`";
    refused(&project.rbake(&[]), &[told, "write `?` in place of"]);
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
    let told = "the Dockerfile `app/Dockerfile` of target `default` leads out of its directory";
    refused(
        &project.rbake(&[]),
        &["error[run::dockerfile-unusable]", told],
    );
}

#[test]
fn arguments_and_variables_that_are_not_utf8_are_an_error() {
    let bad = OsStr::from_bytes(b"bad\xff");
    let project = project();
    let output = project
        .command(&["--print", "-f"])
        .arg(bad)
        .output()
        .unwrap();
    let output = project.read(&output);
    assert_eq!(output.code, Some(2), "{output}");
    assert!(
        output
            .stderr
            .contains("the argument `bad\u{fffd}` is not UTF-8"),
        "{output}"
    );
    for (name, code) in [
        ("V", Some(2)),
        ("DOCKER_HOST", Some(2)),
        ("BUILDX_BAKE_FILE", Some(2)),
        ("OTHER", Some(0)),
        ("HOME", Some(0)),
    ] {
        let output = project
            .command(&["--print"])
            .env(name, bad)
            .output()
            .unwrap();
        let output = project.read(&output);
        assert_eq!(output.code, code, "{name}: {output}");
        let told = format!("the environment variable `{name}` is not UTF-8");
        assert_eq!(output.stderr.contains(&told), code == Some(2), "{output}");
    }
}

#[test]
fn a_variable_that_is_not_utf8_is_not_replaced_by_a_default() {
    let compose = "services:\n  web:\n    build: .\n    image: example.com/web:${V}\n";
    let project = TestProject::new()
        .file("docker-compose.yml", compose)
        .file(".env", "V=default\n")
        .file("Dockerfile", "FROM scratch\n");
    let bad = OsStr::from_bytes(b"bad\xff");
    let arguments = ["-f", "docker-compose.yml", "--print"];
    let output = project.command(&arguments).env("V", bad).output().unwrap();
    let output = project.read(&output);
    assert_eq!(output.code, Some(2), "{output}");
    let told = "the environment variable `V` is not UTF-8";
    assert!(output.stderr.contains(told), "{output}");
    let output = project.rbake(&arguments);
    assert_eq!(output.code, Some(0), "{output}");
}
