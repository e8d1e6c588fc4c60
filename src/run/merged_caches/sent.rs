//! Exports a cache to a registry by rbake's own requests.
//!
//! The builder's export asks for each layer although the run has just sent it for an image, and cannot mount. So the builder
//! only says what the cache consists of, and rbake sends what the registry does not have.

use super::SharedCache;
use super::content::{CacheContent, Written, layers_of};
use super::job;
use super::place::{CachePlace, PlaceError};
use super::stored::StoredCache;
use super::work::ExportWork;
use crate::outcome::{FailureKind, SolveFailure};
use crate::registry::RegistryError;
use crate::run::shared_context::SharedContext;
use crate::run::uploads::{self, BuilderContents, UploadError, UploadProgress, UploadTarget};
use crate::types::causes::in_one_line;

/// What came of an export.
pub(super) enum SentCache {
    /// It was written.
    Written(Written),
    /// There was nothing to export.
    Nothing,
    /// The builder must export it: it is on another machine, has not downloaded a layer, or only it reaches the registry.
    ByBuilder,
}

/// Exports `work` to `cache`, whose place is `stored`, with all of `old` and with `facts` as annotations. `id` identifies the
/// export within the run.
pub(super) async fn export(
    cache: &SharedCache,
    work: &ExportWork<'_>,
    stored: &StoredCache,
    old: Option<&CacheContent>,
    facts: &[(&str, String)],
    id: &str,
    shared: &SharedContext,
) -> Result<SentCache, SolveFailure> {
    let CachePlace::Registry { repository, .. } = stored.place() else {
        return Ok(SentCache::ByBuilder);
    };
    let there = match stored.there(shared).await {
        Ok(there) if shared.uploader.sends_to(repository.name()) => there.as_ref(),
        // The builder says why it cannot write there, if it cannot.
        _ => return Ok(SentCache::ByBuilder),
    };
    let content = match job::collect(cache, work, shared).await? {
        Some(Ok(content)) => content,
        Some(Err(reason)) => {
            tracing::info!(cache = %cache.place(), %reason, "the builder exports the cache");
            return Ok(SentCache::ByBuilder);
        }
        None => return Ok(SentCache::Nothing),
    };
    if let Some(there) = there {
        shared.blobs.note(repository.name(), &layers_of(there));
    }
    let progress = UploadProgress::new(
        &shared.events,
        format!("send-{id}"),
        None,
        format!("push {}", cache.place_plainly()),
    );
    let to = UploadTarget {
        repository,
        is_new: there.is_none(),
        base: work
            .solves
            .iter()
            .find_map(|solve| uploads::base_at(repository.name(), &solve.ready.places.images)),
        places: &shared.blobs,
        contents: &BuilderContents(&shared.engine),
        progress: &progress,
    };
    let sent = uploads::give_all(&content.layers(), &to).await;
    progress.end(sent.as_ref().err().map(ToString::to_string));
    match sent {
        Ok(()) => {}
        Err(UploadError::NotAtBuilder(blob)) => {
            tracing::info!(cache = %cache.place(), %blob, "the builder exports the cache: it has not downloaded a layer");
            return Ok(SentCache::ByBuilder);
        }
        Err(UploadError::Lost) => return Ok(SentCache::ByBuilder),
        Err(UploadError::Registry(error)) => return Err(refused(&error)),
    }
    let written = async {
        let content = match old {
            Some(old) => content.joined(old.clone())?,
            None => content,
        };
        content.write(stored.place(), facts).await
    };
    match written.await {
        Ok(written) => Ok(SentCache::Written(written)),
        Err(PlaceError::Registry(error)) => match uploads::lost(error) {
            UploadError::Registry(error) => Err(refused(&error)),
            // The builder asks for each layer.
            _ => Ok(SentCache::ByBuilder),
        },
        Err(error) => Err(SolveFailure::new(FailureKind::Build, in_one_line(&error))),
    }
}

fn refused(error: &RegistryError) -> SolveFailure {
    SolveFailure::new(FailureKind::Build, in_one_line(error))
}
