//! Walks through a context, one entry after the other.
//!
//! The daemon requires this order: depth first, a directory before its content, siblings sorted by the bytes of
//! their names. Only the names of the directories on the current path are held in memory, not the tree. Start at
//! [`Walk::run`].

use std::collections::{HashMap, hash_map};
use std::ffi::CStr;
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::filter::{DirMarks, Filter, Verdict};
use super::names::{DirEntryKind, Names};
use super::stat::{self, Xattrs, wide};
use super::tree::{Context, ContextError, Entry, LinkTarget, OPEN_DIR};
use crate::types::descriptors;

/// A directory on the current path of the walk.
struct Frame {
    /// `None` while the walk is far below it (see [`OPEN_DIRS`]). For the root, the context's descriptor is used
    /// then.
    fd: Option<OwnedFd>,
    names: Names,
    /// The index of the next name to look at.
    next: usize,
    /// The length of the directory's path from the root.
    path_len: usize,
    marks: DirMarks,
    /// The directory's id. `None` while it is held back because nothing inside has been sent yet.
    sent: Option<u32>,
}

/// The number of directories that one walk keeps open. In deeper trees, some directories are opened twice.
pub(super) const OPEN_DIRS: usize = 64;

/// The state of one walk. `visit` is called for each entry that passes `filter`.
pub(super) struct Walk<'a, V> {
    context: &'a Context,
    filter: &'a Filter,
    visit: V,
    frames: Vec<Frame>,
    /// The context's path, a slash, and the path of the current entry.
    path: Vec<u8>,
    prefix_len: usize,
    next_id: u32,
    /// The id of the first reported name of each file with several hard links, by device and inode.
    first_names: HashMap<(u64, u64), u32>,
    marks: DirMarks,
    xattrs: Xattrs,
    link: Vec<u8>,
    buffer: Vec<u8>,
    spare: Vec<Names>,
}

/// The result of one step of the walk.
enum Step {
    Done,
    /// The entry does not exist any more.
    Gone,
    Stop,
}

impl<'a, V: FnMut(&Entry<'_>) -> ControlFlow<()>> Walk<'a, V> {
    pub(super) fn new(context: &'a Context, filter: &'a Filter, visit: V) -> Self {
        let mut path = context.real.as_os_str().as_bytes().to_vec();
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        Self {
            context,
            filter,
            visit,
            frames: Vec::new(),
            prefix_len: path.len(),
            path,
            next_id: 0,
            first_names: HashMap::new(),
            marks: DirMarks::default(),
            xattrs: Xattrs::new(),
            link: Vec::new(),
            buffer: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Walks through the tree until its end, or until the visitor breaks.
    pub(super) fn run(mut self) -> Result<ControlFlow<()>, ContextError> {
        let mut names = Names::default();
        // Opens a separate descriptor, because several walks may run at once and would share the position in the
        // directory.
        let root = &self.context.root;
        let open = || Ok(rustix::fs::openat(root, c".", OPEN_DIR, Mode::empty())?);
        let fd = descriptors::patiently(open)
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
            .and_then(|fd| names.read(&fd, &mut self.buffer).map(|()| fd))
            .map_err(|errno| ContextError::read("list", &self.context.given, b"", errno))?;
        self.frames.push(Frame {
            fd: Some(fd),
            names,
            next: 0,
            path_len: 0,
            marks: DirMarks::default(),
            sent: None,
        });
        while let Some(frame) = self.frames.last_mut() {
            let at = frame.next;
            frame.next += 1;
            self.path.truncate(self.prefix_len + frame.path_len);
            let Some((name, kind)) = frame.names.get(at) else {
                let done = self.frames.pop();
                self.spare.extend(done.map(|frame| frame.names));
                continue;
            };
            if frame.path_len > 0 {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.to_bytes());
            if let Step::Stop = self.entry(at, kind)? {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The path of the current entry from the root of the context.
    fn relative(&self) -> &[u8] {
        &self.path[self.prefix_len..]
    }

    fn error(&self, act: &'static str, errno: Errno) -> ContextError {
        ContextError::read(act, &self.context.given, self.relative(), errno)
    }

    /// Handles the entry at `self.path`, which has the index `at` in the directory on top.
    fn entry(&mut self, at: usize, kind: DirEntryKind) -> Result<Step, ContextError> {
        let mut stat = None;
        let is_dir = match kind {
            DirEntryKind::Dir => true,
            DirEntryKind::Other => false,
            DirEntryKind::Unknown => {
                let Some(found) = self.stat_name(at)? else {
                    return Ok(Step::Gone);
                };
                stat = Some(found);
                FileType::from_raw_mode(wide(found.st_mode)) == FileType::Directory
            }
        };
        let Some(top) = self.frames.last() else {
            return Ok(Step::Gone);
        };
        let path = &self.path[self.prefix_len..];
        let verdict = self
            .filter
            .judge(path, is_dir, &top.marks, &mut self.marks)?;
        let sent = match verdict {
            Verdict::Prune => return Ok(Step::Done),
            Verdict::Hold => None,
            Verdict::Send | Verdict::SendAlone => {
                let found = match stat {
                    Some(found) => Some(found),
                    None => self.stat_name(at)?,
                };
                let Some(found) = found else {
                    return Ok(Step::Gone);
                };
                match self.send_parents()? {
                    Step::Done => {}
                    other => return Ok(other),
                }
                let parent = self.frames.last().and_then(|frame| frame.sent);
                let id = self.next_id;
                match self.send(&found, parent)? {
                    Step::Done => Some(id),
                    other => return Ok(other),
                }
            }
        };
        if is_dir && verdict != Verdict::SendAlone {
            self.descend(at, sent)?;
        }
        Ok(Step::Done)
    }

    /// Returns the metadata of the entry with the index `at` in the directory on top, or `None` if it is gone.
    fn stat_name(&mut self, at: usize) -> Result<Option<Stat>, ContextError> {
        if !self.reopen_top()? {
            return Ok(None);
        }
        let Some(frame) = self.frames.last() else {
            return Ok(None);
        };
        let Some((name, _)) = frame.names.get(at) else {
            return Ok(None);
        };
        let dir = frame.fd.as_ref().unwrap_or(&self.context.root).as_fd();
        match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(self.error("read the state of", errno)),
        }
    }

    /// Reports the directories on the current path that were held back, outermost first.
    fn send_parents(&mut self) -> Result<Step, ContextError> {
        // The root is never sent. The held back directories are the innermost ones, because the parents of a sent
        // directory have been sent.
        let first = self.frames[1..]
            .iter()
            .position(|frame| frame.sent.is_none());
        let Some(first) = first.map(|at| at + 1) else {
            return Ok(Step::Done);
        };
        let whole = self.path.clone();
        for at in first..self.frames.len() {
            self.path
                .truncate(self.prefix_len + self.frames[at].path_len);
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let stat = match rustix::fs::statat(&self.context.root, self.relative(), flags) {
                Ok(stat) => stat,
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Step::Gone),
                Err(errno) => return Err(self.error("read the state of", errno)),
            };
            let id = self.next_id;
            match self.send(&stat, self.frames[at - 1].sent)? {
                Step::Done => self.frames[at].sent = Some(id),
                other => return Ok(other),
            }
            self.path.clear();
            self.path.extend_from_slice(&whole);
        }
        Ok(Step::Done)
    }

    /// Passes the entry at `self.path` to the visitor.
    fn send(&mut self, stat: &Stat, parent: Option<u32>) -> Result<Step, ContextError> {
        let file_type = FileType::from_raw_mode(wide(stat.st_mode));
        if file_type == FileType::Symlink && !self.read_link()? {
            return Ok(Step::Gone);
        }
        if !self.read_xattrs()? {
            return Ok(Step::Gone);
        }
        let is_dir = file_type == FileType::Directory;
        let mut hard = None;
        if !is_dir && wide::<u64>(stat.st_nlink) > 1 {
            match self
                .first_names
                .entry((wide(stat.st_dev), wide(stat.st_ino)))
            {
                hash_map::Entry::Occupied(first) => hard = Some(*first.get()),
                hash_map::Entry::Vacant(place) => {
                    place.insert(self.next_id);
                }
            }
        }
        let link = match (file_type, hard) {
            (FileType::Symlink, _) => LinkTarget::Symlink(&self.link),
            (_, Some(first)) => LinkTarget::Hard(first),
            (_, None) => LinkTarget::None,
        };
        let entry = Entry {
            id: self.next_id,
            parent,
            path: &self.path[self.prefix_len..],
            mode: stat::go_mode(wide(stat.st_mode)) & !stat::mode::SOCKET,
            size: if is_dir { 0 } else { wide(stat.st_size) },
            mtime: stat::mtime_nanos(stat),
            ctime: stat::ctime_nanos(stat),
            inode: wide(stat.st_ino),
            link,
            device: match file_type {
                FileType::BlockDevice | FileType::CharacterDevice => stat::device(stat),
                _ => (0, 0),
            },
            xattrs: &self.xattrs,
            has_content: file_type == FileType::RegularFile && hard.is_none(),
        };
        match (self.visit)(&entry) {
            ControlFlow::Break(()) => Ok(Step::Stop),
            ControlFlow::Continue(()) => {
                self.next_id += 1;
                Ok(Step::Done)
            }
        }
    }

    /// Reads the target of the link at `self.path`. Returns `false` if it is gone.
    fn read_link(&mut self) -> Result<bool, ContextError> {
        let buffer = std::mem::take(&mut self.link);
        match rustix::fs::readlinkat(&self.context.root, self.relative(), buffer) {
            Ok(target) => self.link = target.into_bytes(),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::INVAL) => return Ok(false),
            Err(errno) => return Err(self.error("read the link", errno)),
        }
        Ok(true)
    }

    /// Reads the extended attributes of the entry at `self.path`. Returns `false` if it is gone.
    fn read_xattrs(&mut self) -> Result<bool, ContextError> {
        self.path.push(0);
        let result = match CStr::from_bytes_with_nul(&self.path) {
            Ok(path) => self.xattrs.read(path),
            Err(_) => Err(Errno::INVAL),
        };
        self.path.pop();
        match result {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
            Err(errno) => Err(self.error("read the attributes of", errno)),
        }
    }

    /// Enters the directory at `self.path`, which has the index `at` in the directory on top. If it cannot be
    /// listed, that is always an error: something in it may be wanted, or the filter would have pruned it.
    fn descend(&mut self, at: usize, sent: Option<u32>) -> Result<(), ContextError> {
        if !self.reopen_top()? {
            return Ok(());
        }
        let mut names = self.spare.pop().unwrap_or_default();
        let mut opened = self.open_child(at, &mut names);
        if let Err(Errno::MFILE | Errno::NFILE) = opened {
            // Too many open files. Close the directories above; they are opened again when the walk comes back to
            // them.
            let top = self.frames.len().saturating_sub(1);
            for frame in &mut self.frames[..top] {
                frame.fd = None;
            }
            let again = descriptors::patiently(|| Ok(self.open_child(at, &mut names)?));
            opened = again.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
        }
        let fd = match opened {
            Ok(fd) => fd,
            // It is gone. If it is no longer a directory, that is an error: the daemon may already know it as a
            // directory.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(self.error("list", errno)),
        };
        if self.frames.len() > OPEN_DIRS {
            let far = self.frames.len() - OPEN_DIRS;
            self.frames[far].fd = None;
        }
        self.frames.push(Frame {
            fd: Some(fd),
            names,
            next: 0,
            path_len: self.path.len() - self.prefix_len,
            marks: std::mem::take(&mut self.marks),
            sent,
        });
        Ok(())
    }

    /// Opens the directory with the index `at` in the one on top, and reads its names.
    fn open_child(&mut self, at: usize, names: &mut Names) -> Result<OwnedFd, Errno> {
        let frame = self.frames.last().ok_or(Errno::NOENT)?;
        let (name, _) = frame.names.get(at).ok_or(Errno::NOENT)?;
        let parent = frame.fd.as_ref().unwrap_or(&self.context.root).as_fd();
        let fd = rustix::fs::openat(parent, name, OPEN_DIR | OFlags::NOFOLLOW, Mode::empty())?;
        names.read(&fd, &mut self.buffer)?;
        Ok(fd)
    }

    /// Opens the directory on top again if it was closed while the walk was far below it. Returns `false` if it is
    /// gone.
    fn reopen_top(&mut self) -> Result<bool, ContextError> {
        let Some(frame) = self.frames.last_mut() else {
            return Ok(false);
        };
        if frame.fd.is_some() || frame.path_len == 0 {
            return Ok(true);
        }
        let path = &self.path[self.prefix_len..self.prefix_len + frame.path_len];
        let open = || {
            Ok(self
                .context
                .open_inside(path, OPEN_DIR | OFlags::NOFOLLOW)?)
        };
        let opened = descriptors::patiently(open);
        match opened.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO)) {
            Ok(fd) => {
                frame.fd = Some(fd);
                Ok(true)
            }
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => {
                let given = &self.context.given;
                Err(ContextError::read("list", given, path, errno))
            }
        }
    }
}

#[cfg(test)]
mod tests;
