//! Sends one blob to a repository, as a stream.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use reqwest::Body;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, sleep_until};

use super::RemoteRepository;
use super::answer::STALL;
use super::checked_body::{BlobPieces, BlobSize, BodyReport, CheckedBody};
use super::error::RegistryFault;
use super::exchange::RegistryReply;
use super::retry::TryFailure;

/// The longest time in which the target takes nothing. The source has its own limit, which ends first.
const TARGET_STALL: Duration = Duration::from_secs(2 * STALL.as_secs());

/// After the last byte, the target may work on so many bytes for a second: some registries compute the digest, or
/// copy the blob to its final place.
const FINISH_RATE: u64 = 4 << 20;

/// The longest time of one transfer, however steadily it proceeds: so much, and a second for so many bytes.
const LONGEST_TRANSFER: Duration = Duration::from_secs(300);
const SLOWEST: u64 = 32 << 10;

/// One try to transfer a blob failed.
pub(super) enum BlobFailure {
    Source(TryFailure),
    Target(TryFailure),
    /// The target wanted another authorization, after the body was sent. It is there now.
    Reauthorized,
}

impl BlobFailure {
    pub(super) fn source(failure: impl Into<TryFailure>) -> Self {
        Self::Source(failure.into())
    }

    pub(super) fn target(failure: impl Into<TryFailure>) -> Self {
        Self::Target(failure.into())
    }
}

impl RemoteRepository {
    /// Sends `source`, which should be `blob`, to the upload that `started`. Calls `handed` with the number of bytes so far.
    /// The caller has a stream permit of the connection.
    pub(super) async fn send_blob(
        &self,
        blob: &BlobSize,
        source: BlobPieces,
        started: &RegistryReply,
        handed: &(dyn Fn(u64) + Sync),
    ) -> Result<(), BlobFailure> {
        if started.status != StatusCode::ACCEPTED {
            return Err(BlobFailure::target(started.fault()));
        }
        let place = self.upload_place(started);
        let mut place = place.map_err(BlobFailure::target)?;
        place
            .query_pairs_mut()
            .append_pair("digest", blob.digest.as_str());
        let content_type = HeaderValue::from_static("application/octet-stream");
        let put = self
            .request(Method::PUT, "")
            .to(place.clone())
            .header(CONTENT_TYPE, content_type);

        let (reports, mut reported) = unbounded_channel();
        let body = CheckedBody::new(source, blob, reports).pieces();
        let connection = &self.connection;
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
                    return Err(BlobFailure::target(RegistryFault::Stopped));
                }
                report = reported.recv(), if !is_handed => match report {
                    Some(BodyReport::Handed(bytes)) => handed(bytes),
                    Some(BodyReport::Failed(fault)) => return Err(BlobFailure::source(fault)),
                    None => {
                        is_handed = true;
                        limit += Duration::from_secs(blob.size / FINISH_RATE);
                    }
                },
                sent = &mut sent => break sent,
                () = sleep_until(end) => {
                    let seconds = longest.as_secs();
                    return Err(BlobFailure::target(RegistryFault::TooSlow { seconds }));
                }
                () = sleep_until(deadline) => {
                    let seconds = limit.as_secs();
                    return Err(BlobFailure::target(RegistryFault::Stalled { seconds }));
                }
            }
            deadline = Instant::now() + limit;
        };
        // The source's failure is why the target's request failed.
        while let Ok(report) = reported.try_recv() {
            if let BodyReport::Failed(fault) = report {
                return Err(BlobFailure::source(fault));
            }
        }
        let reply = sent.map_err(BlobFailure::target)?;
        let reply = reply.ok_or(BlobFailure::Reauthorized)?;
        match reply.status {
            // The specification has 201; containerd accepts the others, too.
            StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT => reply
                .check_digest(&blob.digest)
                .map_err(BlobFailure::target),
            _ => Err(BlobFailure::target(reply.fault())),
        }
    }
}
