//! Whether a plan is still valid.

use std::collections::{BTreeMap, BTreeSet};

use super::{PruneAct, PrunePlan, PruneStep, StalePlan};
use crate::prune::graph::{KeepReason, KeptContent, RepositoryGraph, RepositoryState};
use crate::prune::policy::PruneRoots;
use crate::types::{Digest, ImageTag};

/// What a plan must respect, by a new reading of the repository.
#[derive(Debug)]
pub(crate) struct PruneRecheck<'p> {
    plan: &'p PrunePlan,
    tags: BTreeMap<ImageTag, Digest>,
    /// The manifests that the plan deletes, but that something needs now.
    needed: BTreeSet<Digest>,
}

impl PrunePlan {
    /// Checks, before the first step, that the repository is still the one for which the plan was made.
    ///
    /// # Errors
    /// A tag, a manifest or a time is not the same.
    pub(crate) fn check_unchanged(&self, state: &RepositoryState) -> Result<(), StalePlan> {
        if state.fingerprint() == self.fingerprint {
            Ok(())
        } else {
            Err(StalePlan::Changed)
        }
    }

    /// Prepares checks of steps by `fresh`, a reading of the repository after some of the steps were made.
    ///
    /// Everything in it that the plan does not delete is a root: tags that are new or have moved, new manifests, new
    /// records of runs, and all that the plan keeps.
    ///
    /// # Errors
    /// The repository is closed, or a digest of `roots` was not looked up.
    pub(crate) fn recheck(
        &self,
        fresh: &RepositoryState,
        roots: &PruneRoots,
    ) -> Result<PruneRecheck<'_>, StalePlan> {
        let mut protected = roots.locked.iter().chain(&roots.in_use);
        if !fresh.closed().is_empty() || protected.any(|digest| !fresh.knows(digest)) {
            return Err(StalePlan::Closed);
        }
        let graph = RepositoryGraph::of(fresh);
        let mut found: Vec<&Digest> = Vec::new();
        let manifests = fresh.manifests().keys();
        found.extend(manifests.filter(|digest| {
            !self.lost.contains(*digest)
                || roots.locked.contains(*digest)
                || roots.in_use.contains(*digest)
        }));
        for (tag, digest) in fresh.tags() {
            if self.removed_tags.get(tag) == Some(digest) {
                continue;
            }
            found.push(digest);
            let is_new = self
                .kept_tags
                .get(tag)
                .is_none_or(|(kept, _)| kept != digest);
            if is_new {
                found.extend(fresh.companion(tag).unwrap_or_default());
            }
        }
        for (tag, digest, record) in fresh.records() {
            if self.removed_tags.get(tag) != Some(digest) {
                found.extend(&record.names);
            }
        }
        let found = found.into_iter().map(|digest| (digest, KeepReason::InUse));
        let kept = KeptContent::from_roots(&graph, found);
        let needed = self.lost.iter();
        let needed = needed.filter(|digest| kept.manifests.contains_key(digest));
        Ok(PruneRecheck {
            plan: self,
            tags: fresh.tags().clone(),
            needed: needed.cloned().collect(),
        })
    }
}

impl PruneRecheck<'_> {
    /// The tags as they were read, without those that were removed since then.
    pub(crate) const fn tags(&self) -> &BTreeMap<ImageTag, Digest> {
        &self.tags
    }

    /// Notes that a step was made, so that the same reading serves for the next one. What else a reading would show now,
    /// it does not know.
    pub(crate) fn made(&mut self, step: &PruneStep) {
        for tag in step.tags.keys() {
            self.tags.remove(tag);
        }
    }

    /// Checks a step right before it is made.
    ///
    /// # Errors
    /// One of its tags has moved; the manifest has got another tag; or something that stays leads to it.
    pub(crate) fn allows(&self, step: &PruneStep) -> Result<(), StalePlan> {
        for tag in step.tags.keys() {
            if self.tags.get(tag) != Some(&step.digest) {
                return Err(StalePlan::TagMoved(tag.clone()));
            }
        }
        let is_lost = self.plan.lost.contains(&step.digest);
        if self.needed.contains(&step.digest) {
            return Err(StalePlan::Needed(step.digest.clone()));
        }
        let others = self
            .tags
            .iter()
            .filter(|(_, digest)| **digest == step.digest);
        let mut others = others.filter(|(tag, _)| !step.tags.contains_key(*tag));
        match step.act {
            PruneAct::DeleteManifest => match others.next() {
                None => Ok(()),
                Some((tag, _)) => Err(StalePlan::NewTag {
                    tag: tag.clone(),
                    digest: step.digest.clone(),
                }),
            },
            PruneAct::RemoveTag(_) => {
                let is_planned =
                    |tag: &ImageTag| self.plan.removed_tags.get(tag) == Some(&step.digest);
                let has_kept = others.any(|(tag, _)| !is_planned(tag));
                if !is_lost && self.plan.traits.last_tag_deletes() && !has_kept {
                    return Err(StalePlan::LastTag(step.digest.clone()));
                }
                Ok(())
            }
        }
    }
}
