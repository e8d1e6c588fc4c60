//! Transfers of single blobs: failures, wrong content, and limits.

use std::sync::Mutex;

use test_case::test_case;

use super::{TestCopy, assert_same, image};
use crate::registry::tests::TestRun;
use crate::registry::tests::model::{Abilities, KeptState, ModelRegistry};
use crate::registry::tests::scripted::{
    ScriptedAnswer, ScriptedRegistry, SeenRequest, error, ok, status,
};
use crate::registry::{
    BlobFate, CopyCounts, CopyError, CopyProgress, RegistryAct, RegistryFault, copy_image,
};
use crate::types::Digest;
use crate::types::causes::in_one_line;

/// Fails the first `times` requests with this method and part of the path.
fn failing(
    method: &'static str,
    part: &'static str,
    times: usize,
    answer: ScriptedAnswer,
) -> impl FnMut(&SeenRequest, &mut KeptState) -> Option<ScriptedAnswer> + Send {
    let mut left = times;
    move |request, _| {
        let is_wanted = request.method == method && request.target.contains(part);
        if !is_wanted || left == 0 {
            return None;
        }
        left -= 1;
        Some(answer.clone())
    }
}

async fn copy_one_with(
    source: ModelRegistry,
    target: ModelRegistry,
) -> (TestCopy, Result<CopyCounts, CopyError>) {
    let copy = TestCopy {
        run: TestRun::new(),
        source,
        target,
        progress: Mutex::default(),
    };
    let one = copy.source(|kept| image(kept, "one", &[]));
    let result = copy.copy(&one).await;
    (copy, result)
}

#[test_case("GET", ScriptedAnswer::Truncated(b"on".to_vec()); "truncated")]
#[test_case("GET", ScriptedAnswer::Closed; "source closed")]
#[test_case("GET", status(503); "source unavailable")]
#[test_case("PUT", ScriptedAnswer::Closed; "target closed")]
#[test_case("PUT", status(502); "target unavailable")]
#[test_case("POST", status(429).with("retry-after", "7"); "too many requests")]
#[tokio::test]
async fn a_failed_transfer_begins_again(method: &'static str, answer: ScriptedAnswer) {
    let fault = failing(method, "/blobs/", 2, answer);
    let (source, target) = if method == "GET" {
        let source = ModelRegistry::with_faults(Abilities::ALL, fault).await;
        (source, ModelRegistry::start(Abilities::ALL).await)
    } else {
        let source = ModelRegistry::start(Abilities::ALL).await;
        (
            source,
            ModelRegistry::with_faults(Abilities::ALL, fault).await,
        )
    };
    let (copy, counts) = copy_one_with(source, target).await;
    assert_eq!(counts.unwrap().sent_blobs, 1);
    assert_same(&copy);
    assert_eq!(copy.run.pauses().len(), 2);
    let progress = copy.progress.lock().unwrap();
    let again = CopyProgress::Sending {
        digest: Digest::sha256(b"one"),
        sent: 0,
        size: 3,
    };
    let begun = progress.iter().filter(|event| **event == again);
    assert_eq!(begun.count(), 2, "{progress:?}");
    let done = CopyProgress::Blob {
        digest: Digest::sha256(b"one"),
        size: 3,
        fate: BlobFate::Sent,
    };
    assert!(progress.contains(&done));
}

#[test_case(b"two", "expected `sha256:"; "other content")]
#[test_case(b"on", "does not have 3 bytes"; "too short")]
#[test_case(b"one and more", "does not have 3 bytes"; "too long")]
#[tokio::test]
async fn wrong_content_never_reaches_the_target(content: &'static [u8], expected: &str) {
    let answer = ok(content);
    let fault = failing("GET", "/blobs/", 1, answer);
    let source = ModelRegistry::with_faults(Abilities::ALL, fault).await;
    let target = ModelRegistry::start(Abilities::ALL).await;
    let (copy, result) = copy_one_with(source, target).await;
    let failure = result.unwrap_err();
    let text = in_one_line(&failure);
    let place = copy.source.http.repository("a");
    assert!(
        text.starts_with(&format!("cannot read the blob `{place}@sha256:")),
        "{text}"
    );
    assert!(text.contains(expected), "{text}");
    let kept = copy.target.kept("b");
    assert!(kept.blobs.is_empty() && kept.manifests.is_empty());
    // The script sees a request only when all of it has arrived.
    assert!(!copy.writes().iter().any(|line| line.starts_with("PUT")));
}

#[tokio::test]
async fn an_endless_blob_is_an_error() {
    let fault = failing("GET", "/blobs/", 1, ScriptedAnswer::Endless);
    let source = ModelRegistry::with_faults(Abilities::ALL, fault).await;
    let target = ModelRegistry::start(Abilities::ALL).await;
    let (_, result) = copy_one_with(source, target).await;
    let text = in_one_line(&result.unwrap_err());
    assert!(text.ends_with("the blob does not have 3 bytes"), "{text}");
}

#[tokio::test]
async fn refusals_of_the_target_are_errors_that_name_the_blob() {
    let fault = failing("PUT", "/blobs/", 1, error(400, "DIGEST_INVALID", "no"));
    let source = ModelRegistry::start(Abilities::ALL).await;
    let target = ModelRegistry::with_faults(Abilities::ALL, fault).await;
    let (copy, result) = copy_one_with(source, target).await;
    let failure = result.unwrap_err();
    let CopyError::Request(failure) = failure else {
        panic!("{failure:?}");
    };
    assert_eq!(failure.act, RegistryAct::UploadBlob);
    let blob = format!("b@{}", Digest::sha256(b"one"));
    assert_eq!(failure.place, copy.target.http.repository(&blob));
    assert!(copy.target.kept("b").manifests.is_empty());
}

#[tokio::test]
async fn the_upload_is_authorized_again_if_the_target_wants_it() {
    // The password is wanted for the upload of the body only, so it is not sent in advance.
    let target = ModelRegistry::with_faults(Abilities::ALL, |request, _| {
        let is_upload = request.method == "PUT" && request.target.contains("/blobs/");
        let is_denied = is_upload && request.header("authorization").is_empty();
        is_denied.then(|| status(401).with("www-authenticate", "Basic realm=x"))
    })
    .await;
    let copy = TestCopy {
        run: TestRun::with_password(&target.http.host(), "u", "hunter2"),
        source: ModelRegistry::start(Abilities::ALL).await,
        target,
        progress: Mutex::default(),
    };
    let one = copy.source(|kept| image(kept, "one", &[]));
    assert_eq!(copy.copy(&one).await.unwrap().sent_blobs, 1);
    let seen = copy.source.http.seen();
    assert!(seen.iter().all(|r| r.header("authorization").is_empty()));
    assert!(copy.run.pauses().is_empty());
}

#[tokio::test]
async fn a_stopped_run_ends_its_copy_at_once() {
    let fault = failing("PUT", "/blobs/", 1, ScriptedAnswer::Silence);
    let source = ModelRegistry::start(Abilities::ALL).await;
    let target = ModelRegistry::with_faults(Abilities::ALL, fault).await;
    let run = TestRun::new();
    let one = {
        let mut state = source.state();
        image(state.entry("a".to_owned()).or_default(), "one", &[])
    };
    let from = run.repository(&source.http.repository("a"));
    let to = run.repository(&target.http.repository("b"));
    let digest: Digest = one.parse().unwrap();
    let copy = tokio::spawn(async move { copy_image(&from, &to, &digest, &|_| {}).await });
    target.http.is_silent().await;
    run.stop.cancel();
    let failure = copy.await.unwrap().unwrap_err();
    let CopyError::Request(failure) = failure else {
        panic!("{failure:?}");
    };
    assert!(matches!(failure.fault, RegistryFault::Stopped));
}

#[tokio::test]
async fn a_target_that_takes_nothing_is_left_after_a_minute() {
    let fault = failing("PUT", "/blobs/", 1, ScriptedAnswer::Silence);
    let source = ModelRegistry::start(Abilities::ALL).await;
    let target = ModelRegistry::with_faults(Abilities::ALL, fault).await;
    let silent = async {
        target.http.is_silent().await;
        tokio::time::pause();
    };
    let run = TestRun::new();
    let one = {
        let mut state = source.state();
        image(state.entry("a".to_owned()).or_default(), "one", &[])
    };
    let from = run.repository(&source.http.repository("a"));
    let to = run.repository(&target.http.repository("b"));
    let digest: Digest = one.parse().unwrap();
    let copy = tokio::spawn(async move { copy_image(&from, &to, &digest, &|_| {}).await });
    silent.await;
    let asked = tokio::time::Instant::now();
    tokio::task::yield_now().await;
    while run.pauses().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    let waited = asked.elapsed();
    tokio::time::resume();
    assert!(waited.as_secs() >= 59, "{waited:?}");
    assert_eq!(copy.await.unwrap().unwrap().sent_blobs, 1);
}

#[tokio::test]
async fn at_most_four_blobs_are_sent_at_once() {
    let source = ModelRegistry::start(Abilities::ALL).await;
    let target = ModelRegistry::with_faults(Abilities::ALL, |request, _| {
        (request.method == "PUT").then_some(ScriptedAnswer::Silence)
    })
    .await;
    let run = TestRun::new();
    let names = ["1", "2", "3", "4", "5", "6", "7"];
    let images: Vec<Digest> = {
        let mut state = source.state();
        let kept = state.entry("a".to_owned()).or_default();
        let images = ["one", "two"].map(|name| image(kept, name, &names));
        images.map(|digest| digest.parse().unwrap()).into()
    };
    // The limit is for both copies.
    let copies: Vec<_> = images
        .into_iter()
        .map(|digest| {
            let from = run.repository(&source.http.repository("a"));
            let to = run.repository(&target.http.repository("b"));
            tokio::spawn(async move { copy_image(&from, &to, &digest, &|_| {}).await })
        })
        .collect();
    let sent = || {
        let lines = target.http.lines();
        lines.iter().filter(|line| line.starts_with("PUT")).count()
    };
    while sent() < 4 {
        target.http.is_silent().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(sent(), 4);
    run.stop.cancel();
    for copy in copies {
        assert!(copy.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn a_blob_is_read_from_another_server_without_the_password() {
    let storage = ScriptedRegistry::answering(vec![ok("one")]).await;
    let place = storage.url("/bucket/blob?signature=x");
    let source = ModelRegistry::with_faults(Abilities::ALL, move |request, _| {
        if request.header("authorization").is_empty() {
            return Some(status(401).with("www-authenticate", "Basic realm=x"));
        }
        let is_blob = request.target.contains("/blobs/");
        is_blob.then(|| status(307).with("location", &place))
    })
    .await;
    let copy = TestCopy {
        run: TestRun::with_password(&source.http.host(), "u", "hunter2"),
        source,
        target: ModelRegistry::start(Abilities::ALL).await,
        progress: Mutex::default(),
    };
    let one = copy.source(|kept| image(kept, "one", &[]));
    assert_eq!(copy.copy(&one).await.unwrap().sent_blobs, 1);
    assert_same(&copy);
    let seen = storage.seen();
    assert_eq!(seen[0].target, "/bucket/blob?signature=x");
    for request in seen.iter().chain(&copy.target.http.seen()) {
        assert!(request.header("authorization").is_empty());
    }
}
