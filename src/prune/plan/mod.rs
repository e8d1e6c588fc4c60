//! Which deletions a policy means for a repository, and in which order.
//!
//! Start at [`plan()`]. The caller shows the plan and checks [`PrunePlan::check_limit`]. To carry it out, it reads the
//! repository again ([`PrunePlan::check_unchanged`]), walks through [`PruneProgress`], asks
//! [`PruneRecheck::allows`] right before each step, and at the end looks for [`PrunePlan::losses`].

mod decide;
mod losses;
mod order;
mod progress;
mod recheck;
mod refusal;
mod sizes;
mod traits;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::graph::{KeepReason, ManifestAges, ManifestKind, RepositoryGraph, RepositoryState};
use super::policy::{
    PolicyInput, PruneRequest, RemovalReason, TagKeepReason, TagVerdict, kept_records,
};
use crate::publish::journal::RunId;
use crate::types::{Digest, ImageTag};

pub(crate) use losses::PruneLoss;
pub(crate) use progress::{PruneProgress, PruneTally, StepOutcome};
pub(crate) use recheck::PruneRecheck;
pub(crate) use refusal::{PruneRefusal, StalePlan, TooManyDeletions};
pub(crate) use traits::{DeletionTraits, DeniedDeletion, TagRemoval};
#[cfg(test)]
pub(crate) use traits::{ManifestRemoval, TaggedManifest, UntaggedManifest};

/// How many of the manifests a plan may delete without a second flag, in percent.
pub(crate) const MAX_DELETE: u8 = 50;

/// What one step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PruneAct {
    /// Removes a tag, in the way of [`DeletionTraits::tags`].
    RemoveTag(ImageTag),
    /// Deletes a manifest, with all of its tags that are left.
    DeleteManifest,
}

/// One deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PruneStep {
    /// What it does.
    pub(crate) act: PruneAct,
    /// The manifest that goes, or that has the tag.
    pub(crate) digest: Digest,
    /// What the manifest is.
    pub(crate) kind: ManifestKind,
    /// The tags that go with this step, and why. They point to the manifest, and no other tag may do so when the
    /// manifest is deleted.
    pub(crate) tags: BTreeMap<ImageTag, RemovalReason>,
    /// The earlier steps, by number, without which this one must not be made.
    pub(crate) needs: BTreeSet<usize>,
}

impl PruneStep {
    /// Why the step is made. One of several reasons if several tags go.
    pub(crate) fn reason(&self) -> &RemovalReason {
        self.tags
            .values()
            .next()
            .unwrap_or(&RemovalReason::Unreached)
    }
}

/// What will be deleted from a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PrunePlan {
    fingerprint: Digest,
    traits: DeletionTraits,
    steps: Vec<PruneStep>,
    removed_tags: BTreeMap<ImageTag, Digest>,
    kept_tags: BTreeMap<ImageTag, (Digest, TagKeepReason)>,
    kept: BTreeMap<Digest, KeepReason>,
    lost: BTreeSet<Digest>,
    freed: u64,
    cache_bytes: Option<u64>,
    lease: Option<RunId>,
}

/// Plans what to delete from a repository. Equal input gives equal plans.
///
/// # Errors
/// The repository is closed, or a digest of [`PruneRequest::roots`] was not looked up.
pub(crate) fn plan(
    state: &RepositoryState,
    request: &PruneRequest,
    traits: DeletionTraits,
) -> Result<PrunePlan, PruneRefusal> {
    if !state.closed().is_empty() {
        return Err(PruneRefusal::Closed);
    }
    let mut protected = request.roots.locked.iter().chain(&request.roots.in_use);
    if let Some(digest) = protected.find(|digest| !state.knows(digest)) {
        return Err(PruneRefusal::UnreadRoot(digest.clone()));
    }
    let graph = RepositoryGraph::of(state);
    let records = kept_records(state, &request.policy, request.now);
    let ages = ManifestAges::of(&graph, &records, request.now);
    let input = PolicyInput::new(&graph, &ages, request, &records);
    let decision = decide::decide(&input, traits);
    let mut plan = PrunePlan {
        fingerprint: state.fingerprint(),
        traits,
        steps: order::steps(&graph, &decision, traits),
        removed_tags: BTreeMap::new(),
        kept_tags: BTreeMap::new(),
        kept: BTreeMap::new(),
        lost: BTreeSet::new(),
        freed: 0,
        cache_bytes: decision.cache_bytes,
        lease: input.lease.map(|lease| lease.run.clone()),
    };
    for (tag, verdict) in decision.tags {
        let Some(digest) = state.tags().get(tag).cloned() else {
            continue;
        };
        match verdict {
            TagVerdict::Keep(reason) => {
                plan.kept_tags.insert(tag.clone(), (digest, reason));
            }
            TagVerdict::Remove(_) | TagVerdict::Follow => {
                plan.removed_tags.insert(tag.clone(), digest);
            }
        }
    }
    for digest in state.manifests().keys() {
        match decision.kept.manifests.get(digest) {
            Some(reason) => drop(plan.kept.insert(digest.clone(), reason.clone())),
            None => drop(plan.lost.insert(digest.clone())),
        }
    }
    let kept = sizes::content(state, plan.kept.keys());
    let lost = sizes::content(state, &plan.lost);
    let only_lost = lost
        .iter()
        .filter(|(digest, _)| !kept.contains_key(*digest));
    plan.freed = sizes::sum(only_lost.map(|(_, size)| *size));
    Ok(plan)
}

impl PrunePlan {
    /// The deletions, in order.
    pub(crate) fn steps(&self) -> &[PruneStep] {
        &self.steps
    }

    /// How the registry deletes.
    pub(crate) const fn traits(&self) -> DeletionTraits {
        self.traits
    }

    /// The tags that stay, where they point, and why they stay.
    pub(crate) const fn kept_tags(&self) -> &BTreeMap<ImageTag, (Digest, TagKeepReason)> {
        &self.kept_tags
    }

    /// The manifests that stay, each with the first reason that was found.
    pub(crate) const fn kept(&self) -> &BTreeMap<Digest, KeepReason> {
        &self.kept
    }

    /// The manifests that go. If the registry cannot delete manifests, they only lose their tags.
    pub(crate) const fn lost(&self) -> &BTreeSet<Digest> {
        &self.lost
    }

    /// Why a manifest stays: first its own reason, then that of the manifest which keeps it, up to a root.
    pub(crate) fn why(&self, digest: &Digest) -> Vec<(&Digest, &KeepReason)> {
        let mut chain = Vec::new();
        let mut next = self.kept.get_key_value(digest);
        while let Some((digest, reason)) = next {
            chain.push((digest, reason));
            next = match reason {
                KeepReason::Linked(_, from) => self.kept.get_key_value(from),
                _ => None,
            };
        }
        chain
    }

    /// An estimate of the bytes that the registry can free: manifests that go, and blobs that only these use.
    pub(crate) const fn freed(&self) -> u64 {
        self.freed
    }

    /// The size of the caches that stay. `None` if the policy is not about caches.
    pub(crate) const fn cache_bytes(&self) -> Option<u64> {
        self.cache_bytes
    }

    /// The first run that has not ended. Nothing younger than this run is deleted.
    pub(crate) const fn lease(&self) -> Option<&RunId> {
        self.lease.as_ref()
    }

    /// Checks that the plan deletes at most `max_delete` percent of the manifests; see [`MAX_DELETE`].
    ///
    /// # Errors
    /// It deletes more.
    pub(crate) fn check_limit(&self, max_delete: u8) -> Result<(), TooManyDeletions> {
        let deleted = self.lost.len();
        let total = deleted + self.kept.len();
        if deleted * 100 <= usize::from(max_delete) * total {
            return Ok(());
        }
        let needed = (deleted * 100).div_ceil(total.max(1));
        Err(TooManyDeletions {
            deleted,
            total,
            allowed: max_delete,
            needed: u8::try_from(needed).unwrap_or(100),
        })
    }

    /// A digest of the plan and of the repository for which it was made. If the user agreed to a plan with this
    /// digest, a plan with another one must be shown again.
    pub(crate) fn digest(&self) -> Digest {
        let mut text = format!("rbake prune 1\n{}\n", self.fingerprint);
        for step in &self.steps {
            let act = match &step.act {
                PruneAct::RemoveTag(_) => "untag",
                PruneAct::DeleteManifest => "delete",
            };
            // Writing to a string cannot fail.
            let _ = write!(text, "{act} {}", step.digest);
            for tag in step.tags.keys() {
                let _ = write!(text, " {tag}");
            }
            text.push('\n');
        }
        Digest::sha256(text.as_bytes())
    }
}
