//! Where paths lead: what is asked for is what is read and written, and what is not there is told first.
//!
//! No builder is ever reached: its address is one where nobody listens, and a run that gets so far ends with another code.

use std::os::unix::fs::symlink;

use crate::support::project::{CommandOutput, TestProject};

const USAGE: i32 = 2;
const DEFINITION: i32 = 3;
const ENGINE: i32 = 4;

// The project, and beside it a directory that is nobody's to read: `up` leads into it.
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
fn a_step_up_after_a_link_is_asked_for_where_it_leads() {
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
fn links_that_stay_inside_need_nothing() {
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
fn circles_are_told() {
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
fn what_is_not_there_yet_can_be_granted() {
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
fn a_context_that_is_missing_is_told_before_anything_is_asked_for() {
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
fn standard_output_needs_no_more_than_a_dash() {
    for dest in ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
        let project = project(&format!(r#"output = ["type=tar,dest={dest}"]"#));
        goes_on(&project.rbake(&["a"]));
    }
    // What else the shell has opened is named to be granted.
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
fn the_metadata_file_is_no_link_that_leaves_what_the_user_named() {
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
