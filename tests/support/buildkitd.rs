//! Real `BuildKit` daemons.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rbake::engine::{Endpoint, Engine};
use rbake_proto::control::BuildHistoryRequest;

use super::peers;

/// A daemon for one test, with its own root and socket. It ends when this is dropped, and also when the test's
/// process ends.
pub(crate) struct Buildkitd {
    dir: tempfile::TempDir,
    pid: String,
    /// Closing this makes the shell that owns the daemon end it.
    leash: Option<ChildStdin>,
    shell: Child,
}

/// Runs a daemon until its standard input is closed. Of a daemon that was killed while it started a container, a
/// `runc init` may be left, which nobody waits for: its working directory or its root file system is in this folder.
const OWNER: &str = r#"
"$@" </dev/null >log 2>&1 3<&- &
pid=$!
echo "$pid"
exec >/dev/null
cat >/dev/null
kill "$pid" 2>/dev/null
wait "$pid"
here=$(pwd -P)
{
  find /proc -mindepth 2 -maxdepth 2 -path '/proc/[0-9]*/cwd' -lname "$here/*"
  grep -lE "^([^ ]+ ){4}/ .*$here/" /proc/[0-9]*/mountinfo
} 2>/dev/null | cut -d / -f 3 | sort -u | xargs -r kill -KILL 2>/dev/null
"#;

impl Buildkitd {
    /// Starts the program in `RBAKE_TEST_BUILDKITD`, with additional `arguments`.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::start_program(&peers::program("RBAKE_TEST_BUILDKITD"), arguments).await
    }

    /// Like [`Buildkitd::start`], with the registry that all tests of a run share as the mirror of Docker Hub.
    pub(crate) async fn start_with_images() -> Self {
        Self::start_program_with_images(&peers::program("RBAKE_TEST_BUILDKITD")).await
    }

    /// Like [`Buildkitd::start_with_images`], but starts `program`.
    pub(crate) async fn start_program_with_images(program: &Path) -> Self {
        let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
        let mut config = tempfile::NamedTempFile::new().unwrap();
        let text = format!(
            "[registry.\"docker.io\"]\nmirrors = [\"{registry}\"]\n[registry.\"{registry}\"]\nhttp = true\n"
        );
        config.write_all(text.as_bytes()).unwrap();
        let config = config.path().display().to_string();
        Self::start_program(program, &["--config", &config]).await
    }

    /// Like [`Buildkitd::start`], but starts `program`.
    pub(crate) async fn start_program(program: &Path, arguments: &[&str]) -> Self {
        let runc = peers::program("RBAKE_TEST_RUNC");
        let dir = tempfile::Builder::new().prefix("rbake-").tempdir().unwrap();
        let socket = format!("unix://{}", dir.path().join("s").display());
        let mut shell = Command::new("sh")
            .args(["-c", OWNER, "sh"])
            .arg(program)
            .args(["--addr", &socket, "--root"])
            .arg(dir.path().join("root"))
            .arg("--oci-worker-binary")
            .arg(runc)
            // On a disk that is nearly full, the daemon would remove what a test has just built.
            .arg("--oci-worker-gc=false")
            .arg("--containerd-worker=false")
            .args(traces(program, dir.path()))
            .args(arguments)
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let leash = shell.stdin.take();
        let mut pid = String::new();
        BufReader::new(shell.stdout.take().unwrap())
            .read_line(&mut pid)
            .unwrap();
        let pid = pid.trim().to_owned();
        let daemon = Self {
            dir,
            pid,
            leash,
            shell,
        };
        daemon.await_socket().await;
        daemon
    }

    async fn await_socket(&self) {
        let started = Instant::now();
        while tokio::net::UnixStream::connect(self.dir.path().join("s"))
            .await
            .is_err()
        {
            let waited = started.elapsed();
            assert!(
                waited < Duration::from_secs(60),
                "the daemon did not start:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The socket on which it listens.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::Unix(self.dir.path().join("s"))
    }

    /// Waits until the daemon has no active build. Fails after `patience`.
    pub(crate) async fn await_idle(&self, patience: Duration) {
        let started = Instant::now();
        let engine = Engine::connect(self.endpoint()).await.unwrap();
        let request = BuildHistoryRequest {
            active_only: true,
            early_exit: true,
            ..BuildHistoryRequest::default()
        };
        loop {
            let mut control = engine.connection().control();
            let active = control.listen_build_history(request.clone()).await;
            let next = active.unwrap().into_inner().message().await.unwrap();
            let Some(build) = next else {
                return;
            };
            assert!(
                started.elapsed() < patience,
                "the daemon still runs {build:?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Lets every user of the machine connect to the daemon, and returns its address.
    pub(crate) fn open_to_all(&self) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let socket = self.dir.path().join("s");
        for (path, mode) in [(self.dir.path(), 0o711), (socket.as_path(), 0o666)] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path, mode).unwrap();
        }
        format!("unix://{}", socket.display())
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Whether the daemon's process is still running.
    pub(crate) fn is_alive(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.pid));
        status.is_ok_and(|status| !status.contains(") Z "))
    }

    /// Sends the daemon a signal by its name, such as `KILL`.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args(["-s", signal, &self.pid])
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Buildkitd {
    fn drop(&mut self) {
        // A daemon that a test has stopped (SIGSTOP) would not react to anything else.
        let mut wake = Command::new("kill");
        wake.args(["-s", "CONT", &self.pid]).stderr(Stdio::null());
        let _ = wake.status();
        self.leash.take();
        let _ = self.shell.wait();
    }
}

/// The arguments that keep the socket for traces, which has one place by default, in `dir`. Old daemons have none.
fn traces(program: &Path, dir: &Path) -> Vec<std::ffi::OsString> {
    const FLAG: &str = "--otel-socket-path";
    let help = Command::new(program).arg("--help").output().unwrap();
    if String::from_utf8_lossy(&help.stdout).contains(FLAG) {
        vec![FLAG.into(), dir.join("otel").into()]
    } else {
        Vec::new()
    }
}

/// Connects to the daemon that all tests of a run share. Its mirror of Docker Hub has `busybox`.
pub(crate) async fn shared() -> Engine {
    let address = peers::peer("RBAKE_TEST_BUILDKIT_ADDR");
    Engine::connect(address.parse().unwrap()).await.unwrap()
}
