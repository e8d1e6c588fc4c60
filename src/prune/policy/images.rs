//! Which tags of images stay, and which records of runs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::{PolicyInput, RemovalReason, TagKeepReason, TagRules, TagVerdict};
use crate::prune::graph::{ManifestAges, ManifestKind, RunRecord, StoredManifest, is_younger};
use crate::publish::journal::artifact::run_of;
use crate::publish::pattern::TagPattern;
use crate::types::{Digest, ImageTag};

/// The rules for images. A tag that no group matches stays.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImagePolicy {
    /// Tags that stay in any case.
    pub(crate) keep: Vec<TagPattern>,
    /// Tags of which the newest stay.
    pub(crate) groups: Vec<TagGroup>,
    /// Tags that are younger stay.
    pub(crate) younger_than: Duration,
    /// Which records of runs stay.
    pub(crate) records: RecordRetention,
}

/// Tags of the same purpose, such as `build-*`.
#[derive(Debug, Clone)]
pub(crate) struct TagGroup {
    /// A tag belongs to the group if one of these matches it.
    pub(crate) patterns: Vec<TagPattern>,
    /// The number of images that stay, with all of their tags in this group. Images of the same age as the last of
    /// them stay, too, and so do those of an unknown age.
    pub(crate) newest: usize,
}

/// Which records of runs stay. The record of a run that has not ended always does.
#[derive(Debug, Clone)]
pub(crate) struct RecordRetention {
    /// The number of the newest runs whose records stay.
    pub(crate) newest: usize,
    /// Younger records stay, too.
    pub(crate) younger_than: Duration,
}

impl Default for RecordRetention {
    fn default() -> Self {
        Self {
            newest: 20,
            younger_than: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

impl RecordRetention {
    /// The tags of the records that stay.
    pub(super) fn kept<'a>(
        &self,
        records: impl Iterator<Item = (&'a ImageTag, &'a RunRecord)>,
        now: Timestamp,
    ) -> BTreeSet<&'a ImageTag> {
        let mut records: Vec<_> = records.collect();
        records.sort_by_key(|(_, record)| Reverse((record.started, record.run.clone())));
        let kept = records.iter().enumerate().filter(|(place, (_, record))| {
            *place < self.newest
                || !record.is_ended
                || is_younger(now, record.started, self.younger_than)
        });
        kept.map(|(_, (tag, _))| *tag).collect()
    }
}

impl ImagePolicy {
    pub(super) fn rules<'r, 'a>(
        &'r self,
        input: &'r PolicyInput<'_, 'a>,
    ) -> Box<dyn TagRules<'a> + 'r> {
        Box::new(ImageRules {
            policy: self,
            ages: input.ages,
            records: input.records,
            oldest: self
                .groups
                .iter()
                .map(|group| group.oldest(input))
                .collect(),
        })
    }
}

impl TagGroup {
    fn matches(&self, tag: &ImageTag) -> bool {
        self.patterns
            .iter()
            .any(|pattern| pattern.matches(tag.as_str()))
    }

    /// The time of the oldest image that stays. `None` if none of those with a known time stays.
    fn oldest(&self, input: &PolicyInput<'_, '_>) -> Option<Timestamp> {
        let state = input.graph.state();
        let mut images: BTreeMap<&Digest, Timestamp> = BTreeMap::new();
        for (tag, digest) in state.tags() {
            let kind = state.manifests().get(digest).map(|found| found.kind);
            let is_image = !matches!(
                kind,
                None | Some(ManifestKind::Cache | ManifestKind::Placeholder)
            );
            let is_name = state.companion(tag).is_none() && run_of(tag.as_str()).is_none();
            if let Some(time) = input.ages.own_time(digest)
                && is_image
                && is_name
                && self.matches(tag)
            {
                images.insert(digest, time);
            }
        }
        let mut times: Vec<Timestamp> = images.into_values().collect();
        times.sort_unstable_by_key(|time| Reverse(*time));
        let last = self.newest.checked_sub(1)?;
        // If there are fewer, all stay.
        Some(times.get(last).copied().unwrap_or(Timestamp::MIN))
    }
}

struct ImageRules<'r, 'a> {
    policy: &'r ImagePolicy,
    ages: &'r ManifestAges<'a>,
    /// The tags of the records that stay.
    records: &'r BTreeSet<&'a ImageTag>,
    /// For each group, the time of the oldest image that stays.
    oldest: Vec<Option<Timestamp>>,
}

impl<'a> TagRules<'a> for ImageRules<'_, 'a> {
    fn pattern(&self, tag: &ImageTag) -> Option<String> {
        let mut patterns = self.policy.keep.iter();
        let found = patterns.find(|pattern| pattern.matches(tag.as_str()))?;
        Some(found.to_string())
    }

    fn verdict(
        &self,
        tag: &'a ImageTag,
        _: &Digest,
        manifest: &StoredManifest,
        time: Timestamp,
    ) -> TagVerdict {
        if let Some(pattern) = self.pattern(tag) {
            return TagVerdict::Keep(TagKeepReason::Pattern(pattern));
        }
        if manifest.kind == ManifestKind::Record && run_of(tag.as_str()).is_some() {
            return if self.records.contains(tag) {
                TagVerdict::Keep(TagKeepReason::Record)
            } else {
                TagVerdict::Remove(RemovalReason::OldRecord)
            };
        }
        if self.ages.is_younger(time, self.policy.younger_than) {
            return TagVerdict::Keep(TagKeepReason::Young);
        }
        let groups = self.policy.groups.iter().zip(&self.oldest);
        let mut superseded = None;
        for (group, oldest) in groups.filter(|(group, _)| group.matches(tag)) {
            if oldest.is_some_and(|oldest| time >= oldest) {
                return TagVerdict::Keep(TagKeepReason::Newest(group.newest));
            }
            superseded = Some(RemovalReason::Superseded(group.newest));
        }
        superseded.map_or(TagVerdict::Keep(TagKeepReason::NoRule), TagVerdict::Remove)
    }
}
