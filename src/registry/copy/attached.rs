//! The manifests that refer to one manifest at the source.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::{CopyError, ImageCopy, MANIFESTS};
use crate::registry::RemoteRepository;
use crate::registry::error::{RegistryAct, RegistryError, RegistryFault};
use crate::registry::manifest::{ContentDescriptor, RawManifest, TagOrDigest};
use crate::registry::referrers::{index_of_referrers, referrers_tag};
use crate::types::{Digest, ImageTag};

/// The suffixes of the tags by which cosign finds signatures, attestations and SBOMs. It appends them to the tag of the
/// referrers (sigstore/cosign, `pkg/oci/remote/options.go`).
const SUFFIXES: [&str; 3] = [".sig", ".att", ".sbom"];

/// The referrers of a manifest.
#[derive(Debug)]
pub(super) struct ReferrerList {
    pub(super) subject: Digest,
    /// Their descriptors, with all fields.
    pub(super) descriptors: Vec<(Digest, Value)>,
    /// The index that the clients maintain at the source, if there is one.
    pub(super) tagged: Option<RawManifest>,
}

/// What refers to a manifest.
#[derive(Debug)]
pub(super) struct AttachedManifests {
    pub(super) list: ReferrerList,
    /// The tags that name a referrer itself.
    pub(super) tags: BTreeMap<ImageTag, Digest>,
}

/// Whether the source lists referrers. It is asked until it once says that it does not.
#[derive(Debug)]
pub(super) struct SourceLists(AtomicBool);

impl SourceLists {
    pub(super) const fn new() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl ImageCopy<'_> {
    /// Looks for what refers to `subject`. Tags of cosign are looked for if it is `signable`.
    ///
    /// Both the registry's list and the tag are asked: a registry may have got its list after the tag was set. Tags are
    /// looked up one by one, because some registries' lists of tags lack those of the last minutes.
    pub(super) async fn attached_to(
        &self,
        subject: &Digest,
        signable: bool,
        lists: &SourceLists,
    ) -> Result<AttachedManifests, CopyError> {
        let place = self.from.image(&TagOrDigest::Digest(subject.clone()));
        let failed = RemoteRepository::failed(RegistryAct::ListReferrers, place);
        let list = self.list_of(subject, lists).await.map_err(failed)?;
        let mut tags = BTreeMap::new();
        if signable {
            let looked = SUFFIXES.map(|suffix| self.signature(subject, suffix));
            tags.extend(try_join_all(looked).await?.into_iter().flatten());
        }
        Ok(AttachedManifests { list, tags })
    }

    async fn list_of(
        &self,
        subject: &Digest,
        lists: &SourceLists,
    ) -> Result<ReferrerList, RegistryFault> {
        let mut descriptors = Vec::new();
        if lists.0.load(Ordering::Relaxed) {
            match self.from.listed_referrers(subject).await? {
                Some(found) => descriptors.extend(found.iter().map(described)),
                None => lists.0.store(false, Ordering::Relaxed),
            }
        }
        let tagged = self.from.tagged_referrers(subject).await?;
        if let Some(manifest) = &tagged {
            descriptors.extend(entries(manifest)?);
        }
        let mut seen = BTreeSet::new();
        descriptors.retain(|(digest, _)| seen.insert(digest.clone()));
        Ok(ReferrerList {
            subject: subject.clone(),
            descriptors,
            tagged,
        })
    }

    async fn signature(
        &self,
        subject: &Digest,
        suffix: &str,
    ) -> Result<Option<(ImageTag, Digest)>, RegistryError> {
        let place = self.from.image(&TagOrDigest::Digest(subject.clone()));
        let failed = RemoteRepository::failed(RegistryAct::ListReferrers, place);
        let tag = referrers_tag(subject, suffix).map_err(failed)?;
        let found = self.from.head(&TagOrDigest::Tag(tag.clone())).await?;
        Ok(found.map(|found| (tag, found.digest)))
    }
}

/// The descriptor as JSON.
fn described(descriptor: &ContentDescriptor) -> (Digest, Value) {
    let mut value = json!({
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest.as_str(),
        "size": descriptor.size,
    });
    if let Some(artifact_type) = &descriptor.artifact_type {
        value["artifactType"] = json!(artifact_type);
    }
    if !descriptor.annotations.is_empty() {
        value["annotations"] = json!(descriptor.annotations);
    }
    (descriptor.digest.clone(), value)
}

/// The descriptors in an index of referrers.
pub(super) fn entries(manifest: &RawManifest) -> Result<Vec<(Digest, Value)>, RegistryFault> {
    let index = index_of_referrers(manifest)?;
    if index.manifests().len() > MANIFESTS {
        let what = format!("more than {MANIFESTS} referrers");
        return Err(RegistryFault::malformed(what));
    }
    let malformed = |_| RegistryFault::malformed("not a valid manifest");
    let mut whole: Value = serde_json::from_slice(manifest.bytes()).map_err(malformed)?;
    let values = whole["manifests"].as_array_mut().map(std::mem::take);
    let digests = index.manifests().iter();
    digests
        .zip(values.unwrap_or_default())
        .map(|(descriptor, value)| Ok((ContentDescriptor::try_from(descriptor)?.digest, value)))
        .collect()
}
