//! The names in one directory, sorted by their bytes. The daemon requires that order.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::FileType;
use rustix::io::Errno;

/// The names of one directory in one piece of memory, which is reused for the next directory.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The names, each with its NUL, so that they can be passed to system calls without a copy.
    bytes: Vec<u8>,
    index: Vec<Name>,
}

#[derive(Debug, Clone, Copy)]
struct Name {
    start: usize,
    /// The length without the NUL. Names have at most 255 bytes on most systems, so `u16` is enough.
    len: u16,
    kind: DirEntryKind,
}

/// The type of an entry, as far as the directory itself records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DirEntryKind {
    Dir,
    Other,
    /// The file system does not record types in directories.
    Unknown,
}

impl Names {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Returns the name with the index `at`, including its NUL, and its type.
    pub(super) fn get(&self, at: usize) -> Option<(&CStr, DirEntryKind)> {
        let name = self.index.get(at)?;
        let with_nul = &self.bytes[name.start..=name.start + usize::from(name.len)];
        Some((CStr::from_bytes_with_nul(with_nul).ok()?, name.kind))
    }

    /// Replaces the names by those of `dir`, without `.` and `..`. `buffer` is scratch memory for the system call.
    pub(super) fn read(&mut self, dir: &OwnedFd, buffer: &mut Vec<u8>) -> Result<(), Errno> {
        self.bytes.clear();
        self.index.clear();
        self.fill(dir, buffer)?;
        let bytes = &self.bytes;
        let text = |name: &Name| &bytes[name.start..name.start + usize::from(name.len)];
        self.index.sort_unstable_by(|a, b| text(a).cmp(text(b)));
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn fill(&mut self, dir: &OwnedFd, buffer: &mut Vec<u8>) -> Result<(), Errno> {
        buffer.clear();
        buffer.reserve(32 << 10);
        let mut entries = rustix::fs::RawDir::new(dir, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            self.push(entry.file_name(), entry.file_type());
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn fill(&mut self, dir: &OwnedFd, _buffer: &mut Vec<u8>) -> Result<(), Errno> {
        for entry in rustix::fs::Dir::read_from(dir)? {
            let entry = entry?;
            self.push(entry.file_name(), entry.file_type());
        }
        Ok(())
    }

    /// Adds a name, except `.` and `..`. A name that is longer than any system allows is dropped.
    fn push(&mut self, name: &CStr, kind: FileType) {
        let Ok(len) = u16::try_from(name.to_bytes().len()) else {
            return;
        };
        if matches!(name.to_bytes(), b"." | b"..") {
            return;
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name.to_bytes_with_nul());
        self.index.push(Name {
            start,
            len,
            kind: match kind {
                FileType::Directory => DirEntryKind::Dir,
                FileType::Unknown => DirEntryKind::Unknown,
                _ => DirEntryKind::Other,
            },
        });
    }
}
