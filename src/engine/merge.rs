//! One cache of several solves: a job that returns the results of all of them together, and whose cache export
//! therefore holds them all.
//!
//! BuildKit exports the cache of every ref of a job's result, whatever the keys of the refs mean
//! (`solver/llbsolver`, `runCacheExporters`). Without this, each target writes the cache to the shared place, and the
//! last one replaces the others.
//!
//! The job asks the frontend for each solve once more. The daemon has just made these results, so nothing is built
//! again. It forgets results of imported caches that it did not need to load, so the job imports the caches again. The job answers no secret: a step that would have to run again for lack of a cached result, and needs one,
//! fails the export and not the image.
//!
//! The results of targets that a solve links to are asked for in the same job: the definitions of the first time name
//! sessions, and steps that must not come from the cache.
//!
//! Of a solve that did not succeed, the job returns the results of the steps that finished. The frontend only describes
//! the build; the daemon builds nothing before it is asked for a result. So the description is cut, and the steps that
//! failed are not run again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rbake_proto::gateway::SolveRequest;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tracing::Instrument as _;

use super::connection::{Connection, is_from_peer};
use super::gateway::{FrontendResult, Gateway, JoinedResults, cut_to_finished};
use super::id::BuildRef;
use super::session::Session;
use super::solve::{Sessions, failure_of};
use super::source_policy::SourcePolicy;
use super::spec::{JudgedSources, NoCache, SolveCache, SolveContext, SolveSpec};
use super::steps::ReportedSteps;
use super::{status, wire};
use crate::event::EventSink;
use crate::outcome::SolveFailure;

/// A solve that has ended, and sessions that serve its directories.
#[derive(Debug, Clone)]
pub(crate) struct EndedSolve {
    /// The solve, with the caches that are imported again.
    pub(crate) spec: SolveSpec,
    /// Its sessions.
    pub(crate) sessions: Sessions,
    /// What becomes of its result.
    pub(crate) part: SolvePart,
    /// The solves whose results it takes as contexts, with the names of these contexts. They are indexes of earlier solves of
    /// the export.
    pub(crate) links: Vec<(String, usize)>,
}

/// What becomes of the result of a solve that a job asks for again.
#[derive(Debug, Clone)]
pub(crate) enum SolvePart {
    /// It is exported.
    Exported,
    /// The solve did not succeed: only those of these steps that finished are exported.
    Salvaged(ReportedSteps),
    /// It is only the input of other solves.
    Input,
}

/// What came of an export.
#[derive(Debug, Clone, Default)]
pub(crate) struct MergedResponse {
    /// The exporter's response, which may name the manifest of the cache.
    pub(crate) response: BTreeMap<String, String>,
    /// Whether something was exported: there was at least one result.
    pub(crate) has_results: bool,
}

/// The export of one cache of several solves.
#[derive(Debug)]
pub(crate) struct MergedExport {
    /// The id of the job.
    pub(crate) build_ref: BuildRef,
    /// The session that answers for credentials and local directories of caches.
    pub(crate) session: Arc<Session>,
    /// Where the cache is written.
    pub(crate) cache: SolveCache,
    /// The solves. Each comes after those that it links to.
    pub(crate) solves: Vec<EndedSolve>,
    /// Whether the job also returns a result that depends on all others, so that the cache has one last record.
    pub(crate) with_union: bool,
    /// What the session decides about. Steps that reach the network through the daemon's proxy are other steps.
    pub(crate) judged: JudgedSources,
}

impl MergedExport {
    /// The privileges of all solves together. The daemon checks them although no step runs.
    fn entitlements(&self) -> BTreeSet<String> {
        let all = self.solves.iter().map(|solve| &solve.spec);
        all.flat_map(wire::entitlements).collect()
    }

    /// The caches that the solves import, each once.
    fn imports(&self) -> Vec<SolveCache> {
        let mut imports: Vec<SolveCache> = Vec::new();
        for cache in self
            .solves
            .iter()
            .flat_map(|solve| &solve.spec.cache_imports)
        {
            if !imports.contains(cache) {
                imports.push(cache.clone());
            }
        }
        imports
    }

    /// The request to the frontend for a solve, after `answers` to those before it.
    ///
    /// # Errors
    /// A solve that it links to has no result.
    fn request(
        solve: &EndedSolve,
        answers: &[Result<FrontendResult, Status>],
    ) -> Result<SolveRequest, Status> {
        let mut spec = SolveSpec {
            // The target has just been built without the cache; what it made is what is exported.
            no_cache: NoCache::Nothing,
            attestations: Vec::new(),
            cache_exports: Vec::new(),
            exports: Vec::new(),
            ..solve.spec.clone()
        };
        for (context, parent) in &solve.links {
            let answer = answers.get(*parent).cloned();
            let answer = answer.unwrap_or_else(|| Err(Status::aborted("not asked yet")))?;
            if let Some(SolveContext::Linked { results, .. }) = spec.named_contexts.get_mut(context)
            {
                let linked = answer.linked();
                *results = linked.map_err(|error| Status::aborted(error.to_string()))?;
            }
        }
        let ids = solve.sessions.ids_by_directory(&spec);
        Ok(wire::gateway_request(&spec, &ids))
    }
}

/// Runs the job of `merged`. Dropping the future ends the job.
pub(super) async fn run(
    connection: &Arc<Connection>,
    merged: &MergedExport,
    events: &EventSink,
) -> Result<MergedResponse, SolveFailure> {
    let Some(first) = merged.solves.first() else {
        return Ok(MergedResponse::default());
    };
    let finished = CancellationToken::new();
    let progress = status::follow(
        Arc::clone(connection),
        merged.build_ref.clone(),
        first.spec.target.clone(),
        events.clone(),
        finished.clone(),
    );
    let _progress = AbortOnDropHandle::new(tokio::spawn(progress.in_current_span()));
    let mut control = connection.control();
    let mut request = wire::cache_request(
        &merged.build_ref,
        merged.session.id(),
        &merged.cache,
        merged.entitlements(),
    );
    // The frontends are asked again, and must find the same sources.
    let policy = first.spec.source_policy.as_ref();
    request.source_policy = policy.map(SourcePolicy::to_message);
    if merged.judged.are_any() {
        request.source_policy_session = merged.session.id().to_string();
    }
    request.proxy_network = merged.judged.through_proxy();
    let outer = control.solve(request);
    let mut outer = std::pin::pin!(outer);
    let mut gateway = Gateway::new(connection, &merged.build_ref);
    let returned = async {
        match join(&mut gateway, merged).await {
            // An empty cache must not replace the one that is there.
            Ok(joined) if joined.is_empty() => {
                let nothing = Status::aborted("no finished steps");
                gateway.return_joined(Err(nothing)).await.map(|()| false)
            }
            joined => gateway.return_joined(joined).await.map(|()| true),
        }
    };
    let mut has_results = true;
    let ended = tokio::select! {
        ended = &mut outer => ended,
        returned = returned => match returned {
            Ok(returned) => {
                has_results = returned;
                outer.await
            }
            Err(status) => Err(status),
        },
    };
    match ended {
        _ if !has_results => Ok(MergedResponse::default()),
        Ok(response) => Ok(MergedResponse {
            response: response.into_inner().exporter_response,
            has_results,
        }),
        Err(status) => Err(failure_of(connection, &status).await),
    }
}

/// Asks for all results, one after the other: each is in the daemon's cache.
async fn join(gateway: &mut Gateway, merged: &MergedExport) -> Result<JoinedResults, Status> {
    gateway.ping().await?;
    let mut joined = JoinedResults::default();
    let mut answers = Vec::with_capacity(merged.solves.len());
    for solve in &merged.solves {
        let asked = match MergedExport::request(solve, &answers) {
            Ok(request) => gateway.solve(request).await,
            Err(status) => Err(status),
        };
        answers.push(asked.clone());
        match &solve.part {
            SolvePart::Exported => joined.add(asked?),
            // Those that need it have no result, either.
            SolvePart::Input => {}
            SolvePart::Salvaged(steps) => match asked {
                Ok(described) => {
                    add_finished(gateway, &described, (solve, steps), &mut joined).await?;
                }
                // The frontend has failed before, or its input has changed since. The others need not suffer from it.
                Err(status) if is_from_peer(&status) => {
                    tracing::info!(target.name = %solve.spec.target, cause = %status.message(), "not described again");
                }
                Err(status) => return Err(status),
            },
        }
    }
    let union = joined.union().filter(|_| merged.with_union);
    if let Some(union) = union {
        match gateway
            .solve(wire::definition_request(union, &merged.imports()))
            .await
        {
            Ok(union) => joined.add(union),
            // The daemon may be unable to merge file systems. Without the union, builders may lose steps of the cache.
            Err(status) if is_from_peer(&status) => {
                tracing::info!(cause = %status.message(), "the results of the cache are not joined");
            }
            Err(status) => return Err(status),
        }
    }
    Ok(joined)
}

/// Adds the results of the steps that finished, of a build that `described` describes.
async fn add_finished(
    gateway: &mut Gateway,
    described: &FrontendResult,
    (solve, steps): (&EndedSolve, &ReportedSteps),
    joined: &mut JoinedResults,
) -> Result<(), Status> {
    let described = described.linked().unwrap_or_default();
    for definition in described.into_iter().filter_map(|one| one.definition) {
        let Ok(cut) = cut_to_finished(&definition, steps) else {
            continue;
        };
        tracing::debug!(results = cut.len(), "definition cut to finished steps");
        for definition in cut {
            match gateway
                .solve(wire::definition_request(
                    definition,
                    &solve.spec.cache_imports,
                ))
                .await
            {
                Ok(result) => joined.add(result),
                // The daemon may have removed a result meanwhile.
                Err(status) if is_from_peer(&status) => {
                    tracing::info!(cause = %status.message(), "a finished step has no result");
                }
                Err(status) => return Err(status),
            }
        }
    }
    Ok(())
}
