//! Looks at each entry of one transfer, and decides which files are listed anew.

use std::collections::HashSet;
use std::sync::Arc;

use super::record::SentRecord;
use super::text::{Content, DIRECTORIES};
use crate::context::stat::mode;
use crate::context::{Entry, LinkTarget};

/// How a file is listed to the builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// As it is. The builder asks for it if its copy has another state.
    AsItIs,
    /// So that the builder asks for it, whatever its copy has.
    Anew,
}

/// One transfer of a directory. Each entry of its list goes through [`Self::look`], in order.
#[derive(Debug)]
pub(crate) struct Inspection {
    record: Arc<SentRecord>,
    root_is_replaced: bool,
    /// The directories above the current entry, and whether they, or any directory above them, were replaced.
    above: Vec<(u32, bool)>,
    /// The files listed anew that may have other names.
    anew: HashSet<u32>,
    found: DirectoryFindings,
}

/// What a transfer has found out about its directory.
#[derive(Debug, Default)]
pub(super) struct DirectoryFindings {
    /// Directories that the record does not know: the hash of the path and the inode.
    pub(super) directories: Vec<(u64, u64)>,
    /// The bytes of the files that were listed anew.
    pub(super) again: u64,
    /// The bytes of all files.
    pub(super) size: u64,
}

impl DirectoryFindings {
    pub(super) fn add_to(&self, content: &mut Content) {
        content.again = content.again.saturating_add(self.again);
        content.size = content.size.max(self.size);
        for (path, inode) in &self.directories {
            if content.directories.len() < DIRECTORIES {
                content.directories.entry(*path).or_insert(*inode);
            }
        }
    }
}

impl Inspection {
    /// Begins a transfer of the directory of `record`, whose inode is `root`.
    pub(crate) fn new(record: Arc<SentRecord>, root: u64) -> Self {
        let mut found = DirectoryFindings::default();
        let root_is_replaced = record.is_replaced(b"", root, &mut found);
        Self {
            record,
            root_is_replaced,
            above: Vec::new(),
            anew: HashSet::new(),
            found,
        }
    }

    /// How `entry` is to be listed.
    pub(crate) fn look(&mut self, entry: &Entry<'_>) -> Told {
        while self.above.last().map(|(id, _)| *id) != entry.parent && self.above.pop().is_some() {}
        let in_replaced = match self.above.last() {
            Some((_, replaced)) => *replaced,
            None => self.root_is_replaced,
        };
        if entry.mode & mode::KIND == mode::DIR {
            let (path, inode) = (entry.path, entry.inode);
            let replaced = self.record.is_replaced(path, inode, &mut self.found);
            self.above.push((entry.id, replaced || in_replaced));
            return Told::AsItIs;
        }
        let is_anew = match entry.link {
            // The builder makes the file anew, so its other names must be made again, too.
            LinkTarget::Hard(first) => self.anew.contains(&first),
            LinkTarget::None | LinkTarget::Symlink(_) => {
                let is_old = !self.record.is_after(entry.ctime);
                entry.has_content && entry.mtime != entry.ctime && (in_replaced || !is_old)
            }
        };
        if entry.has_content {
            let size = u64::try_from(entry.size).unwrap_or_default();
            self.found.size = self.found.size.saturating_add(size);
            if is_anew {
                self.found.again = self.found.again.saturating_add(size);
                self.anew.insert(entry.id);
            }
        }
        if is_anew { Told::Anew } else { Told::AsItIs }
    }

    /// The number of files that were listed anew.
    pub(crate) fn files_anew(&self) -> usize {
        self.anew.len()
    }

    /// Notes that the builder has everything that was listed. Blocking.
    pub(crate) fn complete(self) {
        self.record.add(&self.found);
    }
}
