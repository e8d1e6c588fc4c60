//! Finds runs that are recorded in registries.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::claims::read_run;
use super::{PublishError, Publisher, Record};
use crate::publish::journal::artifact::{self, TAG_PREFIX};
use crate::publish::journal::{EntryState, Journal, JournalEvent, PublishedTag, RunId};
use crate::registry::{Registries, RegistrySecurity, RemoteRepository};
use crate::types::{Digest, ImageRepository};

/// The most runs of a repository that are read, the newest first.
const READ_LIMIT: usize = 64;
/// The tags that are looked up at the same time.
const HEADS_AT_ONCE: usize = 8;

/// Reads the record of `run` from `repositories`. If their records differ, because a run was killed while it wrote them,
/// the one that is further counts, or else the longer one. `None` if none has it.
pub(crate) async fn recorded_run(
    registries: &Registries,
    repositories: &[ImageRepository],
    security: RegistrySecurity,
    run: &RunId,
) -> Result<Option<Journal>, PublishError> {
    let reads = repositories.iter().map(|repository| async move {
        let repository = registries.repository(repository, security);
        read_run(&repository, run).await
    });
    let found = try_join_all(reads).await?.into_iter().flatten();
    let found = found.map(|read| read.journal);
    Ok(found.max_by_key(advance))
}

/// The newest runs that are recorded in `repositories`, the newest first, each once.
pub(crate) async fn recorded_runs(
    registries: &Registries,
    repositories: &[ImageRepository],
    security: RegistrySecurity,
) -> Result<Vec<Journal>, PublishError> {
    let reads = repositories.iter().map(|repository| async move {
        let repository = registries.repository(repository, security);
        runs_in(&repository).await
    });
    let mut found: Vec<Journal> = try_join_all(reads).await?.into_iter().flatten().collect();
    found.sort_by(|a, b| {
        let by_run = b.header.run.cmp(&a.header.run);
        by_run.then(advance(b).cmp(&advance(a)))
    });
    found.dedup_by(|a, b| a.header.run == b.header.run);
    Ok(found)
}

/// How far a record of a run is. While targets are built, each repository gets the record when an image for it is whole, so that of
/// two records with one status, the longer one is newer.
fn advance(journal: &Journal) -> (u8, usize) {
    (journal.status.progress(), journal.entries.len())
}

async fn runs_in(repository: &RemoteRepository) -> Result<Vec<Journal>, PublishError> {
    let tags = repository.tags_with_prefix(TAG_PREFIX, TAG_PREFIX).await?;
    let tags = tags.unwrap_or_default();
    let runs: Vec<RunId> = tags
        .iter()
        .rev()
        .filter_map(|tag| artifact::run_of(tag.as_str()))
        .take(READ_LIMIT)
        .collect();
    let reads = runs.iter().map(|run| read_run(repository, run));
    let read = try_join_all(reads).await?;
    Ok(read
        .into_iter()
        .flatten()
        .map(|read| read.journal)
        .collect())
}

/// Where `tags` point now: one request for each.
pub(crate) async fn tags_now(
    registries: &Registries,
    security: RegistrySecurity,
    tags: BTreeSet<PublishedTag>,
) -> Result<BTreeMap<PublishedTag, Option<Digest>>, PublishError> {
    let heads = tags.into_iter().map(|tag| async move {
        let now = super::digest_of(registries, security, &tag).await?;
        Ok::<_, PublishError>((tag, now))
    });
    stream::iter(heads)
        .buffer_unordered(HEADS_AT_ONCE)
        .try_collect()
        .await
}

/// Brings `record`, which is on this machine, up to date: another machine may have finished the run, promoted it, or taken
/// it back. A registry that did not get the last steps of the run knows less than this machine, and is not followed.
pub(crate) async fn catch_up(
    registries: &Registries,
    security: RegistrySecurity,
    record: &Record,
) -> Result<(), PublishError> {
    let Some(journal) = record.journal() else {
        return Ok(());
    };
    let names = journal.entries.keys().map(|tag| tag.repository().clone());
    let names: BTreeSet<ImageRepository> = names.collect();
    let names: Vec<ImageRepository> = names.into_iter().collect();
    let found = recorded_run(registries, &names, security, &journal.header.run).await?;
    let is_further = |found: &Journal| found.status.progress() > journal.status.progress();
    let Some(found) = found.filter(is_further) else {
        return Ok(());
    };
    follow(record, found).await
}

impl Publisher {
    /// The repositories whose record of the run is behind that on this machine, although the run has ended: its last request was
    /// lost, or the registry was away. Other commands take such a run for one that is going on. Empty if the record is not on
    /// this machine.
    pub(crate) async fn outdated_records(
        &self,
        security: RegistrySecurity,
    ) -> Result<Vec<RemoteRepository>, PublishError> {
        let journal = self.record.journal();
        let journal = journal.filter(|journal| journal.status.is_ended());
        let Some(journal) = journal.filter(|_| self.record.is_on_this_machine()) else {
            return Ok(Vec::new());
        };
        let names = journal.entries.keys().map(PublishedTag::repository);
        let names: BTreeSet<&ImageRepository> = names.collect();
        let (run, progress) = (&journal.header.run, journal.status.progress());
        let reads = names.into_iter().map(|name| async move {
            let repository = self.registries.repository(name, security);
            let found = read_run(&repository, run).await?;
            let is_behind = found.is_some_and(|found| found.journal.status.progress() < progress);
            Ok::<_, PublishError>(is_behind.then_some(repository))
        });
        let outdated = try_join_all(reads).await?;
        Ok(outdated.into_iter().flatten().collect())
    }

    /// Writes the record of the run into `repositories`, as it is on this machine.
    pub(crate) async fn update_records(
        &self,
        repositories: &[RemoteRepository],
    ) -> Result<(), PublishError> {
        self.announce(repositories).await
    }
}

/// Makes `record` say what `found` says, which is of the same run and further.
pub(super) async fn follow(record: &Record, found: Journal) -> Result<(), PublishError> {
    let mut events = Vec::new();
    for (tag, entry) in found.entries {
        let state = entry.state;
        events.push(JournalEvent::Planned(tag.clone(), entry));
        // A planned change has no mark.
        if state != EntryState::Planned {
            events.push(JournalEvent::Marked(tag, state));
        }
    }
    events.push(JournalEvent::Status(found.status));
    record.apply(events).await
}
