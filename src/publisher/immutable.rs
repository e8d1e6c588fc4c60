//! Sets the immutable tags of an image whose content is in the registry.

use futures_util::future::try_join_all;

use super::{ImageToPublish, PublishError, Publisher, TagEnd, TagReport, WholeImage};
use crate::publish::class::TagClass;
use crate::publish::journal::{EntryState, JournalEntry, PublishedTag, RunStatus};
use crate::registry::{RemoteRepository, TagOrDigest};
use crate::types::{Digest, ImageTag};

/// A tag that is set.
struct TagToSet {
    tag: ImageTag,
    was: Option<Digest>,
}

impl Publisher {
    /// Sets the immutable tags of `whole`: those that do not exist yet, and those whose publish was never completed. The
    /// others stay. `known` is a tag that is known to point to the image.
    ///
    /// If `announces`, the repository gets a record of the run first, so that another run knows that this one is not
    /// complete.
    pub(crate) async fn set_immutable(
        &self,
        whole: &WholeImage,
        known: Option<&ImageTag>,
        announces: bool,
    ) -> Result<Vec<TagReport>, PublishError> {
        let image = &whole.image;
        let repository = self.repository_of(image);
        let looks = image
            .tags_of(TagClass::Immutable)
            .map(|tag| self.look_at_immutable(&repository, whole, tag, known));
        let mut reports = Vec::new();
        let mut to_set = Vec::new();
        for (tag, found) in try_join_all(looks).await? {
            match found {
                Ok(was) => to_set.push(TagToSet { tag, was }),
                Err(end) => reports.push(report(image, &tag, end)),
            }
        }
        if to_set.is_empty() {
            return Ok(reports);
        }
        let digest = whole.manifest.digest();
        let planned = to_set.iter().map(|set| {
            let entry = JournalEntry {
                class: TagClass::Immutable,
                was: set.was.clone(),
                to: digest.clone(),
                state: EntryState::Planned,
            };
            (image.named(&set.tag), entry)
        });
        self.record.planned(planned.collect()).await?;
        if announces {
            self.announce(std::slice::from_ref(&repository)).await?;
        }
        let sets = to_set
            .iter()
            .map(|set| self.set(&repository, whole, image.named(&set.tag)));
        try_join_all(sets).await?;
        let set = to_set.into_iter().map(|set| {
            let end = TagEnd::Set {
                note: None,
                was: set.was,
            };
            report(image, &set.tag, end)
        });
        reports.extend(set);
        Ok(reports)
    }

    /// Returns the tag, and where it points if it is to be set, or what became of it if not.
    async fn look_at_immutable(
        &self,
        repository: &RemoteRepository,
        whole: &WholeImage,
        tag: &ImageTag,
        known: Option<&ImageTag>,
    ) -> Result<(ImageTag, Result<Option<Digest>, TagEnd>), PublishError> {
        let digest = whole.manifest.digest();
        if known == Some(tag) {
            return Ok((tag.clone(), Err(TagEnd::Stayed)));
        }
        let now = Self::digest_now(repository, tag).await?;
        let found = match now {
            None => Ok(None),
            Some(now) if now == *digest => Err(TagEnd::Stayed),
            Some(now) => {
                let named = whole.image.named(tag);
                let is_replaced =
                    self.force.replace || !self.is_complete(repository, &named, &now).await?;
                if is_replaced {
                    Ok(Some(now))
                } else {
                    Err(TagEnd::KeptComplete { is: now })
                }
            }
        };
        Ok((tag.clone(), found))
    }

    /// Points a tag whose change was recorded to the image.
    pub(super) async fn set(
        &self,
        repository: &RemoteRepository,
        whole: &WholeImage,
        tag: PublishedTag,
    ) -> Result<(), PublishError> {
        let name = TagOrDigest::Tag(tag.tag().clone());
        repository.put(&name, &whole.manifest).await?;
        self.record.marked(&tag, EntryState::Done).await
    }

    /// Records how a run ended that did not come to its mutable tags: `failed`, or without mutable tags to move.
    pub(crate) async fn end(&self, failed: bool) -> Result<(), PublishError> {
        if self.record.status() != Some(RunStatus::Open) {
            return Ok(());
        }
        let status = if failed {
            RunStatus::Failed
        } else {
            RunStatus::Complete
        };
        self.record.reached(status).await?;
        self.announce(&self.record.places()).await
    }
}

/// The report of one tag.
pub(super) fn report(image: &ImageToPublish, tag: &ImageTag, end: TagEnd) -> TagReport {
    TagReport {
        target: image.target.clone(),
        tag: image.named(tag),
        end,
    }
}
