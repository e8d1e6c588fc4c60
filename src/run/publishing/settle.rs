//! Publishes the image of a target that was built: its content, and its immutable tags.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::hold::{self, TagsWait};
use super::late::LatePush;
use super::publication::Publication;
use super::turns;
use super::{AtEnd, Company, Publishing, messages, response};
use crate::engine::spec::{CacheBackend, NoCache, SolveCache, SolveExport};
use crate::engine::{BuildRef, Sessions, SolveSpec};
use crate::event::{EventKind, EventSink, StatusUpdate};
use crate::outcome::{FailureKind, SolveFailure, Solved};
use crate::publish::compare::MANIFEST_LIMIT;
use crate::publisher::{
    ContentReader, ImageToPublish, PublishError, Sameness, Standing, TagReport, WholeImage,
};
use crate::registry::{RawManifest, TagOrDigest};
use crate::run::shared_context::SharedContext;
use crate::run::uploads::BuilderContents;
use crate::types::{Digest, ImageTag, Reference, TargetName};

/// How the first solve of a target exports its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum FirstExport {
    /// Pushed by digest: the image is certainly new in the registry, and the run has no other target.
    ByDigest,
    /// Kept by the builder, until it is compared with the one in the registry, and no other push sends its layers.
    Kept,
    /// Pushed by digest to a registry that rbake does not reach. The builder sets the tags after all targets.
    Unseen,
    /// Pushed by the builder with all tags: rbake does not reach the registry, and the run has no other target.
    WithTags,
}

/// Whether the image of a target is published, but for its mutable tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum Settled {
    /// It is.
    Whole,
    /// The builder sets the tags after all targets, and needs the sessions of the target until then.
    Later,
}

/// A target that was built, and what is needed to solve it again.
pub(in crate::run) struct BuiltTarget<'a> {
    pub(in crate::run) publication: &'a Publication,
    pub(in crate::run) first: FirstExport,
    pub(in crate::run) spec: &'a SolveSpec,
    pub(in crate::run) sessions: &'a Sessions,
    /// The images that the Dockerfile names.
    pub(in crate::run) base_images: &'a [Reference],
    /// Where the progress of the target goes.
    pub(in crate::run) events: &'a EventSink,
    pub(in crate::run) shared: &'a SharedContext,
    /// Cancels the target.
    pub(in crate::run) halt: &'a CancellationToken,
}

/// An image in one repository, and the tag that is known to point to it.
pub(super) struct FoundImage<'a> {
    pub(super) image: &'a ImageToPublish,
    pub(super) manifest: Option<RawManifest>,
    pub(super) known: Option<ImageTag>,
}

impl Publishing {
    /// Changes `spec` for the first solve of `target`.
    pub(in crate::run) fn prepare(
        &self,
        target: &TargetName,
        publication: &Publication,
        spec: &mut SolveSpec,
    ) -> FirstExport {
        let form = if publication.part.is_some() {
            // The image is compared when all nodes have built their parts of it.
            FirstExport::Kept
        } else if self.is_unseen(target) {
            match self.company {
                Company::Alone => FirstExport::WithTags,
                Company::Others => FirstExport::Unseen,
            }
        } else if self.is_free(target) && self.company == Company::Alone && !self.sends(publication)
        {
            FirstExport::ByDigest
        } else {
            FirstExport::Kept
        };
        publication.ask(spec, form);
        form
    }

    /// Whether rbake does not reach a registry of `target`.
    pub(super) fn is_unseen(&self, target: &TargetName) -> bool {
        let mut standings = self.standings_of(target).iter();
        standings.any(|standing| matches!(standing, Standing::Unreachable(_)))
    }

    /// Whether rbake sends the image, and not the builder.
    pub(super) fn sends(&self, publication: &Publication) -> bool {
        let mut images = publication.images.iter();
        images.all(|image| self.uploader.sends_to(&image.repository))
    }

    fn is_free(&self, target: &TargetName) -> bool {
        let mut standings = self.standings_of(target).iter();
        standings.all(|standing| matches!(standing, Standing::Free))
    }

    /// What the registries had before the build, for each image of `target`.
    pub(super) fn standings_of(&self, target: &TargetName) -> &[Standing] {
        self.standings.get(target).map_or(&[], Vec::as_slice)
    }

    /// Publishes the image of a target whose first solve ended as `solved`: pushes it if it is not in the registry, sets
    /// its immutable tags, and changes `solved` so that it names the image that is published. Mutable tags are moved by
    /// [`Publishing::finish`].
    pub(in crate::run) async fn settle(
        &self,
        built: &BuiltTarget<'_>,
        solved: &mut Solved,
    ) -> Result<Settled, SolveFailure> {
        if let Some(part) = &built.publication.part {
            return self.settle_part(built, part, solved).await;
        }
        if let Some(store) = built.publication.engine() {
            self.settle_by_docker(built, store, solved).await?;
            return Ok(Settled::Whole);
        }
        match built.first {
            FirstExport::WithTags => return Ok(Settled::Whole),
            FirstExport::Unseen => return Ok(self.tag_later(built)),
            FirstExport::ByDigest | FirstExport::Kept => {}
        }
        let mut found: Vec<FoundImage<'_>> = if built.first == FirstExport::Kept {
            self.compare(built, solved).await
        } else {
            let images = built.publication.images.iter();
            images.map(FoundImage::nothing).collect()
        };
        let missing = found.iter().filter(|found| found.manifest.is_none());
        let missing: Vec<&ImageToPublish> = missing.map(|found| found.image).collect();
        let target = &built.spec.target;
        let sent = self.send_missing(built, solved, &missing).await?;
        if sent.is_none() {
            self.push_missing(built, solved, &missing).await?;
        }
        let Some(digest) = solved.digest() else {
            let message = "the builder did not report the digest of the image";
            return Err(SolveFailure::new(FailureKind::Build, message));
        };
        for found in found.iter_mut().filter(|found| found.manifest.is_none()) {
            found.manifest = match &sent {
                Some(manifest) => Some(manifest.clone()),
                None => self.pushed(target, found.image, &digest).await?,
            };
        }
        if found.iter().any(|found| found.manifest.is_none()) {
            // The builder has pushed to another registry: it knows this one by another address or a mirror.
            if let Some(failure) = self.refuses_elsewhere(target) {
                return Err(failure);
            }
            let notice = messages::elsewhere(target);
            self.events.send(EventKind::Notice(notice));
            return Ok(self.tag_later(built));
        }
        let first = found.first().and_then(|found| found.manifest.clone());
        for found in found {
            let Some(manifest) = found.manifest else {
                continue;
            };
            let whole = WholeImage {
                image: found.image.clone(),
                manifest,
            };
            self.set_immutable(target, whole, found.known.as_ref())
                .await?;
        }
        if let Some(manifest) = first {
            response::name(solved, &manifest, &built.publication.names());
        }
        Ok(Settled::Whole)
    }

    /// Lets the builder push the image to the repositories of `missing`, by its digest.
    async fn push_missing(
        &self,
        built: &BuiltTarget<'_>,
        solved: &mut Solved,
        missing: &[&ImageToPublish],
    ) -> Result<(), SolveFailure> {
        if missing.is_empty() {
            return Ok(());
        }
        let layers = layers_of(built, solved).await;
        if built.first == FirstExport::Kept
            && let Some(export) = built.publication.by_digest(missing.iter().copied())
        {
            let at_registries = turns::at_registries(&layers, missing);
            let (slots, target) = (&built.shared.slots, &built.spec.target);
            let turn = self.turns.turn(at_registries);
            let _turn = slots.without(target, turn).await;
            solve_again(built, solved, export).await?;
        }
        for image in missing {
            built.shared.blobs.note(&image.repository, &layers);
        }
        Ok(())
    }

    /// Why the tags of `target` may not be set by the builder, which reaches another registry than rbake does.
    pub(super) fn refuses_elsewhere(&self, target: &TargetName) -> Option<SolveFailure> {
        if self.is_gated {
            return Some(messages::ungated_elsewhere(target));
        }
        if self.at_end == AtEnd::Hold {
            let problem = hold::by_builder(TagsWait::ForPromotion, target);
            return Some(SolveFailure::new(FailureKind::Build, problem.message));
        }
        None
    }

    /// Leaves the tags of a target to the builder, after all targets.
    fn tag_later(&self, built: &BuiltTarget<'_>) -> Settled {
        let late = LatePush::by_builder(built);
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.late.push(late);
        Settled::Later
    }

    /// Sets the immutable tags of `whole`, an image of `target` whose content is in the registry. `known` is a tag that
    /// points to it already.
    pub(super) async fn set_immutable(
        &self,
        target: &TargetName,
        whole: WholeImage,
        known: Option<&ImageTag>,
    ) -> Result<(), SolveFailure> {
        let set = self
            .publisher
            .set_immutable(&whole, known, self.announces)
            .await;
        let reports = set.map_err(|error| messages::failure(target, &error))?;
        self.note_whole(whole, reports);
        Ok(())
    }

    /// Notes what became of tags.
    pub(super) fn note(&self, reports: Vec<TagReport>) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.reports.extend(reports);
    }

    /// Notes that an image is in the registry, under its immutable tags.
    pub(super) fn note_whole(&self, whole: WholeImage, reports: Vec<TagReport>) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.whole.push(whole);
        done.reports.extend(reports);
    }

    /// Compares the image that the builder has with those in the registries.
    pub(super) async fn compare<'a>(
        &self,
        built: &BuiltTarget<'a>,
        solved: &Solved,
    ) -> Vec<FoundImage<'a>> {
        let reader = BuilderContents(&built.shared.engine);
        let ours = match solved.digest() {
            Some(digest) => reader.read(&digest, MANIFEST_LIMIT).await,
            None => None,
        };
        self.compare_with(built, ours.as_ref(), &reader).await
    }

    /// Compares the image whose top-level manifest is `ours`, and whose contents `reader` has, with those in the registries.
    pub(super) async fn compare_with<'a>(
        &self,
        built: &BuiltTarget<'a>,
        ours: Option<&Bytes>,
        reader: &impl ContentReader,
    ) -> Vec<FoundImage<'a>> {
        let images = &built.publication.images;
        let standings = self.standings_of(&built.spec.target);
        let compared = images.iter().zip(standings).map(|(image, standing)| {
            async move {
                let (Standing::Taken { tag, manifest }, Some(ours)) = (standing, ours) else {
                    return FoundImage::nothing(image);
                };
                let sameness = self.publisher.compare(image, ours, reader, manifest).await;
                match sameness {
                    Sameness::Same => FoundImage {
                        image,
                        manifest: Some(manifest.clone()),
                        known: Some(tag.clone()),
                    },
                    Sameness::OtherCommit(manifest) => FoundImage {
                        image,
                        manifest: Some(manifest),
                        known: None,
                    },
                    Sameness::Different(why) => {
                        tracing::info!(image = %image.repository, %tag, %why, "the image has changed");
                        let other = manifest.digest();
                        let before = self.publisher.published_before(image, ours, reader, other);
                        match before.await {
                            Some((known, manifest)) => FoundImage {
                                image,
                                manifest: Some(manifest),
                                known: Some(known),
                            },
                            None => FoundImage::nothing(image),
                        }
                    }
                }
            }
        });
        futures_util::future::join_all(compared).await
    }

    /// The manifest that the builder has pushed to the repository of `image`. `None` if it is not there.
    pub(super) async fn pushed(
        &self,
        target: &TargetName,
        image: &ImageToPublish,
        digest: &Digest,
    ) -> Result<Option<RawManifest>, SolveFailure> {
        let repository = self
            .publisher
            .registries()
            .repository(&image.repository, image.security);
        let found = repository.get(&TagOrDigest::Digest(digest.clone())).await;
        found.map_err(|error| messages::failure(target, &PublishError::from(error)))
    }
}

impl<'a> FoundImage<'a> {
    pub(super) fn nothing(image: &'a ImageToPublish) -> Self {
        Self {
            image,
            manifest: None,
            known: None,
        }
    }
}

/// The solve of a target that was built as `spec`, only for `export`. All its steps are in the builder's cache. `is_parent` says
/// whether others link to it.
pub(super) fn again(spec: &SolveSpec, export: SolveExport, is_parent: bool) -> SolveSpec {
    SolveSpec {
        build_ref: BuildRef::new(),
        // The first solve is in the history.
        internal: true,
        exports: vec![export],
        // The first solve has exported the caches, except those that are part of the image. They are imported again, because the
        // builder forgets results that it did not need to load, and would run their steps.
        cache_exports: inline_caches(spec),
        // The first solve has built what must not come from the cache. If others use the result, the builder still has the
        // steps, and their provenance names the request only if all that it knows of are equal.
        no_cache: if is_parent {
            spec.no_cache.clone()
        } else {
            NoCache::Nothing
        },
        ..spec.clone()
    }
}

/// The caches that `spec` exports into the image.
fn inline_caches(spec: &SolveSpec) -> Vec<SolveCache> {
    let caches = spec.cache_exports.iter();
    let inline = caches.filter(|cache| cache.backend == CacheBackend::Inline);
    inline.cloned().collect()
}

/// Solves the target again for `export`.
pub(super) async fn solve_again(
    built: &BuiltTarget<'_>,
    solved: &mut Solved,
    export: SolveExport,
) -> Result<(), SolveFailure> {
    let shared = built.shared;
    let spec = again(
        built.spec,
        export,
        shared.links.is_parent(&built.spec.target),
    );
    let events = only_exports(built.events);
    let again = shared
        .engine
        .solve(&spec, built.sessions, &events, built.halt)
        .await?;
    solved.response.extend(again.response);
    Ok(())
}

/// The layers of an image that was built.
async fn layers_of(built: &BuiltTarget<'_>, solved: &Solved) -> BTreeSet<Digest> {
    let reader = BuilderContents(&built.shared.engine);
    let Some(digest) = solved.digest() else {
        return BTreeSet::new();
    };
    match reader.read(&digest, MANIFEST_LIMIT).await {
        Some(top) => turns::layers(&top, &reader).await,
        None => BTreeSet::new(),
    }
}

/// A sink that passes on only the progress of exports. All other steps of a second solve were shown before.
fn only_exports(events: &EventSink) -> EventSink {
    let exports: Mutex<BTreeSet<Digest>> = Mutex::default();
    events.map(move |kind| match kind {
        EventKind::Progress { target, update } => {
            let mut exports = exports.lock().unwrap_or_else(PoisonError::into_inner);
            let is_export = |name: &str| name.starts_with("exporting to ");
            let vertices = update
                .vertices
                .iter()
                .filter(|vertex| is_export(&vertex.name) || exports.contains(&vertex.digest));
            let vertices: Vec<_> = vertices.cloned().collect();
            exports.extend(vertices.iter().map(|vertex| vertex.digest.clone()));
            let progress = update.progress.iter();
            let progress = progress.filter(|progress| exports.contains(&progress.vertex));
            let update = StatusUpdate {
                progress: progress.cloned().collect(),
                vertices,
                ..StatusUpdate::default()
            };
            EventKind::Progress {
                target,
                update: Arc::new(update),
            }
        }
        other => other,
    })
}
