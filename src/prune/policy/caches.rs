//! Which caches stay.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::{PolicyInput, RemovalReason, TagKeepReason, TagRules, TagVerdict};
use crate::prune::graph::{ManifestKind, StoredManifest};
use crate::publish::pattern::{LONGEST_PATTERN, matches_whole};
use crate::types::terminal::visible;
use crate::types::{Digest, ImageTag};

/// The branch that wrote a cache.
pub(crate) const BRANCH: &str = "vnd.rbake.cache.branch";
/// The number of the pull request that wrote a cache.
pub(crate) const PULL_REQUEST: &str = "vnd.rbake.cache.pull-request";

/// The longest name of a branch or target, in bytes. Longer ones count as unknown.
const LONGEST_NAME: usize = 1024;

/// The rules for caches.
#[derive(Debug, Clone, Default)]
pub(crate) struct CachePolicy {
    /// The caches of these branches stay in any case.
    pub(crate) branches: Vec<BranchPattern>,
    /// The number of pull requests whose caches stay: those that wrote a cache last.
    pub(crate) pull_requests: usize,
    /// The largest size of all caches, in bytes. Above it, the oldest caches of pull requests are removed. What else
    /// stays is not removed, even if it is larger.
    pub(crate) ceiling: Option<u64>,
    /// Whether caches whose owner is not known are removed. Otherwise they stay.
    pub(crate) removes_unowned: bool,
}

/// A pattern of branches, such as `release/*`. `*` stands for any number of characters, `/` among them, and `?` for
/// exactly one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BranchPattern(String);

/// The text is not a pattern of branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern of branches has 1 to {LONGEST_PATTERN} bytes")]
pub(crate) struct InvalidBranchPattern;

impl BranchPattern {
    /// Whether the pattern matches the whole name.
    pub(crate) fn matches(&self, branch: &str) -> bool {
        matches_whole(&self.0, branch)
    }
}

impl FromStr for BranchPattern {
    type Err = InvalidBranchPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > LONGEST_PATTERN {
            return Err(InvalidBranchPattern);
        }
        Ok(Self(text.to_owned()))
    }
}

/// What wrote a cache.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CacheOwner {
    /// A build of a branch.
    Branch(String),
    /// A build of a pull request. It has a branch, too, which does not count: the fork of a stranger may have a `main`.
    PullRequest(u64),
}

impl CacheOwner {
    /// The owner of a cache, by its annotations. `None` if they do not tell.
    pub(crate) fn of(cache: &StoredManifest) -> Option<Self> {
        if let Some(number) = cache.owner.get(PULL_REQUEST) {
            return number.parse().ok().map(Self::PullRequest);
        }
        let branch = cache.owner.get(BRANCH)?;
        let is_name = !branch.is_empty() && branch.len() <= LONGEST_NAME;
        is_name.then(|| Self::Branch(branch.clone()))
    }
}

impl fmt::Display for CacheOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(branch) => write!(f, "branch `{}`", visible(branch)),
            Self::PullRequest(number) => write!(f, "pull request {number}"),
        }
    }
}

impl CachePolicy {
    pub(super) fn rules<'r, 'a>(
        &'r self,
        input: &'r PolicyInput<'_, 'a>,
    ) -> Box<dyn TagRules<'a> + 'r> {
        let state = input.graph.state();
        // The newest cache of each pull request. With one of an unknown age, the pull request stays.
        let mut times: BTreeMap<u64, Option<Timestamp>> = BTreeMap::new();
        for digest in state.tags().values() {
            let Some(cache) = state.manifests().get(digest) else {
                continue;
            };
            let (ManifestKind::Cache, Some(CacheOwner::PullRequest(number))) =
                (cache.kind, CacheOwner::of(cache))
            else {
                continue;
            };
            let time = input.ages.own_time(digest);
            let known = times.entry(number).or_insert(time);
            *known = known.and_then(|known| time.map(|time| known.max(time)));
        }
        let mut order: Vec<Timestamp> = times.values().copied().flatten().collect();
        order.sort_unstable_by_key(|time| Reverse(*time));
        let oldest = order.get(..self.pull_requests).unwrap_or(&order);
        let oldest = oldest.last().copied();
        let is_kept = |time: &Option<Timestamp>| {
            time.is_none_or(|time| oldest.is_some_and(|oldest| time >= oldest))
        };
        let kept = times.into_iter().filter(|(_, time)| is_kept(time));
        Box::new(CacheRules {
            policy: self,
            pull_requests: kept.map(|(number, _)| number).collect(),
        })
    }
}

struct CacheRules<'r> {
    policy: &'r CachePolicy,
    pull_requests: BTreeSet<u64>,
}

impl<'a> TagRules<'a> for CacheRules<'_> {
    fn pattern(&self, _: &ImageTag) -> Option<String> {
        None
    }

    fn verdict(
        &self,
        _: &'a ImageTag,
        _: &Digest,
        manifest: &StoredManifest,
        _: Timestamp,
    ) -> TagVerdict {
        match CacheOwner::of(manifest) {
            None if self.policy.removes_unowned => TagVerdict::Remove(RemovalReason::NoOwner),
            None => TagVerdict::Keep(TagKeepReason::NoOwner),
            Some(CacheOwner::PullRequest(number)) if self.pull_requests.contains(&number) => {
                TagVerdict::Keep(TagKeepReason::PullRequest(number))
            }
            Some(CacheOwner::PullRequest(number)) => {
                TagVerdict::Remove(RemovalReason::PullRequest(number))
            }
            Some(CacheOwner::Branch(branch)) => {
                let mut patterns = self.policy.branches.iter();
                if patterns.any(|pattern| pattern.matches(&branch)) {
                    TagVerdict::Keep(TagKeepReason::Branch(branch))
                } else {
                    TagVerdict::Remove(RemovalReason::Branch(branch))
                }
            }
        }
    }
}
