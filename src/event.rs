//! What happens during a run: the events that `run` and `engine` send to `report`.
//!
//! An event states a fact and never tells `report` what to draw. One display model per run receives all events.
//! Targets that share a vertex report it with equal digests, so the model counts it once.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::diag::{Diagnostic, Notices};
use crate::outcome::TargetOutcome;
use crate::types::{Clock, Digest, TargetName};

/// One thing that happened, with its time.
#[derive(Debug, Clone)]
pub struct Event {
    /// Time since the run began, by this machine's monotonic clock.
    pub at: Duration,
    /// The thing that happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// A builder was chosen, and the targets are known. Local work may be reported before.
    RunStarted {
        /// The builder's name or address, as it is shown.
        builder: String,
        /// How the builder is reached: `remote`, `docker`, `docker-container`, `embedded`.
        driver: String,
        /// All targets that will be built, in the order of the plan.
        targets: Vec<TargetName>,
    },
    /// A target that could be solved waits, because as many targets as the user allows are being solved (`--jobs`). A target that
    /// has started may have to wait again.
    TargetQueued {
        /// The target that waits.
        target: TargetName,
        /// The most targets that are solved at once.
        limit: NonZeroU32,
    },
    /// The solve of a target was sent to the engine, or the target waits no longer.
    TargetStarted {
        /// The target whose solve was sent.
        target: TargetName,
    },
    /// The engine reported progress of a target's solve. Targets that share vertices each report them.
    Progress {
        /// The target whose solve reports.
        target: TargetName,
        /// The reported vertices, progress, logs and warnings.
        update: Arc<StatusUpdate>,
    },
    /// Work that this machine does, not the engine: authentication, loading into Docker, downloads.
    Local(LocalWork),
    /// A directory transfer to the engine made progress.
    Transfer(Transfer),
    /// A target ended, or will not be started.
    TargetFinished {
        /// The target that ended.
        target: TargetName,
        /// How it ended.
        outcome: Arc<TargetOutcome>,
    },
    /// A warning or note that does not stop the run.
    Notice(Diagnostic),
    /// The user asked to stop. Targets that still run are being cancelled.
    Stopping {
        /// The reason as a fragment, such as `interrupted`.
        reason: String,
    },
    /// The run is over.
    RunFinished,
}

/// A batch of progress from one solve, as BuildKit sends it. The order is not reliable, within a batch or between
/// batches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StatusUpdate {
    /// States of vertices. A later state of a vertex replaces an earlier one.
    pub vertices: Vec<Vertex>,
    /// Progress of work within vertices, such as single layers of a pull.
    pub progress: Vec<VertexProgress>,
    /// Output of the vertices' processes.
    pub logs: Vec<VertexLog>,
    /// Warnings of the frontend, such as failed Dockerfile checks.
    pub(crate) warnings: Vec<VertexWarning>,
}

/// The state of one vertex of the build graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Vertex {
    /// The vertex's identity. Targets that share the vertex report the same digest.
    pub digest: Digest,
    /// Digests of the vertices that this one depends on.
    pub inputs: Vec<Digest>,
    /// The name that the frontend gives it, such as `[web 2/5] RUN make`.
    pub name: String,
    /// Whether the result came from the cache.
    pub cached: bool,
    /// The start of the current interval of work, by the daemon's clock. BuildKit may report several intervals for
    /// one vertex.
    pub started: Option<SystemTime>,
    /// The end of that interval, by the daemon's clock. `None` while the vertex is running.
    pub completed: Option<SystemTime>,
    /// Why the vertex failed; empty if it did not.
    pub error: String,
    /// The group that this vertex is a member of, if any.
    pub group: Option<ProgressGroup>,
}

/// A set of vertices that is shown as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressGroup {
    /// Equal for all members of the group.
    pub(crate) id: String,
    /// The name that is shown for the group.
    pub(crate) name: String,
    /// Whether this vertex is only a weak member. Other clients do not show a group of weak members as one line.
    pub(crate) weak: bool,
}

/// Progress of one piece of work within a vertex, such as a layer that is pulled.
#[derive(Debug, Clone, PartialEq)]
pub struct VertexProgress {
    /// Identifies the piece of work within the vertex.
    pub id: String,
    /// The vertex that it belongs to.
    pub vertex: Digest,
    /// What is being done. May be empty.
    pub name: String,
    /// The amount done, usually in bytes.
    pub current: i64,
    /// The whole amount, in the same unit; 0 if unknown.
    pub total: i64,
    /// When the daemon observed this.
    pub timestamp: Option<SystemTime>,
    /// When the work started, by the daemon's clock.
    pub started: Option<SystemTime>,
    /// When the work ended, by the daemon's clock.
    pub completed: Option<SystemTime>,
}

/// Output of a vertex: raw bytes, which may be split anywhere, even inside a character.
#[derive(Debug, Clone, PartialEq)]
pub struct VertexLog {
    /// The vertex that wrote it.
    pub vertex: Digest,
    /// When it was written.
    pub timestamp: Option<SystemTime>,
    /// 1 for standard output, 2 for standard error.
    pub stream: i64,
    /// The output as written.
    pub data: Bytes,
}

/// A warning of the frontend, such as a failed Dockerfile check.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VertexWarning {
    /// The vertex that the warning belongs to.
    pub(crate) vertex: Digest,
    /// The severity as the daemon sends it: 1 for the warning of a Dockerfile check.
    pub(crate) level: i64,
    /// The warning in one line.
    pub(crate) short: String,
    /// Further lines of explanation.
    pub(crate) detail: Vec<String>,
    /// The address of a page that describes the check.
    pub(crate) url: String,
    /// The source lines that the warning is about, if the daemon named them.
    pub(crate) source: Option<SourceExcerpt>,
}

/// The `filename` of an excerpt begins with this if the text is not a file but a Dockerfile written in the
/// definition.
pub(crate) const INLINE_DOCKERFILE: &str = "dockerfile-inline of ";

/// Source text that the daemon refers to, with the ranges of lines that it means.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
pub struct SourceExcerpt {
    /// The file name that the frontend uses.
    pub filename: String,
    /// The whole text of the file; empty if the daemon did not send it.
    pub text: Arc<str>,
    /// The first and the last line of each range, from 1, both inclusive.
    pub lines: Vec<(u32, u32)>,
}

/// Work on this machine that takes long enough to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
pub struct LocalWork {
    /// Identifies the work within the run. Later events with the same id replace earlier ones.
    pub(crate) id: String,
    /// The target that it is done for, or `None` if it is for the whole run.
    pub(crate) target: Option<TargetName>,
    /// What is done, as a phrase such as `load image into Docker`.
    pub(crate) name: String,
    /// Amount done, in bytes.
    pub(crate) current: u64,
    /// The whole amount in bytes, or `None` if unknown.
    pub(crate) total: Option<u64>,
    /// Whether the work has ended, successfully or not.
    pub(crate) done: bool,
    /// Why the work failed, or `None` if it did not.
    pub(crate) error: Option<String>,
}

/// The progress of one directory transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
pub struct Transfer {
    /// Identifies the transfer within the run.
    pub(crate) id: u64,
    /// The name by which the daemon asks for the directory: `context`, `dockerfile` or the name of a named
    /// context.
    pub(crate) local: String,
    /// The directory on this machine.
    pub(crate) dir: PathBuf,
    /// The number of files and directories listed so far.
    pub(crate) entries: u64,
    /// The number of files whose content was sent or is being sent.
    pub(crate) files: u64,
    /// The bytes of file content sent so far.
    pub(crate) bytes: u64,
    /// Whether the transfer has ended.
    pub(crate) done: bool,
}

impl Transfer {
    /// Merges another event of the same transfer into this one. Several tasks report one transfer, and their
    /// events may arrive in any order. Because the numbers only grow, the larger one is the newer one.
    pub(crate) fn join(&mut self, other: &Self) {
        self.entries = self.entries.max(other.entries);
        self.files = self.files.max(other.files);
        self.bytes = self.bytes.max(other.bytes);
        self.done |= other.done;
    }
}

/// Receives events. A clone is given to every part of the program that reports something.
///
/// Sending never blocks. The receiving side keeps events until they are read. It may join progress updates of the
/// same target.
#[derive(Clone)]
pub struct EventSink {
    clock: Clock,
    send: Arc<dyn Fn(Event) + Send + Sync>,
}

impl EventSink {
    /// Makes a sink that passes each event to `send`, stamped with the time that `clock` has measured since the
    /// run began.
    pub fn new(clock: Clock, send: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self {
            clock,
            send: Arc::new(send),
        }
    }

    /// Makes a sink that applies `change` to each event and passes the result to this sink. The time stamp stays
    /// the same.
    #[must_use]
    pub fn map(&self, change: impl Fn(EventKind) -> EventKind + Send + Sync + 'static) -> Self {
        let send = Arc::clone(&self.send);
        Self::new(self.clock.clone(), move |event| {
            send(Event {
                at: event.at,
                kind: change(event.kind),
            });
        })
    }

    /// Makes a sink that drops all events.
    pub fn none() -> Self {
        Self::new(Clock::system(), |_| {})
    }

    /// Messages that become events of this sink.
    pub(crate) fn notices(&self) -> Notices {
        let sink = self.clone();
        Notices::new(move |notice| sink.send(EventKind::Notice(notice)))
    }

    /// Sends `kind`, stamped with the current time.
    pub fn send(&self, kind: EventKind) {
        (self.send)(Event {
            at: self.clock.elapsed(),
            kind,
        });
    }
}

impl std::fmt::Debug for EventSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventSink")
    }
}
