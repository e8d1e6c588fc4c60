//! The record of what a prune deletes, so that a person can read it and a program can put back what the registry still
//! has.
//!
//! It is kept on this machine as lines of JSON. All deletions are written before the first of them is made, with the
//! bytes of the manifests: a registry keeps the blobs of a deleted manifest until its garbage collection, and takes the
//! same manifest again until then.
//!
//! ```json
//! {"prune":1,"run":"20261128T223000Z-0a1b2c3d","started":"2026-11-28T22:30:00Z","repository":"docker.io/a/b","plan":"sha256:…","older-than":"2026-11-27T22:30:00Z"}
//! {"step":0,"act":"delete","digest":"sha256:…","tags":["build-1"],"type":"application/…","manifest":"eyJz…"}
//! {"step":0,"outcome":"done"}
//! {"status":"complete"}
//! ```

mod lines;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::plan::{PruneAct, StepOutcome};
use crate::publish::journal::RunId;
use crate::types::{Digest, ImageRepository, ImageTag};

pub(crate) use lines::{PruneRecordError, event_lines, fold, header_line};

/// The most steps of one record.
pub(crate) const STEP_LIMIT: usize = 1_000_000;
/// The most bytes of manifests that one record holds. Manifests beyond it are recorded without their bytes.
pub(crate) const MANIFEST_BYTES: usize = 64 << 20;

/// What is known of a prune from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PruneHeader {
    /// Its name, as that of a run.
    pub(crate) run: RunId,
    /// When it began.
    pub(crate) started: Timestamp,
    /// The repository.
    pub(crate) repository: ImageRepository,
    /// The digest of the plan.
    pub(crate) plan: Digest,
    /// All that it deletes was made before this time.
    pub(crate) older_than: Timestamp,
}

/// How far a prune is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PruneStatus {
    /// It goes on, or was killed.
    Open,
    /// All steps were made.
    Complete,
    /// It ended, but some steps were not made.
    Partial,
    /// What could be put back was put back.
    Undone,
}

/// The content of a manifest that is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeletedManifest {
    /// The media type.
    pub(crate) media_type: String,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
}

/// One deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordedStep {
    /// What it does.
    pub(crate) act: PruneAct,
    /// The manifest that goes, or that has the tag.
    pub(crate) digest: Digest,
    /// The tags that go with it.
    pub(crate) tags: BTreeSet<ImageTag>,
    /// The manifest that goes. `None` if only a tag goes, or if the record would be too large with it.
    pub(crate) manifest: Option<DeletedManifest>,
    /// How it ended. `None` if that is not known: it may have been made or not.
    pub(crate) outcome: Option<StepOutcome>,
}

impl RecordedStep {
    /// Whether it may have deleted something.
    pub(crate) fn may_be_made(&self) -> bool {
        matches!(
            self.outcome,
            None | Some(StepOutcome::Done | StepOutcome::AlreadyGone | StepOutcome::Failed)
        )
    }
}

/// The record of a prune.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PruneRecord {
    /// What is known from the start.
    pub(crate) header: PruneHeader,
    /// The deletions, in order.
    pub(crate) steps: Vec<RecordedStep>,
    /// How far it is.
    pub(crate) status: PruneStatus,
}

/// Something that happens in a prune, which a line records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PruneEvent {
    /// A deletion that will be made.
    Planned(Box<RecordedStep>),
    /// The deletion with this number has ended so.
    Ended(usize, StepOutcome),
    /// The prune has come to this status.
    Status(PruneStatus),
}

impl PruneRecord {
    /// The record of a prune that begins.
    pub(crate) const fn new(header: PruneHeader) -> Self {
        Self {
            header,
            steps: Vec::new(),
            status: PruneStatus::Open,
        }
    }

    /// Applies `event`.
    ///
    /// # Errors
    /// There are too many steps, or there is none with this number.
    pub(crate) fn apply(&mut self, event: PruneEvent) -> Result<(), PruneRecordError> {
        match event {
            PruneEvent::Planned(_) if self.steps.len() >= STEP_LIMIT => {
                return Err(PruneRecordError::TooMany);
            }
            PruneEvent::Planned(step) => self.steps.push(*step),
            PruneEvent::Ended(number, outcome) => {
                let step = self.steps.get_mut(number);
                step.ok_or(PruneRecordError::Field("step"))?.outcome = Some(outcome);
            }
            PruneEvent::Status(status) => self.status = status,
        }
        Ok(())
    }

    /// The manifests that an interrupted prune was to delete and may have left. If their index is gone, nothing else
    /// leads to them where a registry does not list manifests.
    pub(crate) fn left(&self) -> impl Iterator<Item = &Digest> {
        let is_open = self.status != PruneStatus::Complete && self.status != PruneStatus::Undone;
        let steps = self.steps.iter().filter(move |step| {
            let is_made = matches!(
                step.outcome,
                Some(StepOutcome::Done | StepOutcome::AlreadyGone)
            );
            is_open && !is_made && step.act == PruneAct::DeleteManifest
        });
        steps.map(|step| &step.digest)
    }
}
