//! Sets the immutable tags of an image whose content is in the registry.

use futures_util::future::try_join_all;

use super::claims::{ConcurrentRuns, ImmutableClaim};
use super::{ImageToPublish, PublishError, Publisher, TagEnd, TagReport, WholeImage};
use crate::publish::class::TagClass;
use crate::publish::journal::{EntryState, JournalEntry, PublishedTag, RunStatus};
use crate::registry::{RemoteRepository, TagOrDigest};
use crate::types::{Digest, ImageTag};

/// An immutable tag that is set.
#[derive(Debug, Clone)]
pub(crate) struct TagToSet {
    /// The tag.
    pub(crate) tag: ImageTag,
    /// Where it points before. `None` if it does not exist.
    pub(crate) was: Option<Digest>,
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
        // The record that is there would be replaced.
        self.check_not_taken_back_in(std::slice::from_ref(&repository))
            .await?;
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
                if self
                    .may_replace(repository, &whole.image, tag, &now)
                    .await?
                {
                    Ok(Some(now))
                } else {
                    Err(TagEnd::KeptComplete { is: now })
                }
            }
        };
        Ok((tag.clone(), found))
    }

    /// Whether an immutable tag of `image` that points to another image, `now`, is replaced: its publish was never
    /// completed, or the user wants that.
    async fn may_replace(
        &self,
        repository: &RemoteRepository,
        image: &ImageToPublish,
        tag: &ImageTag,
        now: &Digest,
    ) -> Result<bool, PublishError> {
        let named = image.named(tag);
        Ok(self.force.replace || !self.is_complete(repository, &named, now).await?)
    }

    /// The first immutable tag of `image` that may be set to a new image. If there is none, reports why each one stays.
    ///
    /// For a Docker Engine, which can push an image only under a tag.
    pub(crate) async fn immutable_to_set(
        &self,
        image: &ImageToPublish,
    ) -> Result<Result<TagToSet, Vec<TagReport>>, PublishError> {
        let repository = self.repository_of(image);
        let mut kept = Vec::new();
        for tag in image.tags_of(TagClass::Immutable) {
            let was = Self::digest_now(&repository, tag).await?;
            if let Some(is) = &was
                && !self.may_replace(&repository, image, tag, is).await?
            {
                let end = TagEnd::KeptComplete { is: is.clone() };
                kept.push(report(image, tag, end));
                continue;
            }
            let tag = tag.clone();
            return Ok(Ok(TagToSet { tag, was }));
        }
        Ok(Err(kept))
    }

    /// Records that a Docker Engine has set an immutable tag to `whole`, and sets the other immutable tags.
    ///
    /// The Engine decides on the digest when it pushes, so this one change is recorded after it was made.
    pub(crate) async fn adopt(
        &self,
        whole: &WholeImage,
        set: TagToSet,
        announces: bool,
    ) -> Result<Vec<TagReport>, PublishError> {
        let TagToSet { tag, was } = set;
        let image = &whole.image;
        let digest = whole.manifest.digest();
        if was.as_ref() != Some(digest) {
            let entry = JournalEntry {
                class: TagClass::Immutable,
                was: was.clone(),
                to: digest.clone(),
                state: EntryState::Done,
            };
            self.record
                .planned(vec![(image.named(&tag), entry)])
                .await?;
            if announces {
                let repository = self.repository_of(image);
                self.announce(std::slice::from_ref(&repository)).await?;
            }
        }
        let mut reports = self.set_immutable(whole, Some(&tag), announces).await?;
        let named = image.named(&tag);
        for report in &mut reports {
            if report.tag == named && was.as_ref() != Some(digest) {
                report.end = TagEnd::Set {
                    note: None,
                    was: was.clone(),
                };
            }
        }
        Ok(reports)
    }

    /// Points immutable tags of `whole` that another run has set at the same time to the image at which they must stay.
    /// Reports those that are not ours.
    pub(super) async fn repair_immutable(
        &self,
        repository: &RemoteRepository,
        whole: &WholeImage,
        runs: &ConcurrentRuns,
    ) -> Result<Vec<TagReport>, PublishError> {
        let Some(journal) = self.record.journal() else {
            return Ok(Vec::new());
        };
        let mut kept = Vec::new();
        for tag in whole.image.tags_of(TagClass::Immutable) {
            let named = whole.image.named(tag);
            let was_set = journal
                .entries
                .get(&named)
                .filter(|entry| entry.state == EntryState::Done);
            let Some(entry) = was_set else { continue };
            let Some(claim) = self.claim_of(runs, &named, &entry.to) else {
                continue;
            };
            let ImmutableClaim { right, wrong } = claim;
            if Self::digest_now(repository, tag).await?.as_ref() == Some(&wrong) {
                self.change(repository, &named, Some(&wrong), Some(&right))
                    .await?;
            }
            if right != entry.to {
                self.record.marked(&named, EntryState::Kept).await?;
                let end = TagEnd::KeptComplete { is: right };
                kept.push(report(&whole.image, tag, end));
            }
        }
        Ok(kept)
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
        // After an interrupt, too: otherwise the run would look as if it were going on.
        let places = self.record.places();
        let places: Vec<RemoteRepository> =
            places.iter().map(RemoteRepository::finishing).collect();
        self.announce(&places).await
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
