//! Moves the mutable tags of all images of a run, after everything else has succeeded.

use std::collections::BTreeMap;

use futures_util::future::{join_all, try_join_all};

use super::changes::is_refusal;
use super::claims::RunSurvey;
use super::decisions::{Decision, MutableTag};
use super::{PublishError, Publisher, TagEnd, TagReport, WholeImage};
use crate::publish::class::TagClass;
use crate::publish::journal::{EntryState, JournalEntry, RunId, RunOrigin, RunStatus};
use crate::publish::revision::MoveNote;
use crate::registry::{RegistryError, RemoteRepository};
use crate::types::causes::in_one_line;
use crate::types::{Digest, ImageRepository};

/// How often the runs at the same time are looked at, before a repository counts as contended.
const ROUNDS: usize = 6;

/// What became of the mutable tags.
#[derive(Debug, Default)]
pub(crate) struct MovedTags {
    /// Each tag.
    pub(crate) reports: Vec<TagReport>,
    /// Why the end of the run could not be recorded in a registry, although all tags are right.
    pub(crate) unrecorded: Option<PublishError>,
    /// Why rbake could not see the other runs in a repository.
    pub(crate) blind: Option<RegistryError>,
}

/// What came of a look at the runs at the same time.
#[derive(Debug, Default)]
struct Repaired {
    /// For each repository, the run before which all others have ended.
    settled: Vec<(RemoteRepository, RunId)>,
    /// The immutable tags that stay at the image of another run.
    kept: Vec<TagReport>,
}

/// A tag that moves.
struct PlannedMove<'a> {
    tag: MutableTag<'a>,
    was: Option<Digest>,
    note: Option<MoveNote>,
}

/// The repositories of a run, with the other runs in them.
type Surveys = BTreeMap<ImageRepository, (RemoteRepository, RunSurvey)>;

impl PlannedMove<'_> {
    fn entry(&self) -> JournalEntry {
        JournalEntry {
            class: TagClass::Mutable,
            was: self.was.clone(),
            to: self.tag.digest().clone(),
            state: EntryState::Planned,
        }
    }
}

impl Publisher {
    /// Moves the mutable tags of `images`, all or none. A tag that a newer commit holds stays.
    ///
    /// If nothing has to move, nothing is written. Otherwise, the moves are recorded first, and [`claims`](super::claims)
    /// says how runs at the same time are treated.
    ///
    /// # Errors
    /// If the registry refuses a move, those that were made are taken back, and the run is held: it can be promoted
    /// when the reason is gone. (A promotion or a rollback is over then.) If the registry does not answer, or the run is stopped, its journal stays open.
    /// [`PublishError::TakenBack`] if somebody has taken the run back.
    pub(crate) async fn move_mutable(
        &self,
        images: &[WholeImage],
    ) -> Result<MovedTags, PublishError> {
        self.check_not_taken_back().await?;
        let mut moved = MovedTags::default();
        if let Some(reports) = self.unmoved(images) {
            moved.reports = reports;
            self.end(false).await?;
            return Ok(moved);
        }
        let mut moves = Vec::new();
        for (tag, decision) in self.decide_all(images).await? {
            match decision {
                Decision::Move { was, note } => moves.push(PlannedMove { tag, was, note }),
                Decision::Leave(end) => moved.reports.push(tag.report(end)),
            }
        }
        if moves.is_empty() {
            self.end(false).await?;
            return Ok(moved);
        }
        let planned = moves.iter().map(|one| (one.tag.named(), one.entry()));
        self.record.planned(planned.collect()).await?;
        self.record.reached(RunStatus::Moving).await?;
        let mut surveys = self.claim(&moves, &mut moved).await?;
        if let Err(error) = self.check_source_not_taken_back().await {
            if matches!(error, PublishError::TakenBack(_)) {
                self.give_up(&moves).await?;
            }
            return Err(error);
        }
        let ends = join_all(moves.iter().map(|one| self.make(one))).await;
        let mut ends: Vec<TagEnd> = match ends.into_iter().collect() {
            Ok(ends) => ends,
            Err(error) => return Err(self.take_back(&moves, error).await),
        };
        let Repaired { settled, kept } =
            self.repair(images, &moves, &mut ends, &mut surveys).await?;
        moved.reports.extend(kept);
        let reports = moves.iter().zip(ends);
        moved
            .reports
            .extend(reports.map(|(one, end)| one.tag.report(end)));
        self.record.reached(RunStatus::Complete).await?;
        moved.unrecorded = self.finish(&settled).await.err();
        Ok(moved)
    }

    /// Ends the run before it has moved any of its tags.
    async fn give_up(&self, moves: &[PlannedMove<'_>]) -> Result<(), PublishError> {
        for one in moves {
            let named = one.tag.named();
            self.record.marked(&named, EntryState::Undone).await?;
        }
        self.record.reached(RunStatus::Undone).await?;
        self.announce(&self.record.places()).await
    }

    /// Writes the record of the run into the repositories of `moves`, and looks at the other runs there.
    async fn claim(
        &self,
        moves: &[PlannedMove<'_>],
        moved: &mut MovedTags,
    ) -> Result<Surveys, PublishError> {
        let repositories: BTreeMap<ImageRepository, RemoteRepository> = moves
            .iter()
            .map(|one| {
                (
                    one.tag.repository.name().clone(),
                    one.tag.repository.clone(),
                )
            })
            .collect();
        let repositories: Vec<RemoteRepository> = repositories.into_values().collect();
        self.announce(&repositories).await?;
        let surveys = repositories
            .iter()
            .map(|repository| self.survey(repository));
        let mut found = Surveys::new();
        for (survey, repository) in join_all(surveys).await.into_iter().zip(repositories) {
            match survey {
                Ok(survey) => {
                    found.insert(repository.name().clone(), (repository, survey));
                }
                // Some registries do not list tags, or need another right for it.
                Err(error) if error.fault.is_denial() || is_refusal(&error) => {
                    moved.blind = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// Moves one tag, unless it has moved to a newer commit since it was read.
    async fn make(&self, one: &PlannedMove<'_>) -> Result<TagEnd, PublishError> {
        let tag = &one.tag;
        let named = tag.named();
        let now = Self::digest_now(&tag.repository, tag.tag).await?;
        let mut end = TagEnd::Set {
            note: one.note,
            was: one.was.clone(),
        };
        if now != one.was {
            match self.decide(tag).await? {
                Decision::Move { was, note } => {
                    let again = JournalEntry {
                        was: was.clone(),
                        ..one.entry()
                    };
                    self.record.planned(vec![(named.clone(), again)]).await?;
                    end = TagEnd::Set { note, was };
                }
                Decision::Leave(end) => {
                    let state = match end {
                        TagEnd::Stayed => EntryState::Done,
                        _ => EntryState::Kept,
                    };
                    self.record.marked(&named, state).await?;
                    return Ok(end);
                }
            }
        }
        self.set(&tag.repository, tag.whole, named).await?;
        Ok(end)
    }

    /// After a move failed with `error`: takes the others back if a repetition would not help. Returns the error.
    async fn take_back(&self, moves: &[PlannedMove<'_>], error: PublishError) -> PublishError {
        if error.is_transient() {
            return error;
        }
        let journal = self.record.journal();
        let Some(journal) = journal else { return error };
        // A promotion can be repeated: its images are in a held run already.
        let status = match journal.header.origin {
            RunOrigin::Build => RunStatus::Held,
            RunOrigin::Promotion(_) | RunOrigin::Rollback(_) | RunOrigin::Copy(_) => {
                RunStatus::Undone
            }
        };
        let made = moves.iter().filter_map(|one| {
            let named = one.tag.named();
            let entry = journal.entries.get(&named)?;
            // Of a move whose answer was lost, the record does not say that it was made.
            let may_be_made = matches!(entry.state, EntryState::Planned | EntryState::Done);
            may_be_made.then(|| (one, named, entry.was.clone()))
        });
        let back = made.map(|(one, named, was)| async move {
            let (now, was) = (one.tag.digest(), was.as_ref());
            let repository = &one.tag.repository;
            if Self::digest_now(repository, named.tag()).await?.as_ref() == Some(now) {
                self.change(repository, &named, Some(now), was).await?;
            }
            self.record.marked(&named, EntryState::Undone).await
        });
        let mut is_back = true;
        for failed in join_all(back).await.into_iter().filter_map(Result::err) {
            tracing::warn!(cause = in_one_line(&failed), "a tag is not taken back");
            is_back = false;
        }
        if is_back && self.record.reached(status).await.is_ok() {
            // The journal on this machine has it, too.
            let _ = self.announce(&self.record.places()).await;
        }
        error
    }

    /// Sets tags that another run had moved to a newer commit before our write to their image, and immutable tags that
    /// belong to another run to its image.
    async fn repair(
        &self,
        images: &[WholeImage],
        moves: &[PlannedMove<'_>],
        ends: &mut [TagEnd],
        surveys: &mut Surveys,
    ) -> Result<Repaired, PublishError> {
        let mut repaired = Repaired::default();
        let Some(ours) = self.record.run() else {
            return Ok(repaired);
        };
        // What this run wrote last to each tag.
        let mut written: Vec<Digest> = moves.iter().map(|one| one.tag.digest().clone()).collect();
        // Mostly, one look is enough, so the first looks are taken at the same time.
        let looks = surveys
            .values_mut()
            .map(|(repository, survey)| self.concurrent(repository, survey));
        let looks = try_join_all(looks).await?;
        for ((name, (repository, survey)), look) in surveys.iter_mut().zip(looks) {
            let mut rounds = 0;
            let mut look = Some(look);
            loop {
                let runs = match look.take() {
                    Some(runs) => runs,
                    None => self.concurrent(repository, survey).await?,
                };
                let mut has_repaired = false;
                let here = moves.iter().zip(ends.iter_mut()).zip(&mut written);
                for ((one, end), written) in
                    here.filter(|((one, _), _)| one.tag.repository.name() == name)
                {
                    let named = one.tag.named();
                    let Some(newer) = self.newer(&runs, &named).await else {
                        continue;
                    };
                    let now = Self::digest_now(repository, named.tag()).await?;
                    if now.as_ref() != Some(written) || newer.digest == *written {
                        continue;
                    }
                    self.change(repository, &named, now.as_ref(), Some(&newer.digest))
                        .await?;
                    self.record.marked(&named, EntryState::Kept).await?;
                    *written = newer.digest;
                    *end = TagEnd::KeptByNewer {
                        newer: newer.revision,
                    };
                    has_repaired = true;
                }
                let here = images
                    .iter()
                    .filter(|whole| whole.image.repository == *name);
                for whole in here {
                    let kept = self.repair_immutable(repository, whole, &runs).await?;
                    repaired.kept.extend(kept);
                }
                if !has_repaired {
                    let settled = runs.settled(ours.clone());
                    repaired.settled.push((repository.clone(), settled));
                    break;
                }
                rounds += 1;
                if rounds == ROUNDS {
                    return Err(PublishError::Contended {
                        repository: name.clone(),
                    });
                }
            }
        }
        Ok(repaired)
    }

    /// Records the end of the run in the repositories that have its record.
    async fn finish(&self, settled: &[(RemoteRepository, RunId)]) -> Result<(), PublishError> {
        let places = self.record.places();
        let writes = places.iter().map(|repository| {
            let settled = settled
                .iter()
                .find(|(of, _)| of.name() == repository.name());
            let settled = settled.map(|(_, settled)| settled);
            self.record
                .publish(std::slice::from_ref(repository), settled)
        });
        try_join_all(writes).await?;
        Ok(())
    }
}
