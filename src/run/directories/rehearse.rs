//! Asks the frontends of targets what they read, so that those with large common parts share one transfer.
//!
//! Which parts a target reads is known only to its frontend. So the frontends are asked before any step runs, without a
//! result: `engine/rehearsal`. That costs time for each target, so it is only done where a look at the Dockerfiles promises
//! that it saves more. The targets then get the directory as an input that names the session and all paths.
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::error::Elapsed;

use super::crowds::{Crowd, is_simple};
use super::frontends::Answerer;
use super::shared_read::{SharedDockerfile, SharedRead, of_crowd, share_dockerfiles};
use crate::builder::Notice;
use crate::engine::llb::ContextRead;
use crate::engine::session::filesync::{FileSync, ServedDirectory, TransferRules};
use crate::engine::session::{Auth, SessionBuilder};
use crate::engine::spec::SolveSpec;
use crate::engine::{RehearsedSolve, Session, SessionError, SessionId};
use crate::event::EventSink;
use crate::outcome::SolveFailure;
use crate::run::locate::TargetPlaces;
use crate::run::shared_context::SharedContext;
use crate::run::{Ready, images};
use crate::types::TargetName;
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;

/// The most time that all frontends may take to answer. No target begins before: a registry that does not answer must not hold up
/// those that do not need it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A target of a crowd, or one whose result a target of a crowd uses, and the solve that is planned.
pub(in crate::run) struct Rehearsed {
    ready: Ready,
    spec: SolveSpec,
    /// Whether it may share the transfer of its context.
    may_share: bool,
}

impl Rehearsed {
    /// Where its sources are.
    pub(super) const fn places(&self) -> &TargetPlaces {
        &self.ready.places
    }

    /// The solve of `ready` as it is rehearsed. `None` if that is not possible.
    pub(in crate::run) fn of(ready: &Ready, spec: &SolveSpec) -> Option<Self> {
        let mut attestations = spec.attestations.iter();
        let is_max = |(key, value): &(String, String)| key == "mode" && value == "max";
        let tells = attestations.any(|attestation| {
            attestation.kind != "provenance" || attestation.parameters.iter().any(is_max)
        });
        // The job has no policy, and the frontend would ask for images that the policy denies.
        if !is_simple(ready) || spec.source_policy.is_some() || ready.policies.are_possible() {
            return None;
        }
        let mut spec = spec.clone();
        spec.attestations.clear();
        spec.cache_imports.clear();
        spec.cache_exports.clear();
        spec.exports.clear();
        Some(Self {
            ready: ready.clone(),
            spec,
            // Full provenance lists the paths, and a scan for an SBOM may look at all files of the context.
            may_share: !tells,
        })
    }
}

/// Asks the frontends of `rehearsed`, and decides which of `crowds` share a transfer. Whatever fails here is only noted in the
/// log: then the target reads its context alone.
pub(super) async fn shared_reads(
    crowds: &[Crowd],
    rehearsed: Vec<Rehearsed>,
    shared: &SharedContext,
) -> HashMap<TargetName, SharedRead> {
    let notice = Notice::begin(&shared.events, "reads", "find out what the targets read");
    let places = rehearsed.iter().map(|one| {
        let directories = &shared.directories;
        // The provenance of those that use it would name the Dockerfile as an input, or leave the request out.
        if shared.links.is_parent(&one.ready.planned.name) {
            return None;
        }
        let place = directories.dockerfile(&one.ready.places)?;
        // The others are served from the disk, to their own target.
        directories.frozen.get(&place.directory, &place.filename)?;
        Some((one.ready.planned.name.clone(), place))
    });
    let dockerfiles: BTreeMap<TargetName, SharedDockerfile> = places.flatten().collect();
    let reads = reads(rehearsed, shared).await.unwrap_or_else(|error| {
        let cause = in_one_line(&error);
        tracing::warn!(cause, "the builder does not say what targets read");
        HashMap::new()
    });
    let crowds = crowds.to_vec();
    let found = unblock(move || {
        let crowds = crowds.iter();
        crowds.flat_map(|crowd| of_crowd(crowd, &reads)).collect()
    });
    let mut found: HashMap<TargetName, SharedRead> = found.await;
    share_dockerfiles(&mut found, dockerfiles);
    tracing::info!(
        targets = found.len(),
        "targets share the transfer of their context"
    );
    notice.end(None);
    found
}

/// Why it is not known what targets read.
#[derive(Debug, thiserror::Error)]
enum NotRehearsed {
    #[error("cannot open a session")]
    Session(#[from] SessionError),
    #[error("the job failed: {}", .0.message)]
    Job(SolveFailure),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Overdue(#[from] Elapsed),
}

/// What those of `rehearsed` read that may share a transfer, with the directory of their contexts. Those of which it is not known are
/// left out.
async fn reads(
    mut rehearsed: Vec<Rehearsed>,
    shared: &SharedContext,
) -> Result<HashMap<TargetName, (PathBuf, ContextRead)>, NotRehearsed> {
    let graph = shared.links.graph();
    let order: HashMap<&TargetName, usize> = graph.order().zip(0..).collect();
    rehearsed.sort_by_key(|one| order.get(&one.ready.planned.name).copied());
    let mut answerers = Vec::new();
    for one in &mut rehearsed {
        let answerer = Answerer::of(&one.ready).await;
        one.spec.frontend = answerer.frontend(one.spec.frontend.clone());
        answerers.push(answerer);
    }
    let sessions = JobSessions::open(&rehearsed, shared).await?;
    let solves: Vec<RehearsedSolve> = std::iter::zip(&rehearsed, &sessions.directories)
        .map(|(one, session)| {
            let links = graph.links_of(&one.ready.planned.name).iter().map(|link| {
                let parent = rehearsed
                    .iter()
                    .position(|one| one.ready.planned.name == link.to);
                // If the parent cannot be rehearsed, this one cannot, either: the place does not exist.
                (link.context.to_string(), parent.unwrap_or(usize::MAX))
            });
            let links = links.collect();
            let session = session.clone();
            RehearsedSolve {
                spec: one.spec.clone(),
                session,
                links,
            }
        })
        .collect();
    let asked = shared.engine.rehearse(&sessions.job, &solves);
    let reads = tokio::time::timeout(PATIENCE, asked).await;
    sessions.close().await;
    let known = std::iter::zip(rehearsed, answerers);
    let known = std::iter::zip(known, reads?.map_err(NotRehearsed::Job)?);
    let known = known.filter_map(|((one, answerer), read)| {
        let dir = one.ready.places.context_dir()?.to_owned();
        let read = read.filter(|_| one.may_share)?;
        if !answerer.is_believed(&read) {
            let target = &one.ready.planned.name;
            tracing::info!(target.name = %target, "the image may read other paths");
            return None;
        }
        Some((one.ready.planned.name, (dir, read)))
    });
    Ok(known.collect())
}

/// The sessions of the job.
struct JobSessions {
    /// Serves credentials, and the directories if they are the same for all targets.
    job: Arc<Session>,
    /// The session that serves the directories of each target, if it is not that of the job. Old frontends would ask the job's
    /// session, and get an error instead of the directories of another target.
    directories: Vec<Option<Arc<Session>>>,
}

impl JobSessions {
    async fn open(rehearsed: &[Rehearsed], shared: &SharedContext) -> Result<Self, SessionError> {
        let mut kinds: Vec<Vec<ServedDirectory>> = Vec::new();
        let mut of: Vec<usize> = Vec::new();
        for one in rehearsed {
            let (planned, places) = (&one.ready.planned, &one.ready.places);
            let sources = shared.directories.local_sources(planned, places).await;
            let dirs: Vec<ServedDirectory> = sources.into_iter().map(|(_, dir)| dir).collect();
            let kind = kinds.iter().position(|kind| *kind == dirs);
            of.push(kind.unwrap_or(kinds.len()));
            if kind.is_none() {
                kinds.push(dirs);
            }
        }
        let connection = shared.engine.connection();
        // Only Dockerfiles and ignore files are read, which are always sent whole.
        let rules = TransferRules {
            sent: None,
            ..shared.directories.rules.clone()
        };
        let files = |dirs: Vec<ServedDirectory>| {
            Arc::new(FileSync::with_rules(dirs, EventSink::none(), rules.clone()))
        };
        let own = rehearsed.iter().flat_map(|one| images::of(&one.spec));
        let read = rehearsed
            .iter()
            .flat_map(|one| shared.links.images_read(&one.ready));
        let auth = Auth::new(Arc::clone(&shared.credentials));
        let auth = auth.for_images(own.collect(), read.collect());
        let mut job = SessionBuilder::new(SessionId::new()).attach(Arc::new(auth));
        if let [_] = kinds.as_slice() {
            job = job.attach(files(kinds.pop().unwrap_or_default()));
        }
        let others = kinds.into_iter().map(|dirs| {
            let session = SessionBuilder::new(SessionId::new()).attach(files(dirs));
            session.open(connection)
        });
        let others = futures_util::future::try_join_all(others);
        let (job, others) = futures_util::try_join!(job.open(connection), others)?;
        let others: Vec<Arc<Session>> = others.into_iter().map(Arc::new).collect();
        Ok(Self {
            job: Arc::new(job),
            directories: of
                .into_iter()
                .map(|kind| others.get(kind).cloned())
                .collect(),
        })
    }

    async fn close(&self) {
        let mut all: Vec<&Arc<Session>> = self.directories.iter().flatten().collect();
        all.sort_by_key(|session| Arc::as_ptr(session));
        all.dedup_by_key(|session| Arc::as_ptr(session));
        all.push(&self.job);
        futures_util::future::join_all(all.into_iter().map(|session| session.close())).await;
    }
}
