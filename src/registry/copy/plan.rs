//! Everything that a copy is about, and the order in which the target gets it.

use std::collections::{BTreeMap, BTreeSet};

use super::attached::ReferrerList;
use crate::registry::links::LinkedBlob;
use crate::registry::manifest::RawManifest;
use crate::types::{Digest, ImageTag};

/// A manifest to copy.
#[derive(Debug)]
pub(super) struct PlannedManifest {
    /// `None` if it need not be read, because the target has it.
    pub(super) raw: Option<RawManifest>,
    /// Whether the target has it.
    pub(super) is_present: bool,
    pub(super) children: Vec<Digest>,
    pub(super) blobs: Vec<LinkedBlob>,
    pub(super) subject: Option<Digest>,
}

/// What is copied.
#[derive(Debug, Default)]
pub(super) struct CopyPlan {
    pub(super) manifests: BTreeMap<Digest, PlannedManifest>,
    /// The image, and after it the manifests that refer to another one, from the image outwards.
    pub(super) roots: Vec<Digest>,
    /// The referrers of each manifest that has some.
    pub(super) lists: Vec<ReferrerList>,
    /// The tags of referrers that are not in a list.
    pub(super) tags: BTreeMap<ImageTag, Digest>,
}

impl CopyPlan {
    /// All manifests: each one after those below it, and the referrers after the image.
    pub(super) fn order(&self) -> Vec<(&Digest, &PlannedManifest)> {
        enum Step<'a> {
            Enter(&'a Digest),
            Leave(&'a Digest, &'a PlannedManifest),
        }
        let mut order = Vec::new();
        let mut entered = BTreeSet::new();
        for root in &self.roots {
            let mut steps = vec![Step::Enter(root)];
            while let Some(step) = steps.pop() {
                match step {
                    Step::Enter(digest) => {
                        // A referrer that is listed, but does not exist, is not planned.
                        let Some(manifest) = self.manifests.get(digest) else {
                            continue;
                        };
                        if entered.insert(digest) {
                            steps.push(Step::Leave(digest, manifest));
                            steps.extend(manifest.children.iter().rev().map(Step::Enter));
                        }
                    }
                    Step::Leave(digest, manifest) => order.push((digest, manifest)),
                }
            }
        }
        order
    }

    /// The manifests that refer to another one.
    pub(super) fn referrers(&self) -> impl Iterator<Item = &Digest> {
        let roots: BTreeSet<_> = self.roots.iter().skip(1).collect();
        roots
            .into_iter()
            .filter(|digest| self.manifests.contains_key(*digest))
    }
}

/// The blobs of the manifests in `order` that the target does not have, each once.
pub(super) fn missing_blobs(order: &[(&Digest, &PlannedManifest)]) -> Vec<LinkedBlob> {
    let mut seen = BTreeSet::new();
    let missing = order.iter().filter(|(_, manifest)| !manifest.is_present);
    missing
        .flat_map(|(_, manifest)| &manifest.blobs)
        .filter(|blob| seen.insert(&blob.digest))
        .cloned()
        .collect()
}
