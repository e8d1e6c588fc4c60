//! Which tags stay.
//!
//! A tag is removed only if a rule of the policy is about it, if its age is known, and if it is old enough.

mod caches;
mod images;
mod reasons;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::graph::{
    ManifestAges, ManifestKind, RepositoryGraph, RepositoryState, RunRecord, StoredManifest,
};
use crate::types::{Digest, ImageTag};

#[cfg(test)]
pub(crate) use caches::CacheOwner;
pub(crate) use caches::{BranchPattern, CachePolicy};
pub(crate) use images::{ImagePolicy, RecordRetention, TagGroup};
pub(crate) use reasons::{RemovalReason, TagKeepReason, TagVerdict};

/// The default grace time: everything younger stays, because a build may be about to use it.
pub(crate) const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// What to prune.
#[derive(Debug, Clone)]
pub(crate) enum RetentionPolicy {
    /// Images and records of runs. Caches stay.
    Images(ImagePolicy),
    /// Caches. Everything else stays.
    Caches(CachePolicy),
}

impl RetentionPolicy {
    /// Whether manifests of this kind may be deleted.
    pub(crate) const fn applies_to(&self, kind: ManifestKind) -> bool {
        match (self, kind) {
            (_, ManifestKind::Placeholder) => true,
            (Self::Images(_), kind) => !matches!(kind, ManifestKind::Cache),
            (Self::Caches(_), kind) => matches!(kind, ManifestKind::Cache),
        }
    }
}

/// The tags of the records of runs that stay by the policy.
pub(super) fn kept_records<'a>(
    state: &'a RepositoryState,
    policy: &RetentionPolicy,
    now: Timestamp,
) -> BTreeSet<&'a ImageTag> {
    let records = state.records().map(|(tag, _, record)| (tag, record));
    match policy {
        RetentionPolicy::Images(policy) => policy.records.kept(records, now),
        RetentionPolicy::Caches(_) => records.map(|(tag, _)| tag).collect(),
    }
}

/// Digests that stay in any case. Each must have been read, or be absent.
#[derive(Debug, Clone, Default)]
pub(crate) struct PruneRoots {
    /// Digests in lock files.
    pub(crate) locked: BTreeSet<Digest>,
    /// Digests that run somewhere.
    pub(crate) in_use: BTreeSet<Digest>,
}

/// A request to prune a repository.
#[derive(Debug, Clone)]
pub(crate) struct PruneRequest {
    /// The rules.
    pub(crate) policy: RetentionPolicy,
    /// Everything younger stays; see [`GRACE`].
    pub(crate) grace: Duration,
    /// The time by which ages are computed.
    pub(crate) now: Timestamp,
    /// What stays in any case.
    pub(crate) roots: PruneRoots,
}

/// What the rules need to know of a repository.
pub(super) struct PolicyInput<'g, 'a> {
    pub(super) graph: &'g RepositoryGraph<'a>,
    pub(super) ages: &'g ManifestAges<'a>,
    pub(super) request: &'g PruneRequest,
    /// The tags of the records of runs that stay by the policy.
    pub(super) records: &'g BTreeSet<&'a ImageTag>,
    /// The first of the runs that have not ended.
    pub(super) lease: Option<&'a RunRecord>,
}

impl<'g, 'a> PolicyInput<'g, 'a> {
    /// The input for `request`.
    pub(super) fn new(
        graph: &'g RepositoryGraph<'a>,
        ages: &'g ManifestAges<'a>,
        request: &'g PruneRequest,
        records: &'g BTreeSet<&'a ImageTag>,
    ) -> Self {
        let open = graph
            .state()
            .records()
            .filter(|(_, _, record)| !record.is_ended)
            .map(|(_, _, record)| record)
            .min_by(|one, other| (one.started, &one.run).cmp(&(other.started, &other.run)));
        Self {
            graph,
            ages,
            request,
            records,
            lease: open,
        }
    }

    /// Decides about each tag. Tags whose manifest is not in the repository do not occur.
    pub(super) fn verdicts(&self) -> BTreeMap<&'a ImageTag, TagVerdict> {
        let state = self.graph.state();
        let rules = match &self.request.policy {
            RetentionPolicy::Images(policy) => policy.rules(self),
            RetentionPolicy::Caches(policy) => policy.rules(self),
        };
        let tags = state.tags().iter();
        let tags = tags.filter_map(|(tag, digest)| {
            let manifest = state.manifests().get(digest)?;
            Some((tag, self.verdict(tag, digest, manifest, &*rules)))
        });
        tags.collect()
    }

    fn verdict(
        &self,
        tag: &'a ImageTag,
        digest: &Digest,
        manifest: &StoredManifest,
        rules: &dyn TagRules<'a>,
    ) -> TagVerdict {
        if let Some(owners) = self.graph.state().companion(tag) {
            return match rules.pattern(tag) {
                Some(pattern) => TagVerdict::Keep(TagKeepReason::Pattern(pattern)),
                None if owners.is_empty() => TagVerdict::Keep(TagKeepReason::Elsewhere),
                None => TagVerdict::Follow,
            };
        }
        let Some(time) = self.ages.own_time(digest) else {
            return TagVerdict::Keep(TagKeepReason::NoTime);
        };
        if let Some(reason) = self.protection(time) {
            return TagVerdict::Keep(reason);
        }
        if manifest.kind == ManifestKind::Placeholder {
            return TagVerdict::Remove(RemovalReason::Placeholder);
        }
        if !self.request.policy.applies_to(manifest.kind) {
            return TagVerdict::Keep(TagKeepReason::OtherKind);
        }
        rules.verdict(tag, digest, manifest, time)
    }

    /// Why everything of this age stays. `None` if it may go.
    pub(super) fn protection(&self, time: Timestamp) -> Option<TagKeepReason> {
        if self.ages.is_younger(time, self.request.grace) {
            return Some(TagKeepReason::Grace);
        }
        let lease = self.lease.filter(|lease| time >= lease.started);
        lease.map(|lease| TagKeepReason::Lease(lease.run.clone()))
    }
}

/// The rules of one policy.
pub(super) trait TagRules<'a> {
    /// The pattern of the user by which a tag stays in any case.
    fn pattern(&self, tag: &ImageTag) -> Option<String>;

    /// Decides about a tag that is old enough to go and to which the policy applies.
    fn verdict(
        &self,
        tag: &'a ImageTag,
        digest: &Digest,
        manifest: &StoredManifest,
        time: Timestamp,
    ) -> TagVerdict;
}
