//! The command line without a builder: what is printed, what is refused, and how the process ends.

mod limits;
mod man;
mod paths;
mod privileges;
mod refused;
mod secrets;
mod unsendable;
mod words;

use crate::support::project::TestProject;

fn project() -> TestProject {
    TestProject::new()
        .file(
            "docker-bake.hcl",
            r#"
variable "TAG" {
  default = "1"
  validation {
    condition     = TAG != ""
    error_message = "TAG must not be empty."
  }
}

group "default" {
  targets = ["webapp", "db"]
}

target "webapp" {
  description = "Serves"
  tags        = ["example.com/webapp:${TAG}"]
}

target "db" {
  context = "db"
}
"#,
        )
        .file("Dockerfile", "FROM scratch\nCOPY . /\n")
        .file("db/Dockerfile", "FROM scratch\nCOPY . /\n")
}

#[test]
fn print_is_data_and_nothing_else() {
    let output = project().env("TAG", "7").rbake(&["--print", "webapp"]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(output.stderr, "", "{output}");
    let document: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(
        document["target"]["webapp"]["tags"][0],
        "example.com/webapp:7"
    );
    assert_eq!(document["group"]["default"]["targets"][0], "webapp");
}

#[test]
fn lists_name_targets_and_variables() {
    let output = project().rbake(&["--list=targets"]);
    insta::assert_snapshot!(output.stdout, @r"
    TARGET	DESCRIPTION
    db	
    default	db, webapp
    webapp	Serves
    ");
    let output = project().rbake(&["--list", "type=variables,format=json"]);
    let list: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(list[0]["name"], "TAG", "{output}");
}

#[test]
fn the_definition_may_lie_in_bake() {
    let project = TestProject::new()
        .file(
            "bake/docker-bake.hcl",
            "target \"default\" { context = \"src\" }\n",
        )
        .file("src/Dockerfile", "FROM scratch\n");
    let output = project.rbake(&["--print"]);
    assert!(output.stdout.contains("\"context\": \"src\""), "{output}");
}

#[test]
fn standard_input_is_a_definition_too() {
    use std::io::Write as _;
    let project = TestProject::new();
    let mut command = project.command(&["-f", "-", "--print", "a"]);
    let mut child = command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"target \"a\" { tags = [\"x:1\"] }")
        .unwrap();
    let output = project.read(&child.wait_with_output().unwrap());
    assert!(output.stdout.contains("\"x:1\""), "{output}");
}

#[test]
fn a_reader_that_goes_away_is_told_of_and_panics_nobody() {
    use std::os::fd::OwnedFd;
    let project = project();
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let output = project
        .command(&["--print"])
        .stdout(OwnedFd::from(write))
        .output()
        .unwrap();
    let output = project.read(&output);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(
        output.stderr.contains("cannot write to standard output"),
        "{output}"
    );
}

#[test]
fn a_full_disk_is_told() {
    let project = project();
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = project.command(&["--print"]).stdout(full).output().unwrap();
    let output = project.read(&output);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(
        output.stderr.contains("No space left on device"),
        "{output}"
    );
}
