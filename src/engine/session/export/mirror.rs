//! Deletes from an output directory what the builder has not sent: `mode=delete` of the exporter `local`.
//!
//! This begins only when the list of what was sent is complete and all content has arrived. All directories are opened
//! without following links, so nothing outside of the output directory is deleted. A file system that is mounted on an
//! entry that is to be deleted is not emptied: this is an error.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, Mode, Stat};
use rustix::io::Errno;
use unicode_normalization::UnicodeNormalization as _;

use super::disk::{Destination, OPEN_DIR, WriteError, make_accessible, split};
use crate::types::temporary::is_temporary;

/// The deepest tree that is deleted. A file descriptor is open for each level.
const DEPTH: usize = 512;

/// The entries of the tree that the builder has sent.
#[derive(Debug, Default)]
pub(super) struct SentEntries {
    /// By directory and name: whether the entry is a directory. The root's path is empty.
    directories: HashMap<Bytes, HashMap<Bytes, bool>>,
}

impl SentEntries {
    /// Adds an entry.
    pub(super) fn add(&mut self, path: &Bytes, is_dir: bool) {
        let (dir, name) = split(path);
        let (dir, name) = (path.slice_ref(dir), path.slice_ref(name));
        self.directories
            .entry(dir)
            .or_default()
            .insert(name, is_dir);
        if is_dir {
            self.directories.entry(path.clone()).or_default();
        }
    }
}

/// What other outputs of the run write in the directory.
#[derive(Debug, Default)]
pub(super) struct OthersOutputs {
    /// The paths of the outputs: `true`. The paths of the directories that lead to them: `false`.
    paths: HashMap<Bytes, bool>,
}

impl OthersOutputs {
    /// `paths` are relative to the directory.
    pub(super) fn of(paths: &[PathBuf]) -> Self {
        let mut found = HashMap::new();
        for path in paths {
            let bytes = |path: &Path| Bytes::copy_from_slice(path.as_os_str().as_bytes());
            found.insert(bytes(path), true);
            for above in path.ancestors().skip(1) {
                found.entry(bytes(above)).or_insert(false);
            }
        }
        Self { paths: found }
    }
}

/// The entries of one directory that were sent, and their names without case. On a file system that ignores case, an
/// entry may have kept an older spelling of its name.
struct Siblings<'s> {
    sent: &'s HashMap<Bytes, bool>,
    folded: Option<HashMap<String, &'s Bytes>>,
}

impl<'s> Siblings<'s> {
    fn of(sent: &'s HashMap<Bytes, bool>) -> Self {
        Self { sent, folded: None }
    }

    /// The entry as which `name` in `dir`, whose state is `found`, was sent, and whether that is a directory.
    fn sent_as(&mut self, dir: &OwnedFd, name: &[u8], found: &Stat) -> Option<(&'s Bytes, bool)> {
        let sent = self.sent;
        if let Some((name, is_dir)) = sent.get_key_value(name) {
            return Some((name, *is_dir));
        }
        let folded = || sent.keys().map(|name| (fold(name), name)).collect();
        let other: &'s Bytes = self.folded.get_or_insert_with(folded).get(&fold(name))?;
        let stat = rustix::fs::statat(dir, &other[..], AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let is_same = (stat.st_dev, stat.st_ino) == (found.st_dev, found.st_ino);
        let is_dir = *sent.get(other)?;
        is_same.then_some((other, is_dir))
    }
}

fn fold(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    text.nfc().flat_map(char::to_lowercase).collect()
}

impl Destination {
    /// Deletes everything below the directory that is not in `sent`, and directories in whose place something else was
    /// sent. Keeps what is in `others`, with all that is below it. Returns the number of entries that it has deleted; one
    /// in a deleted directory is not counted.
    ///
    /// # Errors
    /// Stops at the first entry that cannot be deleted.
    pub(super) fn delete_others(
        &self,
        sent: &SentEntries,
        others: &OthersOutputs,
    ) -> Result<u64, WriteError> {
        let mut deleted = 0;
        let nothing = HashMap::new();
        let mut waiting = vec![Bytes::new()];
        while let Some(path) = waiting.pop() {
            let list = |errno: Errno| self.error("list", &path, errno.into());
            let dir = self.open_dir(&path).map_err(list)?;
            let mut siblings = Siblings::of(sent.directories.get(&path).unwrap_or(&nothing));
            for name in names(&dir).map_err(list)? {
                let whole = joined(&path, &name);
                let delete = |errno: Errno| self.error("delete", &whole, errno.into());
                let found = match rustix::fs::statat(&dir, &name[..], AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(found) => found,
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(delete(errno)),
                };
                let is_dir = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
                match others.paths.get(&whole) {
                    Some(true) => continue,
                    Some(false) if is_dir => {
                        waiting.push(whole);
                        continue;
                    }
                    Some(false) | None => {}
                }
                match siblings.sent_as(&dir, &name, &found) {
                    Some((name, true)) if is_dir => {
                        waiting.push(joined(&path, name));
                        continue;
                    }
                    Some(_) if !is_dir => continue,
                    // Another run may be writing it, or it gets its name at the end of this one.
                    None if !is_dir && is_temporary(&name) => continue,
                    _ => {}
                }
                if is_dir {
                    delete_tree(&dir, &name).map_err(|(below, error)| {
                        let path = below
                            .iter()
                            .fold(whole.clone(), |path, name| joined(&path, name));
                        self.error("delete", &path, error)
                    })?;
                } else {
                    unlink(&dir, &name, AtFlags::empty()).map_err(delete)?;
                }
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}

fn joined(dir: &[u8], name: &[u8]) -> Bytes {
    if dir.is_empty() {
        return Bytes::copy_from_slice(name);
    }
    [dir, b"/", name].concat().into()
}

/// The names in a directory, which is read to its end before anything in it is deleted.
fn names(dir: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// Removes a name, which may be gone already.
fn unlink(dir: &OwnedFd, name: &[u8], flags: AtFlags) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, flags) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// A directory whose content is being deleted.
struct Level {
    dir: OwnedFd,
    /// Its name in the directory above.
    name: Vec<u8>,
    /// What is still in it.
    left: Vec<Vec<u8>>,
}

impl Level {
    /// An ordinary user can list and empty the directory also if an earlier output has left it read-only.
    fn open(above: &OwnedFd, name: &[u8]) -> Result<Self, std::io::Error> {
        let dir = match open_same_file_system(above, name) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                // If that fails, the directory belongs to somebody else, which `error` says.
                make_accessible(above, name).map_err(|_| error)?;
                open_same_file_system(above, name)?
            }
            opened => opened?,
        };
        let mode = Mode::from_raw_mode(rustix::fs::fstat(&dir)?.st_mode);
        if !mode.contains(Mode::RWXU) {
            // If that fails, so does what follows, with a better message.
            let _ = rustix::fs::fchmod(&dir, mode | Mode::RWXU);
        }
        let left = names(&dir)?;
        Ok(Self {
            dir,
            name: name.to_vec(),
            left,
        })
    }
}

/// Deletes the directory `name` in `above` with all that is in it. An error comes with the names, from `name` on, that lead
/// to the entry.
fn delete_tree(above: &OwnedFd, name: &[u8]) -> Result<(), (Vec<Vec<u8>>, std::io::Error)> {
    let mut levels: Vec<Level> = Vec::new();
    let below = |levels: &[Level], last: Option<&[u8]>| -> Vec<Vec<u8>> {
        let inner = levels.iter().skip(1).map(|level| level.name.clone());
        inner.chain(last.map(<[u8]>::to_vec)).collect()
    };
    levels.push(Level::open(above, name).map_err(|error| (Vec::new(), error))?);
    while let Some(level) = levels.last_mut() {
        let Some(next) = level.left.pop() else {
            let done = levels.pop();
            let parent = levels.last().map_or(above, |parent| &parent.dir);
            if let Some(done) = done {
                let removed = unlink(parent, &done.name, AtFlags::REMOVEDIR);
                let last = (!levels.is_empty()).then_some(&done.name[..]);
                removed.map_err(|errno| (below(&levels, last), errno.into()))?;
            }
            continue;
        };
        match rustix::fs::unlinkat(&level.dir, &next[..], AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // Linux reports `EISDIR` for a directory, POSIX asks for `EPERM`.
            Err(Errno::ISDIR | Errno::PERM) => {
                let opened = if levels.len() < DEPTH {
                    let dir = levels.last().map_or(above, |level| &level.dir);
                    Level::open(dir, &next)
                } else {
                    Err(std::io::Error::other(
                        "the directories are nested too deeply",
                    ))
                };
                levels.push(opened.map_err(|error| (below(&levels, Some(&next)), error))?);
            }
            Err(errno) => return Err((below(&levels, Some(&next)), errno.into())),
        }
    }
    Ok(())
}

/// Opens the directory `name` in `above`. Fails if another file system is mounted there, or if it is a link.
fn open_same_file_system(above: &OwnedFd, name: &[u8]) -> Result<OwnedFd, std::io::Error> {
    let mounted = || std::io::Error::other("another file system is mounted there");
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::ResolveFlags;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        match rustix::fs::openat2(above, name, OPEN_DIR, Mode::empty(), inside) {
            // Kernels before 5.6 do not have the call, and some sandboxes hide it; use the fallback.
            Err(Errno::NOSYS | Errno::PERM) => {}
            Err(Errno::XDEV) => return Err(mounted()),
            result => return Ok(result?),
        }
    }
    let dir = rustix::fs::openat(above, name, OPEN_DIR, Mode::empty())?;
    if rustix::fs::fstat(&dir)?.st_dev != rustix::fs::fstat(above)?.st_dev {
        return Err(mounted());
    }
    Ok(dir)
}
