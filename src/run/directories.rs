//! The directories a run serves: one session for each directory and what is read of it, shared by all targets alike.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use super::inline::FILENAME;
use super::locate::{DockerfilePlace, NamedTree, Places, Tree};
use super::lower::{Locals, local_name};
use super::sources::{self, Sources};
use crate::definition::model::Text;
use crate::engine::session::filesync::{FileSync, LocalDir, TransferFailure};
use crate::engine::session::shared::ShareKey;
use crate::engine::session::{Session, SharedSessions};
use crate::engine::{SessionError, spec};
use crate::event::EventSink;
use crate::files;
use crate::plan::PlannedTarget;

/// More of a Dockerfile is not looked at when targets are grouped.
const DOCKERFILE_LIMIT: u64 = 4 << 20;

/// Serves directories for a whole run.
pub(super) struct Directories {
    sessions: SharedSessions,
    events: EventSink,
    // What each session serves by, which knows what was transferred and whether that failed.
    services: Mutex<HashMap<ShareKey, FileSync>>,
    compress: bool,
}

/// What serves one target's directories.
pub(super) struct Served {
    /// The session for each local source.
    pub(super) locals: Locals,
    /// The sessions, which must outlive the solve.
    pub(super) sessions: Vec<Arc<Session>>,
    services: Vec<FileSync>,
}

impl Served {
    /// Completes when a transfer for this target fails on this side; never, if none does.
    ///
    /// The frontend goes on without an ignore file whose transfer failed, and would send everything: so a failed transfer must
    /// end the solve, whatever the daemon makes of it.
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
    pub(super) fn new(sessions: SharedSessions, events: EventSink, compress: bool) -> Self {
        Self {
            sessions,
            events,
            services: Mutex::default(),
            compress,
        }
    }

    /// Opens, or finds, the sessions for what `target` reads at `places`.
    pub(super) async fn serve(
        &self,
        target: &PlannedTarget,
        places: &Places,
    ) -> Result<Served, SessionError> {
        let text = dockerfile_text(&places.dockerfile).await;
        let group = Group {
            target,
            text: text.as_deref(),
        };
        let mut wanted: Vec<(ShareKey, LocalDir)> = Vec::new();
        if let Tree::Dir(dir) = &places.context {
            let group = group.of_context(ignore_file(&places.dockerfile).await);
            wanted.push(shared("context", dir, group));
        }
        match &places.dockerfile {
            DockerfilePlace::File { dir, filename } => {
                wanted.push(shared("dockerfile", dir, filename.clone()));
            }
            DockerfilePlace::Inline(text) => wanted.push(inline(text)),
            DockerfilePlace::InContext(_) => {}
        }
        for (name, tree) in &places.named {
            if let NamedTree::Tree(Tree::Dir(dir)) = tree {
                wanted.push(shared(&local_name(name), dir, group.of_named(name)));
            }
        }
        let opening = wanted.into_iter().map(|(key, dir)| self.open(key, dir));
        let opened = futures_util::future::try_join_all(opening).await?;
        let mut served = Served {
            locals: BTreeMap::new(),
            sessions: Vec::new(),
            services: Vec::new(),
        };
        for (local, session, service) in opened {
            served.locals.insert(
                local,
                spec::LocalDir {
                    session: session.id().clone(),
                },
            );
            served.sessions.push(session);
            served.services.push(service);
        }
        Ok(served)
    }

    async fn open(
        &self,
        key: ShareKey,
        dir: LocalDir,
    ) -> Result<(String, Arc<Session>, FileSync), SessionError> {
        let service = self.service(&key, dir);
        let attachable = service.clone();
        let session = self
            .sessions
            .get(&key, move || Arc::new(attachable))
            .await?;
        Ok((key.local, session, service))
    }

    fn service(&self, key: &ShareKey, dir: LocalDir) -> FileSync {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || FileSync::with_compression(vec![dir], self.events.clone(), self.compress);
        services.entry(key.clone()).or_insert_with(make).clone()
    }

    /// Ends all sessions; call when every solve has ended.
    pub(super) async fn close(&self) {
        self.sessions.close().await;
    }
}

fn shared(local: &str, dir: &Path, group: String) -> (ShareKey, LocalDir) {
    let key = ShareKey {
        local: local.to_owned(),
        directory: dir.to_owned(),
        group,
    };
    (key, LocalDir::directory(local, dir))
}

fn inline(text: &Text) -> (ShareKey, LocalDir) {
    let group = hex::encode(&Sha256::digest(text.as_bytes())[..16]);
    let key = ShareKey {
        local: "dockerfile".to_owned(),
        directory: PathBuf::new(),
        group,
    };
    (
        key,
        LocalDir::file("dockerfile", FILENAME, super::bytes_of(text)),
    )
}

async fn dockerfile_text(place: &DockerfilePlace) -> Option<String> {
    match place {
        DockerfilePlace::Inline(text) => Some(text.to_string()),
        DockerfilePlace::File { dir, filename } => {
            let (dir, filename) = (dir.clone(), filename.clone());
            let reading = tokio::task::spawn_blocking(move || read_in(&dir, &filename).ok());
            reading.await.ok().flatten()
        }
        DockerfilePlace::InContext(_) => None,
    }
}

// Links lead the daemon no further than the directory, and so they do here.
fn read_in(dir: &Path, filename: &str) -> std::io::Result<String> {
    let place = files::resolve(dir, Path::new(filename))?;
    if !place.path().starts_with(dir) {
        return Err(std::io::ErrorKind::PermissionDenied.into());
    }
    let mut text = String::new();
    let file = files::open::file(place.path())?;
    file.take(DOCKERFILE_LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// Names what a target reads of a directory: equal names for equal filters.
struct Group<'a> {
    target: &'a PlannedTarget,
    text: Option<&'a str>,
}

impl Group<'_> {
    fn of_context(&self, ignore_file: String) -> String {
        let stage = self
            .target
            .attributes
            .stage
            .as_ref()
            .map(|stage| stage.value.as_ref());
        let reads = self
            .text
            .map_or(Sources::Unknown, |text| sources::of_stage(text, stage));
        let mut parts: Vec<String> = match reads {
            Sources::Paths(paths) => paths.into_iter().collect(),
            Sources::Unknown => vec![self.target.name.to_string()],
        };
        parts.push(ignore_file);
        hashed(&parts)
    }

    fn of_named(&self, name: &str) -> String {
        let stage = self
            .target
            .attributes
            .stage
            .as_ref()
            .map(|stage| stage.value.to_string())
            .unwrap_or_default();
        hashed(&[
            name.to_owned(),
            stage,
            self.text.unwrap_or_default().to_owned(),
        ])
    }
}

// A Dockerfile's own ignore file goes before the context's, and makes for another filter.
async fn ignore_file(dockerfile: &DockerfilePlace) -> String {
    match dockerfile {
        DockerfilePlace::File { dir, filename } => {
            let own = dir.join(format!("{filename}.dockerignore"));
            if tokio::fs::try_exists(&own).await.unwrap_or(false) {
                own.to_string_lossy().into_owned()
            } else {
                String::new()
            }
        }
        DockerfilePlace::Inline(_) | DockerfilePlace::InContext(_) => String::new(),
    }
}

fn hashed(parts: &[String]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..16])
}
