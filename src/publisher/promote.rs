//! Moves mutable tags to the images of an earlier run.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use super::decisions::Decision;
use super::{
    ImageToPublish, MovedTags, PublishError, Publisher, Record, TagEnd, TagReport, WholeImage,
};
use crate::publish::class::TagClass;
use crate::publish::journal::{
    EntryState, Journal, JournalEntry, JournalEvent, PublishedTag, RunStatus,
};
use crate::registry::RegistrySecurity;
use crate::types::{Digest, ImageRepository, ImageTag};

/// What is to become of a mutable tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedTag {
    /// The tag.
    pub(crate) tag: PublishedTag,
    /// The image.
    pub(crate) to: Digest,
    /// What becomes of it, if nobody else moves it meanwhile.
    pub(crate) end: TagEnd,
}

impl Publisher {
    /// The images to which `journal` moves its mutable tags, with those tags of each that have one of `states`. Reads
    /// the manifests by their digests.
    ///
    /// # Errors
    /// [`PublishError::Missing`] if an image was removed.
    pub(crate) async fn images_of(
        &self,
        journal: &Journal,
        states: &[EntryState],
        security: RegistrySecurity,
    ) -> Result<Vec<WholeImage>, PublishError> {
        let mut tags: BTreeMap<(&ImageRepository, &Digest), Vec<(ImageTag, TagClass)>> =
            BTreeMap::new();
        for (tag, entry) in &journal.entries {
            if entry.class == TagClass::Mutable && states.contains(&entry.state) {
                let image = (tag.repository(), &entry.to);
                let tag = (tag.tag().clone(), TagClass::Mutable);
                tags.entry(image).or_default().push(tag);
            }
        }
        let images = tags.into_iter().map(|((name, digest), tags)| async move {
            let repository = self.repository(name, security);
            let manifest = Self::manifest(&repository, digest).await?;
            let image = ImageToPublish {
                target: None,
                repository: name.clone(),
                security,
                tags,
            };
            Ok::<_, PublishError>(WholeImage { image, manifest })
        });
        try_join_all(images).await
    }

    /// What [`republish`](Self::republish) would do with the mutable tags of `images`.
    pub(crate) async fn plan_moves(
        &self,
        images: &[WholeImage],
    ) -> Result<Vec<PlannedTag>, PublishError> {
        let decisions = self.decide_all(images).await?;
        let planned = decisions.into_iter().map(|(tag, decision)| PlannedTag {
            tag: tag.named(),
            to: tag.digest().clone(),
            end: match decision {
                Decision::Move { was, note } => TagEnd::Set { note, was },
                Decision::Leave(end) => end,
            },
        });
        Ok(planned.collect())
    }

    /// Moves the mutable tags of `images`, as [`move_mutable`](Self::move_mutable) does. The record may be that of an
    /// earlier attempt, which was interrupted.
    pub(crate) async fn republish(
        &self,
        images: &[WholeImage],
        security: RegistrySecurity,
    ) -> Result<MovedTags, PublishError> {
        self.find_records(&self.record, security).await;
        let moved = self.move_mutable(images).await?;
        let Some(journal) = self.record.journal() else {
            return Ok(moved);
        };
        // The earlier attempt has moved these.
        let is_planned = |report: &&TagReport| {
            let entry = journal.entries.get(&report.tag);
            report.end == TagEnd::Stayed && entry.is_some_and(|e| e.state == EntryState::Planned)
        };
        for report in moved.reports.iter().filter(is_planned) {
            self.record.marked(&report.tag, EntryState::Done).await?;
        }
        if journal.status == RunStatus::Moving {
            self.record.reached(RunStatus::Complete).await?;
            self.announce(&self.record.places()).await?;
        }
        Ok(moved)
    }

    /// Records in `held`, the record of a held run, that this run has moved its tags as `moved` says. The registry gets
    /// it first: if that fails, the run still counts as held on this machine, and can be promoted again.
    pub(crate) async fn has_promoted(
        &self,
        held: &Record,
        moved: &MovedTags,
        security: RegistrySecurity,
    ) -> Result<(), PublishError> {
        let Some(mut journal) = held.journal() else {
            return Ok(());
        };
        let ours = self.record.journal();
        let mut events = Vec::new();
        for report in &moved.reports {
            let tag = &report.tag;
            let Some(entry) = journal.entries.get(tag) else {
                continue;
            };
            // Between the two runs, the tag may have moved. An undo puts it back to where it was before it came to the
            // image.
            let moved = ours.as_ref().and_then(|ours| ours.entries.get(tag));
            let was = moved.map_or(&entry.was, |moved| &moved.was).clone();
            let planned = JournalEntry {
                was,
                state: EntryState::Planned,
                ..entry.clone()
            };
            let state = match report.end {
                TagEnd::KeptByNewer { .. } | TagEnd::KeptComplete { .. } => EntryState::Kept,
                TagEnd::Set { .. } | TagEnd::Stayed | TagEnd::Held { .. } => EntryState::Done,
            };
            events.push(JournalEvent::Planned(tag.clone(), planned));
            events.push(JournalEvent::Marked(tag.clone(), state));
        }
        events.push(JournalEvent::Status(RunStatus::Complete));
        for event in &events {
            journal.apply(event.clone())?;
        }
        let copy = Record::of_journal(journal);
        self.find_records(&copy, security).await;
        copy.publish(&copy.places(), None).await?;
        held.apply(events).await
    }
}
