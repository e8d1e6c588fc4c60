//! Stores of blobs for the daemon: local caches, and image layouts that it reads from or exports to.
//!
//! The daemon names the store in each call, and uses containerd's content service on it. A blob is checked before it
//! gets its final name. The daemon does not touch `index.json`: call [`find_cache`] or `find_image` before a solve
//! and [`LayoutDirectory::enter`] after it. Start at [`ContentStores`].

mod collect;
mod image;
mod index;
mod layout;
mod write;

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};
use rbake_proto::content::content_server::{self, ContentServer};
use rbake_proto::content::{
    AbortRequest, DeleteContentRequest, Info, InfoRequest, InfoResponse, ListContentRequest,
    ListContentResponse, ListStatusesRequest, ListStatusesResponse, ReadContentRequest,
    ReadContentResponse, StatusRequest, StatusResponse, UpdateRequest, UpdateResponse,
    WriteContentRequest, WriteContentResponse,
};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

pub use collect::CollectedBlobs;
pub(crate) use image::{LayoutImage, LayoutImageError, find_image};
pub use index::{CacheSource, IndexName, find_cache};
pub use layout::LayoutDirectory;
pub(crate) use layout::{BlobInfo, LayoutError};

use super::{Attachable, SessionServices};
use crate::engine::connection::MESSAGE_LIMIT;
use crate::types::Digest;
use crate::types::causes::in_one_line;
use collect::Collecting;
use write::{Write, Writes};

const STORE_KEY: &str = "buildkit-attachable-store-id";

/// The most bytes of a blob in one message.
const CHUNK: u64 = 1 << 20;

/// A store, with what the daemon may do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAccess {
    /// The daemon may read blobs.
    Read(LayoutDirectory),
    /// The daemon may read and add blobs.
    Write(LayoutDirectory),
    /// The daemon may add blobs. Its layers are not taken.
    Collect(CollectedBlobs),
}

impl StoreAccess {
    /// The directory. `None` if there is none.
    const fn layout(&self) -> Option<&LayoutDirectory> {
        match self {
            Self::Read(layout) | Self::Write(layout) => Some(layout),
            Self::Collect(_) => None,
        }
    }
}

/// The stores of one session, by the id that the daemon uses: `local:<directory>` for caches (with exactly the
/// directory that the solve names), `oci:<name>` for image layouts, and `export` for an exporter that writes a
/// layout.
#[derive(Debug, Clone)]
pub struct ContentStores {
    stores: Arc<BTreeMap<String, StoreAccess>>,
    writes: Arc<Writes>,
}

impl ContentStores {
    /// Offers exactly these stores.
    pub fn new(stores: BTreeMap<String, StoreAccess>) -> Self {
        Self {
            stores: Arc::new(stores),
            writes: Arc::default(),
        }
    }

    /// Offers these stores. `None` if there are none.
    pub(crate) fn of(stores: BTreeMap<String, StoreAccess>) -> Option<Self> {
        (!stores.is_empty()).then(|| Self::new(stores))
    }

    /// The blob of the store `id` that the daemon wrote last, or did not write because it existed. A manifest is written
    /// after everything that it names (`util/contentutil/copy.go`), so this is the root of the last image.
    pub(crate) fn last_written(&self, id: &str) -> Option<Digest> {
        self.writes.last(id)
    }

    /// Returns the store that a call names, with its id.
    fn store(&self, metadata: &MetadataMap) -> Result<(&str, &StoreAccess), Status> {
        let id = metadata.get(STORE_KEY).map(|id| id.to_str());
        let Some(Ok(id)) = id else {
            return Err(Status::invalid_argument("the call names no store"));
        };
        // Not `NotFound`, because that means a missing blob.
        self.stores
            .get_key_value(id)
            .map(|(id, store)| (id.as_str(), store))
            .ok_or_else(|| Status::failed_precondition(format!("there is no store named `{id}`")))
    }

    fn layout(&self, metadata: &MetadataMap) -> Result<LayoutDirectory, Status> {
        let layout = self.store(metadata)?.1.layout().cloned();
        layout.ok_or_else(|| Status::not_found("this store has nothing to read"))
    }
}

impl Attachable for ContentStores {
    fn methods(&self) -> &[&'static str] {
        &[
            "/containerd.services.content.v1.Content/Info",
            "/containerd.services.content.v1.Content/Update",
            "/containerd.services.content.v1.Content/List",
            "/containerd.services.content.v1.Content/Delete",
            "/containerd.services.content.v1.Content/Read",
            "/containerd.services.content.v1.Content/Status",
            "/containerd.services.content.v1.Content/ListStatuses",
            "/containerd.services.content.v1.Content/Write",
            "/containerd.services.content.v1.Content/Abort",
        ]
    }

    fn mount(&self, services: &mut SessionServices) {
        let server = ContentServer::new(self.clone()).max_decoding_message_size(MESSAGE_LIMIT);
        services.add(server);
    }
}

/// Parses a digest of a request. Layouts here have SHA-256 digests only.
fn digest(text: &str) -> Result<Digest, Status> {
    let digest: Digest = text
        .parse()
        .map_err(|error| Status::invalid_argument(format!("{error}")))?;
    if digest.algorithm() != "sha256" {
        return Err(Status::invalid_argument(
            "only SHA-256 digests are supported",
        ));
    }
    Ok(digest)
}

/// The answer to a call that failed here. The daemon tries again, and may then report another error, so the log has this one.
fn layout_status(error: &LayoutError) -> Status {
    let reason = in_one_line(error);
    tracing::warn!(%reason, "a store failed");
    Status::unknown(reason)
}

/// Runs blocking work on a thread for such work.
async fn run<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LayoutError> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(layout_status(&error)),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

fn info(digest: &Digest, blob: BlobInfo) -> Info {
    Info {
        digest: digest.to_string(),
        size: i64::try_from(blob.size).unwrap_or(i64::MAX),
        created_at: Some(blob.modified.into()),
        updated_at: Some(blob.modified.into()),
        labels: BTreeMap::new(),
    }
}

/// Reports a blob, or `NotFound` if it does not exist.
async fn existing(layout: LayoutDirectory, digest: Digest) -> Result<Info, Status> {
    let blob = {
        let digest = digest.clone();
        run(move || layout.blob(&digest)).await?
    };
    blob.map(|blob| info(&digest, blob))
        .ok_or_else(|| Status::not_found(format!("there is no blob {digest}")))
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl content_server::Content for ContentStores {
    type ListStream = Answers<ListContentResponse>;
    type ReadStream = Answers<ReadContentResponse>;
    type WriteStream = Answers<WriteContentResponse>;

    async fn info(&self, request: Request<InfoRequest>) -> Result<Response<InfoResponse>, Status> {
        let layout = self.layout(request.metadata())?;
        let digest = digest(&request.get_ref().digest)?;
        let info = Some(existing(layout, digest).await?);
        Ok(Response::new(InfoResponse { info }))
    }

    // Does not store labels: they are for containerd's garbage collection, and a layout has none.
    async fn update(
        &self,
        request: Request<UpdateRequest>,
    ) -> Result<Response<UpdateResponse>, Status> {
        let layout = self.layout(request.metadata())?;
        let wanted = request.into_inner().info.unwrap_or_default();
        let info = Some(existing(layout, digest(&wanted.digest)?).await?);
        Ok(Response::new(UpdateResponse { info }))
    }

    async fn list(
        &self,
        request: Request<ListContentRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let layout = self.layout(request.metadata())?;
        if !request.get_ref().filters.is_empty() {
            return Err(Status::unimplemented("filters are not supported"));
        }
        let info = run(move || {
            let mut all = Vec::new();
            for digest in layout.blob_digests()? {
                all.extend(layout.blob(&digest)?.map(|blob| info(&digest, blob)));
            }
            Ok(all)
        });
        let answer = ListContentResponse { info: info.await? };
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(answer)))))
    }

    // Never allowed: rbake removes blobs itself, with [`LayoutDirectory::remove_unreached`].
    async fn delete(
        &self,
        _request: Request<DeleteContentRequest>,
    ) -> Result<Response<()>, Status> {
        Err(Status::permission_denied(
            "blobs are not deleted for the builder",
        ))
    }

    async fn read(
        &self,
        request: Request<ReadContentRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let layout = self.layout(request.metadata())?;
        let request = request.into_inner();
        let digest = digest(&request.digest)?;
        let size = existing(layout.clone(), digest.clone()).await?.size;
        let offset = request.offset.max(0);
        if offset > size {
            return Err(Status::out_of_range(format!(
                "blob {digest} has {size} bytes"
            )));
        }
        let rest = size - offset;
        let wanted = if request.size > 0 {
            request.size.min(rest)
        } else {
            rest
        };
        tracing::trace!(%digest, offset, bytes = wanted, "blob read");
        let path = layout.blob_path(&digest);
        let file = run(move || {
            let mut file = layout
                .open_blob(&digest)
                .map_err(LayoutError::io("open", &path))?;
            file.seek(SeekFrom::Start(offset.unsigned_abs()))
                .map_err(LayoutError::io("read", &path))?;
            Ok((file, path))
        });
        let (file, path) = file.await?;
        let state = (file, path, offset, wanted.unsigned_abs());
        let answers = stream::try_unfold(state, |(file, path, offset, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            let len = left.min(CHUNK);
            let (file, path, data) = run(move || {
                let mut data = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
                (&file)
                    .take(len)
                    .read_to_end(&mut data)
                    .map_err(LayoutError::io("read", &path))?;
                Ok((file, path, data))
            })
            .await?;
            if (data.len() as u64) < len {
                return Err(Status::data_loss(
                    "the blob became smaller while it was read",
                ));
            }
            let data = Bytes::from(data);
            let next = offset.saturating_add(i64::try_from(len).unwrap_or(i64::MAX));
            let answer = ReadContentResponse { offset, data };
            Ok(Some((answer, (file, path, next, left - len))))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let (store, _) = self.store(request.metadata())?;
        let name = &request.get_ref().r#ref;
        let status = self.writes.status(store, name);
        let status =
            status.ok_or_else(|| Status::not_found(format!("`{name}` is not being written")))?;
        Ok(Response::new(StatusResponse {
            status: Some(status),
        }))
    }

    async fn list_statuses(
        &self,
        request: Request<ListStatusesRequest>,
    ) -> Result<Response<ListStatusesResponse>, Status> {
        let (store, _) = self.store(request.metadata())?;
        let statuses = self.writes.statuses(store);
        Ok(Response::new(ListStatusesResponse { statuses }))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let (id, store) = self.store(request.metadata())?;
        let layout = match store {
            StoreAccess::Write(layout) => layout,
            StoreAccess::Collect(blobs) => {
                let collecting = Collecting::new(blobs.clone(), request.into_inner());
                let answers = stream::try_unfold(collecting, |mut collecting| async move {
                    let answer = collecting.answer().await?;
                    Ok(answer.map(|answer| (answer, collecting)))
                });
                return Ok(Response::new(Box::pin(answers)));
            }
            StoreAccess::Read(_) => {
                return Err(Status::permission_denied(format!("`{id}` is read-only")));
            }
        };
        let (id, layout) = (id.to_owned(), layout.clone());
        let write = Write::begin(layout, &id, &self.writes, request.into_inner()).await?;
        let answers = stream::try_unfold(write, |mut write| async move {
            Ok(write.answer().await?.map(|answer| (answer, write)))
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn abort(&self, request: Request<AbortRequest>) -> Result<Response<()>, Status> {
        let (store, _) = self.store(request.metadata())?;
        let name = &request.get_ref().r#ref;
        if self.writes.abort(store, name) {
            Ok(Response::new(()))
        } else {
            Err(Status::not_found(format!("`{name}` is not being written")))
        }
    }
}

#[cfg(test)]
mod tests;
