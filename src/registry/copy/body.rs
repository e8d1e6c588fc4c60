//! The content of a blob on its way from one registry to the other.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, stream};
use reqwest::Response;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

use super::links::LinkedBlob;
use crate::registry::answer::{STALL, unreachable};
use crate::registry::error::RegistryFault;
use crate::types::Digest;
use crate::types::digest::DigestHasher;

/// What happened to a body.
#[derive(Debug)]
pub(super) enum BodyReport {
    /// So many bytes were handed to the target so far.
    Handed(u64),
    /// The source failed, or sent something else. The target does not get the whole body then.
    Failed(RegistryFault),
}

/// A body whose size and digest are checked while it passes through.
pub(super) struct CheckedBody {
    response: Response,
    expected: Digest,
    size: u64,
    received: u64,
    // `None` after the end.
    hasher: Option<DigestHasher>,
    // The last piece is handed on only when the digest is known to be right.
    held_back: Option<Bytes>,
    handed: u64,
    reports: UnboundedSender<BodyReport>,
}

impl CheckedBody {
    /// The body of `response`, which should be `blob`.
    pub(super) fn new(
        response: Response,
        blob: &LinkedBlob,
        reports: UnboundedSender<BodyReport>,
    ) -> Self {
        Self {
            response,
            expected: blob.digest.clone(),
            size: blob.size,
            received: 0,
            hasher: Some(blob.digest.hasher()),
            held_back: None,
            handed: 0,
            reports,
        }
    }

    /// The pieces. It ends with an error if the content is wrong; a [`BodyReport`] says why.
    pub(super) fn pieces(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::try_unfold(self, |mut body| async move {
            match body.next().await {
                Ok(Some(piece)) => {
                    body.handed += length(&piece);
                    let _ = body.reports.send(BodyReport::Handed(body.handed));
                    Ok(Some((piece, body)))
                }
                Ok(None) => Ok(None),
                Err(fault) => {
                    let _ = body.reports.send(BodyReport::Failed(fault));
                    Err(io::Error::other("the source of the blob failed"))
                }
            }
        })
    }

    async fn next(&mut self) -> Result<Option<Bytes>, RegistryFault> {
        let Some(mut hasher) = self.hasher.take() else {
            return Ok(None);
        };
        loop {
            let piece = timeout(STALL, self.response.chunk()).await;
            let piece = piece.map_err(|_| RegistryFault::Stalled {
                seconds: STALL.as_secs(),
            })?;
            let Some(piece) = piece.map_err(unreachable)? else {
                break;
            };
            self.received = self.received.saturating_add(length(&piece));
            if self.received > self.size {
                return Err(self.wrong_size());
            }
            hasher.update(&piece);
            if let Some(ready) = self.held_back.replace(piece) {
                self.hasher = Some(hasher);
                return Ok(Some(ready));
            }
        }
        if self.received != self.size {
            return Err(self.wrong_size());
        }
        let found = hasher.finish();
        if found != self.expected {
            let expected = self.expected.clone();
            return Err(RegistryFault::Mismatch { expected, found });
        }
        Ok(self.held_back.take())
    }

    fn wrong_size(&self) -> RegistryFault {
        let size = self.size;
        RegistryFault::malformed(format!("the blob does not have {size} bytes"))
    }
}

fn length(piece: &Bytes) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}
