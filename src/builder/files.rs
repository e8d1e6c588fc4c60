//! Reads small files, mostly of other programs, up to a size limit; and writes files of our own.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use crate::types::regular::read_regular;
use crate::types::temporary::{Temporary, sweep_at};

/// The largest settings file that is read, in bytes. Real ones have a few kilobytes.
pub(super) const LIMIT: u64 = 4 << 20;

/// Reads the file `path`. `None` if it does not exist.
///
/// A file of more than `limit` bytes is an error, and so is anything but a regular file (a FIFO would block).
pub(super) fn read(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    match read_regular(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the text file `path` in the same way. It is an error if the text is not UTF-8.
pub(super) fn read_text(path: &Path, limit: u64) -> io::Result<Option<String>> {
    let text = read(path, limit)?.map(String::from_utf8).transpose();
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the file is not UTF-8"))
}

/// Options to open a file of our own, in a folder that only we can write to. A new file gets the mode 0600.
/// Symbolic links are not followed.
pub(super) fn own_file() -> std::fs::OpenOptions {
    let mut options = File::options();
    options
        .create(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Replaces a file of our own atomically: other processes see either the old content or the new one.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write as _;
    let dir = path.parent().unwrap_or(Path::new("."));
    sweep_at(dir);
    let temporary = Temporary::make_in(dir, 0o600)?;
    temporary.file().write_all(content)?;
    temporary.persist_as(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn only_regular_files_of_limited_size_are_read_and_reading_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert_eq!(read_text(&path, 3).unwrap(), None);
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(read_text(&path, 3).unwrap().as_deref(), Some("abc"));
        assert_eq!(read_text(&path.join("below"), 3).unwrap(), None);
        std::fs::write(&path, "abcd").unwrap();
        assert!(read_text(&path, 3).is_err());
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        let error = read_text(&pipe, 3).unwrap_err();
        assert_eq!(error.to_string(), "not a regular file");
        assert!(read_text(dir.path(), 3).is_err());
    }

    #[test]
    fn our_own_files_are_not_written_through_links() {
        let dir = tempfile::tempdir().unwrap();
        let (link, target) = (dir.path().join("link"), dir.path().join("target"));
        std::fs::write(&target, "theirs").unwrap();
        symlink(&target, &link).unwrap();
        assert!(own_file().write(true).open(&link).is_err());
        replace(&link, b"ours").unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"theirs");
        let found = std::fs::symlink_metadata(&link).unwrap();
        assert!(found.is_file() && found.permissions().mode() & 0o777 == 0o600);
    }
}
