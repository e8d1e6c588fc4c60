//! Random Docker configurations, read by rbake and by a Go program that calls the same functions as buildx.
//!
//! rbake runs like a user's command, against a daemon that asks its session for credentials and tokens and then refuses the
//! build. The test compares with Go what registries would receive, the proxies of the build, the current context, a builder in
//! buildx's store, and a Docker context. The output of rbake must not contain any credential.

mod daemon;
mod judge;
mod make;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use rbake::builder::store::Store;
use rbake::builder::{DockerContextError, DockerContexts};
use rbake::types::{Digest, Environment};

use self::judge::{Answer, Go};
use self::make::Case;
use crate::support::fake_buildkit::FakeBuildkit;
use crate::support::peers;

/// Configurations of the full campaign.
const FULL: u64 = 2_000;

struct Bench {
    // The credential helpers. The system's default helper is in a separate folder.
    dir: tempfile::TempDir,
    go: Go,
    realm: String,
    counts: BTreeMap<String, usize>,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn random_docker_configurations_are_read_as_by_buildx_and_no_credential_is_printed() {
    let program = peers::program("RBAKE_TEST_DOCKER_CONFIG");
    let (realm, _server) = daemon::token_server().await;
    let dir = tempfile::tempdir().unwrap();
    helpers(dir.path());
    let mut bench = Bench {
        dir,
        go: Go::start(&program),
        realm,
        counts: BTreeMap::new(),
    };
    let mut wrong = Vec::new();
    for seed in super::seeds(FULL) {
        let case = make::case(seed);
        let found = bench.run(&case).await;
        wrong.extend(found.into_iter().map(|text| format!("seed {seed}: {text}")));
    }
    let counts: Vec<String> = bench
        .counts
        .iter()
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    super::report("docker_config", &counts.join(", "));
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

impl Bench {
    async fn run(&mut self, case: &Case) -> Vec<String> {
        let dir = tempfile::Builder::new()
            .prefix("rbake-docker-")
            .tempdir()
            .unwrap();
        let docker = dir.path().join("docker");
        lay_out(case, &docker);
        let path = self.path(case);
        let go = self.go.ask(case, &docker, &path);
        let (learnt, output) = self.program(case, dir.path(), &path).await;
        let mut wrong = Vec::new();
        for (index, shown) in learnt.shown.iter().enumerate() {
            match judge::judge(case, &go, index, shown) {
                Ok(verdict) => self.count(&format!("answers {verdict:?}")),
                Err(expected) => {
                    wrong.push(format!("{:?}: {shown:?}; {expected}", case.asks[index]));
                }
            }
        }
        let proxies: Vec<(String, String)> = go.proxies[0].clone().into_iter().collect();
        if learnt.proxies != proxies {
            wrong.push(format!("proxies {:?}, buildx: {proxies:?}", learnt.proxies));
        }
        wrong.extend(settings(case, &docker, &go));
        wrong.extend(warned(case, &go, &output));
        let secret = case
            .secrets
            .iter()
            .find(|secret| output.contains(secret.as_str()));
        wrong.extend(secret.map(|secret| format!("`{secret}` is printed")));
        let odd: Vec<_> = case
            .traits
            .iter()
            .map(|what| format!("with {what}"))
            .collect();
        for what in &odd {
            self.count(what);
        }
        self.count("cases");
        if !wrong.is_empty() {
            let file = case.file.as_deref().map(String::from_utf8_lossy);
            wrong.push(format!(
                "file {file:?}\nvariable {:?}\n{output}",
                case.variable
            ));
        }
        wrong
    }

    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    fn path(&self, case: &Case) -> String {
        let folder = |name: &str| self.dir.path().join(name).display().to_string();
        let usual = if case.usual_helper {
            format!("{}:", folder("usual"))
        } else {
            String::new()
        };
        format!("{usual}{}:/usr/bin:/bin", folder("helpers"))
    }

    // Runs rbake against a daemon that asks the questions of the case.
    async fn program(&self, case: &Case, dir: &Path, path: &str) -> (daemon::Learnt, String) {
        let project = dir.join("project");
        std::fs::create_dir(&project).unwrap();
        let target = "target \"default\" {\n  dockerfile-inline = \"FROM scratch\"\n}\n";
        std::fs::write(project.join("docker-bake.hcl"), target).unwrap();
        let mut fake = FakeBuildkit::start();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_rbake"));
        command
            .args([
                "--progress",
                if case.usual_helper {
                    "rawjson"
                } else {
                    "plain"
                },
            ])
            .current_dir(&project)
            .env_clear()
            .env("HOME", dir)
            .env("PATH", path)
            .env("DOCKER_CONFIG", dir.join("docker"))
            .env("BUILDKIT_HOST", fake.endpoint().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(variable) = &case.variable {
            command.env("DOCKER_AUTH_CONFIG", variable);
        }
        if let Some(engine) = case.engine {
            command.env("DOCKER_HOST", engine);
        }
        let child = command.spawn().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ended = async {
            let output = child.wait_with_output().await.unwrap();
            text(&output.stdout) + &text(&output.stderr)
        };
        let mut ended = std::pin::pin!(ended);
        let served = daemon::serve(&mut fake, &case.asks, &self.realm);
        let learnt = tokio::select! {
            learnt = served => learnt,
            output = &mut ended => panic!("the program ended early:\n{output}"),
        };
        (learnt, ended.await)
    }
}

fn lay_out(case: &Case, docker: &Path) {
    let write = |name: &str, text: &[u8]| {
        let file = docker.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    };
    match &case.file {
        Some(file) => write("config.json", file),
        // A folder in place of the file cannot be read.
        None if case.usual_helper => std::fs::create_dir_all(docker.join("config.json")).unwrap(),
        None => {}
    }
    for (folder, text) in &case.scoped {
        write(
            &format!("buildx/config/{folder}/config.json"),
            text.as_bytes(),
        );
    }
    write("buildx/instances/b", &case.builder.0);
    let id = Digest::sha256(b"far");
    write(
        &format!("contexts/meta/{}/meta.json", id.hex()),
        &case.context.0,
    );
}

// Compares what rbake reads from the same folder without running a build.
fn settings(case: &Case, docker: &Path, go: &Answer) -> Vec<String> {
    let mut wrong = Vec::new();
    let environment = Environment::of([("DOCKER_CONFIG", docker.to_str().unwrap())], "/");
    let contexts = DockerContexts::new(&environment);
    let current = contexts.current_name().unwrap();
    let expected = if go.current_context.is_empty() {
        "default"
    } else {
        &go.current_context
    };
    if current != expected {
        wrong.push(format!("current context `{current}`, buildx: `{expected}`"));
    }
    let lines = |nodes: &[rbake::builder::store::Node]| {
        let line = |node: &rbake::builder::store::Node| {
            let options = node
                .driver_opts
                .iter()
                .map(|(key, value)| format!("\n{key}={value}"));
            format!(
                "{}\n{}{}",
                node.name,
                node.endpoint,
                options.collect::<String>()
            )
        };
        nodes.iter().map(line).collect::<Vec<_>>()
    };
    let ours = Store::at(docker.join("buildx")).instance("b");
    let theirs = &go.builders[0];
    let nodes = theirs.nodes.clone().unwrap_or_default();
    let (text, unread) = &case.builder;
    match ours {
        Ok(Some(ours))
            if !theirs.error && ours.driver == theirs.driver && lines(&ours.nodes) == nodes => {}
        Ok(Some(_)) if theirs.error && *unread => {}
        // The builder has no name, and buildx looks for its last use in a file without a name, which fails.
        Ok(Some(ours)) if theirs.error && text == b"null" && ours.nodes.is_empty() => {}
        Err(error) if theirs.error => wrong.extend(leaks(case, &format!("{error:?} {error}"))),
        ours => wrong.push(format!(
            "builder {ours:?}, buildx: {theirs:?}: {}",
            String::from_utf8_lossy(text)
        )),
    }
    let ours = contexts.context("far");
    let theirs = &go.contexts[0];
    let (text, unread) = &case.context;
    match ours {
        Ok(ours) if !theirs.error && ours.host.to_string() == theirs.host => {}
        Ok(_) if theirs.error && *unread => {}
        // The address contains a byte that is not UTF-8. Both read it, and rbake refuses it.
        Err(DockerContextError::Host { .. }) if !theirs.error && text.contains(&0xff) => {}
        Err(DockerContextError::NoHost(_)) if theirs.error || theirs.host.is_empty() => {}
        Err(error @ DockerContextError::Form { .. }) if theirs.error => {
            wrong.extend(leaks(case, &format!("{error:?} {error}")));
        }
        ours => wrong.push(format!(
            "context {ours:?}, buildx: {theirs:?}: {}",
            String::from_utf8_lossy(text)
        )),
    }
    wrong
}

fn leaks(case: &Case, text: &str) -> Option<String> {
    let secret = case
        .secrets
        .iter()
        .find(|secret| text.contains(secret.as_str()));
    secret.map(|secret| format!("`{secret}` is in an error"))
}

// rbake must print a warning that names its source if and only if Go complains about that source.
fn warned(case: &Case, go: &Answer, output: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let ours = |source: &str| {
        let words = [
            format!("configuration `{source}"),
            format!("{source}` cannot be read"),
        ];
        words.iter().all(|words| output.contains(words))
    };
    let not_utf8 = case.traits.contains(&"an auth that is not UTF-8");
    for (source, suffix, theirs) in [
        (
            "DOCKER_AUTH_CONFIG",
            "DOCKER_AUTH_CONFIG",
            &go.variable_complaint,
        ),
        ("config.json", "/docker/config.json", &go.complaint),
    ] {
        let ours = if source == suffix {
            ours(suffix)
        } else {
            output.contains(&format!("{suffix}` cannot be read"))
        };
        if ours == theirs.is_empty() && !(ours && not_utf8) {
            wrong.push(format!(
                "a warning about {source}: {ours}, docker's: `{theirs}`"
            ));
        }
    }
    wrong
}

// Writes those helpers of `make::HELPERS` that exist.
fn helpers(dir: &Path) {
    let scripts = [
        (
            "helpers",
            "good",
            r#"read key; echo "{\"ServerURL\":\"$key\",\"Username\":\"helper\",\"Secret\":\"helper-secret\"}""#,
        ),
        (
            "helpers",
            "token",
            r#"echo '{"Username":"<token>","Secret":"helper-token"}'"#,
        ),
        (
            "helpers",
            "none",
            "echo 'credentials not found in native keychain'; exit 1",
        ),
        (
            "helpers",
            "fails",
            "echo 'the keychain is locked' >&2; exit 1",
        ),
        ("helpers", "junk", "echo hunter-junk"),
        (
            "helpers",
            "cases",
            r#"echo '{"username":"helper","SECRET":"s","Secret":null} more'"#,
        ),
        ("helpers", "null", "echo null"),
        (
            "helpers",
            "leaky",
            r#"echo '{"Username":"u","Secret":"hunter-leak"}'; exit 1"#,
        ),
        (
            "helpers",
            "with space",
            r#"echo '{"Username":"space","Secret":"s"}'"#,
        ),
        ("helpers", "é", r#"echo '{"Username":"é","Secret":"é"}'"#),
        (
            "usual",
            "secretservice",
            r#"echo '{"Username":"usual","Secret":"s"}'"#,
        ),
    ];
    for (folder, name, script) in scripts {
        let file = dir.join(folder).join(format!("docker-credential-{name}"));
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}
