//! Which requests are repeated, how often, and after which pauses.

use std::time::Duration;

use test_case::test_case;

use super::scripted::{ScriptedAnswer, ScriptedRegistry, error, status};
use super::{TestRun, tag};
use crate::registry::{Deletion, RegistryAct, RegistryError, RegistryFault, RequestCounts};
use crate::types::causes::in_one_line;

fn fault_of<T: std::fmt::Debug>(result: Result<T, RegistryError>) -> RegistryFault {
    result.unwrap_err().fault
}

#[test_case(status(408); "request timeout")]
#[test_case(status(429); "too many requests")]
#[test_case(status(500); "internal error")]
#[test_case(status(502); "bad gateway")]
#[test_case(status(503); "unavailable")]
#[test_case(status(504); "gateway timeout")]
#[test_case(ScriptedAnswer::Closed; "closed connection")]
#[tokio::test]
async fn a_request_is_repeated_after_a_passing_failure(answer: ScriptedAnswer) {
    let answers = vec![answer.clone(), answer, status(202)];
    let registry = ScriptedRegistry::answering(answers).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    assert_eq!(
        repository.delete(&tag("1")).await.unwrap(),
        Deletion::Deleted
    );
    assert_eq!(registry.lines(), ["DELETE /v2/a/manifests/1"; 3]);
    let pauses = run.pauses();
    assert_eq!(pauses.len(), 2);
    assert!(pauses[0] <= Duration::from_millis(250), "{pauses:?}");
    assert!(pauses[1] <= Duration::from_millis(500), "{pauses:?}");
    let expected = RequestCounts {
        delete: 3,
        ..RequestCounts::default()
    };
    assert_eq!(run.registries.counts()[&registry.host()], expected);
}

#[tokio::test]
async fn a_truncated_answer_is_read_again() {
    let whole = super::scripted::ok(r#"{"tags":["1"]}"#);
    let answers = vec![ScriptedAnswer::Truncated(b"{\"tags\":[]}".to_vec()), whole];
    let registry = ScriptedRegistry::answering(answers).await;
    let run = TestRun::new();
    let tags = run.repository(&registry.repository("a")).tags().await;
    assert_eq!(tags.unwrap().unwrap().len(), 1);
    assert_eq!(run.pauses().len(), 1);
}

#[test_case(400, "NAME_INVALID")]
#[test_case(405, "OTHER"; "405")]
#[test_case(409, "CONFLICT")]
#[test_case(413, "SIZE_INVALID")]
#[test_case(501, "NOT_IMPLEMENTED")]
#[tokio::test]
async fn other_error_statuses_are_permanent_and_have_the_registrys_words(code: u16, name: &str) {
    let registry = ScriptedRegistry::answering(vec![error(code, name, "no\u{1b}[2J")]).await;
    let run = TestRun::new();
    let tags = run.repository(&registry.repository("a")).tags().await;
    let failure = tags.unwrap_err();
    assert!(!failure.is_transient());
    assert_eq!(failure.act, RegistryAct::ListTags);
    let reason = http::StatusCode::from_u16(code).unwrap();
    let reason = reason.canonical_reason().unwrap();
    let expected = format!(
        "cannot list the tags of `{}/a`: the registry answered {code} {reason}: {name}: no\\u001b[2J",
        registry.host()
    );
    assert_eq!(in_one_line(&failure), expected);
    assert_eq!(registry.seen().len(), 1);
    assert!(run.pauses().is_empty());
}

#[test_case("7", 7; "seconds")]
#[test_case("100000", 60; "too long")]
#[test_case("Thu, 01 Jan 1970 00:01:50 GMT", 10; "date")]
#[tokio::test]
async fn the_registrys_own_pause_takes_precedence(header: &str, seconds: u64) {
    let answers = vec![status(429).with("retry-after", header), status(202)];
    let registry = ScriptedRegistry::answering(answers).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    repository.delete(&tag("1")).await.unwrap();
    assert_eq!(run.pauses(), [Duration::from_secs(seconds)]);
}

#[tokio::test]
async fn a_request_is_sent_six_times_at_most() {
    let registry = ScriptedRegistry::answering(vec![error(503, "UNAVAILABLE", "busy")]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let failure = repository.delete(&tag("1")).await.unwrap_err();
    assert!(failure.is_transient());
    let text = in_one_line(&failure);
    assert!(
        text.ends_with(
            "gave up after 6 tries: the registry answered 503 Service Unavailable: UNAVAILABLE: busy"
        ),
        "{text}"
    );
    assert_eq!((registry.seen().len(), run.pauses().len()), (6, 5));
}

#[tokio::test]
async fn a_registry_that_is_down_uses_up_the_retries_of_the_run() {
    let registry = ScriptedRegistry::answering(vec![status(503)]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    for _ in 0..30 {
        let fault = fault_of(repository.delete(&tag("1")).await);
        assert!(matches!(fault, RegistryFault::GaveUp { .. }), "{fault}");
    }
    // Each request is sent once, and twenty times again all together.
    assert_eq!((registry.seen().len(), run.pauses().len()), (50, 20));
    let fault = fault_of(repository.delete(&tag("1")).await);
    assert_eq!(fault.to_string(), "gave up after 1 try");
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_and_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let run = TestRun::new();
    let failure = run.repository(&format!("{address}/a")).tags().await;
    let failure = failure.unwrap_err();
    assert!(failure.is_transient() && failure.is_unreachable());
    assert_eq!(run.pauses().len(), 1);
    let text = in_one_line(&failure);
    assert!(text.contains("the registry could not be reached"), "{text}");
    assert!(text.contains("refused"), "{text}");
    assert!(!text.contains("/v2/"), "no URL is shown: {text}");
}

#[tokio::test]
async fn a_silent_registry_is_left_after_thirty_seconds() {
    let answers = vec![ScriptedAnswer::Silence, status(202)];
    let registry = ScriptedRegistry::answering(answers).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let name = tag("1");
    let request = tokio::spawn(async move { repository.delete(&name).await });
    registry.is_silent().await;
    let asked = tokio::time::Instant::now();
    // The time jumps to the next timer while the runtime has nothing to do.
    tokio::time::pause();
    tokio::task::yield_now().await;
    while registry.seen().len() < 2 {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let waited = asked.elapsed();
    tokio::time::resume();
    assert_eq!(request.await.unwrap().unwrap(), Deletion::Deleted);
    assert!(waited >= Duration::from_secs(29), "{waited:?}");
    assert_eq!(run.pauses().len(), 1);
}

#[tokio::test]
async fn a_stopped_run_ends_its_requests_at_once() {
    let registry = ScriptedRegistry::answering(vec![ScriptedAnswer::Silence]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let (name, other) = (tag("1"), repository.clone());
    let request = tokio::spawn(async move { repository.delete(&name).await });
    registry.is_silent().await;
    run.stop.cancel();
    let fault = fault_of(request.await.unwrap());
    assert!(matches!(fault, RegistryFault::Stopped), "{fault}");
    assert!(matches!(
        fault_of(other.tags().await),
        RegistryFault::Stopped
    ));
    assert_eq!(registry.seen().len(), 1);
}

#[tokio::test]
async fn at_most_sixteen_requests_are_under_way() {
    let registry = ScriptedRegistry::answering(vec![ScriptedAnswer::Silence]).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let requests: Vec<_> = (0..40)
        .map(|_| {
            let repository = repository.clone();
            tokio::spawn(async move { repository.tags().await })
        })
        .collect();
    while registry.seen().len() < 16 {
        registry.is_silent().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(registry.seen().len(), 16);
    run.stop.cancel();
    for request in requests {
        assert!(request.await.unwrap().is_err());
    }
}
