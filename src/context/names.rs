//! The names in one directory, sorted by their bytes.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::FileType;
use rustix::io::Errno;

/// Names of a directory, in one piece of memory.
#[derive(Debug, Default)]
pub(super) struct Names {
    // Each with its NUL, so that system calls take them as they are.
    bytes: Vec<u8>,
    index: Vec<Name>,
}

#[derive(Debug, Clone, Copy)]
struct Name {
    start: usize,
    // Without the NUL; names are at most 255 bytes on most systems, and never more than this.
    len: u16,
    kind: DirEntryKind,
}

/// What the directory itself says of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DirEntryKind {
    Dir,
    Other,
    // The file system does not say.
    Unknown,
}

impl Names {
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The name at `at` with its NUL, and what it is.
    pub(super) fn get(&self, at: usize) -> Option<(&CStr, DirEntryKind)> {
        let name = self.index.get(at)?;
        let with_nul = &self.bytes[name.start..=name.start + usize::from(name.len)];
        Some((CStr::from_bytes_with_nul(with_nul).ok()?, name.kind))
    }

    /// Reads the names of `dir`, but for `.` and `..`, in place of what was here. `buffer` is for the system.
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
