//! Looks up everything that must still be there after a prune: a registry may have deleted more than it was asked to.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::read::AT_ONCE;
use super::watch::PrunePhase;
use super::{PruneError, Pruning, RepositoryReader};
use crate::prune::plan::PruneLoss;
use crate::registry::TagOrDigest;
use crate::types::Digest;

/// What a prune should have left, and what is gone.
#[derive(Debug, Default)]
pub(crate) struct Verification {
    /// Tags and manifests that are gone.
    pub(crate) losses: BTreeSet<PruneLoss>,
    /// Blobs of manifests that stay which are gone, although they were there before.
    pub(crate) blobs: BTreeSet<Digest>,
}

impl Verification {
    /// Whether everything is there.
    pub(crate) fn is_whole(&self) -> bool {
        self.losses.is_empty() && self.blobs.is_empty()
    }
}

impl RepositoryReader {
    /// Those of `blobs` that the repository has.
    pub(super) async fn present(
        &self,
        blobs: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, PruneError> {
        self.watch.begin(PrunePhase::Verifying, blobs.len());
        let looks = blobs.into_iter().map(|blob| async move {
            let is_there = self.repository.has_blob(&blob).await?;
            self.watch.count();
            Ok::<_, PruneError>(is_there.then_some(blob))
        });
        let found: Vec<_> = stream::iter(looks)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }
}

impl Pruning {
    /// Looks up all tags and manifests that the plan keeps, and the blobs that they share with what was deleted.
    pub(crate) async fn verify(&self) -> Result<Verification, PruneError> {
        let repository = &self.reader.repository;
        let watch = &self.reader.watch;
        let (tags, manifests) = (self.plan.kept_tags(), self.plan.kept());
        watch.begin(PrunePhase::Verifying, tags.len() + manifests.len());
        let names = tags.keys().cloned().map(TagOrDigest::Tag);
        let names = names.chain(manifests.keys().cloned().map(TagOrDigest::Digest));
        let heads = names.map(|name| async move {
            let found = repository.head(&name).await?;
            watch.count();
            Ok::<_, PruneError>(found.map(|_| name))
        });
        let found: Vec<_> = stream::iter(heads)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let (mut found_tags, mut found_manifests) = (BTreeSet::new(), BTreeSet::new());
        for name in found.into_iter().flatten() {
            match name {
                TagOrDigest::Tag(tag) => drop(found_tags.insert(tag)),
                TagOrDigest::Digest(digest) => drop(found_manifests.insert(digest)),
            }
        }
        let now = self.reader.present(self.shared_blobs.clone()).await?;
        Ok(Verification {
            losses: self.plan.losses(&found_tags, &found_manifests),
            blobs: self.shared_blobs.difference(&now).cloned().collect(),
        })
    }
}
