//! Whether an image that was built is already in the registry.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::future::join_all;

use super::{ImageToPublish, KeptContents, Publisher};
use crate::publish::class::TagClass;
use crate::publish::compare::{
    Comparison, ImageContent, ImageSide, MANIFEST_LIMIT, STATEMENT_LIMIT, compare, with_revision,
};
use crate::registry::{RawManifest, RemoteRepository, TagOrDigest};
use crate::types::causes::in_one_line;
use crate::types::{Digest, ImageTag};

/// The rounds in which missing contents are read: attestation manifests, then their statements.
const ROUNDS: usize = 3;

/// Reads contents of the image that was built.
pub(crate) trait ContentReader: Sync {
    /// Returns the content with this digest, which the reader has checked. `None` if it cannot be read, or has more
    /// than `limit` bytes.
    fn read(&self, digest: &Digest, limit: usize) -> impl Future<Output = Option<Bytes>> + Send;
}

/// How an image that was built relates to the one in the registry.
#[derive(Debug)]
pub(crate) enum Sameness {
    /// It is the same. Nothing needs to be pushed.
    Same,
    /// Its images and attestations are the same, but not the commit. This manifest is to be written: the one in the
    /// registry, with our commit.
    OtherCommit(RawManifest),
    /// It differs, for this reason.
    Different(String),
}

impl Publisher {
    /// Compares the image whose top-level manifest is `ours` with `theirs`, which the registry has. Reads attestations
    /// only if all else is equal: two requests for each, unless they are kept on this machine.
    pub(crate) async fn compare(
        &self,
        image: &ImageToPublish,
        ours: &[u8],
        reader: &impl ContentReader,
        theirs: &RawManifest,
    ) -> Sameness {
        let repository = self.repository_of(image);
        let mut our_blobs = BTreeMap::new();
        let mut their_blobs = BTreeMap::new();
        for round in 0..ROUNDS {
            let ours = ImageContent {
                manifest: ours,
                blobs: &our_blobs,
            };
            let content = ImageContent {
                manifest: theirs.bytes(),
                blobs: &their_blobs,
            };
            let missing = match compare(ours, content) {
                Comparison::Identical => return Sameness::Same,
                Comparison::SameImages => return self.other_commit(theirs),
                Comparison::Different { why } => return Sameness::Different(why.to_string()),
                Comparison::Undecided { missing } => missing,
            };
            let reads = missing.into_iter().map(|(side, digest)| {
                let (repository, kept) = (&repository, &self.kept);
                async move {
                    let found = match side {
                        ImageSide::Ours => reader.read(&digest, limit(round)).await,
                        ImageSide::Theirs => read(repository, kept, &digest, round).await,
                    };
                    (side, digest, found)
                }
            });
            for (side, digest, found) in join_all(reads).await {
                let Some(found) = found else {
                    let whose = match side {
                        ImageSide::Ours => "the builder has",
                        ImageSide::Theirs => "the registry has",
                    };
                    let why = format!("an attestation that {whose} cannot be read");
                    return Sameness::Different(why);
                };
                match side {
                    ImageSide::Ours => our_blobs.insert(digest, found),
                    ImageSide::Theirs => their_blobs.insert(digest, found),
                };
            }
        }
        Sameness::Different("the attestations cannot be compared".to_owned())
    }

    /// Finds a mutable tag of `image` that points to the image whose top-level manifest is `ours`. `other` is where the tag
    /// points by which the image is compared first. It is immutable and keeps its image, so an image that differs from it,
    /// because of another base image or an SBOM, would be published again with each run.
    pub(crate) async fn published_before(
        &self,
        image: &ImageToPublish,
        ours: &[u8],
        reader: &impl ContentReader,
        other: &Digest,
    ) -> Option<(ImageTag, RawManifest)> {
        let repository = self.repository_of(image);
        let mut seen = BTreeSet::from([other.clone()]);
        for tag in image.tags_of(TagClass::Mutable) {
            let found = repository.get(&TagOrDigest::Tag(tag.clone())).await;
            // A tag that cannot be read decides nothing here.
            let Some(manifest) = found.ok().flatten() else {
                continue;
            };
            if seen.insert(manifest.digest().clone())
                && let Sameness::Same = self.compare(image, ours, reader, &manifest).await
            {
                return Some((tag.clone(), manifest));
            }
        }
        None
    }

    /// The manifest `theirs` with the commit of this run.
    fn other_commit(&self, theirs: &RawManifest) -> Sameness {
        let Some(revision) = &self.revision else {
            return Sameness::Same;
        };
        let bytes = match with_revision(theirs.bytes(), revision, None) {
            Ok(bytes) => bytes,
            // An image without an index has no place for the commit.
            Err(error) => return Sameness::Different(in_one_line(&error)),
        };
        match RawManifest::new(theirs.media_type(), bytes.into()) {
            Ok(manifest) => Sameness::OtherCommit(manifest),
            Err(fault) => Sameness::Different(fault.to_string()),
        }
    }
}

const fn limit(round: usize) -> usize {
    if round == 0 {
        MANIFEST_LIMIT
    } else {
        STATEMENT_LIMIT
    }
}

/// Reads an attestation manifest in the first round, and a statement afterwards. `None` if that fails: then the images
/// count as different.
async fn read(
    repository: &RemoteRepository,
    kept: &KeptContents,
    digest: &Digest,
    round: usize,
) -> Option<Bytes> {
    if let Some(content) = kept.read(digest).await {
        return Some(content);
    }
    let content = if round == 0 {
        let manifest = repository.get(&TagOrDigest::Digest(digest.clone())).await;
        manifest.ok()??.bytes().clone()
    } else {
        repository.get_blob(digest, limit(round)).await.ok()??
    };
    kept.keep(digest, &content).await;
    Some(content)
}
