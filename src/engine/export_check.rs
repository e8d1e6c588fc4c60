//! Asks the daemon whether it can export a cache, before anything is built.

use std::collections::BTreeSet;
use std::time::Duration;

use rbake_proto::control::SolveRequest;

use super::connection::Connection;
use super::gateway::Gateway;
use super::id::{BuildRef, SessionId};
use super::solve::failure_of;
use super::spec::SolveCache;
use super::wire;
use crate::outcome::SolveFailure;

/// How long the daemon may look at the attributes. For some caches it asks the storage.
const PATIENCE: Duration = Duration::from_secs(3);

/// Begins a job that would export `cache`, and ends it as soon as it exists: before that, the daemon checks the attributes
/// (`Solve` in BuildKit's `control/control.go`). The job builds and exports nothing, and the history does not list it.
///
/// # Errors
/// The daemon refuses to export the cache. If it has not answered in time, this is not known, and not an error.
pub(super) async fn run(connection: &Connection, cache: &SolveCache) -> Result<(), SolveFailure> {
    let mut control = connection.control();
    let build_ref = BuildRef::new();
    let job = control.solve(SolveRequest {
        session: String::new(),
        ..wire::cache_request(&build_ref, &SessionId::new(), cache, BTreeSet::new())
    });
    let mut gateway = Gateway::new(connection, &build_ref);
    let ended = tokio::select! {
        biased;
        ended = job => ended,
        // Dropping the call ends the job. If its result were returned, even an empty one, the daemon would write a cache.
        _ = gateway.ping() => return Ok(()),
        () = tokio::time::sleep(PATIENCE) => return Ok(()),
    };
    match ended {
        Ok(_) => Ok(()),
        Err(status) => Err(failure_of(connection, &status).await),
    }
}
