//! Uploads blobs whose content is neither in memory nor in a registry.

use http::{Method, StatusCode};

use super::RemoteRepository;
use super::checked_body::{BlobPieces, BlobSize};
use super::error::{RegistryAct, RegistryError, RegistryFault};
use super::exchange::{RegistryReply, RegistryRequest};
use super::retries::Retries;
use super::sending::BlobFailure;
use crate::types::{Digest, ImageRepository};

/// Where the contents of blobs come from.
pub(crate) trait BlobSource: Sync {
    /// Opens the content `digest` from its beginning. It is checked while it is sent.
    fn open(
        &self,
        digest: &Digest,
    ) -> impl Future<Output = Result<BlobPieces, BlobSourceError>> + Send;
}

/// A content cannot be read where it comes from.
#[derive(Debug, thiserror::Error)]
#[error("its content cannot be read")]
pub(crate) struct BlobSourceError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl BlobSourceError {
    pub(crate) fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

/// How the repository got a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SentBlob {
    /// It was sent.
    Sent,
    /// The registry mounted it from the other repository.
    Mounted,
}

impl RemoteRepository {
    /// Makes `blob` part of this repository: mounts it from the repository `from`, which is at the same registry, or sends
    /// what `source` has. With this repository itself as `from`, a blob that it has is not sent again. Calls `handed` with the number of bytes that were
    /// sent, which begins again after a failure.
    ///
    /// A mount takes one request, an upload two. If the registry does not mount, its answer has started an upload.
    pub(crate) async fn give_blob(
        &self,
        blob: &BlobSize,
        from: Option<&ImageRepository>,
        source: &impl BlobSource,
        handed: &(dyn Fn(u64) + Sync),
    ) -> Result<SentBlob, RegistryError> {
        let failed = Self::failed(RegistryAct::UploadBlob, self.blob(&blob.digest));
        self.try_give_blob(blob, from, source, handed)
            .await
            .map_err(failed)
    }

    async fn try_give_blob(
        &self,
        blob: &BlobSize,
        from: Option<&ImageRepository>,
        source: &impl BlobSource,
        handed: &(dyn Fn(u64) + Sync),
    ) -> Result<SentBlob, RegistryFault> {
        let mut started = None;
        if let Some(from) = from.filter(|from| from.domain() == self.name.domain()) {
            match self.start_mount(&blob.digest, from).await? {
                Some(reply) if reply.status == StatusCode::CREATED => {
                    reply.check_digest(&blob.digest)?;
                    return Ok(SentBlob::Mounted);
                }
                reply => started = reply,
            }
        }
        let start = self.request(Method::POST, "blobs/uploads/");
        let mut retries = Retries::new(&self.connection);
        let mut is_reauthorized = false;
        let _permit = tokio::select! {
            biased;
            () = self.connection.parts.stop.cancelled() => return Err(RegistryFault::Stopped),
            permit = self.connection.stream_permit() => permit,
        };
        loop {
            let sent = self.try_upload(blob, source, &start, started.take(), handed);
            match sent.await {
                Ok(()) => return Ok(SentBlob::Sent),
                Err(BlobFailure::Source(failure)) => return Err(failure.fault),
                Err(BlobFailure::Target(failure)) => retries.after(failure, &start).await?,
                Err(BlobFailure::Reauthorized) if !is_reauthorized => is_reauthorized = true,
                Err(BlobFailure::Reauthorized) => {
                    return Err(RegistryFault::Denied {
                        status: StatusCode::UNAUTHORIZED.as_u16(),
                        words: String::new(),
                    });
                }
            }
            handed(0);
        }
    }

    /// Asks the registry to mount `digest`. Its answer, or `None` if it allows no such request.
    async fn start_mount(
        &self,
        digest: &Digest,
        from: &ImageRepository,
    ) -> Result<Option<RegistryReply>, RegistryFault> {
        match self.connection.perform(&self.mount(digest, from)).await {
            Ok(reply) => {
                let is_usable = [StatusCode::CREATED, StatusCode::ACCEPTED].contains(&reply.status);
                Ok(is_usable.then_some(reply))
            }
            Err(fault) if fault.is_denial() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn try_upload(
        &self,
        blob: &BlobSize,
        source: &impl BlobSource,
        start: &RegistryRequest,
        started: Option<RegistryReply>,
        handed: &(dyn Fn(u64) + Sync),
    ) -> Result<(), BlobFailure> {
        let opened = match source.open(&blob.digest).await {
            Ok(opened) => opened,
            Err(error) => {
                if let Some(started) = started {
                    self.cancel_upload(&started).await;
                }
                return Err(BlobFailure::source(RegistryFault::Source(error)));
            }
        };
        let started = if let Some(started) = started {
            started
        } else {
            let started = self.connection.attempt(start).await;
            started.map_err(BlobFailure::target)?
        };
        self.send_blob(blob, opened, &started, handed).await
    }
}
