//! The job that exports a cache, and what it needs: sessions, and directories that are served again.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::content::{CacheContent, ManifestDescriptor};
use super::place::{CachePlace, PlaceError};
use super::work::{ExportWork, ExportedSolve};
use super::{IGNORE_ERROR, SharedCache, groups, objects};
use crate::engine::session::content::{CollectedBlobs, ContentStores, StoreAccess};
use crate::engine::session::{Auth, PolicyService, SessionBuilder, SharedSessions};
use crate::engine::spec::{CacheBackend, SolveCache, SolveSpec};
use crate::engine::{
    BuildRef, Connection, EndedSolve, MergedExport, MergedResponse, SessionError, SessionId,
    Sessions,
};
use crate::event::{EventKind, EventSink, Vertex};
use crate::outcome::{FailureKind, SolveFailure};
use crate::run::cache_imports::CacheImports;
use crate::run::caches::{self, ServedCaches};
use crate::run::directories::{Directories, Served, WantedDirectories};
use crate::run::lower::LocalCache;
use crate::run::policies::MergedJudge;
use crate::run::shared_context::SharedContext;
use crate::run::{images, layouts, ran_steps};
use crate::types::TargetName;
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;

/// The name of the store that takes a cache without its layers.
const COLLECTED: &str = "collected";
/// The key of the response with the descriptor of the manifest that was written (`cache/remotecache/export.go`). It is
/// missing if the cache would have no layer: then the daemon writes nothing.
pub(in crate::run) const MANIFEST: &str = "cache.manifest";

/// Steps that only copy files. The daemon sometimes copies once more, to compute the key of a later step.
const COPIES: [&str; 3] = ["] COPY ", "] ADD ", "] WORKDIR "];

/// What the daemon has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WrittenCache {
    /// Nothing: there was no result, or none with a layer.
    Nothing,
    /// The cache with this manifest. `None` if it is not stored as a manifest.
    Cache(Option<ManifestDescriptor>),
}

/// An export, and the solves of it that one job asks for.
type WorkPart<'w> = (&'w ExportWork<'w>, &'w [&'w ExportedSolve<'w>]);

/// What a cache holds that was written in several jobs: the last of them, and the content of all others.
pub(super) type WrittenInJobs = (WrittenCache, Option<CacheContent>);

/// Exports `work` to `cache`. With `keeps`, nothing that a local directory holds is removed from it.
pub(super) async fn run(
    cache: &SharedCache,
    work: &ExportWork<'_>,
    keeps: bool,
    shared: &SharedContext,
) -> Result<WrittenInJobs, SolveFailure> {
    let all: Vec<_> = work.solves.iter().collect();
    let failure = match run_one(cache, (work, &all), keeps, shared).await {
        Err(failure) if groups::are_needed(&failure) => failure,
        ended => return Ok((ended?, None)),
    };
    let groups = groups::of(&work.solves, &shared.directories).await;
    let place = CachePlace::of_export(cache, &shared.registries);
    let Some(place) = place.filter(|_| groups.len() > 1) else {
        return Err(groups::explained(failure));
    };
    let mut written = WrittenCache::Nothing;
    let mut others: Option<CacheContent> = None;
    for group in groups {
        if let WrittenCache::Cache(_) = written {
            let content = CacheContent::read(&place).await;
            let content = content.map_err(|error| build(&error))?;
            others = joined(others, content).map_err(|error| build(&error))?;
        }
        match run_one(cache, (work, &group), true, shared).await? {
            WrittenCache::Nothing => {}
            cache @ WrittenCache::Cache(_) => written = cache,
        }
    }
    Ok((written, others))
}

async fn run_one(
    cache: &SharedCache,
    part: WorkPart<'_>,
    keeps: bool,
    shared: &SharedContext,
) -> Result<WrittenCache, SolveFailure> {
    let stores = match cache.local.clone().map(|local| not_reset(local, keeps)) {
        Some(local) => unblock(move || caches::open_export(&local))
            .await
            .map_err(|error| build(&error))?,
        None => ServedCaches::default(),
    };
    let solve = || solve(cache, &cache.cache, stores.stores.clone(), part, shared);
    let exported = match solve().await {
        Err(failure) if objects::is_created_meanwhile(&failure) => solve().await,
        solved => solved,
    }?;
    let entered = stores.enter(&exported.response).await;
    entered.map_err(|error| build(&error))?;
    Ok(written(cache, exported.has_results, &exported.response))
}

/// Makes the cache of `work` in the form of `cache`, without its layers, which stay with the builder. Returns what it
/// consists of. `None` if there is nothing to export.
pub(super) async fn collect(
    cache: &SharedCache,
    work: &ExportWork<'_>,
    shared: &SharedContext,
) -> Result<Option<Result<CacheContent, PlaceError>>, SolveFailure> {
    let all: Vec<_> = work.solves.iter().collect();
    let failure = match collect_one(cache, (work, &all), shared).await {
        Err(failure) if groups::are_needed(&failure) => failure,
        ended => return ended,
    };
    let groups = groups::of(&work.solves, &shared.directories).await;
    if groups.len() < 2 {
        return Err(groups::explained(failure));
    }
    let mut content = None;
    for group in groups {
        let found = match collect_one(cache, (work, &group), shared)
            .await?
            .transpose()
        {
            Ok(found) => found,
            Err(reason) => return Ok(Some(Err(reason))),
        };
        content = match joined(content, found) {
            Ok(content) => content,
            Err(reason) => return Ok(Some(Err(reason))),
        };
    }
    Ok(content.map(Ok))
}

async fn collect_one(
    cache: &SharedCache,
    part: WorkPart<'_>,
    shared: &SharedContext,
) -> Result<Option<Result<CacheContent, PlaceError>>, SolveFailure> {
    let blobs = CollectedBlobs::default();
    let mut extra = cache.cache.extra.clone();
    extra.remove("registry.insecure");
    extra.insert("dest".to_owned(), COLLECTED.to_owned());
    let local = SolveCache {
        backend: CacheBackend::Local,
        image: None,
        extra,
        credentials: BTreeMap::new(),
    };
    let store = StoreAccess::Collect(blobs.clone());
    let stores = BTreeMap::from([(format!("local:{COLLECTED}"), store)]);
    let exported = solve(cache, &local, stores, part, shared).await?;
    let manifest = exported.response.get(MANIFEST);
    let manifest = manifest.filter(|_| exported.has_results);
    Ok(manifest.map(|manifest| CacheContent::collected(&blobs, manifest)))
}

/// A cache that holds everything of both.
pub(super) fn joined(
    one: Option<CacheContent>,
    other: Option<CacheContent>,
) -> Result<Option<CacheContent>, PlaceError> {
    match (one, other) {
        (Some(one), Some(other)) => one.joined(other).map(Some),
        (one, other) => Ok(one.or(other)),
    }
}

/// Runs the job that exports `solves` to `to`, for `cache`, with `stores` for local directories.
async fn solve(
    cache: &SharedCache,
    to: &SolveCache,
    mut stores: BTreeMap<String, StoreAccess>,
    (work, solves): WorkPart<'_>,
    shared: &SharedContext,
) -> Result<MergedResponse, SolveFailure> {
    let own = cache.cache.image.iter();
    let own = own.map(|name| name.reference().clone()).collect();
    let read = |solve: &ExportedSolve<'_>| {
        let mut read = images::of(solve.spec);
        read.extend(solve.ready.places.images.iter().cloned());
        read
    };
    let graph = shared.links.graph();
    let solves = work.with_inputs(solves, graph);
    let reads = solves.iter().flat_map(read).collect();
    let auth = Auth::new(Arc::clone(&shared.credentials)).for_images(own, reads);
    let mut session = SessionBuilder::new(SessionId::new()).attach(Arc::new(auth));
    let mut specs = Vec::new();
    for solve in &solves {
        let (spec, imports) = with_imports(solve, shared).await;
        specs.push(spec);
        for (id, import) in imports {
            // The export may go to the same directory, and needs more than an import.
            stores.entry(id).or_insert(import);
        }
        stores.extend(layouts::stores(&solve.ready.places));
    }
    if let Some(stores) = ContentStores::of(stores) {
        session = session.attach(Arc::new(stores));
    }
    let judge = MergedJudge::of(solves.iter().map(|solve| &solve.ready.policies));
    let judged = judge.as_ref().map(MergedJudge::judged).unwrap_or_default();
    if let Some(judge) = judge {
        session = session.attach(Arc::new(PolicyService(Arc::new(judge))));
    }
    let connection = shared.engine.connection();
    let sessions = SharedSessions::new(Arc::clone(connection), shared.setting.node.clone());
    let directories = shared.directories.again(sessions);
    let mut wanted = Vec::new();
    for solve in &solves {
        let (planned, places) = (&solve.ready.planned, &solve.ready.places);
        wanted.push(directories.wanted(planned, places).await);
    }
    let own = wanted.iter().filter_map(|wanted| wanted.own.as_ref());
    if let Some((files, key)) = groups::for_one_session(own) {
        session = session.attach(Arc::new(files)).shared_key(key);
    }
    let salvages = solves.iter().any(|solve| solve.salvaged().is_some());
    let names: Vec<&TargetName> = solves.iter().map(|solve| &solve.spec.target).collect();
    let again = solves.iter().zip(specs).zip(wanted);
    let again = again.map(|((solve, spec), wanted)| {
        let links = graph.links_of(&spec.target).iter().filter_map(|link| {
            let parent = names.iter().position(|name| **name == link.to)?;
            Some((link.context.to_string(), parent))
        });
        let links = links.collect();
        serve_again(&directories, wanted, solve, (spec, links), connection)
    });
    let (session, again) = futures_util::try_join!(
        session.open(connection),
        futures_util::future::try_join_all(again)
    )
    .map_err(|error| SolveFailure::new(FailureKind::Engine, in_one_line(&error)))?;
    let (solves, served): (Vec<_>, Vec<_>) = again.into_iter().unzip();
    let merged = MergedExport {
        build_ref: BuildRef::new(),
        session: Arc::new(session),
        cache: with_errors(to.clone()),
        solves,
        with_union: with_union(cache, shared),
        judged,
    };
    let failures: Vec<_> = served
        .iter()
        .map(|served| Box::pin(served.failed()))
        .collect();
    let guard = StepGuard::default();
    let events = if salvages {
        guard.watch()
    } else {
        EventSink::none()
    };
    let exported = tokio::select! {
        exported = shared.engine.export_merged(&merged, &events) => exported,
        (failure, ..) = futures_util::future::select_all(failures) => {
            Err(SolveFailure::new(FailureKind::Build, failure.to_string()))
        }
        failure = guard.ran() => Err(failure),
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
    exported
}

/// The solve with the caches that the job must import, and the directories from which it imports some. None if no step was
/// found in a cache.
async fn with_imports(
    solve: &ExportedSolve<'_>,
    shared: &SharedContext,
) -> (SolveSpec, BTreeMap<String, StoreAccess>) {
    let mut spec = solve.spec.clone();
    if !shared.steps.any_cached() {
        spec.cache_imports.clear();
        return (spec, BTreeMap::new());
    }
    let mut spec = CacheImports::with_known_parts(shared, spec);
    let wanted = solve.local_caches.to_vec();
    unblock(move || {
        let stores = caches::open_again(&wanted, &mut spec);
        (spec, stores)
    })
    .await
}

/// The export without the attribute by which the daemon ignores errors: it would not say that there was one, and the run
/// would report a cache that does not exist.
fn with_errors(mut cache: SolveCache) -> SolveCache {
    cache.extra.remove(IGNORE_ERROR);
    cache
}

/// What was written by an export that succeeded with `response`.
fn written(
    cache: &SharedCache,
    has_results: bool,
    response: &BTreeMap<String, String>,
) -> WrittenCache {
    let manifest = response.get(MANIFEST);
    let manifest = manifest.and_then(|text| ManifestDescriptor::parse(text));
    match (&cache.cache.backend, manifest) {
        _ if !has_results => WrittenCache::Nothing,
        (CacheBackend::Registry | CacheBackend::Local, None) => WrittenCache::Nothing,
        (_, manifest) => WrittenCache::Cache(manifest),
    }
}

/// Whether the daemon gives the cache one last record. Where rbake can change the cache that was written, it adds one itself,
/// which has no layers.
fn with_union(cache: &SharedCache, shared: &SharedContext) -> bool {
    match CachePlace::of_export(cache, &shared.registries) {
        Some(CachePlace::Registry { repository, .. }) => !repository.has_answered(),
        Some(CachePlace::Directory { .. }) => false,
        // A directory that does not exist yet.
        None => cache.local.is_none(),
    }
}

/// Ends a job that would run a step. It should find the results of all steps, but the daemon may have removed one, and
/// the job has no secrets.
#[derive(Debug, Clone, Default)]
struct StepGuard {
    ran: CancellationToken,
}

impl StepGuard {
    /// A sink for the events of the job. None of them is shown.
    fn watch(&self) -> EventSink {
        let ran = self.ran.clone();
        EventSink::none().map(move |kind| {
            if let EventKind::Progress { update, .. } = &kind
                && update.vertices.iter().any(runs)
            {
                ran.cancel();
            }
            kind
        })
    }

    /// Completes when a step begins.
    async fn ran(&self) -> SolveFailure {
        self.ran.cancelled().await;
        let message = "the builder no longer has the result of a step, and would run it again";
        SolveFailure::new(FailureKind::Build, message)
    }
}

/// Whether `vertex` is a step that is being executed, or was.
fn runs(vertex: &Vertex) -> bool {
    vertex.started.is_some()
        && !vertex.cached
        && !vertex.inputs.is_empty()
        && ran_steps::is_step(&vertex.name)
        && !COPIES.iter().any(|copy| vertex.name.contains(copy))
}

/// With `keeps`, a directory that is not emptied.
fn not_reset(local: LocalCache, keeps: bool) -> LocalCache {
    match local {
        LocalCache::Export {
            dir,
            name,
            tag,
            reset,
        } => LocalCache::Export {
            dir,
            name,
            tag,
            reset: reset && !keeps,
        },
        import @ LocalCache::Import { .. } => import,
    }
}

/// Opens new sessions for the directories of a solve that has ended.
///
/// With the sessions of that solve, the daemon would take its copies of the directories without a look at them, and
/// the cache would name them by the session instead of by their content, so that no other builder could use the
/// steps that copy from them. Their content is not sent again, because the keys of the copies are the same.
async fn serve_again(
    directories: &Directories,
    wanted: WantedDirectories,
    solve: &ExportedSolve<'_>,
    (spec, links): (SolveSpec, Vec<(String, usize)>),
    connection: &Arc<Connection>,
) -> Result<(EndedSolve, Served), SessionError> {
    let mut own = SessionBuilder::new(SessionId::new());
    if let Some((files, key)) = &wanted.own {
        own = own.attach(Arc::new(files.clone())).shared_key(key.clone());
    }
    let (own, served) = futures_util::try_join!(own.open(connection), directories.serve(wanted))?;
    let solve = EndedSolve {
        spec: served.complete(spec),
        sessions: Sessions {
            target: Arc::new(own),
            directories: served.sessions.clone(),
        },
        part: solve.part.clone(),
        links,
    };
    Ok((solve, served))
}

/// The failure that `error` is.
pub(super) fn build(error: &dyn std::error::Error) -> SolveFailure {
    SolveFailure::new(FailureKind::Build, in_one_line(error))
}
