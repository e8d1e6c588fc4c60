//! Caches that several targets of a run export to one place. One export holds the caches of all of them.
//!
//! buildx lets each target export its own cache there, and the last one replaces the others.

mod stored;

use std::collections::BTreeMap;
use std::sync::Arc;

use stored::{CacheFacts, StoredCache};

use super::caches::{self, ServedCaches};
use super::directories::{Directories, Served};
use super::lower::{LocalCache, LoweredTarget};
use super::scheduler::{Ends, tell_of_stop};
use super::shared_context::SharedContext;
use super::{Ready, Stop, images, refusal};
use crate::builder::Notice;
use crate::diag::{Class, Diagnostic};
use crate::engine::session::content::LayoutError;
use crate::engine::session::{Auth, SessionBuilder, SharedSessions};
use crate::engine::spec::{CacheBackend, SolveCache, SolveSpec};
use crate::engine::{
    BuildRef, Connection, FinishedSolve, MergedExport, SessionError, SessionId, Sessions,
};
use crate::event::EventKind;
use crate::golang::strconv;
use crate::outcome::{CancelReason, FailureKind, SolveFailure, TargetOutcome};
use crate::types::TargetName;
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;

/// The attribute that says whether the cache holds the steps of all stages, or only those of the result.
const MODE: &str = "mode";
/// The attribute that keeps a failed export from failing the build.
const IGNORE_ERROR: &str = "ignore-error";

/// A cache that several targets export.
#[derive(Debug)]
pub(super) struct SharedCache {
    cache: SolveCache,
    local: Option<LocalCache>,
    targets: Vec<TargetName>,
}

impl SharedCache {
    /// The shared cache of `targets`, of which this is the first.
    fn of(first: &LoweredTarget, cache: &SolveCache) -> Self {
        Self {
            cache: cache.clone(),
            local: local_of(first, cache).cloned(),
            targets: vec![first.spec.target.clone()],
        }
    }

    /// Whether an export of `target` goes to the same place in the same form. The modes may differ.
    fn takes(&self, target: &LoweredTarget, cache: &SolveCache) -> bool {
        let place = |cache: &SolveCache| {
            let reference = cache.image.as_ref()?.reference();
            let tag = reference.tag_or_latest()?.to_owned();
            Some((reference.repository(), tag))
        };
        self.cache.backend == cache.backend
            && place(&self.cache) == place(cache)
            && form(&self.cache) == form(cache)
            && self.cache.credentials == cache.credentials
            && self.local.as_ref() == local_of(target, cache)
    }

    /// Adds a target. The mode `max` takes precedence, and an error is ignored only if every target ignores it.
    fn add(&mut self, target: &TargetName, cache: &SolveCache) {
        if !self.targets.contains(target) {
            self.targets.push(target.clone());
        }
        if let Some(mode) = cache.extra.get(MODE).filter(|mode| *mode == "max") {
            self.cache.extra.insert(MODE.to_owned(), mode.clone());
        }
        if !ignores_errors(cache) {
            self.cache.extra.remove(IGNORE_ERROR);
        }
    }

    /// Where the cache goes, for messages.
    fn place(&self) -> String {
        match (&self.cache.image, &self.local) {
            (Some(name), _) => format!("`{}`", name.reference().familiar()),
            (None, Some(LocalCache::Export { dir, .. } | LocalCache::Import { dir, .. })) => {
                format!("`{}`", dir.display())
            }
            (None, None) => {
                let scope = self.cache.extra.get("scope");
                let scope = scope.map_or("buildkit", String::as_str);
                format!("scope `{scope}` of GitHub's cache")
            }
        }
    }
}

/// The attributes that must be equal for one export to serve two targets.
fn form(cache: &SolveCache) -> BTreeMap<&String, &String> {
    let merges = |key: &str| [MODE, IGNORE_ERROR].contains(&key);
    let extra = cache.extra.iter();
    extra.filter(|(key, _)| !merges(key)).collect()
}

fn ignores_errors(cache: &SolveCache) -> bool {
    cache
        .extra
        .get(IGNORE_ERROR)
        .and_then(|value| strconv::parse_bool(value))
        == Some(true)
}

/// The directory that `cache` of `target` is exported to, if it is local.
fn local_of<'t>(target: &'t LoweredTarget, cache: &SolveCache) -> Option<&'t LocalCache> {
    let dest = cache.extra.get("dest")?;
    target
        .local_caches
        .iter()
        .find(|local| matches!(local, LocalCache::Export { name, .. } if name == dest))
}

/// Removes the exports that several of `targets` share from their solves, and returns one export for each place.
pub(super) fn take(targets: &mut [LoweredTarget]) -> Vec<SharedCache> {
    let mut shared: Vec<SharedCache> = Vec::new();
    for target in &*targets {
        for cache in target
            .spec
            .cache_exports
            .iter()
            .filter(|cache| merges(cache))
        {
            match shared.iter_mut().find(|known| known.takes(target, cache)) {
                Some(known) => known.add(&target.spec.target, cache),
                None => shared.push(SharedCache::of(target, cache)),
            }
        }
    }
    shared.retain(|cache| cache.targets.len() > 1);
    for target in targets {
        let taken = |cache: &SolveCache| {
            merges(cache) && shared.iter().any(|known| known.takes(target, cache))
        };
        let (gone, kept): (Vec<_>, Vec<_>) =
            target.spec.cache_exports.iter().cloned().partition(taken);
        let dirs: Vec<LocalCache> = gone
            .iter()
            .filter_map(|cache| local_of(target, cache).cloned())
            .collect();
        target.spec.cache_exports = kept;
        target.local_caches.retain(|local| !dirs.contains(local));
    }
    shared
}

/// Whether one export can hold the caches of several targets. An inline cache is part of one image.
fn merges(cache: &SolveCache) -> bool {
    matches!(
        cache.backend,
        CacheBackend::Registry | CacheBackend::Local | CacheBackend::Gha
    )
}

/// Whether `target` exports one of `shared`.
pub(super) fn exports(shared: &[SharedCache], target: &TargetName) -> bool {
    shared.iter().any(|cache| cache.targets.contains(target))
}

/// The solves of the targets that share caches, by target.
#[derive(Default)]
pub(super) struct SharingSolves(BTreeMap<TargetName, (Ready, SolveSpec)>);

impl SharingSolves {
    /// Adds the solve of `ready`.
    pub(super) fn add(&mut self, ready: &Ready, spec: &SolveSpec) {
        let name = ready.planned.name.clone();
        self.0.insert(name, (ready.clone(), spec.clone()));
    }

    /// Returns those of `targets` that succeeded.
    fn succeeded(&self, targets: &[TargetName], ends: &Ends) -> Vec<&(Ready, SolveSpec)> {
        let has_succeeded = |name: &TargetName| {
            let end = ends.iter().find(|(ended, _)| ended == name);
            end.is_some_and(|(_, end)| matches!(**end, TargetOutcome::Succeeded(_)))
        };
        let targets = targets.iter().filter(|name| has_succeeded(name));
        targets.filter_map(|name| self.0.get(name)).collect()
    }
}

/// What came of the exports of shared caches.
#[derive(Default)]
pub(super) struct CachesExported {
    /// What went wrong, without the warnings, which are sent as events.
    pub(super) problems: Vec<Diagnostic>,
    /// Why an export was stopped.
    pub(super) interrupted: Option<CancelReason>,
}

/// Exports `caches`, each of the targets that succeeded, until the user stops the run.
pub(super) async fn export(
    caches: &[SharedCache],
    solves: &SharingSolves,
    ends: &Ends,
    shared: &SharedContext,
    stop: &Stop,
) -> CachesExported {
    let exports = caches.iter().enumerate().map(|(place, cache)| async move {
        let solves = solves.succeeded(&cache.targets, ends);
        if solves.is_empty() {
            return None;
        }
        let names = names(solves.iter().map(|(_, spec)| &spec.target));
        let built = ends.iter().filter_map(|(name, end)| match &**end {
            TargetOutcome::Succeeded(solved) if cache.targets.contains(name) => {
                Some((name, solved))
            }
            _ => None,
        });
        let built: Vec<_> = built.collect();
        let stored = StoredCache::of(cache, &built, &shared.registries, &shared.engine).await;
        if let Some(stored) = &stored
            && !shared.steps.any()
            && stored.is_current().await
        {
            tracing::info!(cache = %cache.place(), "the cache holds these images already");
            return None;
        }
        let name = format!("export the cache of {names} to {}", cache.place());
        let notice = Notice::begin(&shared.events, &format!("cache-{place}"), &name);
        let exported = tokio::select! {
            biased;
            reason = stop.requested() => {
                notice.end(Some("interrupted"));
                return Some((interrupted(cache, &names), Some(reason)));
            }
            exported = export_one(cache, &solves, shared) => exported,
        };
        if let (Ok(()), Some(stored)) = (&exported, &stored) {
            let environment = &shared.setting.environment;
            let owner = CacheFacts::of(&cache.targets, environment, &shared.clock);
            stored.record(&owner).await;
        }
        notice.end(
            exported
                .as_ref()
                .err()
                .map(|failure| failure.message.as_str()),
        );
        let failure = exported.err()?;
        Some((failed(cache, &names, failure, shared), None))
    });
    let mut exported = CachesExported::default();
    let found = futures_util::future::join_all(exports).await;
    for (problem, reason) in found.into_iter().flatten() {
        exported.interrupted = exported.interrupted.or(reason);
        if problem.is_error() {
            exported.problems.push(problem);
        } else {
            shared.events.send(EventKind::Notice(problem));
        }
    }
    if let Some(reason) = &exported.interrupted {
        tell_of_stop(reason, &shared.events);
    }
    exported
}

async fn export_one(
    cache: &SharedCache,
    solves: &[&(Ready, SolveSpec)],
    shared: &SharedContext,
) -> Result<(), SolveFailure> {
    let stores = match cache.local.clone() {
        Some(local) => unblock(move || caches::open_export(&local))
            .await
            .map_err(|error| build(&error))?,
        None => ServedCaches::default(),
    };
    let own = cache.cache.image.iter();
    let own = own.map(|name| name.reference().clone()).collect();
    let read = |(ready, spec): &&(Ready, SolveSpec)| {
        let mut read = images::of(spec);
        read.extend(ready.places.images.iter().cloned());
        read
    };
    let reads = solves.iter().flat_map(read).collect();
    let auth = Auth::new(Arc::clone(&shared.credentials)).for_images(own, reads);
    let mut session = SessionBuilder::new(SessionId::new()).attach(Arc::new(auth));
    if let Some(stores) = stores.stores.clone() {
        session = session.attach(Arc::new(stores));
    }
    let connection = shared.engine.connection();
    let sessions = SharedSessions::new(Arc::clone(connection), shared.setting.node.clone());
    let directories = shared.directories.again(sessions);
    let again = solves
        .iter()
        .map(|(ready, spec)| serve_again(&directories, ready, spec, connection));
    let (session, again) = futures_util::try_join!(
        session.open(connection),
        futures_util::future::try_join_all(again)
    )
    .map_err(|error| SolveFailure::new(FailureKind::Engine, in_one_line(&error)))?;
    let (solves, served): (Vec<_>, Vec<_>) = again.into_iter().unzip();
    let merged = MergedExport {
        build_ref: BuildRef::new(),
        session: Arc::new(session),
        cache: cache.cache.clone(),
        solves,
    };
    let failures: Vec<_> = served
        .iter()
        .map(|served| Box::pin(served.failed()))
        .collect();
    let exported = tokio::select! {
        exported = shared.engine.export_merged(&merged) => exported,
        (failure, ..) = futures_util::future::select_all(failures) => {
            Err(SolveFailure::new(FailureKind::Build, failure.to_string()))
        }
    };
    let closing = merged
        .solves
        .iter()
        .map(|solve| solve.sessions.target.close());
    futures_util::join!(
        merged.session.close(),
        futures_util::future::join_all(closing),
        directories.close(),
    );
    stores
        .enter(&exported?)
        .await
        .map_err(|error| build(&error))
}

/// Opens new sessions for the directories of a solve that has ended.
///
/// With the sessions of that solve, the daemon would take its copies of the directories without a look at them, and
/// the cache would name them by the session instead of by their content, so that no other builder could use the
/// steps that copy from them. Their content is not sent again, because the keys of the copies are the same.
async fn serve_again(
    directories: &Directories,
    ready: &Ready,
    spec: &SolveSpec,
    connection: &Arc<Connection>,
) -> Result<(FinishedSolve, Served), SessionError> {
    let wanted = directories.wanted(&ready.planned, &ready.places).await;
    let mut own = SessionBuilder::new(SessionId::new());
    if let Some((files, key)) = &wanted.own {
        own = own.attach(Arc::new(files.clone())).shared_key(key.clone());
    }
    let (own, served) = futures_util::try_join!(own.open(connection), directories.serve(wanted))?;
    let solve = FinishedSolve {
        spec: spec.clone(),
        sessions: Sessions {
            target: Arc::new(own),
            directories: served.sessions.clone(),
        },
    };
    Ok((solve, served))
}

fn build(error: &LayoutError) -> SolveFailure {
    SolveFailure::new(FailureKind::Build, in_one_line(error))
}

/// The problem of an export that failed. It is a warning if all targets ignore errors of the export.
fn failed(
    cache: &SharedCache,
    names: &str,
    failure: SolveFailure,
    shared: &SharedContext,
) -> Diagnostic {
    let mut failure = shared.with_help(failure);
    refusal::explain(&mut failure, &shared.credentials.origins());
    let message = format!(
        "cannot export the cache of {names} to {}: {}",
        cache.place(),
        failure.message
    );
    let problem = if ignores_errors(&cache.cache) {
        Diagnostic::warning("run::cache-export", message)
    } else {
        Diagnostic::error(Class::Build, "run::cache-export", message)
    };
    let problem = failure
        .help
        .iter()
        .fold(problem, |problem, help| problem.help(help.clone()));
    problem.note("the results of the targets are not affected")
}

/// The note that an export was stopped, so that nobody expects the cache.
fn interrupted(cache: &SharedCache, names: &str) -> Diagnostic {
    let message = format!(
        "the cache of {names} was not exported to {}: interrupted",
        cache.place()
    );
    Diagnostic::warning("run::cache-export", message)
}

/// The targets as a phrase: `a`, `b` and `c`.
fn names<'a>(targets: impl Iterator<Item = &'a TargetName>) -> String {
    let names: Vec<String> = targets.map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests;
