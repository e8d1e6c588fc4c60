//! Deletions by the APIs of Amazon and Docker Hub, against scripted servers.

use std::time::Duration;

use serde_json::{Value, json};
use test_case::test_case;

use super::scripted::{ScriptedAnswer, ScriptedRegistry, SeenRequest, ok, status};
use super::{TestRun, tag};
use crate::credential::AwsCredential;
use crate::registry::{
    ApiAddress, ApiSpec, Deletion, EcrSpec, RegistryError, RegistryFault, RegistrySecurity,
    RemoteRepository, TagOrDigest,
};
use crate::types::Digest;
use crate::types::causes::in_one_line;

const REQUIRED: RegistrySecurity = RegistrySecurity::Required;

fn address(server: &ScriptedRegistry) -> ApiAddress {
    ApiAddress::parse(&server.url("/base"), REQUIRED).unwrap()
}

fn digest() -> Digest {
    Digest::sha256(b"an image")
}

/// A repository that Amazon's API at `server` deletes from.
pub(super) fn ecr(run: &TestRun, server: &ScriptedRegistry) -> RemoteRepository {
    let spec = EcrSpec {
        address: address(server),
        account: Some("123456789012".to_owned()),
        region: "eu-west-1".to_owned(),
        credential: AwsCredential::new("AKIDEXAMPLE", "hidden-key", Some("hidden-token")),
    };
    let repository = run.repository(&server.repository("team/web"));
    let spec = ApiSpec::Ecr(Box::new(spec));
    run.registries.with_api(&repository, &spec).unwrap()
}

/// A repository from which Docker Hub's API at `server` removes tags.
fn hub(run: &TestRun, server: &ScriptedRegistry) -> RemoteRepository {
    let repository = run.repository(&server.repository("acme/web"));
    let spec = ApiSpec::DockerHub(address(server));
    run.registries.with_api(&repository, &spec).unwrap()
}

fn json_answer(code: u16, value: &Value) -> ScriptedAnswer {
    status(code).with_body(value.to_string())
}

fn body(request: &SeenRequest) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn message(result: Result<impl std::fmt::Debug, RegistryError>) -> String {
    in_one_line(&result.unwrap_err())
}

#[tokio::test]
async fn amazon_gets_signed_requests_for_tags_and_digests() {
    let deleted = json!({"imageIds": [{"imageTag": "1"}], "failures": []});
    let server = ScriptedRegistry::answering(vec![ok(deleted.to_string())]).await;
    let run = TestRun::new();
    let repository = ecr(&run, &server);
    assert_eq!(
        repository.delete(&tag("1")).await.unwrap(),
        Deletion::Deleted
    );
    let name = TagOrDigest::Digest(digest());
    assert_eq!(repository.delete(&name).await.unwrap(), Deletion::Deleted);
    let seen = server.seen();
    assert_eq!(server.lines(), ["POST /base/"; 2]);
    let call = |image: Value| json!({"registryId": "123456789012", "repositoryName": "team/web", "imageIds": [image]});
    assert_eq!(body(&seen[0]), call(json!({"imageTag": "1"})));
    let image = json!({"imageDigest": digest().as_str()});
    assert_eq!(body(&seen[1]), call(image));
    for request in &seen {
        let target = request.header("x-amz-target");
        assert_eq!(
            target,
            "AmazonEC2ContainerRegistry_V20150921.BatchDeleteImage"
        );
        assert_eq!(request.header("content-type"), "application/x-amz-json-1.1");
        // The clock of the test is 100 s after the epoch.
        assert_eq!(request.header("x-amz-date"), "19700101T000140Z");
        assert_eq!(request.header("x-amz-security-token"), "hidden-token");
        let authorization = request.header("authorization");
        let expected = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/19700101/eu-west-1/ecr/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=";
        assert!(authorization.starts_with(expected), "{authorization}");
        // The keys themselves are never sent.
        assert!(!format!("{request:?}").contains("hidden-key"));
    }
}

#[tokio::test]
async fn a_failure_in_an_answer_of_amazon_with_the_status_200_is_a_failure() {
    let failure = |code: &str| {
        let failure = json!({"imageId": {"imageDigest": digest().as_str()}, "failureCode": code, "failureReason": "because\u{1b}[2J"});
        ok(json!({"imageIds": [], "failures": [failure]}).to_string())
    };
    let answers = vec![
        failure("ImageNotFound"),
        failure("ImageReferencedByManifestList"),
        ok("{}"),
        ok("no"),
    ];
    let server = ScriptedRegistry::answering(answers).await;
    let run = TestRun::new();
    let repository = ecr(&run, &server);
    let name = TagOrDigest::Digest(digest());
    assert_eq!(repository.delete(&name).await.unwrap(), Deletion::NotFound);
    let text = message(repository.delete(&name).await);
    assert!(
        text.contains("ImageReferencedByManifestList: because"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text}");
    let text = message(repository.delete(&name).await);
    assert!(text.contains("nor says why not"), "{text}");
    let text = message(repository.delete(&name).await);
    assert!(text.contains("not a valid answer"), "{text}");
    assert!(run.pauses().is_empty());
}

#[test_case("AccessDeniedException", true; "no permission")]
#[test_case("com.amazon.coral.service#UnrecognizedClientException", true; "unknown keys")]
#[test_case("ExpiredTokenException", true; "old keys")]
#[test_case("InvalidParameterException", false; "a wrong parameter")]
#[tokio::test]
async fn errors_of_amazon_that_deny_access_are_known_by_their_codes(code: &str, is_denial: bool) {
    let text = "User hidden-token may not hidden-key";
    let answer = json!({"__type": code, "message": text});
    let server = ScriptedRegistry::answering(vec![json_answer(400, &answer)]).await;
    let run = TestRun::new();
    let error = ecr(&run, &server).delete(&tag("1")).await.unwrap_err();
    assert_eq!(error.fault.is_denial(), is_denial, "{error:?}");
    let text = in_one_line(&error);
    // A server could repeat what it was sent.
    assert!(!text.contains("hidden-token"), "{text}");
    assert!(text.contains(code.rsplit('#').next().unwrap()), "{text}");
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn throttled_requests_to_amazon_are_repeated_with_new_signatures() {
    let throttled = json!({"__type": "ThrottlingException", "message": "Rate exceeded"});
    let deleted = json!({"imageIds": [{"imageTag": "1"}]});
    let answers = vec![
        json_answer(400, &throttled),
        status(503).with("retry-after", 7),
        ok(deleted.to_string()),
    ];
    let server = ScriptedRegistry::answering(answers).await;
    let run = TestRun::new();
    let repository = ecr(&run, &server);
    let done = repository.delete(&tag("1")).await.unwrap();
    assert_eq!(done, Deletion::Deleted);
    assert_eq!(server.lines().len(), 3);
    let pauses = run.pauses();
    assert!(pauses[0] <= Duration::from_millis(250), "{pauses:?}");
    assert_eq!(pauses[1], Duration::from_secs(7));
}

#[tokio::test]
async fn all_pages_of_amazons_list_are_read() {
    let other = Digest::sha256(b"another image");
    let page = |digest: &Digest, next: Option<&str>| {
        let image = json!({"imageDigest": digest.as_str(), "imagePushedAt": 1_565_298_000.5, "imageTags": ["a"]});
        let mut page = json!({"imageDetails": [image]});
        if let Some(next) = next {
            page["nextToken"] = next.into();
        }
        ok(page.to_string())
    };
    let answers = vec![page(&digest(), Some("next=")), page(&other, None)];
    let server = ScriptedRegistry::answering(answers).await;
    let run = TestRun::new();
    let found = ecr(&run, &server).versions().await.unwrap().unwrap();
    let digests: Vec<_> = found.iter().map(|one| one.digest.clone()).collect();
    assert_eq!(digests, [digest(), other]);
    assert_eq!(found[0].updated.to_string(), "2019-08-08T21:00:00.5Z");
    let seen = server.seen();
    assert!(seen[0].header("x-amz-target").ends_with(".DescribeImages"));
    assert_eq!(body(&seen[0])["maxResults"], 1000);
    assert_eq!(body(&seen[0]).get("nextToken"), None);
    assert_eq!(body(&seen[1])["nextToken"], "next=");
}

#[test_case(json!({"imageDetails": [], "nextToken": "same"}), "does not end"; "the same page again")]
#[test_case(json!({"imageDetails": [{"imageDigest": "latest", "imagePushedAt": 1}]}), "not a valid list"; "not a digest")]
#[test_case(json!({"imageDetails": [{"imageDigest": digest().as_str(), "imagePushedAt": 1e300}]}), "not a valid list"; "a time that does not exist")]
#[test_case(json!({"imageDetails": [{"imageDigest": digest().as_str()}]}), "not a valid answer"; "no time")]
#[tokio::test]
async fn a_malformed_list_of_amazon_is_an_error(page: Value, expected: &str) {
    let server = ScriptedRegistry::answering(vec![ok(page.to_string())]).await;
    let run = TestRun::new();
    let text = message(ecr(&run, &server).versions().await);
    assert!(text.contains(expected), "{text}");
}

const TOKEN: &str = "hidden-access";

fn hub_run(server: &ScriptedRegistry) -> TestRun {
    TestRun::with_password(&server.host(), "someone", "hidden-word")
}

/// A server that gives tokens `TOKEN1`, `TOKEN2` and so on, and else what `answer` says.
async fn hub_server(
    mut answer: impl FnMut(&SeenRequest) -> ScriptedAnswer + Send + 'static,
) -> ScriptedRegistry {
    let mut tokens = 0;
    ScriptedRegistry::start(move |request| {
        if request.line() == "POST /base/v2/auth/token" {
            tokens += 1;
            let token = format!("{TOKEN}{tokens}");
            return ok(json!({"access_token": token}).to_string());
        }
        answer(request)
    })
    .await
}

#[tokio::test]
async fn docker_hub_gets_the_login_once_and_its_token_with_each_tag() {
    let server = hub_server(|_| status(204)).await;
    let run = hub_run(&server);
    let repository = hub(&run, &server);
    for name in ["1.0", "2-rc_1"] {
        let done = repository.delete(&tag(name)).await.unwrap();
        assert_eq!(done, Deletion::Deleted);
    }
    let seen = server.seen();
    let targets: Vec<_> = seen.iter().map(SeenRequest::line).collect();
    let tags = "/base/v2/namespaces/acme/repositories/web/tags";
    let expected = [
        "POST /base/v2/auth/token".to_owned(),
        format!("DELETE {tags}/1%2E0"),
        format!("DELETE {tags}/2%2Drc%5F1"),
    ];
    assert_eq!(targets, expected);
    let login = json!({"identifier": "someone", "secret": "hidden-word"});
    assert_eq!(body(&seen[0]), login);
    for request in &seen[1..] {
        assert_eq!(request.header("authorization"), format!("Bearer {TOKEN}1"));
    }
    // Manifests are deleted by the registry itself.
    let name = TagOrDigest::Digest(digest());
    let done = repository.delete(&name).await.unwrap();
    assert_eq!(done, Deletion::Deleted);
    let last = server.lines().pop().unwrap();
    assert_eq!(last, format!("DELETE /v2/acme/web/manifests/{}", digest()));
}

#[tokio::test]
async fn a_token_of_docker_hub_that_has_expired_is_fetched_again_once() {
    let refused = json!({"detail": format!("the token {TOKEN}2 is too old")});
    let mut valid = 1;
    let server = hub_server(move |request| {
        let token = request.header("authorization").to_owned();
        // Each token is good for one request; the third one for none.
        if token == format!("Bearer {TOKEN}{valid}") && valid < 3 {
            valid += 1;
            return status(204);
        }
        json_answer(401, &refused)
    })
    .await;
    let run = hub_run(&server);
    let repository = hub(&run, &server);
    for _ in 0..2 {
        let done = repository.delete(&tag("1")).await.unwrap();
        assert_eq!(done, Deletion::Deleted);
    }
    let before = server.lines().len();
    let error = repository.delete(&tag("1")).await.unwrap_err();
    assert!(error.fault.is_denial(), "{error:?}");
    // With the old token, for a new one, and with that.
    assert_eq!(server.lines().len(), before + 3);
}

#[tokio::test]
async fn docker_hub_asks_for_a_pause_with_a_header_of_its_own() {
    let mut tries = 0;
    let server = hub_server(move |_| {
        tries += 1;
        match tries {
            1 => status(429).with("x-retry-after", 1_700_000_000),
            2 => status(404),
            _ => status(405),
        }
    })
    .await;
    let run = hub_run(&server);
    let repository = hub(&run, &server);
    let done = repository.delete(&tag("1")).await.unwrap();
    assert_eq!(done, Deletion::NotFound);
    // The clock of the test is far before the time that the server names.
    assert_eq!(run.pauses(), [Duration::from_secs(60)]);
    let done = repository.delete(&tag("1")).await.unwrap();
    assert_eq!(done, Deletion::Unsupported);
}

#[tokio::test]
async fn a_missing_login_for_docker_hub_is_a_denial_and_sends_nothing() {
    let server = hub_server(|_| status(204)).await;
    let run = TestRun::new();
    let error = hub(&run, &server).delete(&tag("1")).await.unwrap_err();
    assert!(matches!(error.fault, RegistryFault::NoLogin), "{error:?}");
    assert!(error.fault.is_denial());
    assert!(server.lines().is_empty());
}

#[test_case("/v2/auth/token"; "the exchange of the login")]
#[test_case("/v2/namespaces/acme/repositories/web/tags/1"; "the deletion of a tag")]
#[tokio::test]
async fn credentials_are_not_redirected_to_another_server(path: &'static str) {
    let other = ScriptedRegistry::answering(vec![ok(r#"{"access_token":"a"}"#)]).await;
    let place = other.url("/stolen");
    let server = ScriptedRegistry::start(move |request| {
        if request.target == format!("/base{path}") {
            return status(307).with("location", &place);
        }
        ok(json!({"access_token": TOKEN}).to_string())
    })
    .await;
    let run = hub_run(&server);
    let text = message(hub(&run, &server).delete(&tag("1")).await);
    assert!(text.contains("redirect to another server"), "{text}");
    assert!(other.lines().is_empty());

    let run = TestRun::new();
    let place = other.url("/stolen");
    let server = ScriptedRegistry::start(move |_| status(308).with("location", &place)).await;
    let text = message(ecr(&run, &server).delete(&tag("1")).await);
    assert!(text.contains("redirect to another server"), "{text}");
    assert!(other.lines().is_empty());
}

#[tokio::test]
async fn answers_that_repeat_a_login_are_cleaned() {
    let echo = |request: &SeenRequest| {
        let text = String::from_utf8_lossy(&request.body);
        let header = request.header("authorization");
        json_answer(403, &json!({"message": format!("{text} {header}")}))
    };
    let server = ScriptedRegistry::start(echo).await;
    let run = hub_run(&server);
    let text = message(hub(&run, &server).delete(&tag("1")).await);
    assert!(text.contains("someone"), "{text}");
    assert!(!text.contains("hidden"), "{text}");

    let server = hub_server(echo).await;
    let run = hub_run(&server);
    let text = message(hub(&run, &server).delete(&tag("1")).await);
    assert!(text.contains("Bearer xxxxx"), "{text}");
}

#[tokio::test]
async fn a_repository_of_three_parts_is_not_one_of_docker_hub() {
    let server = hub_server(|_| status(204)).await;
    let run = hub_run(&server);
    let repository = run.repository(&server.repository("a/b/c"));
    let spec = ApiSpec::DockerHub(address(&server));
    let text = message(run.registries.with_api(&repository, &spec));
    assert!(text.contains("namespace/name"), "{text}");
}

#[tokio::test]
async fn requests_with_credentials_are_not_printed() {
    let server = hub_server(|_| status(204)).await;
    let run = hub_run(&server);
    let repository = hub(&run, &server);
    repository.delete(&tag("1")).await.unwrap();
    let text = format!("{repository:?} {:?}", ecr(&run, &server));
    assert!(!text.contains("hidden"), "{text}");
}
