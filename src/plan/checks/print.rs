//! Checks of the local machine that buildx makes before it prints a plan: that secrets and keys exist, and that
//! outputs can be written.

use std::fs::Metadata;
use std::io;
use std::path::Path;

use super::problem;
use crate::definition::model::{SecretEntry, Sink, SshEntry};
use crate::diag::{Diagnostics, Spanned};
use crate::plan::model::{Plan, PlannedTarget};
use crate::types::Environment;

/// The largest secret that the daemon accepts, in bytes.
const SECRET_LIMIT: u64 = 500 * 1024;

/// The environment in which a plan is printed or built.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The environment variables and the working directory.
    pub environment: &'a Environment,
    /// Whether standard output is a terminal. Archives are not written to a terminal.
    pub stdout_is_terminal: bool,
}

/// Reports what `plan` needs but the local machine does not have. buildx makes the same checks before it prints.
pub fn check_print(plan: &Plan, surroundings: Surroundings<'_>) -> Diagnostics {
    let mut problems = Diagnostics::default();
    for target in plan.targets.values() {
        let mut check = Check {
            target,
            surroundings,
            problems: &mut problems,
        };
        for secret in &target.attributes.secret {
            check.secret(secret);
        }
        check.ssh();
        check.outputs();
        check.dockerfile();
    }
    problems
}

struct Check<'a> {
    target: &'a PlannedTarget,
    surroundings: Surroundings<'a>,
    problems: &'a mut Diagnostics,
}

impl Check<'_> {
    fn push<T>(&mut self, code: &'static str, at: &Spanned<T>, message: impl std::fmt::Display) {
        let problem = problem(code, self.target, at.span, message);
        self.problems.push(problem);
    }

    /// Reports a local Dockerfile that the definition, which was fetched, may not mean: its path would be that of a file
    /// beside the definition.
    fn dockerfile(&mut self) {
        let doubtful = self.target.inputs.doubtful_dockerfile.as_ref();
        let Some(path) = doubtful.filter(|path| self.stat(path).is_ok()) else {
            return;
        };
        let span = self.target.attributes.dockerfile.as_ref();
        let message = format!(
            "the definition was fetched, and the context is on this machine: it is not clear whether the Dockerfile `{path}` is meant to be, too"
        );
        let problem = problem(
            "plan::remote-dockerfile",
            self.target,
            span.and_then(|text| text.span),
            message,
        );
        self.problems.push(problem.help(
            "`cwd://` in front of the path names a local Dockerfile, as in `dockerfile = \"cwd://Dockerfile\"`",
        ));
    }

    /// The metadata of a path, which may be relative to the working directory.
    fn stat(&self, path: &str) -> io::Result<Metadata> {
        let dir = self.surroundings.environment.current_dir();
        dir.join(Path::new(path)).metadata()
    }

    /// Checks that a secret exists and is not too large. The order is that of the build: `src`, `env`, the
    /// variable with the secret's id, the file with that name.
    fn secret(&mut self, secret: &Spanned<SecretEntry>) {
        const CODE: &str = "plan::secret";
        let SecretEntry { id, src, env } = &secret.value;
        if id.is_empty() {
            self.push(CODE, secret, "a secret has no `id`");
            return;
        }
        let by_name = || self.surroundings.environment.get_os(id).is_some();
        let path = match (src, env) {
            (Some(path), _) => path,
            (None, Some(_)) => return,
            (None, None) if by_name() => return,
            (None, None) => id,
        };
        match self.stat(path) {
            Ok(metadata) if metadata.len() > SECRET_LIMIT => {
                let message = format!(
                    "secret `{id}` is larger than the limit of {} KiB",
                    SECRET_LIMIT / 1024
                );
                self.push(CODE, secret, message);
            }
            Ok(_) => {}
            Err(error) => {
                let message = format!("secret `{id}`: cannot access `{path}`: {error}");
                let mut problem = problem(CODE, self.target, secret.span, message)
                    .help("`src` is relative to the working directory; `env=VARIABLE` takes the secret from the environment");
                if src.is_none() {
                    problem =
                        problem.note(format!("there is no environment variable `{id}` either"));
                }
                self.problems.push(problem);
            }
        }
    }

    /// Checks the SSH entries. A git context over SSH without entries needs the default agent.
    fn ssh(&mut self) {
        let implicit = self.target.inputs.need_agent();
        let entries = &self.target.attributes.ssh;
        if entries.is_empty() && implicit {
            let span = self
                .target
                .attributes
                .context
                .as_ref()
                .and_then(|context| context.span);
            self.agent(&Spanned {
                value: SshEntry::from_text("default"),
                span,
            });
        }
        for entry in entries {
            match entry.paths.as_slice() {
                [] => self.agent(entry),
                [only] if only.is_empty() => self.agent(entry),
                _ => self.keys(entry),
            }
        }
    }

    fn agent(&mut self, entry: &Spanned<SshEntry>) {
        const CODE: &str = "plan::ssh";
        let environment = self.surroundings.environment;
        match environment
            .get("SSH_AUTH_SOCK")
            .filter(|path| !path.is_empty())
        {
            None => {
                let problem = problem(
                    CODE,
                    self.target,
                    entry.span,
                    "an SSH agent is needed, but `SSH_AUTH_SOCK` does not name one",
                );
                self.problems
                    .push(problem.help("start an agent, or name a socket or key: `id=PATH`"));
            }
            Some(path) => {
                if let Err(error) = self.stat(path) {
                    let message = format!("the SSH agent at `{path}` cannot be used: {error}");
                    self.push(CODE, entry, message);
                }
            }
        }
    }

    fn keys(&mut self, entry: &Spanned<SshEntry>) {
        const CODE: &str = "plan::ssh";
        let (mut sockets, mut keys) = (0, 0);
        for path in &entry.paths {
            match self.stat(path) {
                Ok(metadata) if is_socket(&metadata) => sockets += 1,
                Ok(metadata) => {
                    keys += 1;
                    // Do not read pipes and devices here: a pipe gives its content only once, and blocks until
                    // something writes to it. The build reads the key.
                    if (metadata.is_file() || metadata.is_dir())
                        && let Err(reason) = self.key(path)
                    {
                        self.push(
                            CODE,
                            entry,
                            format!("`{path}` is not a private key: {reason}"),
                        );
                    }
                }
                Err(error) => {
                    let message = format!("cannot access the SSH key or agent `{path}`: {error}");
                    let problem = problem(CODE, self.target, entry.span, message);
                    // The user may have written fields, as in other attributes. Entries of `ssh` have none.
                    self.problems.push(match &*entry.id {
                        "id" | "src" | "env" | "type" => {
                            problem.help("entries of `ssh` have no fields: write `ID` for the agent, or `ID=PATH` for a key")
                        }
                        _ => problem,
                    });
                }
            }
        }
        if sockets > 1 || (sockets == 1 && keys > 0) {
            let message = "SSH takes one agent or several keys, not both";
            self.push(CODE, entry, message);
        }
    }

    /// Whether the file looks like a private key. The build reads and checks it fully.
    fn key(&self, path: &str) -> Result<(), String> {
        use std::io::Read as _;
        let dir = self.surroundings.environment.current_dir();
        let file = std::fs::File::open(dir.join(path)).map_err(|error| error.to_string())?;
        let mut text = Vec::new();
        file.take(100 * 1024)
            .read_to_end(&mut text)
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&text);
        if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
            Ok(())
        } else {
            Err("it has no key in PEM format".to_owned())
        }
    }

    /// Checks that outputs can be written, and that at most one of them goes to standard output.
    fn outputs(&mut self) {
        const CODE: &str = "plan::output";
        let mut to_stdout = 0;
        for export in &self.target.attributes.output {
            let kind = export.kind.name();
            match (export.sink(), export.dest.as_deref()) {
                (Sink::None | Sink::Docker, _) | (Sink::File, None) => {}
                (Sink::Directory, None) => {
                    let message = format!("output `type={kind}` needs a directory, `dest`");
                    let problem = problem(CODE, self.target, export.span, message);
                    // Mounts, caches and other tools use these names for a path.
                    let other = ["dst", "dir", "destination", "path", "src", "out"]
                        .into_iter()
                        .find_map(|key| Some((key, export.attrs.get(key)?)));
                    self.problems.push(match other {
                        Some((key, dir)) => problem.help(format!(
                            "the directory is `dest`, not `{key}`: write `type={kind},dest={dir}`"
                        )),
                        None => problem.help(format!(
                            "write it as `type={kind},dest=DIR`; without an output the result stays in the build cache"
                        )),
                    });
                }
                (Sink::Directory, Some("-")) => {
                    let message = format!("output `type={kind}` cannot go to standard output");
                    self.push(CODE, export, message);
                }
                (Sink::File, Some("-")) => {
                    to_stdout += 1;
                    if to_stdout == 2 {
                        let message = "several outputs go to standard output";
                        self.push(CODE, export, message);
                    } else if self.surroundings.stdout_is_terminal {
                        let message = format!(
                            "output `type={kind}` needs a file, `dest`: standard output is a terminal"
                        );
                        self.push(CODE, export, message);
                    }
                }
                (sink, Some(dest)) => {
                    if let Some(message) = self.unusable(dest, sink) {
                        self.push(CODE, export, message);
                    }
                }
            }
        }
    }

    /// Why an output cannot be written to `dest`, or `None` if it can. A missing file or directory is created.
    fn unusable(&self, dest: &str, sink: Sink) -> Option<String> {
        match (self.stat(dest), sink) {
            (Ok(metadata), Sink::Directory) if !metadata.is_dir() => {
                Some(format!("the output directory `{dest}` is a file"))
            }
            (Ok(metadata), Sink::File) if metadata.is_dir() => {
                Some(format!("the output file `{dest}` is a directory"))
            }
            (Err(error), _) if error.kind() != io::ErrorKind::NotFound => {
                Some(format!("the output `{dest}` cannot be used: {error}"))
            }
            _ => None,
        }
    }
}

#[cfg(unix)]
fn is_socket(metadata: &Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type())
}

#[cfg(not(unix))]
fn is_socket(_: &Metadata) -> bool {
    false
}
