//! Challenges, tokens and passwords: who gets them, and how often they are fetched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use test_case::test_case;

use super::scripted::{ScriptedAnswer, ScriptedRegistry, SeenRequest, error, ok, status};
use super::{TestRun, repository_name, tag};
use crate::registry::{Deletion, PushRight, RegistryFault};

/// The challenge of distribution's token authentication.
fn challenge(request: &SeenRequest) -> ScriptedAnswer {
    let name = request.target.strip_prefix("/v2/").unwrap();
    let (name, _) = name.split_once('/').unwrap();
    let actions = match request.method.as_str() {
        "GET" | "HEAD" => "pull",
        "DELETE" => "delete",
        // Distribution names them in random order.
        _ => "push,pull",
    };
    let host = request.header("host");
    let header = format!(
        r#"Bearer realm="http://{host}/token",service="test",scope="repository:{name}:{actions}""#
    );
    error(401, "UNAUTHORIZED", "authentication required").with("www-authenticate", header)
}

/// A registry that gives numbered tokens, and accepts a request with a token that `accepts`.
async fn token_registry(
    lifetime: u64,
    accepts: impl Fn(&SeenRequest, &str) -> bool + Send + 'static,
) -> ScriptedRegistry {
    let mut tokens = 0;
    ScriptedRegistry::start(move |request| {
        if request.target.starts_with("/token") {
            tokens += 1;
            return ok(format!(
                r#"{{"token":"t{tokens}","expires_in":{lifetime}}}"#
            ));
        }
        match request.header("authorization").strip_prefix("Bearer ") {
            Some(token) if accepts(request, token) => match request.method.as_str() {
                "GET" => ok(r#"{"tags":[]}"#),
                "POST" => status(202).with("location", "/v2/x/blobs/uploads/1"),
                _ => status(202),
            },
            _ => challenge(request),
        }
    })
    .await
}

fn token_requests(registry: &ScriptedRegistry) -> Vec<String> {
    let seen = registry.seen().into_iter();
    seen.filter(|request| request.target.starts_with("/token"))
        .map(|request| request.target)
        .collect()
}

#[tokio::test]
async fn a_token_is_fetched_once_per_repository_and_in_advance_after_the_first_challenge() {
    let registry = token_registry(300, |_, _| true).await;
    let run = TestRun::new();
    for name in ["a", "a", "b"] {
        run.repository(&registry.repository(name))
            .tags()
            .await
            .unwrap();
    }
    let lines = registry.lines();
    assert_eq!(
        lines,
        [
            "GET /v2/a/tags/list",
            "GET /token",
            "GET /v2/a/tags/list",
            "GET /v2/a/tags/list",
            "GET /token",
            "GET /v2/b/tags/list",
        ]
    );
    assert_eq!(
        token_requests(&registry)[0],
        "/token?service=test&scope=repository%3Aa%3Apull"
    );
}

#[tokio::test]
async fn parallel_requests_share_one_token() {
    let registry = token_registry(300, |_, _| true).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let repository = repository.clone();
            tokio::spawn(async move { repository.tags().await })
        })
        .collect();
    for request in requests {
        assert!(request.await.unwrap().is_ok());
    }
    assert_eq!(token_requests(&registry).len(), 1);
}

#[tokio::test]
async fn a_failed_fetch_is_shared_by_the_requests_that_waited_for_it() {
    let registry = ScriptedRegistry::start(|request| {
        if request.target.starts_with("/token") {
            return error(403, "DENIED", "no");
        }
        challenge(request)
    })
    .await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    // Learns the challenge.
    assert!(repository.tags().await.is_err());
    let before = token_requests(&registry).len();
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let repository = repository.clone();
            tokio::spawn(async move { repository.tags().await })
        })
        .collect();
    for request in requests {
        let fault = request.await.unwrap().unwrap_err().fault;
        assert!(matches!(fault, RegistryFault::Credential(_)), "{fault}");
        assert!(fault.is_denial());
    }
    assert_eq!(token_requests(&registry).len(), before + 1);
}

#[tokio::test]
async fn a_token_is_renewed_ten_seconds_before_it_expires() {
    let registry = token_registry(30, |_, _| true).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let mut fetched = Vec::new();
    for seconds in [0, 19, 2] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
        repository.tags().await.unwrap();
        fetched.push(token_requests(&registry).len());
    }
    assert_eq!(fetched, [1, 1, 2]);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let first_valid = Arc::new(AtomicU64::new(1));
    let valid = Arc::clone(&first_valid);
    let is_valid = move |_: &SeenRequest, token: &str| {
        token[1..].parse::<u64>().unwrap() >= valid.load(Ordering::Relaxed)
    };
    let registry = token_registry(300, is_valid).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    repository.tags().await.unwrap();
    first_valid.store(2, Ordering::Relaxed);
    repository.tags().await.unwrap();
    assert_eq!(token_requests(&registry).len(), 2);
    // No token is valid any more.
    first_valid.store(99, Ordering::Relaxed);
    let failure = repository.tags().await.unwrap_err();
    assert_eq!(token_requests(&registry).len(), 3);
    assert!(!failure.is_transient());
    assert_eq!(
        failure.fault.to_string(),
        "the registry denies access (401 Unauthorized): UNAUTHORIZED: authentication required"
    );
}

#[tokio::test]
async fn a_scope_that_the_registry_asks_for_is_added() {
    let registry = token_registry(300, |request, token| {
        request.method != "DELETE" || token == "t3"
    })
    .await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    repository.tags().await.unwrap();
    assert_eq!(
        repository.delete(&tag("1")).await.unwrap(),
        Deletion::Deleted
    );
    assert_eq!(
        token_requests(&registry)[1..],
        [
            "/token?service=test&scope=repository%3Aa%3Apull%2Cpush",
            "/token?service=test&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Aa%3Adelete",
        ]
    );
}

#[tokio::test]
async fn a_mount_asks_for_the_right_to_read_the_other_repository() {
    let registry = token_registry(300, |_, _| true).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let digest = crate::types::Digest::sha256(b"x");
    let from = repository_name(&registry.repository("b"));
    assert!(!repository.mount_blob(&digest, &from).await.unwrap());
    assert_eq!(
        token_requests(&registry)[0],
        "/token?service=test&scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull"
    );
    let post = &registry.seen()[0].target;
    assert_eq!(*post, format!("/v2/a/blobs/uploads/?mount={digest}&from=b"));
}

#[tokio::test]
async fn a_token_server_that_is_busy_is_asked_again() {
    let mut asked = 0;
    let registry = ScriptedRegistry::start(move |request| {
        if request.target.starts_with("/token") {
            asked += 1;
            return match asked {
                1 => status(503),
                2 => ScriptedAnswer::Closed,
                _ => ok(r#"{"token":"t"}"#),
            };
        }
        match request.header("authorization") {
            "Bearer t" => ok(r#"{"tags":[]}"#),
            _ => challenge(request),
        }
    })
    .await;
    let run = TestRun::new();
    let tags = run.repository(&registry.repository("a")).tags().await;
    assert!(tags.is_ok(), "{tags:?}");
    assert_eq!(run.pauses().len(), 2);
}

/// A registry that wants the password `hunter2`.
async fn basic_registry() -> ScriptedRegistry {
    ScriptedRegistry::start(|request| match request.header("authorization") {
        // u:hunter2
        "Basic dTpodW50ZXIy" => ok(r#"{"tags":[]}"#),
        sent => error(401, "UNAUTHORIZED", &format!("got {sent}, not hunter2"))
            .with("www-authenticate", "Negotiate, Basic realm=\"test\""),
    })
    .await
}

#[tokio::test]
async fn a_password_is_sent_after_a_challenge_and_then_at_once() {
    let registry = basic_registry().await;
    let run = TestRun::with_password(&registry.host(), "u", "hunter2");
    for name in ["a", "b"] {
        run.repository(&registry.repository(name))
            .tags()
            .await
            .unwrap();
    }
    let sent: Vec<_> = registry
        .seen()
        .iter()
        .map(|request| !request.header("authorization").is_empty())
        .collect();
    assert_eq!(sent, [false, true, true]);
}

#[tokio::test]
async fn no_message_contains_a_password_that_the_registry_repeats() {
    let registry = basic_registry().await;
    let run = TestRun::with_password(&registry.host(), "u", "hunter22");
    let repository = run.repository(&registry.repository("a"));
    let failure = repository.tags().await.unwrap_err();
    let text = format!(
        "{failure:?} {}",
        crate::types::causes::in_one_line(&failure)
    );
    assert!(text.contains("got Basic xxxxx"), "{text}");
    let state = format!("{:?}", run.registries);
    for secret in ["hunter22", "dTpodW50ZXIyMg"] {
        assert!(!text.contains(secret), "{text}");
        assert!(!state.contains(secret), "{state}");
    }
    assert_eq!(registry.seen().len(), 2);
}

#[tokio::test]
async fn a_registry_that_wants_a_password_denies_access_if_there_is_none() {
    let registry = basic_registry().await;
    let run = TestRun::new();
    let repository = run.repository(&registry.repository("a"));
    let fault = repository.tags().await.unwrap_err().fault;
    assert!(matches!(fault, RegistryFault::Denied { status: 401, .. }));
    let right = repository.can_push().await.unwrap();
    assert!(matches!(right, PushRight::Denied { .. }), "{right:?}");
}

#[test_case("Digest realm=\"x\""; "unknown scheme")]
#[test_case("Bearer realm=\"x"; "malformed")]
#[test_case("Bearer realm=\"file:///etc/passwd\""; "not a web address")]
#[test_case("Bearer service=\"x\""; "no realm")]
#[tokio::test]
async fn an_unusable_challenge_is_an_error(header: &'static str) {
    let registry =
        ScriptedRegistry::answering(vec![status(401).with("www-authenticate", header)]).await;
    let run = TestRun::with_password(&registry.host(), "u", "hunter2");
    let fault = run.repository(&registry.repository("a")).tags().await;
    let fault = fault.unwrap_err().fault;
    assert!(!fault.is_transient(), "{fault}");
    assert_eq!(registry.seen().len(), 1);
    assert!(registry.seen()[0].header("authorization").is_empty());
}

#[test_case(301)]
#[test_case(302)]
#[test_case(303)]
#[test_case(307)]
#[test_case(308)]
#[tokio::test]
async fn a_redirect_to_another_server_is_followed_without_the_password(code: u16) {
    let other = ScriptedRegistry::answering(vec![ok(r#"{"tags":["1"]}"#)]).await;
    let place = other.url("/elsewhere?signature=1");
    let registry = ScriptedRegistry::start(move |request| {
        if request.header("authorization").is_empty() {
            return status(401).with("www-authenticate", "Basic realm=test");
        }
        status(code).with("location", &place)
    })
    .await;
    let run = TestRun::with_password(&registry.host(), "u", "hunter2");
    let tags = run.repository(&registry.repository("a")).tags().await;
    assert_eq!(tags.unwrap().unwrap().len(), 1);
    let seen = other.seen();
    assert_eq!(seen[0].target, "/elsewhere?signature=1");
    assert!(seen[0].header("authorization").is_empty(), "{seen:?}");
}

#[tokio::test]
async fn the_challenge_of_another_server_is_not_answered() {
    let other =
        ScriptedRegistry::answering(vec![status(401).with("www-authenticate", "Basic realm=x")])
            .await;
    let redirect = status(307).with("location", other.url("/x"));
    let registry = ScriptedRegistry::answering(vec![redirect]).await;
    let run = TestRun::with_password(&registry.host(), "u", "hunter2");
    let fault = run.repository(&registry.repository("a")).tags().await;
    assert!(matches!(
        fault.unwrap_err().fault,
        RegistryFault::Denied { status: 401, .. }
    ));
    assert_eq!((registry.seen().len(), other.seen().len()), (1, 1));
}

#[test_case("/v2/a/tags/list"; "loop")]
#[test_case("http://u:p@127.0.0.1:1/"; "user in the address")]
#[test_case("ftp://127.0.0.1/"; "another protocol")]
#[test_case("http://"; "no host")]
#[tokio::test]
async fn a_hostile_redirect_is_an_error(location: &'static str) {
    let registry = ScriptedRegistry::answering(vec![status(307).with("location", location)]).await;
    let run = TestRun::new();
    let fault = run.repository(&registry.repository("a")).tags().await;
    let fault = fault.unwrap_err().fault;
    assert!(matches!(fault, RegistryFault::Malformed { .. }), "{fault}");
    assert!(registry.seen().len() <= 6);
    assert!(run.pauses().is_empty());
}
