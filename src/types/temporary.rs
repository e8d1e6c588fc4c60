//! Files that exist until they are complete, and what becomes of them when the process ends earlier.
//!
//! A [`Temporary`] removes its file when it is dropped before it got its name. A process that ends while such a file exists
//! has no time for that, so all of them are also noted in one list, which [`remove_all`] clears at the very end. After SIGKILL
//! nothing of this runs: the next run that writes to the same directory removes the file ([`sweep`]). To know a file that is
//! left over from one that another run is writing, each writer holds a lock (`flock`) on its file, which dies with it.

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

/// How the names of temporary files begin; 32 hexadecimal digits follow.
const PREFIX: &str = ".rbake-tmp-";
const DIGITS: usize = 32;

/// Links, pipes and devices cannot be locked. They get their names at once, so older ones are left over.
const LEFT_OVER: Duration = Duration::from_secs(60);
/// The same for files on file systems that have no locks.
const LEFT_OVER_WITHOUT_LOCKS: Duration = Duration::from_secs(24 * 3600);
/// Tries to make a file that no other run takes for a left-over.
const TRIES: usize = 8;

struct List {
    // Set when the process ends: nothing new is made then.
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

/// Removes every temporary file of this process, and lets no new one be made. For the end of the process.
pub(crate) fn remove_all() {
    let mut list = list();
    list.closed = true;
    for (dir, name) in std::mem::take(&mut list.entries).into_values() {
        let _ = rustix::fs::unlinkat(&dir, name.as_str(), AtFlags::empty());
    }
}

/// A name in a directory that is removed when this is dropped, unless the name was given up before.
#[derive(Debug)]
pub(crate) struct TemporaryName {
    dir: Arc<OwnedFd>,
    name: String,
    // Absent once nothing is to be removed any more.
    noted: Option<u64>,
}

impl TemporaryName {
    /// A new name in `dir`, under which nothing is made yet.
    ///
    /// # Errors
    /// If the process is ending.
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

    /// Moves what is there to `to` in the same directory, in place of what is there.
    pub(crate) fn rename(mut self, to: &[u8]) -> Result<(), Errno> {
        rustix::fs::renameat(&self.dir, self.name.as_str(), &self.dir, to)?;
        self.forget();
        Ok(())
    }

    /// As [`TemporaryName::rename`], for what may be another name of the very file that is at `to`.
    pub(crate) fn rename_link(self, to: &[u8]) -> Result<(), Errno> {
        // Moving one name of a file over another of the same file does nothing and leaves both. The drop removes this one.
        rustix::fs::renameat(&self.dir, self.name.as_str(), &self.dir, to)
    }

    /// Moves what is there to `to` in the same directory; fails if something is there.
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
            // Some file systems cannot do that in one step. A second name of the file can be made by all that have links.
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

/// A regular file under a temporary name; dropped before it gets its name, it is removed.
#[derive(Debug)]
pub(crate) struct Temporary {
    name: TemporaryName,
    file: File,
}

impl Temporary {
    /// Makes an empty file in `dir`, whose permissions are `mode` less the process's mask.
    pub(crate) fn make(dir: &Arc<OwnedFd>, mode: RawMode) -> Result<Self, Errno> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut made = Err(Errno::AGAIN);
        for _ in 0..TRIES {
            let name = TemporaryName::new(dir)?;
            let file = rustix::fs::openat(dir, name.as_str(), flags, Mode::from_raw_mode(mode))?;
            let file = File::from(file);
            let is_ours = match try_lock(&file) {
                // Another run may have taken it for a left-over before the lock was ours.
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

    /// Makes an empty file in the directory `dir`. Blocks, for a while if there is no descriptor left.
    ///
    /// # Errors
    /// If the directory cannot be opened, the file cannot be made, or the process is ending.
    pub(crate) fn make_in(dir: &Path, mode: RawMode) -> io::Result<Self> {
        let dir = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            dir
        };
        descriptors::patiently(|| Ok(Self::make(&Arc::new(open_dir(dir)?), mode)?))
    }

    /// The name and the file apart; the file is removed when the name is dropped.
    pub(crate) fn into_parts(self) -> (TemporaryName, File) {
        (self.name, self.file)
    }

    /// The file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file the name `to` in its directory, in place of what is there.
    pub(crate) fn persist(self, to: &[u8]) -> Result<File, Errno> {
        self.name.rename(to)?;
        Ok(self.file)
    }

    /// Gives the file the name of `path`, which must be in its directory, in place of what is there.
    pub(crate) fn persist_as(self, path: &Path) -> io::Result<File> {
        Ok(self.persist(name_of(path)?)?)
    }

    /// Moves the file to `path`, which may be in another directory of the same file system, in place of what is there.
    pub(crate) fn persist_at(mut self, path: &Path) -> io::Result<File> {
        self.name.move_to(path)?;
        Ok(self.file)
    }

    /// As [`Temporary::persist_as`], but fails if something has that name.
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

/// Removes the temporary files that runs which were killed have left in `dir`; those that other runs are writing stay.
///
/// What cannot be looked at or removed is left.
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

/// As [`sweep`], for the directory at `path`; one that is not there has nothing to remove.
pub(crate) fn sweep_at(path: &Path) {
    if let Ok(dir) = open_dir(path) {
        sweep(&dir);
    }
}

fn is_temporary(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX.as_bytes())
        .is_some_and(|rest| rest.len() == DIGITS && rest.iter().all(u8::is_ascii_hexdigit))
}

fn sweep_one(dir: &OwnedFd, name: &[u8]) {
    let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else {
        return;
    };
    let changed = SystemTime::UNIX_EPOCH
        + Duration::from_secs(u64::try_from(stat.st_ctime).unwrap_or_default());
    let is_older_than = |age| changed.elapsed().is_ok_and(|elapsed| elapsed > age);
    // Holds the lock until the file is removed, so that no writer can take it for its own in between.
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
    fn a_file_that_is_dropped_early_is_removed_and_a_complete_one_replaces_the_old() {
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
    fn a_name_that_is_taken_is_kept_where_only_a_free_one_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "old").unwrap();
        let make = || Temporary::make_in(dir.path(), 0o600).unwrap();
        assert!(make().persist_new(&dir.path().join("a")).is_err());
        make().persist_new(&dir.path().join("b")).unwrap();
        assert_eq!(names(&dir), ["a", "b"]);
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"old");
    }

    #[test]
    fn what_killed_runs_left_is_removed_and_what_is_being_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let fd = opened(&dir);
        let name = |c: char| format!("{PREFIX}{}", c.to_string().repeat(DIGITS));
        // Nobody holds a lock on this one, as after SIGKILL.
        std::fs::write(dir.path().join(name('a')), "half").unwrap();
        // A link is too young to be left over.
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
