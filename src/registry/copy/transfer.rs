//! Transfers one blob from registry to registry.

use http::{Method, StatusCode};

use super::{CopyProgress, ImageCopy};
use crate::registry::checked_body::{BlobSize, pieces_of};
use crate::registry::error::{RegistryAct, RegistryError, RegistryFault};
use crate::registry::exchange::RegistryRequest;
use crate::registry::links::LinkedBlob;
use crate::registry::retries::Retries;
use crate::registry::sending::BlobFailure;

impl ImageCopy<'_> {
    /// Transfers `blob`. If it fails, it begins again, by the same rules as other requests.
    pub(super) async fn transfer(&self, blob: &LinkedBlob) -> Result<(), RegistryError> {
        let get = self
            .from
            .request(Method::GET, &format!("blobs/{}", blob.digest));
        let start = self.to.request(Method::POST, "blobs/uploads/");
        let mut source = Retries::new(&self.from.connection);
        let mut target = Retries::new(&self.to.connection);
        let mut is_reauthorized = false;
        // Before the source is opened, because it would not wait for long.
        let connection = &self.to.connection;
        let _permit = tokio::select! {
            biased;
            () = connection.parts.stop.cancelled() => {
                let place = self.to.blob(&blob.digest);
                return Err(RegistryFault::Stopped.at(RegistryAct::UploadBlob, place));
            }
            permit = connection.stream_permit() => permit,
        };
        loop {
            let failure = match self.try_transfer(blob, &get, &start).await {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            };
            let (read, upload) = (RegistryAct::ReadBlob, RegistryAct::UploadBlob);
            match failure {
                BlobFailure::Source(failure) => source
                    .after(failure, &get)
                    .await
                    .map_err(|fault| fault.at(read, self.from.blob(&blob.digest)))?,
                BlobFailure::Target(failure) => target
                    .after(failure, &start)
                    .await
                    .map_err(|fault| fault.at(upload, self.to.blob(&blob.digest)))?,
                BlobFailure::Reauthorized if !is_reauthorized => is_reauthorized = true,
                BlobFailure::Reauthorized => {
                    let denied = RegistryFault::Denied {
                        status: StatusCode::UNAUTHORIZED.as_u16(),
                        words: String::new(),
                    };
                    return Err(denied.at(upload, self.to.blob(&blob.digest)));
                }
            }
            self.report(blob, 0);
        }
    }

    async fn try_transfer(
        &self,
        blob: &LinkedBlob,
        get: &RegistryRequest,
        start: &RegistryRequest,
    ) -> Result<(), BlobFailure> {
        let opened = self.from.connection.open_stream(get).await;
        let response = opened.map_err(BlobFailure::source)?;
        let started = self.to.connection.attempt(start).await;
        let started = started.map_err(BlobFailure::target)?;
        let expected = BlobSize {
            digest: blob.digest.clone(),
            size: blob.size,
        };
        let handed = |sent| self.report(blob, sent);
        self.to
            .send_blob(&expected, pieces_of(response), &started, &handed)
            .await
    }

    fn report(&self, blob: &LinkedBlob, sent: u64) {
        (self.progress)(CopyProgress::Sending {
            digest: blob.digest.clone(),
            sent,
            size: blob.size,
        });
    }
}
