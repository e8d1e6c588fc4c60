//! A project directory, and the `rbake` command that runs in it, isolated from the machine's configuration.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use regex::Regex;

/// A new directory with its own home.
pub(crate) struct TestProject {
    dir: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// The result of a command.
#[must_use]
pub(crate) struct CommandOutput {
    /// The exit code, or `None` if a signal ended the command.
    pub code: Option<i32>,
    /// Standard output. The project's path is replaced by `[project]`, the home's by `[home]`, and the version by
    /// `[version]`.
    pub stdout: String,
    /// Standard error, with the same replacements.
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

    /// The absolute path of the project's directory.
    pub(crate) fn path(&self) -> PathBuf {
        // The path must have no symbolic links, or the replacement of paths in the output would miss it.
        self.dir.path().canonicalize().unwrap().join("project")
    }

    /// Adds a file, and creates its parent directories.
    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// The home of the project's user.
    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("home")
    }

    /// Adds a shell script as a program, and puts its directory first in `PATH`.
    pub(crate) fn program_in_path(self, name: &str, script: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let bin = self.home().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let program = bin.join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        self.env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
    }

    /// Writes Docker's configuration file.
    pub(crate) fn docker_config(self, config: &str) -> Self {
        let dir = self.home().join(".docker");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("config.json"), config).unwrap();
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// The command `rbake` with `arguments`, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_rbake")), arguments)
    }

    /// The command `program` with `arguments`, in the same directory and environment as rbake.
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

    /// Runs rbake once for each of `lines`, which are arguments quoted as in a shell. Returns what a terminal would
    /// show.
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

    /// Converts `output`, with paths and the version replaced.
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

/// Copies the directory `from`, without links, to `to`.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &place);
        } else {
            std::fs::copy(entry.path(), place).unwrap();
        }
    }
}

impl CommandOutput {
    /// Both streams, without the times of `rawjson`, with headings for those that are not empty, and the exit code unless it is 0.
    pub(crate) fn session(&self) -> String {
        let mut text = self.stdout.clone();
        if !self.stderr.is_empty() {
            if !self.stdout.is_empty() {
                text.insert_str(0, "(standard output)\n");
            }
            let times = Regex::new(r"\d{4}-\d\d-\d\dT[\d:.]+Z").unwrap();
            let stderr = times.replace_all(&self.stderr, "[time]");
            let _ = write!(text, "(standard error)\n{stderr}");
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

/// Splits `line` into words. Text inside `'…'` is taken literally.
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

/// Compares a session with its snapshot. The snapshot has the name of the test, and its directory that of the test's file.
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
