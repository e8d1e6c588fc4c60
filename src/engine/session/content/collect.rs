//! Receives the small blobs of a cache, without its layers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use rbake_proto::content::{WriteAction, WriteContentRequest, WriteContentResponse};
use tonic::{Status, Streaming};

use super::digest;
use super::write::already_exists;
use crate::types::Digest;

/// What containerd puts before the digest of a layer when it names the write (`MakeRefKey` in core/remotes/handlers.go).
const LAYER: &str = "layer-";
/// The most bytes of all blobs together.
const LIMIT: usize = 64 << 20;

/// Blobs that the daemon has written, in memory.
///
/// Claims to have every layer, so that the daemon sends none. A cache export to such a store yields the manifest and the
/// configuration of the cache; the daemon has computed the layers, and has them in its own store.
#[derive(Debug, Clone, Default)]
pub struct CollectedBlobs(Arc<Mutex<BTreeMap<Digest, Bytes>>>);

impl PartialEq for CollectedBlobs {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for CollectedBlobs {}

impl CollectedBlobs {
    /// The blob `digest`, whose digest was checked. `None` if the daemon did not write it.
    pub(crate) fn get(&self, digest: &Digest) -> Option<Bytes> {
        let blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.get(digest).cloned()
    }

    fn add(&self, digest: Digest, bytes: Bytes) -> Result<(), Status> {
        let mut blobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held: usize = blobs.values().map(Bytes::len).sum();
        if held + bytes.len() > LIMIT {
            return Err(too_large());
        }
        blobs.insert(digest, bytes);
        Ok(())
    }
}

/// One `Write` call.
pub(super) struct Collecting {
    blobs: CollectedBlobs,
    requests: Streaming<WriteContentRequest>,
    started: SystemTime,
    received: BytesMut,
    total: i64,
    expected: Option<Digest>,
    is_complete: bool,
}

impl Collecting {
    pub(super) fn new(blobs: CollectedBlobs, requests: Streaming<WriteContentRequest>) -> Self {
        Self {
            blobs,
            requests,
            started: SystemTime::now(),
            received: BytesMut::new(),
            total: 0,
            expected: None,
            is_complete: false,
        }
    }

    /// Processes the next request and returns the answer. `None` if there are no more requests.
    pub(super) async fn answer(&mut self) -> Result<Option<WriteContentResponse>, Status> {
        if self.is_complete {
            return Ok(None);
        }
        let Some(request) = self.requests.message().await? else {
            return Ok(None);
        };
        if !request.expected.is_empty() {
            let expected = digest(&request.expected)?;
            if request.r#ref.starts_with(LAYER) || self.blobs.get(&expected).is_some() {
                return Err(already_exists(&expected));
            }
            self.expected = Some(expected);
        }
        if request.total > 0 {
            self.total = request.total;
        }
        let action = request.action();
        if action != WriteAction::Stat {
            self.write(&request)?;
        }
        let mut response = WriteContentResponse {
            action: request.action,
            started_at: Some(self.started.into()),
            updated_at: Some(SystemTime::now().into()),
            offset: self.offset(),
            total: self.total,
            ..WriteContentResponse::default()
        };
        if action == WriteAction::Commit {
            response.digest = self.commit()?.to_string();
        }
        Ok(Some(response))
    }

    fn offset(&self) -> i64 {
        i64::try_from(self.received.len()).unwrap_or(i64::MAX)
    }

    /// Appends the data of a request. A request may only continue at the current offset, or start again at 0.
    fn write(&mut self, request: &WriteContentRequest) -> Result<(), Status> {
        if request.offset == 0 && !request.data.is_empty() {
            self.received.clear();
        } else if request.offset != 0 && request.offset != self.offset() {
            let message = format!(
                "write at {} must occur at offset {}",
                request.offset,
                self.offset()
            );
            return Err(Status::out_of_range(message));
        }
        if self.received.len() + request.data.len() > LIMIT {
            return Err(too_large());
        }
        self.received.extend_from_slice(&request.data);
        Ok(())
    }

    fn commit(&mut self) -> Result<Digest, Status> {
        self.is_complete = true;
        let bytes = self.received.split().freeze();
        let found = Digest::sha256(&bytes);
        if self
            .expected
            .as_ref()
            .is_some_and(|expected| *expected != found)
        {
            return Err(Status::failed_precondition(format!(
                "the blob has the digest {found}"
            )));
        }
        self.blobs.add(found.clone(), bytes)?;
        Ok(found)
    }
}

fn too_large() -> Status {
    Status::resource_exhausted(format!("more than {LIMIT} bytes were written"))
}

#[cfg(test)]
mod tests {
    use rbake_proto::content::WriteContentResponse;
    use rbake_proto::content::content_client::ContentClient;
    use test_case::test_case;
    use tonic::Code;
    use tonic::transport::Channel;

    use super::super::{ContentStores, STORE_KEY, StoreAccess};
    use super::*;
    use crate::engine::session::peer;

    async fn client(blobs: &CollectedBlobs) -> ContentClient<Channel> {
        let store = ("local:c".to_owned(), StoreAccess::Collect(blobs.clone()));
        ContentClient::new(peer::channel(&ContentStores::new(BTreeMap::from([store]))).await)
    }

    fn message(action: WriteAction, name: &str, offset: i64, data: &[u8]) -> WriteContentRequest {
        WriteContentRequest {
            action: action.into(),
            r#ref: name.to_owned(),
            total: 6,
            expected: Digest::sha256(b"abcdef").to_string(),
            offset,
            data: Bytes::copy_from_slice(data),
            labels: BTreeMap::new(),
        }
    }

    /// Sends all messages of one write. Returns the last answer.
    async fn write(
        blobs: &CollectedBlobs,
        messages: Vec<WriteContentRequest>,
    ) -> Result<WriteContentResponse, Status> {
        let mut request = tonic::Request::new(tokio_stream::iter(messages));
        request
            .metadata_mut()
            .insert(STORE_KEY, "local:c".parse().unwrap());
        let mut answers = client(blobs).await.write(request).await?.into_inner();
        let mut last = WriteContentResponse::default();
        while let Some(answer) = answers.message().await? {
            last = answer;
        }
        Ok(last)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_configuration_is_collected_and_a_layer_is_not_taken() {
        let blobs = CollectedBlobs::default();
        let digest = Digest::sha256(b"abcdef");
        let layer = format!("layer-{digest}");
        let refused = write(&blobs, vec![message(WriteAction::Stat, &layer, 0, b"")]).await;
        assert_eq!(refused.unwrap_err().code(), Code::AlreadyExists);
        assert_eq!(blobs.get(&digest), None);

        let name = digest.as_str();
        let messages = vec![
            message(WriteAction::Stat, name, 0, b""),
            message(WriteAction::Write, name, 0, b"abc"),
            message(WriteAction::Write, name, 3, b"def"),
            message(WriteAction::Commit, name, 6, b""),
        ];
        let written = write(&blobs, messages).await.unwrap();
        assert_eq!((written.digest.as_str(), written.offset), (name, 6));
        assert_eq!(blobs.get(&digest).as_deref(), Some(&b"abcdef"[..]));

        let again = write(&blobs, vec![message(WriteAction::Stat, name, 0, b"")]).await;
        assert_eq!(again.unwrap_err().code(), Code::AlreadyExists);
    }

    #[test_case(0, b"abcdeX", Code::FailedPrecondition; "another content")]
    #[test_case(3, b"abc", Code::OutOfRange; "a gap")]
    #[tokio::test(flavor = "multi_thread")]
    async fn a_wrong_blob_is_refused(offset: i64, data: &[u8], code: Code) {
        let blobs = CollectedBlobs::default();
        let messages = vec![message(WriteAction::Commit, "config", offset, data)];
        let refused = write(&blobs, messages).await;
        assert_eq!(refused.unwrap_err().code(), code);
        assert_eq!(blobs.get(&Digest::sha256(data)), None);
    }
}
