//! Finds the programs that the embedded builder needs, and makes its command line.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::super::trust::TrustError;
use super::search::SearchPath;
use crate::types::processes;

/// The paths of the programs that were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    /// buildkitd, required.
    pub(crate) buildkitd: PathBuf,
    /// runc, required: it runs the containers.
    pub(crate) runc: PathBuf,
    /// rootlesskit, required if this user is not root. `None` for root.
    pub(crate) rootlesskit: Option<PathBuf>,
    /// unshare. `None` if this user is not root, or if the program is not installed.
    pub(crate) unshare: Option<PathBuf>,
}

/// How buildkitd is isolated from the rest of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// As root, in new process and mount namespaces, which this `unshare` creates.
    Namespaces(PathBuf),
    /// As root, in the machine's namespaces, because `unshare` is absent or not permitted.
    None,
    /// Without root, in a user namespace that this `rootlesskit` creates.
    Rootless(PathBuf),
}

/// A program is missing or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// BuildKit's daemon builds on Linux only. Holds the system's name, in Rust's spelling.
    #[error("the embedded builder runs on Linux only, and this is {}", system_name(.0))]
    NotLinux(&'static str),
    /// Neither installed by rbake nor in `PATH`.
    #[error("there is no `{0}` on this machine")]
    Missing(&'static str),
    /// Users other than root and this one can change it.
    #[error("`{name}` is not safe to run")]
    Untrusted {
        /// The program.
        name: String,
        /// The underlying error.
        #[source]
        source: TrustError,
    },
    /// The user is not root, and there is no rootlesskit.
    #[error("the embedded builder needs root or `rootlesskit`")]
    NeedsRootlesskit,
    /// A program does not print its version.
    #[error("`{}` does not print its version", program.display())]
    Version {
        /// The program.
        program: PathBuf,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
}

/// Fails unless the embedded builder can run on `system`, a value of [`std::env::consts::OS`].
///
/// Asked before anything else: on another system, what is missing or wrong there is not worth telling.
pub fn check_system(system: &'static str) -> Result<(), ProgramError> {
    if system == "linux" {
        Ok(())
    } else {
        Err(ProgramError::NotLinux(system))
    }
}

fn system_name(system: &str) -> &str {
    match system {
        "macos" => "macOS",
        "windows" => "Windows",
        other => other,
    }
}

impl Programs {
    /// Finds the programs. A program that others than root and this user can change is an error.
    pub(crate) fn find(search: &SearchPath) -> Result<Self, ProgramError> {
        let find = |name: &str| find(search, name);
        let is_root = rustix::process::geteuid().is_root();
        let programs = Self {
            buildkitd: find("buildkitd")?.ok_or(ProgramError::Missing("buildkitd"))?,
            runc: match find("buildkit-runc")? {
                Some(runc) => runc,
                None => find("runc")?.ok_or(ProgramError::Missing("runc"))?,
            },
            rootlesskit: if is_root { None } else { find("rootlesskit")? },
            unshare: if is_root { find("unshare")? } else { None },
        };
        if !is_root && programs.rootlesskit.is_none() {
            return Err(ProgramError::NeedsRootlesskit);
        }
        Ok(programs)
    }

    /// Whether buildkitd runs without root.
    pub(crate) fn rootless(&self) -> bool {
        self.rootlesskit.is_some()
    }

    /// Returns the best isolation that works on this machine. Runs a process to try it.
    pub(crate) async fn isolation(&self) -> Isolation {
        if let Some(rootlesskit) = &self.rootlesskit {
            return Isolation::Rootless(rootlesskit.clone());
        }
        match &self.unshare {
            Some(unshare) if can_unshare(unshare).await => Isolation::Namespaces(unshare.clone()),
            _ => Isolation::None,
        }
    }

    /// Returns the command that runs buildkitd with the configuration file `config`.
    ///
    /// rootlesskit keeps its state in the folder `state`.
    pub(crate) fn command(
        &self,
        isolation: &Isolation,
        config: &Path,
        state: &Path,
    ) -> Vec<OsString> {
        let mut argv: Vec<OsString> = Vec::new();
        match isolation {
            Isolation::None => {}
            Isolation::Namespaces(unshare) => {
                argv.push(unshare.into());
                argv.extend(UNSHARE.map(OsString::from));
                argv.push("--".into());
            }
            Isolation::Rootless(rootlesskit) => {
                argv.push(rootlesskit.into());
                argv.push("--state-dir".into());
                argv.push(state.into());
                // With host networking, registries on this machine can be reached, as with a builder that runs as
                // root. With the process namespace, the kernel ends the containers when buildkitd ends.
                argv.extend(["--net=host", "--pidns"].map(OsString::from));
            }
        }
        argv.push(self.buildkitd.clone().into());
        argv.push("--config".into());
        argv.push(config.into());
        argv
    }
}

// `slave`: mounts and unmounts of the machine reach the namespace, so that the builder does not keep a disk busy.
const UNSHARE: [&str; 6] = [
    "--mount",
    "--propagation=slave",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
];

/// Whether namespaces can be created here. Some containers forbid it, even for their root.
async fn can_unshare(unshare: &Path) -> bool {
    let mut command = tokio::process::Command::new(unshare);
    command
        .args(UNSHARE)
        .args(["--", "true"])
        .env_clear()
        .env("PATH", PATH_OF_THE_SYSTEM)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let trial = processes::output(&mut command);
    matches!(
        tokio::time::timeout(Duration::from_secs(5), trial).await,
        Ok(Ok(output)) if output.status.success()
    )
}

/// Finds the program `name` and checks that it is safe to run. `None` if there is none.
pub(crate) fn find(search: &SearchPath, name: &str) -> Result<Option<PathBuf>, ProgramError> {
    search.find(name).map_err(|source| ProgramError::Untrusted {
        name: name.to_owned(),
        source,
    })
}

// Programs that are only asked for their version get nothing of the user's environment, above all no secrets. Some
// are scripts, so they need a `PATH` to find other programs.
const PATH_OF_THE_SYSTEM: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The version that `program --version` prints: the first word that looks like `v1.2.3` or `1.2.3…`.
pub(crate) async fn version_of(program: &Path) -> Result<String, ProgramError> {
    let fail = |source| ProgramError::Version {
        program: program.to_owned(),
        source,
    };
    let output = tokio::time::timeout(Duration::from_secs(10), ask_version(program))
        .await
        .map_err(|_| fail(io::ErrorKind::TimedOut.into()))?
        .map_err(fail)?;
    let text = String::from_utf8_lossy(&output.stdout);
    find_version(&text).ok_or_else(|| {
        fail(io::Error::new(
            io::ErrorKind::InvalidData,
            "its output contains no version",
        ))
    })
}

/// Runs `program --version`, and retries if the program is busy (ETXTBSY). This happens to a program that was
/// written a moment ago: a child forked in the meantime still has the file open for writing until it execs.
async fn ask_version(program: &Path) -> io::Result<std::process::Output> {
    loop {
        let mut command = tokio::process::Command::new(program);
        command
            .arg("--version")
            .env_clear()
            .env("PATH", PATH_OF_THE_SYSTEM)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        match processes::output(&mut command).await {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => return other,
        }
    }
}

fn find_version(text: &str) -> Option<String> {
    text.lines()
        .next()?
        .split_ascii_whitespace()
        .find_map(|word| {
            let digits = word.strip_prefix('v').unwrap_or(word);
            let mut parts = digits.split('.');
            let number = |part: Option<&str>| part.is_some_and(|p| p.parse::<u32>().is_ok());
            let is_version = number(parts.next()) && number(parts.next()) && parts.next().is_some();
            is_version.then(|| word.to_owned())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("buildkitd github.com/moby/buildkit v0.32.2 0123abc", Some("v0.32.2"))]
    #[test_case(
        "buildkitd github.com/moby/buildkit v0.0.0+unknown ",
        Some("v0.0.0+unknown")
    )]
    #[test_case("runc version 1.1.5+ds1\ncommit: x", Some("1.1.5+ds1"))]
    #[test_case("usage: x", None)]
    #[test_case("", None)]
    fn versions_are_found_in_the_output(text: &str, version: Option<&str>) {
        assert_eq!(find_version(text).as_deref(), version);
    }

    #[test]
    fn the_command_isolates_buildkitd() {
        let programs = Programs {
            buildkitd: "/b/buildkitd".into(),
            runc: "/b/runc".into(),
            rootlesskit: None,
            unshare: None,
        };
        let shown = |isolation| {
            let argv = programs.command(&isolation, Path::new("/c.toml"), Path::new("/s"));
            let words: Vec<String> = argv.iter().map(|w| w.to_string_lossy().into()).collect();
            words.join(" ")
        };
        assert_eq!(shown(Isolation::None), "/b/buildkitd --config /c.toml");
        assert_eq!(
            shown(Isolation::Namespaces("/u".into())),
            "/u --mount --propagation=slave --pid --fork --kill-child --mount-proc -- /b/buildkitd --config /c.toml"
        );
        assert_eq!(
            shown(Isolation::Rootless("/r".into())),
            "/r --state-dir /s --net=host --pidns /b/buildkitd --config /c.toml"
        );
    }

    #[test]
    fn on_another_system_the_embedded_builder_is_refused() {
        assert!(check_system("linux").is_ok());
        let error = check_system("macos").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the embedded builder runs on Linux only, and this is macOS"
        );
    }

    #[test]
    fn the_error_names_the_missing_program() {
        let error = Programs::find(&SearchPath::default()).unwrap_err();
        assert_eq!(error.to_string(), "there is no `buildkitd` on this machine");
    }
}
