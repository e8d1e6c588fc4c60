//! Uploads, mounts, and the test of the right to push.

use bytes::Bytes;
use test_case::test_case;

use super::scripted::{ScriptedAnswer, ScriptedRegistry, error, ok, status};
use super::{TestRun, repository_name};
use crate::registry::{PushRight, RegistryAct, RegistryFault};
use crate::types::Digest;
use crate::types::causes::in_one_line;

const BLOB: Bytes = Bytes::from_static(b"{}");

#[test_case("/v2/a/blobs/uploads/7?_state=x%2By%3D"; "absolute path")]
#[test_case("HOST/v2/a/blobs/uploads/7?_state=x%2By%3D#f"; "absolute address")]
#[test_case("7?_state=x%2By%3D"; "relative path")]
#[tokio::test]
async fn a_blob_is_uploaded_to_the_place_that_the_registry_names(location: &'static str) {
    let registry = ScriptedRegistry::start(move |request| {
        let location = location.replace("HOST", &format!("http://{}", request.header("host")));
        match request.method.as_str() {
            "POST" => status(202).with("location", location),
            _ => status(201).with("docker-content-digest", Digest::sha256(&BLOB)),
        }
    })
    .await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let digest = repository.put_blob(&BLOB).await.unwrap();
    assert_eq!(digest, Digest::sha256(b"{}"));
    let seen = registry.seen();
    assert_eq!(seen[0].line(), "POST /v2/a/blobs/uploads/");
    assert_eq!(seen[0].header("content-length"), "0");
    assert_eq!(
        (seen[1].method.as_str(), seen[1].target.clone()),
        (
            "PUT",
            format!(
                "/v2/a/blobs/uploads/7?_state=x%2By%3D&digest=sha256%3A{}",
                digest.hex()
            )
        )
    );
    assert_eq!(seen[1].header("content-type"), "application/octet-stream");
    assert_eq!(seen[1].body, b"{}");
}

#[tokio::test]
async fn an_upload_to_another_server_has_no_password() {
    let other = ScriptedRegistry::answering(vec![status(201)]).await;
    let place = other.url("/upload");
    let registry = ScriptedRegistry::start(move |request| match request.header("authorization") {
        "" => status(401).with("www-authenticate", "Basic realm=x"),
        _ => status(202).with("location", &place),
    })
    .await;
    let run = TestRun::with_password(&registry.host(), "u", "hunter2");
    let repository = run.repository(&registry.repository("a"));
    repository.put_blob(&BLOB).await.unwrap();
    let seen = other.seen();
    assert_eq!(seen[0].line(), "PUT /upload");
    assert!(seen[0].header("authorization").is_empty());
}

#[tokio::test]
async fn an_interrupted_upload_starts_again() {
    let mut puts = 0;
    let registry = ScriptedRegistry::start(move |request| {
        if request.method == "POST" {
            return status(202).with("location", format!("/v2/a/blobs/uploads/{puts}"));
        }
        puts += 1;
        match puts {
            1 => ScriptedAnswer::Closed,
            2 => status(502),
            _ => status(201),
        }
    })
    .await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    repository.put_blob(&BLOB).await.unwrap();
    let lines = registry.lines();
    assert_eq!(lines.len(), 6);
    assert_eq!(lines[5], "PUT /v2/a/blobs/uploads/2");
    assert_eq!(run.pauses().len(), 2);
}

#[test_case(status(202); "no location")]
#[test_case(status(202).with("location", ""); "empty location")]
#[test_case(status(202).with("location", "http://[/"); "invalid location")]
#[test_case(status(202).with("location", "x".repeat(10_000)); "long location")]
#[test_case(status(202).with("location", "file:///etc/passwd"); "file")]
#[tokio::test]
async fn an_upload_without_a_place_is_an_error(answer: ScriptedAnswer) {
    let registry = ScriptedRegistry::answering(vec![answer]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let fault = repository.put_blob(&BLOB).await.unwrap_err().fault;
    assert!(matches!(fault, RegistryFault::Malformed { .. }), "{fault}");
    assert_eq!(registry.seen().len(), 1);
}

#[tokio::test]
async fn a_blob_that_the_registry_stored_under_another_digest_is_an_error() {
    let answers = vec![
        status(202).with("location", "/x"),
        status(201).with("docker-content-digest", Digest::sha256(b"other")),
    ];
    let registry = ScriptedRegistry::answering(answers).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let fault = repository.put_blob(&BLOB).await.unwrap_err().fault;
    assert!(matches!(fault, RegistryFault::Mismatch { .. }), "{fault}");
}

#[test_case(status(201), true, 1; "mounted")]
#[test_case(status(202).with("location", "/x"), false, 2; "an upload instead")]
#[test_case(error(403, "DENIED", "no"), false, 1; "denied")]
#[test_case(error(404, "BLOB_UNKNOWN", "no"), false, 1; "unknown")]
#[test_case(error(405, "UNSUPPORTED", "no"), false, 1; "unsupported")]
#[tokio::test]
async fn a_mount_that_the_registry_refuses_is_not_an_error(
    answer: ScriptedAnswer,
    expected: bool,
    requests: usize,
) {
    let registry = ScriptedRegistry::answering(vec![answer, status(204)]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let from = repository_name(&registry.repository("b"));
    let digest = Digest::sha256(&BLOB);
    assert_eq!(
        repository.mount_blob(&digest, &from).await.unwrap(),
        expected
    );
    let lines = registry.lines();
    assert_eq!(lines.len(), requests, "{lines:?}");
    assert!(
        requests == 1 || lines[1] == "DELETE /x",
        "the upload is cancelled"
    );
    let elsewhere = repository_name("ghcr.io/b");
    assert!(!repository.mount_blob(&digest, &elsewhere).await.unwrap());
}

#[tokio::test]
async fn the_right_to_push_is_tested_by_an_upload_that_is_cancelled() {
    let answers = vec![
        status(202).with("location", "/v2/a/blobs/uploads/1"),
        status(405),
    ];
    let registry = ScriptedRegistry::answering(answers).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    assert_eq!(repository.can_push().await.unwrap(), PushRight::Allowed);
    let expected = ["POST /v2/a/blobs/uploads/", "DELETE /v2/a/blobs/uploads/1"];
    assert_eq!(registry.lines(), expected);
}

#[test_case(error(403, "DENIED", "read only"), Some("DENIED: read only"); "denied")]
#[test_case(error(404, "NAME_UNKNOWN", "no repository"), Some("NAME_UNKNOWN: no repository"); "no repository")]
#[test_case(error(405, "UNSUPPORTED", "read-only mode"), Some("UNSUPPORTED: read-only mode"); "mirror")]
#[test_case(status(418), None; "something else")]
#[test_case(status(200), None; "not an upload")]
#[tokio::test]
async fn a_refused_push_has_a_reason(answer: ScriptedAnswer, expected: Option<&str>) {
    let registry = ScriptedRegistry::answering(vec![answer]).await;
    let run = TestRun::new();
    let right = run.repository(&registry.repository("a")).can_push().await;
    match (right.unwrap(), expected) {
        (PushRight::Denied { reason }, Some(words)) => assert!(reason.ends_with(words), "{reason}"),
        (PushRight::Unknown { .. }, None) => {}
        (right, _) => panic!("{right:?}"),
    }
}

#[tokio::test]
async fn a_blob_is_read_from_the_server_to_which_the_registry_redirects_without_the_password() {
    let other = ScriptedRegistry::answering(vec![ok("statement")]).await;
    let place = other.url("/bucket/blob?signature=x");
    let registry = ScriptedRegistry::start(move |request| match request.header("authorization") {
        "" => status(401).with("www-authenticate", "Basic realm=x"),
        _ => status(307).with("location", &place),
    })
    .await;
    let run = TestRun::with_password(&registry.host(), "u", "hunter2");
    let repository = run.repository(&registry.repository("a"));
    let digest = Digest::sha256(b"statement");
    let blob = repository.get_blob(&digest, 9).await.unwrap();
    assert_eq!(blob.as_deref(), Some(&b"statement"[..]));
    let line = format!("GET /v2/a/blobs/{digest}");
    assert_eq!(registry.lines(), [line.clone(), line]);
    let seen = other.seen();
    assert_eq!(seen[0].target, "/bucket/blob?signature=x");
    assert!(seen[0].header("authorization").is_empty());
}

#[test_case(ok("abc"), 3, Some(3); "as large as the limit")]
#[test_case(ok(""), 3, None; "another digest")]
#[test_case(status(404), 3, Some(0); "missing")]
#[test_case(status(204), 3, None; "no content")]
#[tokio::test]
async fn a_blob_is_read_if_its_digest_is_right(
    answer: ScriptedAnswer,
    limit: usize,
    length: Option<usize>,
) {
    let registry = ScriptedRegistry::answering(vec![answer]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let blob = repository.get_blob(&Digest::sha256(b"abc"), limit).await;
    let found = blob.map(|blob| blob.map_or(0, |blob| blob.len()));
    assert_eq!(found.ok(), length);
    assert!(run.pauses().is_empty());
}

#[test_case(ok("abc"), 2; "with a length")]
#[test_case(ScriptedAnswer::Endless, 1 << 20; "without an end")]
#[tokio::test]
async fn a_blob_over_the_limit_is_an_error_that_names_the_limit(
    answer: ScriptedAnswer,
    limit: usize,
) {
    let registry = ScriptedRegistry::answering(vec![answer]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let digest = Digest::sha256(b"abc");
    let failure = repository.get_blob(&digest, limit).await.unwrap_err();
    assert_eq!(failure.act, RegistryAct::ReadBlob);
    let expected = format!(
        "cannot read the blob `{}/a@{digest}`: the registry's answer is malformed: the answer is larger than {limit} bytes",
        registry.host(),
    );
    assert_eq!(in_one_line(&failure), expected);
}

#[tokio::test]
async fn a_blob_with_another_digest_is_an_error() {
    let other = Digest::sha256(b"other");
    for answer in [ok("other"), ok("abc").with("docker-content-digest", &other)] {
        let registry = ScriptedRegistry::answering(vec![answer]).await;
        let run = TestRun::new();
        let repository = run.repository(&registry.repository("a"));
        let digest = Digest::sha256(b"abc");
        let fault = repository.get_blob(&digest, 9).await.unwrap_err().fault;
        assert!(matches!(fault, RegistryFault::Mismatch { .. }), "{fault}");
    }
}
