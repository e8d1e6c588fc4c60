//! Whether everything that should stay is still there.

use std::collections::BTreeSet;
use std::fmt;

use super::PrunePlan;
use crate::prune::graph::RepositoryState;
use crate::types::{Digest, ImageTag};

/// Something that the plan keeps, and that is gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PruneLoss {
    /// A tag. One that points elsewhere is not lost.
    Tag(ImageTag),
    /// A manifest.
    Manifest(Digest),
}

impl fmt::Display for PruneLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, "the tag `{tag}` is gone"),
            Self::Manifest(digest) => write!(f, "the manifest `{digest}` is gone"),
        }
    }
}

impl PrunePlan {
    /// Compares the plan with what the repository has after the last step. The registry may have deleted more than it
    /// was asked to, or its garbage collector may have.
    pub(crate) fn losses(
        &self,
        tags: &BTreeSet<ImageTag>,
        manifests: &BTreeSet<Digest>,
    ) -> BTreeSet<PruneLoss> {
        let lost_tags = self.kept_tags.keys().filter(|tag| !tags.contains(*tag));
        let lost = self.kept.keys().filter(|kept| !manifests.contains(*kept));
        let lost_tags = lost_tags.cloned().map(PruneLoss::Tag);
        lost_tags
            .chain(lost.cloned().map(PruneLoss::Manifest))
            .collect()
    }

    /// The blobs that manifests which stay share with manifests which go. A registry that counts uses could delete them
    /// by mistake. `before` is the repository for which the plan was made.
    pub(crate) fn shared_blobs<'a>(&self, before: &'a RepositoryState) -> BTreeSet<&'a Digest> {
        let blobs = |manifests: &mut dyn Iterator<Item = &Digest>| -> BTreeSet<&'a Digest> {
            let found = manifests.filter_map(|digest| before.manifests().get(digest));
            let entries = found.flat_map(|manifest| &manifest.entries);
            let blobs = entries.filter(|entry| entry.is_blob);
            blobs.map(|entry| &entry.digest).collect()
        };
        let kept = blobs(&mut self.kept.keys());
        let lost = blobs(&mut self.lost.iter());
        kept.intersection(&lost).copied().collect()
    }
}
