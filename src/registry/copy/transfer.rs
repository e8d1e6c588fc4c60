//! Transfers one blob from registry to registry.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use reqwest::Body;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep_until};

use super::body::{BodyReport, CheckedBody};
use super::links::LinkedBlob;
use super::{CopyProgress, ImageCopy};
use crate::registry::answer::STALL;
use crate::registry::error::{RegistryAct, RegistryError, RegistryFault};
use crate::registry::exchange::RegistryRequest;
use crate::registry::retries::Retries;
use crate::registry::retry::TryFailure;

/// The longest time in which the target takes nothing. The source has its own limit, which ends first.
const TARGET_STALL: Duration = Duration::from_secs(2 * STALL.as_secs());

/// After the last byte, the target may work on so many bytes for a second: some registries compute the digest, or
/// copy the blob to its final place.
const FINISH_RATE: u64 = 4 << 20;

/// The longest time of one transfer, however steadily it proceeds: so much, and a second for so many bytes.
const LONGEST_TRANSFER: Duration = Duration::from_secs(300);
const SLOWEST: u64 = 32 << 10;

/// One try to transfer a blob failed.
enum TransferFailure {
    Source(TryFailure),
    Target(TryFailure),
    /// The target wanted another authorization, after the body was sent. It is there now.
    Reauthorized,
}

impl TransferFailure {
    fn source(failure: impl Into<TryFailure>) -> Self {
        Self::Source(failure.into())
    }

    fn target(failure: impl Into<TryFailure>) -> Self {
        Self::Target(failure.into())
    }
}

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
                TransferFailure::Source(failure) => source
                    .after(failure, &get)
                    .await
                    .map_err(|fault| fault.at(read, self.from.blob(&blob.digest)))?,
                TransferFailure::Target(failure) => target
                    .after(failure, &start)
                    .await
                    .map_err(|fault| fault.at(upload, self.to.blob(&blob.digest)))?,
                TransferFailure::Reauthorized if !is_reauthorized => is_reauthorized = true,
                TransferFailure::Reauthorized => {
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
    ) -> Result<(), TransferFailure> {
        let opened = self.from.connection.open_stream(get).await;
        let response = opened.map_err(TransferFailure::source)?;
        let started = self.to.connection.attempt(start).await;
        let started = started.map_err(TransferFailure::target)?;
        if started.status != StatusCode::ACCEPTED {
            return Err(TransferFailure::target(started.fault()));
        }
        let place = self.to.upload_place(&started);
        let mut place = place.map_err(TransferFailure::target)?;
        place
            .query_pairs_mut()
            .append_pair("digest", blob.digest.as_str());
        let content_type = HeaderValue::from_static("application/octet-stream");
        let put = self
            .to
            .request(Method::PUT, "")
            .to(place.clone())
            .header(CONTENT_TYPE, content_type);

        let (reports, mut reported) = unbounded_channel();
        let body = CheckedBody::new(response, blob, reports).pieces();
        let connection = &self.to.connection;
        let sent = connection.send_stream(&put, place, Body::wrap_stream(body), blob.size);
        tokio::pin!(sent);
        let longest = LONGEST_TRANSFER + Duration::from_secs(blob.size / SLOWEST);
        let end = Instant::now() + longest;
        let mut limit = TARGET_STALL;
        let mut deadline = Instant::now() + limit;
        let mut is_handed = false;
        let sent = loop {
            tokio::select! {
                biased;
                () = connection.parts.stop.cancelled() => {
                    return Err(TransferFailure::target(RegistryFault::Stopped));
                }
                report = reported.recv(), if !is_handed => match report {
                    Some(BodyReport::Handed(bytes)) => self.report(blob, bytes),
                    Some(BodyReport::Failed(fault)) => return Err(TransferFailure::source(fault)),
                    None => {
                        is_handed = true;
                        limit += Duration::from_secs(blob.size / FINISH_RATE);
                    }
                },
                sent = &mut sent => break sent,
                () = sleep_until(end) => {
                    let seconds = longest.as_secs();
                    return Err(TransferFailure::target(RegistryFault::TooSlow { seconds }));
                }
                () = sleep_until(deadline) => {
                    let seconds = limit.as_secs();
                    return Err(TransferFailure::target(RegistryFault::Stalled { seconds }));
                }
            }
            deadline = Instant::now() + limit;
        };
        // The source's failure is why the target's request failed.
        while let Ok(report) = reported.try_recv() {
            if let BodyReport::Failed(fault) = report {
                return Err(TransferFailure::source(fault));
            }
        }
        let reply = sent.map_err(TransferFailure::target)?;
        let reply = reply.ok_or(TransferFailure::Reauthorized)?;
        match reply.status {
            // The specification has 201; containerd accepts the others, too.
            StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT => reply
                .check_digest(&blob.digest)
                .map_err(TransferFailure::target),
            _ => Err(TransferFailure::target(reply.fault())),
        }
    }

    fn report(&self, blob: &LinkedBlob, sent: u64) {
        (self.progress)(CopyProgress::Sending {
            digest: blob.digest.clone(),
            sent,
            size: blob.size,
        });
    }
}
