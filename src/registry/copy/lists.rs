//! Makes referrers known at the target.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::attached::{ReferrerList, entries};
use super::plan::CopyPlan;
use super::{CopyCounts, CopyError, ImageCopy};
use crate::registry::RemoteRepository;
use crate::registry::error::{RegistryAct, RegistryFault};
use crate::registry::manifest::{
    ContentDescriptor, ManifestContent, OCI_INDEX, RawManifest, TagOrDigest,
};
use crate::registry::referrers::referrers_tag;
use crate::types::{Digest, ImageTag};

impl ImageCopy<'_> {
    /// Sets the tags by which the referrers of `plan` are found at the target, if the target does not find them itself.
    pub(super) async fn list_referrers(
        &self,
        plan: &CopyPlan,
        counts: &mut CopyCounts,
    ) -> Result<(), CopyError> {
        let mut target_lists = None;
        for list in &plan.lists {
            let place = self.to.image(&TagOrDigest::Digest(list.subject.clone()));
            let failed = RemoteRepository::failed(RegistryAct::ListReferrers, place);
            let target_lists = if let Some(known) = target_lists {
                known
            } else {
                let found = self.to.listed_referrers(&list.subject).await;
                *target_lists.insert(found.map_err(failed)?.is_some())
            };
            self.list(list, plan, target_lists, counts).await?;
        }
        for (tag, digest) in &plan.tags {
            self.tag(tag, digest, plan, counts).await?;
        }
        Ok(())
    }

    /// Adds the referrers in `list` to the index of the target. Those whose subject the target reads itself are left
    /// out.
    async fn list(
        &self,
        list: &ReferrerList,
        plan: &CopyPlan,
        target_lists: bool,
        counts: &mut CopyCounts,
    ) -> Result<(), CopyError> {
        let is_needed = |digest: &Digest| {
            plan.manifests.get(digest).is_some_and(|manifest| {
                !(target_lists && manifest.subject.as_ref() == Some(&list.subject))
            })
        };
        let needed = list
            .descriptors
            .iter()
            .filter(|(digest, _)| is_needed(digest));
        let mut needed: Vec<_> = needed.cloned().collect();
        let place = self.to.image(&TagOrDigest::Digest(list.subject.clone()));
        let failed = RemoteRepository::failed(RegistryAct::ListReferrers, place);
        if needed.is_empty() {
            return Ok(());
        }
        let merged = async {
            let tag = referrers_tag(&list.subject, "")?;
            let merged = match self.to.tagged_referrers(&list.subject).await? {
                None => Some(index_of(&needed, list.tagged.as_ref())?),
                Some(existing) => {
                    let known: BTreeSet<_> =
                        entries(&existing)?.into_iter().map(|(d, _)| d).collect();
                    needed.retain(|(digest, _)| !known.contains(digest));
                    merged(&existing, needed)?
                }
            };
            Ok((TagOrDigest::Tag(tag), merged))
        };
        let (tag, merged) = merged.await.map_err(failed)?;
        if let Some(index) = merged {
            self.to.put(&tag, &index).await?;
            counts.tags += 1;
        }
        Ok(())
    }

    /// Sets the tag of a signature, unless this would lose signatures that only the target has.
    async fn tag(
        &self,
        tag: &ImageTag,
        digest: &Digest,
        plan: &CopyPlan,
        counts: &mut CopyCounts,
    ) -> Result<(), CopyError> {
        let raw = plan.manifests.get(digest).and_then(|m| m.raw.as_ref());
        let Some(raw) = raw else {
            // It was deleted meanwhile.
            return Ok(());
        };
        let name = TagOrDigest::Tag(tag.clone());
        if let Some(existing) = self.to.get(&name).await? {
            let (old, new) = (layers(&existing), layers(raw));
            match (old, new) {
                _ if existing.digest() == digest => return Ok(()),
                (Some(old), Some(new)) if new.is_subset(&old) => return Ok(()),
                (Some(old), Some(new)) if old.is_subset(&new) => {}
                _ => {
                    counts.conflicts.insert(tag.clone());
                    return Ok(());
                }
            }
        }
        self.to.put(&name, raw).await?;
        counts.tags += 1;
        Ok(())
    }
}

/// The index for referrers at a target without one. It is that of the source if it lists the same.
fn index_of(
    needed: &[(Digest, Value)],
    tagged: Option<&RawManifest>,
) -> Result<RawManifest, RegistryFault> {
    if let Some(tagged) = tagged {
        let same: BTreeSet<_> = entries(tagged)?.into_iter().map(|(d, _)| d).collect();
        let needed: BTreeSet<_> = needed.iter().map(|(digest, _)| digest).collect();
        if needed.into_iter().eq(&same) {
            return Ok(tagged.clone());
        }
    }
    let descriptors: Vec<_> = needed.iter().map(|(_, descriptor)| descriptor).collect();
    let index = json!({
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": descriptors,
    });
    RawManifest::new(OCI_INDEX, index.to_string().into())
}

/// The index `existing` with `more` descriptors. `None` if there are none.
fn merged(
    existing: &RawManifest,
    more: Vec<(Digest, Value)>,
) -> Result<Option<RawManifest>, RegistryFault> {
    if more.is_empty() {
        return Ok(None);
    }
    let malformed = || RegistryFault::malformed("not a valid manifest");
    let mut index: Value = serde_json::from_slice(existing.bytes()).map_err(|_| malformed())?;
    let manifests = index.get_mut("manifests").and_then(Value::as_array_mut);
    let manifests = manifests.ok_or_else(malformed)?;
    manifests.extend(more.into_iter().map(|(_, descriptor)| descriptor));
    RawManifest::new(existing.media_type(), index.to_string().into()).map(Some)
}

/// The layers of a signature manifest, each of which is one signature. `None` if it is something else.
///
/// The signature itself is an annotation of the layer: two keys that sign the same image have equal layers.
fn layers(manifest: &RawManifest) -> Option<BTreeSet<(Digest, BTreeMap<String, String>)>> {
    let ManifestContent::Image(image) = manifest.content().ok()? else {
        return None;
    };
    let layers = image.layers().iter();
    let layers = layers.map(|layer| {
        let layer = ContentDescriptor::try_from(layer).ok()?;
        Some((layer.digest, layer.annotations))
    });
    layers.collect()
}
