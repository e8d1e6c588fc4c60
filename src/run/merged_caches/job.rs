//! The job that exports a cache, and what it needs: sessions, and directories that are served again.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::SharedCache;
use super::work::{ExportWork, ExportedSolve};
use crate::engine::session::content::LayoutError;
use crate::engine::session::{Auth, SessionBuilder, SharedSessions};
use crate::engine::{
    BuildRef, Connection, EndedSolve, MergedExport, MergedResponse, SessionError, SessionId,
    Sessions,
};
use crate::event::{EventKind, EventSink, Vertex};
use crate::outcome::{FailureKind, SolveFailure};
use crate::run::caches::{self, ServedCaches};
use crate::run::directories::{Directories, Served};
use crate::run::lower::LocalCache;
use crate::run::shared_context::SharedContext;
use crate::run::{images, ran_steps};
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;

/// Steps that only copy files. The daemon sometimes copies once more, to compute the key of a later step.
const COPIES: [&str; 3] = ["] COPY ", "] ADD ", "] WORKDIR "];

/// Exports `work` to `cache`. Returns whether a cache was written. With `keeps`, nothing that a local directory holds is
/// removed from it.
pub(super) async fn run(
    cache: &SharedCache,
    work: &ExportWork<'_>,
    keeps: bool,
    shared: &SharedContext,
) -> Result<bool, SolveFailure> {
    let stores = match cache.local.clone().map(|local| not_reset(local, keeps)) {
        Some(local) => unblock(move || caches::open_export(&local))
            .await
            .map_err(|error| build(&error))?,
        None => ServedCaches::default(),
    };
    let own = cache.cache.image.iter();
    let own = own.map(|name| name.reference().clone()).collect();
    let read = |solve: &ExportedSolve<'_>| {
        let mut read = images::of(solve.spec);
        read.extend(solve.ready.places.images.iter().cloned());
        read
    };
    let reads = work.solves.iter().flat_map(read).collect();
    let auth = Auth::new(Arc::clone(&shared.credentials)).for_images(own, reads);
    let mut session = SessionBuilder::new(SessionId::new()).attach(Arc::new(auth));
    if let Some(stores) = stores.stores.clone() {
        session = session.attach(Arc::new(stores));
    }
    let connection = shared.engine.connection();
    let sessions = SharedSessions::new(Arc::clone(connection), shared.setting.node.clone());
    let directories = shared.directories.again(sessions);
    let again = work.solves.iter();
    let again = again.map(|solve| serve_again(&directories, solve, connection));
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
    let guard = StepGuard::default();
    let events = if work.has_salvage() {
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
    let MergedResponse {
        response,
        has_results,
    } = exported?;
    let entered = stores.enter(&response).await;
    entered.map_err(|error| build(&error))?;
    Ok(has_results)
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
    solve: &ExportedSolve<'_>,
    connection: &Arc<Connection>,
) -> Result<(EndedSolve, Served), SessionError> {
    let (planned, places) = (&solve.ready.planned, &solve.ready.places);
    let wanted = directories.wanted(planned, places).await;
    let mut own = SessionBuilder::new(SessionId::new());
    if let Some((files, key)) = &wanted.own {
        own = own.attach(Arc::new(files.clone())).shared_key(key.clone());
    }
    let (own, served) = futures_util::try_join!(own.open(connection), directories.serve(wanted))?;
    let solve = EndedSolve {
        spec: solve.spec.clone(),
        sessions: Sessions {
            target: Arc::new(own),
            directories: served.sessions.clone(),
        },
        steps: solve.steps.clone(),
    };
    Ok((solve, served))
}

fn build(error: &LayoutError) -> SolveFailure {
    SolveFailure::new(FailureKind::Build, in_one_line(error))
}
