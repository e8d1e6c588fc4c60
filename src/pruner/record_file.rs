//! The records of prunes on this machine. All functions block, except those that are async.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::PruneError;
use crate::prune::record::{
    PruneEvent, PruneHeader, PruneRecord, PruneStatus, event_lines, fold, header_line,
};
use crate::publish::journal::RunId;
use crate::types::blocking::unblock;
use crate::types::lines_file::{LinesFile, is_locked};
use crate::types::regular::read_regular;
use crate::types::{Digest, Environment, ImageRepository};

/// The largest file that is read, in bytes. Manifests are written in base64.
const FILE_LIMIT: u64 = 256 << 20;
/// The number of records of prunes that have ended which are kept.
const KEPT_RECORDS: usize = 50;
/// The most files of the directory that are looked at, newest first.
const LIST_LIMIT: usize = 10_000;

const DIRECTORY: &str = "prunes";
const EXTENSION: &str = ".jsonl";

/// The directory of the records. `None` if no variable says where rbake's state is.
pub(crate) fn record_directory(environment: &Environment) -> Option<PathBuf> {
    let state = environment.state_dir()?;
    Some(environment.current_dir().join(state).join(DIRECTORY))
}

/// The record of a prune that this process works on.
#[derive(Debug)]
pub(crate) struct PruneRecordFile {
    file: Arc<Mutex<LinesFile>>,
    record: PruneRecord,
}

impl PruneRecordFile {
    /// Makes the record of a prune that begins.
    pub(super) fn create(directory: &Path, header: PruneHeader) -> Result<Self, PruneError> {
        let path = path_of(directory, &header.run);
        let file = LinesFile::create(&path, &header_line(&header));
        let file = file.map_err(|source| PruneError::RecordFile {
            act: "make",
            path,
            source,
        })?;
        remove_old(directory);
        let record = PruneRecord::new(header);
        Ok(Self::with(file, record))
    }

    fn with(file: LinesFile, record: PruneRecord) -> Self {
        Self {
            file: Arc::new(Mutex::new(file)),
            record,
        }
    }

    /// Opens the record of an earlier prune. `None` if there is none on this machine.
    pub(crate) fn reopen(directory: &Path, run: &RunId) -> Result<Option<Self>, PruneError> {
        let path = path_of(directory, run);
        let failed = |source| PruneError::RecordFile {
            act: "read",
            path: path.clone(),
            source,
        };
        let mut file = match LinesFile::reopen(&path) {
            Ok(Some(file)) => file,
            Ok(None) => return Err(PruneError::InUse(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let (record, length) = read(&path)?;
        file.cut(length).map_err(failed)?;
        Ok(Some(Self::with(file, record)))
    }

    /// The record as it is now.
    pub(crate) const fn record(&self) -> &PruneRecord {
        &self.record
    }

    /// Records `events`. When this returns, they are on the disk.
    pub(super) async fn write(&mut self, events: Vec<PruneEvent>) -> Result<(), PruneError> {
        let text = event_lines(&events, self.record.steps.len());
        let file = Arc::clone(&self.file);
        unblock(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            file.append(&text).map_err(|source| PruneError::RecordFile {
                act: "write",
                path: file.path().to_owned(),
                source,
            })
        })
        .await?;
        for event in events {
            self.record.apply(event)?;
        }
        Ok(())
    }
}

/// What earlier prunes of `repository` on this machine were to delete and may have left, and a time before which it was
/// made.
pub(crate) fn left_by_others(
    directory: &Path,
    repository: &ImageRepository,
) -> BTreeMap<Digest, Timestamp> {
    let mut left = BTreeMap::new();
    for run in list(directory).into_iter().take(KEPT_RECORDS) {
        // One that cannot be read is of no use here; `undo` tells why.
        let Ok((record, _)) = read(&path_of(directory, &run)) else {
            continue;
        };
        if record.header.repository == *repository {
            for digest in record.left() {
                let older_than = record.header.older_than;
                left.entry(digest.clone()).or_insert(older_than);
            }
        }
    }
    left
}

/// Whether the prune `run` was begun on this machine, and its process has ended.
pub(super) fn was_killed(directory: &Path, run: &RunId) -> bool {
    let path = path_of(directory, run);
    path.exists() && !is_locked(&path)
}

fn read(path: &Path) -> Result<(PruneRecord, u64), PruneError> {
    let text = read_regular(path, FILE_LIMIT).map_err(|source| PruneError::RecordFile {
        act: "read",
        path: path.to_owned(),
        source,
    })?;
    let (record, length) = fold(&text).map_err(|source| PruneError::RecordFormat {
        path: path.to_owned(),
        source,
    })?;
    Ok((record, length as u64))
}

/// Removes the oldest records. Those of prunes that have not ended stay.
fn remove_old(directory: &Path) {
    for run in list(directory).into_iter().skip(KEPT_RECORDS) {
        let path = path_of(directory, &run);
        let has_ended = read(&path).is_ok_and(|(record, _)| record.status != PruneStatus::Open);
        if has_ended && !is_locked(&path) {
            // The next prune tries again.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The prunes that have a record, newest first.
fn list(directory: &Path) -> Vec<RunId> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut runs: Vec<RunId> = names
        .filter_map(|name| name.strip_suffix(EXTENSION)?.parse().ok())
        .collect();
    runs.sort_unstable_by(|a, b| b.cmp(a));
    runs.truncate(LIST_LIMIT);
    runs
}

fn path_of(directory: &Path, run: &RunId) -> PathBuf {
    directory.join(format!("{run}{EXTENSION}"))
}
