//! The embedded builder on a shared machine: directories, programs and sockets of other users. Also: which environment
//! variables of a run reach processes that outlive the run.

use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rbake::builder::embedded::{self, EmbeddedError, EmbeddedPlaces, Running, Stopped};
use rbake::event::EventSink;
use rbake::types::Environment;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::home::{Home, eventually, launcher, rbake};
use crate::support::interrupted::Run;

/// A user id that does not exist on any machine.
const STRANGER: u32 = 64_242;

const BAKE: &str = "target \"default\" {\n  dockerfile-inline = \"FROM scratch\\nCOPY a /\"\n  output = [\"type=cacheonly\"]\n}\n";

async fn running_in(environment: &Environment) -> Result<Running, EmbeddedError> {
    embedded::ensure_running(environment, &launcher(), &EventSink::none()).await
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

// The environments of all processes whose command line names a path in the home, by command line.
fn environments(home: &Home) -> Vec<(String, String)> {
    let mark = home.path("").display().to_string();
    let mark = mark.trim_end_matches('/');
    let text = |path: PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', "\n")
    };
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    numbers
        .map(|entry| entry.path())
        .map(|path| (text(path.join("cmdline")), text(path.join("environ"))))
        .filter(|(line, environ)| {
            line.contains(mark) || (line.contains("serve") && environ.contains(mark))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn no_secret_of_the_first_run_stays_in_the_builders_processes() {
    let home = Home::with_programs();
    let home = home
        .variable("GITHUB_TOKEN", "canary-1")
        .variable("AWS_SECRET_ACCESS_KEY", "canary-2")
        .variable("DOCKER_AUTH_CONFIG", "{\"auths\":{\"canary-3\":{}}}")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1/canary-4")
        .variable("OTEL_TRACES_EXPORTER", "otlp")
        .variable("NO_PROXY", "kept.example");
    let running = running_in(&home.environment()).await.unwrap();
    let all = environments(&home);
    // They are the supervisor, the program that creates its namespaces, and buildkitd.
    assert!(all.len() >= 3, "{all:?}");
    for (line, environ) in &all {
        assert!(!environ.contains("canary"), "{line}: {environ}");
        assert!(environ.contains("NO_PROXY=kept.example"), "{line}");
    }
    drop(running);
    eventually("no clients", async || {
        home.facts().await.is_some_and(|facts| facts.clients == 0)
    })
    .await;
    // With the OpenTelemetry variables, buildkitd would also wait five seconds for an exporter when it stops.
    let stopped = embedded::stop(&home.environment(), false, &EventSink::none()).await;
    assert_eq!(stopped.unwrap(), Stopped::Stopped);
}

// Starts an HTTP server that has one file.
async fn serve_file(content: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let length = content.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{content}"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}/file")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_run_with_other_proxies_gets_a_new_builder_once_the_old_one_has_no_clients() {
    let home = Home::with_programs();
    let plain = home.environment();
    let proxied = plain.clone().with("HTTP_PROXY", Some("http://127.0.0.1:1"));
    let first = running_in(&proxied).await.unwrap();
    let second = running_in(&plain).await.unwrap();
    assert_eq!(first.facts.supervisor, second.facts.supervisor);
    assert!(second.is_outdated && !first.is_outdated);
    let supervisor = first.facts.supervisor;
    drop((first, second));
    eventually("no clients", async || {
        home.facts().await.is_some_and(|facts| facts.clients == 0)
    })
    .await;
    let third = running_in(&plain).await.unwrap();
    assert_ne!(third.facts.supervisor, supervisor);
    for (line, environ) in environments(&home) {
        assert!(!environ.contains("HTTP_PROXY"), "{line}: {environ}");
    }
    // Another variable does not make the builder outdated.
    let fourth = running_in(&plain.with("GITHUB_TOKEN", Some("t")))
        .await
        .unwrap();
    assert_eq!(fourth.facts.supervisor, third.facts.supervisor);
    assert!(!fourth.is_outdated);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn an_add_from_a_url_works_after_a_run_with_a_dead_proxy() {
    let home = Home::with_programs();
    let url = serve_file("served").await;
    // Go does not use a proxy for `localhost` and loopback addresses.
    let address = name_of_this_machine();
    let listener = tokio::net::TcpListener::bind((address.as_str(), 0))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    let inner = url
        .trim_start_matches("http://")
        .trim_end_matches("/file")
        .to_owned();
    tokio::spawn(async move {
        while let Ok((mut outer, _)) = listener.accept().await {
            if let Ok(mut inner) = tokio::net::TcpStream::connect(&inner).await {
                tokio::spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                });
            }
        }
    });
    home.write(
        "work/docker-bake.hcl",
        &format!("target \"default\" {{\n  dockerfile-inline = \"FROM scratch\\nADD http://{address}:{port}/file /\"\n  output = [\"type=cacheonly\"]\n}}\n"),
    );
    let bake = |proxy: Option<&str>| {
        let mut command = home.command(rbake());
        if let Some(proxy) = proxy {
            command.env("HTTP_PROXY", proxy);
        }
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        async move {
            let output = output.await.unwrap();
            (
                output.status.code(),
                String::from_utf8_lossy(&output.stderr).into_owned(),
            )
        }
    };
    let (code, said) = bake(Some("http://127.0.0.1:1")).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("127.0.0.1:1"), "{said}");
    let (code, said) = bake(None).await;
    assert_eq!(code, Some(0), "{said}");
}

// An address of this machine that is not loopback, or its name if it has no such address.
fn name_of_this_machine() -> String {
    let text = |arguments: &[&str]| {
        let output = Command::new("hostname").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let addresses = text(&["-I"]);
    let mut addresses = addresses.split_ascii_whitespace();
    match addresses.find(|address| address.contains('.')) {
        Some(address) => address.to_owned(),
        None => text(&[]).trim().to_owned(),
    }
}

// rbake as another user, with a copy of the program that this user can read.
struct Another {
    dir: tempfile::TempDir,
    program: PathBuf,
}

impl Another {
    fn new() -> Self {
        assert!(is_root(), "only root can be another user");
        let dir = tempfile::Builder::new().prefix("rb-").tempdir().unwrap();
        mode(dir.path(), 0o755);
        let program = dir.path().join("rbake");
        std::fs::copy(rbake(), &program).unwrap();
        mode(&program, 0o755);
        let home = dir.path().join("home");
        std::fs::create_dir(&home).unwrap();
        chown(&home, Some(STRANGER), Some(STRANGER)).unwrap();
        Self { dir, program }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn run(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let number = STRANGER.to_string();
        Command::new("setpriv")
            .args([
                "--reuid",
                &number,
                "--regid",
                &number,
                "--clear-groups",
                "--",
            ])
            .arg(&self.program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.home())
            .envs(variables.iter().copied())
            .current_dir("/")
            .output()
            .unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

// Listens on `socket`, and records whether anybody has connected.
fn listen(socket: &Path) -> Arc<AtomicBool> {
    let listener = UnixListener::bind(socket).unwrap();
    mode(socket, 0o777);
    let was_asked = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&was_asked);
    std::thread::spawn(move || {
        if listener.accept().is_ok() {
            flag.store(true, Ordering::SeqCst);
        }
    });
    was_asked
}

#[test]
#[ignore = "needs root"]
fn a_directory_for_sockets_that_another_user_has_created_is_not_used() {
    let another = Another::new();
    // The path is so long that the sockets are in /tmp, where another user may have created files first.
    let data = another.home().join("d".repeat(100));
    let data = data.to_str().unwrap();
    let environment = Environment::of([("RBAKE_DATA_DIR", data)], "/");
    let id = EmbeddedPlaces::of(&environment)
        .unwrap()
        .run_dir()
        .to_owned();
    let id = id.to_str().unwrap().rsplit('-').next().unwrap().to_owned();
    let trap = PathBuf::from(format!("/tmp/rbake-{STRANGER}-{id}"));
    std::fs::create_dir(&trap).unwrap();
    mode(&trap, 0o755);
    let was_asked = listen(&trap.join("control.sock"));
    for verb in ["stop", "status"] {
        let output = another.run(&[("RBAKE_DATA_DIR", data)], &["+builder", verb]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains(&format!("`{}`", trap.display())), "{said}");
        assert!(
            said.contains("belongs to root (uid 0), mode 0755"),
            "{said}"
        );
        assert!(said.contains("RBAKE_DATA_DIR"), "{said}");
    }
    // A link to one of root's directories must be refused as well.
    std::fs::remove_dir_all(&trap).unwrap();
    symlink("/root", &trap).unwrap();
    let output = another.run(&[("RBAKE_DATA_DIR", data)], &["+builder", "stop"]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    std::fs::remove_file(&trap).unwrap();
    assert!(!was_asked.load(Ordering::SeqCst));
    let output = another.run(&[("RBAKE_DATA_DIR", data)], &["+builder", "stop"]);
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
#[ignore = "needs root"]
fn rbake_does_not_connect_to_a_socket_of_another_user() {
    let another = Another::new();
    let builder = another.home().join(".local/share/rbake/builder");
    std::fs::create_dir_all(builder.join("run")).unwrap();
    for path in [
        ".local",
        ".local/share",
        ".local/share/rbake",
        ".local/share/rbake/builder",
        ".local/share/rbake/builder/run",
    ] {
        chown(another.home().join(path), Some(STRANGER), Some(STRANGER)).unwrap();
    }
    // All directories belong to the user, but root listens on the socket.
    listen(&builder.join("run/control.sock"));
    let output = another.run(&[], &["+builder", "stop"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains("control.sock` belongs to root (uid 0)"),
        "{said}"
    );
}

#[test]
#[ignore = "needs root"]
fn root_does_not_use_data_in_the_home_of_another_user() {
    assert!(is_root(), "only root can give files away");
    let home = Home::without_programs();
    chown(home.path("home"), Some(STRANGER), None).unwrap();
    home.write("work/docker-bake.hcl", BAKE);
    home.write("work/a", "a");
    let mut command = home.command(rbake());
    command
        .env_remove("RBAKE_DATA_DIR")
        .env("XDG_DATA_HOME", home.path("home/.local/share"));
    let output = command.output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    let told = format!(
        "the folder `{}` belongs to uid {STRANGER}, mode 0755",
        home.path("home").display()
    );
    assert!(said.contains(&told), "{said}");
    assert!(
        said.contains("RBAKE_DATA_DIR") && said.contains("sudo -H"),
        "{said}"
    );
    assert!(!home.path("home/.local").exists());
}

#[test]
fn data_in_a_folder_that_everybody_can_write_to_is_refused() {
    let home = Home::without_programs();
    std::fs::create_dir(home.path("open")).unwrap();
    mode(&home.path("open"), 0o777);
    let open = home.path("open");
    let mut command = home.command(rbake());
    command.args(["+builder", "install", "--from", "path"]);
    command.env("RBAKE_DATA_DIR", open.join("mine"));
    let output = command.output().unwrap();
    let told = said(&output);
    assert_eq!(output.status.code(), Some(4), "{told}");
    let expected = format!("the folder `{}`", open.display());
    assert!(
        told.contains(&expected) && told.contains("mode 0777"),
        "{told}"
    );
    assert_eq!(std::fs::read_dir(&open).unwrap().count(), 0);
    // Like /tmp: others can create files there, but cannot replace ours.
    mode(&open, 0o1777);
    let output = command.output().unwrap();
    assert!(!said(&output).contains("not safe"), "{}", said(&output));
}

#[test]
#[ignore = "needs live peers"]
fn programs_and_settings_that_others_can_change_are_not_used() {
    let home = Home::with_programs();
    home.write("work/docker-bake.hcl", BAKE);
    home.write("work/a", "a");
    let open = home.path("open");
    home.write(
        "open/buildkitd",
        "#!/bin/sh\ntouch \"$(dirname \"$0\")/was-run\"\n",
    );
    mode(&open.join("buildkitd"), 0o755);
    mode(&open, 0o777);
    let bake = |path: &str, config: Option<&Path>| {
        let mut command = home.command(rbake());
        command.env("PATH", path).env("BUILDX_BUILDER", "embedded");
        if let Some(config) = config {
            command.env("RBAKE_BUILDKITD_CONFIG", config);
        }
        command.output().unwrap()
    };
    let output = bake(&format!("{}:/usr/bin:/bin", open.display()), None);
    let told = said(&output);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("`buildkitd` is not safe to run"), "{told}");
    assert!(
        told.contains("mode 0777") && told.contains("chmod go-w"),
        "{told}"
    );
    assert!(!open.join("was-run").exists());

    let sound = home.environment().get("PATH").unwrap().to_owned();
    home.write("settings/buildkitd.toml", "debug = true\n");
    let config = home.path("settings/buildkitd.toml");
    mode(&config, 0o666);
    let output = bake(&sound, Some(&config));
    let told = said(&output);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains(&format!("`{}`", config.display())), "{told}");
    assert!(
        told.contains("mode 0666") && told.contains("RBAKE_BUILDKITD_CONFIG"),
        "{told}"
    );
    mode(&config, 0o644);
    home.write("settings/ca.pem", "");
    let certificate = home.path("settings/ca.pem");
    mode(&certificate, 0o666);
    let naming = "[registry.\"r.example\"]\nca = [\"ca.pem\"]\n";
    home.write("settings/naming.toml", naming);
    let output = bake(&sound, Some(&home.path("settings/naming.toml")));
    let told = said(&output);
    assert_eq!(output.status.code(), Some(4), "{told}");
    let expected = "`registry.r.example.ca` names a path that is not safe to use";
    assert!(told.contains(expected), "{told}");
    assert!(
        told.contains(&format!("`{}`", certificate.display())) && told.contains("chmod go-w"),
        "{told}"
    );
    // The safe program later in `PATH` is used, and buildkitd's `PATH` does not have the open directory.
    let output = bake(&format!("{}:{sound}", open.display()), Some(&config));
    assert!(output.status.success(), "{}", said(&output));
    let log = std::fs::read_to_string(home.path("data/builder/builder.log")).unwrap();
    let told = format!("`{}` in PATH is not used", open.display());
    assert!(log.contains(&told), "{log}");
    for (line, environ) in environments(&home) {
        if line.contains("buildkitd\n--config") {
            let path = environ.lines().find(|line| line.starts_with("PATH="));
            assert!(
                !path.unwrap().contains(&open.display().to_string()),
                "{line}"
            );
        }
    }
    assert!(!open.join("was-run").exists());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_builders_folders_are_closed_to_others() {
    let home = Home::with_programs();
    std::fs::create_dir_all(home.path("data/builder/run")).unwrap();
    mode(&home.path("data/builder"), 0o755);
    let _running = running_in(&home.environment()).await.unwrap();
    for name in ["data/builder", "data/builder/run", "data/builder/tmp"] {
        let found = home.path(name).metadata().unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o700, "{name}");
    }
    for name in [
        "buildkitd.toml",
        "builder.log",
        "start.lock",
        "buildkitd.process",
    ] {
        let found = home.path("data/builder").join(name).metadata().unwrap();
        assert_eq!(found.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn a_supervisor_that_waits_for_another_one_ends_on_sigterm() {
    let home = Home::with_programs();
    let places = EmbeddedPlaces::of(&home.environment()).unwrap();
    places.create().unwrap();
    let lock = places.supervisor_lock();
    let held = embedded::lock(&lock, Duration::from_secs(5)).await.unwrap();
    let mut serve = home.command(rbake());
    serve.args(["+builder", "serve"]).stderr(Stdio::null());
    let mut child = serve.spawn().unwrap();
    // Wait until it catches the signal; before that, the signal would have no effect.
    let status = format!("/proc/{}/status", child.id());
    eventually("it catches SIGTERM", async || {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.map(|mask| u64::from_str_radix(mask.trim(), 16).unwrap());
        caught.is_some_and(|mask| mask & (1 << 14) != 0)
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(child.try_wait().unwrap().is_none());
    signal(child.id(), Signal::TERM);
    eventually("it ends", async || child.try_wait().unwrap().is_some()).await;
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs live peers"]
async fn the_error_names_a_frozen_supervisor_and_a_waiting_run_can_be_interrupted() {
    let home = Home::with_programs();
    home.write("work/docker-bake.hcl", BAKE);
    home.write("work/a", "a");
    let home = home.variable("BUILDX_BUILDER", "embedded");
    let running = running_in(&home.environment()).await.unwrap();
    let supervisor = running.facts.supervisor;
    signal(supervisor, Signal::STOP);
    let bake = || Run::start(home.command(rbake()).args(["--progress", "plain"]));
    let (mut impatient, patient) = (bake(), bake());
    impatient
        .writes("waiting for the embedded builder to answer")
        .await;
    impatient.interrupt(Signal::INT).await;
    let output = patient.ended(Duration::from_secs(60)).await;
    signal(supervisor, Signal::CONT);
    let told = output.stderr;
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(
        told.contains("waiting for the embedded builder to answer, 10 s"),
        "{told}"
    );
    assert!(told.contains("does not answer on"), "{told}");
    assert!(told.contains(&format!("kill -KILL {supervisor}")), "{told}");
}
