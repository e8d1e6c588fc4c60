//! Where a served directory's entries come from: the disk, or this program.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::context::followpaths::{self, Links};
use crate::context::stat::Xattrs;
use crate::context::{Context, ContextError, Entry, Filter, FilterError, FilterSpec, LinkTarget};

/// A directory that the daemon may ask for by name.
#[derive(Debug, Clone)]
pub struct ServedDirectory {
    /// The name it is asked for by: `context`, `dockerfile`, or a named context's.
    pub name: String,
    /// What is in it.
    pub source: LocalSource,
}

/// What a served directory holds.
#[derive(Debug, Clone)]
pub enum LocalSource {
    /// What is in this directory of the disk, looked at anew for each transfer; the path is absolute and without links.
    Directory(PathBuf),
    /// Files of this program's making, such as a Dockerfile that stands in the definition; by name, no directories.
    Files(BTreeMap<String, Bytes>),
}

impl ServedDirectory {
    /// The directory `path` of the disk under `name`.
    pub fn directory(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            source: LocalSource::Directory(path.into()),
        }
    }

    /// One file of this program's making under `name`.
    pub fn file(name: impl Into<String>, file: impl Into<String>, content: Bytes) -> Self {
        Self {
            name: name.into(),
            source: LocalSource::Files(BTreeMap::from([(file.into(), content)])),
        }
    }

    /// The directory on disk; empty where there is none.
    pub fn path(&self) -> &Path {
        match &self.source {
            LocalSource::Directory(path) => path,
            LocalSource::Files(_) => Path::new(""),
        }
    }
}

/// A source that is being transferred.
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
            LocalSource::Files(files) => Self::Memory(files.clone()),
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

struct NoLinks;

impl Links for NoLinks {
    fn read_link(&self, _path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn names(&self, path: &[u8]) -> io::Result<Option<Vec<Vec<u8>>>> {
        Ok((path == b".").then(Vec::new))
    }
}
