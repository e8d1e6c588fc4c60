//! What must not be seen in messages: values of environment files, of arguments and of attributes that hold secrets.

use super::project;
use crate::support::project::{CommandOutput, TestProject};

const SECRET: &str = "hunter2";

fn fails_without_the_secret(output: &CommandOutput, code: &str) {
    assert_ne!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains(&format!("[{code}]")), "{output}");
    assert!(!output.to_string().contains(SECRET), "{output}");
}

#[test]
fn a_problem_in_an_environment_file_shows_no_value_of_it() {
    let broken = "PASSWORD=hunter2\nb!d=hunter2\nTEXT=\"a\nhunter2\"\n";
    let compose = "services:\n  app:\n    build: .\n";
    let output = TestProject::new()
        .file("compose.yaml", compose)
        .file("Dockerfile", "FROM scratch\n")
        .file(".env", broken)
        .rbake(&["--print", "app"]);
    fails_without_the_secret(&output, "dotenv::invalid-name");
    assert!(output.stderr.contains("b!d=*******"), "{output}");
    let output = TestProject::new()
        .file("compose.yaml", format!("{compose}    env_file: app.env\n"))
        .file("Dockerfile", "FROM scratch\n")
        .file("app.env", "A=\"hunter2\nhunter2\n")
        .rbake(&["--print", "app"]);
    fails_without_the_secret(&output, "dotenv::unclosed-quote");
}

#[test]
fn a_broken_attribute_shows_no_secret_that_came_from_a_variable() {
    let output = TestProject::new()
        .file(
            "docker-bake.hcl",
            "variable \"KEY\" {}\ntarget \"default\" { cache-to = [\"type=s3,secret_access_key=${KEY},region\"] }\n",
        )
        .file("Dockerfile", "FROM scratch\n")
        .env("KEY", SECRET)
        .rbake(&["--print"]);
    fails_without_the_secret(&output, "definition::invalid-entry");
}

#[test]
fn an_override_with_the_name_of_a_secret_is_not_repeated() {
    let arguments = ["--print", "--set", "default.args.NPM_TOKEN.+x+=hunter2"];
    fails_without_the_secret(&project().rbake(&arguments), "plan::invalid-override");
    let cache = "default.cache-to=type=s3,secret_access_key=hunter2,hunter2";
    let output = project().rbake(&["--print", "--set", cache]);
    fails_without_the_secret(&output, "plan::invalid-override");
}

#[test]
fn a_variable_with_the_name_of_a_secret_is_not_shown_where_it_has_the_wrong_type() {
    for (ty, value) in [
        ("number", SECRET),
        ("map(string)", SECRET),
        ("list(bool)", SECRET),
    ] {
        let definition = format!(
            "variable \"API_TOKEN\" {{ type = {ty} }}\ntarget \"default\" {{ args = {{ A = API_TOKEN }} }}\n"
        );
        let output = TestProject::new()
            .file("docker-bake.hcl", definition)
            .file("Dockerfile", "FROM scratch\n")
            .env("API_TOKEN", value)
            .rbake(&["--print"]);
        fails_without_the_secret(&output, "definition::invalid-override");
    }
}

#[test]
fn the_status_of_builders_warns_of_a_configuration_that_cannot_be_read() {
    let project = TestProject::new().docker_config("{\"currentContext\": hunter2}");
    let output = project.rbake(&["builder", "status"]);
    assert!(
        output.stderr.contains("warning[cli::docker-config]"),
        "{output}"
    );
    assert!(
        output.stderr.contains("config.json` cannot be read"),
        "{output}"
    );
    assert!(!output.to_string().contains(SECRET), "{output}");
}
