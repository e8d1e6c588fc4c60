//! Small files of other programs, read with a bound.

use std::io;
use std::path::Path;

use crate::types::regular::read_regular;

/// The largest file of settings that is read, in bytes; a real one is a few kilobytes.
pub(super) const LIMIT: u64 = 4 << 20;

/// The text of `path`; `None` where there is no such file.
///
/// More than `limit` bytes, bytes that are no UTF-8, and what is no regular file are errors.
pub(super) fn read_text(path: &Path, limit: u64) -> io::Result<Option<String>> {
    match read_regular(path, limit) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes);
            let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            text.map(Some).map_err(invalid)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(error),
    }
}
