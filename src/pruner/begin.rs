//! The beginning of a prune, before anything is deleted.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;

use super::apply::ReadingAge;
use super::lease::PruneLease;
use super::record_file::{PruneRecordFile, was_killed};
use super::{PruneError, RepositoryReader};
use crate::prune::plan::{PruneAct, PrunePlan, StalePlan, plan};
use crate::prune::policy::PruneRequest;
use crate::prune::record::{
    DeletedManifest, MANIFEST_BYTES, PruneEvent, PruneHeader, PruneStatus, RecordedStep,
};
use crate::publish::journal::RunId;
use crate::types::blocking::unblock;
use crate::types::{Clock, Digest};

/// What the user agreed to.
#[derive(Debug)]
pub(crate) struct PruneApproval {
    /// What to prune.
    pub(crate) request: PruneRequest,
    /// The plan that was shown.
    pub(crate) plan: PrunePlan,
    /// Whether the repository must be exactly the one for which the plan was made. Otherwise, it is enough that the same
    /// deletions would be planned for it as it is now.
    pub(crate) is_exact: bool,
}

/// A prune of one repository that deletes.
#[derive(Debug)]
pub(crate) struct Pruning {
    pub(super) reader: RepositoryReader,
    pub(super) plan: PrunePlan,
    pub(super) request: PruneRequest,
    pub(super) lease: PruneLease,
    pub(super) record: PruneRecordFile,
    pub(super) age: ReadingAge,
    /// The blobs that what stays shares with what goes, as far as they are there.
    pub(super) shared_blobs: BTreeSet<Digest>,
}

impl Pruning {
    /// Takes the repository of `reader`, reads it again, and writes the record of `approval` into `directory`.
    ///
    /// # Errors
    /// Another prune has the repository, or it has changed. Nothing was deleted then.
    pub(crate) async fn begin(
        mut reader: RepositoryReader,
        approval: PruneApproval,
        directory: PathBuf,
        clock: &Clock,
    ) -> Result<Self, PruneError> {
        if let Some(obstacle) = reader.deleter.obstacle() {
            return Err(PruneError::NoDeletion {
                reason: obstacle.reason.clone(),
            });
        }
        let (run, started) = RunId::new(clock).map_err(PruneError::Random)?;
        let is_dead = |run: &RunId| was_killed(&directory, run);
        let lease = PruneLease::take(&reader.deleter, &run, clock, is_dead).await?;
        let made = match current_plan(&mut reader, &approval).await {
            Ok((plan, shared)) => {
                let header = header(&reader, &approval, &plan, run, started);
                let file = unblock(move || PruneRecordFile::create(&directory, header)).await;
                file.map(|file| (plan, shared, file))
            }
            Err(error) => Err(error),
        };
        let (plan, shared_blobs, record) = match made {
            Ok(made) => made,
            Err(error) => {
                lease.release().await;
                return Err(error);
            }
        };
        let mut pruning = Self {
            reader,
            plan,
            request: approval.request,
            lease,
            record,
            age: ReadingAge::default(),
            shared_blobs,
        };
        match pruning.record_steps().await {
            Ok(()) => Ok(pruning),
            Err(error) => {
                pruning.lease.release().await;
                Err(error)
            }
        }
    }

    /// The name of the prune, by which it can be taken back.
    pub(crate) fn run(&self) -> &RunId {
        &self.record.record().header.run
    }

    /// Writes all steps down.
    async fn record_steps(&mut self) -> Result<(), PruneError> {
        let mut bytes = 0;
        let steps = self.plan.steps().iter().map(|step| {
            let manifest = match step.act {
                PruneAct::DeleteManifest => self.reader.manifest(&step.digest),
                PruneAct::RemoveTag(_) => None,
            };
            let manifest = manifest.filter(|manifest| {
                bytes += manifest.bytes().len();
                bytes <= MANIFEST_BYTES
            });
            PruneEvent::Planned(Box::new(RecordedStep {
                act: step.act.clone(),
                digest: step.digest.clone(),
                tags: step.tags.keys().cloned().collect(),
                manifest: manifest.map(|manifest| DeletedManifest {
                    media_type: manifest.media_type().to_owned(),
                    bytes: manifest.bytes().to_vec(),
                }),
                outcome: None,
            }))
        });
        let steps: Vec<PruneEvent> = steps.collect();
        self.record.write(steps).await
    }

    /// Records how the prune ended, and gives the repository free.
    pub(super) async fn end(&mut self, status: PruneStatus) -> Result<(), PruneError> {
        self.record.write(vec![PruneEvent::Status(status)]).await
    }

    /// Gives the repository free. Returns the record.
    pub(crate) async fn release(self) -> RepositoryReader {
        self.lease.release().await;
        self.reader
    }
}

fn header(
    reader: &RepositoryReader,
    approval: &PruneApproval,
    plan: &PrunePlan,
    run: RunId,
    started: Timestamp,
) -> PruneHeader {
    let older_than = approval.request.now.checked_sub(approval.request.grace);
    PruneHeader {
        run,
        started,
        repository: reader.repository.name().clone(),
        plan: plan.digest(),
        older_than: older_than.unwrap_or(Timestamp::MIN),
    }
}

/// The plan for the repository as it is now, which must mean the deletions that the user agreed to, and the blobs that
/// what stays shares with what goes.
async fn current_plan(
    reader: &mut RepositoryReader,
    approval: &PruneApproval,
) -> Result<(PrunePlan, BTreeSet<Digest>), PruneError> {
    let now = reader.read().await?;
    let plan = if approval.plan.check_unchanged(&now.state).is_ok() {
        approval.plan.clone()
    } else if approval.is_exact || !now.state.closed().is_empty() {
        return Err(StalePlan::Changed.into());
    } else {
        plan(&now.state, &approval.request, approval.plan.traits())?
    };
    if plan.steps() != approval.plan.steps() {
        return Err(StalePlan::Changed.into());
    }
    let shared = plan.shared_blobs(&now.state).into_iter().cloned().collect();
    Ok((plan, reader.present(shared).await?))
}
