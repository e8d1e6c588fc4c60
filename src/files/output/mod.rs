//! Writes one file that the user named as an output, whatever exists at that place.
//!
//! A regular file appears under its name only when it is complete: it is written as a [`Temporary`] beside its
//! place and then renamed. Three kinds of file are written in place instead: what is not a regular file (a device,
//! a pipe, or a descriptor that the shell passed on), a file in a directory that is not writable, and a file that
//! would lose its owner, its attributes or another of its hard links if it were replaced. A log is different: it grows
//! under its own name from the start. All functions block.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek as _, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::open::{self, own_descriptor, told};
use super::resolve::{Resolved, special};
use crate::types::temporary::{Temporary, TemporaryName, sweep_at};

/// Which owner and mode the written file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileAccess {
    /// An existing file keeps its owner, mode and attributes, and must be writable. A new file has `rw-rw-rw-`
    /// without the bits of the process's umask.
    Kept,
    /// The file is replaced by a new one with this mode, whatever mode the old one had. It is synced to the disk
    /// before it gets its name, so use this for small files.
    Fresh(u32),
}

/// A file that is being written. If it is dropped before [`OutputFile::finish`], nothing is left behind, unless it
/// is written in place.
#[derive(Debug)]
pub(crate) struct OutputFile {
    file: File,
    end: End,
}

#[derive(Debug)]
enum End {
    /// The file itself is written.
    InPlace,
    /// A temporary file is written, and renamed when it is complete.
    Moved(Beside),
}

const WRITE: OFlags = OFlags::WRONLY.union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// Where a file that is to be written was found.
enum Located<'p> {
    /// A descriptor that this process has already, such as `/dev/stdout`.
    Open(File),
    /// A name in a directory. There may be no file of that name.
    Named {
        dir: OwnedFd,
        above: &'p Path,
        name: &'p OsStr,
    },
}

fn locate(place: &Resolved) -> io::Result<Located<'_>> {
    let path = place.path();
    if let Some(number) = place.descriptor().or_else(|| own_descriptor(path)) {
        return descriptor(number).map(Located::Open);
    }
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::IsADirectory.into());
    };
    let dir = open::dir_handle(above)?;
    Ok(Located::Named { dir, above, name })
}

impl OutputFile {
    /// Starts to write the file at `place`, whose directory must exist.
    pub(crate) fn create(place: &Resolved, access: FileAccess) -> io::Result<Self> {
        let path = place.path();
        let (dir, above, name) = match locate(place)? {
            Located::Open(file) => return Ok(Self::in_place(file)),
            Located::Named { dir, above, name } => (dir, above, name),
        };
        let existing = match kind(&dir, name) {
            Ok(FileType::RegularFile) => true,
            Ok(FileType::Directory) => return Err(io::Error::other("it is a directory")),
            Ok(FileType::Socket) => return Err(io::Error::other("it is a socket")),
            Ok(FileType::Symlink) if special::is_proc(above) => {
                return open::proc_link(path, WRITE).map(Self::in_place);
            }
            Ok(FileType::Symlink) => return Err(told(Errno::LOOP)),
            Ok(_) => return open_existing(&dir, name).map(Self::in_place),
            Err(Errno::NOENT) => false,
            Err(errno) => return Err(errno.into()),
        };
        // An existing file that is kept must be writable, as if it were written in place. The file of a running
        // program cannot be opened for writing (`ETXTBSY`), but it can be replaced.
        let target = match (existing, access) {
            (true, FileAccess::Kept) => match open_existing(&dir, name) {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => None,
                opened => Some(opened?),
            },
            _ => None,
        };
        sweep_at(above);
        let dir = Arc::new(dir);
        match Beside::create(Arc::clone(&dir), name.to_owned(), access, target) {
            Ok((file, beside)) => Ok(Self {
                file,
                end: End::Moved(beside),
            }),
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) if existing => {
                let file = open_existing(&dir, name)?;
                file.set_len(0)?;
                Ok(Self::in_place(file))
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Starts to write the file at `place` under its own name, so that everything written is there, however the
    /// process ends. The old content is removed at once. Each write is appended, even if another process writes to
    /// the same file.
    pub(crate) fn create_growing(place: &Resolved) -> io::Result<Self> {
        let path = place.path();
        let (dir, above, name) = match locate(place)? {
            Located::Open(file) => return Ok(Self::in_place(file)),
            Located::Named { dir, above, name } => (dir, above, name),
        };
        if let Ok(FileType::Symlink) = kind(&dir, name)
            && special::is_proc(above)
        {
            return open::proc_link(path, WRITE).map(Self::in_place);
        }
        let flags = WRITE | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW;
        let opened =
            rustix::fs::openat(&dir, name, flags, Mode::from_raw_mode(0o666)).map_err(told)?;
        let file = File::from(opened);
        if file.metadata()?.is_file() {
            file.set_len(0)?;
        }
        Ok(Self::in_place(file))
    }

    fn in_place(file: File) -> Self {
        Self {
            file,
            end: End::InPlace,
        }
    }

    /// Returns the file to write to: the temporary one, or the file itself if it is written in place.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file its name. Call this only after all content was written.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.end {
            End::InPlace => Ok(()),
            End::Moved(beside) => beside.finish(self.file),
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.file.write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes `data` as the whole content of the file at `place`.
pub(crate) fn write_file(place: &Resolved, access: FileAccess, data: &[u8]) -> io::Result<()> {
    let mut file = OutputFile::create(place, access)?;
    file.write_all(data)?;
    file.finish()
}

/// Returns a second descriptor for the same open file. It shares the position, so what other processes wrote there
/// stays. If the system refuses that, the file is opened again for appending.
fn descriptor(number: i32) -> io::Result<File> {
    match open::duplicate(number) {
        Err(Errno::NOSYS | Errno::PERM) => {
            let path = format!("/proc/self/fd/{number}");
            let opened = rustix::fs::open(path, WRITE | OFlags::APPEND, Mode::empty());
            opened.map(File::from).map_err(io::Error::from)
        }
        duplicated => duplicated.map(File::from).map_err(io::Error::from),
    }
}

/// Returns the type of the entry `name`, without following a link.
fn kind(dir: &OwnedFd, name: &OsStr) -> Result<FileType, Errno> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// Opens an existing file for writing. Does not create it and does not follow a link.
fn open_existing(dir: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let opened = rustix::fs::openat(dir, name, WRITE | OFlags::NOFOLLOW, Mode::empty());
    opened.map(File::from).map_err(told)
}

/// A temporary file beside the place that it will take.
#[derive(Debug)]
struct Beside {
    dir: Arc<OwnedFd>,
    name: OsString,
    /// `None` once the file has its name.
    temporary: Option<TemporaryName>,
    /// The existing file, if it is to be kept.
    target: Option<File>,
    /// Whether the new file can replace the existing one without a difference in owner, mode or attributes.
    equal: bool,
    /// Whether it must be synced to the disk before it gets its name.
    durable: bool,
}

impl Beside {
    fn create(
        dir: Arc<OwnedFd>,
        name: OsString,
        access: FileAccess,
        target: Option<File>,
    ) -> Result<(File, Self), Errno> {
        let at_first = match (&target, access) {
            (None, FileAccess::Kept) => 0o666,
            _ => 0o600,
        };
        let (temporary, file) = Temporary::make(&dir, open::raw(at_first))?.into_parts();
        let equal = match (&target, access) {
            (Some(target), _) => imitate(&file, target),
            (None, FileAccess::Fresh(mode)) => {
                let mode = std::fs::Permissions::from_mode(mode);
                file.set_permissions(mode).is_ok()
            }
            (None, FileAccess::Kept) => true,
        };
        let beside = Self {
            dir,
            name,
            temporary: Some(temporary),
            target,
            equal,
            durable: matches!(access, FileAccess::Fresh(_)),
        };
        Ok((file, beside))
    }

    /// Moves the file to its place, or copies its content if it cannot replace the existing file.
    fn finish(mut self, file: File) -> io::Result<()> {
        let existing = match kind(&self.dir, &self.name) {
            Ok(FileType::RegularFile) => true,
            Err(Errno::NOENT) => false,
            Ok(_) => return Err(io::Error::other("something else has replaced it")),
            Err(errno) => return Err(errno.into()),
        };
        if self.durable {
            match file.sync_all() {
                // Some file systems do not support syncing.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
                    ) => {}
                synced => synced?,
            }
        }
        if (self.equal || !existing)
            && let Some(temporary) = self.temporary.take()
        {
            match temporary.rename(self.name.as_bytes()) {
                Ok(()) => return Ok(()),
                // The file is a mount point, or belongs to another user in a sticky directory such as `/tmp`.
                // Write in place.
                Err(Errno::BUSY | Errno::PERM | Errno::ACCESS) if existing => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let target = match self.target.take() {
            Some(target) => target,
            None => open_existing(&self.dir, &self.name)?,
        };
        copy(file, target)
    }
}

/// Replaces the content of `to` by that of `from`.
fn copy(mut from: File, mut to: File) -> io::Result<()> {
    from.rewind()?;
    to.set_len(0)?;
    io::copy(&mut from, &mut to).map(drop)
}

/// Gives `file` the owner and mode of `target`. Returns whether `file` can then replace `target`, which means that
/// only their content differs.
fn imitate(file: &File, target: &File) -> bool {
    let (Ok(own), Ok(wanted)) = (file.metadata(), target.metadata()) else {
        return false;
    };
    if wanted.nlink() != 1 || has_attributes(target) {
        return false;
    }
    if (own.uid(), own.gid()) != (wanted.uid(), wanted.gid()) {
        let owner = Some(Uid::from_raw(wanted.uid()));
        let group = Some(Gid::from_raw(wanted.gid()));
        if rustix::fs::fchown(file, owner, group).is_err() {
            return false;
        }
    }
    // The set-id bits are left out, because writing to the existing file would clear them as well.
    let mode = std::fs::Permissions::from_mode(wanted.mode() & 0o1777);
    file.set_permissions(mode).is_ok()
}

/// Whether `file` has access control lists or attributes that a user set. `security.*` labels are not counted,
/// because the system gives them to new files as well.
fn has_attributes(file: &File) -> bool {
    const MANY: usize = 4096;
    let mut names = [0; MANY];
    match rustix::fs::flistxattr(file, &mut names[..]) {
        Ok(length) => names[..length]
            .split(|byte| *byte == 0)
            .any(|name| !name.is_empty() && !name.starts_with(b"security.")),
        Err(Errno::NOTSUP | Errno::NOSYS) => false,
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests;
