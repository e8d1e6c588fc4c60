//! What must be kept because of what is kept.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use super::links::{LinkKind, RepositoryGraph};
use crate::publish::journal::RunId;
use crate::types::{Digest, ImageTag};

/// Why a manifest is kept. The first reason that was found; there may be more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeepReason {
    /// A tag that is kept points to it.
    Tag(ImageTag),
    /// The user locked its digest.
    Locked,
    /// It is in use somewhere.
    InUse,
    /// A kept record of this run names it, so that the run can be taken back.
    Named(RunId),
    /// It is younger than the grace time.
    Grace,
    /// Nobody knows when it was made.
    NoTime,
    /// It is younger than this run, which has not ended.
    Lease(RunId),
    /// It refers to a manifest that is not in this repository.
    Elsewhere(Digest),
    /// The policy is about other things.
    OtherKind,
    /// It is in this relation to a manifest that is kept.
    Linked(LinkKind, Digest),
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, "the tag `{tag}` points to it"),
            Self::Locked => f.write_str("its digest is locked"),
            Self::InUse => f.write_str("it is in use"),
            Self::Named(run) => write!(f, "the record of the run `{run}` names it"),
            Self::Grace => f.write_str("it is younger than the grace time"),
            Self::NoTime => f.write_str("its age is not known"),
            Self::Lease(run) => {
                write!(f, "it is younger than the run `{run}`, which has not ended")
            }
            Self::Elsewhere(subject) => write!(
                f,
                "it refers to `{subject}`, which is not in this repository"
            ),
            Self::OtherKind => f.write_str("this policy does not apply to it"),
            Self::Linked(kind, digest) => write!(f, "it is {kind} `{digest}`"),
        }
    }
}

/// The manifests that are kept, and the companion tags that are kept with them.
#[derive(Debug, Default)]
pub(crate) struct KeptContent<'a> {
    /// The manifests, each with the first reason that was found.
    pub(crate) manifests: BTreeMap<&'a Digest, KeepReason>,
    /// The companion tags of these manifests.
    pub(crate) companions: BTreeSet<&'a ImageTag>,
}

impl<'a> KeptContent<'a> {
    /// Everything to which `roots` lead. Roots that are not in the repository are ignored.
    ///
    /// A manifest leads to its children, its subject, its referrers and its companions. An image also leads to the
    /// newest index that has attestations of it, because only an index leads to these. The older ones are not kept:
    /// every build makes new attestations, also if the image is the same.
    pub(crate) fn from_roots(
        graph: &RepositoryGraph<'a>,
        roots: impl IntoIterator<Item = (&'a Digest, KeepReason)>,
    ) -> Self {
        let mut kept = Self::default();
        let mut open = VecDeque::new();
        for (digest, reason) in roots {
            kept.add(graph, &mut open, digest, reason);
        }
        while let Some(from) = open.pop_front() {
            kept.follow(graph, &mut open, from);
        }
        kept
    }

    fn follow(
        &mut self,
        graph: &RepositoryGraph<'a>,
        open: &mut VecDeque<&'a Digest>,
        from: &'a Digest,
    ) {
        for (kind, to) in graph.named(from) {
            self.add(graph, open, to, KeepReason::Linked(kind, from.clone()));
        }
        if let Some(index) = graph.attesting(from) {
            let reason = KeepReason::Linked(LinkKind::Attestation, from.clone());
            self.add(graph, open, index, reason);
        }
        for to in graph.referrers(from) {
            let reason = KeepReason::Linked(LinkKind::Referrer, from.clone());
            self.add(graph, open, to, reason);
        }
        for (tag, to) in graph.companions(from) {
            self.companions.insert(tag);
            let reason = KeepReason::Linked(LinkKind::Companion, from.clone());
            self.add(graph, open, to, reason);
        }
    }

    fn add(
        &mut self,
        graph: &RepositoryGraph<'a>,
        open: &mut VecDeque<&'a Digest>,
        digest: &Digest,
        reason: KeepReason,
    ) {
        // The key of the repository, which lives as long as it does.
        let Some((digest, _)) = graph.state.manifests.get_key_value(digest) else {
            return;
        };
        if !self.manifests.contains_key(digest) {
            self.manifests.insert(digest, reason);
            open.push_back(digest);
        }
    }
}
