//! Serves the directories that a run reads. Normally, the session of the target that reads a directory serves it.
//! If several targets read a large directory with equal filters, one separate session serves it for all of them,
//! and it is transferred only once.
//!
//! The frontend needs the id of a separate session as an input, and all inputs become part of the provenance of
//! the image. So a separate session is used only if it saves much.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Ready;
use super::inline::FILENAME;
use super::locate::{DockerfilePlace, NamedTree, SourceTree, TargetPlaces};
use super::sources::{self, Sources};
use crate::definition::model::SharedText;
use crate::engine::SessionError;
use crate::engine::session::filesync::{FileSync, LocalSource, ServedDirectory, TransferFailure};
use crate::engine::session::shared::ShareKey;
use crate::engine::session::{Session, SharedSessions};
use crate::engine::spec::LocalName;
use crate::event::EventSink;
use crate::files;
use crate::plan::PlannedTarget;
use crate::types::blocking::unblock;

/// A Dockerfile with more bytes than this is not read to predict what it copies.
const DOCKERFILE_LIMIT: u64 = 4 << 20;

/// If the repeated transfers of a directory add up to at most this, it is sent to each target. That costs next to
/// nothing, and keeps the ids of sessions out of the provenance.
const SMALL: Size = Size {
    entries: 1_000,
    bytes: 4 << 20,
};

/// The size of a directory, or a limit for it.
#[derive(Debug, Clone, Copy)]
struct Size {
    entries: usize,
    bytes: u64,
}

impl Size {
    /// Divides a limit by the number of transfers, so that it holds for all of them together.
    fn for_each_of(self, transfers: usize) -> Self {
        let transfers = transfers.max(1);
        Self {
            entries: self.entries / transfers,
            bytes: self.bytes / transfers as u64,
        }
    }
}

/// Serves directories for a whole run.
pub(super) struct Directories {
    sessions: SharedSessions,
    events: EventSink,
    /// The service of each separate session. It records what was transferred and whether that failed.
    services: Mutex<HashMap<ShareKey, FileSync>>,
    /// Whether transfers are compressed: only if the builder is not on this machine.
    compress: bool,
    /// The directories that have a separate session.
    apart: HashSet<ShareKey>,
    /// The working directory, without links. Everything in it may be read.
    base: PathBuf,
}

/// The directories that a target reads, divided by the session that serves them.
pub(super) struct WantedDirectories {
    /// The service of the target's own session, and the key by which the daemon finds its copy of the directories
    /// in a later run.
    pub(super) own: Option<(FileSync, String)>,
    apart: Vec<(ShareKey, ServedDirectory)>,
}

/// The services and separate sessions for one target's directories.
pub(super) struct Served {
    /// The separate sessions, by the name of their directory. They must outlive the solve.
    pub(super) sessions: BTreeMap<LocalName, Arc<Session>>,
    services: Vec<FileSync>,
}

impl Served {
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
        compress: bool,
        base: &Path,
    ) -> Self {
        // The paths of targets have no links, so this one must not have any, either.
        let base = base.to_owned();
        let base = unblock(move || base.canonicalize().unwrap_or(base)).await;
        Self {
            sessions,
            events,
            services: Mutex::default(),
            compress,
            apart: HashSet::new(),
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
            compress: self.compress,
            apart: self.apart.clone(),
            base: self.base.clone(),
        }
    }

    /// Decides which directories get a separate session. `targets` are all targets of the run. Call this before
    /// [`Self::wanted`].
    pub(super) async fn expect(&mut self, targets: &[Ready]) {
        let mut readers: HashMap<ShareKey, usize> = HashMap::new();
        for ready in targets {
            for (key, _) in self.local_sources(&ready.planned, &ready.places).await {
                *readers.entry(key).or_default() += 1;
            }
        }
        // A Dockerfile is small, or is not read at all.
        let several = readers
            .into_iter()
            .filter(|(key, readers)| *readers > 1 && key.local != LocalName::DOCKERFILE);
        let several: Vec<(ShareKey, usize)> = several.collect();
        let large = tokio::task::spawn_blocking(move || {
            let is_large = |(key, readers): &(ShareKey, usize)| {
                exceeds(&key.directory, SMALL.for_each_of(readers.saturating_sub(1)))
            };
            let large = several.into_iter().filter(is_large);
            large.map(|(key, _)| key).collect()
        });
        // The task fails to join only if its runtime ends.
        self.apart = large.await.unwrap_or_default();
    }

    /// Returns the local sources of `target` with their keys, the main context first.
    async fn local_sources(
        &self,
        target: &PlannedTarget,
        places: &TargetPlaces,
    ) -> Vec<(ShareKey, ServedDirectory)> {
        let text = dockerfile_text(&places.dockerfile).await;
        let group = Group {
            target,
            text: text.as_deref(),
        };
        let mut wanted: Vec<(ShareKey, ServedDirectory)> = Vec::new();
        if let SourceTree::Dir(dir) = &places.context {
            let group = group.of_context(ignore_file(&places.dockerfile).await);
            wanted.push(shared(LocalName::CONTEXT, dir, group));
        }
        match &places.dockerfile {
            DockerfilePlace::File { dir, filename } if self.is_open(dir, places) => {
                wanted.push(shared(LocalName::DOCKERFILE, dir, filename.clone()));
            }
            DockerfilePlace::File { dir, filename } => {
                wanted.push(alone(dir, filename).await);
            }
            DockerfilePlace::Inline(text) => wanted.push(inline(text)),
            DockerfilePlace::InContext(_) => {}
        }
        for (name, tree) in &places.named {
            if let NamedTree::Tree(SourceTree::Dir(dir)) = tree {
                let local = LocalName::of_named(name);
                wanted.push(shared(local, dir, group.of_named(name)));
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
        let wanted = self.local_sources(target, places).await.into_iter();
        let (apart, own): (Vec<_>, Vec<_>) = wanted.partition(|(key, _)| self.apart.contains(key));
        // The key is that of the first directory, which is the main context if there is one. The daemon tells the
        // other directories of the session apart by their names.
        let key = own.first().map(|(key, _)| self.sessions.shared_key(key));
        let dirs = own.into_iter().map(|(_, dir)| dir).collect();
        WantedDirectories {
            own: key.map(|key| {
                let service = FileSync::with_compression(dirs, self.events.clone(), self.compress);
                (service, key)
            }),
            apart,
        }
    }

    /// Opens the separate sessions that `wanted` needs, or returns those that are open already.
    pub(super) async fn serve(&self, wanted: WantedDirectories) -> Result<Served, SessionError> {
        let opening = wanted
            .apart
            .into_iter()
            .map(|(key, dir)| self.open(key, dir));
        let opened = futures_util::future::try_join_all(opening).await?;
        let mut served = Served {
            sessions: BTreeMap::new(),
            services: wanted.own.into_iter().map(|(service, _)| service).collect(),
        };
        for (local, session, service) in opened {
            served.sessions.insert(local, session);
            served.services.push(service);
        }
        Ok(served)
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
        let service = self.service(&key, dir);
        let attachable = service.clone();
        let session = self
            .sessions
            .get(&key, move || Arc::new(attachable))
            .await?;
        Ok((key.local, session, service))
    }

    /// Returns the service of a separate session. It is made only once, so that it knows all transfers of the
    /// session.
    fn service(&self, key: &ShareKey, dir: ServedDirectory) -> FileSync {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || FileSync::with_compression(vec![dir], self.events.clone(), self.compress);
        services.entry(key.clone()).or_insert_with(make).clone()
    }

    /// Closes all separate sessions. Call this when every solve has ended.
    pub(super) async fn close(&self) {
        self.sessions.close().await;
    }
}

/// Whether there is more than `limit` in `dir`. Does not consider ignore files, because only the daemon reads
/// them. Blocks, but stops as soon as the limit is passed.
fn exceeds(dir: &Path, limit: Size) -> bool {
    let (mut entries, mut bytes) = (0, 0);
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        // A directory that cannot be listed will be reported when it is sent.
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            entries += 1;
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => open.push(entry.path()),
                Ok(metadata) if metadata.is_file() => bytes += metadata.len(),
                Ok(_) | Err(_) => {}
            }
            if entries > limit.entries || bytes > limit.bytes {
                return true;
            }
        }
    }
    false
}

fn shared(local: LocalName, dir: &Path, group: String) -> (ShareKey, ServedDirectory) {
    let served = ServedDirectory::directory(local.as_str(), dir);
    let key = ShareKey {
        local,
        directory: dir.to_owned(),
        group,
    };
    (key, served)
}

/// Returns a source with only the Dockerfile and its own ignore file. The daemon cannot read other files of the
/// directory, whatever it asks for.
async fn alone(dir: &Path, filename: &str) -> (ShareKey, ServedDirectory) {
    let (place, name) = (dir.to_owned(), filename.to_owned());
    let reading = tokio::task::spawn_blocking(move || read_alone(&place, &name));
    match reading.await.map_err(std::io::Error::from).flatten() {
        Ok(files) => {
            let key = ShareKey {
                local: LocalName::DOCKERFILE,
                directory: dir.to_owned(),
                group: filename.to_owned(),
            };
            let dir = ServedDirectory {
                name: LocalName::DOCKERFILE.to_string(),
                source: LocalSource::Files(files),
            };
            (key, dir)
        }
        // Sending the directory will fail and report the reason.
        Err(_) => shared(LocalName::DOCKERFILE, dir, filename.to_owned()),
    }
}

fn read_alone(dir: &Path, filename: &str) -> std::io::Result<BTreeMap<String, Bytes>> {
    let mut files = BTreeMap::new();
    for (name, is_needed) in [
        (filename.to_owned(), true),
        (format!("{filename}.dockerignore"), false),
    ] {
        match read_in(dir, &name) {
            Ok(text) => drop(files.insert(name, text.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_needed => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Returns the source of an inline Dockerfile. Equal texts have equal keys.
fn inline(text: &SharedText) -> (ShareKey, ServedDirectory) {
    let group = hex::encode(&Sha256::digest(text.as_bytes())[..16]);
    let key = ShareKey {
        local: LocalName::DOCKERFILE,
        directory: PathBuf::new(),
        group,
    };
    let name = LocalName::DOCKERFILE.to_string();
    (
        key,
        ServedDirectory::file(name, FILENAME, super::bytes_of(text)),
    )
}

/// Returns the text of the Dockerfile, or `None` if it is not here, too large, or not UTF-8.
async fn dockerfile_text(place: &DockerfilePlace) -> Option<String> {
    match place {
        DockerfilePlace::Inline(text) => Some(text.to_string()),
        DockerfilePlace::File { dir, filename } => {
            let (dir, filename) = (dir.clone(), filename.clone());
            let reading = tokio::task::spawn_blocking(move || {
                let text = read_in(&dir, &filename).ok()?;
                String::from_utf8(text).ok()
            });
            reading.await.ok().flatten()
        }
        DockerfilePlace::InContext(_) => None,
    }
}

/// Reads a file of `dir`. As for the daemon, links must not lead out of the directory.
fn read_in(dir: &Path, filename: &str) -> std::io::Result<Vec<u8>> {
    let place = files::resolve(dir, Path::new(filename))?;
    if !place.path().starts_with(dir) {
        return Err(std::io::ErrorKind::PermissionDenied.into());
    }
    let mut text = Vec::new();
    let file = files::open::file(place.path())?;
    file.take(DOCKERFILE_LIMIT + 1).read_to_end(&mut text)?;
    if text.len() as u64 > DOCKERFILE_LIMIT {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

/// Makes the group name of what a target reads from a directory. Equal names mean equal filters.
struct Group<'a> {
    target: &'a PlannedTarget,
    text: Option<&'a str>,
}

impl Group<'_> {
    /// Names the filter of the main context: the paths that the target's stage reads, and the ignore file. If the
    /// paths are unknown, the group is only for this target.
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

    /// Names the filter of a named context. Targets share it only if they build the same stage of the same
    /// Dockerfile.
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

/// Returns the path of the Dockerfile's own ignore file, or an empty text if there is none. It replaces the
/// context's ignore file, so it makes another filter.
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

/// Returns a short hash of `parts`. Each part is hashed with its length, so that different lists cannot give the
/// same bytes.
fn hashed(parts: &[String]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_trees_are_distinguished_from_small_ones() {
        let dir = tempfile::tempdir().unwrap();
        let limit = Size {
            entries: 4,
            bytes: 100,
        };
        assert!(!exceeds(&dir.path().join("missing"), limit));
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/a"), [0; 60]).unwrap();
        // A link is not followed, because the files that it leads to are not sent.
        std::os::unix::fs::symlink("/", dir.path().join("sub/root")).unwrap();
        assert!(!exceeds(dir.path(), limit));
        std::fs::write(dir.path().join("b"), [0; 50]).unwrap();
        assert!(exceeds(dir.path(), limit), "bytes");
        std::fs::write(dir.path().join("b"), []).unwrap();
        assert!(!exceeds(dir.path(), limit));
        std::fs::write(dir.path().join("c"), []).unwrap();
        assert!(exceeds(dir.path(), limit), "entries");
    }

    #[test]
    fn a_dockerfile_alone_is_sent_only_with_its_ignore_file() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["real", "a.dockerignore", "secret", ".dockerignore"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        symlink("real", root.join("a")).unwrap();
        let files = read_alone(&root, "a").unwrap();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "a.dockerignore"]);
        assert_eq!(files["a"], "real");
        // An ignore file that cannot be read must not be left out: the files that it names would be sent.
        std::fs::remove_file(root.join("a.dockerignore")).unwrap();
        assert_eq!(read_alone(&root, "a").unwrap().len(), 1);
        symlink("/etc/hostname", root.join("a.dockerignore")).unwrap();
        assert!(read_alone(&root, "a").is_err());
    }
}
