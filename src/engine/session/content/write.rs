//! Receives one blob: the requests and answers of a `Write` call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rbake_proto::content::{self, WriteAction, WriteContentRequest, WriteContentResponse};
use tonic::{Status, Streaming};

use super::layout::{Ingest, LayoutDirectory, LayoutError};
use super::{digest, layout_status, run};
use crate::types::Digest;

/// The longest ref in bytes, since it is kept while its write is in progress. Those of containerd hold a digest and a
/// few words.
const REF: usize = 4 << 10;

/// The writes that are in progress, by store and ref.
#[derive(Debug, Default)]
pub(super) struct Writes {
    current: Mutex<HashMap<(String, String), WriteProgress>>,
    last: Mutex<HashMap<String, Digest>>,
}

/// The progress of a write.
#[derive(Debug, Clone)]
pub(super) struct WriteProgress {
    started: SystemTime,
    updated: SystemTime,
    offset: u64,
    total: u64,
    expected: String,
}

impl Writes {
    fn map(&self) -> MutexGuard<'_, HashMap<(String, String), WriteProgress>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The blob of `store` that was announced last, whether it was written or existed before.
    pub(super) fn last(&self, store: &str) -> Option<Digest> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(store).cloned()
    }

    fn announced(&self, store: &str, digest: &Digest) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(store.to_owned(), digest.clone());
    }

    /// The state of one write. `None` if no such write is in progress.
    pub(super) fn status(&self, store: &str, name: &str) -> Option<content::Status> {
        let key = (store.to_owned(), name.to_owned());
        self.map().get(&key).map(|progress| progress.status(name))
    }

    /// The states of all writes to a store.
    pub(super) fn statuses(&self, store: &str) -> Vec<content::Status> {
        let map = self.map();
        let of_store = map.iter().filter(|((of, _), _)| of == store);
        of_store
            .map(|((_, name), progress)| progress.status(name))
            .collect()
    }

    /// Removes a write, which will fail at its next request. Returns whether there was one.
    pub(super) fn abort(&self, store: &str, name: &str) -> bool {
        let key = (store.to_owned(), name.to_owned());
        self.map().remove(&key).is_some()
    }

    /// Reserves the ref `name`. Fails if another write has it.
    fn begin(self: &Arc<Self>, store: &str, name: &str) -> Result<Claim, Status> {
        let key = (store.to_owned(), name.to_owned());
        let now = SystemTime::now();
        let mut map = self.map();
        if map.contains_key(&key) {
            return Err(Status::unavailable(format!(
                "`{name}` is locked: it is being written"
            )));
        }
        let progress = WriteProgress {
            started: now,
            updated: now,
            offset: 0,
            total: 0,
            expected: String::new(),
        };
        map.insert(key.clone(), progress);
        Ok(Claim {
            writes: Arc::clone(self),
            key,
            started: now,
        })
    }
}

impl WriteProgress {
    fn status(&self, name: &str) -> content::Status {
        content::Status {
            started_at: Some(self.started.into()),
            updated_at: Some(self.updated.into()),
            r#ref: name.to_owned(),
            offset: signed(self.offset),
            total: signed(self.total),
            expected: self.expected.clone(),
        }
    }
}

/// Protobuf has signed numbers here.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Reserves a ref for one write.
struct Claim {
    writes: Arc<Writes>,
    key: (String, String),
    started: SystemTime,
}

impl Claim {
    /// Changes the recorded progress. Fails if the write was aborted.
    fn update(&self, change: impl FnOnce(&mut WriteProgress)) -> Result<(), Status> {
        let mut map = self.writes.map();
        let progress = map
            .get_mut(&self.key)
            .filter(|progress| progress.started == self.started);
        let progress = progress.ok_or_else(|| Status::aborted("the write was aborted"))?;
        progress.updated = SystemTime::now();
        change(progress);
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut map = self.writes.map();
        // After an abort, another write may have reserved the same ref.
        if map
            .get(&self.key)
            .is_some_and(|progress| progress.started == self.started)
        {
            map.remove(&self.key);
        }
    }
}

/// One `Write` call.
pub(super) struct Write {
    layout: LayoutDirectory,
    requests: Streaming<WriteContentRequest>,
    /// The first request. It is read in advance, because it has the ref.
    first: Option<WriteContentRequest>,
    claim: Claim,
    /// `None` while a thread works on the blob, and after the commit.
    ingest: Option<Ingest>,
    total: u64,
    expected: Option<Digest>,
}

impl Write {
    /// Reads the first request, which has the ref, and reserves the ref.
    pub(super) async fn begin(
        layout: LayoutDirectory,
        store: &str,
        writes: &Arc<Writes>,
        mut requests: Streaming<WriteContentRequest>,
    ) -> Result<Self, Status> {
        let first = requests.message().await?;
        let first = first.ok_or_else(|| Status::invalid_argument("nothing was written"))?;
        if first.r#ref.is_empty() {
            return Err(Status::invalid_argument(
                "the first message must have a reference",
            ));
        }
        if first.r#ref.len() > REF {
            return Err(Status::invalid_argument(format!(
                "a reference cannot be longer than {REF} bytes"
            )));
        }
        let claim = writes.begin(store, &first.r#ref)?;
        let ingest = {
            let layout = layout.clone();
            run(move || layout.ingest_blob()).await?
        };
        Ok(Self {
            layout,
            requests,
            first: Some(first),
            claim,
            ingest: Some(ingest),
            total: 0,
            expected: None,
        })
    }

    /// Processes the next request and returns the answer. `None` if there are no more requests.
    pub(super) async fn answer(&mut self) -> Result<Option<WriteContentResponse>, Status> {
        let request = match self.first.take() {
            Some(first) => Some(first),
            // After the commit, no more requests are read.
            None if self.ingest.is_none() => None,
            None => self.requests.message().await?,
        };
        let Some(request) = request else {
            return Ok(None);
        };
        self.announce(&request).await?;
        let mut response = WriteContentResponse {
            action: request.action,
            ..WriteContentResponse::default()
        };
        let action = request.action();
        if action != WriteAction::Stat {
            self.write(&request).await?;
        }
        let offset = self.ingest.as_ref().map_or(0, Ingest::offset);
        self.claim.update(|progress| {
            progress.offset = offset;
            progress.total = self.total;
            let expected = self.expected.as_ref().map_or("", Digest::as_str);
            expected.clone_into(&mut progress.expected);
            response.started_at = Some(progress.started.into());
            response.updated_at = Some(progress.updated.into());
        })?;
        response.offset = signed(offset);
        response.total = signed(self.total);
        if action == WriteAction::Commit {
            response.digest = self.commit().await?.to_string();
            tracing::trace!(digest = %response.digest, bytes = self.total, "blob written");
        }
        Ok(Some(response))
    }

    /// Records the size and the digest, which any request may contain. Fails if the blob exists already.
    async fn announce(&mut self, request: &WriteContentRequest) -> Result<(), Status> {
        if let Ok(total @ 1..) = u64::try_from(request.total) {
            self.total = total;
        }
        if request.expected.is_empty() {
            return Ok(());
        }
        let expected = digest(&request.expected)?;
        self.expected = Some(expected.clone());
        let (store, _) = &self.claim.key;
        self.claim.writes.announced(store, &expected);
        let layout = self.layout.clone();
        let present = {
            let expected = expected.clone();
            run(move || layout.blob(&expected)).await?
        };
        if present.is_some() {
            return Err(already_exists(&expected));
        }
        Ok(())
    }

    /// Appends the data of a request. A request may only continue at the current offset, or start again at 0.
    async fn write(&mut self, request: &WriteContentRequest) -> Result<(), Status> {
        let gone = || Status::failed_precondition("the blob is already complete");
        let mut ingest = self.ingest.take().ok_or_else(gone)?;
        let offset = u64::try_from(request.offset)
            .map_err(|_| Status::out_of_range("an offset cannot be negative"))?;
        if offset > 0 && offset != ingest.offset() {
            let message = format!("write at {offset} must occur at offset {}", ingest.offset());
            return Err(Status::out_of_range(message));
        }
        // Data at offset 0 starts the blob again. A request without data does not, because a commit may have offset 0.
        let restart = offset == 0 && ingest.offset() > 0 && !request.data.is_empty();
        let data = request.data.clone();
        let ingest = run(move || {
            if restart {
                ingest.truncate()?;
            }
            ingest.write(&data)?;
            Ok(ingest)
        });
        self.ingest = Some(ingest.await?);
        Ok(())
    }

    /// Completes the blob. If it exists already, the answer is `AlreadyExists`, as from containerd.
    async fn commit(&mut self) -> Result<Digest, Status> {
        let gone = || Status::failed_precondition("the blob is already complete");
        let ingest = self.ingest.take().ok_or_else(gone)?;
        let total = Some(self.total).filter(|total| *total > 0);
        let expected = self.expected.clone();
        let committed =
            tokio::task::spawn_blocking(move || ingest.commit(total, expected.as_ref()));
        match committed.await {
            Ok(Ok((digest, false))) => Ok(digest),
            Ok(Ok((digest, true))) => Err(already_exists(&digest)),
            Ok(Err(error @ (LayoutError::WrongDigest { .. } | LayoutError::WrongSize { .. }))) => {
                Err(Status::failed_precondition(error.to_string()))
            }
            Ok(Err(error)) => Err(layout_status(&error)),
            Err(error) => Err(Status::internal(error.to_string())),
        }
    }
}

pub(super) fn already_exists(digest: &Digest) -> Status {
    Status::already_exists(format!("blob {digest} exists"))
}
