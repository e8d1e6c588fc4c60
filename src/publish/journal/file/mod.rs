//! The journals on this machine: a file for each run, in rbake's state directory.
//!
//! A line is on the disk before the change that it describes is made. Runs at the same time have separate files; a run
//! holds a lock on its file, so that an open journal without a lock is known to be of a run that was killed. All
//! functions block.

use std::io;
use std::path::{Path, PathBuf};

use super::lines::{self, JournalFormatError};
use super::{Journal, JournalEvent, JournalEventError, JournalHeader, RunId};
use crate::types::Environment;
use crate::types::lines_file::{LinesFile, is_locked};
use crate::types::regular::read_regular;

/// The largest file that is read, in bytes.
const FILE_LIMIT: u64 = 32 << 20;
/// The number of runs without anything left to do whose journals are kept.
pub(crate) const KEPT_JOURNALS: usize = 200;
/// The most files of the directory that are looked at, newest first.
const LIST_LIMIT: usize = 10_000;

const DIRECTORY: &str = "journals";
const EXTENSION: &str = ".jsonl";

/// A journal on this machine cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalFileError {
    /// The file or its directory cannot be made.
    #[error("cannot make the journal `{}`", path.display())]
    Make {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A line cannot be written, so the change that it describes must not be made.
    #[error("cannot write the journal `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read the journal `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The content is not valid.
    #[error("cannot read the journal `{}`", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: JournalFormatError,
    },
    /// The run is still going on, or another command works on it.
    #[error("another process is using the journal `{}`", .0.display())]
    InUse(PathBuf),
    /// The step does not fit the journal. Nothing was written.
    #[error(transparent)]
    Event(#[from] JournalEventError),
}

impl JournalFileError {
    /// Whether there is no journal of the run. One without a whole line counts as such: its run changed nothing, or could
    /// record it only in the registry.
    pub(crate) fn is_absent(&self) -> bool {
        match self {
            Self::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Format { source, .. } => matches!(source, JournalFormatError::Empty),
            _ => false,
        }
    }
}

/// The directory of the journals. `None` if no variable says where rbake's state is.
pub(crate) fn directory(environment: &Environment) -> Option<PathBuf> {
    let state = environment.state_dir()?;
    Some(environment.current_dir().join(state).join(DIRECTORY))
}

/// The journal of a run that this process works on.
#[derive(Debug)]
pub(crate) struct JournalFile {
    file: LinesFile,
    journal: Journal,
}

impl JournalFile {
    /// Makes the journal of a run that begins, in the directory `dir`, which is made if it is missing.
    pub(crate) fn create(dir: &Path, header: JournalHeader) -> Result<Self, JournalFileError> {
        let path = path_of(dir, &header.run);
        let file = LinesFile::create(&path, &lines::header_line(&header))
            .map_err(|source| JournalFileError::Make { path, source })?;
        let journal = Journal::new(header);
        Ok(Self { file, journal })
    }

    /// Opens the journal of an earlier run, to finish it or to take it back. A line that a crash left unfinished is
    /// removed.
    pub(crate) fn reopen(dir: &Path, run: &RunId) -> Result<Self, JournalFileError> {
        let path = path_of(dir, run);
        let failed = |source| JournalFileError::Read {
            path: path.clone(),
            source,
        };
        let Some(mut file) = LinesFile::reopen(&path).map_err(failed)? else {
            return Err(JournalFileError::InUse(path));
        };
        let (journal, length) = read_with_length(&path)?;
        file.cut(length).map_err(failed)?;
        Ok(Self { file, journal })
    }

    /// The state of the run.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Records `events`, all or none. When this returns, they are on the disk.
    ///
    /// # Errors
    /// An event does not fit, or the lines cannot be written. The changes must not be made then.
    pub(crate) fn record(
        &mut self,
        events: impl IntoIterator<Item = JournalEvent>,
    ) -> Result<(), JournalFileError> {
        let events: Vec<JournalEvent> = events.into_iter().collect();
        self.journal.check(&events)?;
        if events.is_empty() {
            return Ok(());
        }
        let text: String = events.iter().map(lines::event_line).collect();
        self.append(&text)?;
        for event in events {
            self.journal.apply(event)?;
        }
        Ok(())
    }

    fn append(&mut self, text: &str) -> Result<(), JournalFileError> {
        let written = self.file.append(text);
        written.map_err(|source| JournalFileError::Write {
            path: self.file.path().to_owned(),
            source,
        })
    }
}

/// A journal that was found.
#[derive(Debug)]
pub(crate) struct FoundJournal {
    /// The run.
    pub(crate) run: RunId,
    /// Its state, or why it cannot be read.
    pub(crate) journal: Result<Journal, JournalFileError>,
    /// Whether a process is working on it.
    pub(crate) in_use: bool,
}

/// Checks that no process works on the journal of `run`.
///
/// # Errors
/// [`JournalFileError::InUse`] if one does.
pub(crate) fn check_free(dir: &Path, run: &RunId) -> Result<(), JournalFileError> {
    let path = path_of(dir, run);
    if is_locked(&path) {
        return Err(JournalFileError::InUse(path));
    }
    Ok(())
}

/// Reads the journal of `run`.
pub(crate) fn read(dir: &Path, run: &RunId) -> Result<Journal, JournalFileError> {
    read_with_length(&path_of(dir, run)).map(|(journal, _)| journal)
}

/// Returns the journals of runs that ended in the middle or are going on, newest first, and those that cannot be
/// read. Journals without a whole line are left out: their runs changed nothing.
pub(crate) fn unfinished(dir: &Path) -> Vec<FoundJournal> {
    let is_unfinished = |found: &FoundJournal| match &found.journal {
        Ok(journal) => journal.status.is_open(),
        Err(_) => true,
    };
    all(dir).into_iter().filter(is_unfinished).collect()
}

/// Returns the journals of all runs, newest first, and those that cannot be read. Journals without a whole line are left
/// out: their runs changed nothing.
pub(crate) fn all(dir: &Path) -> Vec<FoundJournal> {
    let found = list(dir).into_iter().map(|run| examine(dir, run));
    // Another process may have removed one in the meantime.
    let has_line = |found: &FoundJournal| {
        !found
            .journal
            .as_ref()
            .is_err_and(JournalFileError::is_absent)
    };
    found.filter(has_line).collect()
}

/// Removes the oldest journals of runs that are complete or undone. The newest [`KEPT_JOURNALS`] of them stay, and all
/// others: open, held, in use or unreadable.
pub(crate) fn prune(dir: &Path) {
    let runs = list(dir);
    if runs.len() <= KEPT_JOURNALS {
        return;
    }
    let ended = runs
        .into_iter()
        .map(|run| examine(dir, run))
        .filter(|found| {
            let ended = matches!(&found.journal, Ok(journal) if journal.status.is_ended());
            ended && !found.in_use
        });
    for found in ended.skip(KEPT_JOURNALS) {
        // The next run tries again.
        let _ = std::fs::remove_file(path_of(dir, &found.run));
    }
}

fn examine(dir: &Path, run: RunId) -> FoundJournal {
    // Look for the lock first: a run that ends between the two steps looks complete, not killed.
    let in_use = is_locked(&path_of(dir, &run));
    FoundJournal {
        journal: read(dir, &run),
        run,
        in_use,
    }
}

/// The runs that have a journal, newest first.
fn list(dir: &Path) -> Vec<RunId> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut runs: Vec<RunId> = names
        .filter_map(|name| name.strip_suffix(EXTENSION)?.parse().ok())
        .collect();
    runs.sort_unstable_by(|a, b| b.cmp(a));
    runs.truncate(LIST_LIMIT);
    runs
}

fn path_of(dir: &Path, run: &RunId) -> PathBuf {
    dir.join(format!("{run}{EXTENSION}"))
}

fn read_with_length(path: &Path) -> Result<(Journal, u64), JournalFileError> {
    let text = read_regular(path, FILE_LIMIT).map_err(|source| JournalFileError::Read {
        path: path.to_owned(),
        source,
    })?;
    let (journal, length) = lines::fold(&text).map_err(|source| JournalFileError::Format {
        path: path.to_owned(),
        source,
    })?;
    Ok((journal, length as u64))
}

#[cfg(test)]
mod tests;
