//! Programs that print keys: the one that a profile names, and `aws`, which knows more ways to keys than rbake, such as single
//! sign-on and roles.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use super::{AwsCredential, AwsCredentialError};
use crate::types::Environment;
use crate::types::processes;
use crate::types::terminal::visible;

/// How long the program may take: it may have to ask a server.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer that is read, in bytes.
const LONGEST: u64 = 64 << 10;
/// The longest message of the program that is shown, in characters.
const SHOWN: usize = 200;

/// What the program prints (its documentation, `export-credentials`, the format `process`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Exported {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

/// Asks the program for the keys of `profile`.
pub(super) async fn credential(
    environment: &Environment,
    profile: String,
) -> Result<AwsCredential, AwsCredentialError> {
    let mut command = Command::new("aws");
    command
        .args(["configure", "export-credentials", "--format", "process"])
        .args(["--profile", &profile]);
    answer_of(command, environment)
        .await
        .map_err(|error| match error {
            ProgramFault::NotInstalled => AwsCredentialError::Missing { profile },
            ProgramFault::Failed(message) => AwsCredentialError::Program { profile, message },
        })
}

/// Runs `command_line`, which a profile names as the program that has its keys (`credential_process`), in a shell.
pub(super) async fn named(
    environment: &Environment,
    command_line: &str,
) -> Result<AwsCredential, AwsCredentialError> {
    let mut command = Command::new("sh");
    command.args(["-c", command_line]);
    answer_of(command, environment)
        .await
        .map_err(|error| AwsCredentialError::NamedProgram {
            message: match error {
                ProgramFault::NotInstalled => "`sh` is not in PATH".to_owned(),
                ProgramFault::Failed(message) => message,
            },
        })
}

/// Why a program gave no keys.
enum ProgramFault {
    NotInstalled,
    /// One line.
    Failed(String),
}

/// Runs `command` and reads the keys that it prints.
async fn answer_of(
    mut command: Command,
    environment: &Environment,
) -> Result<AwsCredential, ProgramFault> {
    command
        .env_clear()
        .envs(environment.iter())
        .current_dir(environment.current_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let answer = tokio::time::timeout(PATIENCE, processes::output_of(&mut command, LONGEST)).await;
    let failed = |message: String| Err(ProgramFault::Failed(message));
    let output = match answer {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ProgramFault::NotInstalled);
        }
        Ok(Err(error)) => return failed(error.to_string()),
        Err(_) => {
            let seconds = PATIENCE.as_secs();
            return failed(format!("no answer within {seconds} s"));
        }
    };
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty());
        let line: String = line.unwrap_or("it failed").chars().take(SHOWN).collect();
        return failed(visible(&line).into_owned());
    }
    let Ok(exported) = serde_json::from_slice::<Exported>(&output.stdout) else {
        return failed("its answer is not what its documentation describes".to_owned());
    };
    Ok(AwsCredential::new(
        &exported.access_key_id,
        &exported.secret_access_key,
        exported.session_token.as_deref(),
    ))
}
