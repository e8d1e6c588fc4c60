//! Temporary files that get their final name when they are complete, and are removed if the process ends before
//! that.
//!
//! A [`Temporary`] that is dropped before it got its name removes its file. If the process ends while such a file
//! exists, there is no time for drops, so all of these files are also in a global list, and [`remove_all`] removes
//! them at the very end. After SIGKILL, none of this runs. Then the next run that writes to the same directory
//! removes the file ([`sweep`]). To distinguish leftovers from files that another run is writing, each writer holds
//! a lock (`flock`) on its file, which ends with its process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawMode, RenameFlags};
use rustix::io::Errno;

use super::descriptors;
use super::lock::try_lock;

/// The start of the names of temporary files. 32 hexadecimal digits follow.
const PREFIX: &str = ".rbake-tmp-";
const DIGITS: usize = 32;

/// Links, FIFOs and devices cannot be locked. They get their final names at once, so older ones are leftovers.
const LEFT_OVER: Duration = Duration::from_secs(60);
/// The age from which a file is a leftover on a file system without locks.
const LEFT_OVER_WITHOUT_LOCKS: Duration = Duration::from_secs(24 * 3600);
/// How many times to try to create a file that no other run takes for a leftover.
const TRIES: usize = 8;

struct List {
    // Set when the process ends. No new files are created then.
    closed: bool,
    next: u64,
    entries: BTreeMap<u64, (Arc<OwnedFd>, String)>,
}

static LIST: Mutex<List> = Mutex::new(List {
    closed: false,
    next: 0,
    entries: BTreeMap::new(),
});

fn list() -> MutexGuard<'static, List> {
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Removes all temporary files of this process, and prevents new ones. To be called before the process ends.
pub(crate) fn remove_all() {
    let mut list = list();
    list.closed = true;
    for (dir, name) in std::mem::take(&mut list.entries).into_values() {
        let _ = rustix::fs::unlinkat(&dir, name.as_str(), AtFlags::empty());
    }
}

/// A temporary name in a directory. When it is dropped, the file of that name is removed, unless it was renamed
/// before.
#[derive(Debug)]
pub(crate) struct TemporaryName {
    dir: Arc<OwnedFd>,
    name: String,
    // The key in the global list. `None` if there is nothing to remove any more.
    noted: Option<u64>,
}

impl TemporaryName {
    /// Chooses a new name in `dir`. Creates nothing.
    ///
    /// # Errors
    /// The process is ending.
    pub(crate) fn new(dir: &Arc<OwnedFd>) -> Result<Self, Errno> {
        let name = format!("{PREFIX}{}", uuid::Uuid::new_v4().simple());
        let mut list = list();
        if list.closed {
            return Err(Errno::CANCELED);
        }
        let number = list.next;
        list.next += 1;
        list.entries.insert(number, (Arc::clone(dir), name.clone()));
        Ok(Self {
            dir: Arc::clone(dir),
            name,
            noted: Some(number),
        })
    }

    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }

    /// Renames the file to `to` in the same directory. Replaces an existing file.
    pub(crate) fn rename(mut self, to: &[u8]) -> Result<(), Errno> {
        rustix::fs::renameat(&self.dir, self.name.as_str(), &self.dir, to)?;
        self.forget();
        Ok(())
    }

    /// The same as [`TemporaryName::rename`], for a hard link that may be to the same file as `to`.
    pub(crate) fn rename_link(self, to: &[u8]) -> Result<(), Errno> {
        // If both names belong to the same file, a rename does nothing and keeps both names. The drop then removes
        // this one.
        rustix::fs::renameat(&self.dir, self.name.as_str(), &self.dir, to)
    }

    /// Renames the file to `to` in the same directory. Fails if `to` exists.
    pub(crate) fn rename_to_free_name(mut self, to: &[u8]) -> Result<(), Errno> {
        let moved = rustix::fs::renameat_with(
            &self.dir,
            self.name.as_str(),
            &self.dir,
            to,
            RenameFlags::NOREPLACE,
        );
        match moved {
            Ok(()) => {
                self.forget();
                Ok(())
            }
            // Some file systems do not support this flag. A hard link also fails if the name exists, and works on
            // all file systems with links. The drop removes the temporary name.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rustix::fs::linkat(
                &self.dir,
                self.name.as_str(),
                &self.dir,
                to,
                AtFlags::empty(),
            ),
            Err(error) => Err(error),
        }
    }

    fn move_to(&mut self, path: &Path) -> Result<(), Errno> {
        rustix::fs::renameat(&self.dir, self.name.as_str(), rustix::fs::CWD, path)?;
        self.forget();
        Ok(())
    }

    fn forget(&mut self) {
        if let Some(number) = self.noted.take() {
            list().entries.remove(&number);
        }
    }
}

impl Drop for TemporaryName {
    fn drop(&mut self) {
        if self.noted.is_some() {
            let _ = rustix::fs::unlinkat(&self.dir, self.name.as_str(), AtFlags::empty());
            self.forget();
        }
    }
}

/// A regular file with a temporary name. If it is dropped before it gets its final name, it is removed.
#[derive(Debug)]
pub(crate) struct Temporary {
    name: TemporaryName,
    file: File,
}

impl Temporary {
    /// Creates an empty file in `dir`, with the permissions `mode` less the process's umask.
    pub(crate) fn make(dir: &Arc<OwnedFd>, mode: RawMode) -> Result<Self, Errno> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut made = Err(Errno::AGAIN);
        for _ in 0..TRIES {
            let name = TemporaryName::new(dir)?;
            let file = rustix::fs::openat(dir, name.as_str(), flags, Mode::from_raw_mode(mode))?;
            let file = File::from(file);
            let is_ours = match try_lock(&file) {
                // Another run may have taken the file for a leftover and removed it before we got the lock.
                Ok(true) => rustix::fs::fstat(&file)?.st_nlink > 0,
                Ok(false) => false,
                Err(_) => true,
            };
            if is_ours {
                made = Ok(Self { name, file });
                break;
            }
        }
        made
    }

    /// Creates an empty file in the directory `dir`. Blocks; if there is no file descriptor left, waits for one for
    /// a while.
    ///
    /// # Errors
    /// The directory cannot be opened, the file cannot be created, or the process is ending.
    pub(crate) fn make_in(dir: &Path, mode: RawMode) -> io::Result<Self> {
        let dir = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        };
        descriptors::patiently(|| Ok(Self::make(&Arc::new(open_dir(dir)?), mode)?))
    }

    /// Splits it into name and file. The file is removed when the name is dropped.
    pub(crate) fn into_parts(self) -> (TemporaryName, File) {
        (self.name, self.file)
    }

    /// The open file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Renames the file to `to` in its directory. Replaces an existing file.
    pub(crate) fn persist(self, to: &[u8]) -> Result<File, Errno> {
        self.name.rename(to)?;
        Ok(self.file)
    }

    /// Renames the file to the last component of `path`, which must be in the file's directory. Replaces an
    /// existing file.
    pub(crate) fn persist_as(self, path: &Path) -> io::Result<File> {
        Ok(self.persist(name_of(path)?)?)
    }

    /// Moves the file to `path`, which may be in another directory of the same file system. Replaces an existing
    /// file.
    pub(crate) fn persist_at(mut self, path: &Path) -> io::Result<File> {
        self.name.move_to(path)?;
        Ok(self.file)
    }

    /// The same as [`Temporary::persist_as`], but fails if the name exists.
    pub(crate) fn persist_new(self, path: &Path) -> io::Result<File> {
        self.name.rename_to_free_name(name_of(path)?)?;
        Ok(self.file)
    }
}

fn name_of(path: &Path) -> io::Result<&[u8]> {
    let name = path.file_name().map(OsStrExt::as_bytes);
    name.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

fn open_dir(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}

/// Removes the temporary files in `dir` that killed runs have left. Keeps files that other runs are writing.
///
/// Files that cannot be examined or removed are skipped.
pub(crate) fn sweep(dir: &OwnedFd) {
    let Ok(entries) = rustix::fs::Dir::read_from(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_bytes();
        if is_temporary(name) {
            sweep_one(dir, name);
        }
    }
}

/// The same as [`sweep`], for the directory at `path`. Does nothing if it does not exist.
pub(crate) fn sweep_at(path: &Path) {
    if let Ok(dir) = open_dir(path) {
        sweep(&dir);
    }
}

/// Whether `name` is one of those that [`TemporaryName`] chooses.
pub(crate) fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX.as_bytes())
        .is_some_and(|rest| rest.len() == DIGITS && rest.iter().all(u8::is_ascii_hexdigit))
}

/// Removes the file `name` if it is a leftover: a regular file that nobody has locked, or something that cannot be
/// locked and is old.
fn sweep_one(dir: &OwnedFd, name: &[u8]) {
    let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else {
        return;
    };
    let changed = SystemTime::UNIX_EPOCH
        + Duration::from_secs(u64::try_from(stat.st_ctime).unwrap_or_default());
    let is_older_than = |age| changed.elapsed().is_ok_and(|elapsed| elapsed > age);
    // Keep the lock until the file is removed, so that its writer cannot lock it in between.
    let mut locked = None;
    let is_left_over = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => false,
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(file) = rustix::fs::openat(dir, name, flags, Mode::empty()) else {
                return;
            };
            let file = locked.insert(File::from(file));
            try_lock(file).unwrap_or_else(|_| is_older_than(LEFT_OVER_WITHOUT_LOCKS))
        }
        _ => is_older_than(LEFT_OVER),
    };
    if is_left_over {
        let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
    }
    drop(locked);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn opened(dir: &tempfile::TempDir) -> Arc<OwnedFd> {
        Arc::new(open_dir(dir.path()).unwrap())
    }

    fn names(dir: &tempfile::TempDir) -> Vec<String> {
        let entries = std::fs::read_dir(dir.path()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_dropped_file_is_removed_and_a_complete_one_replaces_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let fd = opened(&dir);
        drop(Temporary::make(&fd, 0o600).unwrap());
        assert!(names(&dir).is_empty());
        std::fs::write(dir.path().join("a"), "old").unwrap();
        let temporary = Temporary::make(&fd, 0o644).unwrap();
        temporary.file().write_all(b"new").unwrap();
        temporary.persist(b"a").unwrap();
        assert_eq!(names(&dir), ["a"]);
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"new");
    }

    #[test]
    fn an_existing_file_is_not_replaced_if_a_new_one_is_required() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "old").unwrap();
        let make = || Temporary::make_in(dir.path(), 0o600).unwrap();
        assert!(make().persist_new(&dir.path().join("a")).is_err());
        make().persist_new(&dir.path().join("b")).unwrap();
        assert_eq!(names(&dir), ["a", "b"]);
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"old");
    }

    #[test]
    fn leftovers_of_killed_runs_are_removed_and_files_in_use_stay() {
        let dir = tempfile::tempdir().unwrap();
        let fd = opened(&dir);
        let name = |c: char| format!("{PREFIX}{}", c.to_string().repeat(DIGITS));
        // Nobody holds a lock on this file, as after SIGKILL.
        std::fs::write(dir.path().join(name('a')), "half").unwrap();
        // This link is too new to be a leftover.
        std::os::unix::fs::symlink("x", dir.path().join(name('b'))).unwrap();
        std::fs::write(dir.path().join(".rbake-tmp-of-mine"), "").unwrap();
        let writing = Temporary::make(&fd, 0o600).unwrap();
        sweep(&fd);
        let mut expected = vec![
            ".rbake-tmp-of-mine".to_owned(),
            name('b'),
            writing.name.as_str().to_owned(),
        ];
        expected.sort();
        assert_eq!(names(&dir), expected);
        writing.persist(b"done").unwrap();
    }
}
