//! Tags with a prefix: which pages are read, at registries with and without an order.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::json;
use test_case::test_case;

use super::TestRun;
use super::scripted::{ScriptedAnswer, ScriptedRegistry, SeenRequest, error, ok, status};
use crate::registry::RegistryFault;

type Order = fn(&str, &str) -> Ordering;

fn by_bytes(one: &str, other: &str) -> Ordering {
    one.cmp(other)
}

fn by_letters(one: &str, other: &str) -> Ordering {
    let folded = |text: &str| text.to_ascii_lowercase();
    folded(one).cmp(&folded(other)).then(one.cmp(other))
}

fn field<'a>(request: &'a SeenRequest, name: &str) -> Option<&'a str> {
    let (_, query) = request.target.split_once('?')?;
    let mut fields = query.split('&').filter_map(|field| field.split_once('='));
    fields
        .find(|(field, _)| *field == name)
        .map(|(_, value)| value)
}

/// Lists the tags after `last` in this order, with a link to the next page.
fn page(request: &SeenRequest, tags: &[String], order: Order) -> ScriptedAnswer {
    let size: usize = field(request, "n").unwrap().parse().unwrap();
    let last = field(request, "last").unwrap_or_default();
    let rest: Vec<_> = tags
        .iter()
        .filter(|tag| order(tag, last) == Ordering::Greater)
        .collect();
    let page = &rest[..size.min(rest.len())];
    let answer = ok(json!({"name": "a", "tags": page}).to_string());
    match page.last() {
        Some(last) if rest.len() > size => {
            answer.with("link", format!("<?n={size}&last={last}>; rel=\"next\""))
        }
        _ => answer,
    }
}

/// A registry with 100,000 other tags.
async fn large(order: Order) -> ScriptedRegistry {
    let mut tags: Vec<_> = (0..50_000).map(|n| format!("b{n:05}")).collect();
    tags.extend((0..50_000).map(|n| format!("v{n:05}")));
    let runs = [
        "R-1", "R-9", "Rz", "r-0", "r-1", "r-1T2", "r-1a", "r-2", "r-3_A", "r1", "rx",
    ];
    tags.extend(runs.map(str::to_owned));
    tags.sort_by(|one, other| order(one, other));
    let tags = Arc::new(tags);
    ScriptedRegistry::start(move |request| page(request, &tags, order)).await
}

async fn wanted(registry: &ScriptedRegistry, after: &str) -> Result<Vec<String>, RegistryFault> {
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let tags = repository.tags_with_prefix("r-", after).await;
    let tags = tags.map_err(|error| error.fault)?.unwrap();
    Ok(tags.iter().map(ToString::to_string).collect())
}

#[test_case(by_bytes; "by bytes")]
#[test_case(by_letters; "by letters")]
#[tokio::test]
async fn two_requests_find_the_tags_among_many_others(order: Order) {
    for (after, expected) in [
        ("r-", vec!["r-0", "r-1", "r-1T2", "r-1a", "r-2", "r-3_A"]),
        ("r-1", vec!["r-1T2", "r-1a", "r-2", "r-3_A"]),
        // Only one of the orders has `r-1a` after this.
        ("r-1T2", vec!["r-1a", "r-2", "r-3_A"]),
        ("r-3_A", vec![]),
    ] {
        let registry = large(order).await;
        assert_eq!(wanted(&registry, after).await.unwrap(), expected, "{after}");
        let seen = registry.seen();
        assert!(seen.len() <= 2, "{after}: {}", seen.len());
        assert!(seen[0].target.starts_with("/v2/a/tags/list?n=1000&last=r-"));
    }
}

#[tokio::test]
async fn all_pages_are_read_at_a_registry_that_ignores_the_start() {
    let tags = ["a", "r-1", "r-2", "z"].map(str::to_owned);
    let all = ok(json!({"name": "a", "tags": tags}).to_string());
    let registry = ScriptedRegistry::answering(vec![all]).await;
    assert_eq!(wanted(&registry, "r-1").await.unwrap(), ["r-2"]);
    let targets: Vec<_> = registry.seen().into_iter().map(|r| r.target).collect();
    let expected = ["/v2/a/tags/list?n=1000&last=r-1", "/v2/a/tags/list?n=1000"];
    assert_eq!(targets, expected);
}

#[tokio::test]
async fn all_pages_are_read_at_a_registry_without_an_order() {
    // By date: the page after the start is not in order, and has not all wanted tags.
    let registry = ScriptedRegistry::start(|request| {
        if field(request, "last").is_some() || field(request, "p").is_some() {
            return ok(r#"{"tags":["z","r-3"]}"#);
        }
        ok(r#"{"tags":["r-9","b","r-1"]}"#).with("link", "<?p=2>; rel=\"next\"")
    })
    .await;
    assert_eq!(wanted(&registry, "r-1").await.unwrap(), ["r-3", "r-9"]);
    assert_eq!(registry.seen().len(), 3);
}

#[test_case(error(400, "BAD_REQUEST", "the last: r-1 should be a valid tag name"); "a bad request")]
#[test_case(status(404); "not found")]
#[tokio::test]
async fn all_pages_are_read_if_the_registry_refuses_the_start(answer: ScriptedAnswer) {
    let all = ok(json!({"tags": ["r-2"]}).to_string());
    let registry = ScriptedRegistry::answering(vec![answer, all]).await;
    assert_eq!(wanted(&registry, "r-1").await.unwrap(), ["r-2"]);
    assert_eq!(registry.seen().len(), 2);
}

#[tokio::test]
async fn a_missing_repository_has_no_tags_with_a_prefix() {
    for (answer, requests) in [
        (error(404, "NAME_UNKNOWN", "no such repository"), 1),
        (status(404), 2),
    ] {
        let registry = ScriptedRegistry::answering(vec![answer]).await;
        let run = TestRun::new();
        let repository = run.repository(&registry.repository("a"));
        let tags = repository.tags_with_prefix("r-", "r-1").await;
        assert_eq!(tags.unwrap(), None);
        assert_eq!(registry.seen().len(), requests);
    }
}

#[tokio::test]
async fn full_pages_without_a_link_are_continued_within_the_range() {
    let registry = ScriptedRegistry::start(|request| {
        let tags = match field(request, "last") {
            Some("r-0") => (0..1000).map(|n| format!("r-1{n:03}")).collect(),
            Some("r-1999") => vec!["r-2".to_owned()],
            other => panic!("{other:?}"),
        };
        ok(json!({"tags": tags}).to_string())
    })
    .await;
    assert_eq!(wanted(&registry, "r-0").await.unwrap().len(), 1001);
    assert_eq!(registry.seen().len(), 2);
}

#[test_case(ok("{"); "not json")]
#[test_case(ok(r#"{"tags":[]}"#).with("link", "<?x=1&n=1000&last=r-1>; rel=\"next\""); "empty pages without an end")]
#[test_case(ok(r#"{"tags":["r-2"]}"#).with("link", "<?n=1000&last=r-1>; rel=\"next\""); "the same page again")]
#[test_case(ok(r#"{"tags":["r-2"]}"#).with("link", "<http://127.0.0.1:9/>; rel=\"next\""); "another server")]
#[tokio::test]
async fn a_hostile_list_of_tags_with_a_prefix_is_an_error(answer: ScriptedAnswer) {
    let registry = ScriptedRegistry::answering(vec![answer]).await;
    let fault = wanted(&registry, "r-1").await.unwrap_err();
    assert!(matches!(fault, RegistryFault::Malformed { .. }), "{fault}");
    assert!(registry.seen().len() <= 40, "{}", registry.seen().len());
}
