//! Opens a resolved path without following links. A link on the way was put there after the path was checked, so
//! it is an error.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::resolve::special;

/// Flags for a directory that is only used to look up names in. On Linux it need not be readable.
#[cfg(target_os = "linux")]
const HANDLE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const HANDLE: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Opens the file at `path` for reading. Pipes, devices and `/dev/fd/N` work, too.
pub(crate) fn file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    if let Some(number) = own_descriptor(path) {
        return descriptor_to_read(number, flags);
    }
    match unlinked(path, flags) {
        Err(Errno::LOOP) => proc_link(path, flags),
        opened => opened.map(File::from).map_err(told),
    }
}

/// Opens the directory at `path` so that it can be listed.
pub(crate) fn dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    unlinked(path, flags).map_err(told)
}

/// Opens the directory at `path` so that names can be looked up in it. It need not be readable.
pub(crate) fn dir_handle(path: &Path) -> io::Result<OwnedFd> {
    unlinked(path, HANDLE).map_err(told)
}

/// Opens the directory at `path` like [`dir_handle`]. Creates it, and the directories above it, with `mode` if
/// they do not exist.
pub(crate) fn dir_handle_or_make(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    match unlinked(path, HANDLE) {
        Err(Errno::NOENT) => {}
        opened => return opened.map_err(told),
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let parent = dir_handle_or_make(parent, mode)?;
    match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(raw(mode))) {
        // Another process may have created it in the meantime.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    rustix::fs::openat(&parent, name, HANDLE | OFlags::NOFOLLOW, Mode::empty()).map_err(told)
}

/// Converts a mode to the type of the system's field, whose width differs between systems. Permission bits fit
/// into all of them.
pub(super) fn raw<T: Default>(mode: impl TryInto<T>) -> T {
    mode.try_into().unwrap_or_default()
}

/// Opens the absolute `path`. Fails with `ELOOP` if any part of it is a link.
pub(super) fn unlinked(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::ResolveFlags;
        match rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
            // Kernels before 5.6 do not have the call, and some sandboxes forbid it.
            Err(Errno::NOSYS | Errno::PERM) => {}
            result => return result,
        }
    }
    step_by_step(path, flags)
}

/// Does the same as [`unlinked`] without `openat2`: opens one directory after the other.
fn step_by_step(path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let names: Vec<&OsStr> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    let Some((last, above)) = names.split_last() else {
        return rustix::fs::openat(CWD, "/", flags, Mode::empty());
    };
    let mut dir = rustix::fs::openat(CWD, "/", HANDLE, Mode::empty())?;
    for name in above {
        dir = rustix::fs::openat(&dir, *name, HANDLE | OFlags::NOFOLLOW, Mode::empty())
            .map_err(|errno| link_error(&dir, name, errno))?;
    }
    rustix::fs::openat(&dir, *last, flags | OFlags::NOFOLLOW, Mode::empty())
        .map_err(|errno| link_error(&dir, last, errno))
}

/// Turns the error for a link into `ELOOP`. The kernel reports `ENOTDIR` for a link if a directory is required.
fn link_error(dir: &OwnedFd, name: &OsStr, errno: Errno) -> Errno {
    use rustix::fs::{AtFlags, FileType};
    let link = || {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
    };
    if errno == Errno::NOTDIR && link() {
        Errno::LOOP
    } else {
        errno
    }
}

/// Returns the error that is shown if a path cannot be opened.
pub(super) fn told(errno: Errno) -> io::Error {
    if errno == Errno::LOOP {
        io::Error::other("a symbolic link has replaced it or a directory above it")
    } else {
        errno.into()
    }
}

/// Returns the number in `/dev/fd/N`, which is what [`super::Resolver`] calls an open file without a path. `None`
/// for all other paths.
pub(super) fn own_descriptor(path: &Path) -> Option<i32> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    path.strip_prefix("/dev/fd").ok()?.to_str()?.parse().ok()
}

/// Opens descriptor `number` for reading. Opening it again through `/proc` works for a file or a pipe. A socket
/// cannot be opened again (`ENXIO`), so its descriptor is duplicated.
fn descriptor_to_read(number: i32, flags: OFlags) -> io::Result<File> {
    let path = format!("/proc/self/fd/{number}");
    match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Err(Errno::NXIO) => duplicate(number).map(File::from).map_err(io::Error::from),
        opened => opened.map(File::from).map_err(io::Error::from),
    }
}

/// Returns another descriptor for what this process has open as `number`. Both share one file position.
#[cfg(target_os = "linux")]
pub(super) fn duplicate(number: i32) -> Result<OwnedFd, Errno> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    match number {
        0 => rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3),
        1 => rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3),
        2 => rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stderr(), 3),
        // The number comes from a path. Borrowing an arbitrary descriptor needs `unsafe`, so the kernel is asked
        // for it.
        _ => {
            let own = pidfd_open(getpid(), PidfdFlags::empty())?;
            pidfd_getfd(own, number, PidfdGetfdFlags::empty())
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn duplicate(_: i32) -> Result<OwnedFd, Errno> {
    Err(Errno::BADF)
}

/// Opens a link in `/proc` that leads to a file without a path, such as a pipe of another process.
pub(super) fn proc_link(path: &Path, flags: OFlags) -> io::Result<File> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(told(Errno::LOOP));
    };
    let above_handle = dir_handle(above)?;
    if !special::is_proc(above) || !is_proc_handle(&above_handle) {
        return Err(told(Errno::LOOP));
    }
    let opened = rustix::fs::openat(&above_handle, name, flags, Mode::empty());
    opened.map(File::from).map_err(io::Error::from)
}

#[cfg(target_os = "linux")]
fn is_proc_handle(dir: impl AsFd) -> bool {
    rustix::fs::fstatfs(dir).is_ok_and(|fs| fs.f_type == rustix::fs::PROC_SUPER_MAGIC)
}

#[cfg(not(target_os = "linux"))]
fn is_proc_handle(_: impl AsFd) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    fn both(path: &Path, flags: OFlags) -> [Result<OwnedFd, Errno>; 2] {
        [unlinked(path, flags), step_by_step(path, flags)]
    }

    #[test]
    fn a_link_in_any_part_of_the_path_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::fs::write(root.join("real/file"), "x").unwrap();
        symlink("real", root.join("link")).unwrap();
        symlink("file", root.join("real/name")).unwrap();
        for result in both(&root.join("real/file"), OFlags::RDONLY) {
            assert!(result.is_ok());
        }
        for path in ["link/file", "real/name", "link"] {
            for result in both(&root.join(path), OFlags::RDONLY) {
                assert_eq!(result.err(), Some(Errno::LOOP), "{path}");
            }
        }
        for result in both(Path::new("/"), HANDLE) {
            assert!(result.is_ok());
        }
        assert!(
            file(&root.join("real/name"))
                .unwrap_err()
                .to_string()
                .contains("symbolic link")
        );
    }

    #[test]
    fn directories_are_made_only_if_the_path_has_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        dir_handle_or_make(&root.join("a/b/c"), 0o755).unwrap();
        assert!(root.join("a/b/c").is_dir());
        std::fs::create_dir(root.join("outside")).unwrap();
        symlink("outside", root.join("link")).unwrap();
        assert!(dir_handle_or_make(&root.join("link/new"), 0o755).is_err());
        assert!(dir_handle_or_make(&root.join("link"), 0o755).is_err());
        assert_eq!(std::fs::read_dir(root.join("outside")).unwrap().count(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn descriptors_of_pipes_and_sockets_are_read() {
        use std::io::Write as _;
        use std::os::fd::AsRawFd as _;
        let (read, mut write) = io::pipe().unwrap();
        let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
        write.write_all(b"pipe").unwrap();
        far.write_all(b"socket").unwrap();
        drop((write, far));
        for (number, expected) in [(read.as_raw_fd(), "pipe"), (near.as_raw_fd(), "socket")] {
            let mut text = String::new();
            let mut opened = file(Path::new(&format!("/dev/fd/{number}"))).unwrap();
            opened.read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
        }
    }
}
