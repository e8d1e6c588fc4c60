//! Tests of the places in which keys for caches are.

use super::*;

/// Finds the keys for a cache, with `home` as the home directory.
async fn for_caches(
    home: &Path,
    more: &[(&str, &str)],
) -> Result<AwsCredential, AwsCredentialError> {
    let place = home.to_str().unwrap();
    // The shell is there, but no program `aws`.
    let _ = std::os::unix::fs::symlink("/bin/sh", home.join("sh"));
    let mut environment = Environment::of([("HOME", place), ("PATH", place)], home);
    for (name, value) in more {
        environment = environment.with(name, Some(value));
    }
    AwsCredential::for_caches(&environment, &environment).await
}

/// A server that answers each request as `answer` says, with the status 200 unless it returns `None`.
async fn server(
    answer: impl Fn(&str) -> Option<String> + Send + 'static,
) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let request = loop {
                let mut piece = [0; 4096];
                let read = stream.read(&mut piece).await.unwrap();
                bytes.extend_from_slice(&piece[..read]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let length = head.lines().find_map(|line| {
                    let line = line.to_ascii_lowercase();
                    line.strip_prefix("content-length: ")?.parse::<usize>().ok()
                });
                if read == 0 || body.len() >= length.unwrap_or(0) {
                    break text;
                }
            };
            let answer = answer(&request);
            let status = if answer.is_some() {
                "200 OK"
            } else {
                "404 Not Found"
            };
            let body = answer.unwrap_or_default();
            log.lock().unwrap().push(request);
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, seen)
}

const GIVEN: &str =
    r#"{"AccessKeyId": "GIVEN_ID", "SecretAccessKey": "GIVEN_SECRET", "Token": "GIVEN_TOKEN"}"#;

#[tokio::test]
async fn keys_for_caches_come_from_variables_and_profiles_as_in_amazons_library() {
    let home = home();
    let variables = [("AWS_ACCESS_KEY", "ID"), ("AWS_SECRET_KEY", "SECRET")];
    let found = for_caches(home.path(), &variables).await.unwrap();
    assert_eq!(found, keys("ID", "SECRET", None));
    // Half of a pair counts as none.
    let half = [("AWS_ACCESS_KEY_ID", "ID"), ("AWS_PROFILE", "other")];
    let found = for_caches(home.path(), &half).await.unwrap();
    assert_eq!(found, keys("OTHER_ID", "OTHER_SECRET", Some("OTHER_TOKEN")));
    let absent = for_caches(home.path(), &[("AWS_PROFILE", "absent")]).await;
    let error = absent.unwrap_err().to_string();
    assert_eq!(error, "there is no AWS profile `absent`");
    let role = for_caches(home.path(), &[("AWS_PROFILE", "role")]).await;
    assert!(
        matches!(role, Err(AwsCredentialError::Missing { .. })),
        "{role:?}"
    );
}

#[tokio::test]
async fn the_program_that_a_profile_names_prints_keys_for_caches() {
    let home = home();
    let config = home.path().join(".aws/config");
    let write = |command: &str| {
        let text = format!("[profile p]\ncredential_process = {command}\n");
        std::fs::write(&config, text).unwrap();
    };
    write("echo '{\"Version\": 1, \"AccessKeyId\": \"P_ID\", \"SecretAccessKey\": \"P_SECRET\"}'");
    let profile = [("AWS_PROFILE", "p")];
    let found = for_caches(home.path(), &profile).await.unwrap();
    assert_eq!(found, keys("P_ID", "P_SECRET", None));
    write("echo broken >&2; false");
    let error = for_caches(home.path(), &profile).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the program in `credential_process` gave no AWS keys: broken"
    );
}

#[tokio::test]
async fn a_web_identity_is_exchanged_for_keys() {
    let home = home();
    let (address, seen) = server(|_| {
        Some("<R><AccessKeyId>W_ID</AccessKeyId><SecretAccessKey>W_SECRET</SecretAccessKey><SessionToken>W_TOKEN</SessionToken></R>".to_owned())
    })
    .await;
    std::fs::write(home.path().join("token"), "the-token\n").unwrap();
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "token"),
        ("AWS_ENDPOINT_URL_STS", &address),
    ];
    let error = for_caches(home.path(), &variables).await.unwrap_err();
    let error = crate::types::causes::in_one_line(&error);
    assert!(error.ends_with("`AWS_ROLE_ARN` is not set"), "{error}");
    let with_role = [&variables[..], &[("AWS_ROLE_ARN", "arn:aws:iam::1:role/r")]].concat();
    let found = for_caches(home.path(), &with_role).await.unwrap();
    assert_eq!(found, keys("W_ID", "W_SECRET", Some("W_TOKEN")));
    let request = seen.lock().unwrap()[0].clone();
    for part in [
        "Action=AssumeRoleWithWebIdentity",
        "RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr",
        "WebIdentityToken=the-token",
    ] {
        assert!(request.contains(part), "{request}");
    }
}

#[tokio::test]
async fn a_container_is_given_keys_by_its_agent_only() {
    let home = tempfile::tempdir().unwrap();
    let (address, seen) = server(|_| Some(GIVEN.to_owned())).await;
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", address.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "agent-token"),
    ];
    let found = for_caches(home.path(), &variables).await.unwrap();
    assert_eq!(found, keys("GIVEN_ID", "GIVEN_SECRET", Some("GIVEN_TOKEN")));
    let request = seen.lock().unwrap()[0].clone();
    assert!(request.contains("authorization: agent-token"), "{request}");
    let elsewhere = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/");
    let error = for_caches(home.path(), &[elsewhere]).await.unwrap_err();
    let error = crate::types::causes::in_one_line(&error);
    assert!(error.contains("not an address of HTTPS"), "{error}");
}

#[tokio::test]
async fn a_machine_is_given_the_keys_of_its_role() {
    let home = tempfile::tempdir().unwrap();
    let (address, _) = server(|request| {
        if request.starts_with("PUT /latest/api/token ") {
            return Some("metadata-token".to_owned());
        }
        let path = "GET /latest/meta-data/iam/security-credentials/";
        let role = request
            .strip_prefix(path)
            .filter(|_| request.contains("x-aws-ec2-metadata-token: metadata-token"))?;
        Some(
            if role.starts_with("builder ") {
                GIVEN
            } else {
                "builder\n"
            }
            .to_owned(),
        )
    })
    .await;
    let metadata = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", address.as_str());
    let found = for_caches(home.path(), &[metadata]).await.unwrap();
    assert_eq!(found, keys("GIVEN_ID", "GIVEN_SECRET", Some("GIVEN_TOKEN")));
    let disabled = ("AWS_EC2_METADATA_DISABLED", "true");
    let error = for_caches(home.path(), &[metadata, disabled]).await;
    assert!(
        matches!(error, Err(AwsCredentialError::Service { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_first_version_of_the_metadata_has_no_tokens() {
    let home = tempfile::tempdir().unwrap();
    let (address, _) = server(|request| {
        let path = "GET /latest/meta-data/iam/security-credentials/";
        let role = request.strip_prefix(path)?;
        let answer = if role.starts_with("builder ") {
            GIVEN
        } else {
            "builder"
        };
        Some(answer.to_owned())
    })
    .await;
    let metadata = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", address.as_str());
    let found = for_caches(home.path(), &[metadata]).await.unwrap();
    assert_eq!(found, keys("GIVEN_ID", "GIVEN_SECRET", Some("GIVEN_TOKEN")));
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let home = tempfile::tempdir().unwrap();
    let (address, _) = server(|_| Some("x".repeat(1 << 20))).await;
    let metadata = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", address.as_str());
    let error = for_caches(home.path(), &[metadata]).await.unwrap_err();
    let error = crate::types::causes::in_one_line(&error);
    assert!(
        error.ends_with("its answer is not what its documentation describes"),
        "{error}"
    );
}
