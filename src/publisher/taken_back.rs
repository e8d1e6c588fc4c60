//! Whether somebody else has taken a run back while it was going on, or moves tags to its images while it is taken back.
//!
//! A command on another machine cannot see that a run is going on: its record looks like that of a run that was killed. So
//! the run reads its record again before it replaces it, and before it moves mutable tags.

use std::collections::BTreeSet;

use futures_util::future::{join_all, try_join_all};

use super::changes::is_refusal;
use super::claims::read_run;
use super::find::follow;
use super::{PublishError, Publisher};
use crate::publish::journal::{Journal, PublishedTag, RunId, RunOrigin, RunStatus};
use crate::registry::{RegistrySecurity, RemoteRepository};

impl Publisher {
    /// Reads the record of the run again where it is written: one request for each repository that has it.
    ///
    /// # Errors
    /// [`PublishError::TakenBack`] if the run was taken back. Its own journal says so then, too.
    pub(super) async fn check_not_taken_back(&self) -> Result<(), PublishError> {
        self.check_not_taken_back_in(&self.record.places()).await
    }

    /// Like [`check_not_taken_back`](Self::check_not_taken_back), in those of `repositories` that have the record.
    pub(super) async fn check_not_taken_back_in(
        &self,
        repositories: &[RemoteRepository],
    ) -> Result<(), PublishError> {
        let Some(run) = self.record.run() else {
            return Ok(());
        };
        let places = self.record.places();
        let reads = places
            .iter()
            .filter(|place| repositories.iter().any(|one| one.name() == place.name()))
            .map(|place| read_run(place, &run));
        let found = try_join_all(reads).await?.into_iter().flatten();
        let mut journals = found.map(|read| read.journal);
        let Some(journal) = journals.find(is_taken_back) else {
            return Ok(());
        };
        if !self.record.journal().as_ref().is_some_and(is_taken_back) {
            follow(&self.record, journal).await?;
        }
        Err(PublishError::TakenBack(run))
    }
}

impl Publisher {
    /// Reads the record of the run to whose images this one moves tags, after this one has claimed.
    ///
    /// # Errors
    /// [`PublishError::TakenBack`] if the other run was taken back.
    pub(super) async fn check_source_not_taken_back(&self) -> Result<(), PublishError> {
        let Some(journal) = self.record.journal() else {
            return Ok(());
        };
        let (RunOrigin::Promotion(run) | RunOrigin::Rollback(run)) = journal.header.origin else {
            return Ok(());
        };
        let places = self.record.places();
        let reads = places.iter().map(|place| read_run(place, &run));
        let mut found = try_join_all(reads).await?.into_iter().flatten();
        if found.any(|read| is_taken_back(&read.journal)) {
            return Err(PublishError::TakenBack(run));
        }
        Ok(())
    }

    /// Looks for runs that move tags to the images of `journal`, the record of a run that is to be taken back. `known` are those that
    /// had ended before; they and those that have ended by now are returned.
    ///
    /// # Errors
    /// [`PublishError::BeingMoved`] if there is one that has not ended, or one that has promoted the run although its record
    /// says that it is held.
    pub(super) async fn check_not_being_moved(
        &self,
        journal: &Journal,
        known: Option<&BTreeSet<RunId>>,
        security: RegistrySecurity,
    ) -> Result<BTreeSet<RunId>, PublishError> {
        let run = &journal.header.run;
        let mut ended = known.cloned().unwrap_or_default();
        if !journal.status.is_published() {
            // Nothing is moved to its images.
            return Ok(ended);
        }
        let names: BTreeSet<_> = journal
            .entries
            .keys()
            .map(PublishedTag::repository)
            .collect();
        let places: Vec<_> = names
            .into_iter()
            .map(|name| self.repository(name, security))
            .collect();
        let looks = places.iter().map(|place| self.moves_to(place, run, &ended));
        let mut moves = Vec::new();
        for look in join_all(looks).await {
            match look {
                Ok(found) => moves.extend(found),
                // Some registries do not list tags, or need another right for it.
                Err(error) if error.fault.is_denial() || is_refusal(&error) => {
                    tracing::debug!(fault = %error.fault, "other runs are not seen");
                }
                Err(error) => return Err(error.into()),
            }
        }
        for (by, has_ended) in moves {
            let is_late = known.is_some() || journal.status == RunStatus::Held;
            if !has_ended || is_late {
                let run = run.clone();
                return Err(PublishError::BeingMoved { run, by });
            }
            ended.insert(by);
        }
        Ok(ended)
    }
}

fn is_taken_back(journal: &Journal) -> bool {
    matches!(journal.status, RunStatus::Undoing | RunStatus::Undone)
}
