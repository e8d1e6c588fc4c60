//! Lists of tags and of referrers: pages, and lists that do not end.

use test_case::test_case;

use super::TestRun;
use super::scripted::{ScriptedAnswer, ScriptedRegistry, ok, status};
use crate::registry::RegistryFault;
use crate::types::Digest;

fn page(tags: impl IntoIterator<Item = String>) -> ScriptedAnswer {
    let tags: Vec<_> = tags.into_iter().collect();
    ok(serde_json::json!({"name": "a", "tags": tags}).to_string())
}

fn names(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|n| format!("t{n:06}"))
}

async fn tags(registry: &ScriptedRegistry) -> Result<Option<usize>, RegistryFault> {
    let run = TestRun::new();
    let tags = run.repository(&registry.repository("a")).tags().await;
    tags.map(|tags| tags.map(|tags| tags.len()))
        .map_err(|error| error.fault)
}

#[test_case("</v2/a/tags/list?n=1000&last=t000001>; rel=\"next\""; "path")]
#[test_case("<http://HOST/v2/a/tags/list?n=1000&last=t000001>;rel=next"; "address")]
#[test_case("<?n=1000&last=t000001>; title=\"x\"; REL=\"Next\""; "query")]
#[tokio::test]
async fn pages_of_tags_are_followed(link: &'static str) {
    let registry = ScriptedRegistry::start(move |request| {
        if request.target.contains("last=") {
            return page(names(2..3));
        }
        page(names(0..2)).with("link", link.replace("HOST", request.header("host")))
    })
    .await;
    assert_eq!(tags(&registry).await.unwrap(), Some(3));
    let targets: Vec<_> = registry.seen().into_iter().map(|r| r.target).collect();
    assert_eq!(
        targets,
        [
            "/v2/a/tags/list?n=1000",
            "/v2/a/tags/list?n=1000&last=t000001"
        ]
    );
}

#[tokio::test]
async fn full_pages_without_a_link_are_continued_after_the_last_tag() {
    let registry = ScriptedRegistry::start(|request| match request.target.split_once("last=") {
        None => page(names(0..1000)),
        Some((_, "t000999")) => page(names(1000..1001)),
        Some(other) => panic!("{other:?}"),
    })
    .await;
    assert_eq!(tags(&registry).await.unwrap(), Some(1001));
}

#[tokio::test]
async fn a_registry_that_always_sends_all_tags_is_asked_twice_at_most() {
    let registry = ScriptedRegistry::answering(vec![page(names(0..3000))]).await;
    assert_eq!(tags(&registry).await.unwrap(), Some(3000));
    assert_eq!(registry.seen().len(), 2);
}

#[test_case(r#"{"name":"a","tags":null}"#; "null")]
#[test_case(r#"{"name":"a"}"#; "absent")]
#[test_case(r#"{"tags":[]}"#; "empty")]
#[tokio::test]
async fn a_repository_may_have_no_tags(body: &'static str) {
    let registry = ScriptedRegistry::answering(vec![ok(body)]).await;
    assert_eq!(tags(&registry).await.unwrap(), Some(0));
}

#[test_case(ok("{"); "not json")]
#[test_case(ok(r#"{"tags":[7]}"#); "not a text")]
#[test_case(ok(r#"{"tags":["a/b"]}"#); "invalid tag")]
#[test_case(ok(r#"{"tags":["a\u001b[2J"]}"#); "control characters")]
#[test_case(page(names(0..1)).with("link", "</v2/a/tags/list?n=1000>; rel=\"next\""); "the same page again")]
#[test_case(page(names(0..1)).with("link", "<http://127.0.0.1:9/v2/a/tags/list>; rel=\"next\""); "another server")]
#[test_case(page(names(0..1)).with("link", "nonsense"); "malformed link")]
#[test_case(page(names(0..1_000_001)); "too many")]
#[tokio::test]
async fn a_hostile_list_of_tags_is_an_error(answer: ScriptedAnswer) {
    let registry = ScriptedRegistry::answering(vec![answer]).await;
    let fault = tags(&registry).await.unwrap_err();
    assert!(matches!(fault, RegistryFault::Malformed { .. }), "{fault}");
    assert!(registry.seen().len() <= 20, "{}", registry.seen().len());
}

#[tokio::test]
async fn a_list_with_ever_new_links_and_no_new_tags_ends() {
    let mut number = 0;
    let registry = ScriptedRegistry::start(move |_| {
        number += 1;
        page([]).with(
            "link",
            format!("</v2/a/tags/list?x={number}>; rel=\"next\""),
        )
    })
    .await;
    assert!(tags(&registry).await.is_err());
    assert_eq!(registry.seen().len(), 16);
}

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn index(digests: &[Digest]) -> ScriptedAnswer {
    let manifests: Vec<_> = digests
        .iter()
        .map(|digest| {
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest.as_str(), "size": 7, "artifactType": "text/x",
                "annotations": {"k": "v"},
            })
        })
        .collect();
    let index =
        serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    ok(index.to_string()).with("content-type", OCI_INDEX)
}

#[tokio::test]
async fn referrers_are_listed_with_type_and_annotations() {
    let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
    let answers = vec![
        index(std::slice::from_ref(&one)).with("link", "<?p=2>; rel=\"next\""),
        index(std::slice::from_ref(&two)),
    ];
    let registry = ScriptedRegistry::answering(answers).await;
    let run = TestRun::new();
    let subject = Digest::sha256(b"s");
    let found = run
        .repository(&registry.repository("a"))
        .referrers(&subject)
        .await;
    let found = found.unwrap();
    assert_eq!((&found[0].digest, &found[1].digest), (&one, &two));
    assert_eq!(found[0].artifact_type.as_deref(), Some("text/x"));
    assert_eq!(found[0].annotations["k"], "v");
    assert_eq!(found[0].size, 7);
    assert_eq!(
        registry.lines()[0],
        format!("GET /v2/a/referrers/{subject}")
    );
}

#[test_case(status(404).with_body("404 page not found\n"); "no such path")]
#[test_case(ok("<html>").with("content-type", "text/html"); "a page for people")]
#[tokio::test]
async fn without_the_api_referrers_are_found_by_their_tag(answer: ScriptedAnswer) {
    let one = Digest::sha256(b"1");
    let answers = vec![answer, index(std::slice::from_ref(&one))];
    let registry = ScriptedRegistry::answering(answers).await;
    let run = TestRun::new();
    let subject = Digest::sha256(b"s");
    let found = run
        .repository(&registry.repository("a"))
        .referrers(&subject)
        .await;
    assert_eq!(found.unwrap()[0].digest, one);
    let expected = format!("GET /v2/a/manifests/sha256-{}", subject.hex());
    assert_eq!(registry.lines()[1], expected);
}

#[tokio::test]
async fn no_referrers_are_an_empty_list() {
    let registry = ScriptedRegistry::answering(vec![status(404)]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let found = repository.referrers(&Digest::sha256(b"s")).await;
    assert!(found.unwrap().is_empty());
}

#[test_case(ok("{").with("content-type", OCI_INDEX); "not json")]
#[test_case(index(&vec![Digest::sha256(b"1"); 10_001]); "too many")]
#[test_case(index(&[Digest::sha256(b"1")]).with("link", "<?>; rel=\"next\""); "without an end")]
#[tokio::test]
async fn a_hostile_list_of_referrers_is_an_error(answer: ScriptedAnswer) {
    let registry = ScriptedRegistry::answering(vec![answer]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let fault = repository
        .referrers(&Digest::sha256(b"s"))
        .await
        .unwrap_err()
        .fault;
    assert!(matches!(fault, RegistryFault::Malformed { .. }), "{fault}");
    assert!(registry.seen().len() <= 100);
}
