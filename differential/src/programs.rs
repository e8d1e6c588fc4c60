//! Runs both programs on a case, without this machine's configuration.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Case;

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why the programs could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program could not be run.
    #[error("cannot run `{}`", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The files of a case could not be created or read.
    #[error("cannot create or read the files of a case")]
    Files(#[from] std::io::Error),
}

/// The two programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// buildx.
    pub buildx: PathBuf,
    /// rbake.
    pub rbake: PathBuf,
}

/// The answer of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It succeeded and printed this.
    Printed(String),
    /// It failed with these messages.
    Failed(String),
    /// It crashed with these messages.
    Crashed(String),
    /// It did not end in time.
    Hung,
}

/// The answers of both programs.
#[derive(Debug, Clone)]
pub struct Answers {
    /// buildx's answer.
    pub buildx: Answer,
    /// rbake's answer.
    pub rbake: Answer,
}

/// How answers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Difference {
    /// Both succeeded and printed different things.
    Output,
    /// Only rbake succeeded.
    Accepted,
    /// Only buildx succeeded.
    Refused,
    /// buildx crashed or hung.
    TheirCrash,
    /// rbake crashed or hung.
    OurCrash,
}

impl Answers {
    /// Whether both succeeded.
    pub fn both_printed(&self) -> bool {
        matches!(
            (&self.buildx, &self.rbake),
            (Answer::Printed(_), Answer::Printed(_))
        )
    }

    /// How the answers differ; `None` if they agree. Messages are not compared.
    pub fn difference(&self) -> Option<Difference> {
        match (&self.buildx, &self.rbake) {
            (_, Answer::Crashed(_) | Answer::Hung) => Some(Difference::OurCrash),
            (Answer::Crashed(_) | Answer::Hung, _) => Some(Difference::TheirCrash),
            (Answer::Printed(theirs), Answer::Printed(ours)) => {
                (theirs != ours).then_some(Difference::Output)
            }
            (Answer::Failed(_), Answer::Failed(_)) => None,
            (Answer::Failed(_), Answer::Printed(_)) => Some(Difference::Accepted),
            (Answer::Printed(_), Answer::Failed(_)) => Some(Difference::Refused),
        }
    }
}

impl Answer {
    /// What was printed: the output, or the messages of a failure.
    pub fn text(&self) -> &str {
        match self {
            Self::Printed(text) | Self::Failed(text) | Self::Crashed(text) => text,
            Self::Hung => "no answer in time",
        }
    }
}

impl Programs {
    /// The answers of both programs to a case.
    pub fn compare(&self, case: &Case) -> Result<Answers, Error> {
        Ok(Answers {
            buildx: self.buildx(case)?,
            rbake: self.rbake(case)?,
        })
    }

    /// buildx's answer to a case.
    pub fn buildx(&self, case: &Case) -> Result<Answer, Error> {
        answer(&self.buildx, &["bake"], case)
    }

    /// rbake's answer to a case.
    pub fn rbake(&self, case: &Case) -> Result<Answer, Error> {
        answer(&self.rbake, &[], case)
    }
}

// Each run has its own directory, because both programs create the caches and outputs that a definition names.
#[expect(
    clippy::disallowed_methods,
    reason = "std cannot wait for a process with a deadline"
)]
fn answer(program: &Path, words: &[&str], case: &Case) -> Result<Answer, Error> {
    let dir = tempfile::Builder::new().prefix("differential-").tempdir()?;
    let work = dir.path().join("work");
    std::fs::create_dir(&work)?;
    case.write_files(&work)?;
    let file = |name: &str| dir.path().join(name);
    std::fs::write(file("stdin"), &case.stdin)?;
    let mut child = Command::new(std::path::absolute(program)?)
        .args(words)
        .args(case.command_line())
        .env_clear()
        .env("HOME", "/nonexistent")
        // buildx would make a directory, which is impossible there.
        .env("BUILDX_CONFIG", "/proc/nonexistent")
        .env("DOCKER_CONFIG", "/proc/nonexistent")
        .envs(case.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&work)
        .stdin(Stdio::from(File::open(file("stdin"))?))
        .stdout(Stdio::from(File::create(file("stdout"))?))
        .stderr(Stdio::from(File::create(file("stderr"))?))
        .spawn()
        .map_err(|source| Error::Run {
            program: program.to_owned(),
            source,
        })?;
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Ok(Answer::Hung);
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let text = |name: &str| -> std::io::Result<String> {
        let bytes = std::fs::read(file(name))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    if status.success() {
        return Ok(Answer::Printed(text("stdout")?));
    }
    let messages = text("stderr")?;
    let crash = ["panic: ", "fatal error: ", "\nthread '", "panicked at "];
    let crashed = status.code().is_none() || crash.iter().any(|sign| messages.contains(sign));
    Ok(if crashed {
        Answer::Crashed(messages)
    } else {
        Answer::Failed(messages)
    })
}
