//! The client of BuildKit: connections, sessions, solves.
//!
//! This module does not know bake files: its input is a [`spec::SolveSpec`]. Start at [`Engine`]: connect, ask for
//! the daemon's capabilities, open sessions, solve.

mod anchor;
pub(crate) mod answer;
pub(crate) mod cache_records;
pub(crate) mod capability;
pub(crate) mod connection;
pub mod docker;
pub(crate) mod download;
pub mod endpoint;
mod export_check;
pub(crate) mod facts;
pub mod failure;
pub(crate) mod gateway;
mod history;
pub(crate) mod id;
mod image;
pub(crate) mod kubernetes;
pub(crate) mod llb;
mod merge;
mod messages;
pub(crate) mod pulse;
mod rehearsal;
pub mod session;
mod solve;
mod source_policy;
pub mod spec;
mod status;
mod steps;
pub(crate) mod traffic;
pub mod transport;
mod tree_reader;
mod wire;

use std::fmt;
use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub(crate) use anchor::Anchor;
pub(crate) use capability::Capabilities;
pub use connection::{Connection, ConnectionError};
pub use endpoint::Endpoint;
pub use gateway::FrontendResult;
pub(crate) use gateway::{
    FilesUnreachable, Hold, JobEntry, JobEntryKind, JobFiles, JobHooks, ReadHook,
};
pub(crate) use history::{HistoryError, RecordedProvenance};
pub use id::{BuildRef, SessionId};
pub(crate) use merge::{EndedSolve, MergedExport, MergedResponse, SolvePart};
pub use pulse::Patience;
pub(crate) use rehearsal::RehearsedSolve;
pub(crate) use session::SessionError;
pub use session::{Session, SessionBuilder};
pub use solve::Sessions;
pub(crate) use source_policy::{InvalidSourcePolicy, SourcePolicy};
pub(crate) use spec::SolveSpec;
pub(crate) use steps::ReportedSteps;
pub(crate) use traffic::Traffic;
pub(crate) use tree_reader::TreeReader;

use crate::event::EventSink;
use crate::outcome::{SolveFailure, Solved};

/// A connected BuildKit daemon.
pub struct Engine {
    connection: Arc<Connection>,
    capabilities: OnceCell<Capabilities>,
}

impl Engine {
    /// Connects to the daemon at `endpoint`.
    pub async fn connect(endpoint: Endpoint) -> Result<Self, ConnectionError> {
        Connection::open(endpoint).await.map(Self::over)
    }

    /// Wraps a connection that is already open.
    pub fn over(connection: Connection) -> Self {
        Self {
            connection: Arc::new(connection),
            capabilities: OnceCell::new(),
        }
    }

    /// The connection that sessions are opened on.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The address of the daemon.
    pub fn endpoint(&self) -> &Endpoint {
        self.connection.endpoint()
    }

    /// The number of bytes that have gone through the connection so far.
    pub fn traffic(&self) -> Traffic {
        self.connection.traffic()
    }

    /// What the daemon can do. The daemon is asked once; later calls return the same answer.
    pub async fn capabilities(&self) -> Result<&Capabilities, SolveFailure> {
        let ask = || capability::probe(&self.connection);
        self.capabilities.get_or_try_init(ask).await
    }

    /// Runs `spec`, served by `sessions`, and sends progress to `events`.
    ///
    /// Returns soon after `cancel` is cancelled. Both cancelling and dropping the future also end the daemon's work.
    pub async fn solve(
        &self,
        spec: &SolveSpec,
        sessions: &Sessions,
        events: &EventSink,
        cancel: &CancellationToken,
    ) -> Result<Solved, SolveFailure> {
        let hooks = JobHooks::default();
        let run = solve::run(&self.connection, spec, sessions, events, cancel, hooks);
        Box::pin(run.instrument(solve::span(spec))).await
    }

    /// Like [`Engine::solve`], but always through the gateway, whatever `spec` says. Passes the frontend's result to
    /// `hold`, and continues the solve when the future of `hold` completes.
    pub async fn solve_held(
        &self,
        spec: &SolveSpec,
        sessions: &Sessions,
        events: &EventSink,
        cancel: &CancellationToken,
        hold: Hold,
    ) -> Result<Solved, SolveFailure> {
        let hooks = JobHooks {
            hold: Some(hold),
            ..JobHooks::default()
        };
        self.solve_with(spec, sessions, events, cancel, hooks).await
    }

    /// Like [`Engine::solve`], but always through the gateway, whatever `spec` says, with `hooks`.
    pub(crate) async fn solve_with(
        &self,
        spec: &SolveSpec,
        sessions: &Sessions,
        events: &EventSink,
        cancel: &CancellationToken,
        hooks: JobHooks,
    ) -> Result<Solved, SolveFailure> {
        let spec = SolveSpec {
            through_gateway: true,
            ..spec.clone()
        };
        let run = solve::run(&self.connection, &spec, sessions, events, cancel, hooks);
        Box::pin(run.instrument(solve::span(&spec))).await
    }

    /// Begins a job that keeps the steps of a solve in the daemon: of `spec`, served by `sessions`, whose frontend has
    /// answered `result`. Until all steps have run, cancelling `halt` ends the job.
    pub(crate) fn anchor(
        &self,
        spec: &SolveSpec,
        sessions: &Sessions,
        result: &FrontendResult,
        halt: CancellationToken,
    ) -> Anchor {
        Anchor::begin(&self.connection, spec, sessions, result, halt)
    }

    /// Exports one cache of several solves, and sends progress to `events`. Dropping the future ends the job.
    pub(crate) async fn export_merged(
        &self,
        merged: &MergedExport,
        events: &EventSink,
    ) -> Result<MergedResponse, SolveFailure> {
        let span = tracing::info_span!("merged cache", build_ref = %merged.build_ref);
        Box::pin(merge::run(&self.connection, merged, events).instrument(span)).await
    }

    /// Runs `work`, which reads files of file systems that the daemon makes, in a job that `session` serves. Dropping the
    /// future ends the job.
    pub(crate) async fn read_trees<'c, T, E, W>(
        &'c self,
        session: &Session,
        work: impl FnOnce(TreeReader<'c>) -> W,
    ) -> Result<T, E>
    where
        W: Future<Output = Result<T, E>>,
        E: From<SolveFailure>,
    {
        let job = tree_reader::Job {
            session: Some(session),
            ..tree_reader::Job::default()
        };
        tree_reader::run(&self.connection, job, work).await
    }

    /// What each of `solves` would read of its main context, in their order: `None` if that is not known. Asks the frontends, and
    /// builds nothing. `session` is that of the job: it has credentials. Dropping the future ends the job.
    ///
    /// # Errors
    /// The daemon does not run the job.
    pub(crate) async fn rehearse(
        &self,
        session: &Arc<Session>,
        solves: &[RehearsedSolve],
    ) -> Result<Vec<Option<llb::ContextRead>>, SolveFailure> {
        Box::pin(rehearsal::run(&self.connection, session, solves)).await
    }

    /// Whether the daemon accepts the attributes of `cache`, which is to be exported. Builds nothing.
    ///
    /// # Errors
    /// Those of the daemon. None if it does not answer within seconds.
    pub(crate) async fn check_cache_export(
        &self,
        cache: &spec::SolveCache,
    ) -> Result<(), SolveFailure> {
        export_check::run(&self.connection, cache).await
    }

    /// The compressed size of the image `digest` in bytes, all platforms together. `None` if the daemon does not have
    /// its manifests.
    pub(crate) async fn image_size(&self, digest: &crate::types::Digest) -> Option<u64> {
        image::size(&self.connection, digest).await
    }

    /// The manifests of the platforms of the image `digest`. `None` if the daemon does not have it.
    pub(crate) async fn image_manifests(
        &self,
        digest: &crate::types::Digest,
    ) -> Option<Vec<crate::types::Digest>> {
        image::manifests(&self.connection, digest).await
    }

    /// A content of the daemon's store, such as a manifest. `None` if it cannot be read, or has more than `limit` bytes.
    /// Its digest was checked.
    pub(crate) async fn content(
        &self,
        digest: &crate::types::Digest,
        limit: usize,
    ) -> Option<bytes::Bytes> {
        image::content(&self.connection, digest, limit).await
    }

    /// The provenance that the daemon recorded of the build `build_ref`, which has ended. Empty if it has none, or keeps no
    /// history.
    pub(crate) async fn provenance(
        &self,
        build_ref: &BuildRef,
    ) -> Result<Vec<RecordedProvenance>, HistoryError> {
        history::provenance(&self.connection, build_ref).await
    }

    /// Opens a content of the daemon's store, of any size. Its digest is not checked.
    ///
    /// # Errors
    /// The daemon does not have it, or does not serve its store.
    pub(crate) async fn open_content(
        &self,
        digest: &crate::types::Digest,
    ) -> Result<
        impl futures_util::Stream<Item = Result<bytes::Bytes, tonic::Status>> + Send + 'static + use<>,
        tonic::Status,
    > {
        image::open_content(&self.connection, digest).await
    }

    /// Ends the connection. Waits a moment first, so that cancellations still reach the daemon.
    pub async fn close(&self) {
        self.connection.close().await;
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Engine").field(self.endpoint()).finish()
    }
}
