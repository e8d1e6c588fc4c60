//! The content of a blob on its way to a registry.

use std::io;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _, stream};
use reqwest::Response;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

use super::answer::{STALL, unreachable};
use super::error::RegistryFault;
use crate::types::Digest;
use crate::types::digest::DigestHasher;

/// The pieces of a content, in order. After an error comes nothing.
pub(crate) type BlobPieces = BoxStream<'static, Result<Bytes, RegistryFault>>;

/// The body of `response`, in pieces.
pub(super) fn pieces_of(response: Response) -> BlobPieces {
    let pieces = stream::try_unfold(response, |mut response| async move {
        let piece = response.chunk().await.map_err(unreachable)?;
        Ok(piece.map(|piece| (piece, response)))
    });
    pieces.boxed()
}

/// What a blob must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlobSize {
    pub(crate) digest: Digest,
    /// The size in bytes.
    pub(crate) size: u64,
}

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
    source: BlobPieces,
    expected: BlobSize,
    received: u64,
    // `None` after the end.
    hasher: Option<DigestHasher>,
    // The last piece is handed on only when the digest is known to be right.
    held_back: Option<Bytes>,
    handed: u64,
    reports: UnboundedSender<BodyReport>,
}

impl CheckedBody {
    /// The content that `source` yields, which should be `blob`.
    pub(super) fn new(
        source: BlobPieces,
        blob: &BlobSize,
        reports: UnboundedSender<BodyReport>,
    ) -> Self {
        Self {
            source,
            expected: blob.clone(),
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
            let piece = timeout(STALL, self.source.next()).await;
            let piece = piece.map_err(|_| RegistryFault::Stalled {
                seconds: STALL.as_secs(),
            })?;
            let Some(piece) = piece.transpose()? else {
                break;
            };
            self.received = self.received.saturating_add(length(&piece));
            if self.received > self.expected.size {
                return Err(self.wrong_size());
            }
            hasher.update(&piece);
            if let Some(ready) = self.held_back.replace(piece) {
                self.hasher = Some(hasher);
                return Ok(Some(ready));
            }
        }
        if self.received != self.expected.size {
            return Err(self.wrong_size());
        }
        let found = hasher.finish();
        if found != self.expected.digest {
            let expected = self.expected.digest.clone();
            return Err(RegistryFault::Mismatch { expected, found });
        }
        Ok(self.held_back.take())
    }

    fn wrong_size(&self) -> RegistryFault {
        let size = self.expected.size;
        RegistryFault::malformed(format!("the blob does not have {size} bytes"))
    }
}

fn length(piece: &Bytes) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}
