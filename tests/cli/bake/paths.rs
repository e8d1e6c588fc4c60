//! Where paths lead: rbake asks for the privileges of the files that it really uses, and reports missing files first.
//!
//! Nothing listens on the builder's address: a run that gets so far ends with another exit code.

use std::os::unix::fs::symlink;

use crate::support::project::{CommandOutput, TestProject};

const USAGE: i32 = 2;
const DEFINITION: i32 = 3;
const ENGINE: i32 = 4;

// The project, and next to it a directory that needs a privilege; the link `up` leads into it.
fn project(target: &str) -> TestProject {
    let project = TestProject::new()
        .file(
            "docker-bake.hcl",
            format!("target \"a\" {{\n{target}\n}}\n"),
        )
        .file("Dockerfile", "FROM scratch\n")
        .file("key", "ours")
        .file("../elsewhere/key", "theirs")
        .file("../elsewhere/deep/Dockerfile", "FROM scratch\n")
        .env("BUILDKIT_HOST", "tcp://127.0.0.1:1");
    symlink("../elsewhere/deep", project.path().join("up")).unwrap();
    project
}

fn beyond(project: &TestProject) -> String {
    let path = project.path().parent().unwrap().join("elsewhere/deep");
    path.display().to_string()
}

#[track_caller]
fn asks_for(output: &CommandOutput, flag: &str) {
    assert_eq!(output.code, Some(USAGE), "{output}");
    let flags = output
        .stderr
        .lines()
        .find(|line| line.starts_with("--allow="));
    assert_eq!(flags, Some(flag), "{output}");
}

#[track_caller]
fn goes_on(output: &CommandOutput) {
    assert_eq!(output.code, Some(ENGINE), "{output}");
}

#[test]
fn privileges_are_asked_for_the_resolved_path() {
    for (target, flag) in [
        (
            r#"secret = ["id=k,src=up/../key"]"#,
            "--allow=fs.read=../elsewhere/key",
        ),
        (
            r#"secret = ["id=k,src=twice/../key"]"#,
            "--allow=fs.read=../elsewhere/key",
        ),
        (
            r#"secret = ["id=k,src=absolute/../key"]"#,
            "--allow=fs.read=../elsewhere/key",
        ),
        (
            r#"contexts = { x = "up/../deep" }"#,
            "--allow=fs.read=../elsewhere/deep",
        ),
        (r#"context = "up""#, "--allow=fs.read=../elsewhere/deep"),
        (
            r#"dockerfile = "up/Dockerfile""#,
            "--allow=fs.read=../elsewhere/deep/Dockerfile",
        ),
        (
            r#"output = ["type=local,dest=up/../ssh"]"#,
            "--allow=fs.write=../elsewhere/ssh",
        ),
        (
            r#"output = ["type=tar,dest=up/../ssh"]"#,
            "--allow=fs.write=../elsewhere/ssh",
        ),
        (
            r#"output = ["type=tar,dest=dangling"]"#,
            "--allow=fs.write=../elsewhere/new",
        ),
        (
            r#"cache-to = ["type=local,dest=up/../cache"]"#,
            "--allow=fs.write=../elsewhere/cache",
        ),
        (
            r#"cache-from = ["type=local,src=up/../cache"]"#,
            "--allow=fs.read=../elsewhere/cache",
        ),
    ] {
        let project = project(target);
        symlink("up", project.path().join("twice")).unwrap();
        symlink(beyond(&project), project.path().join("absolute")).unwrap();
        symlink("../elsewhere/new", project.path().join("dangling")).unwrap();
        asks_for(&project.rbake(&["a"]), flag);
        goes_on(&project.rbake(&["a", flag]));
    }
}

#[test]
fn links_inside_the_project_need_no_privilege() {
    let project = project(
        r#"
        context = "link"
        secret  = ["id=k,src=link/../key"]
        output  = ["type=tar,dest=link/../out.tar", "type=local,dest=new/../out"]
        "#,
    )
    .file("sub/Dockerfile", "FROM scratch\n");
    symlink("sub", project.path().join("link")).unwrap();
    goes_on(&project.rbake(&["a"]));
}

#[test]
fn circular_links_are_reported() {
    for target in [
        r#"output = ["type=tar,dest=loop/x"]"#,
        r#"cache-to = ["type=local,dest=loop/x"]"#,
        r#"contexts = { x = "loop" }"#,
    ] {
        let project = project(target);
        symlink("loop", project.path().join("loop")).unwrap();
        let output = project.rbake(&["a"]);
        assert_eq!(output.code, Some(DEFINITION), "{output}");
        assert!(output.stderr.contains("loop"), "{output}");
    }
}

#[test]
fn missing_paths_can_be_granted() {
    let project = project(r#"output = ["type=local,dest=../out"]"#);
    asks_for(&project.rbake(&["a"]), "--allow=fs.write=../out");
    for flag in [
        "--allow=fs.write=../out",
        "--allow=fs.write=../elsewhere/../out",
        "--allow=fs.write=up/../../out",
        "--allow=fs=..",
        "--allow=fs.write=*",
    ] {
        goes_on(&project.rbake(&["a", flag]));
    }
    asks_for(
        &project.rbake(&["a", "--allow=fs.write=../output"]),
        "--allow=fs.write=../out",
    );
    goes_on(&project.rbake(&["a", "--set", "a.output=type=local,dest=../other/new"]));
}

#[test]
fn a_missing_context_is_reported_before_privileges_are_asked_for() {
    for target in [
        r#"context = "/nowhere/at/all""#,
        r#"context = "../nowhere""#,
        r#"contexts = { x = "/nowhere/at/all" }"#,
        "context = \"/nowhere/at/all\"\nnetwork = \"host\"",
    ] {
        let output = project(target).rbake(&["a"]);
        assert_eq!(output.code, Some(DEFINITION), "{output}");
        assert!(output.stderr.contains("run::context-missing"), "{output}");
        assert!(!output.stderr.contains("--allow"), "{output}");
    }
}

#[test]
fn standard_output_needs_no_privilege() {
    for dest in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let project = project(&format!(r#"output = ["type=tar,dest={dest}"]"#));
        goes_on(&project.rbake(&["a"]));
    }
    // Other files that the shell has opened need a privilege.
    let project = project(r#"secret = ["id=k,src=/dev/stdin"]"#);
    let mut command = project.command(&["a"]);
    let (read, _write) = std::io::pipe().unwrap();
    let output = command.stdin(read).output().unwrap();
    asks_for(&project.read(&output), "--allow=fs.read=/dev/fd/0");
    for flag in ["--allow=fs.read=/dev/stdin", "--allow=fs.read=/dev/fd/0"] {
        let (read, _write) = std::io::pipe().unwrap();
        let output = project.command(&["a", flag]).stdin(read).output().unwrap();
        goes_on(&project.read(&output));
    }
}

#[test]
fn the_metadata_file_cannot_be_a_link_to_the_outside() {
    let project = project("");
    symlink("../elsewhere/key", project.path().join("out.json")).unwrap();
    symlink("../elsewhere/new.json", project.path().join("new.json")).unwrap();
    symlink("key", project.path().join("inside.json")).unwrap();
    for name in ["out.json", "new.json"] {
        let output = project.rbake(&["a", "--metadata-file", name]);
        assert_eq!(output.code, Some(USAGE), "{output}");
        assert!(output.stderr.contains("cli::metadata-file"), "{output}");
    }
    goes_on(&project.rbake(&[
        "a",
        "--metadata-file",
        "out.json",
        "--allow=fs.write=../elsewhere",
    ]));
    for path in [
        "inside.json",
        "../elsewhere/key",
        "up/../key",
        "/dev/null",
        "/dev/stdout",
        "/tmp/x.json",
    ] {
        goes_on(&project.rbake(&["a", "--metadata-file", path]));
    }
}
