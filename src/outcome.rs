//! How targets and runs end.

use std::collections::BTreeMap;
use std::time::Duration;

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
    /// Not started, because a target it links to did not succeed.
    Skipped {
        /// That target.
        because: TargetName,
    },
    /// Stopped on request.
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
    /// A signal arrived.
    Signal(i32),
    /// The output could not be written any more.
    ReporterBroken,
}

/// What a finished solve gave.
#[derive(Debug, Clone, Default)]
#[cfg_attr(
    any(test, feature = "recording"),
    derive(serde::Deserialize),
    serde(default)
)]
pub struct Solved {
    /// The exporter response as the daemon sent it, keys such as `containerimage.digest`.
    pub response: BTreeMap<String, String>,
    /// The build's id in the daemon's history.
    pub build_ref: String,
    /// Time from sending the solve to its end.
    pub elapsed: Duration,
    /// The compressed size of the exported image in bytes, where the daemon tells.
    pub size: Option<u64>,
    /// What was written into directories of this machine and has powers beyond its content.
    pub(crate) special: SpecialFiles,
}

/// Files with powers beyond their content, among those that a solve wrote into directories of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(
    any(test, feature = "recording"),
    derive(serde::Deserialize),
    serde(default)
)]
pub(crate) struct SpecialFiles {
    /// Files with a set-user-id or set-group-id bit.
    pub(crate) set_id: u64,
    /// Devices.
    pub(crate) devices: u64,
    /// Files and directories with attributes such as `security.capability`.
    pub(crate) attributes: u64,
    /// Set-id bits and extended attributes that could not be kept.
    pub(crate) dropped: u64,
    /// The first of them: what it is, where, and why.
    pub(crate) first_dropped: Option<String>,
}

impl SpecialFiles {
    /// Adds what another transfer wrote.
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
    /// The digest of the exported image, where one was exported.
    pub fn digest(&self) -> Option<Digest> {
        self.response.get("containerimage.digest")?.parse().ok()
    }
}

/// What is told of a built target at the end of a run, beside how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFacts {
    /// The target.
    pub(crate) target: TargetName,
    /// The digest of what was exported: the index or manifest, or the image in the Docker Engine.
    pub(crate) digest: Option<Digest>,
    /// The names the image has now, in full.
    pub(crate) tags: Vec<String>,
    /// Its size in bytes, compressed, where it is known.
    pub(crate) size: Option<u64>,
    /// Where it went, such as `pushed`, `loaded into Docker`, `written to ./out`.
    pub(crate) destinations: Vec<String>,
}

/// What kind of failure a solve met; decides exit code and wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    any(test, feature = "recording"),
    derive(serde::Deserialize),
    serde(rename_all = "lowercase")
)]
pub enum FailureKind {
    /// A step, the frontend or an exporter failed.
    Build,
    /// The engine was lost or could not be spoken to.
    Engine,
    /// A privilege was not granted.
    Entitlement,
    /// gRPC `Internal`: exit code 100, as buildx.
    Internal,
    /// gRPC `ResourceExhausted`: exit code 102, as buildx.
    Exhausted,
    /// The daemon says it was cancelled.
    Cancelled,
}

/// Why a solve failed, with what the daemon told about it.
#[derive(Debug, Clone)]
#[cfg_attr(any(test, feature = "recording"), derive(serde::Deserialize))]
pub struct SolveFailure {
    /// The kind.
    pub kind: FailureKind,
    /// The daemon's message, without gRPC's decoration.
    pub message: String,
    /// The vertex that failed.
    pub vertex: Option<Digest>,
    /// Source places, innermost first.
    #[cfg_attr(any(test, feature = "recording"), serde(default))]
    pub sources: Vec<SourceExcerpt>,
    /// Exit code of the process that failed.
    pub exit_code: Option<i32>,
    /// Ways out, one line each.
    #[cfg_attr(any(test, feature = "recording"), serde(default))]
    pub help: Vec<String>,
    /// Stack traces and such, for `--debug`.
    #[cfg_attr(any(test, feature = "recording"), serde(default))]
    pub debug: Vec<String>,
}

impl SolveFailure {
    /// A failure of which only kind and message are known.
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

/// How a run ended.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Each target's end, in the order of the plan.
    pub(crate) targets: Vec<(TargetName, std::sync::Arc<TargetOutcome>)>,
    /// Wall-clock time of the run.
    pub(crate) elapsed: Duration,
}
