//! A user's home for one test. Its embedded builder ends with the test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rbake::builder::embedded::{self, Facts, Launcher, Reply, Stopped};
use rbake::event::EventSink;
use rbake::types::Environment;
use rustix::process::{Pid, Signal, kill_process};

use super::peers;

/// The directories and environment variables of a user, separate from those of the real user.
pub(crate) struct Home {
    dir: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// The program under test.
pub(crate) fn rbake() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_rbake"))
}

/// How the library starts a supervisor.
pub(crate) fn launcher() -> Launcher {
    Launcher { program: rbake() }
}

impl Home {
    /// A home whose `PATH` has the programs that a builder needs, and the system's.
    pub(crate) fn with_programs() -> Self {
        let folder = |variable| {
            let program = peers::program(variable);
            program.parent().unwrap().display().to_string()
        };
        let buildkit = folder("RBAKE_TEST_BUILDKITD");
        let runc = folder("RBAKE_TEST_RUNC");
        let path = format!("{buildkit}:{runc}:/usr/sbin:/usr/bin:/sbin:/bin");
        Self::new(&path)
    }

    /// A home whose `PATH` has only the system's programs.
    pub(crate) fn without_programs() -> Self {
        Self::new("/usr/sbin:/usr/bin:/sbin:/bin")
    }

    fn new(path: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("rbake-").tempdir().unwrap();
        let folder = |name: &str| dir.path().join(name).display().to_string();
        let variables = [
            ("HOME", folder("home")),
            ("PATH", path.to_owned()),
            ("RBAKE_DATA_DIR", folder("data")),
            ("RBAKE_CONFIG_DIR", folder("config")),
            ("RBAKE_CACHE_DIR", folder("cache")),
            ("DOCKER_CONFIG", folder("docker")),
        ];
        for name in ["home", "config", "docker", "work"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self {
            variables: variables.map(|(k, v)| (k.to_owned(), v)).to_vec(),
            dir,
        }
    }

    /// Sets one more variable.
    #[must_use]
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The absolute path of `name` in the home.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, and creates its parent directories.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Makes the tests' registry the embedded builder's mirror of Docker Hub.
    pub(crate) fn mirror_docker_hub(&self) {
        let registry = peers::peer("RBAKE_TEST_REGISTRY_ADDR");
        self.write(
            "config/buildkitd.toml",
            &format!(
                "[registry.\"docker.io\"]\nmirrors = [\"{registry}\"]\n[registry.\"{registry}\"]\nhttp = true\n"
            ),
        );
    }

    /// The environment that the library sees in this home.
    pub(crate) fn environment(&self) -> Environment {
        let variables = self.variables.iter();
        Environment::new(
            variables.map(|(k, v)| (k.into(), v.into())),
            self.path("work"),
        )
    }

    /// A command with the environment of this home.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command
            .env_clear()
            .envs(self.variables.iter().map(|(k, v)| (k, v)))
            .current_dir(self.path("work"));
        command
    }

    /// Runs rbake with `arguments` in the directory `work`.
    pub(crate) fn rbake(&self, arguments: &[&str]) -> Output {
        self.command(rbake()).args(arguments).output().unwrap()
    }

    /// Like [`Home::rbake`], but hides the machine's daemons, which listen at their default sockets.
    pub(crate) fn rbake_alone(&self, arguments: &[&str]) -> Output {
        let script = "mount -t tmpfs none /run && { [ -L /var/run ] || mount -t tmpfs none /var/run; } && exec \"$@\"";
        let mut command = self.command("unshare");
        if !rustix::process::getuid().is_root() {
            command.arg("--map-root-user");
        }
        command.args(["--mount", "sh", "-c", script, "sh"]);
        command.arg(rbake()).args(arguments).output().unwrap()
    }

    /// The facts of the embedded builder, if it is ready.
    pub(crate) async fn facts(&self) -> Option<Facts> {
        match embedded::status(&self.environment()).await {
            Ok(Some(Reply::Ready(facts))) => Some(facts),
            _ => None,
        }
    }

    /// Continues processes that a failed test has left stopped. They could not be ended otherwise.
    fn thaw(&self) {
        let mark = self.dir.path().display().to_string();
        let numbers = std::fs::read_dir("/proc").unwrap().flatten();
        for entry in numbers {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            let is_ours = String::from_utf8_lossy(&environ).contains(&mark);
            let pid = entry.file_name().to_str().and_then(|pid| pid.parse().ok());
            if let Some(pid) = pid.and_then(Pid::from_raw).filter(|_| is_ours) {
                let _ = kill_process(pid, Signal::CONT);
            }
        }
    }

    /// Processes whose command line names a path in the home.
    pub(crate) fn processes(&self) -> Vec<String> {
        processes(&self.dir.path().display().to_string())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.thaw();
        }
        let environment = self.environment();
        // The test may be in an async runtime already, which cannot be entered again on this thread.
        let stopped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(embedded::stop(&environment, true, &EventSink::none()))
        });
        let stopped = stopped.join().unwrap();
        if !std::thread::panicking() {
            assert!(
                matches!(stopped, Ok(Stopped::Stopped | Stopped::NotRunning)),
                "{stopped:?}"
            );
        }
    }
}

/// The command lines of all processes that contain `text`.
pub(crate) fn processes(text: &str) -> Vec<String> {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    numbers
        .filter(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().bytes().all(|b| b.is_ascii_digit())
        })
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}

/// Waits until `condition` holds. Fails after 40 seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(
            started.elapsed() < Duration::from_secs(40),
            "waited 40 seconds for: {what}"
        );
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
