//! Reads a whole repository.
//!
//! Tags are looked up with `HEAD`, which registries do not count as pulls. A manifest is read once: its digest names its
//! content, so it is kept in memory for further readings of the same run, and on this machine for later ones.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::lease::{self, FoundLease};
use super::listing::ListedManifest;
use super::referrers::is_lasting;
use super::watch::{PrunePhase, PruneWatch};
use super::{Deleter, PruneError};
use crate::prune::graph::{ManifestSource, RepositoryReading, RepositoryState, UnreadableManifest};
use crate::publisher::KeptContents;
use crate::registry::{RawManifest, RemoteRepository, TagOrDigest};
use crate::types::causes::in_one_line;
use crate::types::{Digest, ImageTag};

/// The requests at the same time. The client sends fewer at once to one registry.
pub(super) const AT_ONCE: usize = 16;
/// The most bytes of manifests of one repository.
const MOST_BYTES: usize = 512 << 20;

/// Which referrers are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum ReferrersOf<'a> {
    /// Those of all manifests.
    All,
    /// Those of this manifest, and of manifests that were not read before.
    One(&'a Digest),
}

/// What was read.
#[derive(Debug)]
pub(crate) struct RepositoryRead {
    /// The tags and manifests.
    pub(crate) state: RepositoryState,
    /// Manifests that could not be read, and why.
    pub(crate) problems: BTreeMap<Digest, String>,
}

/// Reads one repository, several times if need be.
#[derive(Debug)]
pub(crate) struct RepositoryReader {
    pub(super) repository: RemoteRepository,
    pub(super) deleter: Deleter,
    pub(super) kept: KeptContents,
    pub(super) watch: PruneWatch,
    /// The manifests that were read.
    pub(super) known: BTreeMap<Digest, RawManifest>,
    bytes: usize,
    /// What the registry tells about all manifests. `None` if it does not list them.
    pub(super) listed: Option<BTreeMap<Digest, ListedManifest>>,
    /// Whether the registry lists referrers. `None` if that is not known yet.
    pub(super) lists_referrers: Option<bool>,
    /// What refers to the manifests of which it was asked.
    pub(super) referrers: BTreeMap<Digest, Vec<Digest>>,
    /// Digests that must be looked at, with a time before which they were made, if that is known.
    expected: BTreeMap<Digest, Option<Timestamp>>,
    /// Manifests that were deleted since they were read.
    deleted: BTreeSet<Digest>,
}

/// What a request for a manifest has brought.
enum Fetched {
    Manifest(RawManifest),
    Absent,
    Unreadable(String),
}

impl RepositoryReader {
    /// A reader of the repository of `deleter`. Digests of `expected` are looked at, too, although no tag may lead to them; some come
    /// with a time before which they were made.
    pub(crate) fn new(
        deleter: Deleter,
        kept: KeptContents,
        watch: PruneWatch,
        expected: BTreeMap<Digest, Option<Timestamp>>,
    ) -> Self {
        Self {
            repository: deleter.repository().clone(),
            deleter,
            kept,
            watch,
            known: BTreeMap::new(),
            bytes: 0,
            listed: None,
            lists_referrers: None,
            referrers: BTreeMap::new(),
            expected,
            deleted: BTreeSet::new(),
        }
    }

    /// Whether the registry lists manifests that no tag leads to.
    pub(crate) const fn lists_manifests(&self) -> bool {
        self.listed.is_some()
    }

    /// The manifest with this digest, if it was read.
    pub(crate) fn manifest(&self, digest: &Digest) -> Option<&RawManifest> {
        self.known.get(digest)
    }

    fn expected_time(&self, digest: &Digest) -> Option<Timestamp> {
        self.expected.get(digest).copied().flatten()
    }

    /// Notes that a manifest was deleted.
    pub(super) fn forget(&mut self, digest: &Digest) {
        self.known.remove(digest);
        self.deleted.insert(digest.clone());
    }

    /// Reads the repository, with the ages of what its tags name.
    pub(crate) async fn read(&mut self) -> Result<RepositoryRead, PruneError> {
        let (tags, read) = self.read_links(ReferrersOf::All).await?;
        if !read.state.closed().is_empty() {
            // Nothing is going to be deleted, so ages do not matter.
            return Ok(read);
        }
        let times = self.times(&read.state).await?;
        let mut reading = RepositoryReading::default();
        for (tag, digest) in tags {
            reading.add_tag(tag, digest);
        }
        for (digest, stored) in read.state.manifests() {
            let Some(manifest) = self.known.get(digest) else {
                continue;
            };
            // What an earlier prune has left is not younger than its own time because of that prune.
            let expected = self.expected_time(digest).filter(|_| stored.time.is_none());
            reading.add_manifest(&ManifestSource {
                digest,
                media_type: manifest.media_type(),
                bytes: manifest.bytes(),
                uploaded: times.get(digest).copied().or(expected),
            });
        }
        for digest in reading.missing() {
            reading.add_absent(digest);
        }
        for digest in self
            .expected
            .keys()
            .filter(|digest| !read.state.manifests().contains_key(*digest))
        {
            reading.add_absent(digest.clone());
        }
        Ok(RepositoryRead {
            state: reading.finish(),
            problems: read.problems,
        })
    }

    /// Reads the tags and what they lead to, without ages.
    pub(super) async fn read_again(
        &mut self,
        referrers: ReferrersOf<'_>,
    ) -> Result<RepositoryState, PruneError> {
        let (_, read) = self.read_links(referrers).await?;
        Ok(read.state)
    }

    async fn read_links(
        &mut self,
        referrers: ReferrersOf<'_>,
    ) -> Result<(BTreeMap<ImageTag, Digest>, RepositoryRead), PruneError> {
        let mut reading = RepositoryReading::default();
        let mut problems = BTreeMap::new();
        let (tags, leases) = self.read_tags(&mut reading).await?;
        for (tag, digest) in &tags {
            reading.add_tag(tag.clone(), digest.clone());
        }
        self.listed = self.deleter.list().await?;
        let listed: Vec<Digest> = self
            .listed
            .iter()
            .flatten()
            .map(|(digest, _)| digest.clone())
            .collect();
        for digest in listed {
            if !leases.contains(&digest) && !self.deleted.contains(&digest) {
                reading.expect(digest);
            }
        }
        for digest in self.expected.keys() {
            reading.expect(digest.clone());
        }
        self.watch.begin(PrunePhase::Manifests, 0);
        let mut found = BTreeSet::new();
        let mut asked = BTreeSet::new();
        loop {
            let missing: Vec<Digest> = reading.missing().into_iter().collect();
            if missing.is_empty() {
                break;
            }
            self.watch.add(missing.len());
            for (digest, fetched) in self.fetch_all(missing).await? {
                if matches!(fetched, Fetched::Manifest(_)) {
                    found.insert(digest.clone());
                }
                self.add(&mut reading, &mut problems, digest, fetched)?;
            }
            let of: Vec<Digest> = found.difference(&asked).cloned().collect();
            asked.extend(of.iter().cloned());
            self.ask_for_referrers(&mut reading, &mut problems, referrers, &of)
                .await?;
            let known = of.iter().filter_map(|digest| self.referrers.get(digest));
            for referrer in known.flatten() {
                reading.expect(referrer.clone());
            }
        }
        let read = RepositoryRead {
            state: reading.finish(),
            problems,
        };
        Ok((tags, read))
    }

    /// The tags and where they point. Leases do not count; their digests are returned.
    async fn read_tags(
        &self,
        reading: &mut RepositoryReading,
    ) -> Result<(BTreeMap<ImageTag, Digest>, BTreeSet<Digest>), PruneError> {
        self.watch.begin(PrunePhase::Tags, 0);
        let tags = self.repository.tags().await?;
        let tags = tags.ok_or(PruneError::NoRepository)?;
        self.watch.add(tags.len());
        let mut leases = BTreeSet::new();
        let (mut found, mut gone) = self.look_up(&tags, &mut leases).await?;
        if !gone.is_empty() {
            // Tags that were removed since the list was read are not in it any more.
            let again = self.repository.tags().await?.unwrap_or_default();
            gone.retain(|tag| again.contains(tag));
            let (late, dangling) = self.look_up(&gone, &mut leases).await?;
            found.extend(late);
            for tag in dangling {
                reading.add_dangling(tag);
            }
        }
        Ok((found, leases))
    }

    /// Looks up `tags`. Returns where they point, and those that do not exist.
    async fn look_up(
        &self,
        tags: &BTreeSet<ImageTag>,
        leases: &mut BTreeSet<Digest>,
    ) -> Result<(BTreeMap<ImageTag, Digest>, BTreeSet<ImageTag>), PruneError> {
        let looks = tags.iter().map(|tag| async move {
            let lease = match lease::run_of(tag) {
                Some(_) => lease::read(&self.repository, tag).await?,
                None => None,
            };
            let now = match &lease {
                Some(_) => None,
                None => digest_now(&self.repository, tag).await?,
            };
            self.watch.count();
            Ok::<_, PruneError>((tag, lease, now))
        });
        let mut looks = stream::iter(looks).buffer_unordered(AT_ONCE);
        let (mut found, mut gone) = (BTreeMap::new(), BTreeSet::new());
        while let Some((tag, lease, now)) = looks.try_next().await? {
            match (lease, now) {
                (Some(FoundLease { digest, .. }), _) => drop(leases.insert(digest)),
                (None, Some(digest)) => drop(found.insert(tag.clone(), digest)),
                (None, None) => drop(gone.insert(tag.clone())),
            }
        }
        Ok((found, gone))
    }

    async fn fetch_all(&self, digests: Vec<Digest>) -> Result<Vec<(Digest, Fetched)>, PruneError> {
        let fetches = digests.into_iter().map(|digest| async move {
            let fetched = match self.known.get(&digest) {
                Some(manifest) => Fetched::Manifest(manifest.clone()),
                None if self.deleted.contains(&digest) => Fetched::Absent,
                None => self.fetch(&digest).await?,
            };
            self.watch.count();
            Ok::<_, PruneError>((digest, fetched))
        });
        stream::iter(fetches)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Reads a manifest. One that is kept on this machine is only looked up.
    async fn fetch(&self, digest: &Digest) -> Result<Fetched, PruneError> {
        let name = TagOrDigest::Digest(digest.clone());
        if let Some(bytes) = self.kept.read(digest).await {
            let Some(found) = self.repository.head(&name).await? else {
                return Ok(Fetched::Absent);
            };
            if let Ok(manifest) = RawManifest::new(&found.media_type, bytes)
                && manifest.digest() == digest
            {
                return Ok(Fetched::Manifest(manifest));
            }
        }
        match self.repository.get(&name).await {
            Ok(None) => Ok(Fetched::Absent),
            Ok(Some(manifest)) => {
                self.kept.keep(digest, manifest.bytes()).await;
                Ok(Fetched::Manifest(manifest))
            }
            Err(error) if is_lasting(&error) => Ok(Fetched::Unreadable(in_one_line(&error))),
            Err(error) => Err(error.into()),
        }
    }

    fn add(
        &mut self,
        reading: &mut RepositoryReading,
        problems: &mut BTreeMap<Digest, String>,
        digest: Digest,
        fetched: Fetched,
    ) -> Result<(), PruneError> {
        match fetched {
            Fetched::Absent => reading.add_absent(digest),
            Fetched::Unreadable(why) => {
                problems.insert(digest.clone(), why);
                reading.add_unreadable(digest, UnreadableManifest::Refused);
            }
            Fetched::Manifest(manifest) => {
                reading.add_manifest(&ManifestSource {
                    digest: &digest,
                    media_type: manifest.media_type(),
                    bytes: manifest.bytes(),
                    uploaded: None,
                });
                if !self.known.contains_key(&digest) {
                    self.bytes += manifest.bytes().len();
                    if self.bytes > MOST_BYTES {
                        return Err(PruneError::TooLarge { limit: MOST_BYTES });
                    }
                    self.known.insert(digest, manifest);
                }
            }
        }
        Ok(())
    }
}

/// The digest to which `tag` points. `None` if it does not exist.
pub(super) async fn digest_now(
    repository: &RemoteRepository,
    tag: &ImageTag,
) -> Result<Option<Digest>, PruneError> {
    let found = repository.head(&TagOrDigest::Tag(tag.clone())).await?;
    Ok(found.map(|found| found.digest))
}
