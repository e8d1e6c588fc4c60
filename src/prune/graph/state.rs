//! The content of a repository, as far as it was read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::companion::owner_of;
use super::content::{ManifestSource, StoredManifest, UnreadableManifest};
use super::{ClosedReason, ManifestKind, RunRecord};
use crate::publish::journal::artifact;
use crate::types::{Digest, ImageTag};

/// The most tags, and the most manifests, of a repository.
const TAGS: usize = 1_000_000;
const MANIFESTS: usize = 200_000;
/// The most entries of all manifests, and digests in all records. Each needs about 150 bytes of memory.
const ENTRIES: usize = 4_000_000;
/// The most faults that are kept for the message.
const FAULTS: usize = 100;

/// A repository that is being read.
///
/// The caller adds the tags and what the registry lists, and then reads what is [`Self::missing`], until nothing is.
#[derive(Debug, Default)]
pub(crate) struct RepositoryReading {
    tags: BTreeMap<ImageTag, Digest>,
    manifests: BTreeMap<Digest, StoredManifest>,
    unreadable: BTreeMap<Digest, UnreadableManifest>,
    absent: BTreeSet<Digest>,
    expected: BTreeSet<Digest>,
    /// Manifests and subjects, and digests in records.
    wanted: BTreeSet<Digest>,
    entries: usize,
    faults: Vec<ClosedReason>,
}

impl RepositoryReading {
    /// Adds a tag. If it was added with another digest before, the repository changed while it was read.
    pub(crate) fn add_tag(&mut self, tag: ImageTag, digest: Digest) {
        if self.tags.len() >= TAGS {
            self.fault(ClosedReason::TooLarge);
            return;
        }
        if let Some(owner) = owner_of(&tag)
            && let Ok(owner) = owner.parse()
        {
            self.wanted.insert(owner);
        }
        self.wanted.insert(digest.clone());
        match self.tags.get(&tag) {
            Some(known) if *known != digest => self.fault(ClosedReason::Moved(tag)),
            _ => drop(self.tags.insert(tag, digest)),
        }
    }

    /// Adds a digest that must be looked at: from a list of manifests or referrers, or one that the user locks.
    pub(crate) fn expect(&mut self, digest: Digest) {
        if self.expected.len() >= MANIFESTS {
            self.fault(ClosedReason::TooLarge);
        } else {
            self.expected.insert(digest);
        }
    }

    /// Adds a manifest that was read. If it cannot be parsed, the repository is closed.
    pub(crate) fn add_manifest(&mut self, source: &ManifestSource<'_>) {
        if self.manifests.contains_key(source.digest) {
            return;
        }
        if self.manifests.len() >= MANIFESTS {
            self.fault(ClosedReason::TooLarge);
            return;
        }
        match StoredManifest::parse(source) {
            Err(fault) => self.add_unreadable(source.digest.clone(), fault),
            Ok(manifest) => {
                let record = manifest.record.iter().flatten();
                let names: Vec<&Digest> = record.flat_map(|record| &record.names).collect();
                self.entries += manifest.entries.len() + names.len();
                if self.entries > ENTRIES {
                    self.fault(ClosedReason::TooLarge);
                    return;
                }
                let children = manifest.entries.iter().filter(|entry| !entry.is_blob);
                let children = children.map(|entry| &entry.digest);
                let all = children.chain(&manifest.subject).chain(names);
                self.wanted.extend(all.cloned());
                self.manifests.insert(source.digest.clone(), manifest);
            }
        }
    }

    fn fault(&mut self, reason: ClosedReason) {
        // One is enough to close the repository.
        if self.faults.len() < FAULTS {
            self.faults.push(reason);
        }
    }

    /// Adds a manifest that exists, but that could not be read. The repository is closed.
    pub(crate) fn add_unreadable(&mut self, digest: Digest, fault: UnreadableManifest) {
        if self.unreadable.len() < MANIFESTS {
            self.unreadable.insert(digest, fault);
        }
    }

    /// Adds a tag whose manifest the registry does not have. The repository is closed.
    pub(crate) fn add_dangling(&mut self, tag: ImageTag) {
        self.fault(ClosedReason::Dangling(tag));
    }

    /// Adds a digest that the registry does not have.
    pub(crate) fn add_absent(&mut self, digest: Digest) {
        self.absent.insert(digest);
    }

    /// Returns the digests that must still be read: those to which tags, manifests and records of runs lead.
    pub(crate) fn missing(&self) -> BTreeSet<Digest> {
        let is_missing = |digest: &&Digest| {
            !self.manifests.contains_key(*digest)
                && !self.absent.contains(*digest)
                && !self.unreadable.contains_key(*digest)
        };
        let wanted = self.wanted.iter().chain(&self.expected);
        wanted.filter(is_missing).cloned().collect()
    }

    /// Ends the reading.
    pub(crate) fn finish(mut self) -> RepositoryState {
        let missing = self.missing();
        let mut closed = std::mem::take(&mut self.faults);
        for (digest, fault) in std::mem::take(&mut self.unreadable) {
            closed.push(ClosedReason::Unreadable(digest, fault));
        }
        closed.extend(missing.into_iter().map(ClosedReason::Unread));
        // A digest may have been pushed after the registry denied to have it.
        let manifests = self.manifests;
        self.absent.retain(|digest| !manifests.contains_key(digest));
        let mut state = RepositoryState {
            tags: self.tags,
            manifests,
            absent: self.absent,
            companions: BTreeMap::new(),
            closed,
        };
        state.find_companions();
        state.check_tags();
        state
    }
}

/// What is known of a repository, at one time.
#[derive(Debug)]
pub(crate) struct RepositoryState {
    pub(super) tags: BTreeMap<ImageTag, Digest>,
    pub(super) manifests: BTreeMap<Digest, StoredManifest>,
    absent: BTreeSet<Digest>,
    companions: BTreeMap<ImageTag, Vec<Digest>>,
    closed: Vec<ClosedReason>,
}

impl RepositoryState {
    /// The tags and where they point.
    pub(crate) const fn tags(&self) -> &BTreeMap<ImageTag, Digest> {
        &self.tags
    }

    /// The manifests.
    pub(crate) const fn manifests(&self) -> &BTreeMap<Digest, StoredManifest> {
        &self.manifests
    }

    /// Why nothing may be deleted. Empty if deletions are possible.
    pub(crate) fn closed(&self) -> &[ClosedReason] {
        &self.closed
    }

    /// Whether it was found out that the repository has or does not have the digest.
    pub(crate) fn knows(&self, digest: &Digest) -> bool {
        self.manifests.contains_key(digest) || self.absent.contains(digest)
    }

    /// The manifests to which a companion tag belongs: at most one, unless the digits are cut. Empty if they are not
    /// in this repository. `None` if the tag is not a companion.
    pub(crate) fn companion(&self, tag: &ImageTag) -> Option<&[Digest]> {
        self.companions.get(tag).map(Vec::as_slice)
    }

    /// The records of runs that have their tag, with it. Older versions of a record, which have lost their tag, do
    /// not count.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&ImageTag, &Digest, &RunRecord)> {
        self.tags.iter().filter_map(|(tag, digest)| {
            artifact::run_of(tag.as_str())?;
            let record = self.manifests.get(digest)?.record.as_ref()?.as_ref();
            Some((tag, digest, record.ok()?))
        })
    }

    /// The tags by the digests to which they point.
    pub(crate) fn tags_of(&self) -> BTreeMap<&Digest, BTreeSet<&ImageTag>> {
        let mut found: BTreeMap<&Digest, BTreeSet<&ImageTag>> = BTreeMap::new();
        for (tag, digest) in &self.tags {
            found.entry(digest).or_default().insert(tag);
        }
        found
    }

    /// Returns a digest of everything on which a plan depends. Two states with the same fingerprint have the same
    /// tags, manifests and times.
    pub(crate) fn fingerprint(&self) -> Digest {
        let mut text = String::from("rbake repository 1\n");
        // Writing to a string cannot fail. None of the texts can contain a line end.
        for (tag, digest) in &self.tags {
            let _ = writeln!(text, "tag {tag} {digest}");
        }
        for (digest, manifest) in &self.manifests {
            let time = manifest.time.map(|time| time.to_string());
            let _ = writeln!(text, "manifest {digest} {}", time.unwrap_or_default());
        }
        for digest in &self.absent {
            let _ = writeln!(text, "absent {digest}");
        }
        let _ = writeln!(text, "closed {}", !self.closed.is_empty());
        Digest::sha256(text.as_bytes())
    }

    fn find_companions(&mut self) {
        for tag in self.tags.keys() {
            let Some(start) = owner_of(tag) else { continue };
            let cut = match start.split_once(':') {
                Some(("sha384", _)) => 32,
                Some(("sha512", _)) => 64,
                _ => 0,
            };
            let first: Option<Digest> = format!("{start}{:0<cut$}", "").parse().ok();
            let after = first.map(|first| self.manifests.range(first..));
            let after = after.into_iter().flatten().map(|(digest, _)| digest);
            let found = after.take_while(|digest| digest.as_str().starts_with(&start));
            let found = found.cloned().collect();
            self.companions.insert(tag.clone(), found);
        }
    }

    /// Closes the repository if a tag points to nothing, or if a tag for the record of a run points to something else.
    fn check_tags(&mut self) {
        for (tag, digest) in &self.tags {
            let manifest = self.manifests.get(digest);
            if self.absent.contains(digest) {
                self.closed.push(ClosedReason::Dangling(tag.clone()));
            }
            let Some(manifest) = manifest.filter(|_| artifact::run_of(tag.as_str()).is_some())
            else {
                continue;
            };
            let is_record = matches!(manifest.record, Some(Ok(_)));
            if !is_record && manifest.kind != ManifestKind::Placeholder {
                self.closed.push(ClosedReason::Record(tag.clone()));
            }
        }
    }
}
