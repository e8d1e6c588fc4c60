//! `--call`, `--check` and `call`: the answers of frontends, beside those that buildx prints.

use std::fs;

use serde_json::Value;

use crate::support::bakers::{Baker, Bakers};
use crate::support::project::TestProject;

const DEFINITION: &str = r##"
group "both" { targets = ["warned", "clean"] }

target "warned" {
  description = "a target with warnings"
  dockerfile  = "sub/Dockerfile"
  call        = "check"
}

target "clean" {
  context           = "sub"
  dockerfile-inline = "# the base\nARG V=1\nFROM scratch AS base\nARG A=x\nRUN --mount=type=secret,id=s,required=true --mount=type=ssh true\n# it <all>\nFROM base AS last\nARG LONG_NAME\n"
}

target "below" {
  context = "sub"
  call    = "lint,format=json"
}

target "inline" {
  dockerfile-inline = "from scratch AS x\ncopy . /\n"
}

target "empty" {
  dockerfile-inline = "FROM scratch\n"
}

target "broken" {
  dockerfile-inline = "FROM scratch as x\nBOGUS a\n"
  output            = ["type=oci,dest=broken.tar"]
  cache-to          = ["type=local,dest=cache"]
}

target "built" {
  dockerfile-inline = "FROM scratch\nCOPY docker-bake.hcl /\n"
  output            = ["type=local,dest=out"]
  call              = "build"
}
"##;

const DOCKERFILE: &str =
    "FROM scratch as b\nCOPY a\\\n  b\\\n c /\nmaintainer Foo\nENV x $y\nLABEL a=b\n";

fn project() -> TestProject {
    TestProject::new()
        .file("docker-bake.hcl", DEFINITION)
        .file("sub/Dockerfile", DOCKERFILE)
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

#[test]
#[ignore = "needs live peers"]
fn answers_and_exit_codes_are_those_of_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = project();
    for line in [
        "warned",
        "below",
        "--check both",
        "--call check warned inline below",
        "--call lint,ignorestatus=true warned",
        "--call check,ignorestatus=1 broken warned",
        "--check broken",
        "--call check,format=text inline",
        "--call outline clean inline",
        "--call outline,format=json clean",
        "--call targets both",
        "--call targets --set clean.target=base clean",
        "--call subrequests.describe clean",
        "--call subrequests.describe,format=json clean",
        "--call convertllb empty",
        "--call convertllb,format=json empty",
        "--call check --set *.call=outline clean",
    ] {
        let [rbake, buildx] = Baker::ALL.map(|baker| bakers.bake(baker, &project, &words(line)));
        assert_eq!(rbake.stdout, buildx.stdout, "{line}\n{rbake}");
        assert_eq!(rbake.code, buildx.code, "{line}\n{rbake}");
        assert!(!rbake.stdout.is_empty(), "{line}\n{rbake}");
    }
}

// buildx passes `target:base` to the frontend as it is, which does not know it.
#[test]
#[ignore = "needs live peers"]
fn a_call_answers_for_a_target_that_uses_others() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = TestProject::new().file(
        "docker-bake.hcl",
        r#"
target "base" { dockerfile-inline = "ARG V=1\nFROM scratch\nARG V\nENV A=$V\n" }
target "app" {
  contexts          = { parent = "target:base" }
  dockerfile-inline = "FROM parent\nARG OWN=2\nENV B=$OWN\n"
}
"#,
    );
    let line = words("--call outline app");
    let output = bakers.bake(Baker::Rbake, &project, &line);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.stdout.contains("OWN "), "{output}");
    let buildx = bakers.bake(Baker::Buildx, &project, &line);
    assert_eq!(buildx.code, Some(1), "{buildx}");
    assert!(
        buildx.stderr.contains("unsupported context source"),
        "{buildx}"
    );
}

// The definition of a source names the session that served it.
fn without_definitions(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.shift_remove("definition");
            fields.values_mut().for_each(without_definitions);
        }
        Value::Array(items) => items.iter_mut().for_each(without_definitions),
        _ => {}
    }
}

#[test]
#[ignore = "needs live peers"]
fn checks_in_json_are_those_of_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = project();
    for line in [
        "--call check,format=json both inline",
        "--call lint,format=json,ignorestatus=true warned below",
        "--call check,format=json broken clean",
    ] {
        let [rbake, buildx] = Baker::ALL.map(|baker| {
            let output = bakers.bake(baker, &project, &words(line));
            let read = serde_json::from_str(&output.stdout);
            let mut document: Value = read.unwrap_or_else(|error| panic!("{error}: {output}"));
            without_definitions(&mut document);
            // The lines without those of the definitions, in their order.
            let text = serde_json::to_string_pretty(&document).unwrap();
            (text, output.code)
        });
        assert_eq!(rbake, buildx, "{line}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn an_unknown_method_fails_and_prints_no_answers() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = project();
    for baker in Baker::ALL {
        let output = bakers.bake(baker, &project, &["--call", "nosuch", "clean", "warned"]);
        assert_eq!((output.code, &*output.stdout), (Some(1), ""), "{output}");
        assert!(output.stderr.contains("frontend.nosuch"), "{output}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn targets_that_are_called_and_targets_that_are_built_go_together() {
    let bakers = Bakers::on_the_shared_daemon();
    for baker in Baker::ALL {
        let project = project();
        let output = bakers.bake(baker, &project, &["built", "below"]);
        assert_eq!(output.code, Some(1), "{output}");
        assert!(
            output.stdout.starts_with("below\n\nCheck complete"),
            "{output}"
        );
        assert!(
            project.path().join("out/docker-bake.hcl").is_file(),
            "{output}"
        );
    }
}

// buildx writes an archive without an image here.
#[test]
#[ignore = "needs live peers"]
fn a_call_exports_nothing() {
    let project = project();
    let bakers = Bakers::on_the_shared_daemon();
    let words = ["--check", "--push", "broken", "--load", "built"];
    let output = bakers.bake(Baker::Rbake, &project, &words);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stdout.contains("inline:2\n"), "{output}");
    for name in ["broken.tar", "cache", "out"] {
        assert!(!project.path().join(name).exists(), "{name}: {output}");
    }
}

#[test]
#[ignore = "needs live peers"]
fn the_metadata_has_the_answer_and_no_build() {
    let bakers = Bakers::on_the_shared_daemon();
    let [rbake, buildx] = Baker::ALL.map(|baker| {
        let project = project();
        let line = "--call check,format=json --metadata-file md.json warned clean";
        let output = bakers.bake(baker, &project, &words(line));
        assert_eq!(output.code, Some(1), "{output}");
        let text = fs::read_to_string(project.path().join("md.json")).unwrap();
        let mut document: Value = serde_json::from_str(&text).unwrap();
        without_definitions(&mut document);
        serde_json::to_string_pretty(&document).unwrap()
    });
    assert!(rbake.contains("FromAsCasing") && !rbake.contains("buildx.build.ref"));
    assert_eq!(rbake, buildx);
}

#[test]
#[ignore = "needs live peers"]
fn warnings_become_annotations_at_their_lines() {
    let project = project().env("GITHUB_ACTIONS", "true");
    let bakers = Bakers::on_the_shared_daemon();
    let output = bakers.bake(Baker::Rbake, &project, &["--check", "warned", "broken"]);
    for line in [
        "::error::dockerfile parse error on line 2: unknown instruction: BOGUS\n",
        "::warning file=sub/Dockerfile,line=1,endLine=1::FromAsCasing: ",
    ] {
        assert!(output.stderr.contains(line), "{line}\n{output}");
    }
    assert!(!output.stdout.contains("::"), "{output}");
}

// A comment may contain anything that is not a line break.
#[test]
#[ignore = "needs live peers"]
fn texts_of_the_dockerfile_cannot_steer_the_terminal() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = TestProject::new()
        .file("docker-bake.hcl", "target \"default\" {}")
        .file(
            "Dockerfile",
            b"from scratch AS x\n# \x1b[2J\x9b and \xff\nRUN \x1b]0;x\x07\n",
        );
    let output = bakers.bake(Baker::Rbake, &project, &["--check"]);
    assert_eq!(output.code, Some(1), "{output}");
    assert!(output.stdout.contains("\\u001b[2J"), "{output}");
    let is_harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    assert!(output.stdout.chars().all(is_harmless), "{output}");
}
