//! Credential helpers: programs that answer for a registry.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Credential, Error};
use crate::types::Secret;

/// How long a helper may take: some ask a person.
const PATIENCE: Duration = Duration::from_secs(60);

/// What helpers print where they know nothing (docker-credential-helpers, `credentials/error.go`).
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks `program` for the credential of `key`; a helper that knows none answers [`Credential::Anonymous`].
pub(super) async fn get(program: &str, key: &str) -> Result<Credential, Error> {
    let failed = |message: String| Error::Helper {
        helper: program.to_owned(),
        host: key.to_owned(),
        message,
    };
    let run = |source| Error::RunHelper {
        helper: program.to_owned(),
        source,
    };
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(run)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its input has its reasons; its answer counts.
        let _ = stdin.write_all(key.as_bytes()).await;
    }
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .map_err(|_| failed(format!("no answer within {} s", PATIENCE.as_secs())))?
        .map_err(run)?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        if text.trim().contains(NOT_FOUND) {
            return Ok(Credential::Anonymous);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let said = [text.trim(), stderr.trim()]
            .into_iter()
            .find(|said| !said.is_empty())
            .unwrap_or("no message");
        return Err(failed(
            said.lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect(),
        ));
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed("the answer is not JSON".into()))?;
    Ok(match (answer.username.as_str(), answer.secret) {
        ("" | "<token>", secret) if secret.is_empty() => Credential::Anonymous,
        ("<token>", secret) => Credential::Identity(Secret::new(secret)),
        (_, secret) => Credential::Basic {
            username: answer.username,
            password: Secret::new(secret),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    async fn ask(script: &str) -> Result<Credential, Error> {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("docker-credential-x");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        get(program.to_str().unwrap(), "r.example").await
    }

    #[tokio::test]
    async fn answers_are_read() {
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
    async fn knowing_nothing_is_no_failure() {
        let answer = ask("echo 'credentials not found in native keychain'; exit 1")
            .await
            .unwrap();
        assert_eq!(answer, Credential::Anonymous);
    }

    #[tokio::test]
    async fn failures_are_told_in_one_line() {
        let error = ask("echo locked; echo more; exit 1").await.unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("failed for `r.example`: locked"),
            "{error}"
        );
        assert!(ask("echo nonsense").await.is_err());
        assert!(matches!(
            get("docker-credential-missing-program", "x").await,
            Err(Error::RunHelper { .. })
        ));
    }
}
