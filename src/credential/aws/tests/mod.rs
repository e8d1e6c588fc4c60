//! Tests of the places in which keys are.

mod chain;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;

const CREDENTIALS: &str = "\
# a comment
[default]
aws_access_key_id = DEFAULT_ID
aws_secret_access_key=DEFAULT/SECRET=

[other] ; a comment
AWS_ACCESS_KEY_ID = OTHER_ID # a comment
aws_secret_access_key = OTHER_SECRET
aws_session_token = OTHER_TOKEN
s3 =
    aws_access_key_id = NESTED

[half]
aws_access_key_id = HALF_ID
";

const CONFIG: &str = "\
[default]
region = eu-west-1
[profile configured]
aws_access_key_id = CONFIGURED_ID
aws_secret_access_key = CONFIGURED_SECRET
[configured]
aws_access_key_id = WRONG
[profile role]
role_arn = arn:aws:iam::123456789012:role/pruner
source_profile = default
aws_access_key_id = WRONG
aws_secret_access_key = WRONG
[profile half]
aws_secret_access_key = HALF_SECRET
";

/// A home directory with both files, and no program `aws`.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let aws = home.path().join(".aws");
    std::fs::create_dir(&aws).unwrap();
    std::fs::write(aws.join("credentials"), CREDENTIALS).unwrap();
    std::fs::write(aws.join("config"), CONFIG).unwrap();
    home
}

async fn find(home: &Path, more: &[(&str, &str)]) -> Result<AwsCredential, AwsCredentialError> {
    let place = home.to_str().unwrap();
    let mut environment = Environment::of([("HOME", place), ("PATH", place)], home);
    for (name, value) in more {
        environment = environment.with(name, Some(value));
    }
    AwsCredential::find(&environment).await
}

fn keys(id: &str, secret: &str, token: Option<&str>) -> AwsCredential {
    AwsCredential::new(id, secret, token)
}

#[tokio::test]
async fn the_variables_take_precedence_over_the_files() {
    let home = home();
    let variables = [
        ("AWS_ACCESS_KEY_ID", "ID"),
        ("AWS_SECRET_ACCESS_KEY", " SECRET\n"),
    ];
    let found = find(home.path(), &variables).await.unwrap();
    assert_eq!(found, keys("ID", "SECRET", None));
    let all = [
        variables.as_slice(),
        &[("AWS_SESSION_TOKEN", "TOKEN"), ("AWS_PROFILE", "other")],
    ];
    let found = find(home.path(), &all.concat()).await.unwrap();
    assert_eq!(found, keys("ID", "SECRET", Some("TOKEN")));
    for variable in variables {
        let error = find(home.path(), &[variable]).await.unwrap_err();
        assert!(
            matches!(error, AwsCredentialError::Incomplete { .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn profiles_are_read_from_both_files() {
    let home = home();
    for (profile, expected) in [
        ("default", keys("DEFAULT_ID", "DEFAULT/SECRET=", None)),
        (
            "other",
            keys("OTHER_ID", "OTHER_SECRET", Some("OTHER_TOKEN")),
        ),
        (
            "configured",
            keys("CONFIGURED_ID", "CONFIGURED_SECRET", None),
        ),
        ("half", keys("HALF_ID", "HALF_SECRET", None)),
    ] {
        let found = find(home.path(), &[("AWS_PROFILE", profile)]).await;
        assert_eq!(found.unwrap(), expected, "{profile}");
    }
    let found = find(home.path(), &[]).await.unwrap();
    assert_eq!(found, keys("DEFAULT_ID", "DEFAULT/SECRET=", None));
    std::fs::write(
        home.path().join("f"),
        "[default]\naws_access_key_id=A\naws_secret_access_key=B",
    )
    .unwrap();
    let named = [("AWS_SHARED_CREDENTIALS_FILE", "~/f")];
    assert_eq!(
        find(home.path(), &named).await.unwrap(),
        keys("A", "B", None)
    );
}

#[tokio::test]
async fn a_profile_without_keys_is_reported() {
    let home = home();
    for profile in ["role", "absent", "nested"] {
        let error = find(home.path(), &[("AWS_PROFILE", profile)])
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, AwsCredentialError::Missing { .. }),
            "{text}"
        );
        assert!(text.contains(profile), "{text}");
    }
    let directory = [("AWS_SHARED_CREDENTIALS_FILE", ".aws")];
    let error = find(home.path(), &directory).await.unwrap_err();
    assert!(matches!(error, AwsCredentialError::File { .. }), "{error}");
}

/// Makes a program `aws`.
fn program(home: &Path, script: &str) {
    let path = home.join("aws");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn other_profiles_are_left_to_the_program_aws() {
    let home = home();
    let answer = r#"{"Version": 1, "AccessKeyId": "ID", "SecretAccessKey": "SECRET", "SessionToken": "TOKEN", "Expiration": "2026-11-28T22:30:00+00:00"}"#;
    program(
        home.path(),
        &format!(
            r#"[ "$*" = "configure export-credentials --format process --profile role" ] && echo '{answer}'"#
        ),
    );
    let role = [("AWS_PROFILE", "role")];
    let found = find(home.path(), &role).await.unwrap();
    assert_eq!(found, keys("ID", "SECRET", Some("TOKEN")));

    program(
        home.path(),
        "printf '\\nThe SSO session has expired\\033[2J\\n' >&2; exit 255",
    );
    let error = find(home.path(), &role).await.unwrap_err().to_string();
    assert!(
        error.contains("The SSO session has expired") && !error.contains('\u{1b}'),
        "{error}"
    );
    program(home.path(), "echo '{\"AccessKeyId\": \"ID\"}'");
    let error = find(home.path(), &role).await.unwrap_err().to_string();
    assert!(error.contains("documentation"), "{error}");
}

#[test]
fn keys_are_not_printed() {
    let text = format!("{:?}", keys("ID", "SECRET", Some("TOKEN")));
    assert_eq!(text, "AwsCredential(..)");
}
