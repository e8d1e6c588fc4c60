//! The sources of served directories: the disk, or files in memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::context::followpaths::{self, Links};
use crate::context::stat::Xattrs;
use crate::context::{Context, ContextError, Entry, Filter, FilterError, FilterSpec, LinkTarget};

/// A directory that the daemon can ask for by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedDirectory {
    /// The name by which the daemon asks for it: `context`, `dockerfile`, or a named context's name.
    pub name: String,
    /// The directory's content.
    pub source: LocalSource,
}

/// The content of a served directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalSource {
    /// A directory on disk. It is read again for each transfer. The path must be absolute and without symbolic links.
    Directory(PathBuf),
    /// Files in memory, such as an inline Dockerfile, by name. There are no subdirectories.
    Files {
        /// The directory that they were read from, for messages. Empty if there is none.
        from: PathBuf,
        /// The files.
        files: BTreeMap<String, Bytes>,
    },
}

impl LocalSource {
    /// The most files of a source that counts as small.
    const FEW: usize = 8;
    /// The most bytes of a file of a source that counts as small.
    const SMALL: usize = 32 << 10;

    /// Whether the files are in memory, are few, and small.
    pub(super) fn is_small_and_in_memory(&self) -> bool {
        match self {
            Self::Directory(_) => false,
            Self::Files { files, .. } => {
                files.len() <= Self::FEW && files.values().all(|file| file.len() <= Self::SMALL)
            }
        }
    }
}

impl ServedDirectory {
    /// Serves the directory `path` under `name`.
    pub fn directory(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            source: LocalSource::Directory(path.into()),
        }
    }

    /// Serves one file in memory under `name`.
    pub fn file(name: impl Into<String>, file: impl Into<String>, content: Bytes) -> Self {
        Self {
            name: name.into(),
            source: LocalSource::Files {
                from: PathBuf::new(),
                files: BTreeMap::from([(file.into(), content)]),
            },
        }
    }

    /// The directory, for messages. Empty if the files are from none.
    pub(super) fn shown_path(&self) -> &Path {
        match &self.source {
            LocalSource::Directory(path) | LocalSource::Files { from: path, .. } => path,
        }
    }

    /// The directory on disk. `None` if the files are in memory.
    pub fn path(&self) -> Option<&Path> {
        match &self.source {
            LocalSource::Directory(path) => Some(path),
            LocalSource::Files { .. } => None,
        }
    }
}

/// An open source, during a transfer.
#[derive(Debug)]
pub(super) enum Source {
    Disk(Context),
    Memory(BTreeMap<String, Bytes>),
}

/// The content of one file.
#[derive(Debug)]
pub(super) enum FileContent {
    File(File),
    Memory(Bytes),
}

impl Source {
    pub(super) fn open(source: &LocalSource) -> Result<Self, ContextError> {
        Ok(match source {
            LocalSource::Directory(path) => Self::Disk(Context::open_unlinked(path)?),
            LocalSource::Files { files, .. } => Self::Memory(files.clone()),
        })
    }

    pub(super) fn filter(&self, spec: &FilterSpec) -> Result<Filter, ContextError> {
        match self {
            Self::Disk(context) => context.filter(spec),
            Self::Memory(_) => {
                let (followed, _) = followpaths::resolve(&NoLinks, &spec.follow);
                Ok(Filter::new(spec, followed)?)
            }
        }
    }

    /// The number of the directory's inode. `None` if the files are in memory, or it cannot be found out.
    pub(super) fn inode(&self) -> Option<u64> {
        match self {
            Self::Disk(context) => context.inode().ok(),
            Self::Memory(_) => None,
        }
    }

    pub(super) fn walk(
        &self,
        filter: &Filter,
        visit: impl FnMut(&Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ContextError> {
        match self {
            Self::Disk(context) => context.walk(filter, visit),
            Self::Memory(files) => Ok(walk_files(files, filter, visit)?),
        }
    }

    pub(super) fn content(&self, path: &[u8]) -> io::Result<FileContent> {
        match self {
            Self::Disk(context) => context.open_file(path).map(FileContent::File),
            Self::Memory(files) => std::str::from_utf8(path)
                .ok()
                .and_then(|name| files.get(name))
                .map(|content| FileContent::Memory(content.clone()))
                .ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
    }
}

/// Visits the files that `filter` accepts, in the order of their names, as a walk of a directory does.
fn walk_files(
    files: &BTreeMap<String, Bytes>,
    filter: &Filter,
    mut visit: impl FnMut(&Entry<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, FilterError> {
    use crate::context::filter::{DirMarks, Verdict};
    let (root, mut own) = (DirMarks::default(), DirMarks::default());
    let xattrs = Xattrs::new();
    let mut id = 0;
    for (name, content) in files {
        let path = name.as_bytes();
        if filter.judge(path, false, &root, &mut own)? != Verdict::Send {
            continue;
        }
        let entry = Entry {
            id,
            parent: None,
            path,
            mode: 0o644,
            size: i64::try_from(content.len()).unwrap_or(i64::MAX),
            mtime: 0,
            ctime: 0,
            inode: 0,
            link: LinkTarget::None,
            device: (0, 0),
            xattrs: &xattrs,
            has_content: true,
        };
        if visit(&entry).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        id += 1;
    }
    Ok(ControlFlow::Continue(()))
}

/// Files in memory include no symbolic links.
struct NoLinks;

impl Links for NoLinks {
    fn read_link(&self, _path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn names(&self, path: &[u8]) -> io::Result<Option<Vec<Vec<u8>>>> {
        Ok((path == b".").then(Vec::new))
    }
}
