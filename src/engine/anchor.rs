//! A job that keeps the steps of a target in the daemon while other targets use its result.
//!
//! BuildKit forgets the state of a step when the last job that has loaded it ends (`solver/jobs.go`,
//! `deleteIfUnreferenced`), and what it knows of a request, for the provenance of the solves that have its result as an
//! input, when the job of that request ends (`solver/llbsolver/provenance_store.go`). A job loads its steps only when they
//! are to run, not when the frontend has answered. So a target that ends early, all of whose steps were cached for example,
//! may be gone before a target that uses it begins to run: steps that must not come from the cache would run once more, and
//! the provenance of the user would lack the request of its input.
//!
//! The anchor prevents both: it makes the same request to the frontend, runs the same steps together with the target's own
//! job, and stays until it is released. Its result is thrown away.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tracing::Instrument as _;

use super::connection::Connection;
use super::gateway::{FrontendResult, Gateway};
use super::id::BuildRef;
use super::solve::Sessions;
use super::spec::{MainContext, SolveSpec};
use super::wire;

/// The most time that the daemon may take to end the job after its release.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// A job that keeps the steps of a target in the daemon. Dropping it ends the job, without waiting for the daemon.
#[derive(Debug)]
pub(crate) struct Anchor {
    ready: CancellationToken,
    release: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Anchor {
    /// Begins the job for a solve of `spec` that is served by `sessions`, and whose frontend has answered `result`. Until all
    /// steps have run, cancelling `halt` ends it.
    pub(super) fn begin(
        connection: &Arc<Connection>,
        spec: &SolveSpec,
        sessions: &Sessions,
        result: &FrontendResult,
        halt: CancellationToken,
    ) -> Self {
        let (ready, release) = (CancellationToken::new(), CancellationToken::new());
        let work = AnchorJob {
            connection: Arc::clone(connection),
            spec: SolveSpec {
                build_ref: BuildRef::new(),
                // The history lists what the user asked for.
                internal: true,
                exports: Vec::new(),
                cache_exports: Vec::new(),
                through_gateway: true,
                ..spec.clone()
            },
            sessions: sessions.clone(),
            definitions: result.definitions(),
            ready: ready.clone(),
            release: release.clone(),
            halt,
        };
        let span = tracing::info_span!("anchor", target = %spec.target);
        let work = async move {
            // Also if the job has failed: nothing may wait for it then.
            let _at_end = work.ready.clone().drop_guard();
            work.run().await;
        };
        let task = AbortOnDropHandle::new(tokio::spawn(work.instrument(span)));
        Self {
            ready,
            release,
            task,
        }
    }

    /// Completes when the job has run all steps, or has ended.
    pub(crate) fn ready(&self) -> impl Future<Output = ()> + Send + use<> {
        self.ready.clone().cancelled_owned()
    }

    /// Ends the job, and waits a moment for the daemon.
    pub(crate) async fn release(self) {
        self.release.cancel();
        let _ = tokio::time::timeout(RELEASE_TIMEOUT, self.task).await;
    }
}

struct AnchorJob {
    connection: Arc<Connection>,
    spec: SolveSpec,
    sessions: Sessions,
    /// What the target's own job runs: asked once more, the frontend may find another base image.
    definitions: Vec<Bytes>,
    ready: CancellationToken,
    release: CancellationToken,
    halt: CancellationToken,
}

impl AnchorJob {
    /// Whether the frontend is asked again. If the context is an input, BuildKit notes in the second request what the first one
    /// has made of it, finds that the two differ, and then leaves both out of the provenance. With one request it is only
    /// left out if the target ends before a target that uses it has begun.
    const fn repeats_request(&self) -> bool {
        !matches!(self.spec.context, MainContext::Input(_))
    }

    /// Runs the job. That it fails is not an error: the target's own job fails for the same reason, or nothing is lost but
    /// what the module's documentation says.
    async fn run(&self) {
        let ids = self.sessions.ids();
        let mut control = self.connection.control();
        let outer = control.solve(wire::solve_request(&self.spec, &ids));
        let mut outer = std::pin::pin!(outer);
        let mut gateway = Gateway::new(&self.connection, &self.spec.build_ref);
        let load = async {
            gateway.ping().await?;
            if self.repeats_request() {
                let request = wire::gateway_request(&self.spec, &ids);
                if let Err(status) = gateway.solve(request).await {
                    tracing::info!(code = ?status.code(), "the frontend does not repeat its answer");
                }
            }
            let steps = self.definitions.iter().map(|definition| {
                let request =
                    wire::definition_request(definition.clone(), &self.spec.cache_imports);
                let mut gateway = gateway.clone();
                async move { gateway.solve(request).await.map(drop) }
            });
            futures_util::future::try_join_all(steps).await.map(drop)
        };
        let loaded: Result<(), Status> = tokio::select! {
            ended = &mut outer => ended.map(drop),
            loaded = load => loaded,
            () = self.halt.cancelled() => return,
        };
        match loaded {
            Ok(()) => tracing::debug!("steps are kept"),
            Err(status) => {
                tracing::info!(code = ?status.code(), "steps are not kept");
                return;
            }
        }
        self.ready.cancel();
        tokio::select! {
            _ = &mut outer => return,
            () = self.release.cancelled() => {}
        }
        let end = async {
            // An error ends the job without work on its result.
            let _ = gateway
                .return_joined(Err(Status::aborted("released")))
                .await;
            let _ = outer.await;
        };
        end.await;
    }
}
