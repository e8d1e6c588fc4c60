//! Gives the target one blob.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{CopyError, ImageCopy};
use crate::registry::links::LinkedBlob;

/// How the target got a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlobFate {
    /// It was transferred.
    Sent,
    /// The registry of both repositories mounted it.
    Mounted,
    /// The target had it.
    Present,
    /// It did not: the blob is not in a registry, and the manifest says where it is.
    Elsewhere,
}

/// Whether the registry refused to mount a blob. Then it is not asked for the others.
#[derive(Debug, Default)]
pub(super) struct Mounting {
    is_refused: AtomicBool,
}

impl ImageCopy<'_> {
    /// Gives `blob` to the target.
    pub(super) async fn copy_blob(
        &self,
        blob: LinkedBlob,
        mounting: &Mounting,
    ) -> Result<(LinkedBlob, BlobFate), CopyError> {
        let digest = &blob.digest;
        if self.to.has_blob(digest).await? {
            return Ok((blob, BlobFate::Present));
        }
        let may_mount = self.from.name().domain() == self.to.name().domain();
        if may_mount && !mounting.is_refused.load(Ordering::Relaxed) {
            if self.to.mount_blob(digest, self.from.name()).await? {
                return Ok((blob, BlobFate::Mounted));
            }
            mounting.is_refused.store(true, Ordering::Relaxed);
        }
        if blob.may_be_elsewhere && !self.from.has_blob(digest).await? {
            return Ok((blob, BlobFate::Elsewhere));
        }
        self.transfer(&blob).await?;
        Ok((blob, BlobFate::Sent))
    }
}
