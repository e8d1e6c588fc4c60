//! Writes a received tree below one directory, and nowhere else.
//!
//! The tree is the result of a build, so it is untrusted. All directories are opened without following links, so
//! neither a link in the tree nor one that was in the directory before can lead out of it. A file gets its name when
//! it is complete. It replaces what had that name, except a directory.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rbake_proto::packet::Stat;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::special::is_label;
use crate::context::stat::{mode, unix_mode, wide};
use crate::files;
use crate::types::descriptors;
use crate::types::temporary::{Temporary, TemporaryName, sweep, sweep_at};

/// A part of the tree could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} `{}`", path.display())]
pub(super) struct WriteError {
    act: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

impl WriteError {
    /// Whether the process had no file descriptor left.
    pub(super) fn is_exhaustion(&self) -> bool {
        descriptors::is_exhaustion(&self.source)
    }

    /// The system's error, without the action and the path.
    pub(super) fn into_io(self) -> std::io::Error {
        self.source
    }
}

/// The directory that a tree is written to.
#[derive(Debug)]
pub(super) struct Destination {
    root: Arc<OwnedFd>,
    path: PathBuf,
    /// The directory that was written to last. Entries arrive directory by directory, so it is used again.
    current: Option<(Vec<u8>, Arc<OwnedFd>)>,
}

/// Opens a directory, and never follows a link in its last part.
pub(super) const OPEN_DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

/// A file that is being received. It has a temporary name until it is complete. If this is dropped before, the file
/// is removed.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) temporary: Temporary,
    pub(super) stat: Stat,
}

/// A complete file that waits until the directory in its place is deleted. If this is dropped before, the file is removed.
#[derive(Debug)]
pub(super) struct LateFile {
    name: TemporaryName,
    path: Bytes,
}

impl Destination {
    /// Opens the absolute `path`, and creates it if it is missing. Fails if any part of the path is a symbolic link.
    pub(super) fn open(path: &Path) -> Result<Self, WriteError> {
        let failed = |source| WriteError {
            act: "make the output directory",
            path: path.to_owned(),
            source,
        };
        let open = || files::open::dir_handle_or_make(path, 0o700);
        let root = descriptors::patiently(open).map_err(failed)?;
        sweep_at(path);
        Ok(Self {
            root: Arc::new(root),
            path: path.to_owned(),
            current: None,
        })
    }

    pub(super) fn error(
        &self,
        act: &'static str,
        path: &[u8],
        source: std::io::Error,
    ) -> WriteError {
        WriteError {
            act,
            path: self.path.join(std::ffi::OsStr::from_bytes(path)),
            source,
        }
    }

    fn errno<'a>(&'a self, act: &'static str, path: &'a [u8]) -> impl Fn(Errno) -> WriteError + 'a {
        move |errno| self.error(act, path, errno.into())
    }

    /// Opens a directory of the tree. Fails if any part of its path is a symbolic link.
    pub(super) fn open_dir(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::ResolveFlags;
            let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let whole = if path.is_empty() { b"." } else { path };
            match rustix::fs::openat2(&self.root, whole, OPEN_DIR, Mode::empty(), inside) {
                // Kernels before 5.6 do not have the call, and some sandboxes hide it; use the fallback.
                Err(Errno::NOSYS | Errno::PERM) => {}
                result => return result,
            }
        }
        let mut dir = rustix::fs::openat(&self.root, c".", OPEN_DIR, Mode::empty())?;
        for part in path.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
            dir = rustix::fs::openat(&dir, part, OPEN_DIR, Mode::empty())?;
        }
        Ok(dir)
    }

    /// Returns the directory of `path`, and the name of `path` in it.
    fn place<'p>(&mut self, path: &'p [u8]) -> Result<(Arc<OwnedFd>, &'p [u8]), WriteError> {
        let (dir, name) = split(path);
        if let Some((at, fd)) = &self.current
            && at == dir
        {
            return Ok((Arc::clone(fd), name));
        }
        let fd = Arc::new(self.open_dir(dir).map_err(self.errno("open", dir))?);
        self.current = Some((dir.to_vec(), Arc::clone(&fd)));
        Ok((fd, name))
    }

    /// Creates a directory, or keeps the existing one. [`Destination::finish_directory`] sets its mode and time
    /// later.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<(), WriteError> {
        let (dir, name) = self.place(path)?;
        let private = Mode::RWXU;
        let made = match rustix::fs::mkdirat(&dir, name, private) {
            Err(Errno::EXIST) => match kind(&dir, name) {
                Ok(FileType::Directory) => {
                    // Remove the temporary files that killed runs have left.
                    if let Ok(there) = open_own(&dir, name) {
                        sweep(&there);
                    }
                    Ok(())
                }
                Ok(_) => rustix::fs::unlinkat(&dir, name, AtFlags::empty())
                    .and_then(|()| rustix::fs::mkdirat(&dir, name, private)),
                Err(errno) => Err(errno),
            },
            result => result,
        };
        made.map_err(self.errno("make the directory", path))
    }

    /// Sets the mode, attributes and time of a directory. Call it after the last write below the directory.
    pub(super) fn finish_directory(
        &self,
        stat: &Stat,
        dropped: &mut Dropped,
    ) -> Result<(), WriteError> {
        let failed = self.errno("set the mode and time of", &stat.path);
        let dir = self.open_dir(&stat.path).map_err(&failed)?;
        set_state(&dir, stat, dropped).map_err(&failed)
    }

    /// Creates a symbolic link.
    pub(super) fn symlink(&mut self, stat: &Stat, dropped: &mut Dropped) -> Result<(), WriteError> {
        let (dir, name) = self.place(&stat.path)?;
        let mut link = |name: &[u8]| {
            rustix::fs::symlinkat(&stat.linkname[..], &dir, name)?;
            if !stat.xattrs.is_empty() {
                let handle = Handle::of(&dir, name, FileType::Symlink)?;
                set_attributes(stat, dropped, |name, value| handle.set(name, value));
            }
            rustix::fs::utimensat(&dir, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
        };
        let made = match link(name) {
            Err(Errno::EXIST) => replace(&dir, name, |temporary| link(temporary.as_bytes())),
            result => result,
        };
        made.map_err(self.errno("make the link", &stat.path))
    }

    /// Creates a pipe or a device.
    pub(super) fn node(&mut self, stat: &Stat, dropped: &mut Dropped) -> Result<(), WriteError> {
        let (dir, name) = self.place(&stat.path)?;
        // The node gets its name last. Before that nobody knows the name, so nobody can exchange the node while its
        // mode and attributes are set.
        let made = replace(&dir, name, |temporary| {
            make_node(&dir, temporary.as_bytes(), stat, dropped)
        });
        made.map_err(self.errno("make", &stat.path))
    }

    /// Makes `path` another name of the file `first`, which must be complete.
    pub(super) fn hard_link(&self, path: &[u8], first: &[u8]) -> Result<(), WriteError> {
        let failed = self.errno("make the link", path);
        let (from_dir, from) = split(first);
        let (to_dir, to) = split(path);
        let from_dir = self.open_dir(from_dir).map_err(&failed)?;
        let to_dir = Arc::new(self.open_dir(to_dir).map_err(&failed)?);
        let link =
            |name: &[u8]| rustix::fs::linkat(&from_dir, from, &to_dir, name, AtFlags::empty());
        let made = match link(to) {
            Err(Errno::EXIST) => replace(&to_dir, to, |temporary| link(temporary.as_bytes())),
            result => result,
        };
        made.map_err(failed)
    }

    /// Starts the regular file that `stat` describes, under a temporary name.
    pub(super) fn file(&mut self, stat: &Stat) -> Result<Temporary, WriteError> {
        let (dir, _) = self.place(&stat.path)?;
        Temporary::make(&dir, 0o600).map_err(self.errno("make", &stat.path))
    }

    /// Whether there is a directory at `path`, in whose place something else cannot be put.
    pub(super) fn has_directory(&mut self, path: &[u8]) -> Result<bool, WriteError> {
        let (dir, name) = self.place(path)?;
        match kind(&dir, name) {
            Ok(kind) => Ok(kind == FileType::Directory),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.error("look at", path, errno.into())),
        }
    }

    /// Gives a complete file its mode and time, but not yet its name.
    pub(super) fn put_off(
        &self,
        pending: Pending,
        dropped: &mut Dropped,
    ) -> Result<LateFile, WriteError> {
        let Pending { temporary, stat } = pending;
        let failed = self.errno("write", &stat.path);
        set_state(temporary.file(), &stat, dropped).map_err(&failed)?;
        let (name, _) = temporary.into_parts();
        let path = stat.path.clone();
        Ok(LateFile { name, path })
    }

    /// Gives a file its name.
    pub(super) fn finish_late(&self, file: LateFile) -> Result<(), WriteError> {
        let (_, name) = split(&file.path);
        let named = file.name.rename(name);
        named.map_err(self.errno("write", &file.path))
    }

    /// Appends `data` to a file.
    pub(super) fn write(&self, pending: &Pending, data: &[u8]) -> Result<(), WriteError> {
        use std::io::Write as _;
        pending
            .temporary
            .file()
            .write_all(data)
            .map_err(|source| self.error("write", &pending.stat.path, source))
    }

    /// Gives a complete file its mode, time and name.
    pub(super) fn finish_file(
        &self,
        pending: Pending,
        dropped: &mut Dropped,
    ) -> Result<(), WriteError> {
        let Pending { temporary, stat } = pending;
        let failed = self.errno("write", &stat.path);
        set_state(temporary.file(), &stat, dropped).map_err(&failed)?;
        let (_, name) = split(&stat.path);
        temporary.persist(name).map(drop).map_err(&failed)
    }
}

/// Splits a path into its directory and its name.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

/// The type of `name`, without following a link.
/// Opens the directory `name`. If its owner may not write to it, as an earlier output has left it, that is changed before: its mode is
/// set again at the end, if the builder sends it.
fn open_own(dir: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let open = || rustix::fs::openat(dir, name, OPEN_DIR, Mode::empty());
    let opened = match open() {
        Err(Errno::ACCESS) => make_accessible(dir, name).and_then(|()| open()),
        opened => opened,
    }?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        // If the directory belongs to somebody else, what is written to it fails with a better message.
        let _ = rustix::fs::fchmod(&opened, mode | Mode::RWXU);
    }
    Ok(opened)
}

/// Gives the owner all rights to the directory `name`.
pub(super) fn make_accessible(dir: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    Handle::of(dir, name, FileType::Directory)?.add_permissions(Mode::RWXU)
}

fn kind(dir: &OwnedFd, name: &[u8]) -> Result<FileType, Errno> {
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// Creates an object under a temporary name with `make`, and renames it to `name`.
fn replace(
    dir: &Arc<OwnedFd>,
    name: &[u8],
    make: impl FnOnce(&str) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let temporary = TemporaryName::new(dir)?;
    make(temporary.as_str())?;
    temporary.rename_link(name)
}

/// Creates a pipe or device with its mode, attributes and time.
fn make_node(dir: &OwnedFd, name: &[u8], stat: &Stat, dropped: &mut Dropped) -> Result<(), Errno> {
    let kind = match stat.mode & mode::KIND {
        mode::NAMED_PIPE => FileType::Fifo,
        mode::DEVICE => FileType::BlockDevice,
        bits if bits == mode::DEVICE | mode::CHAR_DEVICE => FileType::CharacterDevice,
        _ => return Err(Errno::INVAL),
    };
    let permissions = Mode::from_raw_mode(wide(unix_mode(stat.mode)));
    mknod(dir, name, kind, permissions, stat)?;
    let handle = Handle::of(dir, name, kind)?;
    set_attributes(stat, dropped, |name, value| handle.set(name, value));
    handle.set_permissions(permissions)?;
    rustix::fs::utimensat(dir, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(target_os = "linux")]
fn mknod(
    dir: &OwnedFd,
    name: &[u8],
    kind: FileType,
    permissions: Mode,
    stat: &Stat,
) -> Result<(), Errno> {
    let number = |value: i64| u32::try_from(value).map_err(|_| Errno::INVAL);
    let device = rustix::fs::makedev(number(stat.devmajor)?, number(stat.devminor)?);
    rustix::fs::mknodat(dir, name, kind, permissions, device)
}

/// An `O_PATH` handle of a node or link that was just created. A normal open would activate a device or pipe and
/// follow a link, and the name may belong to something else by now. This handle stays with the object.
#[cfg(target_os = "linux")]
struct Handle {
    node: OwnedFd,
    mode: u32,
}

#[cfg(target_os = "linux")]
impl Handle {
    /// Opens a handle of `name`. Fails if its type is not `kind`.
    fn of(dir: &OwnedFd, name: &[u8], kind: FileType) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = rustix::fs::openat(dir, name, flags, Mode::empty())?;
        let mode = rustix::fs::fstat(&node)?.st_mode;
        if FileType::from_raw_mode(mode) != kind {
            return Err(Errno::STALE);
        }
        Ok(Self { node, mode })
    }

    fn path(&self) -> String {
        use std::os::fd::AsRawFd as _;
        format!("/proc/self/fd/{}", self.node.as_raw_fd())
    }

    fn set(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        rustix::fs::setxattr(self.path(), name, value, XattrFlags::empty())
    }

    fn add_permissions(&self, permissions: Mode) -> Result<(), Errno> {
        self.set_permissions(Mode::from_raw_mode(self.mode) | permissions)
    }

    /// Sets the permissions again if the umask removed some of them in `mknod`.
    fn set_permissions(&self, permissions: Mode) -> Result<(), Errno> {
        if self.mode & 0o7777 == permissions.as_raw_mode() {
            return Ok(());
        }
        rustix::fs::chmodat(rustix::fs::CWD, self.path(), permissions, AtFlags::empty())
    }
}

#[cfg(not(target_os = "linux"))]
fn mknod(
    _dir: &OwnedFd,
    _name: &[u8],
    _kind: FileType,
    _permissions: Mode,
    _stat: &Stat,
) -> Result<(), Errno> {
    Err(Errno::NOTSUP)
}

#[cfg(not(target_os = "linux"))]
struct Handle;

#[cfg(not(target_os = "linux"))]
#[expect(
    clippy::unnecessary_wraps,
    clippy::unused_self,
    reason = "it has the signatures of the Linux version"
)]
impl Handle {
    fn of(_dir: &OwnedFd, _name: &[u8], _kind: FileType) -> Result<Self, Errno> {
        Ok(Self)
    }

    fn set(&self, _name: &[u8], _value: &[u8]) -> Result<(), Errno> {
        Err(Errno::NOTSUP)
    }

    fn set_permissions(&self, _permissions: Mode) -> Result<(), Errno> {
        Err(Errno::NOTSUP)
    }

    fn add_permissions(&self, _permissions: Mode) -> Result<(), Errno> {
        Err(Errno::NOTSUP)
    }
}

/// The daemon sends the time in nanoseconds since 1970; it may be negative.
fn times(stat: &Stat) -> Timestamps {
    const NANOS: i64 = 1_000_000_000;
    let stamp = Timespec {
        tv_sec: stat.mod_time.div_euclid(NANOS),
        tv_nsec: stat.mod_time.rem_euclid(NANOS),
    };
    Timestamps {
        last_access: stamp,
        last_modification: stamp,
    }
}

/// Sets the extended attributes with `set`, and records in `dropped` those that cannot be set.
fn set_attributes(
    stat: &Stat,
    dropped: &mut Dropped,
    set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>,
) {
    for xattr in &stat.xattrs {
        if let Err(errno) = set(&xattr.name, &xattr.value)
            && !is_label(&xattr.name)
        {
            dropped.attribute(&stat.path, &xattr.name, errno);
        }
    }
}

/// Sets the attributes, the mode and the time of an open file or directory.
fn set_state(fd: impl std::os::fd::AsFd, stat: &Stat, dropped: &mut Dropped) -> Result<(), Errno> {
    let fd = fd.as_fd();
    set_attributes(stat, dropped, |name, value| {
        rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty())
    });
    let wanted = unix_mode(stat.mode);
    rustix::fs::fchmod(fd, Mode::from_raw_mode(wide(wanted)))?;
    if wanted & SET_ID != 0 {
        // The kernel removes the set-group-id bit without an error if the user is not in the file's group.
        let kept = rustix::fs::fstat(fd)?.st_mode;
        if wide::<rustix::fs::RawMode>(wanted & SET_ID) & !kept != 0 {
            dropped.note(|| format!("a set-id bit of `{}`", String::from_utf8_lossy(&stat.path)));
        }
    }
    rustix::fs::futimens(fd, &times(stat))
}

/// The set-user-id and set-group-id bits of Unix.
const SET_ID: u32 = 0o6000;

/// Attributes and bits that the system, the file system or the user's rights did not allow.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    /// How many there were.
    pub(super) count: u64,
    /// A description of the first one.
    pub(super) first: Option<String>,
}

impl Dropped {
    fn note(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        self.first.get_or_insert_with(what);
    }

    fn attribute(&mut self, path: &[u8], name: &[u8], errno: Errno) {
        self.note(|| {
            let (path, name) = (String::from_utf8_lossy(path), String::from_utf8_lossy(name));
            format!("`{name}` of `{path}`: {}", std::io::Error::from(errno))
        });
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    // The test puts a link in the place of the node, as if somebody had done so before its mode was set.
    #[test]
    fn the_mode_of_a_node_is_not_set_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::write(&outside, "").unwrap();
        std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink("outside", dir.path().join("node")).unwrap();
        let fd = rustix::fs::open(dir.path(), OPEN_DIR, Mode::empty()).unwrap();
        let handle = Handle::of(&fd, b"node", FileType::Fifo);
        assert_eq!(handle.err(), Some(Errno::STALE));
        let permissions = std::fs::metadata(&outside).unwrap().permissions();
        assert_eq!(permissions.mode() & 0o7777, 0o600);
    }

    // Another file may have the name when the attributes and the mode are set.
    #[test]
    fn the_mode_is_set_on_the_node_even_if_another_file_takes_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let fd = rustix::fs::open(dir.path(), OPEN_DIR, Mode::empty()).unwrap();
        let name = dir.path().join("node");
        let made = std::process::Command::new("mkfifo").arg(&name).status();
        assert!(made.unwrap().success());
        let handle = Handle::of(&fd, b"node", FileType::Fifo).unwrap();
        std::fs::rename(&name, dir.path().join("moved")).unwrap();
        std::fs::write(&name, "").unwrap();
        std::fs::set_permissions(&name, std::fs::Permissions::from_mode(0o600)).unwrap();
        handle.set_permissions(Mode::from_raw_mode(0o642)).unwrap();
        let mode = |name: &str| {
            dir.path()
                .join(name)
                .metadata()
                .unwrap()
                .permissions()
                .mode()
        };
        assert_eq!(mode("node") & 0o7777, 0o600);
        assert_eq!(mode("moved") & 0o7777, 0o642);
    }
}
