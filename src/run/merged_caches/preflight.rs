//! Asks the builder about exports to S3 and Azure Blob Storage before anything is built.
//!
//! rbake exports caches after the targets. The daemon would refuse an entry only then if it lacks a bucket, a region or an account,
//! which may also be in the daemon's own environment, so that only the daemon knows whether one is missing.

use std::collections::HashMap;

use super::{SharedCache, ignores_errors, messages, objects};
use crate::definition::model::{CacheEntry, ObjectCache, ObjectStore};
use crate::diag::{Diagnostics, Span, Spanned};
use crate::event::EventKind;
use crate::outcome::{FailureKind, SolveFailure};
use crate::run::Ready;
use crate::run::shared_context::SharedContext;
use crate::types::TargetName;

/// What the daemon says if the storage cannot be reached, or refuses (`cache/remotecache/azblob`). That may pass, and must not
/// keep images from being built.
const OF_THE_STORAGE: &str = "failed to create container client";

/// Removes the caches that the builder will not export and whose errors are ignored, with a warning.
///
/// # Errors
/// The builder will not export a cache.
pub(in crate::run) async fn check(
    caches: &mut Vec<SharedCache>,
    ready: &HashMap<TargetName, Ready>,
    shared: &SharedContext,
) -> Result<(), Diagnostics> {
    let checked = caches.iter().map(|cache| check_one(cache, shared));
    let refused = futures_util::future::join_all(checked).await;
    let mut problems = Diagnostics::default();
    let mut kept = Vec::new();
    for (cache, refused) in caches.drain(..).zip(refused) {
        let Some(failure) = refused else {
            kept.push(cache);
            continue;
        };
        let problem = messages::refused(&cache, failure, shared);
        let problem = match span_of(&cache, ready) {
            Some(span) => problem.at(span, ""),
            None => problem,
        };
        if ignores_errors(&cache.cache) {
            shared.events.send(EventKind::Notice(problem));
        } else {
            problems.push(problem);
        }
    }
    *caches = kept;
    problems.into_result(())
}

/// Why the builder will not export `cache`. `None` if it will, or if that is not known.
async fn check_one(cache: &SharedCache, shared: &SharedContext) -> Option<SolveFailure> {
    let store = objects::store(&cache.cache)?;
    // With an account, the daemon would ask the storage, and create the container.
    if store == ObjectStore::AzBlob && cache.cache.extra.contains_key("account_url") {
        return None;
    }
    let failure = shared.engine.check_cache_export(&cache.cache).await.err()?;
    // A builder that is lost is reported by what needs it.
    let refuses = failure.kind != FailureKind::Engine && !failure.message.contains(OF_THE_STORAGE);
    refuses.then_some(failure)
}

/// The entry of the definition that asks for `cache`.
fn span_of(cache: &SharedCache, ready: &HashMap<TargetName, Ready>) -> Option<Span> {
    let wanted = objects::of(&cache.cache)?.objects();
    let asks = |entry: &&Spanned<CacheEntry>| {
        let store = ObjectStore::of(&entry.kind);
        store.is_some_and(|store| {
            let objects = ObjectCache::of(store, |key| entry.attr(key)).objects();
            objects.iter().any(|object| wanted.contains(object))
        })
    };
    let target = ready.get(cache.targets.first()?)?;
    let entry = target.planned.attributes.cache_to.iter().find(asks);
    entry.and_then(|entry| entry.span)
}
