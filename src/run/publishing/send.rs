//! Sends the image of a target to the registries that do not have it.

use std::collections::BTreeSet;

use futures_util::FutureExt as _;

use super::settle::FirstExport;
use super::{BuiltTarget, Publishing, Standing, messages};
use crate::outcome::{FailureKind, SolveFailure, Solved};
use crate::publish::class::TagClass;
use crate::publisher::{ImageToPublish, PublishError};
use crate::registry::{
    ContentDescriptor, ManifestLinks, RawManifest, RemoteRepository, TagOrDigest,
};
use crate::run::uploads::{
    self, BuilderContents, BuiltImage, UploadError, UploadProgress, UploadTarget,
};
use crate::types::Digest;

/// The most platforms of an earlier image that are read.
const PLATFORMS: usize = 8;

impl Publishing {
    /// Sends the image to the repositories of `missing`, which do not have it. Returns what they have then. `None` if there
    /// are none, or the builder must push: it is on another machine, or has not downloaded all of the image.
    pub(super) async fn send_missing(
        &self,
        built: &BuiltTarget<'_>,
        solved: &Solved,
        missing: &[&ImageToPublish],
    ) -> Result<Option<RawManifest>, SolveFailure> {
        let is_ours = self.sends(built.publication)
            && built.first == FirstExport::Kept
            && !missing.is_empty();
        let contents = BuilderContents(&built.shared.engine);
        let Some(digest) = solved.digest().filter(|_| is_ours) else {
            return Ok(None);
        };
        let target = &built.spec.target;
        let Some(image) = BuiltImage::read(&digest, &contents).await else {
            tracing::info!(%target, "the builder pushes: its image cannot be read");
            return Ok(None);
        };
        for to in missing {
            let sending = self.send_one(built, &image, to, &contents).boxed();
            let sent = tokio::select! {
                biased;
                () = built.halt.cancelled() => {
                    return Err(SolveFailure::new(FailureKind::Cancelled, "the push was stopped"));
                }
                sent = sending => sent,
            };
            match sent {
                Ok(()) => {}
                Err(UploadError::NotAtBuilder(blob)) => {
                    tracing::info!(%target, %blob, "the builder pushes: it has not downloaded a layer");
                    return Ok(None);
                }
                Err(UploadError::Lost) => {
                    tracing::warn!(%target, repository = %to.repository, "the builder pushes: the repository has lost a blob");
                    return Ok(None);
                }
                Err(UploadError::Registry(error)) => {
                    return Err(messages::failure(target, &PublishError::from(error)));
                }
            }
        }
        Ok(Some(image.top))
    }

    async fn send_one(
        &self,
        built: &BuiltTarget<'_>,
        image: &BuiltImage,
        to: &ImageToPublish,
        contents: &BuilderContents<'_>,
    ) -> Result<(), UploadError> {
        let registries = self.publisher.registries();
        let repository = registries.repository(&to.repository, to.security);
        let target = &built.spec.target;
        let blobs = &built.shared.blobs;
        let before = self.before(built, to, &repository).await;
        let is_new = before.is_none();
        if let Some(before) = before {
            let known = blobs_of(&before, &repository).await;
            blobs.note(&to.repository, &known);
        }
        let progress = UploadProgress::new(
            built.events,
            format!("send-{target}-{}", to.repository),
            Some(target.clone()),
            format!("push {}", to.repository.familiar()),
        );
        let to = UploadTarget {
            repository: &repository,
            is_new,
            base: uploads::base_at(&to.repository, built.base_images),
            places: blobs,
            contents,
            progress: &progress,
        };
        let sent = uploads::send(image, &to).await;
        progress.end(sent.as_ref().err().map(ToString::to_string));
        sent
    }

    /// An image that the repository of `to` has: one request, if it is not known from before the build. `None` if it has none
    /// under a tag of this run; then it is probably new.
    async fn before(
        &self,
        built: &BuiltTarget<'_>,
        to: &ImageToPublish,
        repository: &RemoteRepository,
    ) -> Option<RawManifest> {
        let standings = self.standings_of(&built.spec.target);
        let mut images = built.publication.images.iter().zip(standings);
        let standing = images.find(|(image, _)| image.repository == to.repository);
        if let Some((_, Standing::Taken { manifest, .. })) = standing {
            return Some(manifest.clone());
        }
        let tag = to.tags_of(TagClass::Mutable).last()?;
        let found = repository.get(&TagOrDigest::Tag(tag.clone())).await;
        found.ok().flatten()
    }
}

/// The blobs of the image `top`, which `repository` has: one request for each platform.
async fn blobs_of(top: &RawManifest, repository: &RemoteRepository) -> BTreeSet<Digest> {
    let mut blobs = BTreeSet::new();
    let Ok(Some(links)) = ManifestLinks::of(top) else {
        return blobs;
    };
    blobs.extend(links.blobs.into_iter().map(|blob| blob.digest));
    let platforms = links
        .children
        .into_iter()
        .filter(ContentDescriptor::is_platform);
    for child in platforms.take(PLATFORMS) {
        let name = TagOrDigest::Digest(child.digest);
        if let Ok(Some(manifest)) = repository.get(&name).await
            && let Ok(Some(links)) = ManifestLinks::of(&manifest)
        {
            blobs.extend(links.blobs.into_iter().map(|blob| blob.digest));
        }
    }
    blobs
}
