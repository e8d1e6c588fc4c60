//! Builders that are absent, that are not `BuildKit`, or that die during a build.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::buildkitd::Buildkitd;
use crate::support::project::TestProject;

fn project() -> TestProject {
    TestProject::new()
        .file("docker-bake.hcl", "target \"default\" {}\n")
        .file("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
}

#[test]
fn the_error_names_an_absent_builder() {
    let project = project().env("BUILDKIT_HOST", "unix:///nonexistent/buildkitd.sock");
    let output = project.rbake(&[]);
    assert_eq!(output.code, Some(4), "{output}");
    assert!(
        output.stderr.contains("unix:///nonexistent/buildkitd.sock"),
        "{output}"
    );
    assert!(output.stderr.contains("BUILDKIT_HOST"), "{output}");
}

#[test]
fn an_invalid_builder_address_is_an_error_that_shows_a_valid_form() {
    for (address, expected) in [
        ("cloud://somewhere", "the scheme `cloud` is not supported"),
        ("buildkitd.sock", "unix:///path/to/socket"),
        ("tcp://somewhere", "a host and a port"),
    ] {
        let output = project().env("BUILDKIT_HOST", address).rbake(&[]);
        assert_eq!(output.code, Some(4), "{output}");
        assert!(output.stderr.contains(expected), "{output}");
    }
}

#[test]
fn a_server_that_does_not_speak_grpc_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut greeting = [0; 24];
            if stream.read_exact(&mut greeting).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
            }
        }
    });
    let address = format!("unix://{}", socket.display());
    let output = project().env("BUILDKIT_HOST", &address).rbake(&[]);
    assert_eq!(output.code, Some(4), "{output}");
    assert!(
        output.stderr.contains("a web server answers at"),
        "{output}"
    );
    assert!(output.stderr.contains(&address), "{output}");
}

// Starts a bake, and returns when its long step has begun.
fn running(project: &TestProject) -> std::process::Child {
    let mut command = project.command(&["--progress", "plain"]);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // rbake prints the command before it runs, so only its output shows that it has begun.
    while !line.contains("begun-42") {
        line.clear();
        assert_ne!(
            lines.read_line(&mut line).unwrap(),
            0,
            "the bake ended early"
        );
    }
    child.stderr = Some(lines.into_inner());
    child
}

fn sleeper(daemon: &Buildkitd) -> TestProject {
    let rand = rbake::engine::BuildRef::new();
    let dockerfile = format!("FROM busybox\nRUN : {rand}; echo begun-$((40+2)); sleep 20\n");
    TestProject::new()
        .file("docker-bake.hcl", "target \"default\" {}\n")
        .file("Dockerfile", dockerfile)
        .env("BUILDKIT_HOST", daemon.endpoint())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_builder_that_dies_during_a_step_ends_the_bake() {
    let daemon = Buildkitd::start_with_images().await;
    let project = sleeper(&daemon);
    let child = running(&project);
    daemon.signal("KILL");
    let killed = Instant::now();
    let output = project.read(&child.wait_with_output().unwrap());
    assert_eq!(output.code, Some(4), "{output}");
    assert!(output.stderr.contains("was lost"), "{output}");
    assert!(
        killed.elapsed() < Duration::from_secs(5),
        "{:?}",
        killed.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_interrupt_ends_the_bake_and_the_daemons_work() {
    let daemon = Buildkitd::start_with_images().await;
    let project = sleeper(&daemon);
    let child = running(&project);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let interrupted = Instant::now();
    let output = project.read(&child.wait_with_output().unwrap());
    assert_eq!(output.code, Some(130), "{output}");
    assert!(
        interrupted.elapsed() < Duration::from_secs(2),
        "{:?}",
        interrupted.elapsed()
    );
    daemon.await_idle(Duration::from_secs(10)).await;
}
