//! Reads all manifests of a copy, level by level.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::attached::{AttachedManifests, SourceLists};
use super::plan::{CopyPlan, PlannedManifest};
use super::{CopyError, ImageCopy, MANIFEST_BYTES, MANIFESTS, NESTING, PARALLEL};
use crate::registry::error::RegistryAct;
use crate::registry::links::ManifestLinks;
use crate::registry::manifest::{ContentDescriptor, TagOrDigest, is_image};
use crate::types::Digest;

/// What a manifest is in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ManifestRole {
    /// The image, or a manifest below it.
    Image,
    /// A manifest that refers to another one.
    Referrer,
    /// A manifest below a referrer.
    BelowReferrer,
}

/// A manifest to read.
struct Visit {
    digest: Digest,
    role: ManifestRole,
    /// Whether the manifest is known to have none below it.
    is_leaf: bool,
}

/// A manifest that was read. It is not there if it is `None`.
struct Visited {
    digest: Digest,
    role: ManifestRole,
    found: Option<(PlannedManifest, Vec<ContentDescriptor>, AttachedManifests)>,
}

impl ImageCopy<'_> {
    /// Finds everything that is to be copied for the manifest `root`.
    pub(super) async fn walk(&self, root: &Digest) -> Result<CopyPlan, CopyError> {
        let lists = SourceLists::new();
        let mut plan = CopyPlan {
            roots: vec![root.clone()],
            ..CopyPlan::default()
        };
        let mut seen = BTreeSet::from([root.clone()]);
        let mut bytes = 0;
        let mut level = vec![Visit {
            digest: root.clone(),
            role: ManifestRole::Image,
            is_leaf: false,
        }];
        for _ in 0..=NESTING {
            let visits = stream::iter(level).map(|visit| self.visit(visit, &lists));
            let mut visits = visits.buffered(PARALLEL);
            let mut next = Vec::new();
            while let Some(visited) = visits.try_next().await? {
                let Some((manifest, children, attached)) = visited.found else {
                    continue;
                };
                bytes += manifest.raw.as_ref().map_or(0, |raw| raw.bytes().len());
                if bytes > MANIFEST_BYTES {
                    let image = self.image(root);
                    return Err(CopyError::TooLarge { image });
                }
                let below = match visited.role {
                    ManifestRole::Image => ManifestRole::Image,
                    ManifestRole::Referrer | ManifestRole::BelowReferrer => {
                        ManifestRole::BelowReferrer
                    }
                };
                let children = children.into_iter().map(|child| Visit {
                    is_leaf: is_image(&child.media_type),
                    digest: child.digest,
                    role: below,
                });
                let listed = attached.list.descriptors.iter().map(|(digest, _)| digest);
                let referrers: Vec<_> = listed.chain(attached.tags.values()).cloned().collect();
                plan.roots.extend(referrers.iter().cloned());
                let referrers = referrers.into_iter().map(|digest| Visit {
                    digest,
                    role: ManifestRole::Referrer,
                    is_leaf: false,
                });
                next.extend(
                    children
                        .chain(referrers)
                        .filter(|visit| seen.insert(visit.digest.clone())),
                );
                // A referrer may be listed for several manifests.
                if seen.len() > MANIFESTS || plan.roots.len() > MANIFESTS {
                    let image = self.image(root);
                    return Err(CopyError::TooMany { image });
                }
                if !attached.list.descriptors.is_empty() {
                    plan.lists.push(attached.list);
                }
                plan.tags.extend(attached.tags);
                plan.manifests.insert(visited.digest, manifest);
            }
            if next.is_empty() {
                return Ok(plan);
            }
            level = next;
        }
        let deepest = level.first().map_or(root, |visit| &visit.digest);
        let image = self.image(deepest);
        Err(CopyError::TooDeep { image })
    }

    async fn visit(&self, visit: Visit, lists: &SourceLists) -> Result<Visited, CopyError> {
        let Visit {
            digest,
            role,
            is_leaf,
        } = visit;
        let name = TagOrDigest::Digest(digest.clone());
        let is_present = self.to.head(&name).await?.is_some();
        // Many registries count how often a manifest is read, so one that nothing depends on is not.
        let (raw, links) = if is_present && is_leaf {
            (None, ManifestLinks::default())
        } else {
            let Some(raw) = self.from.get(&name).await? else {
                // Clients that delete a referrer often leave it in the list.
                if role == ManifestRole::Referrer {
                    let image = self.image(&digest);
                    tracing::warn!(image, "a listed referrer does not exist");
                    return Ok(Visited {
                        digest,
                        role,
                        found: None,
                    });
                }
                let image = self.image(&digest);
                return Err(CopyError::Missing { image });
            };
            let links = ManifestLinks::of(&raw)
                .map_err(|fault| fault.at(RegistryAct::ReadManifest, self.image(&digest)))?;
            let Some(links) = links else {
                return Err(CopyError::UnknownType {
                    image: self.image(&digest),
                    media_type: raw.media_type().to_owned(),
                });
            };
            (Some(raw), links)
        };
        let signable = role == ManifestRole::Image;
        let attached = self.attached_to(&digest, signable, lists).await?;
        let children = links.children.iter();
        let manifest = PlannedManifest {
            raw,
            is_present,
            children: children.map(|child| child.digest.clone()).collect(),
            blobs: links.blobs,
            subject: links.subject,
        };
        Ok(Visited {
            digest,
            role,
            found: Some((manifest, links.children, attached)),
        })
    }

    /// The name of a manifest at the source, for messages.
    pub(super) fn image(&self, digest: &Digest) -> String {
        self.from.image(&TagOrDigest::Digest(digest.clone()))
    }
}
