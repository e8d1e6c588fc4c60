//! Entries that have powers beyond their content: set-id bits, devices, and attributes such as file capabilities.
//!
//! They come from a build, but are written with the rights of the user who runs rbake. If that is root, a set-user-id
//! file in the output directory runs as root for everyone who can reach it. By default they are kept, as buildx keeps
//! them, and counted for the summary. `--export-special` can refuse them.

use rbake_proto::packet::Stat;

use crate::context::stat::mode;
use crate::outcome::SpecialFiles;

/// What to do with such entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum SpecialPolicy {
    /// Write and count them.
    #[default]
    Keep,
    /// Fail the export at the first one.
    Deny,
}

impl SpecialPolicy {
    /// Parses the value of `--export-special`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "keep" => Some(Self::Keep),
            "deny" => Some(Self::Deny),
            _ => None,
        }
    }
}

/// Counts the special properties of an entry in `counts`, and returns the reason why it is special. `None` for an
/// ordinary entry.
///
/// Set-id bits of directories only determine the group of new files, so they are ordinary.
pub(super) fn look(stat: &Stat, counts: &mut SpecialFiles) -> Option<&'static str> {
    let mut found = None;
    if stat.xattrs.iter().any(|xattr| is_privileged(&xattr.name)) {
        counts.attributes += 1;
        found = Some("it has security attributes");
    }
    let is_file = stat.mode & mode::KIND == 0;
    if is_file && stat.mode & (mode::SETUID | mode::SETGID) != 0 {
        counts.set_id += 1;
        found = Some("it has a set-id bit");
    }
    if stat.mode & mode::DEVICE != 0 {
        counts.devices += 1;
        found = Some("it is a device");
    }
    found
}

/// Whether an extended attribute gives powers, as `security.capability` does.
///
/// `security.selinux` does not. It labels the place where the daemon kept the file, and on hosts with SELinux every
/// file has one.
fn is_privileged(name: &[u8]) -> bool {
    (name.starts_with(b"security.") || name.starts_with(b"trusted.")) && !is_label(name)
}

/// Whether an extended attribute describes the place of a file, not the file itself.
pub(super) fn is_label(name: &[u8]) -> bool {
    name == b"security.selinux"
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbake_proto::packet::Xattr;

    fn stat(mode: u32, xattrs: &[&str]) -> Stat {
        let xattr = |name: &&str| Xattr {
            name: bytes::Bytes::copy_from_slice(name.as_bytes()),
            ..Xattr::default()
        };
        Stat {
            mode,
            xattrs: xattrs.iter().map(xattr).collect(),
            ..Stat::default()
        }
    }

    #[test]
    fn only_entries_that_can_give_privileges_are_special() {
        let mut counts = SpecialFiles::default();
        for ordinary in [
            stat(0o777, &["user.x", "security.selinux"]),
            stat(mode::DIR | mode::SETGID | 0o775, &[]),
            stat(mode::NAMED_PIPE | 0o666, &[]),
            stat(mode::SYMLINK | mode::SETUID | 0o777, &[]),
            stat(mode::STICKY | 0o777, &[]),
        ] {
            assert_eq!(look(&ordinary, &mut counts), None, "{ordinary:?}");
        }
        assert_eq!(counts, SpecialFiles::default());
        for special in [
            stat(mode::SETUID | 0o755, &[]),
            stat(mode::SETGID | 0o755, &[]),
            stat(mode::DEVICE, &[]),
            stat(mode::DEVICE | mode::CHAR_DEVICE, &[]),
            stat(0o755, &["security.capability"]),
            stat(mode::DIR | 0o755, &["trusted.overlay.opaque"]),
        ] {
            assert!(look(&special, &mut counts).is_some(), "{special:?}");
        }
        assert_eq!(
            (counts.set_id, counts.devices, counts.attributes),
            (2, 2, 2)
        );
    }
}
