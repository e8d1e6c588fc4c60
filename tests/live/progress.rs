//! What programs and people read of a run: `rawjson` beside buildx's, and output that the builder has clipped.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::bakers::{Baker, Bakers};
use crate::support::project::{CommandOutput, TestProject};

const DEFINITION: &str = r#"
group "both" { targets = ["warned", "plain"] }
target "warned" {
  dockerfile-inline = "FROM busybox as x\nRUN echo one; echo two >&2\nCOPY docker-bake.hcl /f\n"
  output            = ["type=cacheonly"]
}
target "plain" {
  dockerfile-inline = "FROM busybox\nRUN echo three\n"
  output            = ["type=cacheonly"]
}
target "failing" {
  dockerfile-inline = "FROM busybox\nRUN echo three; exit 3\n"
  output            = ["type=cacheonly"]
}
target "loud" {
  no-cache          = true
  dockerfile-inline = "FROM busybox\nARG END\nRUN seq 1 600000; echo the end; eval \"$END\"\n"
  args              = { END = "exit 3" }
}
"#;

/// The lines that are JSON objects. Everything else is text for people.
fn objects(output: &CommandOutput) -> Vec<Value> {
    let lines = output.stderr.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// What a program learns: the names of vertices with the fields that are set at some time, the ids of statuses, the texts of logs, and
/// warnings with the names of their files.
fn learned(output: &CommandOutput) -> BTreeSet<String> {
    let mut learned = BTreeSet::new();
    let list = |object: &Value, key: &str| object[key].as_array().cloned().unwrap_or_default();
    for object in objects(output) {
        for vertex in list(&object, "vertexes") {
            let name = vertex["name"].as_str().unwrap();
            // The daemon names an image as the solve did that loaded it first, which may be one of another test.
            let name = name.split_once("] FROM ").map_or(name, |(_, image)| image);
            for field in ["started", "completed", "error", "inputs"] {
                if !vertex[field].is_null() {
                    learned.insert(format!("vertex {name}: {field}"));
                }
            }
        }
        for status in list(&object, "statuses") {
            learned.insert(format!("status {}", status["id"]));
        }
        for log in list(&object, "logs") {
            learned.insert(format!("log {} {}", log["stream"], log["data"]));
        }
        for warning in list(&object, "warnings") {
            let (short, url) = (&warning["short"], &warning["url"]);
            let source = &warning["sourceInfo"];
            let (file, data, range) = (&source["filename"], &source["data"], &warning["range"]);
            learned.insert(format!("warning {short} {url} {file} {data} {range}"));
        }
    }
    learned
}

#[test]
#[ignore = "needs live peers"]
fn programs_learn_from_rawjson_what_they_learn_from_that_of_buildx() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = TestProject::new().file("docker-bake.hcl", DEFINITION);
    // Images are pulled before, so that their layers are not among the statuses of one of the two only.
    let _ = bakers.bake(Baker::Rbake, &project, &["plain"]);
    for (words, code) in [
        (&["warned", "--no-cache"][..], 0),
        (&["plain", "--no-cache"], 0),
        (&["failing", "--no-cache"], 1),
    ] {
        let words = [&["--progress=rawjson"], words].concat();
        let [rbake, buildx] = Baker::ALL.map(|baker| bakers.bake(baker, &project, &words));
        assert_eq!(rbake.code, Some(code), "{rbake}");
        assert_eq!(learned(&rbake), learned(&buildx), "{rbake}\n{buildx}");
        assert!(rbake.stderr.ends_with('\n'));
        let first = &objects(&rbake)[0]["vertexes"][0]["name"];
        assert_eq!(first, "[internal] load local bake definitions");
    }
}

#[test]
#[ignore = "needs live peers"]
fn clipped_output_is_named_and_its_last_lines_are_shown() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = TestProject::new().file("docker-bake.hcl", DEFINITION);
    for mode in ["plain", "quiet"] {
        let words = [&*format!("--progress={mode}"), "loud"];
        let failed = bakers.bake(Baker::Rbake, &project, &words);
        assert_eq!(failed.code, Some(1), "{failed}");
        let (_, end) = failed.stderr.rsplit_once("lines of ").unwrap();
        assert!(end.contains(" │ 600000\n │ the end\n"), "{end}");
        assert!(
            end.contains("note: the builder clipped the output"),
            "{end}"
        );
        assert!(end.contains("`BUILDKIT_STEP_LOG_MAX_S"), "{end}");
    }
    let words = ["--progress=plain", "loud", "--set=loud.args.END=true"];
    let built = bakers.bake(Baker::Rbake, &project, &words);
    assert_eq!(built.code, Some(0), "{built}");
    let (_, summary) = built.stderr.rsplit_once("1 target built").unwrap();
    assert!(
        summary.contains("output clipped  [2/2] RUN seq"),
        "{summary}"
    );
}

#[test]
#[ignore = "needs live peers"]
fn a_step_that_is_cancelled_ends_for_programs_and_people() {
    let bakers = Bakers::on_the_shared_daemon();
    let definition = r#"
group "default" { targets = ["slow", "failing"] }
target "slow" {
  no-cache          = true
  dockerfile-inline = "FROM busybox\nRUN echo it sleeps; sleep 600\n"
  output            = ["type=cacheonly"]
}
target "failing" {
  no-cache          = true
  dockerfile-inline = "FROM busybox\nRUN sleep 3; exit 3\n"
  output            = ["type=cacheonly"]
}
"#;
    let project = TestProject::new().file("docker-bake.hcl", definition);
    let output = bakers.bake(Baker::Rbake, &project, &["--progress=rawjson"]);
    assert_eq!(output.code, Some(1), "{output}");
    let objects = objects(&output);
    let vertices = objects
        .iter()
        .filter_map(|object| object["vertexes"].as_array());
    let mut slow = vertices.flatten().filter(|vertex| {
        let name = vertex["name"].as_str();
        name.is_some_and(|name| name.contains("it sleeps"))
    });
    let last = slow.next_back().unwrap();
    assert!(!last["completed"].is_null(), "{last}");
    assert!(
        last["error"].as_str().unwrap().contains("canceled"),
        "{last}"
    );
    let output = bakers.bake(Baker::Rbake, &project, &["--progress=plain"]);
    let mut lines = output.stderr.lines();
    let line = lines.find(|line| line.contains("CANCELLED") && line.contains("RUN echo it sleeps"));
    let line = line.unwrap_or_else(|| panic!("{output}"));
    assert!(!line.contains("CANCELLED 0."), "{line}");
}

#[test]
#[ignore = "needs live peers"]
fn warnings_of_a_target_that_fails_are_listed() {
    let bakers = Bakers::on_the_shared_daemon();
    let project = TestProject::new().file(
        "docker-bake.hcl",
        "target \"default\" {\n  dockerfile-inline = \"FROM busybox\\nARG VERSION\\nRUN exit 3\\nCOPY $VERSON /x\\n\"\n}\n",
    );
    let output = bakers.bake(Baker::Rbake, &project, &["--progress=plain"]);
    assert_eq!(output.code, Some(1), "{output}");
    let (warnings, failure) = output.stderr.split_once("error[build::").unwrap();
    assert!(
        warnings.contains("UndefinedVar: Usage of undefined variable '$VERSON'"),
        "{output}"
    );
    assert!(failure.contains("exit code 3"), "{output}");
}
