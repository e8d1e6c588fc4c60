//! rbake as a plugin of the real `docker` command.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::buildkitd::Buildkitd;
use crate::support::peers;
use crate::support::project::{CommandOutput, TestProject};

const DEFINITION: &str = r#"
group "default" { targets = ["essential"] }
target "essential" {
  description = "What matters"
  tags        = ["example.com/x:1"]
}
target "outside" { context = ".." }
"#;

/// A project whose home has docker with the plugin.
struct Docker {
    project: TestProject,
    docker: PathBuf,
}

impl Docker {
    fn new(definition: &str) -> Self {
        let docker = peers::program("RBAKE_TEST_DOCKER_CLI");
        let project = TestProject::new()
            .file("docker-bake.hcl", definition)
            .file("Dockerfile", "FROM scratch\n");
        install(&project.path().join("../home/.docker/cli-plugins"));
        Self { project, docker }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let rbake = self.project.command(&[]);
        let mut command = Command::new(&self.docker);
        command
            .args(arguments)
            .current_dir(self.project.path())
            .env_clear()
            .envs(
                rbake
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> CommandOutput {
        self.project
            .read(&self.command(arguments).output().unwrap())
    }
}

fn install(plugins: &Path) {
    std::fs::create_dir_all(plugins).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rbake"), plugins.join("docker-rbake")).unwrap();
}

#[test]
#[ignore = "needs live peers"]
fn docker_lists_the_plugin_and_passes_commands_to_it() {
    let docker = Docker::new(DEFINITION);
    let help = docker.run(&["--help"]);
    let line = help.stdout.lines().find(|line| line.contains("rbake*"));
    assert!(
        line.is_some_and(|line| line.contains("Build targets from a bake file")),
        "{help}"
    );
    let printed = docker.run(&["rbake", "--print"]);
    assert_eq!(
        (printed.code, printed.stderr.as_str()),
        (Some(0), ""),
        "{printed}"
    );
    assert_eq!(
        printed.stdout,
        docker.project.rbake(&["--print"]).stdout,
        "{printed}"
    );
    let listed = docker.run(&["--debug", "--context", "default", "rbake", "--list=targets"]);
    assert!(listed.stdout.contains("What matters"), "{listed}");
    for help in [
        &["rbake", "--help"][..],
        &["help", "rbake"],
        &["--help", "rbake"],
    ] {
        let help = docker.run(help);
        assert!(
            help.stdout
                .contains("Usage: docker rbake [OPTIONS] [TARGET...]"),
            "{help}"
        );
    }
}

#[test]
#[ignore = "needs live peers"]
fn dockers_own_completion_asks_the_plugin() {
    let docker = Docker::new(DEFINITION);
    let answer = docker.run(&["__complete", "rbake", "ess"]);
    assert_eq!(answer.stdout, "essential\tWhat matters\n:4\n", "{answer}");
    let answer = docker.run(&["__complete", "rbake", "--progress=ra"]);
    assert!(answer.stdout.starts_with("rawjson\t"), "{answer}");
    let answer = docker.run(&["__complete", "rba"]);
    assert!(answer.stdout.starts_with("rbake\t"), "{answer}");
}

#[test]
#[ignore = "needs live peers"]
fn exit_codes_and_suggested_commands_suit_docker() {
    let docker = Docker::new(DEFINITION);
    let usage = docker.run(&["rbake", "--prnt"]);
    assert_eq!(usage.code, Some(2), "{usage}");
    assert!(usage.stderr.contains("docker rbake"), "{usage}");
    let unknown = docker.run(&["rbake", "esential"]);
    assert_eq!(unknown.code, Some(3), "{unknown}");
    let asks = docker.run(&["--debug", "rbake", "outside"]);
    let advice = "docker --debug rbake --allow=fs.read=.. outside\n";
    assert!(asks.stderr.contains(advice), "{asks}");
    // An error about a missing context shows that the flag reached the plugin.
    let context = docker.run(&["--context", "nowhere", "rbake", "essential"]);
    assert_ne!(context.code, Some(0), "{context}");
    assert!(context.stderr.contains("nowhere"), "{context}");
}

#[test]
#[ignore = "needs live peers"]
fn dockers_config_option_selects_plugins_and_builders() {
    let docker = Docker::new(DEFINITION);
    let dir = docker.project.path().join("../config");
    install(&dir.join("cli-plugins"));
    let config = dir.to_str().unwrap();
    std::fs::create_dir_all(dir.join("buildx/instances")).unwrap();
    let builder = r#"{"Name":"far","Driver":"remote","Nodes":[{"Name":"far0","Endpoint":"tcp://127.0.0.1:9"}]}"#;
    std::fs::write(dir.join("buildx/instances/far"), builder).unwrap();
    let current = r#"{"Key":"","Name":"far","Global":true}"#;
    std::fs::write(dir.join("buildx/current"), current).unwrap();
    let output = docker.run(&["--config", config, "rbake", "+builder", "status"]);
    assert!(output.stderr.contains("tcp://127.0.0.1:9"), "{output}");
}

// Docker catches the signal, and its plugin continues unless it watches the socket.
#[tokio::test]
#[ignore = "needs live peers"]
async fn sigterm_to_docker_stops_the_build() {
    let definition = r#"
target "default" {
  dockerfile-inline = <<EOT
FROM busybox
RUN echo started && sleep 300
EOT
}
"#;
    let daemon = Buildkitd::start_with_images().await;
    let mut docker = Docker::new(definition);
    docker.project = docker.project.env("BUILDKIT_HOST", daemon.endpoint());
    let mut child = docker
        .command(&["rbake", "--progress=plain"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stderr)).map_while(Result::ok);
    assert!(
        lines.any(|line| line.ends_with("started")),
        "the step did not start"
    );
    let told = Instant::now();
    Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    let rest: Vec<String> = lines.collect();
    let status = child.wait().unwrap();
    assert!(told.elapsed() < Duration::from_secs(30), "{rest:?}");
    assert_eq!(status.code(), Some(130), "{rest:?}");
}
