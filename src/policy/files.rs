//! The files that a policy refers to: other modules, JSON, signatures and keys.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

/// A file that must be read before a policy can be loaded or a source be decided on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileNeed {
    /// The name as the policy has it: relative to the context, or to the working directory after `cwd://`.
    pub(crate) name: String,
    /// The bytes that are read at most. What is behind them is ignored.
    pub(crate) limit: u64,
}

/// The files that have been read, by name. `None` for one that could not be read.
#[derive(Debug, Clone, Default)]
pub(crate) struct KnownFiles {
    files: BTreeMap<FileNeed, Option<Bytes>>,
}

impl KnownFiles {
    /// Notes the content of a file.
    pub(crate) fn add(&mut self, need: FileNeed, content: Option<Bytes>) {
        self.files.insert(need, content);
    }

    /// The content of the file `need`. If it has not been read, it is added to `missing`, and there is none.
    pub(super) fn content(
        &self,
        need: &FileNeed,
        missing: &mut BTreeSet<FileNeed>,
    ) -> Option<Bytes> {
        if let Some(content) = self.files.get(need) {
            return content.clone();
        }
        missing.insert(need.clone());
        None
    }
}
