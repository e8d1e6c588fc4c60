//! A project directory and the `rbake` command run in it, apart from everything of the machine's.

use std::fmt::{self, Write as _};
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
    /// Standard output, with the project's path as `[project]`, the home's as `[home]` and the version as `[version]`.
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

    /// Runs each of `lines`, the arguments of an `rbake` with words in quotes as in a shell, and returns what a terminal would show.
    pub(crate) fn session(&self, lines: &[&str]) -> String {
        let mut text = String::new();
        for line in lines {
            let words = words(line);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let output = self.rbake(&words).session();
            let _ = write!(text, "$ {}\n{output}\n", format!("rbake {line}").trim_end());
        }
        text
    }

    /// What `output` says, with paths and the version redacted.
    pub(crate) fn read(&self, output: &Output) -> CommandOutput {
        let project = self.path().display().to_string();
        let home = self.home().display().to_string();
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes)
                .replace(&project, "[project]")
                .replace(&home, "[home]")
                .replace(env!("CARGO_BIN_EXE_rbake"), "rbake")
                .replace(env!("CARGO_PKG_VERSION"), "[version]")
        };
        CommandOutput {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

impl CommandOutput {
    /// Both streams under the names of those that are not empty, and the exit code unless it is 0.
    pub(crate) fn session(&self) -> String {
        let mut text = self.stdout.clone();
        if !self.stderr.is_empty() {
            if !self.stdout.is_empty() {
                text.insert_str(0, "(standard output)\n");
            }
            let _ = write!(text, "(standard error)\n{}", self.stderr);
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push_str("(no end of line)\n");
        }
        match self.code {
            Some(0) => {}
            Some(code) => {
                let _ = writeln!(text, "(exit code {code})");
            }
            None => text.push_str("(ended by a signal)\n"),
        }
        text
    }
}

/// The words of `line`; what is within `'…'` is taken as it is.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
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

/// Holds a session to the snapshot that is named for the test, in a folder named for its file.
macro_rules! assert_session {
    ($session:expr $(,)?) => {{
        let file = module_path!().rsplit("::").next().unwrap_or_default();
        insta::with_settings!({
            snapshot_path => format!("snapshots/{file}"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!($session);
        });
    }};
}
pub(crate) use assert_session;
