//! Asks the frontends of several targets for their definitions, before any step runs, in one job. Nothing is built, and
//! the content of contexts is not transferred.

use std::sync::Arc;

use futures_util::StreamExt as _;

use super::connection::Connection;
use super::gateway::{FrontendResult, Gateway};
use super::llb::ContextRead;
use super::session::Session;
use super::spec::{LocalName, SolveContext, SolveSpec};
use super::{tree_reader, wire};
use crate::outcome::SolveFailure;
use crate::types::causes::in_one_line;

/// The most frontends that are asked at the same time. Without a limit, those of hundreds of targets would take the
/// processors of the builder from its other users.
const AT_ONCE: usize = 8;

/// A solve whose frontend is asked.
#[derive(Debug)]
pub(crate) struct RehearsedSolve {
    /// The solve, with the contexts that are results of others, which are still empty.
    pub(crate) spec: SolveSpec,
    /// The session that serves its directories, if it is not that of the job.
    pub(crate) session: Option<Arc<Session>>,
    /// Its contexts that are results of others, and the places of these in the list of all solves. They come before it.
    pub(crate) links: Vec<(String, usize)>,
}

/// What each of `solves` reads of its main context, in their order: `None` if that is not known, because the frontend fails,
/// for example. `session` is that of the job: it has credentials.
///
/// # Errors
/// The daemon does not run the job.
pub(super) async fn run(
    connection: &Connection,
    session: &Arc<Session>,
    solves: &[RehearsedSolve],
) -> Result<Vec<Option<ContextRead>>, SolveFailure> {
    let entitlements = solves.iter().map(|solve| &solve.spec);
    let job = tree_reader::Job {
        session: Some(session),
        entitlements: entitlements.flat_map(wire::entitlements).collect(),
    };
    tree_reader::run(connection, job, |reader| async move {
        let gateway = reader.gateway();
        let mut answers: Vec<Option<FrontendResult>> = vec![None; solves.len()];
        let mut open: Vec<usize> = (0..solves.len()).collect();
        while !open.is_empty() {
            let waits = |solve: &usize| {
                let links = solves.get(*solve).map(|solve| solve.links.as_slice());
                links
                    .unwrap_or_default()
                    .iter()
                    .any(|(_, parent)| open.contains(parent))
            };
            let (later, now): (Vec<usize>, Vec<usize>) =
                open.iter().partition(|solve| waits(solve));
            if now.is_empty() {
                break;
            }
            let asked = now.into_iter().filter_map(|solve| {
                let request = request(solves.get(solve)?, session, &answers)?;
                Some(ask(gateway.clone(), request, solve))
            });
            let asked: Vec<_> = asked.collect();
            let asked = futures_util::stream::iter(asked).buffer_unordered(AT_ONCE);
            for (solve, answer) in asked.collect::<Vec<_>>().await {
                if let Some(place) = answers.get_mut(solve) {
                    *place = answer;
                }
            }
            open = later;
        }
        let answers = std::iter::zip(solves, answers);
        let reads = answers.map(|(solve, answer)| read_of(solve, session, &answer?));
        Ok(reads.collect())
    })
    .await
}

/// The request for `solve`, after `answers` to those before it. `None` if one that it needs is missing.
fn request(
    solve: &RehearsedSolve,
    session: &Session,
    answers: &[Option<FrontendResult>],
) -> Option<rbake_proto::gateway::SolveRequest> {
    let mut spec = solve.spec.clone();
    for (context, parent) in &solve.links {
        let answer = answers.get(*parent)?.as_ref()?;
        if let Some(SolveContext::Linked { results, .. }) = spec.named_contexts.get_mut(context) {
            *results = answer.linked().ok()?;
        }
    }
    let mut ids = wire::SessionIds {
        target: session.id().clone(),
        directories: std::collections::BTreeMap::new(),
    };
    if let Some(own) = &solve.session {
        let locals = spec.locals().into_iter();
        ids.directories = locals
            .map(|local: LocalName| (local, own.id().clone()))
            .collect();
    }
    Some(wire::gateway_request(&spec, &ids))
}

async fn ask(
    mut gateway: Gateway,
    request: rbake_proto::gateway::SolveRequest,
    solve: usize,
) -> (usize, Option<FrontendResult>) {
    match gateway.solve(request).await {
        Ok(answer) => (solve, Some(answer)),
        Err(status) => {
            tracing::info!(solve, code = ?status.code(), "a frontend does not say what it reads");
            (solve, None)
        }
    }
}

/// What `solve` reads. The definition also has the contexts of the targets whose results it uses. If these are other directories,
/// they have other sessions.
fn read_of(
    solve: &RehearsedSolve,
    session: &Session,
    answer: &FrontendResult,
) -> Option<ContextRead> {
    let session = solve.session.as_deref().unwrap_or(session).id();
    match ContextRead::of(&answer.definitions(), session) {
        Ok(read) => read,
        Err(error) => {
            let cause = in_one_line(&error);
            tracing::info!(target.name = %solve.spec.target, cause, "it is not known what is read");
            None
        }
    }
}
