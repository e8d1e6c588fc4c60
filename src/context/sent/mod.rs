//! What this machine has sent of each directory, so that the builder never uses old content of a file.
//!
//! The builder keeps a copy of each directory, and asks only for the files whose listed state differs from the copy's: mode, size,
//! modification time and what it links to. Programs that set the modification time (`cp -p`, `touch -r`, archives, generators of reproducible
//! files) can change content without a trace in these. No program can set the time of the last change (`ctime`) of a file. So a file is
//! listed as [`Told::Anew`], and the builder asks for it whatever its copy has, if its content may be another one than at an earlier
//! transfer although its modification time is not:
//!
//! * if it was changed after the record began, and its modification time is not that of the change. If both are equal, a program has
//!   written the file in this moment, and no earlier content had this modification time.
//! * if its directory is another one than the record knows by this path: a renamed directory takes its files with it, without a trace
//!   in them.
//!
//! A file that was not changed since the record began has the same content in all copies that were made since. Neither rule depends
//! on which copies the builder has, how old they are, or which programs have made them. Start at [`SentRecords`].

mod inspection;
mod record;
#[cfg(test)]
mod tests;
mod text;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::types::{Clock, Environment};
pub(crate) use inspection::{Inspection, Told};
pub(crate) use record::Generation;
use record::SentRecord;

/// The directory of the records in rbake's state directory.
const DIRECTORY: &str = "sent";

/// The records of all directories that a run sends. There is one for each directory; each is read once in a run.
#[derive(Debug)]
pub(crate) struct SentRecords {
    folder: Option<PathBuf>,
    machine: String,
    clock: Clock,
    records: Mutex<HashMap<PathBuf, Arc<SentRecord>>>,
}

impl SentRecords {
    /// The records in the state directory of `environment`. `machine` is the id by which the builder knows this machine: copies that
    /// it keeps for another id are never used for this one.
    ///
    /// Without a state directory, nothing is known of earlier runs.
    pub(crate) fn new(environment: &Environment, machine: &str, clock: Clock) -> Self {
        let state = environment.state_dir();
        let folder = state.map(|state| environment.current_dir().join(state).join(DIRECTORY));
        Self {
            folder,
            machine: machine.to_owned(),
            clock,
            records: Mutex::default(),
        }
    }

    /// The record of `directory`, an absolute path without links. It begins now if there is none. Blocking.
    pub(crate) fn of(&self, directory: &Path) -> Arc<SentRecord> {
        // The lock is held while the file is read: otherwise two transfers could begin a record at the same time.
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let known = records.get(directory).cloned();
        known.unwrap_or_else(|| {
            let path = self
                .folder
                .as_ref()
                .map(|folder| folder.join(self.name(directory)));
            let record = Arc::new(SentRecord::open(path, directory, &self.clock));
            records.insert(directory.to_owned(), Arc::clone(&record));
            record
        })
    }

    fn name(&self, directory: &Path) -> String {
        let mut hash = Sha256::new();
        hash.update((self.machine.len() as u64).to_le_bytes());
        hash.update(&self.machine);
        hash.update(directory.as_os_str().as_encoded_bytes());
        hex::encode(&hash.finalize()[..16])
    }
}
