//! The state of transfers, for the display and for later queries, and their failures on this side.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::event::{EventKind, EventSink, Transfer};

/// A transfer that failed on this side.
///
/// The caller must end the solve. The daemon is informed of the failure too, but that is not enough: a frontend goes
/// on if it cannot get the ignore file, and then requests the whole context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot send the files of `{local}` to the builder: {reason}")]
pub struct TransferFailure {
    /// The name by which the daemon asked for the directory.
    pub(crate) local: String,
    /// The directory's path.
    pub(crate) dir: PathBuf,
    /// The error, with its causes.
    pub(crate) reason: Arc<str>,
    /// What the user can do, if known.
    pub(crate) help: Option<Arc<str>>,
}

/// The state of a transfer, or how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferState {
    /// The transfer is in progress.
    Running,
    /// The daemon has received everything that it requested.
    Complete,
    /// The transfer failed on this side, or the daemon reported why it failed on its side.
    Failed(Arc<str>),
    /// The daemon cancelled the transfer.
    Abandoned,
}

/// One transfer and the amount that it has transferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferSummary {
    /// The transfer's id, unique within the process. Events have the same id.
    pub id: u64,
    /// The name by which the daemon asked for the directory.
    pub local: String,
    /// The directory's path.
    pub dir: PathBuf,
    /// The first paths that the daemon asked for, if it did not ask for the whole directory.
    pub paths: Vec<String>,
    /// The number of entries listed.
    pub entries: u64,
    /// The number of files whose content was sent.
    pub files: u64,
    /// The number of content bytes sent.
    pub bytes: u64,
    /// The first files whose content was sent.
    pub first_files: Vec<String>,
    /// The files that have changed since they were listed, or while they were read.
    pub changed: ChangedFiles,
    /// The transfer's state.
    pub state: TransferState,
}

/// The files of a transfer that have changed since they were listed, or while they were read: what was sent may be partly old and
/// partly new, or not fit to the other files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangedFiles {
    /// The number of files.
    pub count: u64,
    /// The first of them, by path in the directory.
    pub first: Vec<String>,
}

/// The most file names that a summary keeps.
const FIRST_FILES: usize = 16;
/// The most requested paths that a summary keeps, and the most bytes in them.
const FIRST_PATHS: usize = 64;
const PATH_BYTES: usize = 4 << 10;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The counters of one transfer.
#[derive(Debug)]
pub(super) struct TransferRecord {
    id: u64,
    local: String,
    dir: PathBuf,
    paths: Vec<String>,
    entries: AtomicU64,
    files: AtomicU64,
    bytes: AtomicU64,
    rest: Mutex<Rest>,
}

#[derive(Debug)]
struct Rest {
    first_files: Vec<String>,
    changed: ChangedFiles,
    state: TransferState,
}

impl TransferRecord {
    pub(super) fn new(local: &str, dir: PathBuf, paths: &[Vec<u8>]) -> Self {
        let mut room = PATH_BYTES;
        let fits = |path: &&Vec<u8>| {
            let left = room.checked_sub(path.len());
            room = left.unwrap_or_default();
            left.is_some()
        };
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            local: local.to_owned(),
            dir,
            paths: paths
                .iter()
                .take(FIRST_PATHS)
                .take_while(fits)
                .map(|path| String::from_utf8_lossy(path).into_owned())
                .collect(),
            entries: AtomicU64::new(0),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            rest: Mutex::new(Rest {
                first_files: Vec::new(),
                changed: ChangedFiles::default(),
                state: TransferState::Running,
            }),
        }
    }

    fn rest(&self) -> std::sync::MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listed(&self, entries: u64) {
        self.entries.fetch_add(entries, Ordering::Relaxed);
    }

    pub(super) fn file(&self, path: &[u8]) {
        let before = self.files.fetch_add(1, Ordering::Relaxed);
        if before < FIRST_FILES as u64 {
            let path = String::from_utf8_lossy(path).into_owned();
            self.rest().first_files.push(path);
        }
    }

    /// Notes that the file at `path` has changed since it was listed, or while it was read.
    pub(super) fn changed(&self, path: &[u8]) {
        let changed = &mut self.rest().changed;
        changed.count += 1;
        if changed.first.len() < FIRST_FILES {
            changed
                .first
                .push(String::from_utf8_lossy(path).into_owned());
        }
    }

    /// The directory and what has changed in it, if anything has.
    pub(super) fn changes(&self) -> Option<(PathBuf, ChangedFiles)> {
        let changed = self.rest().changed.clone();
        (changed.count > 0).then(|| (self.dir.clone(), changed))
    }

    pub(super) fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Sets the final state. Only the first call counts.
    pub(super) fn end(&self, state: TransferState) {
        let current = &mut self.rest().state;
        if *current == TransferState::Running {
            *current = state;
        }
    }

    pub(super) fn summary(&self) -> TransferSummary {
        let rest = self.rest();
        TransferSummary {
            id: self.id,
            local: self.local.clone(),
            dir: self.dir.clone(),
            paths: self.paths.clone(),
            entries: self.entries.load(Ordering::Relaxed),
            files: self.files.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            first_files: rest.first_files.clone(),
            changed: rest.changed.clone(),
            state: rest.state.clone(),
        }
    }

    /// The span of the transfer.
    pub(super) fn span(&self) -> tracing::Span {
        tracing::info_span!("transfer", id = self.id, local = %self.local, dir = %self.dir.display())
    }

    /// The directory's path.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn failure(&self, reason: &str, help: Option<String>) -> TransferFailure {
        TransferFailure {
            local: self.local.clone(),
            dir: self.dir.clone(),
            reason: reason.into(),
            help: help.map(Into::into),
        }
    }

    fn event(&self) -> Transfer {
        Transfer {
            id: self.id,
            local: self.local.clone(),
            dir: self.dir.clone(),
            entries: self.entries.load(Ordering::Relaxed),
            files: self.files.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            done: false,
        }
    }
}

/// Sends events on the progress of one transfer. When dropped, it sends the event that the transfer is over.
pub(super) struct Teller {
    record: Arc<TransferRecord>,
    sink: EventSink,
    told: Transfer,
}

impl Teller {
    pub(super) fn new(record: Arc<TransferRecord>, sink: EventSink) -> Self {
        let told = record.event();
        Self { record, sink, told }
    }

    /// Sends the progress if it has changed since the last event.
    pub(super) fn tell(&mut self) {
        let event = self.record.event();
        if event != self.told {
            self.told = event.clone();
            self.sink.send(EventKind::Transfer(event));
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        // This has no effect if the transfer has ended before.
        self.record.end(TransferState::Abandoned);
        let event = Transfer {
            done: true,
            ..self.record.event()
        };
        let (entries, files, bytes) = (event.entries, event.files, event.bytes);
        match &self.record.rest().state {
            TransferState::Failed(reason) => {
                tracing::warn!(entries, files, bytes, %reason, "transfer failed");
            }
            TransferState::Abandoned => {
                tracing::debug!(entries, files, bytes, "transfer abandoned by the builder");
            }
            TransferState::Complete | TransferState::Running => {
                tracing::debug!(entries, files, bytes, "transfer ended");
            }
        }
        self.sink.send(EventKind::Transfer(event));
    }
}

/// The first failure of any transfer of one service.
#[derive(Debug)]
pub(super) struct FailureSlot(watch::Sender<Option<TransferFailure>>);

impl Default for FailureSlot {
    fn default() -> Self {
        Self(watch::channel(None).0)
    }
}

impl FailureSlot {
    /// Records a failure. Only the first one is kept.
    pub(super) fn set(&self, failure: TransferFailure) {
        self.0.send_if_modified(|slot| {
            let first = slot.is_none();
            if first {
                *slot = Some(failure);
            }
            first
        });
    }

    pub(super) fn get(&self) -> Option<TransferFailure> {
        self.0.borrow().clone()
    }

    pub(super) fn wait(&self) -> impl Future<Output = TransferFailure> + Send + use<> {
        let mut slot = self.0.subscribe();
        async move {
            let failure = match slot.wait_for(Option::is_some).await {
                Ok(slot) => slot.clone(),
                Err(_) => None,
            };
            match failure {
                Some(failure) => failure,
                // The service was dropped without a failure.
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_only_the_first_and_short_paths() {
        let kept = |paths: &[Vec<u8>]| TransferRecord::new("l", PathBuf::new(), paths).paths;
        assert_eq!(kept(&[b"a".to_vec(), b"b/c".to_vec()]), ["a", "b/c"]);
        assert_eq!(kept(&vec![b"x".to_vec(); 100]).len(), FIRST_PATHS);
        let long = vec![b'x'; PATH_BYTES / 2 + 1];
        assert_eq!(kept(&[long.clone(), long]).len(), 1);
    }
}
