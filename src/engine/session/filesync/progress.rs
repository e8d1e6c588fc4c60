//! What has been transferred, for the display while it goes on and for questions afterwards; and what went wrong here.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use crate::event::{EventKind, EventSink, Transfer};

/// A transfer that failed on this side.
///
/// The daemon is told too, but frontends go on without an ignore file whose transfer failed, and then ship everything: a
/// solve must end when this comes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot send the files of `{local}` to the builder: {reason}")]
pub struct TransferFailure {
    /// The name that the daemon asked by.
    pub(crate) local: String,
    /// The directory.
    pub(crate) dir: PathBuf,
    /// What went wrong, with its causes.
    pub(crate) reason: Arc<str>,
    /// A way out, where one is known.
    pub(crate) help: Option<Arc<str>>,
}

/// How far a transfer is, or how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferState {
    /// It goes on.
    Running,
    /// The daemon has all it asked for.
    Complete,
    /// It failed on this side, or the daemon said why it did on the other.
    Failed(Arc<str>),
    /// The daemon went away in the middle.
    Abandoned,
}

/// One transfer and what it moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferSummary {
    /// Identity within the process; the same as in events.
    pub id: u64,
    /// The name that the daemon asked by.
    pub local: String,
    /// The directory.
    pub dir: PathBuf,
    /// The first paths it asked for, if it asked for some.
    pub paths: Vec<String>,
    /// Entries that were listed.
    pub entries: u64,
    /// Files whose content was sent.
    pub files: u64,
    /// Bytes of content that were sent.
    pub bytes: u64,
    /// The first files whose content was sent.
    pub first_files: Vec<String>,
    /// How it ended.
    pub state: TransferState,
}

/// How many names a summary keeps.
const FIRST_FILES: usize = 16;
/// How many of the paths that were asked for a summary keeps, and bytes of them.
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
    rest: Mutex<(Vec<String>, TransferState)>,
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
            rest: Mutex::new((Vec::new(), TransferState::Running)),
        }
    }

    fn rest(&self) -> std::sync::MutexGuard<'_, (Vec<String>, TransferState)> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listed(&self, entries: u64) {
        self.entries.fetch_add(entries, Ordering::Relaxed);
    }

    pub(super) fn file(&self, path: &[u8]) {
        let before = self.files.fetch_add(1, Ordering::Relaxed);
        if before < FIRST_FILES as u64 {
            let path = String::from_utf8_lossy(path).into_owned();
            self.rest().0.push(path);
        }
    }

    pub(super) fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn end(&self, state: TransferState) {
        let current = &mut self.rest().1;
        if *current == TransferState::Running {
            *current = state;
        }
    }

    pub(super) fn summary(&self) -> TransferSummary {
        let (first_files, state) = self.rest().clone();
        TransferSummary {
            id: self.id,
            local: self.local.clone(),
            dir: self.dir.clone(),
            paths: self.paths.clone(),
            entries: self.entries.load(Ordering::Relaxed),
            files: self.files.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            first_files,
            state,
        }
    }

    /// The directory.
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

/// Tells of one transfer, and that it is over when dropped.
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

    /// Tells how far it is, where that has changed.
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
        self.record.end(TransferState::Abandoned);
        let event = Transfer {
            done: true,
            ..self.record.event()
        };
        self.sink.send(EventKind::Transfer(event));
    }
}

/// The first failure of the transfers of one service.
#[derive(Debug)]
pub(super) struct FailureSlot(watch::Sender<Option<TransferFailure>>);

impl Default for FailureSlot {
    fn default() -> Self {
        Self(watch::channel(None).0)
    }
}

impl FailureSlot {
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
                // The service is gone and never failed.
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_keeps_little_whatever_was_asked_for() {
        let kept = |paths: &[Vec<u8>]| TransferRecord::new("l", PathBuf::new(), paths).paths;
        assert_eq!(kept(&[b"a".to_vec(), b"b/c".to_vec()]), ["a", "b/c"]);
        assert_eq!(kept(&vec![b"x".to_vec(); 100]).len(), FIRST_PATHS);
        let long = vec![b'x'; PATH_BYTES / 2 + 1];
        assert_eq!(kept(&[long.clone(), long]).len(), 1);
    }
}
