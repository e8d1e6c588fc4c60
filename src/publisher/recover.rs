//! Finishes a run that was interrupted, or takes a run back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};

use super::claims::RunSurvey;
use super::find::follow;
use super::{PublishError, Publisher, Record};
use crate::publish::class::TagClass;
use crate::publish::journal::recovery::{
    Recovery, RecoveryDirection, TagChange, TagsNow, resume, undo, waiting,
};
use crate::publish::journal::{EntryState, Journal, JournalEvent, PublishedTag, RunStatus};
use crate::publish::revision::Revision;
use crate::registry::{RegistrySecurity, RemoteRepository, TagObstacle};
use crate::types::{Digest, ImageRepository};

/// What the user wants of an earlier run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecoveryWish {
    /// End it: forward if all its images are whole, else back.
    Resume,
    /// Take all its changes back.
    Undo,
}

/// What was done to end a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// The tags that were changed, with where they point now.
    pub(crate) changed: Vec<(PublishedTag, Option<Digest>)>,
    /// Tags that pointed to the right image already.
    pub(crate) reached: Vec<PublishedTag>,
    /// Tags that somebody else moved, which stay.
    pub(crate) elsewhere: Vec<(PublishedTag, Option<Digest>)>,
    /// Tags that are set to the image of a newer commit, which another run had published.
    pub(crate) newer: Vec<(PublishedTag, Revision)>,
}

impl Publisher {
    /// Reads where all tags of the run point, and returns what is left to do for it. `None` if nothing is.
    pub(crate) async fn plan_recovery(
        &self,
        wish: RecoveryWish,
        security: RegistrySecurity,
    ) -> Result<Option<Recovery>, PublishError> {
        let Some(journal) = self.record.journal() else {
            return Ok(None);
        };
        let heads = journal.entries.keys().map(|tag| async move {
            let repository = self.repository(tag.repository(), security);
            let now = Self::digest_now(&repository, tag.tag()).await?;
            Ok::<_, PublishError>((tag.clone(), now))
        });
        let now: TagsNow = try_join_all(heads).await?.into_iter().collect();
        let planned = match wish {
            RecoveryWish::Resume => resume(&journal, &now),
            RecoveryWish::Undo => Some(undo(&journal, &now)),
        };
        let Some(mut recovery) = planned else {
            return Ok(None);
        };
        if recovery.direction == RecoveryDirection::Back && journal.status != RunStatus::Complete {
            self.spare(&journal, &mut recovery, security).await?;
        }
        Ok(Some(recovery))
    }

    /// Removes from `recovery` the changes of immutable tags whose image a later run has published: when it found the
    /// tag at its image, it did not record it.
    async fn spare(
        &self,
        journal: &Journal,
        recovery: &mut Recovery,
        security: RegistrySecurity,
    ) -> Result<(), PublishError> {
        let is_immutable = |change: &&TagChange| change.class == TagClass::Immutable;
        let immutable = recovery.changes.iter().filter(is_immutable);
        let names = immutable.map(|change| change.tag.repository().clone());
        let names: BTreeSet<ImageRepository> = names.collect();
        for name in names {
            let repository = self.repository(&name, security);
            let later = self
                .published_after(&repository, &journal.header.run)
                .await?;
            let published = |change: &TagChange| {
                let now = change.now.as_ref()?;
                let mut later = later.iter().filter(|run| {
                    let mut entries = run.entries.iter();
                    entries.any(|(tag, entry)| *tag.repository() == name && entry.to == *now)
                });
                later.next().map(|run| run.header.run.clone())
            };
            recovery.changes.retain(|change| {
                if change.class != TagClass::Immutable || *change.tag.repository() != name {
                    return true;
                }
                let by = published(change);
                let is_free = by.is_none();
                recovery
                    .published
                    .extend(by.map(|run| (change.tag.clone(), run)));
                is_free
            });
        }
        Ok(())
    }

    /// The repositories from which `recovery` cannot remove the tags that it is to remove, as far as that is known without a
    /// request, and why.
    pub(crate) async fn removal_obstacles(
        &self,
        recovery: &Recovery,
        security: RegistrySecurity,
    ) -> BTreeMap<ImageRepository, Arc<TagObstacle>> {
        let removals = recovery.changes.iter().filter(|one| one.to.is_none());
        let names: BTreeSet<&ImageRepository> =
            removals.map(|change| change.tag.repository()).collect();
        let mut obstacles = BTreeMap::new();
        for name in names {
            let repository = self.repository(name, security);
            if let Some(obstacle) = self.registries.tag_obstacle(&repository).await {
                obstacles.insert(name.clone(), obstacle);
            }
        }
        obstacles
    }

    /// Carries out `recovery`. It can be interrupted at any time, and planned again.
    ///
    /// # Errors
    /// If an immutable tag of a copy belongs to another image, what the run has done is taken back first.
    pub(crate) async fn recover(
        &self,
        recovery: &Recovery,
        security: RegistrySecurity,
    ) -> Result<Recovered, PublishError> {
        let carried_out = self.carry_out(recovery, security).await;
        if matches!(carried_out, Err(PublishError::ImmutableTaken { .. })) {
            let planned = self.plan_recovery(RecoveryWish::Undo, security).await?;
            if let Some(back) = planned {
                self.carry_out(&back, security).await?;
            }
        }
        carried_out
    }

    async fn carry_out(
        &self,
        recovery: &Recovery,
        security: RegistrySecurity,
    ) -> Result<Recovered, PublishError> {
        let (made, ended) = match recovery.direction {
            RecoveryDirection::Forward => (EntryState::Done, RunStatus::Complete),
            RecoveryDirection::Back => (EntryState::Undone, RunStatus::Undone),
        };
        self.begin(recovery.direction, security).await?;
        let is_forward = recovery.direction == RecoveryDirection::Forward;
        let mut surveys = if is_forward {
            self.survey_copies(security).await?
        } else {
            BTreeMap::new()
        };
        for tag in &recovery.reached {
            self.record.marked(tag, made).await?;
        }
        for (tag, _) in &recovery.elsewhere {
            self.record.marked(tag, EntryState::Kept).await?;
        }
        for (tag, _) in &recovery.published {
            self.record.marked(tag, EntryState::Kept).await?;
        }
        let mut recovered = Recovered {
            changed: Vec::new(),
            reached: recovery.reached.clone(),
            elsewhere: recovery.elsewhere.clone(),
            newer: Vec::new(),
        };
        // The changes are in an order that must hold between the classes: mutable tags move last, and on the way back
        // first.
        let of_class = |class| {
            recovery
                .changes
                .iter()
                .filter(move |one| one.class == class)
        };
        let classes = match recovery.direction {
            RecoveryDirection::Forward => [TagClass::Immutable, TagClass::Mutable],
            RecoveryDirection::Back => [TagClass::Mutable, TagClass::Immutable],
        };
        for class in classes {
            let changes = of_class(class).map(|change| self.recover_one(change, made, security));
            for (change, is) in of_class(class).zip(join_all(changes).await) {
                match is? {
                    None => recovered
                        .changed
                        .push((change.tag.clone(), change.to.clone())),
                    Some(now) => recovered.elsewhere.push((change.tag.clone(), now)),
                }
            }
            if is_forward && class == TagClass::Immutable {
                self.check_copied(&mut surveys, security).await?;
            }
        }
        if is_forward {
            self.repair_after(&mut recovered, security).await?;
        }
        self.record.reached(ended).await?;
        self.announce(&self.record.places()).await?;
        Ok(recovered)
    }

    /// Records that the run is being finished or taken back.
    ///
    /// # Errors
    /// [`PublishError::BeingMoved`] if the run is to be taken back, and another one moves tags to its images. The record is as
    /// before then.
    async fn begin(
        &self,
        direction: RecoveryDirection,
        security: RegistrySecurity,
    ) -> Result<(), PublishError> {
        let Some(before) = self.record.journal() else {
            return Ok(());
        };
        if direction == RecoveryDirection::Forward {
            self.record.reached(RunStatus::Moving).await?;
            self.find_records(&self.record, security).await;
            return self.announce(&self.record.places()).await;
        }
        let ended = self.check_not_being_moved(&before, None, security).await?;
        let undone = |tag: &PublishedTag| JournalEvent::Marked(tag.clone(), EntryState::Undone);
        let mut events: Vec<JournalEvent> = waiting(&before).map(undone).collect();
        events.push(JournalEvent::Status(RunStatus::Undoing));
        self.record.apply(events).await?;
        self.find_records(&self.record, security).await;
        self.announce(&self.record.places()).await?;
        // Only now is it certain that a promotion which this look does not find will find our record.
        let again = self.check_not_being_moved(&before, Some(&ended), security);
        let again = again.await;
        if matches!(again, Err(PublishError::BeingMoved { .. })) {
            follow(&self.record, before).await?;
            self.announce(&self.record.places()).await?;
        }
        again.map(drop)
    }

    /// Sets mutable tags that point to our image, although another run has moved them to a newer commit, to that image:
    /// our run was interrupted after it had replaced theirs.
    async fn repair_after(
        &self,
        recovered: &mut Recovered,
        security: RegistrySecurity,
    ) -> Result<(), PublishError> {
        let Some(journal) = self.record.journal() else {
            return Ok(());
        };
        let mut runs = BTreeMap::new();
        for (tag, entry) in &journal.entries {
            if entry.class != TagClass::Mutable || entry.state != EntryState::Done {
                continue;
            }
            let repository = self.repository(tag.repository(), security);
            if !runs.contains_key(tag.repository()) {
                // None of the runs is known to have ended before ours.
                let found = self
                    .concurrent(&repository, &mut RunSurvey::default())
                    .await?;
                runs.insert(tag.repository(), found);
            }
            let Some(runs) = runs.get(tag.repository()) else {
                continue;
            };
            let Some(newer) = self.newer(runs, tag).await else {
                continue;
            };
            let now = Self::digest_now(&repository, tag.tag()).await?;
            if now.as_ref() == Some(&entry.to) && newer.digest != entry.to {
                self.change(&repository, tag, now.as_ref(), Some(&newer.digest))
                    .await?;
                self.record.marked(tag, EntryState::Kept).await?;
                recovered.changed.retain(|(changed, _)| changed != tag);
                recovered.newer.push((tag.clone(), newer.revision));
            }
        }
        Ok(())
    }

    /// Makes one change. Returns where the tag points if somebody has moved it since it was planned.
    async fn recover_one(
        &self,
        change: &TagChange,
        made: EntryState,
        security: RegistrySecurity,
    ) -> Result<Option<Option<Digest>>, PublishError> {
        let repository = self.repository(change.tag.repository(), security);
        let now = Self::digest_now(&repository, change.tag.tag()).await?;
        if now != change.now {
            self.record.marked(&change.tag, EntryState::Kept).await?;
            return Ok(Some(now));
        }
        let to = change.to.as_ref();
        self.change(&repository, &change.tag, now.as_ref(), to)
            .await?;
        self.record.marked(&change.tag, made).await?;
        Ok(None)
    }

    /// Finds the repositories that have a copy of `record`, which is to be kept up to date there.
    pub(super) async fn find_records(&self, record: &Record, security: RegistrySecurity) {
        let Some(journal) = record.journal() else {
            return;
        };
        let repositories: BTreeMap<&ImageRepository, RemoteRepository> = journal
            .entries
            .keys()
            .map(|tag| {
                let name = tag.repository();
                (name, self.repository(name, security))
            })
            .collect();
        let run = &journal.header.run;
        let found = repositories.values().map(|repository| async move {
            let found = super::claims::read_run(repository, run).await;
            matches!(found, Ok(Some(_))).then(|| repository.clone())
        });
        for repository in join_all(found).await.into_iter().flatten() {
            record.was_found_in(&repository);
        }
    }
}
