//! A project directory and the `rbake` command run in it, apart from everything of the machine's.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A fresh directory with a home of its own.
pub(crate) struct TestProject {
    dir: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// What a command gave.
#[must_use]
pub(crate) struct CommandOutput {
    /// The exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output, with the project's path as `[project]`.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
}

impl TestProject {
    /// An empty project.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("rbake-test-")
            .tempdir()
            .unwrap();
        std::fs::create_dir_all(dir.path().join("home")).unwrap();
        std::fs::create_dir_all(dir.path().join("project")).unwrap();
        Self {
            dir,
            environment: Vec::new(),
        }
    }

    /// The project's directory.
    pub(crate) fn path(&self) -> PathBuf {
        // Links in the path of temporary directories would hide it from redaction.
        self.dir.path().canonicalize().unwrap().join("project")
    }

    /// Adds a file, and the directories above it.
    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// The user's home.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("home")
    }

    /// Adds a program of the user's, a shell script, and puts its folder first in `PATH`.
    pub(crate) fn program_in_path(self, name: &str, script: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let bin = self.home().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let program = bin.join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
    }

    /// Writes Docker's configuration.
    pub(crate) fn docker_config(self, config: &str) -> Self {
        let dir = self.home().join(".docker");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("config.json"), config).unwrap();
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// The command `rbake` with `arguments`, not yet run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_rbake")), arguments)
    }

    /// `program` with `arguments`, in the place and with the environment that rbake would have.
    pub(crate) fn program(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("HOME", self.dir.path().join("home"))
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("TERM", "xterm-256color")
            .env("COLUMNS", "100")
            .env("LINES", "40")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs `rbake` with `arguments`.
    pub(crate) fn rbake(&self, arguments: &[&str]) -> CommandOutput {
        self.read(&self.command(arguments).output().unwrap())
    }

    /// What `output` says, with the project's path redacted.
    pub(crate) fn read(&self, output: &Output) -> CommandOutput {
        let project = self.path().display().to_string();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&project, "[project]");
        CommandOutput {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

impl fmt::Display for CommandOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => writeln!(f, "exit code: {code}")?,
            None => writeln!(f, "ended by a signal")?,
        }
        write!(
            f,
            "----- stdout -----\n{}----- stderr -----\n{}",
            self.stdout, self.stderr
        )
    }
}
