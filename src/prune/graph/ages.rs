//! When each manifest was made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::links::RepositoryGraph;
use crate::types::{Digest, ImageTag};

/// The times of the manifests.
///
/// The images of platforms, attestations and signatures often have no time. They take that of the newest manifest that
/// names them, because they are at least as old; and a manifest that refers to another takes the time of that one,
/// because it goes where that one goes. An index never takes the time of its children: it may be new, though they are
/// old.
#[derive(Debug)]
pub(crate) struct ManifestAges<'a> {
    own: BTreeMap<&'a Digest, Timestamp>,
    times: BTreeMap<&'a Digest, Timestamp>,
    now: Timestamp,
}

impl<'a> ManifestAges<'a> {
    /// The times of all manifests of `graph`. What the records with the tags `records` name is not older than these.
    ///
    /// Records that go must not be among `records`: otherwise the ages would change when they are gone, and the next
    /// plan would find something that this one kept.
    pub(crate) fn of(
        graph: &RepositoryGraph<'a>,
        records: &BTreeSet<&ImageTag>,
        now: Timestamp,
    ) -> Self {
        let state = graph.state();
        // The run that gives a digest to a tag may have found the image in the registry, where it was for long.
        let mut named: BTreeMap<&Digest, Timestamp> = BTreeMap::new();
        for (_, _, record) in state.records().filter(|(tag, ..)| records.contains(tag)) {
            for digest in &record.names {
                let time = named.entry(digest).or_insert(record.started);
                *time = record.started.max(*time);
            }
        }
        let own = |digest: &Digest| state.manifests().get(digest).and_then(|found| found.time);
        let mut sources: Vec<(Timestamp, &Digest)> = Vec::new();
        for digest in state.manifests().keys() {
            if let Some(time) = own(digest) {
                let time = named.get(digest).map_or(time, |named| time.max(*named));
                sources.push((time, digest));
            }
        }
        // The newest first: then the first time that a manifest gets is the newest.
        sources.sort_unstable_by(|one, other| other.cmp(one));
        let own_times: BTreeMap<_, _> = sources
            .iter()
            .map(|(time, digest)| (*digest, *time))
            .collect();
        let mut times = BTreeMap::new();
        for (time, digest) in sources {
            times.insert(digest, time);
            let mut open = vec![digest];
            while let Some(from) = open.pop() {
                let children = graph.named(from).map(|(_, to)| to);
                let companions = graph.companions(from).map(|(_, to)| to);
                for to in children.chain(graph.referrers(from)).chain(companions) {
                    if own(to).is_none() && !times.contains_key(to) {
                        times.insert(to, time);
                        open.push(to);
                    }
                }
            }
        }
        Self {
            own: own_times,
            times,
            now,
        }
    }

    /// When the manifest was made, by itself alone. `None` if that is not known.
    ///
    /// Tags are judged by this time: the time of a parent is lost with the parent, and a tag that was among the newest
    /// would no longer be.
    pub(crate) fn own_time(&self, digest: &Digest) -> Option<Timestamp> {
        self.own.get(digest).copied()
    }

    /// When the manifest was made, if need be by the time of another one. `None` if that is not known.
    pub(crate) fn time(&self, digest: &Digest) -> Option<Timestamp> {
        self.times.get(digest).copied()
    }

    /// Whether `time` is less than `age` ago, or in the future.
    pub(crate) fn is_younger(&self, time: Timestamp, age: Duration) -> bool {
        is_younger(self.now, time, age)
    }
}

/// Whether `time` is less than `age` before `now`, or after it.
pub(crate) fn is_younger(now: Timestamp, time: Timestamp, age: Duration) -> bool {
    let age = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
    now.duration_since(time) < age
}
