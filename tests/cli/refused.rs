//! Bad input: each ends with a message that names the thing and the way out, and with the right code.

use super::project;
use crate::support::project::{CommandOutput, TestProject};

#[track_caller]
fn refused(output: &CommandOutput, code: i32, words: &[&str]) {
    assert_eq!(output.code, Some(code), "{output}");
    assert_eq!(output.stdout, "", "{output}");
    for word in words {
        assert!(
            output.stderr.contains(word),
            "`{word}` is missing: {output}"
        );
    }
}

#[test]
fn no_definition() {
    let output = TestProject::new().rbake(&[]);
    refused(&output, 3, &["docker-bake.hcl", "-f"]);
}

#[test]
fn a_file_that_is_not_there() {
    refused(
        &project().rbake(&["-f", "docker-bake.hlc"]),
        3,
        &["docker-bake.hlc"],
    );
}

#[test]
fn a_broken_file_shows_the_place() {
    let project =
        TestProject::new().file("docker-bake.hcl", "target \"a\" {\n  tags = [\"x\"\n}\n");
    refused(&project.rbake(&["a"]), 3, &["docker-bake.hcl:"]);
}

#[test]
fn an_unknown_target_suggests_a_name() {
    let output = project().rbake(&["--print", "web-app"]);
    refused(
        &output,
        3,
        &[
            "plan::unknown-target",
            "`web-app`",
            "a target or group with a similar name exists: `webapp`",
        ],
    );
}

#[test]
fn an_unknown_member_of_a_group_is_shown_where_it_is_written() {
    let project = TestProject::new().file(
        "docker-bake.hcl",
        "group \"default\" {\n  targets = [\"web-app\", \"db\"]\n}\ntarget \"webapp\" {}\ntarget \"db\" {}\n",
    );
    let output = project.rbake(&["--print"]);
    insta::assert_snapshot!(output.stderr, @r#"
    error[plan::unknown-target]: target `web-app` is not defined
     --> docker-bake.hcl:2:14
      |
    2 |   targets = ["web-app", "db"]
      |              ^^^^^^^^^ no such target or group
      |
      = note: there are `default`, `webapp` and `db`
      = help: a target or group with a similar name exists: `webapp`
    "#);
}

#[test]
fn a_wrong_value_of_a_variable_shows_the_rule() {
    refused(
        &project().env("TAG", "").rbake(&["--print"]),
        3,
        &["TAG must not be empty."],
    );
}

#[test]
fn an_unknown_variable_is_named() {
    let project = TestProject::new().file(
        "docker-bake.hcl",
        "target \"a\" { tags = [TAGG] }\nvariable \"TAG\" {}\n",
    );
    refused(&project.rbake(&["--print", "a"]), 3, &["TAGG", "TAG"]);
}

#[test]
fn every_error_is_told_in_one_run() {
    let project = TestProject::new().file(
        "docker-bake.hcl",
        "target \"a\" { tags = [ONE] }\ntarget \"b\" { tags = [TWO] }\n",
    );
    refused(&project.rbake(&["--print", "a"]), 3, &["ONE", "TWO"]);
}

#[test]
fn a_missing_dockerfile() {
    let project = project().file("db/Dockerfile.dev", "FROM scratch\n");
    let output = project.rbake(&["db", "--set", "db.dockerfile=Dockerfile.dve"]);
    refused(
        &output,
        3,
        &[
            "db/Dockerfile.dve",
            "a file with a similar name exists: `Dockerfile.dev`",
        ],
    );
}

#[test]
fn a_missing_context() {
    let output = project().rbake(&["db", "--set", "db.context=nowhere"]);
    refused(&output, 3, &["run::context-missing", "`nowhere`"]);
}

#[test]
fn a_missing_secret() {
    let output = project().rbake(&["db", "--set", "db.secrets=id=token,src=token.txt"]);
    refused(&output, 3, &["token.txt"]);
}

#[test]
fn a_tag_that_is_none() {
    let output = project().rbake(&["db", "--set", "db.tags=example.com/x:feature/a", "--push"]);
    refused(&output, 3, &["feature/a"]);
}

#[test]
fn a_cache_reference_that_is_none_is_told_before_any_work() {
    let output = project().rbake(&[
        "db",
        "--set",
        "db.cache-to=type=registry,ref=example.com/cache:123/merge",
    ]);
    refused(&output, 3, &["123/merge"]);
}

#[test]
fn what_cannot_be_built_yet_is_an_error_and_still_printed() {
    let link = ["db", "--set", "db.contexts.x=target:webapp"];
    refused(
        &project().rbake(&link),
        3,
        &["`contexts.x`", "target `db`", "cannot build yet"],
    );
    let output = project().rbake(&[&link[..], &["--print"]].concat());
    assert_eq!(output.code, Some(0), "{output}");
}

#[test]
fn what_is_wrong_with_compose_files_is_all_told_with_its_place() {
    let project = TestProject::new()
        .file(
            "compose.yaml",
            "include: [more.yaml]\nservices:\n  web:\n    build: {contxt: ., tags: web}\n",
        )
        .file(
            "more.yaml",
            "services:\n  db: {extends: {file: base.yaml, service: dbs}}\n",
        )
        .file("base.yaml", "services:\n  db: {build: .}\n");
    refused(&project.rbake(&[]), 3, &["more.yaml:2:44", "`dbs`", "`db`"]);
    let project = project.file("more.yaml", "services: {}\n");
    let words = [
        "compose.yaml:4:13",
        "`contxt`",
        "`context`",
        "compose.yaml:4:30",
    ];
    refused(&project.rbake(&[]), 3, &words);
}

#[test]
fn wrong_flags() {
    refused(
        &project().rbake(&["--progress=fancy"]),
        2,
        &["fancy", "plain"],
    );
    refused(&project().rbake(&["--progress=tty"]), 2, &["terminal"]);
    refused(&project().rbake(&["--nope"]), 2, &["--nope"]);
    refused(&project().rbake(&["--var", "X"]), 2, &["--var X"]);
    refused(&project().rbake(&["--push=maybe"]), 2, &["maybe"]);
    refused(
        &project().rbake(&["--print", "--list=targets"]),
        2,
        &["--list"],
    );
}

#[test]
fn privileges_are_asked_for() {
    let output = project().rbake(&[
        "db",
        "--set",
        "db.output=type=local,dest=out",
        "--allow",
        "nonsense",
    ]);
    refused(&output, 2, &["nonsense"]);
    let project = TestProject::new()
        .file(
            "docker-bake.hcl",
            "target \"a\" {\n  network = \"host\"\n}\n",
        )
        .file("Dockerfile", "FROM scratch\n");
    let output = project.rbake(&["a"]);
    refused(&output, 2, &["network.host", "--allow=network.host"]);
}
