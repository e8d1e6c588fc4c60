//! The record of one directory: its file, when it begins anew, and what is asked of it.

use std::io::{Error, ErrorKind, Result, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::inspection::DirectoryFindings;
use super::text::{Content, DIRECTORIES, LIMIT};
use crate::types::Clock;
use crate::types::regular::read_regular;
use crate::types::temporary::{Temporary, sweep_at};

/// Files may be listed anew with fewer bytes than this, however small the directory is, before its record begins anew.
const LEAST: u64 = 1 << 20;
/// How far, in nanoseconds, the clock of a file system on this machine may be behind ours: the length of a tick.
const TICK: i64 = 20_000_000;
/// The same for the clock of a file server.
const SERVER_CLOCK: i64 = 300_000_000_000;

/// Distinguishes the builder's copies from before and after a record began anew. It is part of their key, so that the builder does not
/// find the older ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Generation(u64);

impl Generation {
    /// Whether the key has no such part, as with buildx.
    pub(crate) fn is_first(self) -> bool {
        self.0 == 0
    }

    /// A generation for a test.
    #[cfg(test)]
    pub(crate) fn of(number: u64) -> Self {
        Self(number)
    }

    /// The bytes that tell it from others.
    pub(crate) fn bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }
}

/// What this machine has sent of one directory.
#[derive(Debug)]
pub(crate) struct SentRecord {
    /// `None` if there is no place for it.
    path: Option<PathBuf>,
    /// Whether inodes mean the same in every run: some file systems give out new ones.
    keeps_inodes: bool,
    generation: Generation,
    since: i64,
    content: Mutex<Content>,
}

impl SentRecord {
    /// Reads the record of `directory` at `path`. It begins now if there is none, and begins anew if it cannot be used any more: it is
    /// damaged, the clock was set back, or more was sent because of it than a new copy costs.
    pub(super) fn open(path: Option<PathBuf>, directory: &Path, clock: &Clock) -> Self {
        let now = nanos(clock.now());
        let (keeps_inodes, behind) = file_system(directory);
        let begun = Content {
            since: now.saturating_sub(behind),
            ..Content::default()
        };
        let content = match &path {
            Some(path) => opened(path, begun, now),
            None => begun,
        };
        Self {
            path,
            keeps_inodes,
            generation: Generation(content.generation),
            since: content.since,
            content: Mutex::new(content),
        }
    }

    /// The generation of the copies that the builder makes by this record.
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether something changed at `time`, in nanoseconds since the epoch, after the record began.
    pub(super) fn is_after(&self, time: i64) -> bool {
        time > self.since
    }

    /// Whether the directory at `path` has taken the place of another one. Adds it to `found` if it is not known yet.
    pub(super) fn is_replaced(
        &self,
        path: &[u8],
        inode: u64,
        found: &mut DirectoryFindings,
    ) -> bool {
        if !self.keeps_inodes {
            return false;
        }
        let path = hashed(path);
        let content = self.content();
        if let Some(known) = content.directories.get(&path) {
            return *known != inode;
        }
        if content.directories.len() + found.directories.len() < DIRECTORIES {
            found.directories.push((path, inode));
        }
        false
    }

    /// Adds what a complete transfer has found. Writes the file if that changes it. Blocking.
    ///
    /// The file only saves work and prevents surprises, so it is not an error if it cannot be written.
    pub(super) fn add(&self, found: &DirectoryFindings) {
        let mut content = self.content();
        found.add_to(&mut content);
        let Some(path) = &self.path else {
            return;
        };
        // Another run may have written since this one began.
        let written = read(path).and_then(|mut there| {
            if there.generation != content.generation {
                return Ok(());
            }
            let before = there.clone();
            found.add_to(&mut there);
            if there == before {
                return Ok(());
            }
            write(path, &there)
        });
        if let Err(error) = written {
            tracing::debug!(cause = %error, "record of a directory not written");
        }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the record at `path`, or makes `begun` the record.
fn opened(path: &Path, begun: Content, now: i64) -> Content {
    let known = match read(path) {
        Ok(known) if known.again < LEAST.max(known.size) && known.since <= now => return known,
        Ok(known) => Some(known),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return match create(path, &begun) {
                Ok(()) => begun,
                // Another run has made it in the meantime, or nothing can be written there.
                Err(_) => read(path).unwrap_or(begun),
            };
        }
        Err(_) => None,
    };
    let anew = Content {
        generation: random(),
        ..begun
    };
    match write(path, &anew) {
        Ok(()) => {
            tracing::debug!("the record of a directory begins anew");
            anew
        }
        Err(error) => {
            tracing::debug!(cause = %error, "record of a directory not written");
            known.unwrap_or(Content {
                generation: 0,
                ..anew
            })
        }
    }
}

fn read(path: &Path) -> Result<Content> {
    let bytes = read_regular(path, LIMIT)?;
    Content::parse(&bytes).ok_or_else(|| Error::new(ErrorKind::InvalidData, "it is damaged"))
}

fn create(path: &Path, content: &Content) -> Result<()> {
    temporary(path, content)?.persist_new(path).map(drop)
}

fn write(path: &Path, content: &Content) -> Result<()> {
    temporary(path, content)?.persist_at(path).map(drop)
}

fn temporary(path: &Path, content: &Content) -> Result<Temporary> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(dir)?;
    sweep_at(dir);
    let temporary = Temporary::make_in(dir, 0o600)?;
    temporary.file().write_all(content.text().as_bytes())?;
    Ok(temporary)
}

/// A number that no other run has, and not 0.
fn random() -> u64 {
    let mut bytes = [0; 8];
    if getrandom::fill(&mut bytes).is_err() {
        // The time is as good: it only has to differ from those of other runs.
        bytes = nanos(SystemTime::now()).to_le_bytes();
    }
    u64::from_le_bytes(bytes).max(1)
}

fn hashed(path: &[u8]) -> u64 {
    let digest = Sha256::digest(path);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}

fn nanos(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
        Err(_) => 0,
    }
}

/// Whether the file system of `directory` keeps the inodes of directories, and how far its clock may be behind ours.
#[cfg(target_os = "linux")]
fn file_system(directory: &Path) -> (bool, i64) {
    /// ext2 to ext4, xfs, btrfs, tmpfs, zfs, f2fs and bcachefs.
    const LOCAL: [u64; 7] = [
        0xef53,
        0x5846_5342,
        0x9123_683e,
        0x0102_1994,
        0x2fc1_2fc1,
        0xf2f5_2010,
        0xca45_1a4e,
    ];
    const OVERLAY: u64 = 0x794c_7630;
    let kind = rustix::fs::statfs(directory).map(|found| crate::context::stat::wide(found.f_type));
    match kind {
        Ok(kind) if LOCAL.contains(&kind) => (true, TICK),
        Ok(OVERLAY) => (false, TICK),
        Ok(_) | Err(_) => (false, SERVER_CLOCK),
    }
}

#[cfg(not(target_os = "linux"))]
fn file_system(_directory: &Path) -> (bool, i64) {
    (true, TICK)
}
