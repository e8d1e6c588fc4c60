//! Holds a run: writes down where its mutable tags are to move, and moves none of them.

use std::collections::BTreeMap;

use super::decisions::Decision;
use super::{MovedTags, PublishError, Publisher, TagEnd, WholeImage};
use crate::publish::class::TagClass;
use crate::publish::journal::{EntryState, JournalEntry, RunStatus};
use crate::registry::RemoteRepository;
use crate::types::ImageRepository;

impl Publisher {
    /// Records the mutable tags of `images`, and announces the record in every repository of the images. A tag that a
    /// newer commit holds is not recorded; one that points to the image already is, because it may move until the run
    /// is promoted.
    ///
    /// If there is no tag to record, the run ends as if it had moved its tags.
    ///
    /// # Errors
    /// The record could not be written. No mutable tag has moved.
    pub(crate) async fn hold(&self, images: &[WholeImage]) -> Result<MovedTags, PublishError> {
        self.check_not_taken_back().await?;
        let mut held = MovedTags::default();
        let mut planned = Vec::new();
        let mut waiting = Vec::new();
        for (tag, decision) in self.decide_all(images).await? {
            let was = match decision {
                Decision::Move { was, .. } => was,
                Decision::Leave(TagEnd::Stayed) => Some(tag.digest().clone()),
                Decision::Leave(end) => {
                    held.reports.push(tag.report(end));
                    continue;
                }
            };
            let entry = JournalEntry {
                class: TagClass::Mutable,
                was,
                to: tag.digest().clone(),
                state: EntryState::Planned,
            };
            planned.push((tag.named(), entry));
            waiting.push(tag);
        }
        if planned.is_empty() {
            self.end(false).await?;
            return Ok(held);
        }
        self.record.planned(planned).await?;
        self.record.reached(RunStatus::Held).await?;
        let repositories: BTreeMap<ImageRepository, RemoteRepository> = images
            .iter()
            .map(|whole| {
                (
                    whole.image.repository.clone(),
                    self.repository_of(&whole.image),
                )
            })
            .collect();
        let repositories: Vec<RemoteRepository> = repositories.into_values().collect();
        self.announce(&repositories).await?;
        if let Some(run) = self.record.run() {
            let end = TagEnd::Held { run };
            let reports = waiting.iter().map(|tag| tag.report(end.clone()));
            held.reports.extend(reports);
        }
        Ok(held)
    }
}
