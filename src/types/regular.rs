//! Reads small files that other programs or users have written, without trusting them.

use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Read as _, Result};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use super::descriptors;

/// Reads the regular file at `path`. Follows symbolic links. Blocks, also to wait for a file descriptor if none is
/// left.
///
/// Anything but a regular file is an error, and so is a file of more than `limit` bytes. The file is opened with
/// `O_NONBLOCK`, because otherwise opening a FIFO would block until somebody writes to it.
pub(crate) fn read_regular(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits().cast_signed());
    let file = descriptors::patiently(|| options.open(path))?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    let too_large = || {
        let message = format!("the file is larger than {limit} bytes");
        Error::new(ErrorKind::InvalidData, message)
    };
    if metadata.len() > limit {
        return Err(too_large());
    }
    let mut content = Vec::new();
    // The file may have grown since its size was checked.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_up_to_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "12345").unwrap();
        std::os::unix::fs::symlink("f", dir.path().join("link")).unwrap();
        assert_eq!(read_regular(&path, 5).unwrap(), b"12345");
        assert_eq!(read_regular(&dir.path().join("link"), 5).unwrap(), b"12345");
        let error = read_regular(&path, 4).unwrap_err();
        assert_eq!(error.to_string(), "the file is larger than 4 bytes");
        let missing = read_regular(&dir.path().join("none"), 4).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn pipes_devices_and_directories_are_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        assert!(made.unwrap().success());
        for path in [&fifo, Path::new("/dev/zero"), dir.path()] {
            let error = read_regular(path, 10).unwrap_err();
            assert_eq!(error.to_string(), "not a regular file", "{path:?}");
        }
    }
}
