//! What happens during a run, in the words `run`, `engine` and `registry` share with `report`.
//!
//! Events are facts, never instructions to draw. One display model per run takes them all; vertices that several targets
//! share carry equal digests, so the model counts them once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::diag::Diagnostic;
use crate::outcome::TargetOutcome;
use crate::types::{Clock, Digest, TargetName};

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// Time since the run began, by this machine's monotonic clock.
    pub at: Duration,
    /// What it was.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum EventKind {
    /// A builder was chosen and the targets are known.
    RunStarted {
        /// The builder, as it is shown: its name or address.
        builder: String,
        /// How it is reached: `remote`, `docker`, `docker-container`, `embedded`.
        driver: String,
        /// All targets that will be built, in the order of the plan.
        targets: Vec<TargetName>,
    },
    /// A target's solve was sent.
    TargetStarted {
        /// The target.
        target: TargetName,
    },
    /// The engine reported progress of a target's solve.
    Progress {
        /// The target whose solve reports.
        target: TargetName,
        /// What it reports.
        update: Arc<StatusUpdate>,
    },
    /// Work of this machine rather than the engine's: authentication, loading into Docker, downloads.
    Local(LocalWork),
    /// A directory transfer to the engine went on.
    Transfer(Transfer),
    /// A target ended.
    TargetFinished {
        /// The target.
        target: TargetName,
        /// How it ended.
        outcome: Arc<TargetOutcome>,
    },
    /// A warning or note that does not stop the run.
    Notice(Diagnostic),
    /// The user asked to stop; what still runs is being cancelled.
    Stopping {
        /// Why, as a fragment such as `interrupted`.
        reason: String,
    },
    /// All is over.
    RunFinished,
}

/// A batch of progress from one solve, as BuildKit sends it: unordered within and across batches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StatusUpdate {
    /// States of vertices; later ones replace earlier ones.
    pub vertices: Vec<Vertex>,
    /// Progress within vertices.
    pub progress: Vec<VertexProgress>,
    /// Output of vertices.
    pub logs: Vec<VertexLog>,
    /// Warnings of the frontend.
    pub(crate) warnings: Vec<VertexWarning>,
}

/// The state of one vertex of the build graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Vertex {
    /// Identity; equal for targets that share the vertex.
    pub digest: Digest,
    /// Digests of the vertices it depends on.
    pub inputs: Vec<Digest>,
    /// Name as the frontend gives it, such as `[web 2/5] RUN make`.
    pub name: String,
    /// Whether its result came from the cache.
    pub cached: bool,
    /// Start of the current interval of work, by the daemon's clock.
    pub started: Option<SystemTime>,
    /// End of that interval.
    pub completed: Option<SystemTime>,
    /// Why it failed; empty if it did not.
    pub error: String,
    /// The group whose members are shown as one line.
    pub group: Option<ProgressGroup>,
}

/// A set of vertices shown as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressGroup {
    /// Identity.
    pub(crate) id: String,
    /// Name to show.
    pub(crate) name: String,
    /// A weak group is not shown by itself.
    pub(crate) weak: bool,
}

/// Progress within a vertex, such as a layer being pulled.
#[derive(Debug, Clone, PartialEq)]
pub struct VertexProgress {
    /// Identity within the vertex.
    pub id: String,
    /// The vertex.
    pub vertex: Digest,
    /// What is being done; may be empty.
    pub name: String,
    /// Amount done, usually in bytes.
    pub current: i64,
    /// Amount to do; 0 if unknown.
    pub total: i64,
    /// When this was observed.
    pub timestamp: Option<SystemTime>,
    /// When the work started.
    pub started: Option<SystemTime>,
    /// When it ended.
    pub completed: Option<SystemTime>,
}

/// Output of a vertex: raw bytes, split anywhere.
#[derive(Debug, Clone, PartialEq)]
pub struct VertexLog {
    /// The vertex.
    pub vertex: Digest,
    /// When it was written.
    pub timestamp: Option<SystemTime>,
    /// 1 for standard output, 2 for standard error.
    pub stream: i64,
    /// The bytes.
    pub data: Bytes,
}

/// A warning of the frontend, such as a failed Dockerfile rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VertexWarning {
    /// The vertex.
    pub(crate) vertex: Digest,
    /// 1 for a rule's warning.
    pub(crate) level: i64,
    /// One line.
    pub(crate) short: String,
    /// More lines.
    pub(crate) detail: Vec<String>,
    /// Where the rule is described.
    pub(crate) url: String,
    /// The source it is about.
    pub(crate) source: Option<SourceExcerpt>,
}

/// What the name of an excerpt begins with that is of no file: the text of a Dockerfile in the definition.
pub(crate) const INLINE_DOCKERFILE: &str = "dockerfile-inline of ";

/// Source text that the daemon refers to, with the line ranges in question.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
pub struct SourceExcerpt {
    /// File name as the frontend knows it.
    pub filename: String,
    /// The whole text, where the daemon sent it.
    pub text: Arc<str>,
    /// First and last line of each range, both from 1 and inclusive.
    pub lines: Vec<(u32, u32)>,
}

/// Work of this machine that takes noticeable time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
pub struct LocalWork {
    /// Identity within the run.
    pub(crate) id: String,
    /// The target it is done for, if for one.
    pub(crate) target: Option<TargetName>,
    /// What is done, such as `load image into Docker`.
    pub(crate) name: String,
    /// Amount done, in bytes.
    pub(crate) current: u64,
    /// Amount to do, where known.
    pub(crate) total: Option<u64>,
    /// Whether it is over.
    pub(crate) done: bool,
    /// Why it failed, if it did.
    pub(crate) error: Option<String>,
}

/// Progress of one directory transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
pub struct Transfer {
    /// Identity within the run.
    pub(crate) id: u64,
    /// Name the daemon asks by: `context`, `dockerfile` or a named context.
    pub(crate) local: String,
    /// The directory.
    pub(crate) dir: PathBuf,
    /// Entries listed so far.
    pub(crate) entries: u64,
    /// Files whose content was sent, or is being sent.
    pub(crate) files: u64,
    /// Bytes of content sent so far.
    pub(crate) bytes: u64,
    /// Whether it is over.
    pub(crate) done: bool,
}

impl Transfer {
    /// Takes in what another event says of the same transfer: numbers only grow, whoever of several tasks tells them first.
    pub(crate) fn join(&mut self, other: &Self) {
        self.entries = self.entries.max(other.entries);
        self.files = self.files.max(other.files);
        self.bytes = self.bytes.max(other.bytes);
        self.done |= other.done;
    }
}

/// Takes events; given to everything that has something to tell.
///
/// Sending never blocks: what a reader has not taken yet is kept, except that progress updates of one
/// target are joined by the receiver.
#[derive(Clone)]
pub struct EventSink {
    clock: Clock,
    send: Arc<dyn Fn(Event) + Send + Sync>,
}

impl EventSink {
    /// A sink that hands each event to `send`, stamped with the time `clock` has measured.
    pub fn new(clock: Clock, send: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self {
            clock,
            send: Arc::new(send),
        }
    }

    /// A sink that hands on to this one what `change` makes of each event.
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

    /// A sink that drops everything.
    pub fn none() -> Self {
        Self::new(Clock::system(), |_| {})
    }

    /// Tells that `kind` happened now.
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
