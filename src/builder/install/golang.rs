//! Builds the programs with the Go toolchain, from the module proxy.
//!
//! `go install` refuses BuildKit's module as a dependency because of directives in it. So a small module is created
//! that declares BuildKit's commands as tools. runc is copied from `PATH` if it is there, because building it needs
//! a C compiler.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::pins::Pins;
use super::progress::Progress;
use crate::event::EventSink;
use crate::types::{Environment, processes};

/// The build failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GoError {
    /// There is no Go toolchain.
    #[error("there is no `go` in PATH")]
    NoGo,
    /// A command has failed.
    #[error("`{step}` failed{}", tail(.output))]
    Step {
        /// The command.
        step: String,
        /// The last lines that it printed.
        output: Vec<String>,
    },
    /// A command could not be started, or a file could not be written.
    #[error("cannot {act}")]
    System {
        /// What was tried, as a verb phrase for "cannot …".
        act: String,
        /// The underlying error.
        #[source]
        source: io::Error,
    },
    /// runc could not be built. It needs a C compiler and libseccomp.
    #[error("runc is not in PATH and cannot be built here{}", tail(.output))]
    Runc {
        /// The last lines that the build printed.
        output: Vec<String>,
    },
}

fn tail(lines: &[String]) -> String {
    if lines.is_empty() {
        String::new()
    } else {
        format!(": {}", lines.join(" | "))
    }
}

/// The environment of a Go build, beside the variables that start with `CGO_`: paths, the module proxy, trusted
/// certificates. `GOFLAGS` and `GOWORK` are left out, because the user's flags and workspace are for the user's
/// code. Tokens are left out, because nothing here needs them.
const VARIABLES: [&str; 35] = [
    "HOME",
    "USER",
    "LOGNAME",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "GOROOT",
    "GOPATH",
    "GOMODCACHE",
    "GOCACHE",
    "GOENV",
    "GOTOOLCHAIN",
    "GOPROXY",
    "GONOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "GOPRIVATE",
    "GOINSECURE",
    "GOVCS",
    "GOAUTH",
    "NETRC",
    "GODEBUG",
    "GOMAXPROCS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
    "CC",
    "AR",
    "PKG_CONFIG",
    "PKG_CONFIG_PATH",
];

/// The time limit of one step. A build on a small machine takes minutes; a module proxy that hangs would take
/// forever.
const STEP_LIMIT: Duration = Duration::from_secs(45 * 60);

/// The inputs of a build.
#[derive(Debug)]
pub(super) struct GoBuild<'a> {
    /// The `go` command.
    pub(crate) go: PathBuf,
    /// The versions to build.
    pub(crate) pins: &'a Pins,
    /// A folder for this build alone; it is created if needed.
    pub(crate) work: PathBuf,
    /// The folder to which the programs are written.
    pub(crate) bin: PathBuf,
    /// The machine's runc, if it has one that is new enough. It is copied instead of built.
    pub(crate) runc: Option<PathBuf>,
    /// The value of `PATH` with which Go finds git and a C compiler.
    pub(crate) path: String,
    /// The environment from which Go's variables are taken.
    pub(crate) environment: &'a Environment,
    /// Gets the progress of the build.
    pub(crate) events: &'a EventSink,
}

impl GoBuild<'_> {
    /// Builds all programs into the folder `bin`.
    pub(super) async fn run(&self) -> Result<(), GoError> {
        self.buildkit().await?;
        match &self.runc {
            Some(runc) => {
                let copied = tokio::fs::copy(runc, self.bin.join("runc")).await;
                copied
                    .map(drop)
                    .map_err(system(format!("copy `{}`", runc.display())))
            }
            None => self.runc().await,
        }
    }

    async fn buildkit(&self) -> Result<(), GoError> {
        let version = &self.pins.buildkit.version;
        let module = self.work.join("buildkit");
        tokio::fs::create_dir_all(&module)
            .await
            .map_err(system("make a folder for the build"))?;
        tokio::fs::write(module.join("go.mod"), "module rbake/programs\n\ngo 1.24\n")
            .await
            .map_err(system("write the module for the build"))?;
        let commands =
            ["buildkitd", "buildctl"].map(|name| format!("github.com/moby/buildkit/cmd/{name}"));

        let fetch = format!("fetch the sources of BuildKit {version} with Go");
        let mut get = vec!["get".to_owned(), "-tool".to_owned()];
        get.extend(
            commands
                .iter()
                .map(|command| format!("{command}@{version}")),
        );
        self.go("go-get", &fetch, &module, &get, &[]).await?;

        let build = format!("build BuildKit {version} with Go (this takes minutes)");
        // A binary built as a dependency does not know its version unless a linker flag sets it, and clients ask
        // the daemon for it.
        let flags = format!("-s -w -X github.com/moby/buildkit/version.Version={version}");
        let mut arguments: Vec<String> = ["build", "-trimpath", "-ldflags", &flags, "-o"]
            .map(str::to_owned)
            .to_vec();
        arguments.push(format!("{}/", self.bin.display()));
        arguments.extend(commands);
        self.go(
            "go-build",
            &build,
            &module,
            &arguments,
            &[("CGO_ENABLED", "0")],
        )
        .await
    }

    async fn runc(&self) -> Result<(), GoError> {
        let version = &self.pins.runc.version;
        let name = format!("build runc {version} with Go");
        let package = format!("github.com/opencontainers/runc@{version}");
        let arguments = ["install", "-trimpath", "-tags", "seccomp", &package].map(str::to_owned);
        let bin = self.bin.to_string_lossy();
        let variables = [("GOBIN", bin.as_ref()), ("CGO_ENABLED", "1")];
        match self
            .go("go-runc", &name, &self.work, &arguments, &variables)
            .await
        {
            Err(GoError::Step { output, .. }) => Err(GoError::Runc { output }),
            other => other,
        }
    }

    async fn go(
        &self,
        id: &str,
        name: &str,
        dir: &Path,
        arguments: &[String],
        variables: &[(&str, &str)],
    ) -> Result<(), GoError> {
        let progress = Progress::begin(self.events, id, name);
        let result = self.go_quietly(dir, arguments, variables).await;
        progress.end(result.as_ref().err().map(ToString::to_string));
        result
    }

    async fn go_quietly(
        &self,
        dir: &Path,
        arguments: &[String],
        variables: &[(&str, &str)],
    ) -> Result<(), GoError> {
        let temporary = self.work.join("tmp");
        tokio::fs::create_dir_all(&temporary)
            .await
            .map_err(system("make a folder for the build"))?;
        let mut command = Command::new(&self.go);
        command
            .args(arguments)
            .current_dir(dir)
            .env_clear()
            .envs(
                self.environment
                    .iter()
                    .filter(|(name, _)| VARIABLES.contains(name) || name.starts_with("CGO_")),
            )
            .env("PATH", &self.path)
            .env("GOWORK", "off")
            .env("GOFLAGS", "-mod=mod")
            // In this folder, leftovers of an interrupted build are removed with the folder.
            .env("TMPDIR", &temporary)
            .env("GOTMPDIR", &temporary)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // Go starts compilers, linkers and git. If the step is cancelled, they are ended as well.
        let run = processes::output(&mut command);
        let step = || format!("go {}", arguments.first().map_or("", String::as_str));
        let Ok(output) = tokio::time::timeout(STEP_LIMIT, run).await else {
            let minutes = STEP_LIMIT.as_secs() / 60;
            return Err(GoError::Step {
                step: step(),
                output: vec![format!("rbake stopped it after {minutes} minutes")],
            });
        };
        let output = output.map_err(system(format!("run `{}`", self.go.display())))?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let from = lines.len().saturating_sub(8);
        Err(GoError::Step {
            step: step(),
            output: lines[from..]
                .iter()
                .map(|line| (*line).to_owned())
                .collect(),
        })
    }
}

fn system(act: impl Into<String>) -> impl FnOnce(io::Error) -> GoError {
    let act = act.into();
    move |source| GoError::System { act, source }
}
