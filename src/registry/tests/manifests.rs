//! Manifests: what is read and written, and which answers are refused.

use bytes::Bytes;
use test_case::test_case;

use super::scripted::{ScriptedAnswer, ScriptedRegistry, error, ok, status};
use super::{TestRun, tag};
use crate::registry::{
    ContentDescriptor, Deletion, ManifestContent, RawManifest, RegistryFault, RegistrySecurity,
    TagOrDigest,
};
use crate::types::Digest;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn index() -> String {
    format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[],"unknown":7}}"#)
}

fn found(body: &str) -> ScriptedAnswer {
    ok(body)
        .with("content-type", OCI_INDEX)
        .with("docker-content-digest", Digest::sha256(body.as_bytes()))
}

async fn get(
    answer: ScriptedAnswer,
    name: &TagOrDigest,
) -> Result<Option<RawManifest>, RegistryFault> {
    let registry = ScriptedRegistry::answering(vec![answer]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let result = repository.get(name).await.map_err(|error| error.fault);
    assert!(run.pauses().is_empty());
    result
}

#[tokio::test]
async fn a_manifest_is_read_as_bytes_and_its_content_is_typed() {
    let registry = ScriptedRegistry::answering(vec![found(&index())]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a/b"));
    let manifest = repository.get(&tag("v1")).await.unwrap().unwrap();
    assert_eq!(manifest.bytes(), index().as_bytes());
    assert_eq!(manifest.media_type(), OCI_INDEX);
    assert_eq!(*manifest.digest(), Digest::sha256(index().as_bytes()));
    let content = manifest.content().unwrap();
    assert!(matches!(content, ManifestContent::Index(_)), "{content:?}");
    let seen = &registry.seen()[0];
    assert_eq!(seen.line(), "GET /v2/a/b/manifests/v1");
    for media_type in [
        OCI_INDEX,
        OCI_MANIFEST,
        "manifest.list.v2+json",
        "manifest.v2+json",
    ] {
        assert!(seen.header("accept").contains(media_type), "{seen:?}");
    }
    assert!(seen.header("user-agent").starts_with("rbake/"));
}

#[tokio::test]
async fn a_digest_in_another_algorithm_is_checked_too() {
    let zeros: Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
    let digest = zeros.of_same_algorithm(index().as_bytes());
    let manifest = get(found(&index()), &digest.clone().into()).await;
    assert_eq!(*manifest.unwrap().unwrap().digest(), digest);
    let fault = get(found(&index()), &zeros.into()).await.unwrap_err();
    assert!(matches!(fault, RegistryFault::Mismatch { .. }), "{fault}");
}

#[tokio::test]
async fn a_manifest_with_another_digest_is_refused() {
    let other = Digest::sha256(b"other");
    let fault = get(found(&index()), &other.clone().into()).await;
    let RegistryFault::Mismatch {
        expected,
        found: actual,
    } = fault.unwrap_err()
    else {
        panic!("not a mismatch");
    };
    assert_eq!(
        (expected, actual),
        (other.clone(), Digest::sha256(index().as_bytes()))
    );
    let lying = ok(index())
        .with("content-type", OCI_INDEX)
        .with("docker-content-digest", &other);
    let fault = get(lying, &tag("1")).await.unwrap_err();
    assert!(matches!(fault, RegistryFault::Mismatch { .. }), "{fault}");
}

#[tokio::test]
async fn missing_headers_are_supplied_by_the_manifest() {
    let manifest = get(ok(index()), &tag("1")).await.unwrap().unwrap();
    assert_eq!(manifest.media_type(), OCI_INDEX);
    let general = ok(index()).with("content-type", "application/json; charset=utf-8");
    let manifest = get(general, &tag("1")).await.unwrap().unwrap();
    assert_eq!(manifest.media_type(), OCI_INDEX);
}

#[test_case(ok("{}"); "no media type")]
#[test_case(ok(index()).with("content-type", OCI_MANIFEST); "two media types")]
#[test_case(found(&index()).with("docker-content-digest", "x"); "a second digest")]
#[test_case(ok(index()).with("docker-content-digest", "sha256:../../etc"); "invalid digest")]
#[test_case(ok("x".repeat((4 << 20) + 1)); "too large")]
#[test_case(ok("x").with("content-length", "99999999999"); "a large size")]
#[test_case(ScriptedAnswer::Endless; "endless")]
#[tokio::test]
async fn malformed_answers_are_refused(answer: ScriptedAnswer) {
    let result = get(answer, &tag("1")).await;
    // The first of two digests counts, and it is right.
    if let Ok(Some(manifest)) = &result {
        assert_eq!(manifest.media_type(), OCI_INDEX);
        return;
    }
    let fault = result.unwrap_err();
    assert!(matches!(fault, RegistryFault::Malformed { .. }), "{fault}");
}

#[test_case("{", OCI_INDEX; "not json")]
#[test_case("[]", OCI_MANIFEST; "not an object")]
#[test_case(r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"md5","size":-1}]}"#, OCI_INDEX; "wrong descriptor")]
#[tokio::test]
async fn a_manifest_of_the_wrong_form_has_no_content(body: &'static str, media_type: &str) {
    let manifest = RawManifest::new(media_type, Bytes::from_static(body.as_bytes())).unwrap();
    let fault = manifest.content().unwrap_err();
    assert!(
        fault.to_string().contains("not a valid manifest"),
        "{fault}"
    );
    let other = RawManifest::new("text/x", Bytes::from_static(body.as_bytes())).unwrap();
    assert_eq!(other.content().unwrap(), ManifestContent::Other);
    assert!(RawManifest::new("text/x\r\na: b", Bytes::new()).is_err());
}

#[tokio::test]
async fn the_head_of_a_manifest_is_its_descriptor() {
    let registry = ScriptedRegistry::answering(vec![found(&index())]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let descriptor: ContentDescriptor = repository.head(&tag("1")).await.unwrap().unwrap();
    assert_eq!(descriptor.digest, Digest::sha256(index().as_bytes()));
    assert_eq!(descriptor.media_type, OCI_INDEX);
    assert_eq!(descriptor.size, index().len() as u64);
    assert_eq!(registry.lines(), ["HEAD /v2/a/manifests/1"]);
    let other = Digest::sha256(b"other").into();
    let fault = repository.head(&other).await.unwrap_err().fault;
    assert!(matches!(fault, RegistryFault::Mismatch { .. }), "{fault}");
}

#[tokio::test]
async fn a_head_without_a_digest_is_completed_by_reading_the_manifest() {
    let answer = ok(index()).with("content-type", OCI_INDEX);
    let registry = ScriptedRegistry::answering(vec![answer]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let descriptor = repository.head(&tag("1")).await.unwrap().unwrap();
    assert_eq!(descriptor.digest, Digest::sha256(index().as_bytes()));
    assert_eq!(registry.lines().len(), 2);
}

#[tokio::test]
async fn the_reason_for_a_denied_head_comes_from_a_get() {
    let registry = ScriptedRegistry::answering(vec![error(403, "DENIED", "pay first")]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let fault = repository.head(&tag("1")).await.unwrap_err().fault;
    assert_eq!(
        fault.to_string(),
        "the registry denies access (403 Forbidden): DENIED: pay first"
    );
}

#[tokio::test]
async fn missing_manifests_and_tags_are_not_errors() {
    let registry = ScriptedRegistry::answering(vec![status(404)]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    assert_eq!(repository.head(&tag("1")).await.unwrap(), None);
    assert_eq!(repository.get(&tag("1")).await.unwrap(), None);
    assert_eq!(repository.tags().await.unwrap(), None);
    assert!(!repository.has_blob(&Digest::sha256(b"")).await.unwrap());
    let deletion = repository.delete(&tag("1")).await.unwrap();
    assert_eq!(deletion, Deletion::NotFound);
}

#[test_case(201, true)]
#[test_case(200, true)]
#[test_case(202, false)]
#[test_case(404, false)]
#[tokio::test]
async fn a_manifest_is_written_as_it_is(code: u16, expected: bool) {
    let registry = ScriptedRegistry::answering(vec![status(code)]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let manifest = RawManifest::new(OCI_INDEX, index().into()).unwrap();
    let result = repository.put(&tag("1"), &manifest).await;
    assert_eq!(result.is_ok(), expected, "{result:?}");
    let seen = &registry.seen()[0];
    assert_eq!(seen.line(), "PUT /v2/a/manifests/1");
    assert_eq!(seen.header("content-type"), OCI_INDEX);
    assert_eq!(seen.body, index().as_bytes());
}

#[tokio::test]
async fn a_write_whose_digest_differs_is_an_error() {
    let other = Digest::sha256(b"other");
    let answer = status(201).with("docker-content-digest", &other);
    let registry = ScriptedRegistry::answering(vec![answer]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let manifest = RawManifest::new(OCI_INDEX, index().into()).unwrap();
    for (name, requests) in [(tag("1"), 1), (other.into(), 1)] {
        let fault = repository.put(&name, &manifest).await.unwrap_err().fault;
        assert!(matches!(fault, RegistryFault::Mismatch { .. }), "{fault}");
        assert_eq!(registry.seen().len(), requests);
    }
}

#[test_case(status(202), Some(Deletion::Deleted); "accepted")]
#[test_case(status(200), Some(Deletion::Deleted); "ok")]
#[test_case(status(405), Some(Deletion::Unsupported); "method")]
#[test_case(error(405, "UNSUPPORTED", "no"), Some(Deletion::Unsupported); "method with a code")]
#[test_case(error(400, "UNSUPPORTED", "no"), Some(Deletion::Unsupported); "code")]
#[test_case(error(400, "DIGEST_INVALID", "no"), Some(Deletion::Unsupported); "no tags")]
#[test_case(error(404, "MANIFEST_UNKNOWN", "no"), Some(Deletion::NotFound); "unknown")]
#[test_case(error(403, "DENIED", "no"), None; "denied")]
#[test_case(error(409, "CONFLICT", "in use"), None; "in use")]
#[tokio::test]
async fn the_outcome_of_a_deletion_is_typed(answer: ScriptedAnswer, expected: Option<Deletion>) {
    let registry = ScriptedRegistry::answering(vec![answer]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    assert_eq!(repository.delete(&tag("1")).await.ok(), expected);
}

#[tokio::test]
async fn an_insecure_registry_that_does_not_speak_tls_gets_plain_http() {
    // The answer of Go's HTTP server to a TLS handshake.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let connections = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut first_bytes = Vec::new();
        while first_bytes.len() < 3 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut start = [0; 4096];
            let length = stream.read(&mut start).await.unwrap();
            first_bytes.push(start[0]);
            let answer = if start[..length].starts_with(b"HEAD ") {
                "HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n"
            } else {
                "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTPS request to an HTTP server.\n"
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        first_bytes
    });
    let run = TestRun::new();
    let name = format!("{host}/a");
    let repository = run.repository_at(&name, RegistrySecurity::Waived);
    for _ in 0..2 {
        assert_eq!(repository.head(&tag("1")).await.unwrap(), None);
    }
    // A TLS handshake, and two requests: the protocol is remembered.
    assert_eq!(connections.await.unwrap(), [0x16, b'H', b'H']);
    assert!(run.pauses().is_empty());
}
