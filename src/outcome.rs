//! How targets and runs end.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::diag::Diagnostic;
use crate::event::SourceExcerpt;
use crate::types::{Digest, TargetName};

/// How one target ended.
#[derive(Debug, Clone)]
#[cfg_attr(
    any(test, feature = "recording"),
    derive(serde::Deserialize),
    serde(tag = "end", rename_all = "lowercase")
)]
pub enum TargetOutcome {
    /// The solve finished and its exports were written.
    Succeeded(Solved),
    /// The solve, or a transfer it needed, failed.
    Failed(SolveFailure),
    /// The target was not built, because a target that it links to did not succeed. It may have begun: targets run the steps
    /// that they share together.
    Skipped {
        /// The target that did not succeed.
        because: TargetName,
    },
    /// The target was stopped before its end.
    Cancelled(CancelReason),
}

/// Why work was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    any(test, feature = "recording"),
    derive(serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum CancelReason {
    /// Another target failed first.
    #[cfg_attr(any(test, feature = "recording"), serde(rename = "because"))]
    FirstFailure(TargetName),
    /// A signal arrived; the number is the system's.
    Signal(i32),
    /// The run took longer than this (`--timeout`).
    TimedOut(Duration),
    /// The output could no longer be written, for example because the pipe was closed.
    ReporterBroken,
}

impl CancelReason {
    /// Whether the whole run was stopped from outside: by the user, or by the limit of its time.
    pub(crate) const fn is_of_the_whole_run(&self) -> bool {
        match self {
            Self::Signal(_) | Self::TimedOut(_) => true,
            Self::FirstFailure(_) | Self::ReporterBroken => false,
        }
    }

    /// What the user reads while such a run is being stopped, as a fragment. `None` for other reasons.
    pub(crate) const fn as_fragment(&self) -> Option<&'static str> {
        match self {
            Self::Signal(_) => Some("interrupted"),
            Self::TimedOut(_) => Some("it took too long"),
            Self::FirstFailure(_) | Self::ReporterBroken => None,
        }
    }
}

/// The result of a successful solve.
#[derive(Debug, Clone, Default)]
#[cfg_attr(
    any(test, feature = "recording"),
    derive(serde::Deserialize),
    serde(default)
)]
pub struct Solved {
    /// The exporter response as the daemon sent it, with keys such as `containerimage.digest`.
    pub response: BTreeMap<String, String>,
    /// The id of the build in the daemon's history.
    pub build_ref: String,
    /// The names of the builder and of its node that built it, as in `builder/node`. `None` if several nodes did, or it is not known.
    pub(crate) node_path: Option<String>,
    /// The method of the frontend that was called instead of a build. Its answer is in `response`, and the history does
    /// not have it. `None` for a build.
    pub(crate) called: Option<String>,
    /// The time from sending the solve to its end.
    pub elapsed: Duration,
    /// The compressed size of the exported image in bytes, or `None` if the daemon does not report it.
    pub size: Option<u64>,
    /// The digest of the image that the daemon made, also if the response names another one: that which is in the
    /// registry already.
    pub(crate) made: Option<Digest>,
    /// Files with special privileges that were written into directories of this machine.
    pub(crate) special: SpecialFiles,
}

/// Counts files with privileges beyond their content among those that a solve wrote into directories of this
/// machine. The user should know of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(
    any(test, feature = "recording"),
    derive(serde::Deserialize),
    serde(default)
)]
pub(crate) struct SpecialFiles {
    /// The number of files with a set-user-id or set-group-id bit.
    pub(crate) set_id: u64,
    /// The number of device files.
    pub(crate) devices: u64,
    /// The number of files and directories with extended attributes such as `security.capability`.
    pub(crate) attributes: u64,
    /// The number of set-id bits and extended attributes that could not be kept.
    pub(crate) dropped: u64,
    /// A text for the first dropped one: what it is, its file, and why it could not be kept.
    pub(crate) first_dropped: Option<String>,
}

impl SpecialFiles {
    /// Adds the counts of another transfer.
    pub(crate) fn add(&mut self, other: &Self) {
        self.set_id += other.set_id;
        self.devices += other.devices;
        self.attributes += other.attributes;
        self.dropped += other.dropped;
        if self.first_dropped.is_none() {
            self.first_dropped.clone_from(&other.first_dropped);
        }
    }
}

impl Solved {
    /// Returns the digest of the exported image, or `None` if no image was exported.
    pub fn digest(&self) -> Option<Digest> {
        self.response.get("containerimage.digest")?.parse().ok()
    }
}

/// What the summary says about a built target, besides how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFacts {
    /// The target that was built.
    pub(crate) target: TargetName,
    /// The digest of the export: the index or manifest, or the image in the Docker Engine.
    pub(crate) digest: Option<Digest>,
    /// The full names that the image now has.
    pub(crate) tags: Vec<String>,
    /// The compressed size in bytes, or `None` if unknown.
    pub(crate) size: Option<u64>,
    /// Where the result went, as phrases such as `pushed`, `loaded into Docker`, `written to ./out`.
    pub(crate) destinations: Vec<String>,
}

/// The kind of failure. It decides the exit code and the wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    any(test, feature = "recording"),
    derive(serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum FailureKind {
    /// A build step, the frontend or an exporter failed.
    Build,
    /// The connection to the engine was lost, or the engine did not answer as expected.
    Engine,
    /// The solve needs a privilege that was not granted.
    Entitlement,
    /// gRPC code `Internal`. rbake exits with 100, as buildx does.
    Internal,
    /// gRPC code `ResourceExhausted`. rbake exits with 102, as buildx does.
    Exhausted,
    /// The daemon reports that the solve was cancelled.
    Cancelled,
}

/// Why a solve failed, with the details that the daemon sent.
#[derive(Debug, Clone)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
pub struct SolveFailure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The daemon's message, without the prefixes that gRPC adds.
    pub message: String,
    /// The vertex that failed, if the daemon named it.
    pub vertex: Option<Digest>,
    /// The source lines that the failure is about, innermost first.
    #[cfg_attr(any(test, feature = "recording"), serde(default))]
    pub sources: Vec<SourceExcerpt>,
    /// The exit code of the process that failed, if a process failed.
    pub exit_code: Option<i32>,
    /// What the user can do about it, one line each.
    #[cfg_attr(any(test, feature = "recording"), serde(default))]
    pub help: Vec<String>,
    /// Details such as stack traces, shown with `--debug` only.
    #[cfg_attr(any(test, feature = "recording"), serde(default))]
    pub debug: Vec<String>,
}

impl SolveFailure {
    /// Makes a failure of which only the kind and the message are known.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            vertex: None,
            sources: Vec::new(),
            exit_code: None,
            help: Vec::new(),
            debug: Vec::new(),
        }
    }
}

impl std::fmt::Display for SolveFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SolveFailure {}

/// A cache that rbake exported, for one or several targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExportedCache {
    /// The reference, the directory, or `gha:` and the scope.
    pub(crate) place: String,
    /// The number of targets whose steps it holds.
    pub(crate) targets: usize,
    /// Whether a target of them did not succeed, so that only its finished steps are in the cache.
    pub(crate) salvaged: bool,
    /// The bytes of the layers and of the list of steps. `None` if unknown.
    pub(crate) size: Option<u64>,
    /// The time that the export took.
    pub(crate) elapsed: Duration,
}

/// How a run ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// How each target ended, in the order of the plan.
    pub(crate) targets: Vec<(TargetName, std::sync::Arc<TargetOutcome>)>,
    /// What went wrong after the targets, such as the export of a cache that several of them share.
    pub(crate) problems: Vec<Diagnostic>,
    /// The caches that rbake exported after the targets.
    pub(crate) caches: Vec<ExportedCache>,
    /// Why the work after the targets was stopped. `None` if it was finished, or if a target was stopped.
    pub(crate) interrupted: Option<CancelReason>,
    /// Whether other targets went on after one had failed.
    pub(crate) kept_going: bool,
    /// The wall-clock time of the run.
    pub(crate) elapsed: Duration,
}
