//! Which repositories have which blobs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::types::{Digest, ImageRepository};

/// Which repositories have which blobs, as far as a run knows. A blob that two targets need at the same time is sent once:
/// the second one waits until the first one has sent it.
#[derive(Debug, Default)]
pub(in crate::run) struct BlobPlaces(Mutex<BTreeMap<BlobAtRegistry, Arc<BlobPlace>>>);

/// A blob at a registry.
type BlobAtRegistry = (String, Digest);

/// The repositories of one registry that have a blob.
#[derive(Debug, Default)]
pub(super) struct BlobPlace {
    repositories: Mutex<BTreeSet<ImageRepository>>,
    /// Held while the blob is sent to the registry.
    pub(super) sending: tokio::sync::Mutex<()>,
}

impl BlobPlaces {
    fn known(&self) -> MutexGuard<'_, BTreeMap<BlobAtRegistry, Arc<BlobPlace>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of a blob at the registry of `repository`.
    pub(super) fn of(&self, repository: &ImageRepository, digest: &Digest) -> Arc<BlobPlace> {
        let at = (repository.domain().to_owned(), digest.clone());
        Arc::clone(self.known().entry(at).or_default())
    }

    /// Notes that `repository` has `digests`.
    pub(in crate::run) fn note<'d>(
        &self,
        repository: &ImageRepository,
        digests: impl IntoIterator<Item = &'d Digest>,
    ) {
        for digest in digests {
            self.of(repository, digest).add(repository);
        }
    }

    /// The blobs of each repository at the registry `domain`.
    pub(in crate::run) fn at(&self, domain: &str) -> BTreeMap<ImageRepository, BTreeSet<Digest>> {
        let mut found: BTreeMap<ImageRepository, BTreeSet<Digest>> = BTreeMap::new();
        let known = self.known();
        for ((_, digest), place) in known.iter().filter(|((at, _), _)| at == domain) {
            for repository in place.repositories().iter() {
                let digests = found.entry(repository.clone()).or_default();
                digests.insert(digest.clone());
            }
        }
        found
    }
}

impl BlobPlace {
    fn repositories(&self) -> MutexGuard<'_, BTreeSet<ImageRepository>> {
        self.repositories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `repository` has the blob.
    pub(super) fn has(&self, repository: &ImageRepository) -> bool {
        self.repositories().contains(repository)
    }

    /// A repository that has the blob.
    pub(super) fn any(&self) -> Option<ImageRepository> {
        self.repositories().first().cloned()
    }

    /// Notes that `repository` has the blob.
    pub(super) fn add(&self, repository: &ImageRepository) {
        self.repositories().insert(repository.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Reference;

    fn repository(name: &str) -> ImageRepository {
        ImageRepository::of(&name.parse::<Reference>().unwrap())
    }

    #[test]
    fn the_same_blob_at_two_registries_has_two_places() {
        let places = BlobPlaces::default();
        let (one, two) = (repository("r.example/a"), repository("s.example/a"));
        let blob = Digest::sha256(b"layer");
        places.note(&one, [&blob]);
        assert!(places.of(&one, &blob).has(&one));
        assert_eq!(places.of(&two, &blob).any(), None);
        // Another repository of the registry does not have it, but can mount it.
        let other = repository("r.example/b");
        assert!(!places.of(&other, &blob).has(&other));
        assert_eq!(places.of(&other, &blob).any(), Some(one.clone()));
        assert_eq!(
            places.at("r.example"),
            BTreeMap::from([(one, BTreeSet::from([blob]))])
        );
        assert!(places.at("s.example").is_empty());
    }
}
