//! The text of a record.
//!
//! ```text
//! rbake sent 1
//! generation 0
//! since 1700000000000000000
//! again 0
//! size 1048576
//! 0123456789abcdef 12
//! ```
//!
//! The last lines have a directory each: a hash of its path, and its inode in hexadecimal digits.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The most directories whose inodes are kept. In more, a directory that takes the place of another one is not noticed.
pub(super) const DIRECTORIES: usize = 64 << 10;
/// The most bytes of a record.
pub(super) const LIMIT: u64 = 4 << 20;

const HEAD: &str = "rbake sent 1";

/// What a record holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// Part of the key of the builder's copies. 0 stands for the key without such a part.
    pub(super) generation: u64,
    /// When the record began, in nanoseconds since the epoch: before the first transfer of this generation listed its first file.
    pub(super) since: i64,
    /// The bytes of all files that were listed anew in this generation.
    pub(super) again: u64,
    /// The bytes of all files of the largest transfer.
    pub(super) size: u64,
    /// The inodes of the directories at their first transfer in this generation, by the hashes of their paths.
    pub(super) directories: BTreeMap<u64, u64>,
}

impl Content {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines();
        if lines.next()? != HEAD {
            return None;
        }
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let mut content = Self {
            generation: value("generation")?.parse().ok()?,
            since: value("since")?.parse().ok()?,
            again: value("again")?.parse().ok()?,
            size: value("size")?.parse().ok()?,
            directories: BTreeMap::new(),
        };
        for line in lines {
            let (path, inode) = line.split_once(' ')?;
            let number = |text| u64::from_str_radix(text, 16).ok();
            content.directories.insert(number(path)?, number(inode)?);
        }
        (content.directories.len() <= DIRECTORIES).then_some(content)
    }

    pub(super) fn text(&self) -> String {
        let Self {
            generation,
            since,
            again,
            size,
            directories,
        } = self;
        let mut text =
            format!("{HEAD}\ngeneration {generation}\nsince {since}\nagain {again}\nsize {size}\n");
        for (path, inode) in directories {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{path:016x} {inode:x}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_record_is_read_and_other_text_is_not() {
        let content = Content {
            generation: u64::MAX,
            since: -1,
            again: 3,
            size: 4,
            directories: [(0, 7), (u64::MAX, u64::MAX)].into(),
        };
        let text = content.text();
        assert_eq!(Content::parse(text.as_bytes()), Some(content));
        for text in ["", "rbake sent 2\n", "rbake sent 1\nsince 1\n", "\u{0}"] {
            assert_eq!(Content::parse(text.as_bytes()), None);
        }
        assert_eq!(Content::parse(b"\xff"), None);
    }

    #[test]
    fn a_full_record_is_within_the_limit() {
        let directories = (0..DIRECTORIES as u64).map(|n| (u64::MAX - n, u64::MAX));
        let content = Content {
            directories: directories.collect(),
            ..Content::default()
        };
        assert!((content.text().len() as u64) < LIMIT);
    }
}
