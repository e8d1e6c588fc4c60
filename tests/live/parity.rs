//! Compares the requests of rbake and of buildx for one definition, as the daemon's history has them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use rbake::engine::Engine;
use rbake_proto::control::{BuildHistoryRecord, BuildHistoryRequest};

use crate::support::buildkitd::Buildkitd;
use crate::support::peers;
use crate::support::project::TestProject;

const DEFINITION: &str = r#"
target "plain" {
  output = ["type=cacheonly"]
}

target "full" {
  dockerfile-inline = "FROM scratch AS s1\nCOPY a /\nFROM scratch AS s2\n"
  args              = { A = "1", N = null }
  labels            = { l = "v" }
  tags              = ["ex.com/a:1", "ex.com/a:2"]
  platforms         = ["linux/amd64"]
  no-cache-filter   = ["s1", "s2"]
  pull              = true
  network           = "none"
  shm-size          = "64m"
  ulimits           = ["nofile=1024:2048"]
  resources         = { memory = "1g", memory-swap = "-1", cpu-shares = 512, cpuset-cpus = "0" }
  extra-hosts       = { h2 = "1.2.3.4,::1", h1 = "[::1]" }
  annotations       = ["manifest:k=v", "plain=x"]
  attest            = ["type=provenance,mode=max"]
  cache-from        = ["ex.invalid/cache:1"]
  contexts          = { src = "./sub", img = "docker-image://scratch" }
  target            = "s1"
  output            = ["type=oci,dest=out.tar"]
}
"#;

fn git(dir: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
    let status = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(identity)
        .args(arguments)
        .status()
        .unwrap();
    assert!(status.success(), "git {arguments:?}");
}

fn project() -> TestProject {
    let project = TestProject::new()
        .file("docker-bake.hcl", DEFINITION)
        .file("Dockerfile", "FROM scratch\nCOPY a /\n")
        .file("a", "a")
        .file("sub/b", "b");
    git(&project.path(), &["init", "-q"]);
    git(&project.path(), &["add", "."]);
    git(&project.path(), &["commit", "-qm", "x"]);
    git(
        &project.path(),
        &["remote", "add", "origin", "https://u:p@example.com/r.git"],
    );
    project
}

async fn history(daemon: &Buildkitd) -> Vec<BuildHistoryRecord> {
    let engine = Engine::connect(daemon.endpoint()).await.unwrap();
    let request = BuildHistoryRequest {
        early_exit: true,
        ..BuildHistoryRequest::default()
    };
    let mut control = engine.connection().control();
    let mut events = control
        .listen_build_history(request)
        .await
        .unwrap()
        .into_inner();
    let mut records = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        records.extend(event.record);
    }
    records
}

// The attributes without those that differ in each run: the sessions that serve directories, and the machine.
fn comparable(record: &BuildHistoryRecord) -> BTreeMap<String, String> {
    let own = |key: &str| key.starts_with("local-sessionid:");
    record
        .frontend_attrs
        .iter()
        .filter(|(key, _)| !own(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn rbake_and_buildx_send_the_same_requests() {
    let buildx = peers::program("RBAKE_TEST_BUILDX");
    let project = project();
    for target in ["plain", "full"] {
        let mut seen = Vec::new();
        for who in ["rbake", "buildx"] {
            let daemon = Buildkitd::start(&[]).await;
            let address = daemon.endpoint().to_string();
            let mut command = project.command(&[target]);
            if who == "buildx" {
                let run = |program: &mut Command| {
                    program
                        .env("HOME", project.path().join("../home"))
                        .output()
                        .unwrap()
                };
                let name = format!("parity-{target}");
                let made = run(Command::new(&buildx)
                    .args(["create", "--driver", "remote", "--name", &name, &address]));
                assert!(
                    made.status.success(),
                    "{}",
                    String::from_utf8_lossy(&made.stderr)
                );
                command = Command::new(&buildx);
                command.args(["bake", "--builder", &name, "--progress=plain", target]);
                command
                    .current_dir(project.path())
                    .env("HOME", project.path().join("../home"));
            }
            let output = command.env("BUILDKIT_HOST", &address).output().unwrap();
            assert!(
                output.status.success(),
                "{who}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            let records = history(&daemon).await;
            assert_eq!(records.len(), 1, "{who}: one build of {target}");
            let exporters: Vec<_> = records[0]
                .exporters
                .iter()
                .map(|exporter| (exporter.r#type.clone(), exporter.attrs.clone()))
                .collect();
            seen.push((comparable(&records[0]), exporters));
        }
        assert_eq!(
            seen[0].0, seen[1].0,
            "the attributes of {target}: rbake, buildx"
        );
        assert_eq!(
            seen[0].1, seen[1].1,
            "the exporters of {target}: rbake, buildx"
        );
    }
}
