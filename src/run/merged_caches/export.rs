//! Exports all caches of a run, one job for each.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::content::{CacheContent, ManifestDescriptor, Written, complete};
use super::job::WrittenCache;
use super::place::{CachePlace, PlaceError};
use super::sent::{self, SentCache};
use super::stored::{CacheFacts, StoredCache};
use super::work::{CacheSolves, ExportWork};
use super::{SharedCache, job, messages, mounts};
use crate::builder::Notice;
use crate::diag::Diagnostic;
use crate::event::EventKind;
use crate::outcome::{CancelReason, ExportedCache, SolveFailure};
use crate::run::scheduler::{Ends, tell_of_stop};
use crate::run::shared_context::SharedContext;
use crate::run::{Stop, phrase};
use crate::types::TargetName;

/// What came of the exports.
#[derive(Default)]
pub(in crate::run) struct CachesExported {
    /// The caches that were written.
    pub(in crate::run) caches: Vec<ExportedCache>,
    /// What went wrong, without the warnings, which are sent as events.
    pub(in crate::run) problems: Vec<Diagnostic>,
    /// Why an export was stopped.
    pub(in crate::run) interrupted: Option<CancelReason>,
    /// The manifest of the last cache of each target. A cache that is not stored as a manifest, such as GitHub's, has none.
    pub(in crate::run) manifests: BTreeMap<TargetName, ManifestDescriptor>,
}

/// What came of one export.
#[derive(Default)]
struct OneExported {
    cache: Option<ExportedCache>,
    problems: Vec<Diagnostic>,
    interrupted: Option<CancelReason>,
    manifest: Option<ManifestDescriptor>,
    targets: Vec<TargetName>,
}

impl OneExported {
    /// Adds how the cache of the targets `names` was written.
    fn note(&mut self, written: Written, cache: &SharedCache, names: &str) {
        if written.parts > 1 {
            tracing::info!(parts = written.parts, cache = %cache.place(), "cache split");
        }
        let ignored = written.ignored.as_ref();
        let warning = ignored.map(|reason| messages::too_large(cache, names, reason));
        self.problems.extend(warning);
        if written.manifest.is_some() {
            self.manifest = written.manifest;
        }
    }
}

impl CachesExported {
    /// Adds what came of the exports of another node.
    pub(in crate::run) fn add(&mut self, other: Self) {
        self.caches.extend(other.caches);
        self.problems.extend(other.problems);
        self.interrupted = self.interrupted.take().or(other.interrupted);
        self.manifests.extend(other.manifests);
    }
}

/// Who has written a cache.
enum ByWhom {
    Rbake(Written),
    /// The builder.
    Builder {
        /// What the place had before, which is still to be added.
        old: Option<CacheContent>,
        /// The manifest, if there is one.
        manifest: Option<ManifestDescriptor>,
    },
    /// There was nothing to export.
    Nobody,
}

impl From<Diagnostic> for OneExported {
    fn from(problem: Diagnostic) -> Self {
        Self {
            problems: vec![problem],
            ..Self::default()
        }
    }
}

/// The caches that the targets of one node export.
#[derive(Clone, Copy)]
pub(in crate::run) struct NodeExports<'a> {
    pub(in crate::run) caches: &'a [SharedCache],
    pub(in crate::run) solves: &'a CacheSolves,
    /// The places to which other nodes have exported in this run. What is there is kept.
    pub(in crate::run) written: &'a BTreeSet<String>,
    /// Whether the finished steps of targets that failed are exported, too.
    pub(in crate::run) salvages: bool,
}

/// Exports caches until the user stops the run.
pub(in crate::run) async fn export(
    NodeExports {
        caches,
        solves,
        written,
        salvages,
    }: NodeExports<'_>,
    ends: &Ends,
    shared: &SharedContext,
    stop: &Stop,
) -> CachesExported {
    // Exports to one place that cannot be merged are made one after the other, so that each of them completes its own.
    let mut places: BTreeMap<String, Vec<(usize, &SharedCache)>> = BTreeMap::new();
    for (number, cache) in caches.iter().enumerate() {
        places
            .entry(cache.place())
            .or_default()
            .push((number, cache));
    }
    let exports = places.into_values().map(|caches| async move {
        let mut found = Vec::new();
        for (number, cache) in caches {
            let work = ExportWork::of(cache, solves, ends, &shared.steps, salvages);
            if let Some(work) = work {
                let id = format!("cache-{number}");
                let adds = written.contains(&cache.place());
                let one = Box::pin(export_one(cache, &work, (&id, adds), shared, stop)).await;
                found.push((number, one));
            }
        }
        found
    });
    let mut exported = CachesExported::default();
    let found = futures_util::future::join_all(exports).await;
    let mut found: Vec<(usize, OneExported)> = found.into_iter().flatten().collect();
    found.sort_by_key(|(number, _)| *number);
    for (_, one) in found {
        exported.interrupted = exported.interrupted.or(one.interrupted);
        exported.caches.extend(one.cache);
        if let Some(manifest) = one.manifest {
            let targets = one.targets.into_iter();
            exported
                .manifests
                .extend(targets.map(|target| (target, manifest.clone())));
        }
        for problem in one.problems {
            if problem.is_error() {
                exported.problems.push(problem);
            } else {
                shared.events.send(EventKind::Notice(problem));
            }
        }
    }
    if let Some(reason) = &exported.interrupted {
        tell_of_stop(reason, &shared.events);
    }
    exported
}

async fn export_one(
    cache: &SharedCache,
    work: &ExportWork<'_>,
    (id, adds): (&str, bool),
    shared: &SharedContext,
    stop: &Stop,
) -> OneExported {
    let started = Instant::now();
    let names = phrase::names(work.targets());
    let stored = StoredCache::of(cache, &work.built, shared).await;
    let is_whole = work.built.len() == cache.targets.len() && !adds;
    if let Some(stored) = stored.as_ref().filter(|_| is_whole)
        && let Some(manifest) = current(stored, shared).await
    {
        tracing::info!(cache = %cache.place(), "the cache holds these images already");
        return OneExported {
            manifest: Some(manifest),
            targets: work.targets().cloned().collect(),
            ..OneExported::default()
        };
    }
    let name = title(cache, work, &names);
    let notice = Notice::begin(&shared.events, id, &name);
    let exporting = async {
        let old = if is_whole {
            Ok(None)
        } else {
            old_content(cache, work, adds, shared).await
        };
        let old = match old {
            Ok(old) => old,
            Err(reason) => return Ok(Err(messages::kept(cache, &names, reason.as_ref()))),
        };
        let keeps = old.is_some();
        if let Some(stored) = &stored {
            let facts = facts(cache, Some(stored), is_whole, shared);
            let sent = sent::export(cache, work, stored, old.as_ref(), &facts, id, shared);
            match Box::pin(sent).await? {
                SentCache::Written(written) => return Ok(Ok(ByWhom::Rbake(written))),
                SentCache::Nothing => return Ok(Ok(ByWhom::Nobody)),
                SentCache::ByBuilder => {}
            }
        }
        mounts::mount_layers(cache, shared).await;
        match job::run(cache, work, keeps, shared).await? {
            (WrittenCache::Cache(manifest), others) => {
                let old = job::joined(others, old).map_err(|error| job::build(&error))?;
                Ok(Ok(ByWhom::Builder { old, manifest }))
            }
            (WrittenCache::Nothing, _) => Ok(Ok(ByWhom::Nobody)),
        }
    };
    let exported = tokio::select! {
        biased;
        reason = stop.requested() => {
            notice.end(Some("interrupted"));
            return OneExported {
                problems: vec![messages::interrupted(cache, &names)],
                interrupted: Some(reason),
                ..OneExported::default()
            };
        }
        exported = Box::pin(exporting) => exported,
    };
    let failed: Option<&SolveFailure> = exported.as_ref().err();
    notice.end(failed.map(|failure| failure.message.as_str()));
    let by = match exported {
        Ok(Ok(ByWhom::Nobody)) => return OneExported::default(),
        Ok(Ok(by)) => by,
        Ok(Err(kept)) => return kept.into(),
        Err(failure) if work.has_built() => {
            return messages::failed(cache, &names, failure, shared).into();
        }
        Err(failure) => return messages::not_salvaged(cache, &names, failure, shared).into(),
    };
    let mut one = OneExported {
        targets: work.targets().cloned().collect(),
        ..OneExported::default()
    };
    let written = match by {
        ByWhom::Rbake(written) => Some(written),
        ByWhom::Builder { old, manifest } => {
            let facts = facts(cache, stored.as_ref(), is_whole, shared);
            let by_builder = (old, manifest.as_ref());
            let written = completed(cache, by_builder, &facts, shared, &mut one.problems).await;
            one.manifest = manifest;
            written
        }
        ByWhom::Nobody => None,
    };
    let size = written.as_ref().map(|written| written.size);
    if let Some(written) = written {
        one.note(written, cache, &names);
    }
    one.cache = Some(ExportedCache {
        place: cache.place_written(one.manifest.as_ref()),
        targets: work.solves.len(),
        salvaged: work.has_salvage(),
        size,
        elapsed: started.elapsed(),
    });
    one
}

/// What an export is called while it runs.
fn title(cache: &SharedCache, work: &ExportWork<'_>, names: &str) -> String {
    let what = if work.has_built() {
        "the cache"
    } else {
        "the finished steps"
    };
    format!("export {what} of {names} to {}", cache.place())
}

/// The manifest of the cache if it holds the images of this run already, so that there is nothing to export.
async fn current(stored: &StoredCache, shared: &SharedContext) -> Option<ManifestDescriptor> {
    if shared.steps.any() || !stored.is_current(shared).await {
        return None;
    }
    let there = stored.there(shared).await.as_ref().ok()?;
    there.as_ref().map(ManifestDescriptor::of)
}

/// What the place of `cache` holds, so that an export of a part of the targets does not make it poorer.
///
/// # Errors
/// It cannot be read, and the export would make it poorer. Then the place keeps what it has.
async fn old_content(
    cache: &SharedCache,
    work: &ExportWork<'_>,
    adds: bool,
    shared: &SharedContext,
) -> Result<Option<CacheContent>, Option<PlaceError>> {
    let read = match CachePlace::of_export(cache, &shared.registries) {
        Some(place) => CacheContent::read(&place).await.map_err(Some),
        None if cache.local.is_some() => Ok(None),
        None => Err(None),
    };
    match read {
        Ok(old) => Ok(old),
        // An image or an artifact: the export replaces it in any case.
        Err(Some(PlaceError::NotACache)) => Ok(None),
        Err(_) if work.replaces_all && !adds => Ok(None),
        Err(reason) => Err(reason),
    }
}

/// The annotations of the cache.
fn facts(
    cache: &SharedCache,
    stored: Option<&StoredCache>,
    is_whole: bool,
    shared: &SharedContext,
) -> Vec<(&'static str, String)> {
    let environment = &shared.setting.environment;
    let owner = CacheFacts::of(&cache.targets, environment, &shared.clock);
    stored.map_or_else(Vec::new, |stored| stored.facts(&owner, is_whole))
}

/// Completes the cache that the builder has written with this manifest. `None` if that is not known to have worked.
async fn completed(
    cache: &SharedCache,
    (old, manifest): (Option<CacheContent>, Option<&ManifestDescriptor>),
    facts: &[(&str, String)],
    shared: &SharedContext,
    problems: &mut Vec<Diagnostic>,
) -> Option<Written> {
    let place = CachePlace::of_export(cache, &shared.registries)?;
    let had_old = old.is_some();
    let manifest = manifest.and_then(ManifestDescriptor::digest);
    match complete(&place, manifest.as_ref(), old, facts).await {
        Ok(written) => written,
        // The cache is as good without a record of its owner.
        Err(error) if !had_old => {
            tracing::warn!(cause = %error, "the cache was not completed");
            None
        }
        Err(error) => {
            problems.push(messages::incomplete(cache, &error));
            None
        }
    }
}
