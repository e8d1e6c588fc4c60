//! One solve, from its request to its end: the call itself, its progress, and everything that can end it early.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rbake_proto::control::SolveResponse;
use rbake_proto::gateway::SolveRequest;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Response, Status};
use tracing::Instrument as _;

use super::connection::Connection;
use super::gateway::{Gateway, JobFailure, JobHooks};
use super::session::Session;
use super::spec::{LocalName, SolveSpec};
use super::{failure, status, wire};
use crate::event::EventSink;
use crate::outcome::{FailureKind, SolveFailure, Solved, SpecialFiles};
use crate::types::secret::redact_urls;

/// The most time that the daemon may take to end a job after we returned an error instead of a result.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The most time that a daemon may continue to report progress of a solve that has ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// The same for a solve that was cancelled: the user waits for the end of the run.
const CANCELLED_DRAIN_LIMIT: Duration = Duration::from_millis(700);

/// The sessions that serve one solve.
#[derive(Debug, Clone)]
pub struct Sessions {
    /// The target's own session. It serves all directories that are not in `directories`.
    pub target: Arc<Session>,
    /// Other sessions, by the directory that they serve.
    pub directories: BTreeMap<LocalName, Arc<Session>>,
}

impl Sessions {
    /// Completes when any of the sessions is lost.
    async fn lost(&self, connection: &Connection) -> SolveFailure {
        let all = std::iter::once(&self.target).chain(self.directories.values());
        let any = futures_util::future::select_all(all.map(|session| Box::pin(session.lost())));
        let error = any.await.0;
        // If the connection was lost, its reason says more than the session's.
        match connection.end_reason().await {
            Some(reason) => failure::from_connection(&connection.lost_because(reason)),
            None => failure::from_session(&error),
        }
    }

    /// The ids of the sessions, for a job that has another session of its own: each directory that `spec` reads is
    /// named with the session that serves it.
    pub(super) fn ids_by_directory(&self, spec: &SolveSpec) -> wire::SessionIds {
        let mut ids = self.ids();
        for local in spec.locals() {
            let own = self.target.id();
            ids.directories.entry(local).or_insert_with(|| own.clone());
        }
        ids
    }

    /// The ids of the sessions.
    pub(super) fn ids(&self) -> wire::SessionIds {
        let directories = self.directories.iter();
        wire::SessionIds {
            target: self.target.id().clone(),
            directories: directories
                .map(|(local, session)| (local.clone(), session.id().clone()))
                .collect(),
        }
    }
}

/// The span of a solve of `spec`.
pub(super) fn span(spec: &SolveSpec) -> tracing::Span {
    tracing::info_span!("solve", build_ref = %spec.build_ref, target = %spec.target)
}

/// Runs `spec`. Dropping the future cancels the solve, as `cancel` does.
pub(super) async fn run(
    connection: &Arc<Connection>,
    spec: &SolveSpec,
    sessions: &Sessions,
    events: &EventSink,
    cancel: &CancellationToken,
    hooks: JobHooks,
) -> Result<Solved, SolveFailure> {
    let started = Instant::now();
    let finished = CancellationToken::new();
    let progress = status::follow(
        Arc::clone(connection),
        spec.build_ref.clone(),
        spec.target.clone(),
        events.clone(),
        finished.clone(),
    );
    let progress = AbortOnDropHandle::new(tokio::spawn(progress.in_current_span()));
    tracing::info!(
        session = %sessions.target.id(),
        directories = sessions.directories.len(),
        exports = spec.exports.len(),
        through_gateway = spec.through_gateway,
        "solve sent"
    );
    let result = tokio::select! {
        // A result that is ready counts, even if the solve was cancelled at the same time.
        biased;
        result = request(connection, spec, sessions, hooks) => result,
        () = cancel.cancelled() => Err(failure::cancelled()),
        failure = sessions.lost(connection) => Err(failure),
    };
    finished.cancel();
    log_end(&result, started);
    read_to_the_end(progress, cancel).await;
    result.map(|response| Solved {
        node_path: None,
        response,
        build_ref: spec.build_ref.to_string(),
        called: spec.subrequest.clone(),
        elapsed: started.elapsed(),
        size: None,
        made: None,
        special: SpecialFiles::default(),
    })
}

/// Waits until `progress` has the last updates. The builder ends each step of a solve that was cancelled, and says so.
async fn read_to_the_end(progress: AbortOnDropHandle<()>, cancel: &CancellationToken) {
    let mut progress = std::pin::pin!(progress);
    tokio::select! {
        _ = &mut progress => return,
        () = tokio::time::sleep(DRAIN_LIMIT) => return,
        () = cancel.cancelled() => {}
    }
    let _ = tokio::time::timeout(CANCELLED_DRAIN_LIMIT, progress).await;
}

/// Logs how a solve ended. What the daemon says of a failed step may quote values of arguments: that is for the user alone.
fn log_end<T>(result: &Result<T, SolveFailure>, started: Instant) {
    let milliseconds = started.elapsed().as_millis();
    match result {
        Ok(_) => tracing::info!(milliseconds, "solve ended"),
        Err(failure) => match failure.kind {
            FailureKind::Cancelled => tracing::info!(milliseconds, "solve cancelled"),
            FailureKind::Engine => tracing::error!(
                milliseconds,
                cause = %redact_urls(&failure.message),
                "solve interrupted, builder lost"
            ),
            kind => tracing::warn!(
                milliseconds,
                ?kind,
                vertex = failure.vertex.as_ref().map(tracing::field::display),
                exit_code = failure.exit_code,
                "solve failed"
            ),
        },
    }
}

type Outer = Result<Response<SolveResponse>, Status>;

/// Makes the calls of a solve, and returns the exporters' response. For a subrequest, the response includes the
/// frontend's metadata.
async fn request(
    connection: &Connection,
    spec: &SolveSpec,
    sessions: &Sessions,
    hooks: JobHooks,
) -> Result<BTreeMap<String, String>, SolveFailure> {
    let mut control = connection.control();
    let ids = sessions.ids();
    // Hundreds of targets wait for it at the same time, and every future that contains it would have its size.
    let mut outer = Box::pin(control.solve(wire::solve_request(spec, &ids)));
    if !spec.through_gateway {
        return ended(connection, outer.await).await;
    }
    let mut gateway = Gateway::new(connection, &spec.build_ref);
    // If `Solve` returns before the gateway answers, the job failed, and its status is the most specific error.
    let asking = SolveRequest {
        // Otherwise, steps run only after the result was returned.
        evaluate: hooks.evaluate_at_once(),
        ..wire::gateway_request(spec, &ids)
    };
    // Only one of these futures runs at a time, and all are large.
    let asked = tokio::select! {
        outer = &mut outer => return ended(connection, outer).await,
        asked = Box::pin(gateway.ask(asking, hooks)) => asked,
    };
    match asked {
        Ok(result) => {
            let answer = spec.subrequest.is_some().then(|| result.text_metadata());
            let outer = tokio::select! {
                outer = &mut outer => outer,
                returned = Box::pin(gateway.give_back(Ok(result))) => match returned {
                    Ok(()) => outer.await,
                    Err(status) => return Err(failure_of(connection, &status).await),
                },
            };
            let mut response = ended(connection, outer).await?;
            response.extend(answer.unwrap_or_default());
            Ok(response)
        }
        Err(refusal) => {
            let refuse = async {
                // An error here means that the job or the connection has already ended.
                let _ = gateway.give_back(Err(&refusal)).await;
                outer.await
            };
            let _ = tokio::time::timeout(REFUSAL_TIMEOUT, Box::pin(refuse)).await;
            Err(match refusal {
                JobFailure::Held(failure) => failure,
                JobFailure::Call(status) => failure_of(connection, &status).await,
            })
        }
    }
}

async fn ended(
    connection: &Connection,
    outer: Outer,
) -> Result<BTreeMap<String, String>, SolveFailure> {
    match outer {
        Ok(response) => Ok(response.into_inner().exporter_response),
        Err(status) => Err(failure_of(connection, &status).await),
    }
}

/// The loss of the connection if that caused `status`, otherwise the failure that `status` describes.
pub(super) async fn failure_of(connection: &Connection, status: &Status) -> SolveFailure {
    match connection.loss_behind(status).await {
        Some(loss) => failure::from_connection(&loss),
        None => failure::from_status(status),
    }
}
