//! The metadata of a file besides its name: mode in Go's form, size, times, device numbers, extended attributes.

use std::ffi::CStr;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

/// The bits of Go's `os.FileMode`, the form in which modes are sent: the permissions as in Unix, the type in
/// separate bits.
pub(crate) mod mode {
    pub(crate) const DIR: u32 = 1 << 31;
    pub(crate) const SYMLINK: u32 = 1 << 27;
    /// A device. It is a block device unless [`CHAR_DEVICE`] is set, too.
    pub(crate) const DEVICE: u32 = 1 << 26;
    pub(crate) const NAMED_PIPE: u32 = 1 << 25;
    pub(crate) const SOCKET: u32 = 1 << 24;
    pub(crate) const SETUID: u32 = 1 << 23;
    pub(crate) const SETGID: u32 = 1 << 22;
    /// A character device; always set together with [`DEVICE`].
    pub(crate) const CHAR_DEVICE: u32 = 1 << 21;
    pub(crate) const STICKY: u32 = 1 << 20;
    /// A temporary file. No system that BuildKit runs on has such files, so a listed file with this bit differs from every file of the
    /// builder's copy, and the builder asks for it. Nothing else reads the bit: it is in no mode that is set and in no digest.
    pub(crate) const TEMPORARY: u32 = 1 << 28;
    /// Neither a regular file nor one of the types above.
    pub(crate) const IRREGULAR: u32 = 1 << 19;
    /// Read, write and execute for owner, group and others.
    pub(crate) const PERMISSIONS: u32 = 0o777;
    /// All bits of the type. A regular file has none of them.
    pub(crate) const KIND: u32 =
        DIR | SYMLINK | NAMED_PIPE | SOCKET | DEVICE | CHAR_DEVICE | IRREGULAR;
}

/// Converts `st_mode` to Go's form.
pub(crate) fn go_mode(st_mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(wide(st_mode)) {
        FileType::Directory => mode::DIR,
        FileType::Symlink => mode::SYMLINK,
        FileType::BlockDevice => mode::DEVICE,
        FileType::CharacterDevice => mode::DEVICE | mode::CHAR_DEVICE,
        FileType::Fifo => mode::NAMED_PIPE,
        FileType::Socket => mode::SOCKET,
        FileType::RegularFile | FileType::Unknown => 0,
    };
    let special = SPECIAL_BITS
        .iter()
        .filter(|(bit, _)| st_mode & bit != 0)
        .fold(0, |all, (_, go)| all | go);
    kind | special | (st_mode & mode::PERMISSIONS)
}

/// Returns the permission bits of a mode in Go's form as Unix has them, including set-id and sticky.
pub(crate) fn unix_mode(go: u32) -> u32 {
    SPECIAL_BITS
        .iter()
        .filter(|(_, bit)| go & bit != 0)
        .fold(go & mode::PERMISSIONS, |all, (unix, _)| all | unix)
}

const SPECIAL_BITS: [(u32, u32); 3] = [
    (0o4000, mode::SETUID),
    (0o2000, mode::SETGID),
    (0o1000, mode::STICKY),
];

/// Converts between the widths of `stat` fields, which differ between systems. A value that does not fit becomes
/// the default, but all systems' values fit.
pub(crate) fn wide<T>(value: impl TryInto<T>) -> T
where
    T: Default,
{
    value.try_into().unwrap_or_default()
}

/// Returns the modification time in nanoseconds since the epoch. As in Go, it wraps for years that do not fit.
pub(super) fn mtime_nanos(stat: &Stat) -> i64 {
    wide::<i64>(stat.st_mtime)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(wide(stat.st_mtime_nsec))
}

/// Returns the time of the last change of the content or of the metadata, in nanoseconds since the epoch.
pub(super) fn ctime_nanos(stat: &Stat) -> i64 {
    wide::<i64>(stat.st_ctime)
        .wrapping_mul(1_000_000_000)
        .wrapping_add(wide(stat.st_ctime_nsec))
}

/// What tells whether a file has changed between two looks at it. Programs can set the modification time; the kernel alone sets the
/// time of the last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileState {
    /// The size in bytes.
    pub(crate) size: i64,
    /// The modification time in nanoseconds since the epoch.
    pub(crate) modified: i64,
    /// The time of the last change of the content or of the metadata, in nanoseconds since the epoch.
    pub(crate) changed: i64,
}

impl FileState {
    pub(super) fn new(stat: &Stat) -> Self {
        Self {
            size: wide(stat.st_size),
            modified: mtime_nanos(stat),
            changed: ctime_nanos(stat),
        }
    }

    /// The state of the open `file` now.
    pub(crate) fn of(file: &std::fs::File) -> std::io::Result<Self> {
        Ok(Self::new(&rustix::fs::fstat(file)?))
    }
}

/// Returns the major and minor device number, split as Go splits them.
pub(super) fn device(stat: &Stat) -> (i64, i64) {
    let dev: u64 = wide(stat.st_rdev);
    let major = (dev >> 8) & 0xfff;
    let minor = (dev & 0xff) | ((dev >> 12) & 0xf_ff00);
    (wide(major), wide(minor))
}

/// The extended attributes of one file. The buffers are reused for the next file.
#[derive(Debug)]
pub(crate) struct Xattrs {
    list: Vec<u8>,
    value: Vec<u8>,
    /// For each attribute, where its name and its value end in `found`.
    ends: Vec<(usize, usize)>,
    found: Vec<u8>,
}

/// Errors that do not mean "this user may not read the attribute" but that reading failed: in the file system, in
/// its server, or for lack of memory.
const FAILURES: [Errno; 6] = [
    Errno::IO,
    Errno::STALE,
    Errno::TIMEDOUT,
    Errno::NOMEM,
    Errno::RANGE,
    Errno::NOENT,
];

/// The most bytes that Linux allows for one file's list of names, and for one value.
const LARGEST: usize = 64 << 10;

impl Default for Xattrs {
    fn default() -> Self {
        Self {
            list: vec![0; 1 << 10],
            value: Vec::new(),
            ends: Vec::new(),
            found: Vec::new(),
        }
    }
}

impl Xattrs {
    /// Makes an empty set. Nothing is read yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Returns the name and the value of each attribute.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |(name_end, value_end)| {
            let pair = (
                &self.found[start..*name_end],
                &self.found[*name_end..*value_end],
            );
            start = *value_end;
            pair
        })
    }

    /// Reads the attributes of the file at `path` itself, not of what a link points to.
    ///
    /// If the file system does not support attributes, the result is empty. An attribute that this user may not
    /// read is left out, as in fsutil. fsutil ignores all other errors, too; then an image would silently lack an
    /// attribute, so here they are errors.
    pub(super) fn read(&mut self, path: &CStr) -> Result<(), Errno> {
        self.ends.clear();
        self.found.clear();
        let len = loop {
            match rustix::fs::llistxattr(path, self.list.as_mut_slice()) {
                Ok(0) => return Ok(()),
                Ok(len) => break len,
                // Some systems have two numbers for this error.
                Err(errno) if errno == Errno::OPNOTSUPP || errno == Errno::NOTSUP => return Ok(()),
                Err(Errno::RANGE) if self.list.len() < LARGEST => self.list.resize(LARGEST, 0),
                Err(errno) => return Err(errno),
            }
        };
        if self.value.is_empty() {
            self.value.resize(LARGEST, 0);
        }
        for name in self.list[..len].split_inclusive(|b| *b == 0) {
            let Ok(name) = CStr::from_bytes_with_nul(name) else {
                continue;
            };
            if name.to_bytes().starts_with(b"com.apple.") {
                continue;
            }
            let len = match rustix::fs::lgetxattr(path, name, self.value.as_mut_slice()) {
                Ok(len) => len,
                Err(errno) if FAILURES.contains(&errno) => return Err(errno),
                Err(_) => continue,
            };
            self.found.extend_from_slice(name.to_bytes());
            let name_end = self.found.len();
            self.found.extend_from_slice(&self.value[..len]);
            self.ends.push((name_end, self.found.len()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_converted_to_the_form_of_go() {
        for (st_mode, go) in [
            (0o100_644, 0o644),
            (0o040_755, 0x8000_01ed),
            (0o120_777, 0x0800_01ff),
            (0o104_755, 0x0080_01ed),
            (0o042_775, 0x8040_01fd),
            (0o041_777, 0x8010_01ff),
            (0o010_600, 0x0200_0180),
            (0o020_600, 0x0420_0180),
            (0o060_600, 0x0400_0180),
            (0o140_755, 0x0100_01ed),
        ] {
            assert_eq!(go_mode(st_mode), go, "{st_mode:o}");
            assert_eq!(unix_mode(go), st_mode & 0o7777, "{st_mode:o}");
        }
    }
}
