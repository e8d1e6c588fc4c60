//! `rbake builder`, without a builder.

use super::project;
use crate::support::project::{TestProject, assert_session};

#[test]
fn flags_may_stand_before_the_verb() {
    assert_session!(project().session(&[
        "--builder nowhere builder status",
        "--builder=nowhere +builder status",
        "-D --builder nowhere builder status --json",
        "builder --builder nowhere status",
        "builder status --builder nowhere",
        "builder inspect --builder nowhere",
        "builder use --builder nowhere",
        "builder stop --builder=nowhere",
        "builder rm --builder nowhere",
    ]));
}

#[test]
fn flags_of_a_bake_are_refused() {
    assert_session!(project().session(&["--builder x builder install", "--print builder status"]));
}

#[test]
fn unknown_words_are_refused() {
    assert_session!(project().session(&[
        "builder nosuch",
        "builder install --from nosuch",
        "builder status x"
    ]));
}

#[test]
fn a_builder_that_does_not_run_is_stopped_already() {
    assert_session!(project().session(&["builder stop", "builder stop --force"]));
}

#[test]
fn status_warns_of_a_configuration_that_cannot_be_read() {
    let project = TestProject::new().docker_config("{\"currentContext\": hunter2}");
    assert_session!(project.session(&["--builder nowhere builder status"]));
}

const PAIR: &str = r#"{"Name":"pair","Driver":"remote","Nodes":[{"Name":"pair0","Endpoint":"unix:///nonexistent/a.sock","DriverOpts":{"default-load":"true"}},{"Name":"pair1","Endpoint":"ftp://u:hunter2@h/b"}],"Dynamic":false}"#;

// A user with one builder in buildx's store, which is the current one.
fn with_store() -> TestProject {
    let project = project();
    let store = project.home().join(".docker/buildx");
    std::fs::create_dir_all(store.join("instances")).unwrap();
    std::fs::write(store.join("instances/pair"), PAIR).unwrap();
    let current = r#"{"Key":"unix:///nonexistent/docker.sock","Name":"pair","Global":false}"#;
    std::fs::write(store.join("current"), current).unwrap();
    project.env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
}

#[test]
fn a_builder_is_inspected_by_its_name_or_because_it_is_current() {
    assert_session!(with_store().session(&[
        "builder inspect pair",
        "builder inspect",
        "--builder default builder inspect",
        "builder inspect --json",
    ]));
}

#[test]
fn unknown_builders_and_bad_times_are_refused() {
    assert_session!(with_store().session(&[
        "builder inspect piar",
        "builder inspect pair default",
        "builder ls --timeout 0s",
        "builder ls --timeout soon",
        "builder ls pair",
        "builder inspect --bootstrap pair",
    ]));
}

#[test]
fn all_builders_are_listed_with_a_star_at_the_current_one() {
    let output = with_store().rbake(&["builder", "ls"]);
    assert_eq!(output.code, Some(0), "{output}");
    let lines: Vec<_> = output.stdout.lines().collect();
    let row = |start: &str| {
        let found = lines.iter().find(|line| line.starts_with(start));
        found
            .unwrap_or_else(|| panic!("{start}: {output}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        row("NAME"),
        "NAME/NODE DRIVER/ENDPOINT STATUS BUILDKIT PLATFORMS"
    );
    assert_eq!(row("pair*"), "pair* remote");
    assert_eq!(
        row(" \\_ pair0"),
        "\\_ pair0 \\_ unix:///nonexistent/a.sock inactive"
    );
    assert_eq!(
        row(" \\_ pair1"),
        "\\_ pair1 \\_ ftp://xxxxx:xxxxx@h/b error"
    );
    assert_eq!(row("default"), "default docker");
    assert_eq!(row("embedded"), "embedded embedded");
    assert_eq!(row("* pair"), "* pair: named by buildx's current builder");
    assert!(output.stderr.contains("`pair1` of `pair`: "), "{output}");
    assert!(!output.stderr.contains("hunter2"), "{output}");
}

#[test]
fn the_list_as_json_marks_the_current_builder() {
    let output = with_store().rbake(&["builder", "ls", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let current: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|builder| builder["Current"] == true)
        .collect();
    assert_eq!(current.len(), 1, "{output}");
    assert_eq!(current[0]["Name"], "pair");
    assert_eq!(current[0]["Why"], "named by buildx's current builder");
    assert_eq!(current[0]["Nodes"][0]["Status"], "inactive");
}

#[test]
fn a_remote_builder_is_created_changed_and_removed() {
    let project = with_store();
    assert_session!(project.session(&[
        "builder create --name far --driver remote --use tcp://192.0.2.1:1234",
        "builder create --name far --append --node second --platform linux/arm64 unix:///nonexistent/s.sock",
        "builder create --name far --node second --driver-opt default-load=true unix:///nonexistent/t.sock",
        "builder create --leave --name far --node far0",
        "builder use pair",
        "builder rm far pair",
        "builder rm",
        "builder stop",
    ]));
}

#[test]
fn a_created_builder_has_the_form_that_buildx_writes() {
    let project = with_store();
    let output = project.rbake(&[
        "builder",
        "create",
        "--name=far",
        "--driver=remote",
        "--platform=linux/arm/v7",
        "--driver-opt=cacert=ca.pem",
        "--use",
        "tcp://192.0.2.1:1234",
    ]);
    assert_eq!(output.code, Some(0), "{output}");
    let store = project.home().join(".docker/buildx");
    let read = |name: &str| std::fs::read_to_string(store.join(name)).unwrap();
    let ca = project.path().join("ca.pem");
    let expected = format!(
        r#"{{"Name":"far","Driver":"remote","Nodes":[{{"Name":"far0","Endpoint":"tcp://192.0.2.1:1234","Platforms":[{{"architecture":"arm","os":"linux","variant":"v7"}}],"DriverOpts":{{"cacert":"{}"}},"Flags":null,"Files":null}}],"Dynamic":false}}"#,
        ca.display()
    );
    assert_eq!(read("instances/far"), expected);
    assert_eq!(
        read("current"),
        r#"{"Key":"unix:///nonexistent/docker.sock","Name":"far","Global":false}"#
    );
    assert!(read("activity/far").ends_with('Z'));
}

#[test]
fn wrong_builders_are_not_created() {
    assert_session!(with_store().session(&[
        "builder create --name pair --driver remote tcp://h:1",
        "builder create --name piar --append tcp://h:1",
        "builder create --name default",
        "builder create --name 1st --driver remote tcp://h:1",
        "builder create --driver kubernetes",
        "builder create --driver cloud",
        "builder create --name x --driver remote --driver-opt cacrt=/ca.pem tcp://h:1",
        "builder create --name x --driver-opt memory=much default",
        "builder create --name x --buildkitd-config none.toml default",
        "builder create --name x --driver remote ftp://u:hunter2@h",
        "builder create --name x",
        "builder create --leave --name pair",
        "builder create --leave --name pair --node piar0",
        "builder create --append --leave",
    ]));
}

#[test]
fn builders_that_are_not_in_the_store_are_neither_used_nor_removed() {
    assert_session!(with_store().session(&[
        "builder use piar",
        "builder use embedded",
        "builder use default",
        "builder rm default",
        "builder rm embedded",
        "builder rm pair piar",
        "builder rm --all-inactive pair",
        "builder rm --all-inactive",
        "builder stop default",
        "builder stop pair",
        "builder start piar",
    ]));
}

#[test]
fn a_store_of_another_user_is_an_error_with_its_path() {
    let project = with_store();
    let store = project.home().join("file");
    std::fs::write(&store, "").unwrap();
    let project = project.env("BUILDX_CONFIG", store.join("buildx").display());
    assert_session!(project.session(&["builder create --name x --driver remote tcp://h:1"]));
}

#[test]
fn caches_and_logs_of_unreachable_builders_are_errors() {
    assert_session!(with_store().session(&[
        "builder du",
        "builder du --builder embedded",
        "builder du --filter type",
        "builder du --filter type=a --filter type=b",
        "builder du --json --verbose",
        "builder prune",
        "builder prune --force --builder piar",
        "builder prune --force --reserved-space much",
        "builder prune --force --filter until=soon",
        "builder logs",
        "builder logs default",
        "builder logs embedded",
    ]));
}

// The words of the programs are compared with BuildKit's in `live::builders::programs`.
#[test]
fn the_last_words_of_a_program_are_the_reason() {
    let project = project()
        .program_in_path(
            "podman",
            "echo \"Error: no container with name b\" >&2; exit 125",
        )
        .env("BUILDKIT_HOST", "podman-container://b");
    let output = project.rbake(&["builder", "inspect"]);
    assert!(
        output.stdout.contains("no container with name b"),
        "{output}"
    );
    let output = project.rbake(&["builder", "start"]);
    assert_eq!(output.code, Some(4), "{output}");
    assert!(
        output.stderr.contains("no container with name b"),
        "{output}"
    );
}

#[test]
fn a_program_that_is_not_installed_is_named() {
    let project = project()
        .env("PATH", "/nonexistent")
        .env("BUILDKIT_HOST", "nerdctl-container://b");
    let output = project.rbake(&["builder", "start"]);
    assert_eq!(output.code, Some(4), "{output}");
    assert!(output.stderr.contains("cannot run `nerdctl`"), "{output}");
    assert!(output.stderr.contains("install `nerdctl`"), "{output}");
}
