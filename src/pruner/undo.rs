//! Puts back what a prune has deleted, as far as the registry still has the content.
//!
//! The record has the bytes of the manifests. A registry that has not collected its garbage since then still has their
//! blobs, and accepts a manifest again. Tags are set again if nobody has set them in the meantime.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::read::{AT_ONCE, digest_now};
use super::watch::{PrunePhase, PruneWatch};
use super::{Deleter, PruneError, PruneRecordFile};
use crate::prune::plan::PruneAct;
use crate::prune::record::{DeletedManifest, PruneEvent, PruneRecord, PruneStatus, RecordedStep};
use crate::registry::{RawManifest, RemoteRepository, TagOrDigest};
use crate::types::causes::in_one_line;
use crate::types::{Digest, ImageTag};

/// What will be, or was, put back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RestoredItem {
    /// A manifest.
    Manifest(Digest),
    /// A tag, with the manifest to which it pointed.
    Tag(ImageTag, Digest),
}

/// What can be put back, and what cannot.
#[derive(Debug, Default)]
pub(crate) struct PruneUndo {
    /// What can be put back, in order: children before their parents, tags last.
    pub(crate) possible: Vec<RestoredItem>,
    /// What is there already.
    pub(crate) present: Vec<RestoredItem>,
    /// What cannot be put back, and why.
    pub(crate) impossible: Vec<(RestoredItem, String)>,
}

/// What was put back.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// What was put back.
    pub(crate) done: Vec<RestoredItem>,
    /// What the registry refused, and why.
    pub(crate) failed: Vec<(RestoredItem, String)>,
}

/// What is known of a manifest of the record.
enum ManifestFate {
    Present,
    Possible,
    Impossible(String),
}

impl PruneUndo {
    /// Looks up what of `record` is gone, and whether its blobs are there.
    pub(crate) async fn plan(
        deleter: &Deleter,
        record: &PruneRecord,
        watch: &PruneWatch,
    ) -> Result<Self, PruneError> {
        let repository = deleter.repository();
        let restorable = deleter.restorable().await?.unwrap_or_default();
        // Parents were deleted first, so the other way round is the order for putting back.
        let steps: Vec<&RecordedStep> = record.steps.iter().rev().collect();
        let steps: Vec<&RecordedStep> = steps
            .into_iter()
            .filter(|step| step.may_be_made())
            .collect();
        // A manifest may have several steps: one for each of its tags, and one for itself, which has its content.
        let mut of: BTreeMap<&Digest, Vec<&RecordedStep>> = BTreeMap::new();
        for step in &steps {
            of.entry(&step.digest).or_default().push(step);
        }
        watch.begin(PrunePhase::Restoring, of.len());
        let restorable = &restorable;
        let looks = of.iter().map(|(digest, steps)| async move {
            let manifest = steps.iter().find_map(|step| step.manifest.as_ref());
            let fate = look_up(repository, digest, manifest, restorable).await?;
            watch.count();
            Ok::<_, PruneError>((*digest, fate))
        });
        let fates: BTreeMap<&Digest, ManifestFate> = stream::iter(looks)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut undo = Self::default();
        let mut gone: BTreeSet<&Digest> = BTreeSet::new();
        let mut seen: BTreeSet<&Digest> = BTreeSet::new();
        for digest in steps.iter().map(|step| &step.digest) {
            let of = of.get(digest).map(Vec::as_slice).unwrap_or_default();
            if !seen.insert(digest) {
                continue;
            }
            let item = RestoredItem::Manifest(digest.clone());
            match fates.get(digest) {
                Some(ManifestFate::Possible) => {
                    let child = of.iter().find_map(|step| lost_child(step, &gone));
                    match child {
                        Some(child) => {
                            gone.insert(digest);
                            let why = format!("`{child}`, to which it leads, cannot be put back");
                            undo.impossible.push((item, why));
                        }
                        None => undo.possible.push(item),
                    }
                }
                Some(ManifestFate::Impossible(why)) => {
                    gone.insert(digest);
                    undo.impossible.push((item, why.clone()));
                }
                Some(ManifestFate::Present)
                    if of.iter().any(|step| step.act == PruneAct::DeleteManifest) =>
                {
                    undo.present.push(item);
                }
                Some(ManifestFate::Present) | None => {}
            }
        }
        undo.add_tags(repository, &steps, &gone).await?;
        Ok(undo)
    }

    async fn add_tags(
        &mut self,
        repository: &RemoteRepository,
        steps: &[&RecordedStep],
        gone: &BTreeSet<&Digest>,
    ) -> Result<(), PruneError> {
        let tags = steps.iter().flat_map(|step| {
            let tags = step.tags.iter();
            tags.map(|tag| (tag, &step.digest))
        });
        let looks = tags.map(|(tag, digest)| async move {
            let now = digest_now(repository, tag).await?;
            Ok::<_, PruneError>((tag, digest, now))
        });
        let found: Vec<_> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
        for (tag, digest, now) in found {
            let item = RestoredItem::Tag(tag.clone(), digest.clone());
            match now {
                Some(now) if now == *digest => self.present.push(item),
                Some(now) => {
                    let why = format!("it points to `{now}` by now");
                    self.impossible.push((item, why));
                }
                None if gone.contains(digest) => {
                    let why = "its manifest cannot be put back".to_owned();
                    self.impossible.push((item, why));
                }
                None => self.possible.push(item),
            }
        }
        Ok(())
    }

    /// Puts back what is possible, and records it in `file`.
    pub(crate) async fn carry_out(
        &self,
        repository: &RemoteRepository,
        file: &mut PruneRecordFile,
        watch: &PruneWatch,
    ) -> Result<Restored, PruneError> {
        watch.begin(PrunePhase::Restoring, self.possible.len());
        let mut restored = Restored::default();
        for item in &self.possible {
            match put_back(repository, file.record(), item).await {
                Ok(None) => restored.done.push(item.clone()),
                Ok(Some(why)) => restored.failed.push((item.clone(), why)),
                // The rest would fail, too.
                Err(PruneError::Registry(error)) if error.is_unreachable() || error.is_stop() => {
                    return Err(error.into());
                }
                Err(error) => restored.failed.push((item.clone(), in_one_line(&error))),
            }
            watch.count();
        }
        if restored.failed.is_empty() {
            file.write(vec![PruneEvent::Status(PruneStatus::Undone)])
                .await?;
        }
        Ok(restored)
    }
}

/// Whether a manifest is there, or could be put back. `manifest` is its content, if the record has it.
async fn look_up(
    repository: &RemoteRepository,
    digest: &Digest,
    manifest: Option<&DeletedManifest>,
    restorable: &BTreeSet<Digest>,
) -> Result<ManifestFate, PruneError> {
    let name = TagOrDigest::Digest(digest.clone());
    if repository.head(&name).await?.is_some() {
        return Ok(ManifestFate::Present);
    }
    if restorable.contains(digest) {
        return Ok(ManifestFate::Possible);
    }
    let Some(manifest) = manifest else {
        let why = "rbake does not have its content";
        return Ok(ManifestFate::Impossible(why.to_owned()));
    };
    let value: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
    for blob in digests(&value, "layers").chain(digest_of(value.get("config"))) {
        if !repository.has_blob(&blob).await? {
            let why = format!("the registry does not have its blob `{blob}` any more");
            return Ok(ManifestFate::Impossible(why));
        }
    }
    Ok(ManifestFate::Possible)
}

/// A child of the index of `step` that is in `gone`.
fn lost_child<'a>(step: &RecordedStep, gone: &BTreeSet<&'a Digest>) -> Option<&'a Digest> {
    let manifest = step.manifest.as_ref()?;
    let value: Value = serde_json::from_slice(&manifest.bytes).ok()?;
    digests(&value, "manifests").find_map(|child| gone.get(&child).copied())
}

fn digests<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = Digest> + use<'v> {
    let list = value.get(field).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|descriptor| digest_of(Some(descriptor)))
}

fn digest_of(descriptor: Option<&Value>) -> Option<Digest> {
    descriptor?.get("digest")?.as_str()?.parse().ok()
}

/// Puts `item` back. Returns why it was not, if somebody else has set the tag by now.
async fn put_back(
    repository: &RemoteRepository,
    record: &PruneRecord,
    item: &RestoredItem,
) -> Result<Option<String>, PruneError> {
    match item {
        RestoredItem::Manifest(digest) => {
            if repository.restore(digest).await? {
                return Ok(None);
            }
            let mut steps = record.steps.iter().filter(|step| step.digest == *digest);
            let Some(manifest) = steps.find_map(|step| step.manifest.as_ref()) else {
                return Ok(Some("rbake does not have its content".to_owned()));
            };
            let made = RawManifest::new(&manifest.media_type, manifest.bytes.clone().into());
            let made = match made {
                Ok(made) => made,
                Err(fault) => return Ok(Some(fault.to_string())),
            };
            repository
                .put(&TagOrDigest::Digest(digest.clone()), &made)
                .await?;
        }
        RestoredItem::Tag(tag, digest) => {
            if let Some(now) = digest_now(repository, tag).await? {
                return Ok((now != *digest).then(|| format!("it points to `{now}` by now")));
            }
            let name = TagOrDigest::Digest(digest.clone());
            let Some(manifest) = repository.get(&name).await? else {
                return Ok(Some("its manifest is gone".to_owned()));
            };
            repository
                .put(&TagOrDigest::Tag(tag.clone()), &manifest)
                .await?;
        }
    }
    Ok(None)
}
