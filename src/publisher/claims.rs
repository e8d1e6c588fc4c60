//! What other runs do in a repository at the same time.
//!
//! A registry cannot set a tag only if it still points where it did. So a run
//!
//! 1. claims: writes its journal into the repository, under a tag of its own, before it moves a tag;
//! 2. surveys: lists the runs in the repository, and notes those that have not ended;
//! 3. reads each tag once more, and moves it unless a newer commit holds it;
//! 4. lists the runs again, and reads the ones that had not ended or are new. If one of them moves the same tag to a
//!    newer commit, and the tag points to our image, then our write replaced theirs: the tag is set to their image.
//!
//! Of two runs at the same time, the older one repairs, whichever writes last: the newer one has claimed before it
//! wrote, so the older one finds the claim if its own write came later. If the newer one writes later, nothing needs a
//! repair. The window that remains: an older run that is killed, or stands still, between its write and the repair.
//! `rbake resume` closes it, and until then the tag points to the older image.
//!
//! An immutable tag that two runs at the same time set to different images stays at that of the run which was completed
//! first, or else began first. Both look at the other's record after their own write, so whichever looks last repairs.
//!
//! A run is either promoted, or taken back: a promotion looks at the record of the held run after its own claim, and a command
//! that takes the held run back looks for promotions after it has written that into the record. The one that sees the other gives up,
//! and at least one of the two does. A rollback and an undo of the run to which it goes do the same.
//!
//! To survey a repository, a run reads only the newest ended run: it names the oldest one that had not ended.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use futures_util::future::{join_all, try_join_all};
use jiff::{SignedDuration, Timestamp};

use super::Publisher;
use crate::publish::journal::artifact::{self, RecordedRun};
use crate::publish::journal::{EntryState, Journal, PublishedTag, RunId, RunOrigin, RunStatus};
use crate::publish::revision::{Ancestry, History as _, Revision};
use crate::registry::{RegistryError, RemoteRepository, TagOrDigest};
use crate::types::{Digest, ImageRepository, ImageTag};

/// Runs that began to publish earlier than this before ours are not looked at. If such a run has not ended, it was
/// killed.
const AGE: SignedDuration = SignedDuration::from_hours(24);
/// The most by which the clocks of two machines are assumed to differ. A run whose name is older than that of an ended
/// one may have claimed after it by so much.
const SKEW: SignedDuration = SignedDuration::from_mins(2);
/// The most runs that are read to survey a repository, the newest first.
const READ_LIMIT: usize = 64;
/// The most runs that are searched for the one that set an immutable tag.
const SEARCH_LIMIT: usize = 200;
/// The runs that are read at the same time.
const AT_ONCE: usize = 8;

/// The runs of a repository before ours writes.
#[derive(Debug, Default)]
pub(super) struct RunSurvey {
    /// All of them.
    seen: BTreeSet<RunId>,
    /// Those that had not ended.
    open: BTreeSet<RunId>,
}

/// The image to which another run moves a tag.
#[derive(Debug)]
pub(super) struct NewerImage {
    /// The commit.
    pub(super) revision: Revision,
    /// The image.
    pub(super) digest: Digest,
}

/// Where an immutable tag belongs that two runs at the same time have set to different images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImmutableClaim {
    /// The image at which it must stay.
    pub(super) right: Digest,
    /// The other image.
    pub(super) wrong: Digest,
}

/// The runs that had not ended when ours replaced their immutable tags, by repository.
#[derive(Debug, Default)]
pub(super) struct ReplacedRuns(Mutex<BTreeSet<(ImageRepository, RunId)>>);

impl ReplacedRuns {
    fn add(&self, repository: &ImageRepository, run: RunId) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.insert((repository.clone(), run));
    }

    fn of(&self, repository: &ImageRepository) -> Vec<RunId> {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_repository = runs.iter().filter(|(of, _)| of == repository);
        of_repository.map(|(_, run)| run.clone()).collect()
    }
}

/// The runs that may have written at the same time as ours.
#[derive(Debug, Default)]
pub(super) struct ConcurrentRuns {
    journals: Vec<Journal>,
    /// The oldest run that has not ended. `None` if all have.
    oldest_open: Option<RunId>,
}

impl Publisher {
    /// Lists the runs in `repository`, and finds those that have not ended.
    pub(super) async fn survey(
        &self,
        repository: &RemoteRepository,
    ) -> Result<RunSurvey, RegistryError> {
        let seen = self.runs(repository, self.oldest()).await?;
        let mut survey = RunSurvey::default();
        let mut settled: Option<String> = None;
        let mut batch = 1;
        let mut newest_first = seen.iter().rev().take(READ_LIMIT).peekable();
        while newest_first.peek().is_some() {
            let runs: Vec<&RunId> = newest_first.by_ref().take(batch).collect();
            batch = AT_ONCE;
            let wanted = runs.into_iter().filter(|run| {
                settled
                    .as_deref()
                    .is_none_or(|settled| run.as_str() >= settled)
            });
            let wanted: Vec<&RunId> = wanted.collect();
            if wanted.is_empty() {
                break;
            }
            let read = wanted.iter().map(|run| read_run(repository, run));
            for (run, read) in wanted.iter().zip(try_join_all(read).await?) {
                match read {
                    Some(read) if read.journal.status.is_open() => {
                        survey.open.insert((*run).clone());
                    }
                    Some(read) => {
                        let of_read = read.settled.map(|run| run.older_by(SKEW));
                        settled = settled.max(of_read);
                    }
                    None => {}
                }
            }
        }
        // A run that began after ours may have ended before our survey, and may have set our immutable tags.
        let ours = self.record.run();
        let began_later = seen.iter().filter(|run| ours.as_ref() < Some(run));
        survey.open.extend(began_later.cloned());
        survey.open.extend(self.replaced.of(repository.name()));
        survey.seen = seen;
        Ok(survey)
    }

    /// Reads the runs that had not ended at the time of `survey`, or came later. Updates `survey`.
    pub(super) async fn concurrent(
        &self,
        repository: &RemoteRepository,
        survey: &mut RunSurvey,
    ) -> Result<ConcurrentRuns, RegistryError> {
        let now = self.runs(repository, self.oldest()).await?;
        survey.open.extend(now.difference(&survey.seen).cloned());
        survey.seen = now;
        let runs: Vec<RunId> = survey.open.iter().rev().take(READ_LIMIT).cloned().collect();
        let read = runs.iter().map(|run| read_run(repository, run));
        let mut found = ConcurrentRuns::default();
        for (run, read) in runs.iter().zip(try_join_all(read).await?) {
            let Some(read) = read else { continue };
            if read.journal.status.is_open() {
                let oldest = found.oldest_open.get_or_insert_with(|| run.clone());
                if run < oldest {
                    *oldest = run.clone();
                }
            }
            found.journals.push(read.journal);
        }
        Ok(found)
    }

    /// The newest commit to which another run moves `tag`. `None` if none is newer than ours, or if the user wants our
    /// commit although it is older.
    pub(super) async fn newer(
        &self,
        runs: &ConcurrentRuns,
        tag: &PublishedTag,
    ) -> Option<NewerImage> {
        let ours = &self.revision.as_ref()?.id;
        if self.record.moves_backwards() {
            return None;
        }
        let mut newest: Option<NewerImage> = None;
        for journal in &runs.journals {
            if !matches!(journal.status, RunStatus::Moving | RunStatus::Complete) {
                continue;
            }
            let (Some(entry), Some(revision)) =
                (journal.entries.get(tag), &journal.header.revision)
            else {
                continue;
            };
            if !matches!(entry.state, EntryState::Planned | EntryState::Done) {
                continue;
            }
            let than = newest.as_ref().map_or(ours, |newest| &newest.revision);
            let is_newer = revision.id != *than
                && self.history.is_ancestor(than, &revision.id).await == Ancestry::Yes;
            if is_newer {
                newest = Some(NewerImage {
                    revision: revision.id.clone(),
                    digest: entry.to.clone(),
                });
            }
        }
        newest
    }

    /// Where the immutable `tag` belongs, which our run has set to `ours`: to the image of a run at the same time that was
    /// completed, or else of the one that began first. `None` if no other run sets the tag to another image.
    pub(super) fn claim_of(
        &self,
        runs: &ConcurrentRuns,
        tag: &PublishedTag,
        ours: &Digest,
    ) -> Option<ImmutableClaim> {
        let our_run = self.record.run()?;
        let claims = runs.journals.iter().filter_map(|journal| {
            let entry = journal.entries.get(tag)?;
            let is_given_up = matches!(
                journal.status,
                RunStatus::Failed | RunStatus::Undoing | RunStatus::Undone
            ) || !matches!(entry.state, EntryState::Planned | EntryState::Done);
            (!is_given_up && entry.to != *ours).then_some((journal, entry))
        });
        let (journal, entry) = claims.min_by_key(|(journal, _)| {
            let is_going_on = !journal.status.is_published();
            (is_going_on, journal.header.run.clone())
        })?;
        let (theirs, ours) = (entry.to.clone(), ours.clone());
        let is_first = journal.status.is_published() || journal.header.run < our_run;
        let is_theirs = is_first && !self.force.replace;
        Some(if is_theirs {
            ImmutableClaim {
                right: theirs,
                wrong: ours,
            }
        } else {
            ImmutableClaim {
                right: ours,
                wrong: theirs,
            }
        })
    }

    /// Whether the run that pointed the immutable `tag` to `digest` was completed. A tag that no run recorded counts as
    /// complete: another program has set it. Notes a run that has not ended, because it may be going on.
    pub(super) async fn is_complete(
        &self,
        repository: &RemoteRepository,
        tag: &PublishedTag,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let runs = self.runs(repository, String::new()).await?;
        let newest: Vec<&RunId> = runs.iter().rev().take(SEARCH_LIMIT).collect();
        for runs in newest.chunks(AT_ONCE) {
            let read = join_all(runs.iter().map(|run| read_run(repository, run))).await;
            for read in read {
                let Some(read) = read? else { continue };
                let entry = read.journal.entries.get(tag);
                if entry.is_some_and(|entry| entry.to == *digest) {
                    let status = read.journal.status;
                    if status.is_open() {
                        let run = read.journal.header.run;
                        self.replaced.add(repository.name(), run);
                    }
                    return Ok(status.is_published());
                }
            }
        }
        Ok(true)
    }

    /// The runs in `repository` that began after `run` and published images of their own.
    pub(super) async fn published_after(
        &self,
        repository: &RemoteRepository,
        run: &RunId,
    ) -> Result<Vec<Journal>, RegistryError> {
        let runs = self.runs(repository, run.to_string()).await?;
        let newest: Vec<&RunId> = runs.iter().rev().take(SEARCH_LIMIT).collect();
        let mut published = Vec::new();
        for runs in newest.chunks(AT_ONCE) {
            let read = try_join_all(runs.iter().map(|run| read_run(repository, run))).await?;
            let read = read.into_iter().flatten().map(|read| read.journal);
            published.extend(read.filter(|journal| {
                journal.status.is_published() && journal.header.origin == RunOrigin::Build
            }));
        }
        Ok(published)
    }

    /// The promotions of the run `of`, and the rollbacks to it, that are recorded in `repository`, but for those that are `known` or
    /// were taken back: with each, whether it has ended. The newest runs are read.
    pub(super) async fn moves_to(
        &self,
        repository: &RemoteRepository,
        of: &RunId,
        known: &BTreeSet<RunId>,
    ) -> Result<Vec<(RunId, bool)>, RegistryError> {
        let runs = self.runs(repository, of.to_string()).await?;
        let newest = runs.iter().rev().filter(|run| !known.contains(run));
        let newest: Vec<&RunId> = newest.take(READ_LIMIT).collect();
        let mut moves = Vec::new();
        for runs in newest.chunks(AT_ONCE) {
            let read = try_join_all(runs.iter().map(|run| read_run(repository, run))).await?;
            for RecordedRun { journal, .. } in read.into_iter().flatten() {
                let header = &journal.header;
                let (RunOrigin::Promotion(run) | RunOrigin::Rollback(run)) = &header.origin else {
                    continue;
                };
                let counts = journal.status.is_open() || journal.status == RunStatus::Complete;
                if run == of && counts {
                    moves.push((header.run.clone(), journal.status == RunStatus::Complete));
                }
            }
        }
        Ok(moves)
    }

    /// The runs in `repository` whose names are greater than `after`, without ours.
    async fn runs(
        &self,
        repository: &RemoteRepository,
        after: String,
    ) -> Result<BTreeSet<RunId>, RegistryError> {
        let after = format!("{}{after}", artifact::TAG_PREFIX);
        let tags = repository
            .tags_with_prefix(artifact::TAG_PREFIX, &after)
            .await?;
        let tags = tags.unwrap_or_default();
        let ours = self.record.run();
        Ok(tags
            .iter()
            .filter_map(|tag| artifact::run_of(tag.as_str()))
            .filter(|run| ours.as_ref() != Some(run))
            .collect())
    }

    /// The beginning of the name of the oldest run that is looked at.
    fn oldest(&self) -> String {
        let journal = self.record.journal();
        let started = journal.map_or(Timestamp::MAX, |journal| journal.header.started);
        let oldest = started.checked_sub(AGE).unwrap_or(Timestamp::MIN);
        oldest.strftime("%Y%m%dT%H%M%SZ").to_string()
    }
}

impl ConcurrentRuns {
    /// The run before which all others have ended: `ours`, or an older one that has not.
    pub(super) fn settled(&self, ours: RunId) -> RunId {
        self.oldest_open
            .iter()
            .fold(ours, |settled, open| settled.min(open.clone()))
    }
}

/// Reads the record of a run. `None` if it is not one, or was removed.
pub(super) async fn read_run(
    repository: &RemoteRepository,
    run: &RunId,
) -> Result<Option<RecordedRun>, RegistryError> {
    // The name of a run is made of legal characters.
    let Ok(tag) = artifact::tag_of(run).parse::<ImageTag>() else {
        return Ok(None);
    };
    let Some(manifest) = repository.get(&TagOrDigest::Tag(tag)).await? else {
        return Ok(None);
    };
    match artifact::decode(manifest.bytes()) {
        Ok(read) if read.journal.header.run == *run => Ok(Some(read)),
        Ok(_) => Ok(None),
        Err(error) => {
            tracing::debug!(%run, %error, "the record of a run is not valid");
            Ok(None)
        }
    }
}
