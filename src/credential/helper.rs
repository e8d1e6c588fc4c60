//! Credential helpers: external programs that return the credential for a registry.
//!
//! When a helper is ended, everything that it started is ended, too.

use std::collections::BTreeSet;
use std::io;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::Credential;
use super::host::shown;
use crate::golang::json::{GoText, Reading, Trailing, is_field};
use crate::types::Secret;
use crate::types::processes::{self, ProcessGroup, ProcessGroups};

/// The text that helpers print if they have no credential (docker-credential-helpers, `credentials/error.go`).
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The longest answer that is accepted, in bytes.
const ANSWER_LIMIT: u64 = 1 << 20;

/// A credential helper returned no credential.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum HelperError {
    /// It could not be started.
    #[error("cannot run the credential helper `{helper}` for `{host}`")]
    Run {
        /// The program.
        helper: String,
        /// The registry.
        host: String,
        /// The underlying error.
        #[source]
        source: Arc<io::Error>,
    },
    /// It ended with an error, or its answer makes no sense.
    #[error("the credential helper `{helper}` failed for `{host}`: {message}")]
    Failed {
        /// The program.
        helper: String,
        /// The registry.
        host: String,
        /// What it printed, one line.
        message: String,
    },
    /// It did not answer in time, and was ended with everything that it had started.
    #[error("the credential helper `{helper}` gave no answer for `{host}` within {seconds} s")]
    Hung {
        /// The program.
        helper: String,
        /// The registry.
        host: String,
        /// How long it had, in seconds.
        seconds: u64,
    },
    /// It was not asked, because it was still answering earlier questions: a helper gets one question at a time.
    #[error(
        "the credential helper `{helper}` was busy with other registries for {seconds} s, so rbake did not ask it for `{host}`"
    )]
    Busy {
        /// The program.
        helper: String,
        /// The registry.
        host: String,
        /// How long this question waited, in seconds.
        seconds: u64,
    },
    /// The run ended before the helper answered.
    #[error("the credential helper `{helper}` was stopped")]
    Stopped {
        /// The program.
        helper: String,
    },
}

#[derive(Default)]
struct Answer {
    username: String,
    secret: String,
}

impl Answer {
    /// Parses the answer as docker-credential-helpers' client does. `None` if it is not JSON of the right form.
    fn read(output: &[u8]) -> Option<Self> {
        let text = GoText::new(output);
        let document = text.value(Trailing::Ignored).ok()??;
        let (mut answer, mut reading) = (Self::default(), Reading::default());
        reading.object(document, "", |reading, key, value| {
            if is_field(key, "Username") {
                reading.text(value, "Username", &mut answer.username);
            } else if is_field(key, "Secret") {
                reading.text(value, "Secret", &mut answer.secret);
            } else if is_field(key, "ServerURL") {
                reading.text(value, "ServerURL", &mut String::new());
            }
        });
        reading.wrong.is_empty().then_some(answer)
    }
}

/// A question to a helper.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct HelperCall {
    /// The program's name, to be found in `PATH`.
    pub(super) program: String,
    /// The registry's key in the configuration.
    pub(super) key: String,
}

impl HelperCall {
    /// Runs the helper. Returns [`Credential::Anonymous`] if it has no credential.
    ///
    /// The helper does not get the variables in `withheld`. It is ended after `limit`, and also if the future is
    /// dropped.
    pub(super) async fn run(
        &self,
        limit: Duration,
        withheld: &BTreeSet<String>,
        groups: &ProcessGroups,
    ) -> Result<Credential, HelperError> {
        let mut command = Command::new(&self.program);
        command
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for name in withheld {
            command.env_remove(name);
        }
        let started = processes::start(&mut command, groups).await;
        let (mut child, group) = started.map_err(|error| self.not_run(error))?;
        match tokio::time::timeout(limit, self.talk(&mut child, &group)).await {
            Ok(Ok(output)) => self.read(&output),
            Ok(Err(error)) => Err(self.not_run(error)),
            Err(_) => {
                group.end(&mut child).await;
                Err(HelperError::Hung {
                    helper: self.program.clone(),
                    host: self.key.clone(),
                    seconds: limit.as_secs(),
                })
            }
        }
    }

    async fn talk(&self, child: &mut Child, group: &ProcessGroup) -> io::Result<Output> {
        if let Some(mut stdin) = child.stdin.take() {
            // A helper may ignore its input and close it, which makes the write fail. Only its answer matters.
            let _ = stdin.write_all(self.key.as_bytes()).await;
        }
        processes::finish(child, group, ANSWER_LIMIT).await
    }

    /// Turns a helper's output into a credential. As in docker, the user name `<token>` means that the secret is an
    /// identity token.
    fn read(&self, output: &Output) -> Result<Credential, HelperError> {
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            if text.contains(NOT_FOUND) {
                return Ok(Credential::Anonymous);
            }
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(self.failed(said(&text, &stderr)));
        }
        let answer = Answer::read(&output.stdout)
            .ok_or_else(|| self.failed("it did not print a credential as JSON".to_owned()))?;
        Ok(match (answer.username.as_str(), answer.secret) {
            ("" | "<token>", secret) if secret.is_empty() => Credential::Anonymous,
            ("<token>", secret) => Credential::Identity(Secret::new(secret)),
            (_, secret) => Credential::Basic {
                username: answer.username,
                password: Secret::new(secret),
            },
        })
    }

    fn failed(&self, message: String) -> HelperError {
        HelperError::Failed {
            helper: self.program.clone(),
            host: self.key.clone(),
            message,
        }
    }

    fn not_run(&self, error: io::Error) -> HelperError {
        HelperError::Run {
            helper: self.program.clone(),
            host: self.key.clone(),
            source: Arc::new(error),
        }
    }
}

/// The first line that a failed helper printed. An output with braces is not shown: it may be the answer, and so
/// the secret.
fn said(stdout: &str, stderr: &str) -> String {
    let line = |text: &str| {
        let line = text.lines().find(|line| !line.trim().is_empty())?;
        (!text.contains(['{', '}'])).then(|| shown(line.trim()))
    };
    line(stdout)
        .or_else(|| line(stderr))
        .unwrap_or_else(|| "it gave no reason".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, Signal};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    const MINUTE: Duration = Duration::from_secs(60);

    fn program(dir: &Path, script: &str) -> HelperCall {
        let program = dir.join("docker-credential-x");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        HelperCall {
            program: program.to_str().unwrap().to_owned(),
            key: "r.example".to_owned(),
        }
    }

    async fn ask(script: &str) -> Result<Credential, HelperError> {
        let dir = tempfile::tempdir().unwrap();
        let call = program(dir.path(), script);
        call.run(MINUTE, &BTreeSet::new(), &ProcessGroups::default())
            .await
    }

    // Whether a process is running that has `mark` as its only argument.
    fn runs(mark: &str) -> bool {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let mut lines =
            processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.any(|line| line.ends_with(format!("\0{mark}\0").as_bytes()))
    }

    #[tokio::test]
    async fn answers_of_helpers_are_parsed() {
        let answer = ask(r#"read key; echo "{\"ServerURL\":\"$key\",\"Username\":\"$key-user\",\"Secret\":\"s\"}""#).await;
        let expected = Credential::Basic {
            username: "r.example-user".into(),
            password: Secret::new("s".into()),
        };
        assert_eq!(answer.unwrap(), expected);
        let token = ask(r#"echo '{"Username":"<token>","Secret":"t"}'"#)
            .await
            .unwrap();
        assert_eq!(token, Credential::Identity(Secret::new("t".into())));
    }

    #[tokio::test]
    async fn a_helper_without_a_credential_is_not_a_failure() {
        let answer = ask("echo 'credentials not found in native keychain'; exit 1")
            .await
            .unwrap();
        assert_eq!(answer, Credential::Anonymous);
    }

    #[tokio::test]
    async fn failures_are_reported_in_one_line() {
        let error = ask("echo locked; echo more; exit 1").await.unwrap_err();
        let text = error.to_string();
        assert!(text.ends_with("failed for `r.example`: locked"), "{text}");
        assert!(ask("echo nonsense").await.is_err());
        let missing = HelperCall {
            program: "docker-credential-missing-program".to_owned(),
            key: "x".to_owned(),
        };
        let missing = missing
            .run(MINUTE, &BTreeSet::new(), &ProcessGroups::default())
            .await;
        assert!(matches!(missing, Err(HelperError::Run { .. })));
    }

    #[tokio::test]
    async fn a_failed_helpers_answer_is_not_shown() {
        for script in [
            r#"echo '{"Username":"u","Secret":"hunter2"}'; exit 1"#,
            r#"echo '{"Username":"u",'; echo '"Secret":"hunter2"}'; exit 1"#,
            r#"echo '{"Username":"u","Secret":"hunter2"'"#,
        ] {
            let error = ask(script).await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        let error = ask(r"printf '\033[2Jlocked\n' >&2; exit 1")
            .await
            .unwrap_err();
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
    }

    #[tokio::test]
    async fn a_hanging_helper_is_killed_with_all_its_processes() {
        let dir = tempfile::tempdir().unwrap();
        let mark = format!("70{}", std::process::id());
        let call = program(
            dir.path(),
            &format!("trap '' TERM\n(trap '' TERM; sleep {mark} & wait) &\nsleep {mark}"),
        );
        let groups = ProcessGroups::default();
        let second = Duration::from_secs(1);
        let error = call.run(second, &BTreeSet::new(), &groups).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            format!(
                "the credential helper `{}` gave no answer for `r.example` within 1 s",
                call.program
            )
        );
        // SIGKILL has been sent; on a busy machine the processes take a moment to end.
        eventually(|| !runs(&mark)).await;
        assert!(groups.is_empty());
    }

    // Only the parent of a process is notified when it ends, so look again and again.
    async fn eventually(condition: impl Fn() -> bool) {
        let started = std::time::Instant::now();
        while !condition() {
            assert!(started.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_helper_ends_with_its_caller_and_with_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let groups = ProcessGroups::default();
        for (way, drops) in [("71", true), ("72", false)] {
            let mark = format!("{way}{}", std::process::id());
            let call = program(dir.path(), &format!("sleep {mark} & sleep {mark}"));
            let (withheld, asked) = (BTreeSet::new(), groups.clone());
            let task =
                tokio::spawn(async move { call.run(MINUTE, &withheld, &asked).await.is_ok() });
            eventually(|| runs(&mark)).await;
            if drops {
                task.abort();
                assert!(task.await.unwrap_err().is_cancelled());
            } else {
                groups.end_all();
                assert!(!task.await.unwrap());
            }
            eventually(|| !runs(&mark)).await;
        }
    }

    #[tokio::test]
    async fn an_agent_that_a_helper_starts_does_not_delay_the_answer() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent");
        let script = format!(
            r#"sleep 100 & echo $! > {}; echo '{{"Username":"u","Secret":"s"}}'"#,
            file.display()
        );
        let started = std::time::Instant::now();
        assert!(ask(&script).await.is_ok());
        assert!(started.elapsed() < Duration::from_secs(20));
        let agent = std::fs::read_to_string(&file).unwrap();
        let agent = Pid::from_raw(agent.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(agent, Signal::KILL).expect("the agent lives on");
    }

    #[tokio::test]
    async fn secrets_are_not_in_a_helpers_environment() {
        let dir = tempfile::tempdir().unwrap();
        let call = program(
            dir.path(),
            "env >&2; echo \"${PATH:+path} ${HOME:-none}\"; exit 1",
        );
        let withheld = BTreeSet::from(["HOME".to_owned()]);
        let error = call.run(MINUTE, &withheld, &ProcessGroups::default()).await;
        let text = error.unwrap_err().to_string();
        assert!(text.ends_with("path none"), "{text}");
    }
}
