//! Uploads of blobs that something else than a registry has.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use std::sync::atomic::{AtomicUsize, Ordering};
use test_case::test_case;

use super::model::{Abilities, KeptState, ModelRegistry};
use super::scripted::{ScriptedAnswer, SeenRequest, error, status};
use super::{TestRun, repository_name};
use crate::registry::{
    BlobPieces, BlobSize, BlobSource, BlobSourceError, RegistryError, RegistryFault, SentBlob,
};
use crate::types::Digest;
use crate::types::causes::in_one_line;

const CONTENT: &[u8] = b"the content of a layer";

/// A source of one content, in pieces of three bytes.
struct Source {
    pieces: Vec<&'static [u8]>,
    opened: AtomicUsize,
    /// The number of pieces after which it fails.
    fails_after: Option<usize>,
}

impl Source {
    fn of(content: &'static [u8]) -> Self {
        Self {
            pieces: content.chunks(3).collect(),
            opened: AtomicUsize::new(0),
            fails_after: None,
        }
    }
}

impl BlobSource for Source {
    async fn open(&self, _: &Digest) -> Result<BlobPieces, BlobSourceError> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        if self.fails_after == Some(0) {
            return Err(BlobSourceError::new("it is gone"));
        }
        let taken = self.fails_after.unwrap_or(usize::MAX);
        let pieces = self.pieces.iter().take(taken);
        let mut pieces: Vec<_> = pieces.map(|piece| Ok(Bytes::from_static(piece))).collect();
        if self.fails_after.is_some() {
            let gone = BlobSourceError::new("the connection broke");
            pieces.push(Err(RegistryFault::Source(gone)));
        }
        Ok(stream::iter(pieces).boxed())
    }
}

fn blob() -> BlobSize {
    BlobSize {
        digest: Digest::sha256(CONTENT),
        size: CONTENT.len() as u64,
    }
}

/// Gives a blob to the repository `new`, perhaps from the repository `from`.
async fn give(
    registry: &ModelRegistry,
    from: Option<&str>,
    source: &Source,
) -> Result<SentBlob, RegistryError> {
    let run = TestRun::new();
    let repository = run.repository(&registry.http.repository("new"));
    let from = from.map(|from| repository_name(&registry.http.repository(from)));
    repository
        .give_blob(&blob(), from.as_ref(), source, &|_| {})
        .await
}

async fn registry_with(path: &str) -> ModelRegistry {
    let registry = ModelRegistry::start(Abilities::ALL).await;
    registry
        .state()
        .entry(path.to_owned())
        .or_default()
        .blobs
        .insert(blob().digest.to_string(), CONTENT.to_vec());
    registry
}

fn has_it(registry: &ModelRegistry) -> bool {
    let kept = registry.kept("new");
    kept.blobs.get(blob().digest.as_str()).map(Vec::as_slice) == Some(CONTENT)
}

#[tokio::test]
async fn a_new_blob_takes_two_requests() {
    let registry = ModelRegistry::start(Abilities::ALL).await;
    let source = Source::of(CONTENT);
    let given = give(&registry, None, &source).await.unwrap();
    assert_eq!(given, SentBlob::Sent);
    assert!(has_it(&registry));
    assert_eq!(
        registry.http.lines(),
        ["POST /v2/new/blobs/uploads/", "PUT /v2/new/blobs/uploads/1"]
    );
}

#[test_case("other"; "another repository has it")]
#[test_case("new"; "the repository itself has it")]
#[tokio::test]
async fn a_blob_that_the_registry_has_takes_one_request_and_is_not_read(from: &'static str) {
    let registry = registry_with(from).await;
    let source = Source::of(CONTENT);
    let given = give(&registry, Some(from), &source).await.unwrap();
    assert_eq!(given, SentBlob::Mounted);
    assert!(has_it(&registry));
    assert_eq!(registry.http.lines(), ["POST /v2/new/blobs/uploads/"]);
    assert_eq!(source.opened.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_answer_that_does_not_mount_begins_the_upload() {
    let registry = ModelRegistry::start(Abilities {
        mounts: false,
        ..Abilities::ALL
    })
    .await;
    let source = Source::of(CONTENT);
    let given = give(&registry, Some("other"), &source).await.unwrap();
    assert_eq!(given, SentBlob::Sent);
    assert!(has_it(&registry));
    assert_eq!(registry.http.lines().len(), 2);
}

/// Fails the first request with this method.
fn failing(
    method: &'static str,
    answer: ScriptedAnswer,
) -> impl FnMut(&SeenRequest, &mut KeptState) -> Option<ScriptedAnswer> + Send {
    let mut answer = Some(answer);
    move |request, _| (request.method == method).then(|| answer.take())?
}

#[test_case("POST", error(403, "DENIED", "no mounts"); "a mount is denied")]
#[test_case("POST", status(405); "mounts are not allowed")]
#[test_case("POST", status(503); "the beginning fails")]
#[test_case("PUT", status(502); "the upload fails")]
#[test_case("PUT", ScriptedAnswer::Closed; "the connection breaks")]
#[test_case("PUT", status(429).with("retry-after", "7"); "too many requests")]
#[tokio::test]
async fn a_failed_upload_begins_again(method: &'static str, answer: ScriptedAnswer) {
    let fault = failing(method, answer);
    let registry = ModelRegistry::with_faults(Abilities::ALL, fault).await;
    let source = Source::of(CONTENT);
    give(&registry, Some("other"), &source).await.unwrap();
    assert!(has_it(&registry));
}

#[tokio::test]
async fn the_bytes_that_were_sent_are_counted_again_after_a_failure() {
    let fault = failing("PUT", status(502));
    let registry = ModelRegistry::with_faults(Abilities::ALL, fault).await;
    let run = TestRun::new();
    let repository = run.repository(&registry.http.repository("new"));
    let seen = std::sync::Mutex::new(Vec::new());
    let source = Source::of(CONTENT);
    let handed = |bytes| seen.lock().unwrap().push(bytes);
    let given = repository.give_blob(&blob(), None, &source, &handed).await;
    assert_eq!(given.unwrap(), SentBlob::Sent);
    let seen = seen.lock().unwrap().clone();
    let resets = seen.iter().filter(|bytes| **bytes == 0).count();
    assert_eq!((resets, seen.last()), (1, Some(&blob().size)));
}

#[test_case(Some(0), CONTENT, "it is gone"; "it cannot be opened")]
#[test_case(Some(2), CONTENT, "the connection broke"; "it breaks")]
#[test_case(None, b"the content of another", "found"; "it has another digest")]
#[test_case(None, b"too short", "bytes"; "it is too short")]
#[tokio::test]
async fn a_source_that_fails_ends_the_upload_and_nothing_is_stored(
    fails_after: Option<usize>,
    content: &'static [u8],
    reason: &str,
) {
    let registry = ModelRegistry::start(Abilities {
        mounts: false,
        ..Abilities::ALL
    })
    .await;
    let source = Source {
        fails_after,
        ..Source::of(content)
    };
    let failure = give(&registry, Some("other"), &source).await.unwrap_err();
    assert!(in_one_line(&failure).contains(reason), "{failure:?}");
    assert!(!has_it(&registry));
    assert_eq!(source.opened.load(Ordering::Relaxed), 1);
}
