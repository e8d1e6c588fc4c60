//! The steps of a plan, parents before children.

use std::collections::{BTreeMap, BTreeSet};

use super::decide::PruneDecision;
use super::traits::DeletionTraits;
use super::{PruneAct, PruneStep};
use crate::prune::graph::{ManifestKind, RepositoryGraph};
use crate::prune::policy::{RemovalReason, TagVerdict};
use crate::types::{Digest, ImageTag};

/// Makes the steps in order.
pub(super) struct StepMaker<'g, 'a> {
    graph: &'g RepositoryGraph<'a>,
    traits: DeletionTraits,
    removed: BTreeMap<&'a Digest, BTreeMap<ImageTag, RemovalReason>>,
    steps: Vec<PruneStep>,
    /// The last step about each manifest that goes.
    last: BTreeMap<&'a Digest, usize>,
}

/// Returns the steps for `decision`, in order: first the tags of manifests that stay; then the manifests that go, each
/// after all that name it, so that no manifest ever leads to one that is gone.
pub(super) fn steps<'a>(
    graph: &RepositoryGraph<'a>,
    decision: &PruneDecision<'a>,
    traits: DeletionTraits,
) -> Vec<PruneStep> {
    let mut removed: BTreeMap<&Digest, BTreeMap<ImageTag, RemovalReason>> = BTreeMap::new();
    for (tag, verdict) in &decision.tags {
        if let (TagVerdict::Remove(reason), Some(digest)) =
            (verdict, graph.state().tags().get(*tag))
        {
            let tags = removed.entry(digest).or_default();
            tags.insert((*tag).clone(), reason.clone());
        }
    }
    let mut maker = StepMaker {
        graph,
        traits,
        removed,
        steps: Vec::new(),
        last: BTreeMap::new(),
    };
    let kept: Vec<&Digest> = maker.removed.keys().copied().collect();
    for digest in kept {
        if decision.kept.manifests.contains_key(digest) {
            maker.remove_tags(digest, &[]);
        }
    }
    let manifests = graph.state().manifests().keys();
    let lost = manifests.filter(|digest| !decision.kept.manifests.contains_key(digest));
    maker.delete_all(&lost.collect());
    maker.steps
}

impl<'a> StepMaker<'_, 'a> {
    /// Deletes `lost` by the algorithm of Kahn. Among those that may be deleted, signatures and the like come first, so
    /// that nothing is left of an image without its image.
    fn delete_all(&mut self, lost: &BTreeSet<&'a Digest>) {
        let graph = self.graph;
        let named = |digest: &'a Digest| {
            let named = graph.named(digest).map(|(_, to)| to);
            named.filter(|to| lost.contains(to))
        };
        let mut parents: BTreeMap<&Digest, Vec<&Digest>> = BTreeMap::new();
        for digest in lost {
            for to in named(digest) {
                parents.entry(to).or_default().push(digest);
            }
        }
        let companions: BTreeSet<&Digest> = lost
            .iter()
            .flat_map(|digest| graph.companions(digest))
            .map(|(_, to)| to)
            .collect();
        let rank = |digest: &Digest| {
            let found = graph.state().manifests().get(digest);
            let refers = found.is_some_and(|found| found.subject.is_some());
            u8::from(!refers && !companions.contains(digest))
        };
        let mut waiting: BTreeMap<&Digest, usize> = parents
            .iter()
            .map(|(digest, parents)| (*digest, parents.len()))
            .collect();
        let mut ready: BTreeSet<(u8, &Digest)> = lost
            .iter()
            .filter(|digest| !parents.contains_key(*digest))
            .map(|digest| (rank(digest), *digest))
            .collect();
        while let Some((_, digest)) = ready.pop_first() {
            let parents = parents.get(digest).map(Vec::as_slice).unwrap_or_default();
            self.delete(digest, parents);
            for to in named(digest) {
                if let Some(count) = waiting.get_mut(to) {
                    *count -= 1;
                    if *count == 0 {
                        ready.insert((rank(to), to));
                    }
                }
            }
        }
    }

    fn delete(&mut self, digest: &'a Digest, parents: &[&'a Digest]) {
        let mut tags = BTreeMap::new();
        if self.traits.deletes_with_tags() {
            tags = self.removed.remove(digest).unwrap_or_default();
        } else {
            self.remove_tags(digest, parents);
        }
        if self.traits.deletes_manifests() {
            self.add(PruneAct::DeleteManifest, digest, tags, parents);
        }
    }

    fn remove_tags(&mut self, digest: &'a Digest, parents: &[&'a Digest]) {
        for (tag, reason) in self.removed.remove(digest).unwrap_or_default() {
            let tags = BTreeMap::from([(tag.clone(), reason)]);
            self.add(PruneAct::RemoveTag(tag), digest, tags, parents);
        }
    }

    fn add(
        &mut self,
        act: PruneAct,
        digest: &'a Digest,
        tags: BTreeMap<ImageTag, RemovalReason>,
        parents: &[&'a Digest],
    ) {
        let before = parents.iter().chain([&digest]);
        let needs: BTreeSet<usize> = before
            .filter_map(|digest| self.last.get(digest).copied())
            .collect();
        let found = self.graph.state().manifests().get(digest);
        self.last.insert(digest, self.steps.len());
        self.steps.push(PruneStep {
            act,
            digest: digest.clone(),
            kind: found.map_or(ManifestKind::Image, |found| found.kind),
            tags,
            needs,
        });
    }
}
