//! Credential helpers and token servers that misbehave, with a real builder between rbake and the registry.

use std::fmt::Write as _;
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use rustix::process::Signal;
use test_case::test_case;

use crate::support::bakers::{Baker, Bakers};
use crate::support::interrupted::{Run, processes};
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};
use crate::support::registry::{FakeRegistry, Login};

fn address() -> String {
    peers::peer("RBAKE_TEST_BUILDKIT_ADDR")
}

// A project that pulls from `registry`. Its credential helper records its calls in `home/calls` and then runs
// `script`.
fn project(address: &str, registry: &FakeRegistry, script: &str) -> TestProject {
    let project = TestProject::new();
    let calls = project.home().join("calls");
    let script = format!("read key; echo $key >> {}\n{script}", calls.display());
    let dockerfile = format!("FROM {}/app:1\nCOPY Dockerfile /d\n", registry.host());
    project
        .file("docker-bake.hcl", "target \"default\" {}\n")
        .file("Dockerfile", dockerfile)
        .docker_config(r#"{"credsStore":"test"}"#)
        .program_in_path("docker-credential-test", &script)
        .env("BUILDKIT_HOST", address)
}

fn calls(project: &TestProject) -> usize {
    let text = std::fs::read_to_string(project.home().join("calls"));
    text.unwrap_or_default().lines().count()
}

fn start(project: &TestProject) -> Child {
    project
        .command(&[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "needs live peers"]
fn a_hanging_helper_is_named_after_five_seconds_and_ended_before_the_builder_gives_up() {
    let address = address();
    let registry = FakeRegistry::start(Login::Token("t".to_owned()));
    let mark = format!("8{}", std::process::id());
    let project = project(&address, &registry, &format!("sleep {mark} & sleep {mark}"));
    let started = Instant::now();
    let output = project.rbake(&[]);
    let took = started.elapsed();
    assert_eq!(output.code, Some(1), "{output}");
    let host = registry.host();
    let waiting = format!(
        "waiting for the credential helper `docker-credential-test` for `{host}` after 5 s"
    );
    let failure = format!(
        "the credential helper `docker-credential-test` gave no answer for `{host}` within 50 s"
    );
    for expected in [waiting, failure] {
        assert!(
            output.stderr.contains(&expected),
            "no `{expected}`: {output}"
        );
    }
    assert!(
        !output.stderr.contains("context deadline exceeded"),
        "{output}"
    );
    assert!(took < Duration::from_secs(100), "{took:?}");
    assert_eq!(processes(&mark), 0, "a child of the helper still runs");
    assert_eq!(calls(&project), 1);
}

#[test]
#[ignore = "needs live peers"]
fn a_run_that_is_stopped_also_ends_its_credential_helper() {
    let address = address();
    let registry = FakeRegistry::start(Login::Token("t".to_owned()));
    let mark = format!("9{}", std::process::id());
    let project = project(&address, &registry, &format!("sleep {mark} & sleep {mark}"));
    let mut child = start(&project);
    let waited = Instant::now();
    while processes(&mark) < 2 {
        assert!(
            waited.elapsed() < Duration::from_secs(40),
            "no helper was started"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let told = Instant::now();
    let status = child.wait().unwrap();
    assert!(
        told.elapsed() < Duration::from_secs(20),
        "{:?}",
        told.elapsed()
    );
    assert_eq!(status.code(), Some(130));
    let mut text = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let waited = Instant::now();
    while processes(&mark) > 0 {
        assert!(
            waited.elapsed() < Duration::from_secs(20),
            "the helper still runs: {text}"
        );
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test_case(Signal::INT, &["digest"], 130; "digest, SIGINT")]
#[test_case(Signal::TERM, &["releases"], 130; "releases, SIGTERM")]
#[test_case(Signal::HUP, &["undo", "--yes", "--from"], 129; "undo, SIGHUP")]
#[test_case(Signal::INT, &["prune", "images"], 130; "prune, SIGINT")]
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_verb_that_is_stopped_also_ends_its_credential_helper(
    signal: Signal,
    verb: &[&str],
    code: i32,
) {
    let registry = FakeRegistry::start(Login::Token("t".to_owned()));
    let mark = format!("7{}{code}{}", std::process::id(), verb[0].len());
    let script = format!("sleep {mark} & sleep {mark}");
    let project = TestProject::new()
        .docker_config(r#"{"credsStore":"test"}"#)
        .program_in_path("docker-credential-test", &format!("read key\n{script}"));
    let image = match verb[0] {
        "digest" => format!("{}/app:1", registry.host()),
        _ => format!("{}/app", registry.host()),
    };
    let run = Run::start(&project.command(&[verb, &[&image]].concat()));
    let waited = Instant::now();
    while processes(&mark) < 2 {
        assert!(
            waited.elapsed() < Duration::from_secs(40),
            "no helper was started"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    run.signal(signal);
    let ended = run.ended(Duration::from_secs(20)).await;
    assert_eq!(ended.status.code(), Some(code), "{ended:?}");
    let waited = Instant::now();
    while processes(&mark) > 0 {
        assert!(
            waited.elapsed() < Duration::from_secs(20),
            "the helper still runs: {ended:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
#[ignore = "needs live peers"]
fn forty_repositories_of_one_registry_need_only_one_call_of_the_helper() {
    let address = address();
    let registry = FakeRegistry::start(Login::Token("t".to_owned()));
    let script = r#"sleep 2; echo '{"Username":"u","Secret":"s"}'"#;
    let host = registry.host();
    let mut dockerfile = String::new();
    let mut copies = String::from("FROM scratch\n");
    for number in 0..40 {
        writeln!(dockerfile, "FROM {host}/app-{number}:1 AS s{number}").unwrap();
        writeln!(copies, "COPY --from=s{number} /f /{number}").unwrap();
    }
    let project = project(&address, &registry, script).file("Dockerfile", dockerfile + &copies);
    let output: CommandOutput = project.rbake(&[]);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(calls(&project), 1, "{output}");
    assert!(
        registry.count("POST /token") >= 40,
        "{:?}",
        registry.requests()
    );
}

#[test]
#[ignore = "needs live peers"]
fn no_password_follows_a_redirect_of_a_token_server_and_the_error_names_both() {
    let address = address();
    let elsewhere = FakeRegistry::start(Login::Token("t".to_owned()));
    let place = format!("http://{}/token", elsewhere.host());
    let registry = FakeRegistry::start(Login::RedirectedTo(place));
    let script = r#"echo '{"Username":"u","Secret":"hunter2"}'"#;
    let project = project(&address, &registry, script);
    let output = project.rbake(&[]);
    assert_eq!(output.code, Some(1), "{output}");
    let expected = format!(
        "the token server `http://{}/token` redirects to `http://{}`",
        registry.host(),
        elsewhere.host()
    );
    assert!(output.stderr.contains(&expected), "{output}");
    assert_eq!(elsewhere.requests(), Vec::<String>::new());
    assert!(registry.count("POST /token") > 0);
}

// The user whose password the token server received; `-` if it received none.
fn user(registry: &FakeRegistry) -> String {
    let requests = registry.requests();
    let form = requests.iter().find(|text| text.starts_with("POST /token"));
    let Some(form) = form else {
        assert!(registry.count("GET /token") > 0, "{requests:?}");
        return "-".to_owned();
    };
    let name = form.split("username=").nth(1).unwrap_or_default();
    name.split(['&', '\r', '\n']).next().unwrap().to_owned()
}

#[test]
#[ignore = "needs live peers"]
fn the_configuration_for_a_registry_is_chosen_as_by_buildx() {
    for (folder, has_entry, variable, expected) in [
        ("HOST/app", true, false, "scoped"),
        ("HOST/app@pull", true, false, "scoped"),
        ("HOST", true, false, "scoped"),
        ("HOST@push", true, false, "main"),
        ("HOST/other", true, false, "main"),
        ("HOST/app", false, false, "-"),
        ("HOST/app", true, true, "variable"),
        ("HOST/app", false, true, "variable"),
    ] {
        for baker in Baker::ALL {
            let bakers = Bakers::on_the_shared_daemon();
            let registry = FakeRegistry::start(Login::Token("t".to_owned()));
            let entry = |user: &str| {
                let auth = base64::prelude::BASE64_STANDARD.encode(format!("{user}:p"));
                format!(
                    r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#,
                    registry.host()
                )
            };
            let dir = bakers
                .buildx_dir()
                .join("config")
                .join(folder.replace("HOST", &registry.host()));
            std::fs::create_dir_all(&dir).unwrap();
            let scoped = if has_entry {
                entry("scoped")
            } else {
                "{}".to_owned()
            };
            std::fs::write(dir.join("config.json"), scoped).unwrap();
            let mut project = TestProject::new()
                .file("docker-bake.hcl", "target \"default\" {}\n")
                .file("Dockerfile", format!("FROM {}/app:1\n", registry.host()))
                .docker_config(&entry("main"))
                .env("BUILDX_CONFIG", bakers.buildx_dir().display());
            if variable {
                project = project.env("DOCKER_AUTH_CONFIG", entry("variable"));
            }
            let output = bakers.bake(baker, &project, &[]);
            assert_eq!(output.code, Some(0), "{baker:?} {folder}: {output}");
            assert_eq!(
                user(&registry),
                expected,
                "{baker:?} {folder} {has_entry} {variable}"
            );
        }
    }
}
