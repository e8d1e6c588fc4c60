//! A job in which files of file systems are read that rbake describes itself: a definition that is fetched from a
//! repository, for example. Nothing is built.

use std::collections::BTreeSet;
use std::time::Duration;

use rbake_proto::control::{CacheOptions, SolveRequest};
use tonic::Status;

use super::connection::Connection;
use super::failure;
use super::gateway::{Gateway, JobFiles};
use super::id::BuildRef;
use super::llb::LlbTree;
use super::session::Session;
use super::solve::failure_of;
use super::wire;
use crate::outcome::SolveFailure;

/// The most time that the daemon may take to end the job after all files were read.
const END_LIMIT: Duration = Duration::from_secs(5);

/// What a job is given.
#[derive(Default)]
pub(super) struct Job<'s> {
    /// The session that gives the daemon credentials and directories.
    pub(super) session: Option<&'s Session>,
    /// The privileges of its steps, even if they do not run.
    pub(super) entitlements: BTreeSet<String>,
}

/// Reads file systems in a job.
pub(crate) struct TreeReader<'c> {
    connection: &'c Connection,
    gateway: Gateway,
}

impl TreeReader<'_> {
    /// Has the daemon make `tree`, and returns its files. `None` if it has none.
    ///
    /// # Errors
    /// The daemon cannot make it: there is no such repository, for example.
    pub(crate) async fn open(&self, tree: &LlbTree) -> Result<Option<JobFiles>, SolveFailure> {
        let request = wire::definition_request(tree.definition(), &[]);
        let mut gateway = self.gateway.clone();
        match gateway.solve(request).await {
            Ok(result) => Ok(JobFiles::of_result(&gateway, &result).into_iter().next()),
            Err(status) => Err(self.failure(&status).await),
        }
    }

    /// The calls of the job.
    pub(super) fn gateway(&self) -> Gateway {
        self.gateway.clone()
    }

    /// What `status` means, which a call of [`JobFiles`] has returned.
    pub(crate) async fn failure(&self, status: &Status) -> SolveFailure {
        failure_of(self.connection, status).await
    }
}

/// Runs `work` in `job`, which does not appear in the daemon's history.
pub(super) async fn run<'c, T, E, W>(
    connection: &'c Connection,
    job: Job<'_>,
    work: impl FnOnce(TreeReader<'c>) -> W,
) -> Result<T, E>
where
    W: Future<Output = Result<T, E>>,
    E: From<SolveFailure>,
{
    let Job {
        session,
        entitlements,
    } = job;
    let build_ref = BuildRef::new();
    let mut control = connection.control();
    let outer = control.solve(SolveRequest {
        r#ref: build_ref.to_string(),
        session: session
            .map(|session| session.id().to_string())
            .unwrap_or_default(),
        internal: true,
        entitlements: entitlements.into_iter().collect(),
        // Daemons of v0.17 use the cache options without a check for nil, and crash.
        cache: Some(CacheOptions::default()),
        ..SolveRequest::default()
    });
    let mut outer = std::pin::pin!(outer);
    let mut gateway = Gateway::new(connection, &build_ref);
    let reader = TreeReader {
        connection,
        gateway: gateway.clone(),
    };
    let mut first = gateway.clone();
    let reading = async {
        if let Err(status) = first.ping().await {
            return Err(failure_of(connection, &status).await.into());
        }
        work(reader).await
    };
    let lost = async {
        match session {
            Some(session) => session.lost().await,
            None => std::future::pending().await,
        }
    };
    let done = tokio::select! {
        done = reading => done,
        ended = &mut outer => {
            let status = match ended {
                Ok(_) => Status::unknown("the builder ended a job that had not been read"),
                Err(status) => status,
            };
            return Err(failure_of(connection, &status).await.into());
        }
        lost = lost => return Err(failure::from_session(&lost).into()),
    };
    // The files are here, so it does not matter how the job ends.
    let end = async {
        if gateway.return_nothing().await.is_ok() {
            let _ = outer.await;
        }
    };
    let _ = tokio::time::timeout(END_LIMIT, end).await;
    done
}
