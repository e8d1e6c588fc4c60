//! What stays and what goes, before the order of deletions.

use std::collections::{BTreeMap, BTreeSet};

use super::sizes;
use super::traits::DeletionTraits;
use crate::prune::graph::{KeepReason, KeptContent, ManifestKind, RepositoryGraph};
use crate::prune::policy::{
    PolicyInput, RemovalReason, RetentionPolicy, TagKeepReason, TagVerdict,
};
use crate::types::{Digest, ImageTag};

type Verdicts<'a> = BTreeMap<&'a ImageTag, TagVerdict>;
type Roots<'a> = Vec<(&'a Digest, KeepReason)>;

/// What stays and what goes.
#[derive(Debug)]
pub(super) struct PruneDecision<'a> {
    /// The decision about each tag; [`TagVerdict::Follow`] does not occur.
    pub(super) tags: Verdicts<'a>,
    /// What stays.
    pub(super) kept: KeptContent<'a>,
    /// The size of the caches that stay. `None` if the policy is not about caches.
    pub(super) cache_bytes: Option<u64>,
}

/// Decides about everything in a repository.
pub(super) fn decide<'a>(input: &PolicyInput<'_, 'a>, traits: DeletionTraits) -> PruneDecision<'a> {
    let mut tags = input.verdicts();
    if !traits.deletes_tags() && !traits.deletes_with_tags() {
        for verdict in tags.values_mut().filter(|verdict| !is_kept(verdict)) {
            *verdict = TagVerdict::Keep(TagKeepReason::CannotUntag);
        }
    }
    let cache_bytes = match &input.request.policy {
        RetentionPolicy::Images(_) => None,
        RetentionPolicy::Caches(policy) => Some(apply_ceiling(
            input,
            &mut tags,
            policy.ceiling.unwrap_or(u64::MAX),
        )),
    };
    loop {
        let decision = settle(input, traits, tags.clone(), cache_bytes);
        // The record of a run may stay only because its tag cannot go. It is a record all the same, so what it names
        // stays, too.
        let records = input.graph.state().records();
        let late: Vec<_> = records
            .filter(|(tag, ..)| !tags.get(tag).is_some_and(is_kept))
            .filter_map(|(tag, ..)| Some((tag, decision.tags.get(tag)?.clone())))
            .filter(|(_, verdict)| is_kept(verdict))
            .collect();
        if late.is_empty() {
            return decision;
        }
        tags.extend(late);
    }
}

/// Finds out what the tags that stay keep, and which companions and tags stay because of that.
fn settle<'a>(
    input: &PolicyInput<'_, 'a>,
    traits: DeletionTraits,
    mut tags: Verdicts<'a>,
    cache_bytes: Option<u64>,
) -> PruneDecision<'a> {
    let kept = KeptContent::from_roots(input.graph, roots(input, &tags));
    for (tag, verdict) in &mut tags {
        if *verdict == TagVerdict::Follow {
            *verdict = if kept.companions.contains(tag) {
                TagVerdict::Keep(TagKeepReason::Companion)
            } else {
                TagVerdict::Remove(RemovalReason::Companion)
            };
        }
    }
    keep_tags_that_cannot_go(input.graph, &kept, traits, &mut tags);
    PruneDecision {
        tags,
        kept,
        cache_bytes,
    }
}

const fn is_kept(verdict: &TagVerdict) -> bool {
    matches!(verdict, TagVerdict::Keep(_))
}

/// Everything that stays for its own sake.
fn roots<'a>(input: &PolicyInput<'_, 'a>, tags: &Verdicts<'a>) -> Roots<'a> {
    let state = input.graph.state();
    let mut roots = Vec::new();
    for (tag, _) in tags.iter().filter(|(_, verdict)| is_kept(verdict)) {
        let owners = state.companion(tag).unwrap_or_default();
        for digest in state.tags().get(*tag).into_iter().chain(owners) {
            roots.push((digest, KeepReason::Tag((*tag).clone())));
        }
    }
    let is_here = |digest: &&'a Digest| state.manifests().contains_key(*digest);
    for digest in state.manifests().keys() {
        if input.request.roots.locked.contains(digest) {
            roots.push((digest, KeepReason::Locked));
        }
        if input.request.roots.in_use.contains(digest) {
            roots.push((digest, KeepReason::InUse));
        }
    }
    for (tag, _, record) in state.records() {
        if tags.get(tag).is_some_and(is_kept) {
            let names = record.names.iter().filter(is_here);
            roots.extend(names.map(|name| (name, KeepReason::Named(record.run.clone()))));
        }
    }
    let of_caches = of_caches(input);
    for (digest, manifest) in state.manifests() {
        let applies = input.request.policy.applies_to(manifest.kind) || of_caches.contains(digest);
        let subject = manifest
            .subject
            .as_ref()
            .filter(|subject| !is_here(subject));
        let time = input.ages.time(digest);
        let protection = time.map_or(Some(TagKeepReason::NoTime), |time| input.protection(time));
        let reason = match (protection, subject) {
            (Some(TagKeepReason::Lease(run)), _) => KeepReason::Lease(run),
            (Some(TagKeepReason::NoTime), _) => KeepReason::NoTime,
            (Some(_), _) => KeepReason::Grace,
            (None, Some(subject)) => KeepReason::Elsewhere(subject.clone()),
            (None, None) if !applies => KeepReason::OtherKind,
            (None, None) => continue,
        };
        roots.push((digest, reason));
    }
    // A signature that was just made needs its image. One that has no time of its own has that of the image.
    for (tag, target) in state.tags() {
        let own = state.manifests().get(target).and_then(|found| found.time);
        if own.is_some_and(|time| input.protection(time).is_some()) {
            let owners = state.companion(tag).unwrap_or_default();
            roots.extend(owners.iter().map(|owner| (owner, KeepReason::Grace)));
        }
    }
    roots
}

/// What belongs to caches, such as their signatures. Empty if the policy is about images.
fn of_caches<'a>(input: &PolicyInput<'_, 'a>) -> BTreeSet<&'a Digest> {
    let mut found = BTreeSet::new();
    if matches!(input.request.policy, RetentionPolicy::Images(_)) {
        return found;
    }
    let graph = input.graph;
    let manifests = graph.state().manifests().iter();
    let caches = manifests.filter(|(_, manifest)| manifest.kind == ManifestKind::Cache);
    let mut open: Vec<&Digest> = caches.map(|(digest, _)| digest).collect();
    while let Some(digest) = open.pop() {
        if found.insert(digest) {
            open.extend(graph.referrers(digest));
            open.extend(graph.companions(digest).map(|(_, to)| to));
        }
    }
    found
}

/// Removes the oldest caches of pull requests until all caches have at most `ceiling` bytes. Returns the size of those
/// that stay.
fn apply_ceiling<'a>(input: &PolicyInput<'_, 'a>, tags: &mut Verdicts<'a>, ceiling: u64) -> u64 {
    let state = input.graph.state();
    let is_candidate =
        |verdict: &TagVerdict| matches!(verdict, TagVerdict::Keep(TagKeepReason::PullRequest(_)));
    let mut without = tags.clone();
    without.retain(|_, verdict| !is_candidate(verdict));
    let base = KeptContent::from_roots(input.graph, roots(input, &without));
    // The rest stays for other reasons, so that removing its tag would free nothing.
    let candidates = tags.iter().filter(|(_, verdict)| is_candidate(verdict));
    let candidates = candidates.filter_map(|(tag, _)| state.tags().get(*tag));
    let candidates: BTreeSet<_> = candidates
        .filter(|digest| !base.manifests.contains_key(digest))
        .filter_map(|digest| Some((input.ages.own_time(digest)?, digest)))
        .collect();
    let candidates: Vec<&Digest> = candidates.into_iter().map(|(_, digest)| digest).collect();
    let others: Vec<&Digest> = base
        .manifests
        .keys()
        .copied()
        .filter(|digest| {
            let found = state.manifests().get(digest);
            found.is_some_and(|found| found.kind == ManifestKind::Cache)
        })
        .collect();
    let size = |removed: usize| {
        let rest = candidates.get(removed..).unwrap_or_default();
        sizes::sum(sizes::content(state, others.iter().chain(rest).copied()).into_values())
    };
    // The size falls with each removal, so the number of removals can be found by bisection.
    let (mut low, mut high) = (0, candidates.len());
    while low < high {
        let middle = low.midpoint(high);
        if size(middle) <= ceiling {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let removed: BTreeSet<_> = candidates.iter().take(low).copied().collect();
    for (tag, verdict) in tags.iter_mut().filter(|(_, verdict)| is_candidate(verdict)) {
        if state
            .tags()
            .get(*tag)
            .is_some_and(|digest| removed.contains(digest))
        {
            *verdict = TagVerdict::Remove(RemovalReason::Ceiling);
        }
    }
    size(low)
}

/// Keeps the tags of manifests that stay, if the registry cannot remove the tags without the manifests.
fn keep_tags_that_cannot_go<'a>(
    graph: &RepositoryGraph<'a>,
    kept: &KeptContent<'a>,
    traits: DeletionTraits,
    tags: &mut Verdicts<'a>,
) {
    for (digest, names) in graph.state().tags_of() {
        if !kept.manifests.contains_key(digest) {
            continue;
        }
        let has_kept = names.iter().any(|tag| tags.get(tag).is_some_and(is_kept));
        let reason = if !traits.deletes_tags() {
            TagKeepReason::CannotUntag
        } else if traits.last_tag_deletes() && !has_kept {
            TagKeepReason::LastTag
        } else {
            continue;
        };
        // A companion whose manifest goes is of no use, so another tag is better to hold the manifest.
        let is_companion = |tag: &&ImageTag| graph.state().companion(tag).is_some();
        let has_other = names.iter().any(|tag| !is_companion(tag));
        let may_go = reason == TagKeepReason::LastTag && has_other;
        for tag in names.iter().filter(|tag| !may_go || !is_companion(tag)) {
            if let Some(verdict) = tags.get_mut(tag).filter(|verdict| !is_kept(verdict)) {
                *verdict = TagVerdict::Keep(reason.clone());
            }
        }
    }
}
