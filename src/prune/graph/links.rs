//! Which manifest leads to which.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;

use super::state::RepositoryState;
use crate::types::{Digest, ImageTag};

/// How one manifest leads to another that must be kept with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LinkKind {
    /// An index to its children.
    Child,
    /// A manifest to its subject.
    Subject,
    /// A manifest to one whose subject it is.
    Referrer,
    /// A manifest to the one with its companion tag.
    Companion,
    /// An image to the newest index that has attestations of it.
    Attestation,
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Child => "a child of",
            Self::Subject => "the subject of",
            Self::Referrer => "a referrer of",
            Self::Companion => "a companion of",
            Self::Attestation => "the newest index with attestations of",
        })
    }
}

/// The links between the manifests of a repository.
#[derive(Debug)]
pub(crate) struct RepositoryGraph<'a> {
    pub(super) state: &'a RepositoryState,
    /// Each manifest's children and its subject, which its bytes name.
    named: BTreeMap<&'a Digest, BTreeMap<&'a Digest, LinkKind>>,
    /// The referrers of a manifest.
    referrers: BTreeMap<&'a Digest, BTreeSet<&'a Digest>>,
    /// The companion tags of a manifest.
    companions: BTreeMap<&'a Digest, BTreeSet<&'a ImageTag>>,
    /// The newest index that has attestations of a manifest.
    attesting: BTreeMap<&'a Digest, &'a Digest>,
}

impl<'a> RepositoryGraph<'a> {
    /// The links between the manifests of `state`.
    pub(crate) fn of(state: &'a RepositoryState) -> Self {
        let mut graph = Self {
            state,
            named: BTreeMap::new(),
            referrers: BTreeMap::new(),
            companions: BTreeMap::new(),
            attesting: BTreeMap::new(),
        };
        for digest in state.manifests.keys() {
            graph.add(digest);
        }
        for tag in state.tags.keys() {
            for owner in state.companion(tag).unwrap_or_default() {
                graph.companions.entry(owner).or_default().insert(tag);
            }
        }
        graph
    }

    fn add(&mut self, digest: &'a Digest) {
        let Some(manifest) = self.state.manifests.get(digest) else {
            return;
        };
        let is_here = |digest: &Digest| self.state.manifests.contains_key(digest);
        let mut named = BTreeMap::new();
        // Layers are looked up, too: an index may call a manifest a layer.
        for entry in manifest
            .entries
            .iter()
            .filter(|entry| is_here(&entry.digest))
        {
            named.insert(&entry.digest, LinkKind::Child);
            if let Some(image) = entry.attests.as_ref().filter(|image| is_here(image)) {
                let newest = self.attesting.get(image).copied();
                if newest.is_none_or(|newest| self.age(digest) > self.age(newest)) {
                    self.attesting.insert(image, digest);
                }
            }
        }
        if let Some(subject) = manifest.subject.as_ref().filter(|subject| is_here(subject)) {
            self.referrers.entry(subject).or_default().insert(digest);
            named.entry(subject).or_insert(LinkKind::Subject);
        }
        self.named.insert(digest, named);
    }

    /// What is greater for newer manifests, by their own times. That of an unknown age counts as the newest.
    fn age(&self, digest: &'a Digest) -> (Timestamp, &'a Digest) {
        let found = self.state.manifests.get(digest);
        let time = found.and_then(|found| found.time);
        (time.unwrap_or(Timestamp::MAX), digest)
    }

    /// The manifests that the bytes of `digest` name: its children and its subject. There are no circles, because
    /// digests are made from the bytes.
    pub(crate) fn named(
        &self,
        digest: &Digest,
    ) -> impl Iterator<Item = (LinkKind, &'a Digest)> + use<'a, '_> {
        let named = self.named.get(digest).into_iter().flatten();
        named.map(|(to, kind)| (*kind, *to))
    }

    /// The manifests whose subject is `digest`.
    pub(crate) fn referrers(
        &self,
        digest: &Digest,
    ) -> impl Iterator<Item = &'a Digest> + use<'a, '_> {
        self.referrers.get(digest).into_iter().flatten().copied()
    }

    /// The companion tags of `digest`, and where they point.
    pub(crate) fn companions(
        &self,
        digest: &Digest,
    ) -> impl Iterator<Item = (&'a ImageTag, &'a Digest)> + use<'a, '_> {
        let tags = self.companions.get(digest).into_iter().flatten();
        tags.filter_map(|tag| Some((*tag, self.state.tags.get(*tag)?)))
    }

    /// The newest index that has attestations of `digest`.
    pub(crate) fn attesting(&self, digest: &Digest) -> Option<&'a Digest> {
        self.attesting.get(digest).copied()
    }

    /// The repository.
    pub(crate) const fn state(&self) -> &'a RepositoryState {
        self.state
    }
}
