//! Publishes an image that several nodes have built, each for some platforms.
//!
//! Each node keeps its part at first. When all parts are built, the first part merges their indexes and compares the result with what the
//! registries have. If it is missing somewhere, all parts are pushed there by digest, and then the index of what was pushed: the times in the
//! attestations are those of the second solve. From then on, the image is like any other: immutable tags now, mutable ones at the end.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::settle::{FoundImage, solve_again};
use super::{BuiltTarget, Publication, Publishing, Settled, messages};
use crate::builder::Notice;
use crate::diag::{Class, Diagnostic, Diagnostics};
use crate::engine::Engine;
use crate::outcome::{FailureKind, SolveFailure, Solved};
use crate::publish::index_merge;
use crate::publisher::{ContentReader, ImageToPublish, PublishError, Standing, WholeImage};
use crate::registry::{LARGEST_MANIFEST, RawManifest, TagOrDigest};
use crate::run::spread::{PartImage, PushDecision, TargetPart, not_merged};
use crate::run::uploads::BuilderContents;
use crate::types::causes::in_one_line;
use crate::types::{Digest, TargetName};

/// The contents of several nodes.
struct NodesContents<'a>(&'a [PartImage]);

impl ContentReader for NodesContents<'_> {
    async fn read(&self, digest: &Digest, limit: usize) -> Option<Bytes> {
        for part in self.0 {
            if let Some(found) = part.engine.content(digest, limit).await {
                return Some(found);
            }
        }
        None
    }
}

impl Publishing {
    /// Publishes `part` of an image, which was built as `built`, together with all other parts.
    pub(super) async fn settle_part(
        &self,
        built: &BuiltTarget<'_>,
        part: &TargetPart,
        solved: &mut Solved,
    ) -> Result<Settled, SolveFailure> {
        let own = read_built(&built.shared.engine, solved).await?;
        let own = PartImage {
            manifest: own,
            engine: std::sync::Arc::clone(&built.shared.engine),
        };
        let all = part.built(own).await;
        let target = &built.spec.target;
        let found = if part.is_first() {
            let ours = merged(built.publication, target, &all).map_err(|failure| *failure)?;
            let reader = NodesContents(&all);
            let found = self.compare_with(built, Some(ours.bytes()), &reader).await;
            let missing = found.iter().enumerate();
            let missing = missing.filter(|(_, found)| found.manifest.is_none());
            part.decide(PushDecision {
                missing: missing.map(|(number, _)| number).collect(),
            });
            found
        } else {
            Vec::new()
        };
        let decision = part.decision().await;
        let images = built.publication.images.iter().enumerate();
        let missing = images.filter(|(number, _)| decision.missing.contains(number));
        let missing: Vec<&ImageToPublish> = missing.map(|(_, image)| image).collect();
        let pushed = if missing.is_empty() {
            None
        } else {
            let own = self.push_part(built, solved, &missing).await?;
            let all = part.pushed(own).await;
            Some(merged(built.publication, target, &all).map_err(|failure| *failure)?)
        };
        if part.is_first() {
            let set = self.settle_merged(built, found, pushed.as_ref());
            if let Some(digest) = set.await? {
                // Only this part sets it.
                let _ = part.spread.published.set(digest);
            }
        }
        Ok(Settled::Whole)
    }

    /// Lets the node push its part to `missing`, by digest.
    async fn push_part(
        &self,
        built: &BuiltTarget<'_>,
        solved: &mut Solved,
        missing: &[&ImageToPublish],
    ) -> Result<PartImage, SolveFailure> {
        let target = &built.spec.target;
        let Some(export) = built.publication.by_digest(missing.iter().copied()) else {
            let message = "a Docker Engine cannot push a part of an image";
            return Err(SolveFailure::new(FailureKind::Build, message));
        };
        solve_again(built, solved, export).await?;
        let Some(digest) = solved.digest() else {
            return Err(no_digest());
        };
        let mut manifest = None;
        for image in missing {
            let Some(found) = self.pushed(target, image, &digest).await? else {
                // The node has pushed to another registry: it knows this one by another address or a mirror.
                let message = format!(
                    "the node `{}` has pushed to another registry than the one that rbake reaches as `{}`, so no index of all platforms can be made",
                    built.shared.node_path, image.repository
                );
                return Err(SolveFailure::new(FailureKind::Build, message));
            };
            manifest = Some(found);
        }
        let manifest = manifest.ok_or_else(no_digest)?;
        Ok(PartImage {
            manifest,
            engine: std::sync::Arc::clone(&built.shared.engine),
        })
    }

    /// Writes the index `pushed` into the repositories that do not have the image, and sets the immutable tags in all. Returns the digest
    /// of the image in the first repository.
    async fn settle_merged(
        &self,
        built: &BuiltTarget<'_>,
        found: Vec<FoundImage<'_>>,
        pushed: Option<&RawManifest>,
    ) -> Result<Option<Digest>, SolveFailure> {
        let target = &built.spec.target;
        let name = format!(
            "merge the images of the nodes into {}",
            built.publication.names()
        );
        let notice = Notice::begin(&self.events, &format!("merge-{target}"), &name);
        let mut first = None;
        for found in found {
            let manifest = match (found.manifest, pushed) {
                (Some(manifest), _) => manifest,
                (None, Some(pushed)) => {
                    let registries = self.publisher.registries();
                    let repository =
                        registries.repository(&found.image.repository, found.image.security);
                    let by_digest = TagOrDigest::Digest(pushed.digest().clone());
                    let put = repository.put(&by_digest, pushed).await;
                    if let Err(error) = put {
                        notice.end(Some(&in_one_line(&error)));
                        return Err(messages::failure(target, &PublishError::from(error)));
                    }
                    pushed.clone()
                }
                (None, None) => continue,
            };
            first.get_or_insert_with(|| manifest.digest().clone());
            let whole = WholeImage {
                image: found.image.clone(),
                manifest,
            };
            self.set_immutable(target, whole, found.known.as_ref())
                .await?;
        }
        notice.end(None);
        Ok(first)
    }
}

/// The index that a node has built.
async fn read_built(engine: &Engine, solved: &Solved) -> Result<RawManifest, SolveFailure> {
    let digest = solved.digest().ok_or_else(no_digest)?;
    let bytes = BuilderContents(engine)
        .read(&digest, LARGEST_MANIFEST)
        .await;
    let manifest = bytes.and_then(|bytes| RawManifest::with_own_type(bytes).ok());
    manifest.ok_or_else(|| {
        let message = format!(
            "the builder at {} does not have the index that it has built",
            engine.endpoint()
        );
        SolveFailure::new(FailureKind::Build, message)
    })
}

fn no_digest() -> SolveFailure {
    let message = "the builder did not report the digest of the image";
    SolveFailure::new(FailureKind::Build, message)
}

/// The index of all of `parts`.
fn merged(
    publication: &Publication,
    target: &TargetName,
    parts: &[PartImage],
) -> Result<RawManifest, Box<SolveFailure>> {
    let failed = |message: String| Box::new(SolveFailure::new(FailureKind::Build, message));
    let bytes: Vec<&[u8]> = parts.iter().map(|part| &**part.manifest.bytes()).collect();
    let merged = index_merge::merged(&bytes, &publication.index_annotations());
    let merged = merged.map_err(|error| failed(not_merged(target, &error)))?;
    let manifest = RawManifest::new(merged.media_type, merged.bytes.into());
    manifest.map_err(|error| failed(in_one_line(&error)))
}

/// Reports images of several nodes whose registry rbake does not reach: the nodes cannot make their index.
pub(super) fn check_reach(
    publications: &BTreeMap<TargetName, Publication>,
    standings: &BTreeMap<TargetName, Vec<Standing>>,
) -> Diagnostics {
    let mut problems = Diagnostics::default();
    let spread = publications
        .iter()
        .filter(|(_, publication)| publication.part.is_some());
    for (target, publication) in spread {
        let standings = standings.get(target).into_iter().flatten();
        for (image, standing) in publication.images.iter().zip(standings) {
            if let Standing::Unreachable(error) = standing {
                let message = format!(
                    "target `{target}` is built on several nodes, and rbake does not reach `{}`, where it must push their index",
                    image.repository
                );
                let problem = Diagnostic::error(Class::Engine, "publish::several-nodes", message);
                problems.push(
                    problem
                        .note(in_one_line(error))
                        .help("let rbake reach the registry under the same name as the nodes"),
                );
            }
        }
    }
    problems
}
