//! Publishes images that a Docker Engine has built. With the classic image store, only the Engine itself can push them,
//! and only under a tag. With containerd's, its BuildKit could push by digest, but in a second export, whose provenance
//! has other times than that of the stored image: the Engine and the registry would have different images.
//!
//! So the Engine pushes each image once, under an immutable tag that is free. rbake sets all other tags. If an image has
//! no such tag, the Engine sets its mutable tags after all targets.

use std::sync::PoisonError;

use serde::Deserialize;

use super::late::LatePush;
use super::publication::Tags;
use super::settle::FoundImage;
use super::{BuiltTarget, Company, Publishing, messages, response};
use crate::event::EventKind;
use crate::outcome::{SolveFailure, Solved};
use crate::publish::class::TagClass;
use crate::publisher::{ImageToPublish, PublishError, Standing, WholeImage};
use crate::registry::{RawManifest, TagOrDigest};
use crate::run::gates::GateImage;
use crate::run::lower::ImageStore;
use crate::run::push;
use crate::types::{Digest, ImageName, ImageTag, Reference};

impl Publishing {
    /// Publishes an image that the Engine has. `solved` has the digest by which the Engine knows it; afterwards, it has that of
    /// the image in the registry, if it is there.
    pub(super) async fn settle_by_docker(
        &self,
        built: &BuiltTarget<'_>,
        store: ImageStore,
        solved: &mut Solved,
    ) -> Result<(), SolveFailure> {
        let target = &built.spec.target;
        let Some(id) = solved.digest() else {
            return Ok(());
        };
        if !built.publication.has_tags() {
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.local.push(GateImage {
                target: target.clone(),
                name: id.to_string(),
            });
            return Ok(());
        }
        if self.is_unseen(target) {
            return self.push_unseen(built, solved).await;
        }
        let found = match store {
            ImageStore::Containerd => self.compare(built, solved).await,
            ImageStore::Classic => self.compare_by_config(built, &id),
        };
        let mut first = None;
        for found in found {
            let published = self.publish_one(built, found, solved).await?;
            first = first.or(published);
        }
        if let Some(manifest) = first {
            if store == ImageStore::Classic {
                push::name(solved, manifest.digest());
            }
            response::name(solved, &manifest, &built.publication.names());
        }
        Ok(())
    }

    /// Finds the image with the configuration `id` in the registries. The classic store holds no index and no
    /// attestations, so images with equal configurations are equal.
    fn compare_by_config<'a>(&self, built: &BuiltTarget<'a>, id: &Digest) -> Vec<FoundImage<'a>> {
        let standings = self.standings_of(&built.spec.target);
        let images = built.publication.images.iter().zip(standings);
        let found = images.map(|(image, standing)| match standing {
            Standing::Taken { tag, manifest } if config_of(manifest).as_ref() == Some(id) => {
                FoundImage {
                    image,
                    manifest: Some(manifest.clone()),
                    known: Some(tag.clone()),
                }
            }
            _ => FoundImage::nothing(image),
        });
        found.collect()
    }

    /// Publishes the image in one repository. Returns its manifest. `None` if the Engine pushes it later.
    async fn publish_one(
        &self,
        built: &BuiltTarget<'_>,
        found: FoundImage<'_>,
        solved: &mut Solved,
    ) -> Result<Option<RawManifest>, SolveFailure> {
        let target = &built.spec.target;
        let image = found.image;
        let failure = |error: PublishError| messages::failure(target, &error);
        if let Some(manifest) = found.manifest {
            let whole = WholeImage {
                image: image.clone(),
                manifest: manifest.clone(),
            };
            self.set_immutable(target, whole, found.known.as_ref())
                .await?;
            return Ok(Some(manifest));
        }
        let free = self.publisher.immutable_to_set(image).await;
        let set = match free.map_err(failure)? {
            Ok(set) => set,
            Err(kept) => {
                self.note(kept);
                self.push_mutable(built, image, solved).await?;
                return Ok(None);
            }
        };
        let Some(name) = named(image, &set.tag) else {
            return Ok(None);
        };
        let pushed = push::push_shown(target, name.reference(), built.shared).await?;
        let repository = self
            .publisher
            .registries()
            .repository(&image.repository, image.security);
        let place = pushed.map_or_else(|| TagOrDigest::Tag(set.tag.clone()), TagOrDigest::Digest);
        let found = repository.get(&place).await;
        let Some(manifest) = found.map_err(|error| failure(error.into()))? else {
            // The Engine has pushed to another registry: it knows this one by another address or a mirror.
            if let Some(failure) = self.refuses_elsewhere(target) {
                return Err(failure);
            }
            self.events
                .send(EventKind::Notice(messages::elsewhere(target)));
            for other in image.tags_of(TagClass::Immutable) {
                if *other != set.tag
                    && let Some(name) = named(image, other)
                {
                    push::push_shown(target, name.reference(), built.shared).await?;
                }
            }
            self.push_mutable(built, image, solved).await?;
            return Ok(None);
        };
        let whole = WholeImage {
            image: image.clone(),
            manifest: manifest.clone(),
        };
        let adopted = self.publisher.adopt(&whole, set, self.announces);
        let reports = adopted.await.map_err(failure)?;
        self.note_whole(whole, reports);
        Ok(Some(manifest))
    }

    /// Lets the Engine set the mutable tags of `image`: after all targets, if there are others.
    async fn push_mutable(
        &self,
        built: &BuiltTarget<'_>,
        image: &ImageToPublish,
        solved: &mut Solved,
    ) -> Result<(), SolveFailure> {
        let target = &built.spec.target;
        let tags = image.tags_of(TagClass::Mutable);
        let names: Vec<ImageName> = tags.filter_map(|tag| named(image, tag)).collect();
        if names.is_empty() {
            return Ok(());
        }
        match self.company {
            Company::Alone => push::push(target, &references(&names), built.shared, solved).await,
            Company::Others => {
                let late = LatePush::by_docker(target.clone(), names, solved.clone());
                let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
                done.late.push(late);
                Ok(())
            }
        }
    }

    /// Lets the Engine push to a registry that rbake does not reach: immutable tags now, and mutable ones after all
    /// targets.
    async fn push_unseen(
        &self,
        built: &BuiltTarget<'_>,
        solved: &mut Solved,
    ) -> Result<(), SolveFailure> {
        let immutable = built.publication.tagged(Tags::Of(TagClass::Immutable));
        let target = &built.spec.target;
        push::push(target, &references(&immutable), built.shared, solved).await?;
        for image in &built.publication.images {
            self.push_mutable(built, image, solved).await?;
        }
        Ok(())
    }
}

fn references(names: &[ImageName]) -> Vec<Reference> {
    let names = names.iter();
    names.map(|name| name.reference().clone()).collect()
}

/// The name of `image` with `tag`.
fn named(image: &ImageToPublish, tag: &ImageTag) -> Option<ImageName> {
    image.named(tag).to_string().parse().ok()
}

/// The digest of an image's configuration. `None` if `manifest` is not that of an image.
fn config_of(manifest: &RawManifest) -> Option<Digest> {
    #[derive(Deserialize)]
    struct Configured {
        config: Config,
    }
    #[derive(Deserialize)]
    struct Config {
        digest: String,
    }
    let configured: Configured = serde_json::from_slice(manifest.bytes()).ok()?;
    configured.config.digest.parse().ok()
}
