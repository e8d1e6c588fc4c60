//! Trees for tests. They are made from the same text as the trees that fsutil's results were recorded from.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Decodes percent-encoded text to bytes.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

fn path(root: &Path, text: &str) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    root.join(std::ffi::OsStr::from_bytes(&unescape(text)))
}

/// Creates the tree that `tree` describes in the directory `root`. One entry a line: `kind path …`.
pub(crate) fn make(root: &Path, tree: &str) {
    let mut modes = Vec::new();
    for line in tree.lines() {
        let mut words = line.split(' ');
        let (kind, name) = (words.next().unwrap(), words.next().unwrap());
        let at = path(root, name);
        let (first, second) = (words.next(), words.next());
        match kind {
            "d" => std::fs::create_dir_all(&at).unwrap(),
            "f" => std::fs::write(&at, second.unwrap_or("")).unwrap(),
            "h" => std::fs::hard_link(path(root, first.unwrap()), &at).unwrap(),
            "l" => symlink(first.unwrap(), &at).unwrap(),
            "p" => rustix::fs::mkfifoat(rustix::fs::CWD, &at, rustix::fs::Mode::RUSR).unwrap(),
            "s" => drop(std::os::unix::net::UnixListener::bind(&at).unwrap()),
            _ => panic!("{line}"),
        }
        if !matches!(kind, "h" | "l") {
            modes.push((at, u32::from_str_radix(first.unwrap(), 8).unwrap()));
        }
    }
    for (at, mode) in modes.iter().rev() {
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(*mode)).unwrap();
    }
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    for (at, _) in &modes {
        set_mtime(at, time);
    }
}

/// Sets the modification time of `at`, not of what a link points to.
pub(crate) fn set_mtime(at: &Path, time: SystemTime) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let stamp = rustix::fs::Timespec {
        tv_sec: since.as_secs().try_into().unwrap(),
        tv_nsec: since.subsec_nanos().into(),
    };
    let times = rustix::fs::Timestamps {
        last_access: stamp,
        last_modification: stamp,
    };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, at, &times, flags).unwrap();
}
