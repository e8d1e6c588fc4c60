//! Publishes the image of a target that was built: its content, and its immutable tags.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::publication::Publication;
use super::{AtEnd, Publishing, hold, messages, response};
use crate::engine::spec::SolveExport;
use crate::engine::{BuildRef, Engine, Sessions, SolveSpec};
use crate::event::{EventKind, EventSink, StatusUpdate};
use crate::outcome::{FailureKind, SolveFailure, Solved};
use crate::publish::compare::MANIFEST_LIMIT;
use crate::publisher::{
    ContentReader, ImageToPublish, PublishError, Sameness, Standing, WholeImage,
};
use crate::registry::{RawManifest, TagOrDigest};
use crate::types::{Digest, ImageTag, TargetName};

/// How the first solve of a target exports its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum FirstExport {
    /// Pushed by digest, because the image is certainly new in the registry.
    ByDigest,
    /// Kept by the builder, until it is compared with the one in the registry.
    Kept,
    /// Pushed by the builder with all tags, because rbake does not reach the registry.
    WithTags,
}

/// A target that was built, and what is needed to solve it again.
pub(in crate::run) struct BuiltTarget<'a> {
    pub(in crate::run) publication: &'a Publication,
    pub(in crate::run) first: FirstExport,
    pub(in crate::run) spec: &'a SolveSpec,
    pub(in crate::run) sessions: &'a Sessions,
    pub(in crate::run) engine: &'a Engine,
    pub(in crate::run) events: &'a EventSink,
    pub(in crate::run) halt: &'a CancellationToken,
}

/// An image in one repository, and the tag that is known to point to it.
struct Found<'a> {
    image: &'a ImageToPublish,
    manifest: Option<RawManifest>,
    known: Option<ImageTag>,
}

impl Publishing {
    /// Changes `spec` for the first solve of `target`.
    pub(in crate::run) fn prepare(
        &self,
        target: &TargetName,
        publication: &Publication,
        spec: &mut SolveSpec,
    ) -> FirstExport {
        let standings = self.standings.get(target).map_or(&[][..], Vec::as_slice);
        let unreachable = standings.iter().find_map(|standing| match standing {
            Standing::Unreachable(error) => Some(error),
            _ => None,
        });
        if let Some(error) = unreachable {
            let notice = messages::by_builder(target, error);
            self.events.send(EventKind::Notice(notice));
            publication.replace(spec, publication.with_tags());
            return FirstExport::WithTags;
        }
        if standings
            .iter()
            .all(|standing| matches!(standing, Standing::Free))
        {
            publication.replace(spec, publication.by_digest(&publication.images));
            return FirstExport::ByDigest;
        }
        FirstExport::Kept
    }

    /// Publishes the image of a target whose first solve ended as `solved`: pushes it if it is not in the registry, sets
    /// its immutable tags, and changes `solved` so that it names the image that is published. Mutable tags are moved by
    /// [`Publishing::finish`].
    pub(in crate::run) async fn settle(
        &self,
        built: &BuiltTarget<'_>,
        solved: &mut Solved,
    ) -> Result<(), SolveFailure> {
        if built.first == FirstExport::WithTags {
            return Ok(());
        }
        let mut found: Vec<Found<'_>> = match built.first {
            FirstExport::Kept => self.compare(built, solved).await,
            FirstExport::ByDigest | FirstExport::WithTags => {
                let images = built.publication.images.iter();
                images.map(Found::nothing).collect()
            }
        };
        let missing = || found.iter().filter(|found| found.manifest.is_none());
        if built.first == FirstExport::Kept && missing().next().is_some() {
            let images = missing().map(|found| found.image);
            let export = built.publication.by_digest(images);
            solve_again(built, solved, export).await?;
        }
        let Some(digest) = solved.digest() else {
            let message = "the builder did not report the digest of the image";
            return Err(SolveFailure::new(FailureKind::Build, message));
        };
        for found in found.iter_mut().filter(|found| found.manifest.is_none()) {
            found.manifest = self
                .pushed(&built.spec.target, found.image, &digest)
                .await?;
        }
        if found.iter().any(|found| found.manifest.is_none()) {
            if self.is_gated {
                return Err(messages::ungated_elsewhere(&built.spec.target));
            }
            // The builder has pushed to another registry: it knows this one by another address or a mirror.
            if self.at_end == AtEnd::Hold {
                let problem = hold::by_builder(&built.spec.target);
                return Err(SolveFailure::new(FailureKind::Build, problem.message));
            }
            let notice = messages::elsewhere(&built.spec.target);
            self.events.send(EventKind::Notice(notice));
            return solve_again(built, solved, built.publication.with_tags()).await;
        }
        let target = &built.spec.target;
        let first = found.first().and_then(|found| found.manifest.clone());
        for found in found {
            let Some(manifest) = found.manifest else {
                continue;
            };
            let whole = WholeImage {
                image: found.image.clone(),
                manifest,
            };
            let set = self
                .publisher
                .set_immutable(&whole, found.known.as_ref(), self.announces)
                .await;
            let reports = set.map_err(|error| messages::failure(target, &error))?;
            let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
            done.whole.push(whole);
            done.reports.extend(reports);
        }
        if let Some(manifest) = first {
            response::name(solved, &manifest, &built.publication.names());
        }
        Ok(())
    }

    /// Compares the image that the builder has with those in the registries.
    async fn compare<'a>(&self, built: &BuiltTarget<'a>, solved: &Solved) -> Vec<Found<'a>> {
        let images = &built.publication.images;
        let reader = BuilderContent(built.engine);
        let ours = match solved.digest() {
            Some(digest) => reader.read(&digest, MANIFEST_LIMIT).await,
            None => None,
        };
        let standings = self.standings.get(&built.spec.target);
        let standings = standings.map_or(&[][..], Vec::as_slice);
        let compared = images.iter().zip(standings).map(|(image, standing)| {
            let (ours, reader) = (ours.as_ref(), &reader);
            async move {
                let (Standing::Taken { tag, manifest }, Some(ours)) = (standing, ours) else {
                    return Found::nothing(image);
                };
                let sameness = self.publisher.compare(image, ours, reader, manifest).await;
                match sameness {
                    Sameness::Same => Found {
                        image,
                        manifest: Some(manifest.clone()),
                        known: Some(tag.clone()),
                    },
                    Sameness::OtherCommit(manifest) => Found {
                        image,
                        manifest: Some(manifest),
                        known: None,
                    },
                    Sameness::Different(why) => {
                        tracing::info!(image = %image.repository, %tag, %why, "the image has changed");
                        Found::nothing(image)
                    }
                }
            }
        });
        futures_util::future::join_all(compared).await
    }

    /// The manifest that the builder has pushed to the repository of `image`. `None` if it is not there.
    async fn pushed(
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

impl<'a> Found<'a> {
    fn nothing(image: &'a ImageToPublish) -> Self {
        Self {
            image,
            manifest: None,
            known: None,
        }
    }
}

/// Solves the target again, which the builder has in its cache, only for `export`.
async fn solve_again(
    built: &BuiltTarget<'_>,
    solved: &mut Solved,
    export: SolveExport,
) -> Result<(), SolveFailure> {
    let spec = SolveSpec {
        build_ref: BuildRef::new(),
        // The first solve is in the history.
        internal: true,
        exports: vec![export],
        // The first solve has exported the caches.
        cache_exports: Vec::new(),
        ..built.spec.clone()
    };
    let events = only_exports(built.events);
    let again = built
        .engine
        .solve(&spec, built.sessions, &events, built.halt)
        .await?;
    solved.response.extend(again.response);
    Ok(())
}

/// The contents that the builder has.
struct BuilderContent<'a>(&'a Engine);

impl ContentReader for BuilderContent<'_> {
    async fn read(&self, digest: &Digest, limit: usize) -> Option<Bytes> {
        self.0.content(digest, limit).await
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
