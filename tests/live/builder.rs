//! Choosing a builder, and the embedded builder, with real daemons.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rbake::builder::embedded::{self, EmbeddedError, Running, Stopped};
use rbake::builder::{self, ChooseError, Chosen, Driver, Offers};
use rbake::engine::Connection;
use rbake::event::EventSink;
use rbake::types::Requirements;

use crate::support::home::{Home, eventually, launcher, processes, rbake};
use crate::support::peers;

async fn running(home: &Home) -> Result<Running, EmbeddedError> {
    embedded::ensure_running(&home.environment(), &launcher(), &EventSink::none()).await
}

async fn choose(home: &Home, flag: Option<&str>) -> Result<Chosen, ChooseError> {
    builder::choose(
        &Requirements::none(),
        flag,
        &home.environment(),
        &launcher(),
        &EventSink::none(),
    )
    .await
    .map(builder::ChosenBuilder::into_first)
}

fn kill(pid: u32) {
    let status = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .status();
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_embedded_builder_starts_is_shared_and_stops() {
    let home = Home::with_programs();
    let first = running(&home).await.unwrap();
    let connection = Connection::open(first.endpoint.clone()).await.unwrap();
    assert_eq!(connection.version(), Some(first.facts.version.as_str()));
    let second = running(&home).await.unwrap();
    assert_eq!(second.facts.supervisor, first.facts.supervisor);
    assert_eq!(second.facts.clients, 2);

    let environment = home.environment();
    let busy = embedded::stop(&environment, false, &EventSink::none())
        .await
        .unwrap();
    assert_eq!(busy, Stopped::Busy { clients: 2 });
    drop((first, second, connection));
    eventually("no clients", async || {
        home.facts().await.is_some_and(|facts| facts.clients == 0)
    })
    .await;
    let stopped = embedded::stop(&environment, false, &EventSink::none())
        .await
        .unwrap();
    assert_eq!(stopped, Stopped::Stopped);
    assert_eq!(home.processes(), Vec::<String>::new());
    let left = std::fs::read_dir(home.path("data/builder/run")).unwrap();
    assert_eq!(left.count(), 0);
    let again = embedded::stop(&environment, false, &EventSink::none())
        .await
        .unwrap();
    assert_eq!(again, Stopped::NotRunning);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn many_runs_at_once_start_one_builder() {
    let home = Home::with_programs();
    home.write("work/docker-bake.hcl", "target \"default\" {\n  dockerfile-inline = \"FROM scratch\\nCOPY a /\"\n  output = [\"type=cacheonly\"]\n}\n");
    home.write("work/a", "a");
    let runs: Vec<_> = (0..6)
        .map(|_| {
            home.command(rbake())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for run in runs {
        let output = run.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
    let supervisors = home.processes();
    let supervisors = supervisors.iter().filter(|line| line.contains("unshare"));
    assert_eq!(supervisors.count(), 1);
    let log = std::fs::read_to_string(home.path("data/builder/builder.log")).unwrap();
    assert_eq!(log.matches("is ready").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_idle_builder_stops_and_a_used_one_stays() {
    let home = Home::with_programs();
    let home = home.variable(embedded::IDLE_VARIABLE, "1s");
    let running = running(&home).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(home.facts().await.map(|facts| facts.clients), Some(1));
    drop(running);
    eventually("the idle builder stops", async || {
        home.processes().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_killed_supervisor_leaves_no_processes_and_the_next_run_starts_a_new_one() {
    let home = Home::with_programs();
    home.mirror_docker_hub();
    // The mark is in the command line of the step's process, so that the test can find that process on the machine.
    let mark = format!("sleep {}", 100_000 + std::process::id());
    home.write(
        "work/docker-bake.hcl",
        &format!("target \"default\" {{\n  dockerfile-inline = \"FROM busybox\\nRUN {mark}\"\n  output = [\"type=cacheonly\"]\n}}\n"),
    );
    let mut run = home
        .command(rbake())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the step runs", async || {
        processes(&mark)
            .iter()
            .any(|line| line.starts_with("sleep"))
    })
    .await;
    let facts = home.facts().await.unwrap();
    kill(facts.supervisor);
    let status = run.wait().unwrap();
    assert_eq!(status.code(), Some(4));
    eventually("buildkitd and the step are gone", async || {
        home.processes().is_empty() && processes(&mark).is_empty()
    })
    .await;
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(home.path("").to_str().unwrap()));
    assert!(home.path("data/builder/run/control.sock").exists());

    let next = running(&home).await.unwrap();
    assert_ne!(next.facts.supervisor, facts.supervisor);
    Connection::open(next.endpoint.clone()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_changed_configuration_takes_effect_once_the_builder_has_no_clients() {
    let home = Home::with_programs();
    let first = running(&home).await.unwrap();
    home.write(
        "config/buildkitd.toml",
        "[worker.oci]\n  maxUsedSpace = \"1GB\"\n",
    );
    let second = running(&home).await.unwrap();
    assert!(second.is_outdated && !first.is_outdated);
    assert_eq!(second.facts.supervisor, first.facts.supervisor);
    let supervisor = first.facts.supervisor;
    drop((first, second));
    eventually("no clients", async || {
        home.facts().await.is_some_and(|facts| facts.clients == 0)
    })
    .await;
    let third = running(&home).await.unwrap();
    assert!(!third.is_outdated);
    assert_ne!(third.facts.supervisor, supervisor);
    let written = std::fs::read_to_string(home.path("data/builder/buildkitd.toml")).unwrap();
    assert!(written.contains("maxUsedSpace = \"1GB\""), "{written}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_error_of_a_builder_that_does_not_start_has_its_log() {
    let home = Home::with_programs();
    home.write(
        "config/buildkitd.toml",
        "[worker.oci]\n  snapshotter = \"nonsense\"\n",
    );
    let started = Instant::now();
    let error = running(&home).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(20));
    let EmbeddedError::Failed { tail, log, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(
        tail.iter().any(|line| line.contains("nonsense")),
        "{tail:?}"
    );
    assert!(log.is_file());
    let output = home.rbake(&["+builder", "stop"]);
    assert_eq!(output.stdout, b"the embedded builder is not running\n");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_builder_does_not_hold_a_lock_of_the_calling_script() {
    let home = Home::with_programs();
    home.write("work/docker-bake.hcl", "target \"default\" {\n  dockerfile-inline = \"FROM scratch\\nCOPY a /\"\n  output = [\"type=cacheonly\"]\n}\n");
    home.write("work/a", "a");
    let script = "exec 9>lock; flock 9; \"$1\" 2>&1; exec 9>&-; flock -n lock echo free";
    let output = home
        .command("sh")
        .args(["-c", script, "sh"])
        .arg(rbake())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.ends_with("free\n"), "{said}");
    assert!(home.facts().await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_builder_the_error_says_how_to_get_one() {
    let home = Home::without_programs();
    let output = home.rbake_alone(&["+builder", "status", "--json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("rbake builder install"), "{said}");
    assert!(
        said.contains("the Docker Engine at unix:///var/run/docker.sock: not found"),
        "{said}"
    );
    let state: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(state["builder"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn status_lists_the_chosen_builder_only_once() {
    let home = Home::with_programs();
    let not_taken = |output: &std::process::Output| {
        let state: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let others = state["notTaken"].as_array().unwrap().clone();
        others
            .iter()
            .map(|other| other["what"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let output = home.rbake_alone(&["+builder", "status", "--builder", "embedded", "--json"]);
    let others = not_taken(&output);
    assert!(
        !others.iter().any(|what| what.contains("embedded")),
        "{others:?}"
    );
    let home = home.variable("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    let output = home.rbake_alone(&["+builder", "status", "--json"]);
    assert_eq!(output.status.code(), Some(4));
    let others = not_taken(&output);
    assert!(
        !others.iter().any(|what| what.contains("nonexistent")),
        "{others:?}"
    );
    let output = home.rbake_alone(&["+builder", "status", "--builder", "embedded", "--json"]);
    let others = not_taken(&output);
    assert!(
        others.iter().any(|what| what.contains("nonexistent")),
        "{others:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn status_starts_no_builder_and_shows_the_one_that_a_run_would_use() {
    let home = Home::with_programs();
    let output = home.rbake_alone(&["+builder", "status"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("not running; a run starts it"), "{said}");
    assert_eq!(home.facts().await, None);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn builders_of_the_real_buildx_are_found() {
    let buildx = peers::program("RBAKE_TEST_BUILDX");
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let home = Home::without_programs();
    let buildx = |arguments: &[&str]| {
        let output = home.command(&buildx).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
    };
    buildx(&["create", "--name", "near", "--driver", "remote", &address]);
    let chosen = choose(&home, Some("near")).await.unwrap();
    assert_eq!(
        (chosen.name.as_str(), chosen.driver),
        ("near", Driver::Remote)
    );
    assert_eq!(chosen.endpoint.to_string(), address);

    buildx(&[
        "create",
        "--name",
        "far",
        "--driver",
        "remote",
        "--use",
        "tcp://127.0.0.1:1",
    ]);
    let error = choose(&home, None).await.unwrap_err();
    assert!(
        matches!(&error, ChooseError::Named { builder, .. } if builder.contains("`far`")),
        "{error}"
    );
    buildx(&["use", "near"]);
    let chosen = choose(&home, None).await.unwrap();
    assert_eq!(chosen.name, "near");
    assert_eq!(chosen.why, "named by buildx's current builder");
    let misspelt = choose(&home, Some("neer")).await.unwrap_err();
    let help = misspelt.diagnostic().help;
    assert!(help[0].contains("`near`"), "{help:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn buildkit_host_takes_precedence_over_buildx_builders() {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    let home = Home::without_programs().variable("BUILDKIT_HOST", &address);
    let chosen = choose(&home, None).await.unwrap();
    assert_eq!((chosen.name, chosen.driver), (address, Driver::Remote));
    assert_eq!(chosen.why, "named by `BUILDKIT_HOST`");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_docker_engine_is_chosen_and_images_are_loaded_into_it() {
    let host = peers::peer("RBAKE_TEST_DOCKER_HOST");
    let home = Home::without_programs().variable("DOCKER_HOST", &host);
    let chosen = choose(&home, None).await.unwrap();
    assert_eq!(chosen.driver, Driver::Docker);
    assert_eq!(chosen.offers, Offers::DockerContainerd);
    assert!(chosen.default_load && chosen.docker.unwrap().containerd_store);

    let docker = rbake::engine::docker::Docker::connect(&host.parse().unwrap())
        .await
        .unwrap();
    let tar = futures_util::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from_static(
        b"no tar at all",
    ))]);
    let error = docker.load(tar, |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("the Docker Engine"), "{error}");
}

// A container from an image that has only the programs. Docker's own command creates and removes it.
struct Container<'a> {
    home: &'a Home,
    docker: std::path::PathBuf,
    name: String,
}

impl Container<'_> {
    fn docker(&self, arguments: &[&str]) -> String {
        let output = self
            .home
            .command(&self.docker)
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let remove = |arguments: &[&str]| {
            let _ = self.home.command(&self.docker).args(arguments).output();
        };
        remove(&["rm", "--force", "--volumes", &self.name]);
        remove(&["rmi", "--force", &self.name]);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_stopped_buildx_container_is_started_and_used() {
    let host = peers::peer("RBAKE_TEST_DOCKER_HOST");
    let docker = peers::program("RBAKE_TEST_DOCKER_CLI");
    let buildkitd = peers::program("RBAKE_TEST_BUILDKITD");
    let buildctl = peers::program("RBAKE_TEST_BUILDCTL");
    let home = Home::without_programs().variable("DOCKER_HOST", &host);
    let node = format!("t{}", std::process::id());
    let container = Container {
        home: &home,
        docker,
        name: format!("buildx_buildkit_{node}"),
    };
    for (from, to) in [(buildkitd, "buildkitd"), (buildctl, "buildctl")] {
        std::fs::create_dir_all(home.path("image/bin")).unwrap();
        std::fs::copy(from, home.path("image/bin").join(to)).unwrap();
    }
    // buildkitd checks for runc at its start, although no step runs here.
    std::fs::create_dir_all(home.path("image/tmp")).unwrap();
    std::fs::hard_link(home.path("image/bin/buildctl"), home.path("image/bin/runc")).unwrap();
    let packed = Command::new("tar")
        .args(["-C", home.path("image").to_str().unwrap(), "-cf"])
        .arg(home.path("image.tar"))
        .arg(".")
        .status();
    assert!(packed.unwrap().success());
    container.docker(&[
        "import",
        home.path("image.tar").to_str().unwrap(),
        &container.name,
    ]);
    container.docker(&[
        "create",
        "--privileged",
        "--name",
        &container.name,
        "--env",
        "PATH=/bin",
        "--volume",
        "/var/lib/buildkit",
        &container.name,
        "/bin/buildkitd",
    ]);
    home.write(
        "docker/buildx/instances/ci",
        &format!(r#"{{"Name":"ci","Driver":"docker-container","Nodes":[{{"Name":"{node}","Endpoint":"{host}","Platforms":null,"DriverOpts":{{"image":"127.0.0.1:1/no/such:image"}},"Flags":null,"Files":null}}],"Dynamic":false}}"#),
    );
    let survey = builder::survey(&Requirements::none(), Some("ci"), &home.environment()).await;
    assert_eq!(survey.chosen.unwrap().state, "stopped; a run starts it");

    let chosen = choose(&home, Some("ci")).await.unwrap();
    assert_eq!(chosen.driver, Driver::DockerContainer);
    assert!(chosen.connection.version().is_some());
    drop(chosen);
    home.write("work/docker-bake.hcl", "target \"default\" {\n  dockerfile-inline = \"FROM scratch\\nCOPY a /\"\n  output = [\"type=cacheonly\"]\n}\n");
    home.write("work/a", "through a container");
    let output = home.rbake(&["--builder", "ci"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    container.docker(&["pause", &container.name]);
    let error = choose(&home, Some("ci")).await.unwrap_err();
    assert!(
        error.diagnostic().help[0].contains("docker unpause"),
        "{error:?}"
    );
    container.docker(&["unpause", &container.name]);
    container.docker(&["rm", "--force", &container.name]);
    // It would be made again, from the image of the builder.
    let error = choose(&home, Some("ci")).await.unwrap_err();
    let note = error.diagnostic().notes[0].clone();
    assert!(
        note.contains("did not pull `127.0.0.1:1/no/such:image`"),
        "{note}"
    );
    let address = format!("docker-container://{}", container.name);
    let by_address = home.environment().with("BUILDKIT_HOST", Some(&address));
    let requirements = Requirements::none();
    let launcher = launcher();
    let events = EventSink::none();
    let error = builder::choose(&requirements, None, &by_address, &launcher, &events).await;
    let note = error.unwrap_err().diagnostic().notes[0].clone();
    assert!(note.contains("does not exist"), "{note}");
}
