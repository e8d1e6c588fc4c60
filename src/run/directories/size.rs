//! How large a directory is, as far as that matters.

use std::path::Path;

/// If targets read the same of a directory, and its repeated transfers add up to at most this, it is sent to each of them. That costs next
/// to nothing, and keeps the ids of sessions out of the provenance.
pub(super) const TINY: TreeSize = TreeSize {
    entries: 100,
    bytes: 256 << 10,
};

/// The same if they read different parts, and their frontends would have to be asked what they read.
pub(super) const SMALL: TreeSize = TreeSize {
    entries: 1_000,
    bytes: 4 << 20,
};

/// The size of a directory, or a limit for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct TreeSize {
    pub(super) entries: usize,
    pub(super) bytes: u64,
}

impl TreeSize {
    /// Nothing at all.
    pub(super) const NOTHING: Self = Self {
        entries: 0,
        bytes: 0,
    };

    /// Divides a limit by the number of transfers, so that it holds for all of them together.
    pub(super) fn for_each_of(self, transfers: usize) -> Self {
        let transfers = transfers.max(1);
        Self {
            entries: self.entries / transfers,
            bytes: self.bytes / transfers as u64,
        }
    }

    /// What `transfers` of it are together.
    pub(super) fn times(self, transfers: usize) -> Self {
        Self {
            entries: self.entries.saturating_mul(transfers),
            bytes: self.bytes.saturating_mul(transfers as u64),
        }
    }

    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            entries: self.entries.saturating_add(other.entries),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// Whether there are more entries or more bytes than in `limit`.
    pub(super) const fn exceeds(self, limit: Self) -> bool {
        self.entries > limit.entries || self.bytes > limit.bytes
    }
}

/// Whether there is more than `limit` in `dir`. Does not consider ignore files, because only the daemon reads
/// them. Blocks, but stops as soon as the limit is passed.
pub(super) fn exceeds(dir: &Path, limit: TreeSize) -> bool {
    measured(dir, limit).exceeds(limit)
}

/// The size of the file or directory `path` of the directory `dir`, which has no links in its own path, like [`exceeds`].
/// Nothing, if a link leads out of `dir`.
pub(super) fn of_part(dir: &Path, path: &str, limit: TreeSize) -> TreeSize {
    let Ok(place) = dir.join(path).canonicalize() else {
        return TreeSize::NOTHING;
    };
    match place.metadata() {
        Ok(_) | Err(_) if !place.starts_with(dir) => TreeSize::NOTHING,
        Ok(metadata) if metadata.is_dir() => measured(&place, limit),
        Ok(metadata) if metadata.is_file() => TreeSize {
            entries: 1,
            bytes: metadata.len(),
        },
        Ok(_) | Err(_) => TreeSize::NOTHING,
    }
}

/// The size of `dir`. Stops when `limit` is passed.
fn measured(dir: &Path, limit: TreeSize) -> TreeSize {
    let mut size = TreeSize::NOTHING;
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        // A directory that cannot be listed will be reported when it is sent.
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            size.entries += 1;
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => open.push(entry.path()),
                Ok(metadata) if metadata.is_file() => size.bytes += metadata.len(),
                Ok(_) | Err(_) => {}
            }
            if size.exceeds(limit) {
                return size;
            }
        }
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_trees_are_distinguished_from_small_ones() {
        let dir = tempfile::tempdir().unwrap();
        let limit = TreeSize {
            entries: 4,
            bytes: 100,
        };
        assert!(!exceeds(&dir.path().join("missing"), limit));
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/a"), [0; 60]).unwrap();
        // A link is not followed, because the files that it leads to are not sent.
        std::os::unix::fs::symlink("/", dir.path().join("sub/root")).unwrap();
        assert!(!exceeds(dir.path(), limit));
        std::fs::write(dir.path().join("b"), [0; 50]).unwrap();
        assert!(exceeds(dir.path(), limit), "bytes");
        std::fs::write(dir.path().join("b"), []).unwrap();
        assert!(!exceeds(dir.path(), limit));
        std::fs::write(dir.path().join("c"), []).unwrap();
        assert!(exceeds(dir.path(), limit), "entries");
    }
}
