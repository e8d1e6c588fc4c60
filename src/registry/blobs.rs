//! Requests for blobs.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use reqwest::Url;

use super::RemoteRepository;
use super::error::{RegistryAct, RegistryError, RegistryFault};
use super::exchange::{RegistryReply, RegistryRequest};
use super::retries::Retries;
use super::retry::TryFailure;
use crate::types::{Digest, ImageRepository};

impl RemoteRepository {
    /// Whether the repository has the blob.
    pub(crate) async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let failed = Self::failed(RegistryAct::LookUpBlob, self.blob(digest));
        self.try_has_blob(digest).await.map_err(failed)
    }

    pub(super) async fn try_has_blob(&self, digest: &Digest) -> Result<bool, RegistryFault> {
        let request = self.request(Method::HEAD, &format!("blobs/{digest}"));
        let reply = self.connection.perform(&request).await?;
        match reply.status {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => reply.check_digest(digest).map(|()| true),
            _ => Err(reply.fault()),
        }
    }

    /// Returns a small blob, whose digest was computed and compared with `digest` and with the one that the registry
    /// reports. `None` if the repository does not have it.
    ///
    /// Fails if it is larger than `limit` bytes, which is at least 1. Registries often redirect to another server for blobs; it does not get
    /// the registry's authorization.
    pub(crate) async fn get_blob(
        &self,
        digest: &Digest,
        limit: usize,
    ) -> Result<Option<Bytes>, RegistryError> {
        let failed = Self::failed(RegistryAct::ReadBlob, self.blob(digest));
        self.try_get_blob(digest, limit).await.map_err(failed)
    }

    async fn try_get_blob(
        &self,
        digest: &Digest,
        limit: usize,
    ) -> Result<Option<Bytes>, RegistryFault> {
        // A limit of zero would mean that the content does not matter.
        let request = self
            .request(Method::GET, &format!("blobs/{digest}"))
            .limit(limit.max(1));
        let reply = self.connection.perform(&request).await?;
        if reply.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        // Without a range in the request, another success is not the whole blob.
        if reply.status != StatusCode::OK {
            return Err(reply.fault());
        }
        reply.check_digest(digest)?;
        let found = digest.of_same_algorithm(&reply.body);
        if found != *digest {
            let expected = digest.clone();
            return Err(RegistryFault::Mismatch { expected, found });
        }
        Ok(Some(reply.body))
    }

    /// Uploads a small blob in one piece, whether the repository has it or not. Returns its digest.
    pub(crate) async fn put_blob(&self, bytes: &Bytes) -> Result<Digest, RegistryError> {
        let digest = Digest::sha256(bytes);
        let failed = Self::failed(RegistryAct::UploadBlob, self.blob(&digest));
        self.try_put_blob(bytes, &digest).await.map_err(failed)?;
        Ok(digest)
    }

    pub(super) async fn try_put_blob(
        &self,
        bytes: &Bytes,
        digest: &Digest,
    ) -> Result<(), RegistryFault> {
        let start = self.request(Method::POST, "blobs/uploads/");
        // If the transfer fails, the upload's place may be unusable, so both requests are repeated.
        let mut retries = Retries::new(&self.connection);
        loop {
            match self.upload(&start, bytes, digest).await {
                Ok(()) => return Ok(()),
                Err(failure) => retries.after(failure, &start).await?,
            }
        }
    }

    async fn upload(
        &self,
        start: &RegistryRequest,
        bytes: &Bytes,
        digest: &Digest,
    ) -> Result<(), TryFailure> {
        let started = self.connection.attempt(start).await?;
        if started.status != StatusCode::ACCEPTED {
            return Err(started.fault().into());
        }
        let mut place = self.upload_place(&started)?;
        place
            .query_pairs_mut()
            .append_pair("digest", digest.as_str());
        let content_type = HeaderValue::from_static("application/octet-stream");
        let finish = self
            .request(Method::PUT, "")
            .to(place)
            .header(CONTENT_TYPE, content_type)
            .body(bytes.clone());
        let finished = self.connection.attempt(&finish).await?;
        match finished.status {
            // The specification has 201; containerd accepts the others, too.
            StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT => {
                Ok(finished.check_digest(digest)?)
            }
            _ => Err(finished.fault().into()),
        }
    }

    /// Makes a blob of the repository `from`, which is at the same registry, part of this one. Returns false if the
    /// registry did not do it: then the blob must be uploaded.
    ///
    /// Many registries do not mount between some of their repositories, so a refusal is not an error.
    pub(crate) async fn mount_blob(
        &self,
        digest: &Digest,
        from: &ImageRepository,
    ) -> Result<bool, RegistryError> {
        let failed = Self::failed(RegistryAct::MountBlob, self.blob(digest));
        if from.domain() != self.name.domain() {
            return Ok(false);
        }
        match self.connection.perform(&self.mount(digest, from)).await {
            Ok(reply) if reply.status == StatusCode::CREATED => {
                reply.check_digest(digest).map(|()| true).map_err(failed)
            }
            Ok(reply) => {
                if reply.status == StatusCode::ACCEPTED {
                    self.cancel_upload(&reply).await;
                }
                Ok(false)
            }
            Err(fault) if fault.is_denial() => Ok(false),
            Err(fault) => Err(failed(fault)),
        }
    }

    /// The request that mounts a blob from the repository `from`, which may be this one.
    pub(super) fn mount(&self, digest: &Digest, from: &ImageRepository) -> RegistryRequest {
        let query = format!("blobs/uploads/?mount={digest}&from={}", from.path());
        let mut request = self.request(Method::POST, &query);
        if *from != self.name {
            request.scope.reads = Some(from.path().into());
        }
        request
    }

    /// The place of an upload that `started`.
    pub(super) fn upload_place(&self, started: &RegistryReply) -> Result<Url, RegistryFault> {
        self.connection.resolve(&started.url, started.location()?)
    }

    /// Cancels an upload that `started`. Registries remove abandoned uploads themselves, so it is not an error if this
    /// fails, and it is tried once.
    pub(super) async fn cancel_upload(&self, started: &RegistryReply) {
        if let Ok(place) = self.upload_place(started) {
            let mut request = self.request(Method::DELETE, "").to(place);
            // The right to write is enough, and its token is there.
            request.scope.purpose = super::authorization::RepositoryUse::Write;
            let _ = self.connection.attempt(&request).await;
        }
    }

    /// The name of a blob, for messages.
    pub(super) fn blob(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.name)
    }
}
