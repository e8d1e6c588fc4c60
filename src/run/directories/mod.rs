//! Serves the directories that a run reads. The session of the target that reads a directory serves it.
//! If several targets read a directory with equal filters, and it is not tiny, one separate session serves it for all of them, too,
//! and it is transferred only once.
//!
//! The frontend needs the id of a separate session as an input, and all inputs become part of the provenance of
//! the image. So a separate session is used only if it saves much, or if one definition has the steps of several
//! readers (`common`). If targets read different parts of a directory, one transfer serves all of
//! them: see `rehearse`.

mod changes;
mod common;
mod crowds;
mod frontends;
mod frozen;
mod group;
mod overlap;
mod rehearse;
mod served;
mod shared_read;
mod size;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Semaphore;

use super::Ready;
use super::locate::{DockerfilePlace, NamedTree, SourceTree, TargetPlaces};
use super::shared_context::SharedContext;
use crate::context::Generation;
use crate::engine::SessionError;
use crate::engine::llb::LlbTree;
use crate::engine::session::filesync::{FileSync, ServedDirectory, TransferFailure, TransferRules};
use crate::engine::session::shared::ShareKey;
use crate::engine::session::{Session, SharedSessions};
use crate::engine::spec::{LocalName, MainContext, SharedInputs, SolveSpec};
use crate::event::{EventKind, EventSink};
use crate::plan::{PlannedTarget, TargetGraph};
use crate::types::TargetName;
use crate::types::blocking::unblock;
use changes::ContextChanges;
use crowds::Crowd;
use frozen::FrozenDockerfiles;
use group::{ReadFilter, ignore_file};
pub(super) use rehearse::Rehearsed;
use served::{alone, dockerfile_text, in_memory, inline, shared};
use shared_read::{SharedDockerfile, SharedRead};
use size::{TINY, exceeds};

/// How many threads read records of earlier transfers at the same time.
const READERS: usize = 2;

/// Serves directories for a whole run.
pub(super) struct Directories {
    sessions: SharedSessions,
    events: EventSink,
    /// The service of each separate session. It records what was transferred and whether that failed.
    services: Mutex<HashMap<ShareKey, FileSync>>,
    /// How directories are transferred. Compressed only if the builder is not on this machine.
    rules: TransferRules,
    /// The directories that have a separate session.
    apart: HashSet<ShareKey>,
    /// The targets that may read parts of a directory in common.
    crowds: Vec<Crowd>,
    /// The Dockerfiles that do not change any more.
    frozen: Arc<FrozenDockerfiles>,
    /// The transfers that targets share. Empty until it is known.
    shared_reads: OnceLock<HashMap<TargetName, SharedRead>>,
    /// What changed while it was sent.
    changes: ContextChanges,
    /// The records of earlier transfers are small files on one disk. Hundreds of targets ask for theirs at the same time, and each thread
    /// that reads them has its own memory.
    readers: Semaphore,
    /// The working directory, without links. Everything in it may be read.
    base: PathBuf,
}

/// The directories that a target reads, divided by the session that serves them.
pub(super) struct WantedDirectories {
    /// The service of the target's own session, and the key by which the daemon finds its copy of the directories
    /// in a later run.
    pub(super) own: Option<(FileSync, String)>,
    apart: Vec<(ShareKey, ServedDirectory)>,
    /// The main context, if the target shares its transfer with others.
    shared: Option<SharedRead>,
}

/// The services and separate sessions for one target's directories.
pub(super) struct Served {
    /// The separate sessions, by the name of their directory. They must outlive the solve.
    pub(super) sessions: BTreeMap<LocalName, Arc<Session>>,
    services: Vec<FileSync>,
    /// The main context and the Dockerfile, if other targets share their transfer.
    inputs: Option<SharedInputs>,
}

impl Served {
    /// `spec` with the context that other targets share, if there is one.
    pub(super) fn complete(&self, mut spec: SolveSpec) -> SolveSpec {
        if let Some(inputs) = &self.inputs {
            spec.context = MainContext::Shared(inputs.clone());
        }
        spec
    }

    /// Completes when a transfer for this target fails on this side, and never if none does.
    ///
    /// A failed transfer must end the solve. If it does not, and the transfer was that of the ignore file, the
    /// frontend continues without an ignore file and would send everything.
    pub(super) fn failed(&self) -> impl Future<Output = TransferFailure> + Send + 'static {
        let waiting: Vec<_> = self
            .services
            .iter()
            .map(|service| Box::pin(service.failed()))
            .collect();
        async move {
            if waiting.is_empty() {
                std::future::pending().await
            } else {
                futures_util::future::select_all(waiting).await.0
            }
        }
    }
}

impl Directories {
    /// Prepares for a run in the directory `base`.
    pub(super) async fn new(
        sessions: SharedSessions,
        events: EventSink,
        rules: TransferRules,
        base: &Path,
    ) -> Self {
        // The paths of targets have no links, so this one must not have any, either.
        let base = base.to_owned();
        let base = unblock(move || base.canonicalize().unwrap_or(base)).await;
        Self {
            sessions,
            events,
            services: Mutex::default(),
            rules,
            apart: HashSet::new(),
            crowds: Vec::new(),
            frozen: Arc::default(),
            shared_reads: OnceLock::new(),
            changes: ContextChanges::default(),
            readers: Semaphore::new(READERS),
            base,
        }
    }

    /// Returns the same directories with sessions of their own, for solves that must not find what the daemon
    /// remembers of the first sessions. Reports no transfers. `sessions` must be new.
    pub(super) fn again(&self, sessions: SharedSessions) -> Self {
        Self {
            sessions,
            events: EventSink::none(),
            services: Mutex::default(),
            rules: self.rules.clone(),
            apart: self.apart.clone(),
            crowds: Vec::new(),
            frozen: Arc::clone(&self.frozen),
            shared_reads: self.shared_reads.clone(),
            changes: ContextChanges::default(),
            readers: Semaphore::new(READERS),
            base: self.base.clone(),
        }
    }

    /// Decides which directories get a separate session, and which targets are to be rehearsed. `targets` are all targets of the
    /// run, and `graph` has their links. Call this before [`Self::wanted`].
    pub(super) async fn expect(&mut self, targets: &[Ready], graph: &TargetGraph) {
        self.crowds = crowds::crowds(targets, !self.rules.compress).await;
        let mut readers: HashMap<ShareKey, Vec<&TargetName>> = HashMap::new();
        for ready in targets {
            for (key, _) in self.local_sources(&ready.planned, &ready.places).await {
                readers.entry(key).or_default().push(&ready.planned.name);
            }
        }
        // A Dockerfile is small, or is not read at all.
        readers.retain(|key, readers| readers.len() > 1 && key.local != LocalName::DOCKERFILE);
        let common = common::common_to_a_definition(graph, &readers);
        let readers = readers.into_iter();
        let several = readers.map(|(key, readers)| (key, readers.len()));
        let several: Vec<(ShareKey, usize)> = several.collect();
        let apart = tokio::task::spawn_blocking(move || {
            let is_apart = |(key, readers): &(ShareKey, usize)| {
                let limit = TINY.for_each_of(readers.saturating_sub(1));
                common.contains(key) || exceeds(&key.directory, limit)
            };
            let apart = several.into_iter().filter(is_apart);
            apart.map(|(key, _)| key).collect()
        });
        // The task fails to join only if its runtime ends.
        self.apart = apart.await.unwrap_or_default();
    }

    /// The targets whose frontends are to be asked what they read, because they may share the transfer of their contexts, and
    /// those that they use by `graph`.
    pub(super) fn to_rehearse(&self, graph: &TargetGraph) -> BTreeSet<TargetName> {
        let members = self.crowds.iter().flatten();
        let with_used = members.flat_map(|member| {
            let used = graph.behind(member).into_iter();
            used.chain([member]).cloned()
        });
        with_used.collect()
    }

    /// Asks the frontends of `rehearsed` what they read, and decides which of them share a transfer.
    pub(super) async fn rehearse(&self, rehearsed: Vec<Rehearsed>, shared: &SharedContext) {
        if rehearsed.len() > 1 {
            let places = rehearsed.iter().map(Rehearsed::places);
            let names = places.filter_map(|places| self.dockerfile(places));
            let names = names.map(|place| (place.directory, place.filename));
            self.frozen.read(names.collect()).await;
            let found = rehearse::shared_reads(&self.crowds, rehearsed, shared).await;
            // It is set only here.
            let _ = self.shared_reads.set(found);
        }
    }

    /// Returns the local sources of `target` with their keys, the main context first.
    async fn local_sources(
        &self,
        target: &PlannedTarget,
        places: &TargetPlaces,
    ) -> Vec<(ShareKey, ServedDirectory)> {
        let text = dockerfile_text(&places.dockerfile).await;
        let filter = ReadFilter {
            target,
            text: text.as_deref(),
        };
        let mut wanted: Vec<(ShareKey, ServedDirectory)> = Vec::new();
        if let SourceTree::Dir(dir) = &places.context {
            let group = filter.of_context(ignore_file(&places.dockerfile).await);
            wanted.push(shared(LocalName::CONTEXT, dir, group));
        }
        match &places.dockerfile {
            DockerfilePlace::File { dir, filename } if self.is_open(dir, places) => {
                let (key, mut source) = shared(LocalName::DOCKERFILE, dir, filename.clone());
                if let Some(files) = self.frozen.get(dir, filename) {
                    source = in_memory(dir, files.clone());
                }
                wanted.push((key, source));
            }
            DockerfilePlace::File { dir, filename } => {
                wanted.push(alone(dir, filename).await);
            }
            DockerfilePlace::Inline(text)
            | DockerfilePlace::Url {
                text: Some(text), ..
            } => wanted.push(inline(text)),
            DockerfilePlace::InContext(_) | DockerfilePlace::Url { text: None, .. } => {}
        }
        for (name, tree) in &places.named {
            if let NamedTree::Tree(SourceTree::Dir(dir)) = tree {
                let local = LocalName::of_named(name);
                wanted.push(shared(local, dir, filter.of_named(name)));
            }
        }
        wanted
    }

    /// Returns the directories that `target` reads at `places`.
    pub(super) async fn wanted(
        &self,
        target: &PlannedTarget,
        places: &TargetPlaces,
    ) -> WantedDirectories {
        let wanted = self.local_sources(target, places).await;
        let shared = self.shared_reads.get();
        let shared = shared.and_then(|shared| shared.get(&target.name)).cloned();
        let is_apart = |(key, _): &&(ShareKey, ServedDirectory)| {
            let is_shared = key.local == LocalName::CONTEXT && shared.is_some();
            self.apart.contains(key) && !is_shared
        };
        let apart = wanted.iter().filter(is_apart).cloned().collect();
        // The key is that of the first directory, which is the main context if there is one. The daemon tells the
        // other directories of the session apart by their names.
        let key = wanted
            .iter()
            .find(|wanted| !is_apart(wanted))
            .or(wanted.first());
        let key = key.map(|(key, _)| key.clone());
        let key = match key {
            Some(key) => {
                let generations = self.generations(wanted.iter().map(|(_, dir)| dir)).await;
                Some(self.sessions.shared_key(&key, &generations))
            }
            None => None,
        };
        // Frontends before version 1.7, and daemons before v0.13, do not know that a directory has a session of its own.
        // They ask the target's session.
        let dirs = wanted.into_iter().map(|(_, dir)| dir).collect();
        WantedDirectories {
            own: key.map(|key| {
                let service = FileSync::with_rules(dirs, self.events.clone(), self.rules.clone());
                (service, key)
            }),
            apart,
            shared,
        }
    }

    /// Opens the separate sessions that `wanted` needs, or returns those that are open already.
    pub(super) async fn serve(&self, wanted: WantedDirectories) -> Result<Served, SessionError> {
        let shared = wanted.shared.as_ref();
        let context = shared.map(|shared| {
            let key = shared.key.clone();
            let dir = ServedDirectory::directory(key.local.as_str(), &key.directory);
            (key, dir)
        });
        let dockerfile = shared.and_then(|shared| shared.dockerfile.as_ref());
        let dockerfile = dockerfile.map(|place| {
            let files = self.frozen.of_directory(&place.directory);
            (place.key(), in_memory(&place.directory, files))
        });
        let opening = wanted
            .apart
            .into_iter()
            .chain(context)
            .chain(dockerfile)
            .map(|(key, dir)| self.open(key, dir));
        let opened = futures_util::future::try_join_all(opening).await?;
        let mut served = Served {
            sessions: BTreeMap::new(),
            services: wanted.own.into_iter().map(|(service, _)| service).collect(),
            inputs: None,
        };
        for (local, session, service) in opened {
            served.sessions.insert(local, session);
            served.services.push(service);
        }
        if let Some(shared) = wanted.shared
            && let Some(context) = served.sessions.get(&LocalName::CONTEXT)
        {
            let dockerfile = served.sessions.get(&LocalName::DOCKERFILE);
            let dockerfile = dockerfile.zip(shared.dockerfile).map(|(session, place)| {
                LlbTree::dockerfile(&place.filename, session.id()).definition()
            });
            served.inputs = Some(SharedInputs {
                context: LlbTree::context(&shared.read, context.id()).definition(),
                dockerfile,
            });
        }
        Ok(served)
    }

    /// The Dockerfile of a target whose sources are at `places`, if several targets may read its whole directory. One that is not
    /// part of the context is always served by the target's session.
    fn dockerfile(&self, places: &TargetPlaces) -> Option<SharedDockerfile> {
        match &places.dockerfile {
            DockerfilePlace::File { dir, filename } if self.is_open(dir, places) => {
                Some(SharedDockerfile {
                    directory: dir.clone(),
                    filename: filename.clone(),
                })
            }
            DockerfilePlace::File { .. }
            | DockerfilePlace::Inline(_)
            | DockerfilePlace::InContext(_)
            | DockerfilePlace::Url { .. } => None,
        }
    }

    /// Whether the user permits reading everything in `dir`: it is in the working directory or in the context. If
    /// not, the granted privilege is only for the Dockerfile.
    fn is_open(&self, dir: &Path, places: &TargetPlaces) -> bool {
        dir.starts_with(&self.base)
            || places
                .context_dir()
                .is_some_and(|context| dir.starts_with(context))
    }

    async fn open(
        &self,
        key: ShareKey,
        dir: ServedDirectory,
    ) -> Result<(LocalName, Arc<Session>, FileSync), SessionError> {
        let generations = self.generations([&dir]).await;
        let service = self.service(&key, dir);
        let attachable = service.clone();
        let session = self
            .sessions
            .get(&key, &generations, move || Arc::new(attachable))
            .await?;
        Ok((key.local, session, service))
    }

    /// The generations of the records of those of `directories` that are on disk.
    async fn generations<'d>(
        &self,
        directories: impl IntoIterator<Item = &'d ServedDirectory>,
    ) -> Vec<Generation> {
        let Some(sent) = self.rules.sent.clone() else {
            return Vec::new();
        };
        let paths = directories
            .into_iter()
            .filter_map(|directory| Some(directory.path()?.to_owned()));
        let paths: BTreeSet<PathBuf> = paths.collect();
        if paths.is_empty() {
            return Vec::new();
        }
        let _turn = self.readers.acquire().await;
        unblock(move || {
            let records = paths.iter().map(|path| sent.of(path));
            records.map(|record| record.generation()).collect()
        })
        .await
    }

    /// Returns the service of a separate session. It is made only once, so that it knows all transfers of the
    /// session.
    fn service(&self, key: &ShareKey, dir: ServedDirectory) -> FileSync {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || FileSync::with_rules(vec![dir], self.events.clone(), self.rules.clone());
        services.entry(key.clone()).or_insert_with(make).clone()
    }

    /// Notes which files of `target`, which were sent through `served`, changed meanwhile. Call this when its solve has ended.
    pub(super) fn note_changes(&self, target: &TargetName, served: &Served) {
        self.changes.note(target, &served.services);
    }

    /// Warns of the directories that changed while they were sent. Call this when all targets have ended.
    pub(super) fn warn_of_changes(&self) {
        for warning in self.changes.warnings() {
            tracing::warn!(message = %warning.message, "context changed");
            self.events.send(EventKind::Notice(warning));
        }
    }

    /// Closes all separate sessions. Call this when every solve has ended.
    pub(super) async fn close(&self) {
        self.sessions.close().await;
    }
}
