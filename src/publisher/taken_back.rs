//! Whether somebody else has taken a run back while it was going on.
//!
//! A command on another machine cannot see that a run is going on: its record looks like that of a run that was killed. So
//! the run reads its record again before it replaces it, and before it moves mutable tags.

use futures_util::future::try_join_all;

use super::claims::read_run;
use super::find::follow;
use super::{PublishError, Publisher};
use crate::publish::journal::{Journal, RunStatus};
use crate::registry::RemoteRepository;

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

fn is_taken_back(journal: &Journal) -> bool {
    matches!(journal.status, RunStatus::Undoing | RunStatus::Undone)
}
