//! The journal of a run: on this machine, and as an artifact in the repositories whose tags the run changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::join_all;

use super::PublishError;
use super::changes::is_refusal;
use crate::publish::journal::artifact::{self, ArtifactError};
use crate::publish::journal::file::{self, JournalFile, JournalFileError};
use crate::publish::journal::{
    EntryState, Journal, JournalEntry, JournalEvent, JournalHeader, PublishedTag, RunId, RunOrigin,
    RunStatus,
};
use crate::publish::revision::CommitState;
use crate::registry::{RawManifest, RegistryError, RemoteRepository, TagOrDigest};
use crate::types::blocking::unblock;
use crate::types::causes::in_one_line;
use crate::types::{Clock, ImageRepository, ImageTag};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The journal of a run. Cheap to clone; clones share the journal.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    state: Arc<Mutex<RecordState>>,
}

#[derive(Debug)]
struct RecordState {
    kept: KeptJournal,
    /// Why the journal is not on this machine although it should be.
    problem: Option<JournalFileError>,
    /// The repositories that have the artifact, or may have it.
    published_in: BTreeMap<ImageRepository, RemoteRepository>,
    /// Why a registry does not accept the artifact.
    refusal: Option<String>,
}

/// The journal, and where it is kept on this machine.
#[derive(Debug)]
enum KeptJournal {
    /// The run has not recorded anything yet.
    Later(JournalTemplate),
    /// In a file.
    File(JournalFile),
    /// Only here, because there is no place for a file, or because the run is recovered on another machine.
    Memory(Journal),
}

/// What is known of a journal before its first line.
#[derive(Debug, Clone)]
pub(crate) struct JournalTemplate {
    /// The directory of the file. `None` if there is none.
    pub(crate) directory: Option<PathBuf>,
    /// The commit that is built, if it is known.
    pub(crate) revision: Option<CommitState>,
    /// Whose images the run publishes.
    pub(crate) origin: RunOrigin,
    /// Whether mutable tags may move to older commits.
    pub(crate) backwards: bool,
    /// The clock. The name of the run has the time of its first change.
    pub(crate) clock: Clock,
}

impl JournalTemplate {
    /// Makes the journal, and its file. Also returns why there is no file. Blocking.
    fn make(&self) -> Result<(KeptJournal, Option<JournalFileError>), PublishError> {
        let (run, started) = RunId::new(&self.clock).map_err(PublishError::Random)?;
        let header = JournalHeader {
            run,
            started,
            rbake: env!("CARGO_PKG_VERSION").to_owned(),
            revision: self.revision.clone(),
            origin: self.origin.clone(),
            backwards: self.backwards,
        };
        let Some(directory) = &self.directory else {
            return Ok((KeptJournal::Memory(Journal::new(header)), None));
        };
        match JournalFile::create(directory, header.clone()) {
            Ok(made) => {
                file::prune(directory);
                Ok((KeptJournal::File(made), None))
            }
            Err(problem) => Ok((KeptJournal::Memory(Journal::new(header)), Some(problem))),
        }
    }
}

impl RecordState {
    fn journal(&self) -> Option<&Journal> {
        match &self.kept {
            KeptJournal::Later(_) => None,
            KeptJournal::File(file) => Some(file.journal()),
            KeptJournal::Memory(journal) => Some(journal),
        }
    }

    /// Applies `events`. Blocking.
    fn apply(&mut self, events: Vec<JournalEvent>) -> Result<(), PublishError> {
        if let KeptJournal::Later(template) = &self.kept {
            (self.kept, self.problem) = template.make()?;
        }
        match &mut self.kept {
            KeptJournal::File(file) => Ok(file.record(events)?),
            KeptJournal::Memory(journal) => {
                for event in events {
                    journal.apply(event)?;
                }
                Ok(())
            }
            KeptJournal::Later(_) => Ok(()),
        }
    }
}

impl Record {
    /// The record of a run that has changed nothing yet.
    pub(crate) fn new(template: JournalTemplate) -> Self {
        Self::with(KeptJournal::Later(template))
    }

    /// The record of an earlier run, whose journal is on this machine.
    pub(crate) fn of_file(file: JournalFile) -> Self {
        Self::with(KeptJournal::File(file))
    }

    /// The record of an earlier run, whose journal was read from a registry.
    pub(crate) fn of_journal(journal: Journal) -> Self {
        Self::with(KeptJournal::Memory(journal))
    }

    fn with(kept: KeptJournal) -> Self {
        Self {
            state: Arc::new(Mutex::new(RecordState {
                kept,
                problem: None,
                published_in: BTreeMap::new(),
                refusal: None,
            })),
        }
    }

    /// The journal as it is now. `None` if nothing was recorded yet.
    pub(crate) fn journal(&self) -> Option<Journal> {
        self.read(|state| state.journal().cloned())
    }

    /// The run. `None` if nothing was recorded yet.
    pub(crate) fn run(&self) -> Option<RunId> {
        self.read(|state| state.journal().map(|journal| journal.header.run.clone()))
    }

    /// How far the run is. `None` if nothing was recorded yet.
    pub(crate) fn status(&self) -> Option<RunStatus> {
        self.read(|state| state.journal().map(|journal| journal.status))
    }

    /// Whether mutable tags may move to older commits. Not known, and so `false`, before anything was recorded.
    pub(super) fn moves_backwards(&self) -> bool {
        self.read(|state| {
            state
                .journal()
                .is_some_and(|journal| journal.header.backwards)
        })
    }

    /// Whether the journal is in a file of this machine. One that was read from a registry may have been written by anybody who
    /// may push there.
    pub(crate) fn is_on_this_machine(&self) -> bool {
        self.read(|state| matches!(state.kept, KeptJournal::File(_)))
    }

    /// Why the journal is not on this machine although it should be. `None` if it is.
    pub(crate) fn problem(&self) -> Option<String> {
        self.read(|state| state.problem.as_ref().map(|problem| in_one_line(problem)))
    }

    fn read<T>(&self, look: impl FnOnce(&RecordState) -> T) -> T {
        look(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records changes before they are made.
    pub(super) async fn planned(
        &self,
        changes: Vec<(PublishedTag, JournalEntry)>,
    ) -> Result<(), PublishError> {
        let events = changes.into_iter();
        self.apply(events.map(|(tag, entry)| JournalEvent::Planned(tag, entry)))
            .await
    }

    /// Records that a change has come to `state`.
    pub(super) async fn marked(
        &self,
        tag: &PublishedTag,
        state: EntryState,
    ) -> Result<(), PublishError> {
        self.apply([JournalEvent::Marked(tag.clone(), state)]).await
    }

    /// Records how far the run is.
    pub(super) async fn reached(&self, status: RunStatus) -> Result<(), PublishError> {
        self.apply([JournalEvent::Status(status)]).await
    }

    /// Records `events`, all or none.
    pub(super) async fn apply(
        &self,
        events: impl IntoIterator<Item = JournalEvent>,
    ) -> Result<(), PublishError> {
        let events: Vec<JournalEvent> = events.into_iter().collect();
        let state = Arc::clone(&self.state);
        unblock(move || {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.apply(events)
        })
        .await
    }

    /// Writes the journal as it is now into `repositories`. For `settled`, see
    /// [`artifact::RecordedRun`]. Does nothing if nothing was recorded yet.
    pub(super) async fn publish(
        &self,
        repositories: &[RemoteRepository],
        settled: Option<&RunId>,
    ) -> Result<(), PublishError> {
        let Some(journal) = self.journal() else {
            return Ok(());
        };
        let tag: ImageTag = artifact::tag_of(&journal.header.run)
            .parse()
            .map_err(|_| ArtifactError::NotAJournal)?;
        let bytes = Bytes::from(artifact::encode(&journal, settled)?);
        let manifest = RawManifest::new(MANIFEST_TYPE, bytes);
        let manifest = manifest.map_err(|_| ArtifactError::TooLarge {
            entries: journal.entries.len(),
        })?;
        let tag = TagOrDigest::Tag(tag);
        let writes = repositories.iter().map(|repository| async {
            // Before the request: if it is stopped, the registry may have the record nevertheless.
            let is_new = self.note_place(repository);
            let written = repository.put_artifact(&tag, &manifest).await;
            if let Err(error) = &written
                && is_new
                && is_refusal(error)
            {
                self.forget_place(repository);
            }
            written
        });
        // All of them end, so that none is given up in the middle because another one fails.
        for written in join_all(writes).await {
            written?;
        }
        Ok(())
    }

    /// Notes that `repository` may have the artifact. Returns whether that is new.
    fn note_place(&self, repository: &RemoteRepository) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let name = repository.name().clone();
        state
            .published_in
            .insert(name, repository.clone())
            .is_none()
    }

    fn forget_place(&self, repository: &RemoteRepository) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.published_in.remove(repository.name());
    }

    /// The repositories that have the artifact, or may have it.
    pub(super) fn places(&self) -> Vec<RemoteRepository> {
        self.read(|state| state.published_in.values().cloned().collect())
    }

    /// Notes that the artifact was found in `repository`.
    pub(super) fn was_found_in(&self, repository: &RemoteRepository) {
        self.note_place(repository);
    }

    /// Notes that a registry does not accept the artifact.
    pub(super) fn was_refused(&self, error: &RegistryError) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refusal.get_or_insert_with(|| in_one_line(error));
    }

    /// Why a registry does not accept the artifact. `None` if all do.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.read(|state| state.refusal.clone())
    }
}
