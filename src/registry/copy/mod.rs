//! Copies an image to another repository or registry, bit for bit.
//!
//! Knows nothing of tags with a meaning: the caller sets them afterwards. Start at [`copy_image`]. [`walk`] reads the
//! manifests and looks for those that refer to them, [`blobs`] and [`transfer`] copy the blobs, and [`lists`] makes the
//! referrers known at the target.

mod attached;
mod blobs;
mod error;
mod lists;
mod plan;
mod transfer;
mod walk;

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

pub(crate) use blobs::BlobFate;
pub(crate) use error::CopyError;

use super::RemoteRepository;
use super::links::LinkedBlob;
use super::manifest::TagOrDigest;
use crate::types::{Digest, ImageTag};

/// The blobs that are copied, and the manifests that are read, at the same time.
const PARALLEL: usize = 4;

/// How deep manifests may be nested below the image: an index in an index, a signature of a signature.
const NESTING: usize = 8;

/// The most manifests of a copy, and their size in bytes all together.
const MANIFESTS: usize = 10_000;
const MANIFEST_BYTES: usize = 256 << 20;

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CopyCounts {
    /// Manifests that were written.
    pub(crate) manifests: u64,
    /// Manifests that the target had.
    pub(crate) present_manifests: u64,
    /// Blobs that were transferred.
    pub(crate) sent_blobs: u64,
    /// The bytes of these.
    pub(crate) sent_bytes: u64,
    /// Blobs that the registry of both repositories mounted.
    pub(crate) mounted_blobs: u64,
    /// Blobs that the target had. Those of manifests that it had are not counted.
    pub(crate) present_blobs: u64,
    /// Manifests that refer to the image or to a manifest below it, and were written or are present.
    pub(crate) referrers: u64,
    /// Tags of referrers that were set.
    pub(crate) tags: u64,
    /// Tags of referrers that name something else at the target, which would be lost. They were left as they are, so
    /// the referrers that they name at the source cannot be found at the target.
    pub(crate) conflicts: BTreeSet<ImageTag>,
}

impl CopyCounts {
    /// Adds those of another copy.
    pub(crate) fn add(&mut self, other: &Self) {
        self.manifests += other.manifests;
        self.present_manifests += other.present_manifests;
        self.sent_blobs += other.sent_blobs;
        self.sent_bytes = self.sent_bytes.saturating_add(other.sent_bytes);
        self.mounted_blobs += other.mounted_blobs;
        self.present_blobs += other.present_blobs;
        self.referrers += other.referrers;
        self.tags += other.tags;
        self.conflicts.extend(other.conflicts.iter().cloned());
    }
}

/// What happens during a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CopyProgress {
    /// All manifests are read. This is what the target may lack.
    Planned {
        /// The manifests to write.
        manifests: usize,
        /// The blobs to look for.
        blobs: usize,
        /// The bytes of all these blobs.
        bytes: u64,
    },
    /// A part of a blob was sent. It is 0 if the transfer begins again.
    Sending {
        /// The blob.
        digest: Digest,
        /// The bytes so far.
        sent: u64,
        /// All its bytes.
        size: u64,
    },
    /// The target has a blob.
    Blob {
        /// The blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
        /// How the target got it.
        fate: BlobFate,
    },
    /// The target has a manifest that it did not have.
    Manifest {
        /// The manifest.
        digest: Digest,
    },
}

/// One copy.
struct ImageCopy<'a> {
    from: &'a RemoteRepository,
    to: &'a RemoteRepository,
    progress: &'a (dyn Fn(CopyProgress) + Sync),
}

/// Copies the manifest `digest` from one repository to another, with everything below it and all manifests that refer
/// to these. No byte of them changes.
///
/// Everything that a manifest names is there before the manifest is. What the target has is not sent; if the
/// repositories are at the same registry, blobs are mounted. If the target has the image, only the missing referrers
/// are copied. The only tags that are written are those by which referrers are found (`sha256-…`).
///
/// A copy that failed may be repeated: it continues where it ended. At most 4 blobs are transferred at once, and none of
/// them is held in memory.
pub(crate) async fn copy_image(
    from: &RemoteRepository,
    to: &RemoteRepository,
    digest: &Digest,
    progress: &(dyn Fn(CopyProgress) + Sync),
) -> Result<CopyCounts, CopyError> {
    if from.name() == to.name() {
        return Ok(CopyCounts::default());
    }
    let copy = ImageCopy { from, to, progress };
    copy.run(digest).await
}

impl ImageCopy<'_> {
    async fn run(&self, digest: &Digest) -> Result<CopyCounts, CopyError> {
        let plan = self.walk(digest).await?;
        let order = plan.order();
        let blobs = plan::missing_blobs(&order);
        let missing = order.iter().filter(|(_, manifest)| !manifest.is_present);
        (self.progress)(CopyProgress::Planned {
            manifests: missing.clone().count(),
            blobs: blobs.len(),
            bytes: blobs
                .iter()
                .fold(0, |sum, blob| sum.saturating_add(blob.size)),
        });
        let mut counts = CopyCounts {
            present_manifests: count(order.iter().filter(|(_, manifest)| manifest.is_present)),
            referrers: count(plan.referrers()),
            ..CopyCounts::default()
        };
        self.copy_blobs(blobs, &mut counts).await?;
        for (digest, manifest) in missing {
            let Some(raw) = &manifest.raw else {
                continue;
            };
            let name = TagOrDigest::Digest((*digest).clone());
            self.to.put(&name, raw).await?;
            counts.manifests += 1;
            (self.progress)(CopyProgress::Manifest {
                digest: (*digest).clone(),
            });
        }
        self.list_referrers(&plan, &mut counts).await?;
        tracing::debug!(
            from = %self.from.name(),
            to = %self.to.name(),
            manifests = counts.manifests,
            blobs = counts.sent_blobs,
            bytes = counts.sent_bytes,
            mounted = counts.mounted_blobs,
            "image copied"
        );
        Ok(counts)
    }

    async fn copy_blobs(
        &self,
        blobs: Vec<LinkedBlob>,
        counts: &mut CopyCounts,
    ) -> Result<(), CopyError> {
        let mounting = blobs::Mounting::default();
        let copied = stream::iter(blobs).map(|blob| self.copy_blob(blob, &mounting));
        let mut copied = copied.buffer_unordered(PARALLEL);
        while let Some((blob, fate)) = copied.try_next().await? {
            match fate {
                BlobFate::Sent => {
                    counts.sent_blobs += 1;
                    counts.sent_bytes = counts.sent_bytes.saturating_add(blob.size);
                }
                BlobFate::Mounted => counts.mounted_blobs += 1,
                BlobFate::Present => counts.present_blobs += 1,
                BlobFate::Elsewhere => {}
            }
            (self.progress)(CopyProgress::Blob {
                digest: blob.digest,
                size: blob.size,
                fate,
            });
        }
        Ok(())
    }
}

fn count(items: impl Iterator) -> u64 {
    u64::try_from(items.count()).unwrap_or(u64::MAX)
}
