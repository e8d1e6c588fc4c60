//! A directory on disk that is used as a build context.
//!
//! Once it is open, files and links are read relative to the open directory, so it does not matter if its path
//! changes. Start at [`Context::open`] and [`Context::walk`]; the walk itself is in [`walk`](super::walk).

use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::filter::{Filter, FilterError, FilterSpec};
use super::followpaths::{self, Links, Unseen};
use super::names::Names;
use super::stat::{Xattrs, wide};
use super::walk::Walk;
use crate::files;
use crate::types::descriptors;

/// A context that cannot be read as the build requires.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The directory itself cannot be opened.
    #[error("cannot open the directory `{}`", path.display())]
    Open {
        /// The directory as the user gave it.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// A file or directory in the context cannot be read.
    #[error("cannot {act} `{}`", path.display())]
    Read {
        /// The attempted action, for the message: `read`, `list` and so on.
        act: &'static str,
        /// The path of the file, with the directory as the user gave it.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The patterns of the filter cannot be used.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl ContextError {
    /// Makes the error for `path`, relative to `root`. `act` is the attempted action.
    pub(super) fn read(act: &'static str, root: &Path, path: &[u8], errno: Errno) -> Self {
        Self::Read {
            act,
            path: root.join(OsStr::from_bytes(path)),
            source: errno.into(),
        }
    }
}

/// One file, directory or link of the context, as the walk reports it.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its number among the entries of this walk, from 0.
    pub(crate) id: u32,
    /// The id of its directory, or `None` if it is in the root.
    pub(crate) parent: Option<u32>,
    /// The path from the root of the context.
    pub(crate) path: &'a [u8],
    /// The mode in Go's form, see [`mode`](super::stat::mode). A socket looks like a regular file, as in fsutil.
    pub(crate) mode: u32,
    /// The size in bytes; 0 for directories.
    pub(crate) size: i64,
    /// The modification time in nanoseconds since the epoch.
    pub(crate) mtime: i64,
    /// When the content or the metadata changed last, in nanoseconds since the epoch. 0 for a file in memory.
    pub(crate) ctime: i64,
    /// The number of its inode. 0 for a file in memory.
    pub(crate) inode: u64,
    /// Which file it is another name of, or where it points to as a symbolic link.
    pub(crate) link: LinkTarget<'a>,
    /// The major and minor number of a device; 0 for everything else.
    pub(crate) device: (i64, i64),
    /// The extended attributes.
    pub(crate) xattrs: &'a Xattrs,
    /// Whether the daemon may ask for its content. `false` for everything but regular files, and for a further
    /// name of a file that was reported before.
    pub(crate) has_content: bool,
}

/// Which other file an entry refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LinkTarget<'a> {
    /// It refers to nothing.
    None,
    /// It is a symbolic link with this target.
    Symlink(&'a [u8]),
    /// It is another name (hard link) of the file that was reported with this id.
    Hard(u32),
}

/// A directory that is used as a build context.
#[derive(Debug)]
pub struct Context {
    pub(super) root: OwnedFd,
    pub(super) given: PathBuf,
    /// The path without links, for the system calls that cannot take an open directory.
    pub(super) real: PathBuf,
}

pub(super) const OPEN_DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

impl Context {
    /// Opens the directory at `path`, which may be a symbolic link to one.
    pub fn open(path: &Path) -> Result<Self, ContextError> {
        let failed = |source: io::Error| ContextError::Open {
            path: path.to_owned(),
            source,
        };
        let real = std::fs::canonicalize(path).map_err(failed)?;
        let open = || Ok(rustix::fs::open(&real, OPEN_DIR, Mode::empty())?);
        let root = descriptors::patiently(open).map_err(failed)?;
        Ok(Self {
            root,
            given: path.to_owned(),
            real,
        })
    }

    /// Opens the directory at the absolute `path`; a link anywhere in it is an error.
    pub(crate) fn open_unlinked(path: &Path) -> Result<Self, ContextError> {
        let root = files::open::dir(path).map_err(|source| ContextError::Open {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            root,
            given: path.to_owned(),
            real: path.to_owned(),
        })
    }

    /// The number of the directory's inode.
    pub(crate) fn inode(&self) -> io::Result<u64> {
        Ok(wide(rustix::fs::fstat(&self.root)?.st_ino))
    }

    /// Returns the path as the user gave it.
    pub fn path(&self) -> &Path {
        &self.given
    }

    /// Compiles `spec`, and looks up the links that its followed paths go through.
    ///
    /// A path that cannot be read on the way is an error, unless the exclude patterns leave it out.
    pub fn filter(&self, spec: &FilterSpec) -> Result<Filter, ContextError> {
        let (followed, unseen) = followpaths::resolve(self, &spec.follow);
        let filter = Filter::new(spec, followed)?;
        for Unseen { act, path, source } in unseen {
            if !filter.leaves_out(&path)? {
                let path = self.given.join(OsStr::from_bytes(&path));
                return Err(ContextError::Read { act, path, source });
            }
        }
        Ok(filter)
    }

    /// Opens the regular file at `path`, which must not lead through symbolic links.
    ///
    /// Never blocks: if a pipe has replaced the file, the result is an error.
    pub(crate) fn open_file(&self, path: &[u8]) -> io::Result<std::fs::File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let fd = descriptors::patiently(|| Ok(self.open_inside(path, flags)?))?;
        if FileType::from_raw_mode(wide(rustix::fs::fstat(&fd)?.st_mode)) != FileType::RegularFile {
            return Err(io::Error::other("it is no longer a regular file"));
        }
        Ok(fd.into())
    }

    /// Opens `path` relative to the root. With `openat2`, no link on the way is followed.
    pub(super) fn open_inside(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::ResolveFlags;
            let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), inside) {
                // Kernels before 5.6 do not have the call, and some sandboxes forbid it.
                Err(Errno::NOSYS | Errno::PERM) => {}
                result => return result,
            }
        }
        // Without `openat2`, only the flag `NOFOLLOW` protects: it refuses a link as the last name, but not above
        // it.
        rustix::fs::openat(&self.root, path, flags, Mode::empty())
    }

    /// Walks through the tree and calls `visit` for each entry that passes `filter`, until `visit` breaks.
    ///
    /// Files that vanish during the walk are left out. A directory that cannot be read is an error, unless nothing
    /// in it can be wanted.
    pub fn walk(
        &self,
        filter: &Filter,
        visit: impl FnMut(&Entry<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ContextError> {
        Walk::new(self, filter, visit).run()
    }
}

impl Links for Context {
    fn read_link(&self, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        match rustix::fs::readlinkat(&self.root, path, Vec::new()) {
            Ok(target) => Ok(Some(target.into_bytes())),
            // A name that is too long cannot exist.
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn names(&self, path: &[u8]) -> io::Result<Option<Vec<Vec<u8>>>> {
        let open = || Ok(self.open_inside(path, OPEN_DIR | OFlags::NOFOLLOW)?);
        let dir = match descriptors::patiently(open) {
            Ok(dir) => dir,
            Err(error) => {
                return match Errno::from_io_error(&error) {
                    Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => {
                        Ok(None)
                    }
                    _ => Err(error),
                };
            }
        };
        let mut names = Names::default();
        names.read(&dir, &mut Vec::new())?;
        let names = (0..names.len()).filter_map(|at| Some(names.get(at)?.0.to_bytes().to_vec()));
        Ok(Some(names.collect()))
    }
}

#[cfg(test)]
mod tests;
