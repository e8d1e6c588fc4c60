//! One cache of several solves: a job that returns the results of all of them together, and whose cache export
//! therefore holds them all.
//!
//! BuildKit exports the cache of every ref of a job's result, whatever the keys of the refs mean
//! (`solver/llbsolver`, `runCacheExporters`). Without this, each target writes the cache to the shared place, and the
//! last one replaces the others.
//!
//! The job asks the frontend for each solve once more. The daemon has just made these results, so nothing is built
//! again. The job answers no secret: a step that would have to run again for lack of a cached result, and needs one,
//! fails the export and not the image.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rbake_proto::gateway::SolveRequest;
use tonic::Status;

use super::connection::Connection;
use super::gateway::{Gateway, JoinedResults};
use super::id::BuildRef;
use super::session::Session;
use super::solve::{Sessions, failure_of};
use super::spec::{NoCache, SolveCache, SolveSpec};
use super::wire;
use crate::outcome::SolveFailure;

/// A solve that has succeeded, and sessions that serve its directories.
#[derive(Debug, Clone)]
pub(crate) struct FinishedSolve {
    /// The solve.
    pub(crate) spec: SolveSpec,
    /// Its sessions.
    pub(crate) sessions: Sessions,
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
    /// The solves.
    pub(crate) solves: Vec<FinishedSolve>,
}

impl MergedExport {
    /// The privileges of all solves together. The daemon checks them although no step runs.
    fn entitlements(&self) -> BTreeSet<String> {
        let all = self.solves.iter().map(|solve| &solve.spec);
        all.flat_map(wire::entitlements).collect()
    }

    /// The requests to the frontend, one for each solve.
    fn requests(&self) -> impl Iterator<Item = SolveRequest> {
        self.solves.iter().map(|solve| {
            let spec = SolveSpec {
                // The target has just been built without the cache; what it made is what is exported.
                no_cache: NoCache::Nothing,
                cache_imports: Vec::new(),
                attestations: Vec::new(),
                cache_exports: Vec::new(),
                exports: Vec::new(),
                ..solve.spec.clone()
            };
            wire::gateway_request(&spec, &solve.sessions.ids_by_directory(&spec))
        })
    }
}

/// Runs the job of `merged`. Returns the exporter's response, which names the manifest of the cache. Dropping the
/// future ends the job.
pub(super) async fn run(
    connection: &Arc<Connection>,
    merged: &MergedExport,
) -> Result<BTreeMap<String, String>, SolveFailure> {
    let mut control = connection.control();
    let request = wire::cache_request(
        &merged.build_ref,
        merged.session.id(),
        &merged.cache,
        merged.entitlements(),
    );
    let outer = control.solve(request);
    let mut outer = std::pin::pin!(outer);
    let mut gateway = Gateway::new(connection, &merged.build_ref);
    let returned = async {
        let joined = join(&mut gateway, merged).await;
        gateway.return_joined(joined).await
    };
    let ended = tokio::select! {
        ended = &mut outer => ended,
        returned = returned => match returned {
            Ok(()) => outer.await,
            Err(status) => Err(status),
        },
    };
    match ended {
        Ok(response) => Ok(response.into_inner().exporter_response),
        Err(status) => Err(failure_of(connection, &status).await),
    }
}

/// Asks for all results, one after the other: each is in the daemon's cache.
async fn join(gateway: &mut Gateway, merged: &MergedExport) -> Result<JoinedResults, Status> {
    gateway.ping().await?;
    let mut joined = JoinedResults::default();
    for request in merged.requests() {
        joined.add(gateway.solve(request).await?);
    }
    Ok(joined)
}
