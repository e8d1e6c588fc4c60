//! Finds runs that are recorded in registries.

use futures_util::future::try_join_all;

use super::PublishError;
use super::claims::read_run;
use crate::publish::journal::artifact::{self, TAG_PREFIX};
use crate::publish::journal::{Journal, RunId};
use crate::registry::{Registries, RegistrySecurity, RemoteRepository};
use crate::types::ImageRepository;

/// The most runs of a repository that are read, the newest first.
const READ_LIMIT: usize = 64;

/// Reads the record of `run` from the first of `repositories` that has it. `None` if none has.
pub(crate) async fn recorded_run(
    registries: &Registries,
    repositories: &[ImageRepository],
    security: RegistrySecurity,
    run: &RunId,
) -> Result<Option<Journal>, PublishError> {
    for repository in repositories {
        let repository = registries.repository(repository, security);
        if let Some(read) = read_run(&repository, run).await? {
            return Ok(Some(read.journal));
        }
    }
    Ok(None)
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
    found.sort_by(|a, b| b.header.run.cmp(&a.header.run));
    found.dedup_by(|a, b| a.header.run == b.header.run);
    Ok(found)
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
