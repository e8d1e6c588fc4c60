//! Sends an image, or the layers of a cache.

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use super::places::BlobPlaces;
use super::{BuilderContents, BuiltImage, UploadProgress};
use crate::publisher::ContentReader as _;
use crate::registry::{
    BlobSize, RegistryError, RegistryFault, RemoteRepository, SentBlob, TagOrDigest,
};
use crate::types::{ImageRepository, Reference};

/// The blobs that are sent at the same time to one repository. The registry's connection has limits of its own.
const AT_ONCE: usize = 16;
/// A blob of at most so many bytes is held in memory, and sent without a look whether the repository has it.
const SMALL: u64 = 256 << 10;

/// An upload failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::run) enum UploadError {
    /// The builder does not have a content. It could not be read, or was never downloaded: only the builder knows where to
    /// get it.
    #[error("the builder does not have `{0}`")]
    NotAtBuilder(crate::types::Digest),
    /// The repository has lost a blob that a manifest of it names, so it must be asked for each one.
    #[error("the repository has lost a blob")]
    Lost,
    /// The registry refused, or did not answer.
    #[error(transparent)]
    Registry(RegistryError),
}

impl From<RegistryError> for UploadError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

/// Where blobs are sent, and where they come from.
pub(in crate::run) struct UploadTarget<'a> {
    pub(in crate::run) repository: &'a RemoteRepository,
    /// Whether the repository has probably nothing yet.
    pub(in crate::run) is_new: bool,
    /// A repository of the same registry that may have large blobs of which nothing is known: that of the base image.
    pub(in crate::run) base: Option<ImageRepository>,
    pub(in crate::run) places: &'a BlobPlaces,
    pub(in crate::run) contents: &'a BuilderContents<'a>,
    pub(in crate::run) progress: &'a UploadProgress<'a>,
}

/// The repository of the last image of `images` at the registry of `to`, except `to`. The last image that a Dockerfile names
/// is mostly the base of its result.
pub(in crate::run) fn base_at(
    to: &ImageRepository,
    images: &[Reference],
) -> Option<ImageRepository> {
    let mut repositories = images.iter().map(ImageRepository::of);
    repositories.rfind(|image| image.domain() == to.domain() && image != to)
}

/// Sends `image` to a repository, by its digest. Manifests come after what they name.
pub(in crate::run) async fn send(
    image: &BuiltImage,
    to: &UploadTarget<'_>,
) -> Result<(), UploadError> {
    give_all(&image.blobs, to).await?;
    for manifest in image.children.iter().chain([&image.top]) {
        let name = TagOrDigest::Digest(manifest.digest().clone());
        to.repository.put(&name, manifest).await.map_err(lost)?;
    }
    Ok(())
}

/// The error of a manifest that the registry refused, perhaps because it lacks a blob.
pub(in crate::run) fn lost(error: RegistryError) -> UploadError {
    match &error.fault {
        RegistryFault::Refused { code, .. } if code == "MANIFEST_BLOB_UNKNOWN" => UploadError::Lost,
        _ => UploadError::Registry(error),
    }
}

/// Makes `blobs` part of the repository. At most [`AT_ONCE`] of them are handled at the same time.
pub(in crate::run) async fn give_all(
    blobs: &[BlobSize],
    to: &UploadTarget<'_>,
) -> Result<(), UploadError> {
    let giving: Vec<_> = blobs.iter().map(|blob| to.give(blob).boxed()).collect();
    stream::iter(giving)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

impl UploadTarget<'_> {
    /// Makes `blob` part of the repository: no request if it has the blob, one if another repository of the registry has it,
    /// and otherwise two.
    async fn give(&self, blob: &BlobSize) -> Result<(), UploadError> {
        let name = self.repository.name();
        let place = self.places.of(name, &blob.digest);
        if place.has(name) {
            return Ok(());
        }
        // If two images need the blob, the second one waits, and then has a repository to mount from.
        let mut sending = None;
        if place.any().is_none() {
            sending = Some(place.sending.lock().await);
        }
        let from = place.any();
        if from.is_some() {
            sending = None;
        }
        if blob.size <= SMALL {
            self.give_small(blob, from).await?;
        } else {
            self.give_large(blob, from).await?;
        }
        place.add(name);
        drop(sending);
        Ok(())
    }

    /// A blob that is sent from memory.
    async fn give_small(
        &self,
        blob: &BlobSize,
        from: Option<ImageRepository>,
    ) -> Result<(), UploadError> {
        if let Some(from) = from
            && self.repository.mount_blob(&blob.digest, &from).await?
        {
            return Ok(());
        }
        let limit = usize::try_from(SMALL).unwrap_or(usize::MAX);
        let bytes = self.contents.read(&blob.digest, limit).await;
        let bytes = bytes.ok_or_else(|| UploadError::NotAtBuilder(blob.digest.clone()))?;
        self.repository.put_blob(&bytes).await?;
        Ok(())
    }

    async fn give_large(
        &self,
        blob: &BlobSize,
        from: Option<ImageRepository>,
    ) -> Result<(), UploadError> {
        if from.is_none() && !self.is_new && self.repository.has_blob(&blob.digest).await? {
            return Ok(());
        }
        // Many registries answer this like a mount if the repository has the blob already, because a run was interrupted.
        // An answer that does not mount has begun the upload, so the question costs nothing.
        let from = from.or_else(|| self.base.clone());
        let from = from.unwrap_or_else(|| self.repository.name().clone());
        self.progress.expect(blob.size);
        let handed = |bytes| self.progress.sent(&blob.digest, bytes);
        let given = self
            .repository
            .give_blob(blob, Some(&from), self.contents, &handed);
        match given.await {
            Ok(SentBlob::Sent) => Ok(()),
            Ok(SentBlob::Mounted) => {
                self.progress.spare(blob.size);
                Ok(())
            }
            Err(error) if matches!(error.fault, RegistryFault::Source(_)) => {
                Err(UploadError::NotAtBuilder(blob.digest.clone()))
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case(&["ghcr.io/acme/node", "ghcr.io/acme/base:1"], Some("ghcr.io/acme/base"); "the last one")]
    #[test_case(&["ghcr.io/acme/base", "python:3"], Some("ghcr.io/acme/base"); "another registry")]
    #[test_case(&["ghcr.io/acme/web:old"], None; "the repository itself")]
    #[test_case(&[], None; "none")]
    fn the_base_image_is_the_last_one_of_the_registry(images: &[&str], expected: Option<&str>) {
        let reference = |name: &str| name.parse::<Reference>().unwrap();
        let images: Vec<Reference> = images.iter().map(|name| reference(name)).collect();
        let to = ImageRepository::of(&reference("ghcr.io/acme/web"));
        let found = base_at(&to, &images).map(|base| base.to_string());
        assert_eq!(found.as_deref(), expected);
    }
}
