//! Limits on a transfer to this machine. The daemon is untrusted, and its lists are kept in memory.

use rbake_proto::packet::Stat;

/// The most transfers to one exporter in one solve; a daemon makes one for each platform.
pub(super) const TRANSFERS: usize = 256;

/// The most bytes of metadata that an exporter may send before its content.
pub(super) const METADATA: usize = 1 << 20;

/// The most entries of one directory tree.
const ENTRIES: u64 = 10_000_000;

/// The most bytes of paths, link targets and attributes in one directory tree.
const LISTING: usize = 1 << 30;

/// The most bytes of a path or of a link's target: Linux's `PATH_MAX`.
const PATH: usize = 4096;

/// The most extended attributes of one entry, and the most bytes of a name and a value: Linux's `XATTR_…_MAX`.
const XATTRS: usize = 1024;
const XATTR_NAME: usize = 255;
const XATTR_VALUE: usize = 64 << 10;

/// A transfer exceeded a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LimitError {
    #[error("the builder sent more than {ENTRIES} entries")]
    Entries,
    #[error("the builder sent more than {} MiB of names and attributes", LISTING >> 20)]
    Listing,
    #[error("the builder sent a path or link target of more than {PATH} bytes")]
    Path,
    #[error("`{0}` has more or larger extended attributes than a file can have")]
    Xattrs(String),
}

/// The size of the list of one directory tree so far.
#[derive(Debug, Default)]
pub(super) struct Listing {
    entries: u64,
    bytes: usize,
}

impl Listing {
    /// Counts an entry. Fails if the entry is too large, or if the list has become too long.
    pub(super) fn add(&mut self, stat: &Stat) -> Result<(), LimitError> {
        if stat.path.len() > PATH || stat.linkname.len() > PATH {
            return Err(LimitError::Path);
        }
        let too_large = |name: usize, value: usize| name > XATTR_NAME || value > XATTR_VALUE;
        let sizes = || {
            stat.xattrs
                .iter()
                .map(|xattr| (xattr.name.len(), xattr.value.len()))
        };
        if stat.xattrs.len() > XATTRS || sizes().any(|(name, value)| too_large(name, value)) {
            let path = String::from_utf8_lossy(&stat.path).into_owned();
            return Err(LimitError::Xattrs(path));
        }
        let xattrs: usize = sizes().map(|(name, value)| name + value).sum();
        self.entries += 1;
        self.bytes += size_of::<Stat>() + stat.path.len() + stat.linkname.len() + xattrs;
        if self.entries > ENTRIES {
            return Err(LimitError::Entries);
        }
        if self.bytes > LISTING {
            return Err(LimitError::Listing);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use rbake_proto::packet::Xattr;

    fn with_xattrs(count: usize, name: usize, value: usize) -> Stat {
        let xattr = Xattr {
            name: Bytes::from(vec![b'n'; name]),
            value: Bytes::from(vec![b'v'; value]),
        };
        Stat {
            xattrs: vec![xattr; count],
            ..Stat::default()
        }
    }

    #[test]
    fn attributes_are_accepted_up_to_the_limits_of_linux() {
        let mut listing = Listing::default();
        let path = |len: usize| Stat {
            path: Bytes::from(vec![b'p'; len]),
            ..Stat::default()
        };
        assert_eq!(listing.add(&path(PATH)), Ok(()));
        assert_eq!(listing.add(&path(PATH + 1)), Err(LimitError::Path));
        let link = Stat {
            linkname: Bytes::from(vec![b'l'; PATH + 1]),
            ..Stat::default()
        };
        assert_eq!(listing.add(&link), Err(LimitError::Path));
        assert_eq!(
            listing.add(&with_xattrs(1, XATTR_NAME, XATTR_VALUE)),
            Ok(())
        );
        for (count, name, value) in [
            (1, XATTR_NAME + 1, 0),
            (1, 1, XATTR_VALUE + 1),
            (XATTRS + 1, 1, 1),
        ] {
            let refused = listing.add(&with_xattrs(count, name, value));
            assert!(matches!(refused, Err(LimitError::Xattrs(_))), "{refused:?}");
        }
    }

    #[test]
    fn lists_are_limited_in_entries_and_bytes() {
        let mut listing = Listing::default();
        let large = with_xattrs(16, 1, XATTR_VALUE);
        let most = LISTING / (16 * XATTR_VALUE);
        let refused = (0..=most).find_map(|_| listing.add(&large).err());
        assert_eq!(refused, Some(LimitError::Listing));
        let mut listing = Listing {
            entries: ENTRIES,
            bytes: 0,
        };
        assert_eq!(listing.add(&Stat::default()), Err(LimitError::Entries));
    }
}
