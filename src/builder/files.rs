//! Small files of other programs, read with a bound.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The largest file of settings that is read, in bytes; a real one is a few kilobytes.
pub(super) const LIMIT: u64 = 4 << 20;

/// The text of `path`; `None` where there is no such file.
///
/// More than `limit` bytes, or bytes that are no UTF-8, are an error.
pub(super) fn read_text(path: &Path, limit: u64) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    let read = file.take(limit + 1).read_to_string(&mut text)?;
    if read as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the file is larger than {limit} bytes"),
        ));
    }
    Ok(Some(text))
}
