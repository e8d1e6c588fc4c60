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
    /// Compares the plan with `after`, a reading of the repository after the last step. The registry may have deleted
    /// more than it was asked to, or its garbage collector may have.
    ///
    /// The caller of the reading expects all of [`Self::kept`], because some registries do not list manifests.
    pub(crate) fn losses(&self, after: &RepositoryState) -> BTreeSet<PruneLoss> {
        let tags = self.kept_tags.keys();
        let tags = tags.filter(|tag| !after.tags().contains_key(tag));
        let manifests = self.kept.keys();
        let manifests = manifests.filter(|digest| !after.manifests().contains_key(digest));
        let tags = tags.cloned().map(PruneLoss::Tag);
        tags.chain(manifests.cloned().map(PruneLoss::Manifest))
            .collect()
    }

    /// The blobs that must still be there after the last step. `before` is the repository for which the plan was made.
    pub(crate) fn kept_blobs<'a>(&self, before: &'a RepositoryState) -> BTreeSet<&'a Digest> {
        let kept = self.kept.keys();
        let kept = kept.filter_map(|digest| before.manifests().get(digest));
        let entries = kept.flat_map(|manifest| &manifest.entries);
        let blobs = entries.filter(|entry| entry.is_blob);
        blobs.map(|entry| &entry.digest).collect()
    }
}
