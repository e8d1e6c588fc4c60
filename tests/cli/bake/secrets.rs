//! Values that must not appear in messages: those of environment files, and of arguments and attributes that hold secrets.

use crate::cli::project;
use crate::support::project::{TestProject, assert_session};

const SECRET: &str = "hunter2";

/// Asserts that no session shows the secret, except in the command line that is typed.
fn without_the_secret(sessions: &[String]) -> String {
    let session = sessions.concat();
    let mut printed = session.lines().filter(|line| !line.starts_with("$ rbake"));
    assert!(!printed.any(|line| line.contains(SECRET)), "{session}");
    session
}

#[test]
fn a_problem_in_an_environment_file_shows_no_value_of_it() {
    let broken = "PASSWORD=hunter2\nb!d=hunter2\nTEXT=\"a\nhunter2\"\n";
    let compose = "services:\n  app:\n    build: .\n";
    let name = TestProject::new()
        .file("compose.yaml", compose)
        .file("Dockerfile", "FROM scratch\n")
        .file(".env", broken);
    let quote = TestProject::new()
        .file("compose.yaml", format!("{compose}    env_file: app.env\n"))
        .file("Dockerfile", "FROM scratch\n")
        .file("app.env", "A=\"hunter2\nhunter2\n");
    let sessions = [name, quote].map(|project| project.session(&["--print app"]));
    assert_session!(without_the_secret(&sessions));
}

#[test]
fn a_broken_attribute_shows_no_secret_that_came_from_a_variable() {
    let project = TestProject::new()
        .file(
            "docker-bake.hcl",
            "variable \"KEY\" {}\ntarget \"default\" { cache-to = [\"type=s3,secret_access_key=${KEY},region\"] }\n",
        )
        .file("Dockerfile", "FROM scratch\n")
        .env("KEY", SECRET);
    assert_session!(without_the_secret(&[project.session(&["--print"])]));
}

#[test]
fn an_override_with_the_name_of_a_secret_is_not_repeated() {
    let session = project().session(&[
        "--print --set default.args.NPM_TOKEN.+x+=hunter2",
        "--print --set default.cache-to=type=s3,secret_access_key=hunter2,hunter2",
    ]);
    assert_session!(without_the_secret(&[session]));
}

#[test]
fn a_variable_with_the_name_of_a_secret_is_not_shown_where_it_has_the_wrong_type() {
    let sessions = ["number", "map(string)", "list(bool)"].map(|ty| {
        let definition = format!(
            "variable \"API_TOKEN\" {{ type = {ty} }}\ntarget \"default\" {{ args = {{ A = API_TOKEN }} }}\n"
        );
        TestProject::new()
            .file("docker-bake.hcl", definition)
            .file("Dockerfile", "FROM scratch\n")
            .env("API_TOKEN", SECRET)
            .session(&["--print"])
    });
    assert_session!(without_the_secret(&sessions));
}
